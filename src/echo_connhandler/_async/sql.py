"""SQL calls: statements, rows and transactions, on connections of any driver."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from .._concurrency import AsyncOutcome, AsyncPool, async_owner, async_releasing, async_shielded, async_sweep, monotonic
from .._core.dialects import Dialect
from .._core.errors import ConnectionFailedError, HandlerClosedError, QueryError
from .._core.retry import NO_RETRIES, Failure, Resilience, for_call, single
from .._core.sqltext import controls_transaction, native, split_script
from .._core.sqlvalues import ColumnInfo, Params, Result, Row
from .._core.statements import Statement, statement
from .._drivers.protocol import AsyncCursor, AsyncSqlConnection
from .._drivers.registry import SqlSettings, async_open_connection
from .base import AsyncCalls, AsyncEngine
from .retry import async_persist

__all__ = ("AsyncSqlCalls", "AsyncSqlEngine")

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


class AsyncSqlEngine(AsyncEngine):
    """A pool of connections."""

    def __init__(self, settings: SqlSettings, dialect: Dialect, policy: Resilience, size: int) -> None:
        self._settings = settings
        self._dialect = dialect
        self._policy = policy.for_connecting()
        self.pool: AsyncPool[AsyncSqlConnection] = AsyncPool(self._open_connection, size, settings.props.conn_timeout)

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


@dataclass(slots=True)
class AsyncHeld:
    """A connection that calls of one owner join: it's in a transaction, or read from, or both.

    Attributes:
        owner: the task or thread.
        pool: where the connection belongs.
        connection: the connection.
        uses: how many blocks and calls use it now; without any it goes back to the pool.
        in_transaction: whether a `transaction()` block is open on it.
        savepoints: how many savepoints were set, for their names.
        afterwards: statements to be executed before it goes back.
    """

    owner: object
    pool: AsyncPool[AsyncSqlConnection]
    connection: AsyncSqlConnection
    uses: int = 0
    in_transaction: bool = False
    savepoints: int = 0
    afterwards: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise if its owner must not go on: what follows would take effect outside of the transaction begun."""
        if self.pool.closed:
            raise HandlerClosedError("the handler was closed or reconnected within this block: a transaction is undone")
        if self.connection.dead:
            raise ConnectionFailedError("the connection was lost within this block: a transaction is undone")
        if self.in_transaction and not self.connection.in_transaction:
            raise QueryError(
                "the database has undone this transaction when one of its statements failed or was stopped: "
                "leave the block and begin anew"
            )


