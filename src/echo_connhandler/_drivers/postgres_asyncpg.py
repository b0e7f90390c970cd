"""PostgreSQL through asyncpg, on asyncio."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg

from .._core.errors import (
    ConnectionFailedError,
    ParameterError,
)
from .._core.postgres.binding import OPEN, Kinds, bind, bind_many, recast, settle, typed
from .._core.postgres.values import Types
from .._core.sqltext import first_keyword, split_script
from .._core.sqlvalues import Result, Target
from .._core.statements import statement
from .postgres_common import (
    AT_ONCE,
    NO_CURSOR,
    OUTDATED,
    POOLED,
    affected,
    can_declare,
    check_copy,
    in_slices,
    not_committed,
    unsent,
)
from .postgres_cursors import AsyncFetched, AsyncpgCursor
from .postgres_logins_asyncpg import NATIVE, log_in
from .postgres_sessions_asyncpg import NOTHING, AsyncpgSession

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sql_properties import SqlConnProperties
    from .postgres_frames_asyncpg import Stream
    from .protocol import AsyncBatches
    from .registry import SqlSettings

__all__ = ("AsyncpgConnection", "connect")

_STATEMENTS = 100  # prepared at a time in a session


async def connect(settings: SqlSettings) -> AsyncpgConnection:
    """Open a connection to the first of the hosts that will do."""
    return AsyncpgConnection(await log_in(settings.props), settings.props)


class _Plan:
    """A prepared statement, with what is known of its parameters and columns."""

    __slots__ = ("columns", "statement", "types")

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self.types = tuple([each.oid for each in statement.get_parameters()])
        self.columns = tuple([each.name for each in statement.get_attributes()])


class AsyncpgConnection(AsyncpgSession):
    """One connection, with what is said over it."""

    def __init__(self, raw: Any, props: SqlConnProperties) -> None:
        super().__init__(raw, props)
        self.stream: Stream | None = None
        self.catalog: dict[Any, Any] = {}
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        self._numbered = 0
        self._prepares = True
        self._types: Types = raw.types
        self._reading: AsyncpgCursor | None = None

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
            await self._guarded(self.raw.execute, NOTHING)

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
        single = split_script(sql, "postgres")  # without what may follow it: `;`, comments
        if not counted or len(bound) == 1 or len(single) != 1:
            return sum([(await self._answer(sql, kinds, values)).affected for values in bound])
        text = typed(single[0] + "\nRETURNING 1", kinds)
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
