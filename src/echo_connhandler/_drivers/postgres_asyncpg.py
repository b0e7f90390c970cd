"""PostgreSQL through asyncpg, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import asyncpg

from .._core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectTimeoutError,
    EchoConnError,
    Kind,
    ParameterError,
    TimeoutExceededError,
)
from .._core.postgres.binding import OPEN, Kinds, bind, bind_many, recast, settle, typed
from .._core.postgres.values import TYPES_SQL, Types
from .._core.sqltext import first_keyword
from .._core.sqlvalues import Result, Target
from .._core.statements import statement
from .postgres_common import (
    AT_ONCE,
    CANCEL_GRACE,
    NO_CURSOR,
    OUTDATED,
    POOLED,
    Attempt,
    Clock,
    affected,
    attempts,
    can_declare,
    check_copy,
    in_slices,
    not_committed,
    read_only_server,
    session_settings,
    unsent,
)
from .sockets import hung_up
from .sql_tls import sql_tls_context

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sql_properties import SqlConnProperties
    from .postgres_frames_asyncpg import Stream
    from .protocol import AsyncBatches
    from .registry import SqlSettings

__all__ = ("AsyncpgConnection", "connect")

logger = logging.getLogger("echo_connhandler.sql")

_NOTHING = "SELECT"  # a row of no columns; asyncpg stumbles over an empty statement
_STATEMENTS = 100  # prepared at a time in a session
# What asyncpg reads exactly as we want it, in binary, and what it takes a parameter of such a type for.
_NATIVE = {16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 700: "float4", 701: "float8"}
_BINARY = frozenset({*_NATIVE, 19, 25, 1042, 1043})


async def connect(settings: SqlSettings) -> AsyncpgConnection:
    """Open a connection to the first of the hosts that will do."""
    props: SqlConnProperties = settings.props
    session = session_settings(props)
    failure: EchoConnError | None = None
    for attempt in attempts(props):
        where = f"{attempt.host}:{attempt.port}"
        try:
            return AsyncpgConnection(await _open(attempt, props, session), props)
        except TimeoutError as error:
            failure = ConnectTimeoutError(f"{where} did not answer in {attempt.seconds:.3g} s")
            failure.__cause__ = error
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise _failed(AuthenticationError(f"{where}: {error}"), error, Kind.WRONG) from error
        except asyncpg.PostgresError as error:
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, _refusal(error.sqlstate or ""))
        except ssl.SSLError as error:
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, Kind.WRONG)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # TargetServerAttributeNotMatched too: another server may take its place.
            kind = Kind.WRONG if "rejected SSL upgrade" in str(error) else Kind.NOT_SENT
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, kind)
    raise failure or ConnectTimeoutError(f"no host answered within conn_timeout={props.conn_timeout:g} s")


def _refusal(code: str) -> Kind:
    """Return whether a server that answered so to a login may be asked again."""
    if code in ("53300", "57P03", "57P01"):
        return Kind.TEMPORARY
    return Kind.NOT_SENT if code.startswith("08") else Kind.WRONG


def _failed(made: EchoConnError, error: Exception, kind: Kind) -> EchoConnError:
    made.__cause__ = error
    return made.told(attempts=1, elapsed=0.0, kind=kind)


async def _open(attempt: Attempt, props: SqlConnProperties, session: dict[str, str]) -> Any:
    async def attempted(tls: Any) -> Any:
        return await asyncpg.connect(
            host=attempt.host,
            port=attempt.port,
            user=props.user,
            password=props.password,
            database=props.database,
            timeout=attempt.seconds,
            ssl=tls,
            server_settings=session,
            target_session_attrs=attempt.wanted,
            statement_cache_size=0,  # statements are kept here
            connection_class=_Connection,
        )

    if attempt.host.startswith("/") or props.tls == "disable":
        return await attempted(False)
    if props.tls == "require":
        return await attempted(sql_tls_context(props))
    if props.client_cert is None:
        return await attempted("prefer")
    try:
        return await attempted(sql_tls_context(props))
    except ConnectionError:
        return await attempted(False)


class _Turns:
    """A lock that the task which holds it may take again, as frames run statements of their own."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: object = None
        self._depth = 0

    @property
    def taken(self) -> bool:
        return self._lock.locked()

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if self._owner is not task:
            await self._lock.acquire()
            self._owner = task
        self._depth += 1

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()


