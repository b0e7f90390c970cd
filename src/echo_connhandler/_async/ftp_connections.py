"""FTP sessions of one thread or event loop, and the work that is done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .._concurrency import AsyncOutcome, AsyncPool, PoolOptions, PoolStats, async_shielded, async_sweep, monotonic
from .._core.ftp.judge import judge
from .._core.ftp.properties import FtpConnProperties
from .._core.retry import NO_RETRIES, Failure, Resilience
from .base import AsyncCalls, AsyncEngine
from .ftp_session import AsyncFtpSession, async_open_session
from .retry import async_persist

if TYPE_CHECKING:
    from .._drivers.registry import FtpSettings

__all__ = ("AsyncFtpConnections", "AsyncFtpEngine", "AsyncFtpHeld", "limit_to")

T = TypeVar("T")


class AsyncFtpEngine(AsyncEngine):
    """A pool of sessions."""

    def __init__(self, settings: FtpSettings, policy: Resilience, size: int) -> None:
        self._settings = settings
        self._policy = policy.for_connecting()
        props: FtpConnProperties = settings.props
        options = PoolOptions(size=size, timeout=props.conn_timeout, idle_check=props.idle_check, max_age=props.max_age)
        self.pool: AsyncPool[AsyncFtpSession] = AsyncPool(self._open_session, options)

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self.pool.connected

    async def _open_session(self) -> AsyncFtpSession:
        def named() -> str:
            return f"connecting to {self._settings.target}"

        async def attempt() -> AsyncFtpSession:
            return await async_open_session(self._settings)

        return await async_persist(attempt, self._policy, lambda error: judge(error, named()), named=named)

    async def aclose(self) -> None:
        """Close all sessions; those in use are closed when they are given back."""
        await self.pool.aclose()


@dataclass(frozen=True, slots=True)
class AsyncFtpHeld(Generic[T]):
    """A session that is kept beyond the work that began with it, until its pool gets it back.

    Attributes:
        session: the session.
        pool: where it goes.
        value: what the work gave.
    """

    session: AsyncFtpSession
    pool: AsyncPool[AsyncFtpSession]
    value: T


class AsyncFtpConnections(AsyncCalls[AsyncFtpEngine]):
    """How calls come to a session."""

    props: FtpConnProperties
    _settings: FtpSettings

    @property
    def async_pool_stats(self) -> PoolStats:
        """How many connections this half has here, and how they are used; no I/O."""
        return self._async_engines.get().pool.stats

    def _async_new_engine(self) -> AsyncFtpEngine:
        return AsyncFtpEngine(self._settings, self.resilience, self.pool_size)

    async def _async_establish(self, engine: AsyncFtpEngine) -> None:
        await engine.pool.release(await engine.pool.acquire())

    async def _async_check(self, engine: AsyncFtpEngine) -> None:
        async def work(session: AsyncFtpSession) -> None:
            await session.ping()

        await self._async_with_session("ping", work, policy=NO_RETRIES)

    def _named(self, what: str) -> str:
        return f"{what} on {self._settings.target}"

    async def _async_with_session(
        self,
        what: str,
        work: Callable[[AsyncFtpSession], AsyncOutcome[T]],
        *,
        progress: Callable[[], int] | None = None,
        policy: Resilience | None = None,
    ) -> T:
        """Do the work with a session that is its own meanwhile, with retries.

        A session that is dead or in the midst of something afterwards is not used again: work that is interrupted
        leaves nothing to be tidied up.

        Args:
            what: names the call in messages.
            work: done once for each attempt, each time with a session that works, as far as is known. It must be such
                that doing it again after a lost reply doubles nothing.
            progress: tells how far the call has come; attempts are counted from the one that last came further.
            policy: the call's, if not the handler's.
        """
        await async_sweep()
        policy = policy or self.resilience
        began = monotonic()
        ends = None if policy.deadline is None else began + policy.deadline

        async def attempt() -> T:
            return await self._async_once(work, ends)

        def judged(error: Exception) -> Failure | None:
            return judge(error, self._named(what))

        return await async_persist(
            attempt, policy, judged, named=lambda: self._named(what), started=began, progress=progress
        )

    async def _async_once(self, work: Callable[[AsyncFtpSession], AsyncOutcome[T]], ends: float | None) -> T:
        pool = self._async_engines.get().pool
        session = await pool.acquire(None if ends is None else ends - monotonic())
        try:
            limit_to(session, ends)
            return await work(session)
        finally:
            limit_to(session, None)
            await pool.release(session)

    async def _async_hold(
        self, work: Callable[[AsyncFtpSession], AsyncOutcome[T]], ends: float | None
    ) -> AsyncFtpHeld[T]:
        """Do the work, once, with a session that the caller keeps; it is to go back to its pool, without a limit."""
        pool = self._async_engines.get().pool
        session = await pool.acquire(None if ends is None else ends - monotonic())
        try:
            limit_to(session, ends)
            return AsyncFtpHeld(session, pool, await work(session))
        except BaseException:
            limit_to(session, None)
            with async_shielded():
                await pool.release(session)
            raise

    async def _async_persisted(
        self,
        what: str,
        attempt: Callable[[float | None], AsyncOutcome[T]],
        *,
        policy: Resilience,
        progress: Callable[[], int],
    ) -> T:
        """Make attempts that see to their session themselves, until one succeeds; none of them changes anything.

        Each is told when, by the deadline, it is to have ended.
        """
        await async_sweep()
        began = monotonic()
        ends = None if policy.deadline is None else began + policy.deadline
        return await async_persist(
            lambda: attempt(ends),
            policy,
            lambda error: judge(error, self._named(what)),
            named=lambda: self._named(what),
            started=began,
            progress=progress,
        )


def limit_to(session: AsyncFtpSession, ends: float | None) -> None:
    """Let nothing that the session does last beyond a moment of `monotonic()`; None: let it last."""
    session.limit(None if ends is None else max(ends - monotonic(), 0.001))
