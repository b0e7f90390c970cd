"""MySQL and MariaDB through aiomysql on asyncio: it connects and logs in. What is said then is in `_core/mysql`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from aiomysql.connection import Connection as AioConnection  # type: ignore[import-untyped] # it ships no types
from anyio import to_thread
from pymysql.constants import CLIENT

from .._core.errors import ConnectionFailedError, TimeoutExceededError
from .._core.mysql.errors import ends_session
from .._core.mysql.reading import Reading
from .._core.mysql.session import Session
from .._core.mysql.wire import Onward, Talk
from .._core.sqlvalues import Result, Target
from . import mysql_frames
from .mysql_common import (
    CHUNK,
    OUT_OF_TIME,
    PROBE,
    SERVER,
    SMALL,
    Deadlines,
    address,
    check_tls,
    explained,
    kill,
    log_warnings,
    lost,
    refuse_clear_password,
    session_settings,
    time_limits,
    tls_context,
    well_formed,
    with_tls,
)
from .mysql_cursors import AsyncMySqlCursor
from .sockets import hung_up

if TYPE_CHECKING:
    import ssl

    import pyarrow as pa

    from .._core.sql_properties import SqlConnProperties
    from .protocol import AsyncBatches
    from .registry import SqlSettings

__all__ = ("AioMySqlConnection", "connect")

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


async def connect(settings: SqlSettings) -> AioMySqlConnection:
    """Open a connection."""
    props: SqlConnProperties = settings.props
    made = AioMySqlConnection(await _log_in(props), props)
    try:
        await made.prepare()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await made.aclose()
        raise
    return made


async def _log_in(props: SqlConnProperties) -> _Connection:
    arguments = address(props)
    where = f"{arguments.get('unix_socket') or arguments['host']}"
    raw = _Connection(**arguments, db=props.database, ssl=tls_context(props))
    raw.client_flag &= ~CLIENT.MULTI_STATEMENTS  # as pymysql has it: one statement is one
    raw.tls_required = props.tls == "require" and raw._ssl_context is not None  # noqa: SLF001
    try:
        with well_formed(where):
            async with asyncio.timeout(props.conn_timeout):
                await raw._connect()  # noqa: SLF001 - the public function can't be given a class
    except BaseException:
        raw.close()
        raise
    return raw


class _Connection(AioConnection):  # type: ignore[misc] # untyped
    """aiomysql's connection, with TLS insisted on where it is required, and no password sent in the clear."""

    tls_required = False
    client_flag: int
    _ssl_context: ssl.SSLContext | None

    async def _request_authentication(self) -> None:
        wanted = self._ssl_context is not None
        encrypts = check_tls(self.server_capabilities, wanted=wanted, required=self.tls_required)
        self.client_flag = with_tls(self.client_flag, encrypts)
        if not encrypts:
            self._ssl_context = None
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        refuse_clear_password(plugin_name, secure=self._secure)
        return await super()._process_auth(plugin_name, auth_packet)