@dataclass(slots=True)
class AsyncReading:
    """A query whose rows are read in batches: the columns' names and the first rows."""

    held: AsyncHeld
    cursor: AsyncCursor
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class AsyncSqlCalls(AsyncCalls[AsyncSqlEngine]):
    """The SQL calls of one half of a handler."""

    _dialect: Dialect
    _settings: SqlSettings
    _async_holds: dict[object, AsyncHeld]  # by owner

    def _async_new_engine(self) -> AsyncSqlEngine:
        return AsyncSqlEngine(self._settings, self._dialect, self.resilience, self.pool_size)

    async def _async_establish(self, engine: AsyncSqlEngine) -> None:
        await engine.pool.release(await engine.pool.acquire())

    async def _async_check(self, engine: AsyncSqlEngine) -> None:
        async def work(connection: AsyncSqlConnection) -> None:
            await connection.ping()

        try:
            await self._async_with_connection("ping", work, NO_RETRIES)
        except QueryError:
            logger.debug("the database answered to a ping, though with an error", exc_info=True)

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
        self._known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def work(connection: AsyncSqlConnection) -> int:
            return (await connection.run(text, values)).affected

        return await self._async_with_connection("execute", work, for_call(self.resilience, retry))

    async def async_execute_many(
        self, sql: str, rows: Iterable[Params], *, retry: Resilience | int | None = None
    ) -> int:
        """Execute one statement for each of `rows`, all or none, and return the rows affected."""
        self._known(sql)
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
        alone = controls_transaction(statements, self._dialect.family)
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            for each in statements:
                self._known(each)

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
            return await self._async_with_connection("execute_script", work_alone, NO_RETRIES)
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

        Until the first row comes it's retried like other calls; later failures are raised, as the rows already
        yielded can't be taken back. Calls that the same task or thread makes meanwhile use the same connection.
        It may be left early.

        Raises:
            QueryError: see `async_fetch_all`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return async_releasing(self._async_rows(sql, params, batch_size, retry))

    async def _async_rows(
        self, sql: str, params: Params, batch_size: int, retry: Resilience | int | None
    ) -> AsyncIterator[Row]:
        if self._known(sql).changes:  # in full, however many of its rows are taken
            for changed in await self.async_fetch_all(sql, params, retry=retry):
                yield changed
            return
        reading = await self._async_open("iterate", sql, params, batch_size, retry)
        try:
            columns, rows = reading.columns, reading.rows
            while rows:
                for row in rows:
                    yield dict(zip(columns, row, strict=True))
                rows = await self._async_more("iterate", reading, batch_size)
        finally:
            await self._async_end(reading)

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
        async with self._async_block(read_only=read_only, policy=self.resilience):
            yield self

    @asynccontextmanager
    async def _async_block(self, *, read_only: bool, policy: Resilience) -> AsyncIterator[None]:
        """Open a transaction, or a savepoint in one; `policy` is for beginning and committing alone."""
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            async with self._async_savepoint(joined):
                yield
            return
        held = await self._async_hold("transaction", policy, self._dialect.begin(read_only=read_only))
        held.in_transaction = True
        try:
            yield
            await self._async_commit(held, policy)
        except BaseException:
            with async_shielded():
                await self._async_undo(held.connection)
            raise
        finally:
            held.in_transaction = False
            with async_shielded():
                await self._async_let_go(held)

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
            async with self._async_block(read_only=read_only, policy=NO_RETRIES):
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

    def _known(self, sql: str) -> Statement:
        """Return what is known of a statement; refuse one that begins or ends transactions."""
        known = statement(sql, self._dialect.family)
        if known.controls:
            raise QueryError(
                "transactions are begun and ended with transaction() or run_in_transaction(): a statement that does "
                "so would leave its transaction to whoever gets the connection next"
            )
        return known

    async def _async_fetch(
        self, what: str, sql: str, params: Params, retry: Resilience | int | None, most: int | None = None
    ) -> Result:
        known = self._known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def work(connection: AsyncSqlConnection) -> Result:
            result = await connection.run(text, values, None if known.changes else most)
            self._unique(result.columns)
            return result

        if known.changes:  # an error about the columns must not come after the change has taken effect
            return await self._async_atomically(what, work, retry)
        return await self._async_with_connection(what, work, for_call(self.resilience, retry))

    async def _async_atomically(
        self, what: str, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]], retry: Resilience | int | None
    ) -> T:
        """Do the work in a transaction, or in a savepoint of the one that the caller is in."""
        policy, began = for_call(self.resilience, retry), monotonic()

        async def inside(_: Self) -> T:
            once = single(policy, monotonic() - began)
            return await self._async_with_connection(what, work, once)

        return await self.async_run_in_transaction(inside, retry=policy)

    def _judge(self, what: str) -> Callable[[Exception], Failure | None]:
        return lambda error: self._dialect.judge(error, self._named(what))

    # Connections: of the pool for one call, or held by a block that later calls of its owner join

    def _async_joined(self) -> AsyncHeld | None:
        return self._async_holds.get(async_owner()) if self._async_holds else None

    async def _async_with_connection(
        self, what: str, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]], policy: Resilience
    ) -> T:
        """Do the work on the caller's connection if it holds one, else on one of the pool, with retries."""
        await async_sweep()
        began, deadline = monotonic(), policy.deadline
        joined = self._async_joined()
        # What only a failure needs is not made before there is one: most calls are short.
        try:
            return await self._async_once(joined, work, deadline)
        except Exception as error:  # noqa: BLE001 - judged below
            failed = [error]

        async def attempt() -> T:
            if failed:
                raise failed.pop()
            return await self._async_once(joined, work, deadline and began + deadline - monotonic())

        # In a transaction one statement can't be repeated alone: the whole of it is what is begun anew.
        if joined is not None and joined.in_transaction:
            policy = NO_RETRIES
        judge = self._judge(what)
        return await async_persist(attempt, policy, judge, named=lambda: self._named(what), started=began)

    async def _async_once(
        self, joined: AsyncHeld | None, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]], remaining: float | None
    ) -> T:
        if joined is not None:
            joined.check()
            joined.uses += 1
            try:
                return await self._async_limited(joined.connection, work, remaining)
            finally:
                await self._async_let_go(joined)
        pool = self._async_engines.get().pool
        connection = await pool.acquire()
        try:
            return await self._async_limited(connection, work, remaining)
        finally:
            await pool.release(connection)

    async def _async_limited(
        self,
        connection: AsyncSqlConnection,
        work: Callable[[AsyncSqlConnection], AsyncOutcome[T]],
        remaining: float | None,
    ) -> T:
        if remaining is None:
            return await work(connection)
        connection.limit(remaining)
        try:
            return await work(connection)
        finally:
            connection.limit(None)

    # Not a context manager, nor is `_async_open`: when an event loop ends it closes all generators at once, and those
    # of context managers within one that yields rows would be closed from two sides.
    async def _async_hold(self, what: str, policy: Resilience, begin: str | None = None) -> AsyncHeld:
        """Hold a connection for the caller until `_async_let_go`: its calls join; `begin` is executed with retries."""
        await async_sweep()
        joined = self._async_joined()

        async def attempt() -> AsyncHeld:
            if joined is not None:
                joined.check()
                held = joined
            else:
                pool = self._async_engines.get().pool
                held = AsyncHeld(async_owner(), pool, await pool.acquire())
                self._async_holds[held.owner] = held
            held.uses += 1
            try:
                if begin is not None:
                    await held.connection.run(begin, ())
            except BaseException:
                with async_shielded():
                    await self._async_undo(held.connection)
                    await self._async_let_go(held)
                raise
            return held

        return await async_persist(attempt, policy, self._judge(what), named=lambda: self._named(what))

    async def _async_let_go(self, held: AsyncHeld) -> None:
        """End one use; after the last one the connection goes back to the pool."""
        held.uses -= 1
        if held.uses:
            return
        del self._async_holds[held.owner]
        if held.afterwards:
            with async_shielded():
                await self._async_tidy(held)
        await held.pool.release(held.connection)

    def _async_afterwards(self, sql: str) -> None:
        """Have a statement executed on the connection that the caller holds, before it is given back."""
        held = self._async_joined()
        if held is not None:
            held.afterwards.append(sql)

    async def _async_tidy(self, held: AsyncHeld) -> None:
        try:
            for each in held.afterwards:
                if not held.connection.dead:
                    await held.connection.run(each, ())
        except Exception as error:  # noqa: BLE001 - whatever it was, it is dealt with by closing
            await held.connection.aclose()  # what was left in the session goes with it
            logger.warning("%s: a session could not be tidied up: %s", self._named("write_frame"), error)

    @asynccontextmanager
    async def _async_savepoint(self, held: AsyncHeld) -> AsyncIterator[None]:
        held.savepoints += 1
        name = f"echo_{held.savepoints}"
        held.check()
        await self._async_say(held, self._dialect.savepoint(name))
        try:
            yield
            with async_shielded():
                held.check()
                await self._async_say(held, self._dialect.release(name))
        except BaseException:
            with async_shielded():
                await self._async_undo(held.connection, self._dialect.rollback_to(name), self._dialect.release(name))
            raise

    async def _async_say(self, held: AsyncHeld, sql: str) -> None:
        async def attempt() -> None:
            if sql:
                await held.connection.run(sql, ())

        await async_persist(attempt, NO_RETRIES, self._judge("transaction"), named=lambda: self._named("transaction"))

    async def _async_commit(self, held: AsyncHeld, policy: Resilience) -> None:
        async def attempt() -> None:
            held.check()
            with async_shielded():
                await held.connection.run(self._dialect.commit, ())

        await async_persist(attempt, policy, self._judge("commit"), named=lambda: self._named("commit"))

    async def _async_undo(self, connection: AsyncSqlConnection, *statements: str) -> None:
        """Undo what is not committed, or what `statements` undo; else close the connection, which undoes it all."""
        if not connection.in_transaction:
            return
        try:
            for each in statements or (self._dialect.rollback,):
                if each:
                    await connection.run(each, ())
        except Exception as error:  # noqa: BLE001 - whatever it was, closing undoes the transaction
            await connection.aclose()
            logger.warning("%s: a rollback failed, its connection was closed: %s", self._named("transaction"), error)

    async def _async_open(
        self, what: str, sql: str, params: Params, count: int, retry: Resilience | int | None
    ) -> AsyncReading:
        """Open a query and read its first rows; `_async_end` ends it."""
        self._known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)
        policy = for_call(self.resilience, retry)
        held = await self._async_hold(what, policy)

        async def attempt() -> AsyncReading:
            held.check()
            cursor = await held.connection.open(text, values)
            try:
                return AsyncReading(held, cursor, self._unique(cursor.columns), await cursor.fetch(count))
            except BaseException:
                with async_shielded():
                    await cursor.aclose()
                raise

        if held.in_transaction:
            policy = NO_RETRIES
        try:
            return await async_persist(attempt, policy, self._judge(what), named=lambda: self._named(what))
        except BaseException:
            with async_shielded():
                await self._async_let_go(held)
            raise

    async def _async_end(self, reading: AsyncReading) -> None:
        with async_shielded():
            try:
                if not reading.held.connection.dead:
                    await reading.cursor.aclose()
            finally:
                await self._async_let_go(reading.held)

    async def _async_more(self, what: str, reading: AsyncReading, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows, none at the end."""

        async def attempt() -> list[tuple[Any, ...]]:
            reading.held.check()
            return await reading.cursor.fetch(count)

        return await async_persist(attempt, NO_RETRIES, self._judge(what), named=lambda: self._named(what))
