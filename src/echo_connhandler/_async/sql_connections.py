"""SQL connections: the pool of one thread or event loop, and who holds one of them for a while."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from .._concurrency import (
    AsyncOutcome,
    AsyncPool,
    PoolOptions,
    PoolStats,
    async_owner,
    async_shielded,
    async_sweep,
    monotonic,
)
from .._core.dialects import Dialect
from .._core.errors import (
    ConnectionFailedError,
    HandlerClosedError,
    QueryError,
    StalledError,
    TimeoutExceededError,
)
from .._core.retry import NO_RETRIES, Failure, Kind, Resilience
from .base import AsyncCalls, AsyncEngine
from .retry import async_persist

if TYPE_CHECKING:
    from .._drivers.protocol import AsyncSqlConnection
    from .._drivers.registry import SqlSettings

__all__ = ("AsyncHeld", "AsyncSqlConnections", "AsyncSqlEngine")

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


class AsyncSqlEngine(AsyncEngine):
    """A pool of connections."""

    def __init__(self, settings: SqlSettings, dialect: Dialect, policy: Resilience, size: int) -> None:
        self._settings = settings
        self._dialect = dialect
        self._policy = policy.for_connecting()
        self.name = uuid.uuid4().hex
        self.receipts_prepared = False
        options = PoolOptions(
            size=size,
            timeout=settings.props.conn_timeout,
            idle_check=settings.props.idle_check,
            max_age=settings.props.max_age,
        )
        self.pool: AsyncPool[AsyncSqlConnection] = AsyncPool(self._open_connection, options)

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self.pool.connected

    async def _open_connection(self) -> AsyncSqlConnection:
        def named() -> str:
            return f"connecting to {self._settings.target}"

        return await async_persist(
            self._settings.async_open_connection,
            self._policy,
            lambda error: self._dialect.judge(error, named()),
            named=named,
        )

    async def aclose(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        await self.pool.aclose()


@dataclass(slots=True)
class AsyncHeld:
    """A connection that calls of one owner join: it's in a transaction, or read from, or both.

    Attributes:
        owner: the task or thread.
        engine: where the connection belongs.
        connection: the connection.
        uses: how many blocks and calls use it now; without any it goes back to the pool.
        in_transaction: whether a `transaction()` block is open on it.
        savepoints: how many savepoints were set, for their names.
        afterwards: statements to be executed before it goes back.
    """

    owner: object
    engine: AsyncSqlEngine
    connection: AsyncSqlConnection
    uses: int = 0
    in_transaction: bool = False
    savepoints: int = 0
    afterwards: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise if its owner must not go on: what follows would take effect outside of the transaction begun."""
        if self.engine.pool.closed:
            raise HandlerClosedError("the handler was closed or reconnected within this block: a transaction is undone")
        if self.connection.dead:
            raise ConnectionFailedError("the connection was lost within this block: a transaction is undone")
        if self.in_transaction and not self.connection.in_transaction:
            raise QueryError(
                "the database has undone this transaction when one of its statements failed or was stopped: "
                "leave the block and begin anew"
            )


class AsyncSqlConnections(AsyncCalls[AsyncSqlEngine]):
    """How calls come to a connection: of the pool for one call, or the one that their owner holds."""

    _dialect: Dialect
    _settings: SqlSettings
    _async_holds: dict[object, AsyncHeld]  # by owner

    @property
    def async_pool_stats(self) -> PoolStats:
        """How many connections this half has here, and how they are used; no I/O."""
        return self._async_engines.get().pool.stats

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

    def _named(self, what: str) -> str:
        return f"{what} on {self._settings.target}"

    def _judge(self, what: str, *, repeatable: bool = True) -> Callable[[Exception], Failure | None]:
        """Return what tells the meaning of an exception; not `repeatable`: repeating may double an effect."""

        def judge(error: Exception) -> Failure | None:
            failure = self._dialect.judge(error, self._named(what))
            if failure is None and isinstance(error, StalledError):
                failure = Failure(Kind.LOST, TimeoutExceededError(str(error)))
            if failure is not None and failure.kind is Kind.LOST and not repeatable:
                return Failure(Kind.LOST, failure.error, failure.retry_after, repeatable=False)
            return failure

        return judge

    def _async_joined(self) -> AsyncHeld | None:
        return self._async_holds.get(async_owner()) if self._async_holds else None

    async def _async_with_connection(
        self,
        what: str,
        work: Callable[[AsyncSqlConnection], AsyncOutcome[T]],
        policy: Resilience,
        *,
        repeatable: bool = True,
    ) -> T:
        """Do the work on the caller's connection if it holds one, else on one of the pool, with retries.

        Work that is not `repeatable` is not done again where its answer was lost, as its effect might be doubled.
        """
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

        if joined is not None and joined.in_transaction:
            # One statement can't be repeated alone: the whole is what is begun anew, and it is undone until then.
            policy, repeatable = NO_RETRIES, True
        judge = self._judge(what, repeatable=repeatable)
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
        if remaining is None:
            connection = await pool.acquire()
        else:
            began = monotonic()
            connection = await pool.acquire(remaining)
            remaining = max(remaining - (monotonic() - began), 0.001)
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
        if remaining is not None:
            connection.limit(remaining)
        try:
            return await work(connection)
        except TimeoutExceededError as error:
            if connection.dead:  # given up: nobody knows whether the statement went on
                raise StalledError(str(error)) from error
            raise
        finally:
            if remaining is not None:
                connection.limit(None)

    # Not a context manager: when an event loop ends it closes all generators at once, and those of context managers
    # within one that yields rows would be closed from two sides.
    async def _async_hold(self, what: str, policy: Resilience, begin: str | None = None) -> AsyncHeld:
        """Hold a connection for the caller until `_async_let_go`: its calls join; `begin` is executed with retries."""
        await async_sweep()
        joined = self._async_joined()

        async def attempt() -> AsyncHeld:
            if joined is not None:
                joined.check()
                held = joined
            else:
                engine = self._async_engines.get()
                held = AsyncHeld(async_owner(), engine, await engine.pool.acquire())
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
        await held.engine.pool.release(held.connection)

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