class AioMySqlConnection:
    """One aiomysql connection. Its calls take turns.

    Attributes:
        raw: aiomysql's connection.
        session: the server's number of the session.
        stream: the result that is being read off the connection, which is spooled before anything else is sent.
        local_infile: whether LOAD DATA LOCAL is worth a try.
    """

    def __init__(self, raw: _Connection, props: SqlConnProperties) -> None:
        self.raw = raw
        self.session: int = raw.thread_id()
        self.stream: Any = None
        self.local_infile = props.local_infile
        self._props = props
        self._reader: asyncio.StreamReader = raw._reader  # noqa: SLF001 - where aiomysql itself reads, too slowly
        self._writer: asyncio.StreamWriter = raw._writer  # noqa: SLF001
        self._peer = self._writer.get_extra_info("peername")
        self.talking = Session(raw.server_status)
        self._deadlines = Deadlines(props.query_timeout)
        self._limits = time_limits(props.query_timeout, raw.server_version)
        self._timed = False  # whether the server itself limits the time of statements
        self._server = ""
        self._dead = False
        self.turn = asyncio.Lock()
        self._killed = False

    async def prepare(self) -> None:
        """Set up the session."""
        self._deadlines.limit(self._props.conn_timeout)
        await self.drive(self.talking.query(session_settings(self._props)))
        self._server, self.talking.largest = (await self.run(SERVER, ())).rows[0]
        self._deadlines.limit(None)

    @property
    def dead(self) -> bool:
        """Whether the connection must not be used again."""
        if not self._dead and self.stream is None and not self.turn.locked():
            # Said unasked, it can only be that the server ended the session. The loop may not have seen it yet.
            reader, transport = self._reader, self._writer.transport
            ended = reader._buffer or reader.at_eof() or reader.exception()  # type: ignore[attr-defined]  # noqa: SLF001 - no public name
            self._dead = bool(ended) or transport.is_closing() or hung_up(transport.get_extra_info("socket").fileno())
        return self._dead

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return not self._dead and self.talking.in_transaction

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        async with self.turn:
            await self.make_way()
            if most is None:
                result = await self.drive(self.talking.run(sql, params))
                if self.talking.warnings and logger.isEnabledFor(logging.DEBUG):
                    log_warnings(await self.drive(self.talking.run("SHOW WARNINGS")))
                return result
            result, rest = await self.drive(self.talking.first(sql, params, most, SMALL))
            if rest is not None and not self._dead:
                await self.stop(rest.pass_over())
            return result

    async def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        async with self.turn:
            await self.make_way()
            return await self.drive(self.talking.run_many(sql, rows))

    async def open(self, sql: str, params: tuple[Any, ...]) -> AsyncMySqlCursor:
        """Execute a query whose rows are read in batches."""
        async with self.turn:
            await self.make_way(timed=False)
            answer = await self.drive(self.talking.begin(sql, params))
            return self.follow(answer) if isinstance(answer, Reading) else AsyncMySqlCursor(self, None)

    def follow(self, reading: Reading) -> AsyncMySqlCursor:
        """Return a cursor over the result whose rows are what the server sends next."""
        self.stream = cursor = AsyncMySqlCursor(self, reading)
        return cursor

    async def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> AsyncBatches:
        """Execute a query whose result is read as record batches of at most `rows` rows."""
        async with self.turn:
            await self.make_way(timed=False)
            return await mysql_frames.async_open_batches(self, sql, params, rows, settled=settled)

    async def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        async with self.turn:
            await self.make_way()
            return await mysql_frames.async_load(self, target, batch)

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._deadlines.limit(seconds)

    async def ping(self) -> None:
        """Ask the server for a sign of life."""
        async with self.turn:
            await self.make_way()
            await self.drive(self.talking.ping())

    async def aclose(self) -> None:
        """Close the connection; what it had not committed is undone."""
        self._dead = True
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.forget()
        if self.raw.closed:
            return
        with suppress(OSError, RuntimeError):
            if not self._writer.transport.is_closing():
                self._writer.write(b"\1\0\0\0\1")  # QUIT
        self.raw.close()
        with suppress(OSError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(0.5):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    # What calls are made of

    async def make_way(self, *, timed: bool = True) -> None:
        """Spool the result that is being read, so that something else can be said; have the server limit its time."""
        if self._dead:
            raise ConnectionFailedError("the connection was closed")
        if self.stream is not None:
            await self.stream.spool()
        if self._limits is not None and timed != self._timed:
            await self.drive(self.talking.query(self._limits[timed]))
            self._timed = timed

    async def drive(self, talk: Talk[T]) -> T:
        """Drive a talk to its end, within the time that a statement has; stop the statement when cancelled."""
        self._deadlines.begin()
        try:
            return await self._driven(talk)
        except asyncio.CancelledError:
            # In a task of its own: nothing that cancels this one must leave the answer half read.
            await _sheltered(self._stopped(talk), self._give_up)
            raise
        except Exception as error:
            if error.args[:1] in OUT_OF_TIME or (self._deadlines.stopped and error.args[:1] == (1317,)):
                raise TimeoutExceededError(self._deadlines.why()) from error
            raise
        finally:
            if self._killed:
                self._killed = False
                if not self._dead and not self.talking.busy:
                    await _sheltered(self._calm(), self._give_up)

    async def _driven(self, talk: Talk[T], out: bytes | None = None) -> T:
        resumed = False
        try:
            if out is None:
                out = next(talk)
            while True:
                resumed = False
                if out:
                    await self._send(out)
                data = b"" if type(out) is Onward else await self._receive()
                resumed = True
                out = talk.send(data)
        except StopIteration as end:
            result: T = end.value
            return result
        except Exception as error:
            meant = explained(error)
            if resumed and (meant is not error or self.talking.busy or ends_session(error)):
                self._give_up()
            elif resumed and self.talking.in_transaction and not self.talking.busy:
                with suppress(Exception):  # errors don't tell whether the transaction is still open
                    await self._driven(self.talking.ping())
            if meant is error:
                raise
            raise meant from error
        finally:
            self.raw.server_status = self.talking.status

    async def _stopped(self, talk: Talk[Any], out: bytes | None = b"") -> None:
        """Have the statement stopped whose answer was being received, and read its end; None: the talk is a new one."""
        self._deadlines.stop()
        await self._kill()
        with suppress(Exception):  # what it says about having been stopped
            await self._driven(talk, out)
        self._killed = False
        if not self._dead:
            await self._calm()

    async def stop(self, talk: Talk[Any]) -> None:
        """Have the statement stopped whose answer is being read, and read its end."""
        await _sheltered(self._stopped(talk, None), self._give_up)

    async def _calm(self) -> None:
        """Make sure that a KILL that came too late hits nothing that matters."""
        for _ in range(3):
            try:
                await self._driven(self.talking.run(PROBE))
            except Exception as error:  # noqa: BLE001 - asked again, and given up if that is of no use
                logger.debug("a late KILL was taken: %s", error)
            else:
                return
        self._give_up()

    async def _send(self, data: bytes) -> None:
        if self._writer.transport.is_closing() or self._reader.at_eof():
            self._give_up()
            raise ConnectionFailedError("the connection had broken")
        self._writer.write(data)
        if len(data) > CHUNK:  # shorter ones are taken at once
            try:
                async with asyncio.timeout(self._deadlines.left()):
                    await self._writer.drain()
            except TimeoutError as error:
                self._give_up()
                raise TimeoutExceededError("the connection stalled; it was given up") from error
            except OSError as error:
                self._give_up()
                raise lost(error) from error

    async def _receive(self) -> bytes:
        while True:
            left = self._deadlines.left()
            if left == 0.0:
                await self._out_of_time()
                continue
            try:
                if left is None:
                    data = await self._reader.read(CHUNK)
                else:
                    async with asyncio.timeout(left):
                        data = await self._reader.read(CHUNK)
            except TimeoutError:
                continue
            except (OSError, RuntimeError) as error:
                self._give_up()
                raise lost(error) from error
            if not data:
                self._give_up()
                raise lost("it was closed")
            return data

    async def _out_of_time(self) -> None:
        if self._deadlines.stopped:
            self._give_up()
            raise TimeoutExceededError(f"{self._deadlines.why()}, and its connection given up, as it did not end")
        self._deadlines.stop()
        await self._kill()

    async def _kill(self) -> None:
        self._killed = True
        own = anyio.CapacityLimiter(1)  # not to stand in line behind whatever else uses threads
        await to_thread.run_sync(kill, self._props, self._peer, self._server, self.session, "QUERY", limiter=own)

    def _give_up(self) -> None:
        self._dead = True
        self._writer.transport.abort()


async def _sheltered(work: Coroutine[Any, Any, None], give_up: Any) -> None:
    """Do the work to its end, whoever cancels the task meanwhile; cancelled again, give up."""
    task = asyncio.ensure_future(work)
    try:
        with anyio.CancelScope(shield=True):
            await asyncio.shield(task)
    except asyncio.CancelledError:
        give_up()
        raise