class _Introspected(NamedTuple):
    name: str = ""


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg's connection, except that types it doesn't know by heart come as the server's text.

    Its own way can't decode composites that hold such text, nor does its public `set_type_codec` take arrays.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.types = Types()
        self._read_as_text(self.types.known)

    async def _introspect_types(self, typeoids: Any, timeout: float | None) -> tuple[list[Any], _Introspected]:
        while missing := self.types.missing(typeoids):
            rows = await self.fetch(TYPES_SQL, ",".join(map(str, missing)), timeout=timeout)
            self.types.learn(missing, [tuple(row) for row in rows])
        self._read_as_text(typeoids)
        return [], _Introspected()

    def _read_as_text(self, oids: Iterable[int]) -> None:
        settings = self._protocol.get_settings()
        for oid in oids:
            if oid not in _BINARY:
                load = self.types.loader(oid)
                settings.add_python_codec(oid, str(oid), "pg_catalog", [], "scalar", _as_is, load, "text")


class _Plan:
    """A prepared statement, with what is known of its parameters and columns."""

    __slots__ = ("columns", "statement", "types")

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self.types = tuple([each.oid for each in statement.get_parameters()])
        self.columns = tuple([each.name for each in statement.get_attributes()])


class AsyncpgConnection:
    """One connection, used by one task at a time. Cancelling a call stops its statement at the server."""

    def __init__(self, raw: Any, props: SqlConnProperties) -> None:
        self.raw = raw
        self.stream: Stream | None = None
        self.catalog: dict[Any, Any] = {}
        self.session: int = raw.get_server_pid()
        self._props = props
        self._clock = Clock(props)
        self._closed = False
        self._turn = _Turns()
        self._unsettled = False
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        self._numbered = 0
        self._prepares = True
        self._types: Types = raw.types
        self._reading: _AsyncpgCursor | None = None
        raw.add_log_listener(_note)

    # What is known without I/O

    @property
    def dead(self) -> bool:
        """Whether it must not be used again. An end that the event loop has not looked at yet counts."""
        if self._closed or self.raw.is_closed():
            return True
        return not self._turn.taken and self._hung_up()

    def _hung_up(self) -> bool:
        return hung_up(self.raw._transport.get_extra_info("socket").fileno())  # noqa: SLF001 - told nowhere else

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, one of a cursor of ours not counted."""
        return self._reading is None and not self.dead and self.raw.is_in_transaction()

    # Statements

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        kinds, values = bind(sql, params)
        async with self._turn:
            await self._be_ready()
            return await self._answer(sql, kinds, values, most)

    async def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        changed = 0
        async with self._turn:
            await self._be_ready()
            for some in in_slices(rows, AT_ONCE):
                kinds, bound = bind_many(sql, some)
                changed += await self._answer_many(sql, kinds, bound)
        return changed

    async def open(self, sql: str, params: tuple[Any, ...]) -> _AsyncpgCursor | _Fetched:
        """Execute a query whose rows are read in batches."""
        kinds, values = bind(sql, params)
        async with self._turn:
            await self._be_ready()
            if not can_declare(sql):
                return _Fetched(await self._answer(sql, kinds, values))
            return await self._declared(sql, kinds, values)

    async def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> AsyncBatches:
        """Execute a query whose result is read as record batches of at most `rows` rows."""
        from . import postgres_frames_asyncpg as frames  # numpy and pyarrow: only who reads frames needs them

        async with self._turn:
            await self._be_ready()
            return await frames.open_batches(self, sql, params, rows, settled=settled)

    async def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        from . import postgres_frames_asyncpg as frames

        async with self._turn:
            await self._be_ready()
            return await frames.load(self, target, batch)

    async def ping(self) -> None:
        """Ask the server for an empty statement's answer."""
        async with self._turn:
            await self._be_ready()
            await self._guarded(self.raw.execute, _NOTHING)

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._clock.limit(seconds)

    def remaining(self) -> float | None:
        """Return the seconds that a statement begun now may take, None without end."""
        return self._clock.start()

    async def aclose(self) -> None:
        """Close the connection; what it had not committed is undone."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._turn.taken or self._unsettled:
                self.raw.terminate()
            else:
                await self.raw.close(timeout=CANCEL_GRACE)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # OSError: TimeoutError is one
            self.raw.terminate()
        except BaseException:
            self.raw.terminate()
            raise

    # What the above is made of

    async def _be_ready(self, keep: _AsyncpgCursor | None = None) -> None:
        """Raise if the connection is dead, and make it free for a statement."""
        if self._closed:
            raise ConnectionFailedError("the connection was closed")
        if self.raw.is_closed() or self._hung_up():
            self.raw.terminate()
            raise ConnectionFailedError("the server has closed the connection")
        if self._unsettled:
            await self._settle()
        if self.stream is not None:
            await self.stream.spool()
        if self._reading is not None and self._reading is not keep:
            self._reading = None
            try:
                await self._answer("COMMIT")  # the server keeps the rest of its rows
            except BaseException:
                await self._roll_back()
                raise

    async def _answer(
        self, sql: str, kinds: Kinds = (), values: Sequence[Any] = (), most: int | None = None, *, once: bool = False
    ) -> Result:
        """Execute one statement, which will not be seen again if `once`; the caller has the turn."""
        check_copy(sql)
        text = typed(sql, kinds)
        free = not self.raw.is_in_transaction()
        for last in (False, True):
            known = text in self._plans
            try:
                plan, (sent,) = await self._fitting(text, kinds, [list(values)], once=once)
                if most == 1:
                    first = await self._guarded(plan.statement.fetchrow, *sent)
                    rows = [] if first is None else [tuple(first)]
                else:
                    rows = [*map(tuple, await self._guarded(plan.statement.fetch, *sent))][:most]
                break
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not self._stale(error, text, known=known) or last or not free:
                    raise self.failed(error) from error
        status = plan.statement.get_statusmsg() or ""
        if status.startswith(("DROP", "ALTER")):
            self._plans.clear()
        if status == "ROLLBACK" and first_keyword(sql, "postgres") in ("COMMIT", "END"):
            raise not_committed()
        return Result(plan.columns, rows, affected(status))

    def _stale(self, error: Exception, text: str, *, known: bool) -> bool:
        """Tell whether what was prepared before may be to blame, and forget it then."""
        code = getattr(error, "sqlstate", None) or ""
        if isinstance(error, asyncpg.OutdatedSchemaCacheError) or (known and code in POOLED):
            self._plans.clear()
            self._prepares = self._prepares and code not in POOLED
            return True
        self._plans.pop(text, None)
        return known and code[:2] in OUTDATED

    async def _answer_many(self, sql: str, kinds: Kinds, bound: list[list[Any]]) -> int:
        """Execute one statement for many rows without waiting for the answer to each."""
        known = statement(sql, "postgres")
        # asyncpg counts no rows there: each row that is changed is answered with one.
        counted = known.first in ("INSERT", "UPDATE", "DELETE") and "returning" not in sql.lower()
        if not counted or len(bound) == 1:
            return sum([(await self._answer(sql, kinds, values)).affected for values in bound])
        text = typed(sql.rstrip().removesuffix(";") + "\nRETURNING 1", kinds)
        plan, rows = await self._fitting(text, kinds, bound, once=False)
        return len(await self._guarded(plan.statement.fetchmany, rows))

    async def _fitting(
        self, text: str, kinds: Kinds, rows: list[list[Any]], *, once: bool
    ) -> tuple[_Plan, list[list[Any]]]:
        """Return the prepared statement, and rows of values as asyncpg takes them for its parameters' types."""
        plan = await self._plan(text, once=once)
        if len(kinds) != len(plan.types):
            raise ParameterError(f"the SQL text has {len(plan.types)} parameters, {len(kinds)} values were given")
        if OPEN in kinds:
            rows = [settle(kinds, values, plan.types, self._types.hstore) for values in rows]
        casts = ["" for _ in kinds]
        for place, (kind, oid) in enumerate(zip(kinds, plan.types, strict=True)):
            # Text for a number: the server reads it, as it does for psycopg.
            if not kind and oid in _NATIVE and any(values[place] is not None for values in rows):
                casts[place] = f"text)::{_NATIVE[oid]}"
        if any(casts):
            plan = await self._plan(recast(text, tuple(casts)), once=once)
        return plan, rows

    async def _plan(self, text: str, *, once: bool) -> _Plan:
        plan = self._plans.get(text)
        if plan is not None:
            self._plans.move_to_end(text)
            return plan
        plan = await self._prepared(text)
        if not once:
            self._plans[text] = plan
            if len(self._plans) > _STATEMENTS:
                self._plans.popitem(last=False)  # asyncpg closes it when nothing refers to it any more
        return plan

    async def _prepared(self, text: str) -> _Plan:
        self._numbered += 1
        name = f"_echo_{self._numbered}" if self._prepares else None
        free = not self.raw.is_in_transaction()
        try:
            return _Plan(await self._guarded(self.raw.prepare, text, name=name))
        except Exception as error:
            failed = self.failed(error)
            if free and self.raw.is_closed():
                raise unsent(error) from error
            raise failed from error

    async def call(self, call: Any, *args: Any, **options: Any) -> Any:
        """Await one call of asyncpg's: for frames."""
        return await self._guarded(call, *args, **options)

    async def stopped(self) -> None:
        """Wait until the server has stopped what was cancelled: for frames."""
        await self._settle()

    async def _guarded(self, call: Any, *args: Any, **options: Any) -> Any:
        """Await one call of asyncpg's within the time that a statement has; leave it stopped if it is cancelled."""
        timeout = self._clock.start()
        try:
            return await call(*args, timeout=timeout, **options)
        except TimeoutError as error:
            raised = self.failed(error)
            await self._settle()
            raise raised from error
        except asyncpg.QueryCanceledError as error:
            raise self.failed(error) from error
        except asyncio.CancelledError:
            self._unsettled = True
            with anyio.CancelScope(shield=True):
                await self._settle()
            raise

    def failed(self, error: BaseException) -> BaseException:
        """Return what `run` would raise when asyncpg raised `error`, and note a dead connection."""
        if isinstance(error, TimeoutError) and not isinstance(error, EchoConnError):
            self._unsettled = True
            return TimeoutExceededError(f"the statement was stopped {self._clock.over() or 'after its time'}")
        if isinstance(error, asyncpg.QueryCanceledError) and (why := self._clock.over()) is not None:
            return TimeoutExceededError(f"the statement was stopped {why}")
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._expects_writes():
            self.raw.terminate()
            return read_only_server(error)
        if isinstance(error, OSError | asyncpg.PostgresConnectionError) and not isinstance(error, EchoConnError):
            self.raw.terminate()
        return error

    def _expects_writes(self) -> bool:
        wanted = self._props.target_session_attrs
        return wanted in ("read-write", "primary") and getattr(self.raw.get_settings(), "in_hot_standby", "") != "off"

    async def _settle(self) -> None:
        """Wait until the server has stopped what was cancelled, or give the connection up."""
        try:
            async with asyncio.timeout(CANCEL_GRACE):
                await self.raw.execute(_NOTHING)
            self._unsettled = False
        except BaseException as error:
            self.raw.terminate()
            if not isinstance(error, Exception):
                raise
            logger.warning("a cancelled statement did not stop; its connection is given up: %s", error)

    # Cursors

    async def _declared(self, sql: str, kinds: Kinds, values: list[Any]) -> _AsyncpgCursor | _Fetched:
        self._numbered += 1
        name = f"_echo_cursor_{self._numbered}"
        own = not self.raw.is_in_transaction()
        hold = "WITH HOLD " if own else ""
        try:
            if own:
                await self._answer("BEGIN")
            await self._answer(f"DECLARE {name} NO SCROLL CURSOR {hold}FOR {sql}", kinds, values, once=True)
            columns = (await self._answer(f"FETCH 0 FROM {name}", once=True)).columns
        except BaseException as error:
            if own:
                await self._roll_back()
            # What no cursor takes that outlives its transaction: FOR UPDATE.
            if not own or getattr(error, "sqlstate", None) not in NO_CURSOR:
                raise
            return _Fetched(await self._answer(sql, kinds, values))
        cursor = _AsyncpgCursor(self, name, columns)
        if own:
            self._reading = cursor
        return cursor

    async def read(self, cursor: _AsyncpgCursor, name: str, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows of a cursor."""
        async with self._turn:
            await self._be_ready(keep=cursor)
            try:
                return (await self._answer(f"FETCH {count} FROM {name}", once=True)).rows
            except BaseException:
                await self._end_reading(cursor)
                raise

    async def end(self, cursor: _AsyncpgCursor, name: str) -> None:
        """Close a cursor."""
        async with self._turn:
            await self._be_ready(keep=cursor)
            if self._reading is cursor:
                await self._end_reading(cursor)
            else:
                # In a transaction that failed it can't be closed, and needs not be.
                with contextlib.suppress(asyncpg.InvalidCursorNameError, asyncpg.InFailedSQLTransactionError):
                    await self._answer(f"CLOSE {name}", once=True)

    async def _end_reading(self, cursor: _AsyncpgCursor) -> None:
        """End the transaction that was begun for a cursor."""
        if self._reading is cursor:
            self._reading = None
            await self._roll_back()

    async def _roll_back(self) -> None:
        with anyio.CancelScope(shield=True):
            if not self.dead and self.raw.is_in_transaction():
                await self._answer("ROLLBACK")


def _as_is(value: str) -> str:
    return value


def _note(_: Any, message: Any) -> None:
    logger.debug("PostgreSQL says: %s: %s", getattr(message, "severity", ""), getattr(message, "message", message))


class _Fetched:
    """A result that was read at once, as no cursor could be had for it."""

    def __init__(self, result: Result) -> None:
        self.columns = result.columns
        self._rows = iter(result.rows)

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return [row for _, row in zip(range(count), self._rows, strict=False)]

    async def aclose(self) -> None:
        self._rows = iter(())


class _AsyncpgCursor:
    """A cursor that the server keeps. Outside of a transaction it has one of its own, until something else is run."""

    def __init__(self, connection: AsyncpgConnection, name: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._connection = connection
        self._name = name
        self._open = True

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return await self._connection.read(self, self._name, count)

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            if not self._connection.dead:
                await self._connection.end(self, self._name)
