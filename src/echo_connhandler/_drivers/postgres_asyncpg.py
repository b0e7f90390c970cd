"""PostgreSQL through asyncpg, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg

from .._core.errors import (
    ConnectionFailedError,
    EchoConnError,
    ParameterError,
    TimeoutExceededError,
)
from .._core.postgres.binding import OPEN, Kinds, bind, bind_many, recast, settle, typed
from .._core.postgres.values import Types
from .._core.sqltext import first_keyword
from .._core.sqlvalues import Result, Target
from .._core.statements import statement
from .postgres_common import (
    AT_ONCE,
    CANCEL_GRACE,
    NO_CURSOR,
    OUTDATED,
    POOLED,
    Clock,
    affected,
    can_declare,
    check_copy,
    in_slices,
    not_committed,
    read_only_server,
    unsent,
)
from .postgres_cursors import AsyncFetched, AsyncpgCursor
from .postgres_logins_asyncpg import NATIVE, log_in
from .sockets import hung_up

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


async def connect(settings: SqlSettings) -> AsyncpgConnection:
    """Open a connection to the first of the hosts that will do."""
    return AsyncpgConnection(await log_in(settings.props), settings.props)


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
        self._reading: AsyncpgCursor | None = None
        raw.add_log_listener(_note)

    # What is known without I/O

    @property
    def dead(self) -> bool:
        """Whether it must not be used again. An end that the event loop has not looked at yet counts."""
        if self._closed or self.raw.is_closed():
            return True
        return not self._turn.taken and self._hung_up()

    def _hung_up(self) -> bool:
        sock = self.raw._transport.get_extra_info("socket")  # noqa: SLF001 - told nowhere else
        return sock is None or hung_up(sock.fileno())

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

    async def open(self, sql: str, params: tuple[Any, ...]) -> AsyncpgCursor | AsyncFetched:
        """Execute a query whose rows are read in batches."""
        kinds, values = bind(sql, params)
        async with self._turn:
            await self._be_ready()
            if not can_declare(sql):
                return AsyncFetched(await self._answer(sql, kinds, values))
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

    async def _be_ready(self, keep: AsyncpgCursor | None = None) -> None:
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
            if not kind and oid in NATIVE and any(values[place] is not None for values in rows):
                casts[place] = f"text)::{NATIVE[oid]}"
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
        except (asyncpg.QueryCanceledError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError) as error:
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
        if isinstance(error, asyncpg.QueryCanceledError) and (why := self._clock.over(str(error))) is not None:
            return TimeoutExceededError(f"the statement was stopped {why}")
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._expects_writes():
            self.raw.terminate()
            return read_only_server(error)
        if isinstance(error, asyncpg.InternalClientError):
            self.raw.terminate()
            if "cannot switch to state" in str(error):  # the server has said goodbye; nothing was sent after that
                return ConnectionFailedError("the server has closed the connection")
        if isinstance(error, OSError | asyncpg.PostgresConnectionError) and not isinstance(error, EchoConnError):
            self.raw.terminate()
            said = error.__cause__
            if said is not None and isinstance(said, asyncpg.PostgresError):
                error.__cause__ = None
                error = said  # the server's last words, which tell why it hung up
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

    async def _declared(self, sql: str, kinds: Kinds, values: list[Any]) -> AsyncpgCursor | AsyncFetched:
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
            return AsyncFetched(await self._answer(sql, kinds, values))
        cursor = AsyncpgCursor(self, name, columns)
        if own:
            self._reading = cursor
        return cursor

    async def read(self, cursor: AsyncpgCursor, name: str, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows of a cursor."""
        async with self._turn:
            await self._be_ready(keep=cursor)
            try:
                return (await self._answer(f"FETCH {count} FROM {name}", once=True)).rows
            except BaseException:
                await self._end_reading(cursor)
                raise

    async def end(self, cursor: AsyncpgCursor, name: str) -> None:
        """Close a cursor."""
        async with self._turn:
            await self._be_ready(keep=cursor)
            if self._reading is cursor:
                await self._end_reading(cursor)
            else:
                # In a transaction that failed it can't be closed, and needs not be.
                with contextlib.suppress(asyncpg.InvalidCursorNameError, asyncpg.InFailedSQLTransactionError):
                    await self._answer(f"CLOSE {name}", once=True)

    async def _end_reading(self, cursor: AsyncpgCursor) -> None:
        """End the transaction that was begun for a cursor."""
        if self._reading is cursor:
            self._reading = None
            await self._roll_back()

    async def _roll_back(self) -> None:
        with anyio.CancelScope(shield=True):
            if not self.dead and self.raw.is_in_transaction():
                await self._answer("ROLLBACK")


def _note(_: Any, message: Any) -> None:
    logger.debug("PostgreSQL says: %s: %s", getattr(message, "severity", ""), getattr(message, "message", message))
