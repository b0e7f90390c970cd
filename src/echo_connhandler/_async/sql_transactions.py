"""Transactions: blocks, savepoints, repeating a whole one, and the truth about a COMMIT whose answer was lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from .._concurrency import AsyncOutcome, async_shielded, async_sleep, monotonic
from .._core.dialects import Receipt, Receipts
from .._core.errors import ConnectionFailedError, EchoConnError, OutcomeUnknownError
from .._core.retry import NO_RETRIES, Kind, Resilience, for_call, single
from .retry import async_persist
from .sql_connections import AsyncHeld, AsyncSqlConnections

if TYPE_CHECKING:
    from .._drivers.protocol import AsyncSqlConnection

__all__ = ("AsyncSqlTransactions",)

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")

SETTLING = 60.0  # seconds in which a lost COMMIT's outcome is to be found out, the server's restart included


class AsyncSqlTransactions(AsyncSqlConnections):
    """The transactions of one half of a handler."""

    @asynccontextmanager
    async def async_transaction(self, *, read_only: bool = False) -> AsyncIterator[Self]:
        """Make what the block does one transaction: committed at its end, undone if it raises.

        Calls on the handler made inside the block by the same task or thread join it; those of others never do, nor
        those of tasks started in the block. A block inside a block is a savepoint.

        Args:
            read_only: the block only reads, and sees one state of the database.

        Raises:
            QueryError: the transaction can't be begun or committed; nothing was committed then.
            ConnectionFailedError: the connection was lost; nothing was committed.
            OutcomeUnknownError: it was lost while committing, and nobody can tell whether it was committed.
        """
        async with self._async_block(read_only=read_only, policy=self.resilience):
            yield self

    async def async_run_in_transaction(
        self,
        fn: Callable[[Self], AsyncOutcome[T]],
        *,
        read_only: bool = False,
        idempotent: bool = False,
        retry: Resilience | int | None = None,
    ) -> T:
        """Call `fn` with this handler inside a transaction and return what it returns.

        The whole is begun anew where the database undid it for a passing reason (a deadlock, a lock, a lost
        connection), so `fn` may be called several times. Inside of another transaction `fn` is called once, in a
        savepoint.

        Args:
            fn: what is done in the transaction.
            read_only: see `async_transaction`.
            idempotent: doing it twice is as good as once: it may be repeated where nobody can tell whether it was
                committed.
            retry: the number of retries for this call (0 or False: none), or a `Resilience`.

        Raises:
            OutcomeUnknownError: see `async_transaction`.
        """

        async def attempt() -> T:
            try:
                async with self._async_block(read_only=read_only, policy=NO_RETRIES):
                    return await fn(self)
            except OutcomeUnknownError as error:
                if not idempotent:
                    raise
                lost = ConnectionFailedError(str(error))
                raise lost.told(attempts=1, elapsed=0.0, kind=Kind.NOT_SENT) from error

        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            return await attempt()
        policy = for_call(self.resilience, retry)
        return await async_persist(attempt, policy, lambda _: None, named=lambda: self._named("run_in_transaction"))

    async def _async_atomically(
        self,
        what: str,
        work: Callable[[AsyncSqlConnection], AsyncOutcome[T]],
        retry: Resilience | int | None,
        *,
        idempotent: bool = False,
    ) -> T:
        """Do the work in a transaction, or in a savepoint of the one that the caller is in."""
        policy, began = for_call(self.resilience, retry), monotonic()

        async def inside(_: Self) -> T:
            once = single(policy, monotonic() - began)
            return await self._async_with_connection(what, work, once)

        return await self.async_run_in_transaction(inside, idempotent=idempotent, retry=policy)

    @asynccontextmanager
    async def _async_block(self, *, read_only: bool, policy: Resilience) -> AsyncIterator[None]:
        """Open a transaction, or a savepoint in one; `policy` is for beginning and committing alone."""
        joined = self._async_joined()
        if joined is not None and joined.in_transaction:
            async with self._async_savepoint(joined):
                yield
            return
        receipts = None if read_only else self._dialect.receipts
        if receipts is not None:
            await self._async_prepare(receipts, policy)
        held = await self._async_hold("transaction", policy, self._dialect.begin(read_only=read_only))
        held.in_transaction = True
        try:
            yield
            await self._async_commit(held, policy, receipts, wrote=not read_only)
        except BaseException:
            with async_shielded():
                await self._async_undo(held.connection)
            raise
        finally:
            held.in_transaction = False
            with async_shielded():
                await self._async_let_go(held)

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

    async def _async_commit(
        self, held: AsyncHeld, policy: Resilience, receipts: Receipts | None, *, wrote: bool
    ) -> None:
        receipt: Receipt | None = None
        if receipts is not None:
            receipt = await self._async_take(held, receipts)
            wrote = receipts.wrote(receipt)
        judge = self._judge("commit")

        async def commit(connection: AsyncSqlConnection) -> None:
            await connection.run(self._dialect.commit, ())

        async def attempt() -> None:
            held.check()
            try:
                with async_shielded():
                    await self._async_limited(held.connection, commit, None)
            except Exception as error:
                failure = judge(error)
                if failure is None or failure.kind is not Kind.LOST:
                    raise
                if wrote:
                    await self._async_settle(failure.error, receipts, receipt)

        # Where a COMMIT that failed has ended the transaction there's nothing left to commit: the whole is begun anew.
        again = policy if self._dialect.commits_again else NO_RETRIES
        await async_persist(attempt, again, judge, named=lambda: self._named("commit"))

    # A COMMIT whose answer was lost

    async def _async_prepare(self, receipts: Receipts, policy: Resilience) -> None:
        """Make what receipts need, once for all connections of the engine."""
        engine = self._async_engines.get()
        if engine.receipts_prepared or not receipts.prepare or self._async_joined() is not None:
            return

        async def work(connection: AsyncSqlConnection) -> None:
            for each in receipts.prepare:
                await connection.run(each, ())

        await self._async_with_connection("transaction", work, policy)
        engine.receipts_prepared = True

    async def _async_take(self, held: AsyncHeld, receipts: Receipts) -> Receipt:
        session = held.connection.session
        receipt = Receipt(session, f"{held.engine.name}-{session}", uuid.uuid4().hex)

        async def take(connection: AsyncSqlConnection) -> Receipt:
            rows = (await connection.run(*receipts.take(receipt))).rows
            return Receipt(session, receipt.slot, receipt.mark, rows[0] if rows else None)

        async def attempt() -> Receipt:
            held.check()
            return await self._async_limited(held.connection, take, None)

        return await async_persist(attempt, NO_RETRIES, self._judge("commit"), named=lambda: self._named("commit"))

    async def _async_settle(self, lost: EchoConnError, receipts: Receipts | None, receipt: Receipt | None) -> None:
        """Return if the transaction was committed; raise if it was not, or if nobody can tell.

        The session that committed is ended first: "not yet" must not become "committed" later.
        """
        named = self._named("commit")
        if receipts is None or receipt is None:
            raise OutcomeUnknownError(
                f"{named}: the connection was lost while committing: the transaction may have been committed or not, "
                f"and nothing was left by which to tell ({lost})"
            )
        status = await self._async_status(receipts, receipt)
        if status == "committed":
            logger.warning("%s: the connection was lost, but the transaction had been committed", named)
        elif status == "aborted":
            error = ConnectionFailedError(
                f"{named}: the connection was lost, and the transaction was not committed ({lost})"
            )
            raise error.told(attempts=1, elapsed=0.0, kind=Kind.NOT_SENT)
        else:
            raise OutcomeUnknownError(
                f"{named}: the connection was lost while committing, and the server could not tell within "
                f"{SETTLING:g} s whether the transaction was committed ({lost})"
            )

    async def _async_status(self, receipts: Receipts, receipt: Receipt) -> str | None:
        ends, pause = monotonic() + SETTLING, 0.01
        while monotonic() < ends:
            try:
                connection = await self._settings.async_open_connection()
            except Exception as error:  # noqa: BLE001 - the server may be restarting: asked again until time is up
                logger.debug("asking for the outcome of a commit: no connection yet (%s)", type(error).__name__)
            else:
                try:
                    if await self._async_ended(connection, receipts, receipt):
                        status: str | None = (await connection.run(*receipts.status(receipt))).rows[0][0]
                        return status
                except Exception as error:  # noqa: BLE001 - the same
                    logger.debug("asking for the outcome of a commit failed (%s)", type(error).__name__)
                finally:
                    with async_shielded():
                        await connection.aclose()
            await async_sleep(pause)
            pause = min(pause * 2, 1.0)
        return None

    async def _async_ended(self, connection: AsyncSqlConnection, receipts: Receipts, receipt: Receipt) -> bool:
        """Ask the server to end the session and tell whether it has."""
        if not (await connection.run(*receipts.alive(receipt))).rows[0][0]:
            return True
        try:
            await connection.run(*receipts.end_session(receipt))
        except Exception as error:  # noqa: BLE001 - it may have ended meanwhile
            logger.debug("ending the session of a lost commit: %s", type(error).__name__)
        return not (await connection.run(*receipts.alive(receipt))).rows[0][0]
