"""SQL calls: statements, rows and transactions, on connections of any driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from .._concurrency import AsyncOutcome, AsyncPool, async_owner, async_shielded
from .._core.dialects import Dialect
from .._core.errors import EchoConnError, QueryError
from .._core.retry import NO_RETRIES, Failure, Resilience, for_call
from .._core.sqltext import controls_transaction, native, split_script
from .._core.sqlvalues import ColumnInfo, Params, Result, Row
from .._drivers.protocol import AsyncCursor, AsyncSqlConnection
from .._drivers.registry import SqlSettings, async_open_connection
from .base import AsyncCalls, AsyncEngine
from .retry import async_persist

__all__ = ("AsyncSqlCalls", "AsyncSqlEngine")

T = TypeVar("T")


@dataclass(slots=True)
class AsyncHeld:
    """A connection that calls of one owner join: it's in a transaction, or read from, or both."""

    connection: AsyncSqlConnection
    uses: int = 0
    in_transaction: bool = False
    savepoints: int = 0


class AsyncSqlEngine(AsyncEngine):
    """A pool of connections, and which of them are held by whom."""

    def __init__(self, settings: SqlSettings, dialect: Dialect, policy: Resilience, size: int) -> None:
        self._settings = settings
        self._dialect = dialect
        self._policy = policy.for_connecting()
        self.pool: AsyncPool[AsyncSqlConnection] = AsyncPool(self._open_connection, size, settings.props.conn_timeout)
        self.held: dict[int, AsyncHeld] = {}

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self.pool.connected

    async def _open_connection(self) -> AsyncSqlConnection:
        def named() -> str:
            return f"connecting to {self._settings.target}"

        async def attempt() -> AsyncSqlConnection:
            return await async_open_connection(self._settings)

        return await async_persist(
            attempt, self._policy, lambda error: self._dialect.judge(error, named()), named=named
        )

    async def aclose(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        await self.pool.aclose()


class AsyncSqlCalls(AsyncCalls[AsyncSqlEngine]):
    """The SQL calls of one half of a handler."""

    _dialect: Dialect
    _settings: SqlSettings

    def _async_new_engine(self) -> AsyncSqlEngine:
        return AsyncSqlEngine(self._settings, self._dialect, self.resilience, self.pool_size)

    async def _async_establish(self, engine: AsyncSqlEngine) -> None:
        await engine.pool.release(await engine.pool.acquire())

    async def _async_check(self, engine: AsyncSqlEngine) -> None:
        async def work(connection: AsyncSqlConnection) -> None:
            await connection.ping()

        await self._async_with_connection("ping", work, NO_RETRIES)

    # Statements

    async def async_execute(self, sql: str, params: Params = None, *, retry: Resilience | int | None = None) -> int:
        """Execute one statement and return the number of rows affected (0 where it affects none).

        Args:
            sql: one statement, values as `:name`.
            params: a mapping for the names; or a sequence for placeholders in the driver's own style.
            retry: the number of retries for this call (0 or False: none), or a `Resilience`.

        Raises:
            QueryError: the database refuses the statement; `.code` tells why. ConstraintError for constraints.
            ParameterError: a parameter is missing, or of a type that the database has no value for.
            TimeoutExceededError: it ran for longer than `query_timeout` and was stopped.
            ConnectionFailedError: no connection.
        """
        return (await self._async_run("execute", sql, params, retry)).affected

    async def async_execute_many(
        self, sql: str, rows: Iterable[Params], *, retry: Resilience | int | None = None
    ) -> int:
        """Execute one statement for each of `rows`, all or none, and return the rows affected."""
        self._refuse_control(sql)
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

        return await self._async_atomically("execute_many", work, retry)

    async def async_execute_script(self, sql: str, *, retry: Resilience | int | None = None) -> int:
        """Execute statements separated by `;` and return the rows affected in all.

        All take effect or none, in one transaction, unless the script begins or ends transactions itself or has a
        statement that no transaction may hold (VACUUM, PRAGMA): then they run one by one, and none is repeated.
        """
        statements = split_script(sql, self._dialect.family)

        async def work(connection: AsyncSqlConnection) -> int:
            return sum([(await connection.run(statement, ())).affected for statement in statements])

        if not controls_transaction(statements, self._dialect.family):
            return await self._async_atomically("execute_script", work, retry)

        async def alone(connection: AsyncSqlConnection) -> int:
            try:
                return await work(connection)
            finally:
                # A script that failed between its BEGIN and COMMIT must not leave its transaction to others.
                if self._async_joined() is None:
                    with async_shielded():
                        await self._async_undo(connection)

        return await self._async_with_connection("execute_script", alone, NO_RETRIES)

    async def async_fetch_all(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> list[Row]:
        """Execute a query and return all rows, each a dict of column name to value; see `async_execute`.

        Raises:
            QueryError: besides what `async_execute` raises, two columns have the same name.
        """
        result = await self._async_run("fetch_all", sql, params, retry)
        columns = self._unique(result.columns)
        return [dict(zip(columns, row, strict=True)) for row in result.rows]

    async def async_fetch_one(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> Row | None:
        """Execute a query and return its first row, None if it has none; see `async_fetch_all`."""
        result = await self._async_run("fetch_one", sql, params, retry, most=1)
        columns = self._unique(result.columns)
        return dict(zip(columns, result.rows[0], strict=True)) if result.rows else None

    async def async_fetch_value(self, sql: str, params: Params = None, *, retry: Resilience | int | None = None) -> Any:
        """Execute a query and return the first value of its first row, None if it has no row."""
        result = await self._async_run("fetch_value", sql, params, retry, most=1)
        return result.rows[0][0] if result.rows else None

    async def async_iterate(
        self, sql: str, params: Params = None, *, batch_size: int = 1000, retry: Resilience | int | None = None
    ) -> AsyncIterator[Row]:
        """Execute a query and yield its rows, holding no more than `batch_size` of them at once.

        Until the first row comes it's retried like other calls; later failures are raised, as the rows already
        yielded can't be taken back. Calls that the same task or thread makes meanwhile use the same connection.

        Raises:
            QueryError: see `async_fetch_all`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        async with self._async_cursor("iterate", sql, params, batch_size, retry) as (cursor, rows):
            columns = self._unique(cursor.columns)
            while rows:
                for row in rows:
                    yield dict(zip(columns, row, strict=True))
                rows = await self._async_fetch_more("iterate", cursor, batch_size)

    # Transactions

    @asynccontextmanager
    async def async_transaction(self, *, read_only: bool = False) -> AsyncIterator[Self]:
        """Make what the block does one transaction: committed at its end, undone if it raises.

        Calls on the handler made inside the block by the same task or thread join it; those of others never do, nor
        those of tasks started in the block. A block inside a block is a savepoint.

        Args:
            read_only: the block only reads, and sees one state of the database.

        Raises:
            QueryError: the transaction can't be begun or committed; nothing was committed then.
        """
        engine = self._async_engines.get()
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            async with self._async_savepoint(joined):
                yield self
            return
        begin = self._dialect.begin(read_only=read_only)
        async with self._async_hold("transaction", engine, begin) as held:
            held.in_transaction = True
            try:
                yield self
            except BaseException:
                with async_shielded():
                    await self._async_undo(held.connection)
                raise
            else:
                with async_shielded():
                    await self._async_commit(held.connection)
            finally:
                held.in_transaction = False

    async def async_run_in_transaction(
        self,
        fn: Callable[[Self], AsyncOutcome[T]],
        *,
        read_only: bool = False,
        retry: Resilience | int | None = None,
    ) -> T:
        """Call `fn` with this handler inside a transaction and return what it returns.

        The whole is begun anew where the database undid it for a passing reason (a deadlock, a lock), so `fn` may be
        called several times. Inside of another transaction `fn` is called once, in a savepoint.
        """

        async def attempt() -> T:
            async with self.async_transaction(read_only=read_only):
                return await fn(self)

        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            return await attempt()
        policy = for_call(self.resilience, retry)
        return await async_persist(attempt, policy, lambda _: None, named=lambda: self._named("run_in_transaction"))

    # Catalogue

    async def async_list_tables(self, schema: str | None = None) -> list[str]:
        """Return the names of tables and views, sorted."""
        result = await self._async_catalogue("list_tables", *self._dialect.list_tables_sql(schema))
        return [row[0] for row in result.rows]

    async def async_table_exists(self, table: str, schema: str | None = None) -> bool:
        """Tell whether there is a table or view of that name."""
        result = await self._async_catalogue("table_exists", *self._dialect.table_exists_sql(table, schema))
        return bool(result.rows[0][0])

    async def async_describe_table(self, table: str, schema: str | None = None) -> list[ColumnInfo]:
        """Return the columns of a table or view, in order.

        Raises:
            QueryError: there is no such table.
        """
        result = await self._async_catalogue("describe_table", *self._dialect.describe_table_sql(table, schema))
        if not result.rows:
            raise QueryError(f"{self._named('describe_table')}: there is no table {table!r}")
        return [self._dialect.column_info(row) for row in result.rows]

    async def _async_catalogue(self, what: str, sql: str, params: Sequence[Any]) -> Result:
        async def work(connection: AsyncSqlConnection) -> Result:
            return await connection.run(sql, tuple(params))

        return await self._async_with_connection(what, work, self.resilience)

    # What the calls are made of

    def _named(self, what: str) -> str:
        return f"{what} on {self._settings.target}"

    def _unique(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) != len(columns):
            doubled = sorted({name for name in columns if columns.count(name) > 1})
            raise QueryError(f"the result has several columns named {doubled}: give them aliases (AS)")
        return columns

    def _refuse_control(self, sql: str) -> None:
        if self._dialect.is_transaction_control(sql):
            raise QueryError(
                "transactions are begun and ended with transaction() or run_in_transaction(): a statement that does "
                "so would leave its transaction to whoever gets the connection next"
            )

    async def _async_run(
        self, what: str, sql: str, params: Params, retry: Resilience | int | None, *, most: int | None = None
    ) -> Result:
        self._refuse_control(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def work(connection: AsyncSqlConnection) -> Result:
            return await connection.run(text, values, most)

        return await self._async_with_connection(what, work, for_call(self.resilience, retry))

    async def _async_atomically(
        self, what: str, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]], retry: Resilience | int | None
    ) -> T:
        """Do the work in a transaction, or in a savepoint of the one that the caller is in."""

        async def inside(handler: Any) -> T:
            return await self._async_with_connection(what, work, NO_RETRIES)

        return await self.async_run_in_transaction(inside, retry=retry)

    def _async_joined(self) -> AsyncHeld | None:
        engine = self._async_engines.get()
        return engine.held.get(async_owner()) if engine.held else None

    async def _async_with_connection(
        self, what: str, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]], policy: Resilience
    ) -> T:
        """Do the work on the caller's connection if it holds one, else on one of the pool, with retries."""
        joined = self._async_joined()

        async def attempt() -> T:
            if joined is not None:
                return await work(joined.connection)
            engine = self._async_engines.get()
            connection = await engine.pool.acquire()
            try:
                return await work(connection)
            finally:
                await engine.pool.release(connection)

        # In a transaction one statement can't be repeated alone: the whole of it is what is begun anew.
        if joined is not None and joined.in_transaction:
            policy = NO_RETRIES
        return await async_persist(attempt, policy, self._judge(what), named=lambda: self._named(what))

    def _judge(self, what: str) -> Callable[[Exception], Failure | None]:
        return lambda error: self._dialect.judge(error, self._named(what))

    @asynccontextmanager
    async def _async_hold(self, what: str, engine: AsyncSqlEngine, begin: str | None) -> AsyncIterator[AsyncHeld]:
        """Hold a connection for the caller, so that its calls join; `begin` is executed on it with retries."""
        mine = async_owner()
        held = engine.held.get(mine)

        async def attempt() -> AsyncSqlConnection:
            connection = await engine.pool.acquire() if held is None else held.connection
            try:
                if begin is not None:
                    await connection.run(begin, ())
            except BaseException:
                if held is None:
                    with async_shielded():
                        await self._async_undo(connection)
                        await engine.pool.release(connection)
                raise
            return connection

        connection = await async_persist(attempt, self.resilience, self._judge(what), named=lambda: self._named(what))
        if held is None:
            held = engine.held[mine] = AsyncHeld(connection)
        held.uses += 1
        try:
            yield held
        finally:
            held.uses -= 1
            if held.uses == 0:
                del engine.held[mine]
                await engine.pool.release(connection)

    @asynccontextmanager
    async def _async_savepoint(self, held: AsyncHeld) -> AsyncIterator[None]:
        held.savepoints += 1
        name = f"echo_{held.savepoints}"
        await self._async_say(held.connection, self._dialect.savepoint(name))
        try:
            yield
        except BaseException:
            with async_shielded():
                if not held.connection.dead:
                    await self._async_say(held.connection, self._dialect.rollback_to(name))
                    await self._async_say(held.connection, self._dialect.release(name))
            raise
        else:
            await self._async_say(held.connection, self._dialect.release(name))

    async def _async_say(self, connection: AsyncSqlConnection, sql: str) -> None:
        async def attempt() -> None:
            await connection.run(sql, ())

        await async_persist(attempt, NO_RETRIES, self._judge("transaction"), named=lambda: self._named("transaction"))

    async def _async_commit(self, connection: AsyncSqlConnection) -> None:
        async def attempt() -> None:
            await connection.run(self._dialect.commit, ())

        try:
            await async_persist(attempt, self.resilience, self._judge("commit"), named=lambda: self._named("commit"))
        except EchoConnError:
            await self._async_undo(connection)
            raise

    async def _async_undo(self, connection: AsyncSqlConnection) -> None:
        """Undo what is not committed; a connection on which that fails is closed, which undoes it too."""
        if connection.dead:
            return
        try:
            await connection.run(self._dialect.rollback, ())
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is not to be used again
            if not self._dialect.means_no_transaction(error):
                await connection.aclose()

    @asynccontextmanager
    async def _async_cursor(
        self, what: str, sql: str, params: Params, count: int, retry: Resilience | int | None
    ) -> AsyncIterator[tuple[AsyncCursor, list[tuple[Any, ...]]]]:
        """Open a query and give its cursor and its first rows."""
        self._refuse_control(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)
        engine = self._async_engines.get()
        async with self._async_hold(what, engine, None) as held:

            async def attempt() -> tuple[AsyncCursor, list[tuple[Any, ...]]]:
                cursor = await held.connection.open(text, values)
                return cursor, await cursor.fetch(count)

            policy = NO_RETRIES if held.in_transaction else for_call(self.resilience, retry)
            cursor, rows = await async_persist(attempt, policy, self._judge(what), named=lambda: self._named(what))
            try:
                yield cursor, rows
            finally:
                with async_shielded():
                    await cursor.aclose()

    async def _async_fetch_more(self, what: str, cursor: AsyncCursor, count: int) -> list[tuple[Any, ...]]:
        async def attempt() -> list[tuple[Any, ...]]:
            return await cursor.fetch(count)

        return await async_persist(attempt, NO_RETRIES, self._judge(what), named=lambda: self._named(what))
