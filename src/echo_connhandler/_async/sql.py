"""SQL calls: statements and rows, and what the database holds, on connections of any driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._concurrency import AsyncOutcome, async_releasing, async_shielded, monotonic
from .._core.errors import QueryError
from .._core.retry import NO_RETRIES, Resilience, for_call
from .._core.sqltext import controls_transaction, native, split_script
from .._core.sqlvalues import ColumnInfo, Params, Result, Row
from .._core.statements import Statement, statement
from .retry import async_persist
from .sql_connections import AsyncHeld
from .sql_transactions import AsyncSqlTransactions

if TYPE_CHECKING:
    from .._drivers.protocol import AsyncBatches, AsyncCursor, AsyncSqlConnection

__all__ = ("AsyncSqlCalls",)

T = TypeVar("T")


class AsyncSqlCalls(AsyncSqlTransactions):
    """The SQL calls of one half of a handler."""

    # Statements

    async def async_execute(
        self, sql: str, params: Params = None, *, idempotent: bool = False, retry: Resilience | int | None = None
    ) -> int:
        """Execute one statement and return the number of rows affected (0 where it affects none).

        Args:
            sql: one statement, values as `:name`.
            params: a mapping for the names; or a sequence for placeholders in the driver's own style.
            idempotent: doing it twice is as good as once: it may be repeated when its answer was lost.
            retry: the number of retries for this call (0 or False: none), or a `Resilience`.

        Raises:
            QueryError: the database refuses the statement; `.code` tells why. ConstraintError for constraints.
            ParameterError: a parameter is missing, or of a type that the database has no value for.
            TimeoutExceededError: it ran for longer than `query_timeout` and was stopped.
            ConnectionFailedError: no connection.
            OutcomeUnknownError: the connection was lost while the statement ran outside of a transaction: it may have
                taken effect. Inside of one, nothing has; `run_in_transaction` finds out and repeats what was undone.
        """
        known = self._async_known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def work(connection: AsyncSqlConnection) -> int:
            return (await connection.run(text, values)).affected

        policy = for_call(self.resilience, retry)
        return await self._async_with_connection("execute", work, policy, repeatable=known.reads or idempotent)

    async def async_execute_many(
        self, sql: str, rows: Iterable[Params], *, idempotent: bool = False, retry: Resilience | int | None = None
    ) -> int:
        """Execute one statement for each of `rows`, all or none, and return the rows affected; see `async_execute`."""
        self._async_known(sql)
        texts = set()
        bound = []
        for row in rows:
            text, values = native(sql, row, self._dialect.family, self._dialect.style)
            texts.add(text)
            bound.append(values)
        if not bound:
            return 0
        if len(texts) > 1:
            raise QueryError("execute_many takes either mappings or sequences, not both")
        text = texts.pop()

        async def work(connection: AsyncSqlConnection) -> int:
            return await connection.run_many(text, bound)

        return await self._async_atomically("execute_many", work, retry, idempotent=idempotent)

    async def async_execute_script(self, sql: str, *, retry: Resilience | int | None = None) -> int:
        """Execute statements separated by `;` and return the rows affected in all.

        All take effect or none, in one transaction, unless the script begins or ends transactions itself or has a
        statement that no transaction may hold (VACUUM, PRAGMA; in MySQL all that make, change or drop tables): then
        they run one by one, and none is repeated.
        """
        statements = split_script(sql, self._dialect.family)
        alone = controls_transaction(statements, self._dialect.family) or any(map(self._commits, statements))
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            for each in statements:
                self._async_known(each)

        async def work(connection: AsyncSqlConnection) -> int:
            return sum([(await connection.run(each, ())).affected for each in statements])

        async def work_alone(connection: AsyncSqlConnection) -> int:
            if joined is not None and joined.in_transaction:
                return await work(connection)
            try:
                affected = await work(connection)
                if connection.in_transaction:
                    raise QueryError("the script begins a transaction and does not end it: it was undone")
            finally:  # a transaction left open would go to whoever gets the connection next
                with async_shielded():
                    await self._async_undo(connection)
            return affected

        if alone:
            return await self._async_with_connection("execute_script", work_alone, NO_RETRIES, repeatable=False)
        return await self._async_atomically("execute_script", work, retry)

    async def async_fetch_all(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> list[Row]:
        """Execute a query and return all rows, each a dict of column name to value; see `async_execute`.

        Raises:
            QueryError: besides what `async_execute` raises, two columns have the same name.
        """
        result = await self._async_fetch("fetch_all", sql, params, retry)
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    async def async_fetch_one(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> Row | None:
        """Execute a query and return its first row, None if it has none; see `async_fetch_all`."""
        result = await self._async_fetch("fetch_one", sql, params, retry, most=1)
        return dict(zip(result.columns, result.rows[0], strict=True)) if result.rows else None

    async def async_fetch_value(self, sql: str, params: Params = None, *, retry: Resilience | int | None = None) -> Any:
        """Execute a query and return the first value of its first row, None if it has no row."""
        result = await self._async_fetch("fetch_value", sql, params, retry, most=1)
        return result.rows[0][0] if result.rows else None

    def async_iterate(
        self, sql: str, params: Params = None, *, batch_size: int = 1000, retry: Resilience | int | None = None
    ) -> AsyncIterator[Row]:
        """Execute a query and yield its rows, holding no more than `batch_size` of them at once.

        Until the first row comes it's retried like other calls, and a deadline holds; later failures are raised, as the
        rows already yielded can't be taken back. Calls that the same task or thread makes meanwhile use the same
        connection. It may be left early.

        Raises:
            QueryError: see `async_fetch_all`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return async_releasing(self._async_rows(sql, params, batch_size, retry))

    async def _async_rows(
        self, sql: str, params: Params, batch_size: int, retry: Resilience | int | None
    ) -> AsyncIterator[Row]:
        if self._async_known(sql).changes:  # in full, however many of its rows are taken
            for changed in await self.async_fetch_all(sql, params, retry=retry):
                yield changed
            return
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def opening(connection: AsyncSqlConnection) -> tuple[AsyncCursor, list[tuple[Any, ...]]]:
            cursor = await connection.open(text, values)
            try:
                self._unique(cursor.columns)
                return cursor, await cursor.fetch(batch_size)
            except BaseException:
                with async_shielded():
                    await cursor.aclose()
                raise

        held, (cursor, rows) = await self._async_opened("iterate", opening, retry)
        try:
            columns = cursor.columns
            while rows:
                for row in rows:
                    yield dict(zip(columns, row, strict=True))
                rows = await self._async_going_on("iterate", held, partial(cursor.fetch, batch_size))
        finally:
            await self._async_end(held, cursor)

    # Catalogue

    async def async_list_tables(self, schema: str | None = None) -> list[str]:
        """Return the names of tables and views, sorted."""
        result = await self._async_catalogue("list_tables", *self._dialect.tables(schema))
        return [row[0] for row in result.rows]

    async def async_table_exists(self, table: str, schema: str | None = None) -> bool:
        """Tell whether there is a table or view of that name."""
        result = await self._async_catalogue("table_exists", *self._dialect.exists(table, schema))
        return bool(result.rows[0][0])

    async def async_describe_table(self, table: str, schema: str | None = None) -> list[ColumnInfo]:
        """Return the columns of a table or view, in order.

        Raises:
            QueryError: there is no such table.
        """
        result = await self._async_catalogue("describe_table", *self._dialect.describe(table, schema))
        if not result.rows:
            raise QueryError(f"{self._named('describe_table')}: there is no table {table!r}")
        return [self._dialect.column_info(row) for row in result.rows]

    async def _async_catalogue(self, what: str, sql: str, params: Sequence[Any]) -> Result:
        async def work(connection: AsyncSqlConnection) -> Result:
            return await connection.run(sql, tuple(params))

        return await self._async_with_connection(what, work, self.resilience)

    # What the calls are made of

    def _unique(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) != len(columns):
            doubled = sorted({name for name in columns if columns.count(name) > 1})
            raise QueryError(f"the result has several columns named {doubled}: give them aliases (AS)")
        return columns

    def _async_known(self, sql: str) -> Statement:
        """Return what is known of a statement; refuse one that begins or ends transactions."""
        known = statement(sql, self._dialect.family)
        if known.controls:
            raise QueryError(
                "transactions are begun and ended with transaction() or run_in_transaction(): a statement that does "
                "so would leave its transaction to whoever gets the connection next"
            )
        if self._commits(sql) and (joined := self._async_joined()) is not None and joined.in_transaction:
            raise QueryError(
                f"this database commits at {known.first}, and so would end the transaction in its midst: "
                "execute it outside of transaction()"
            )
        return known

    def _commits(self, sql: str) -> bool:
        return self._dialect.commits is not None and self._dialect.commits(sql)

    async def _async_fetch(
        self, what: str, sql: str, params: Params, retry: Resilience | int | None, most: int | None = None
    ) -> Result:
        known = self._async_known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def work(connection: AsyncSqlConnection) -> Result:
            result = await connection.run(text, values, None if known.changes else most)
            self._unique(result.columns)
            return result

        if known.changes:  # an error about the columns must not come after the change has taken effect
            return await self._async_atomically(what, work, retry)
        policy = for_call(self.resilience, retry)
        return await self._async_with_connection(what, work, policy, repeatable=known.reads)

    async def _async_opened(
        self,
        what: str,
        opening: Callable[[AsyncSqlConnection], AsyncOutcome[T]],
        retry: Resilience | int | None,
    ) -> tuple[AsyncHeld, T]:
        """Return a connection held for the caller and what `opening` gave on it, retried until it gives something."""
        policy = for_call(self.resilience, retry)
        began, deadline = monotonic(), policy.deadline
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            policy = NO_RETRIES

        async def attempt() -> tuple[AsyncHeld, T]:
            held = await self._async_hold(what, NO_RETRIES)
            try:
                held.check()
                remaining = deadline and began + deadline - monotonic()
                return held, await self._async_limited(held.connection, opening, remaining)
            except BaseException:
                with async_shielded():
                    await self._async_let_go(held)
                raise

        return await async_persist(attempt, policy, self._judge(what), named=lambda: self._named(what), started=began)

    async def _async_going_on(self, what: str, held: AsyncHeld, following: Callable[[], AsyncOutcome[T]]) -> T:
        """Return what comes next of something opened; failures are not retried, as its beginning was given away."""

        async def attempt() -> T:
            held.check()
            return await following()

        return await async_persist(attempt, NO_RETRIES, self._judge(what), named=lambda: self._named(what))

    async def _async_end(self, held: AsyncHeld, opened: AsyncCursor | AsyncBatches) -> None:
        with async_shielded():
            try:
                if not held.connection.dead:
                    await opened.aclose()
            finally:
                await self._async_let_go(held)
