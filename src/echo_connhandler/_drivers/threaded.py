"""A blocking connection driven from tasks, with real cancellation: the statement is stopped, not left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
from anyio import to_thread

from .._core.errors import ConnectionFailedError

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sqlvalues import Result, Target
    from .protocol import Batches, Cursor, SqlConnection

__all__ = ("Hop", "ThreadedConnection", "worker_hop")

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")
C = TypeVar("C", bound="Cursor | Batches")

GRACE = 5.0  # seconds that a cancelled statement has to end; after that its connection is given up


class Hop(Protocol):
    """Runs a function in the thread that serves a connection. Cancelling it leaves the function running."""

    async def __call__(self, job: Callable[[], T], /) -> T: ...


def worker_hop() -> Hop:
    """Return a hop to worker threads; its own limiter, as other users of the default one must not hold us up."""
    limiter = anyio.CapacityLimiter(1)

    async def hop(job: Callable[[], T], /) -> T:
        return await to_thread.run_sync(job, abandon_on_cancel=True, limiter=limiter)

    return hop


class _Job:
    """A function that runs once, unless it was called off before it began."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._begun = False
        self._called_off = False
        self.done = threading.Event()

    def __call__(self) -> Any:
        with self._lock:
            if self._called_off:
                return None
            self._begun = True
        try:
            return self._work()
        finally:
            self.done.set()

    def call_off(self) -> bool:
        """Return True if it has not begun, and now never will."""
        with self._lock:
            self._called_off = True
            return not self._begun


class ThreadedConnection:
    """An `AsyncSqlConnection` over a blocking one."""

    def __init__(
        self,
        blocking: SqlConnection,
        hop: Hop,
        *,
        close: Callable[[], Awaitable[object]] | None = None,
        abandon: Callable[[], object] | None = None,
    ) -> None:
        """Take a connection and the way to its thread.

        Args:
            blocking: the connection.
            hop: runs functions in its thread, one after the other.
            close: closes it and ends its thread, if `blocking.close` in that thread isn't all.
            abandon: the same for a connection whose statement had to be left behind; called from any thread.
        """
        self._blocking = blocking
        self._hop = hop
        self._close = close or (lambda: hop(blocking.close))
        self._abandon = abandon or blocking.close
        self._given_up = False
        self._closed = False

    @property
    def raw(self) -> Any:
        """The library's own connection."""
        return self._blocking.raw

    @property
    def session(self) -> int:
        """The server's number of this session."""
        return self._blocking.session

    @property
    def dead(self) -> bool:
        """Whether it must not be used again."""
        return self._given_up or self._closed or self._blocking.dead

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return not self.dead and self._blocking.in_transaction

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        return await self._do(partial(self._blocking.run, sql, params, most))

    async def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        return await self._do(partial(self._blocking.run_many, sql, rows, adapted=adapted))

    async def open(self, sql: str, params: tuple[Any, ...]) -> _ThreadedCursor:
        """Execute a query whose rows are read in batches."""
        return _ThreadedCursor(self, await self._opened(partial(self._blocking.open, sql, params)))

    async def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> _ThreadedBatches:
        """Execute a query whose result is read as record batches."""
        opened = await self._opened(partial(self._blocking.open_batches, sql, params, rows, settled=settled))
        return _ThreadedBatches(self, opened)

    async def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        return await self._do(partial(self._blocking.load, target, batch))

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._blocking.limit(seconds)

    async def ping(self) -> None:
        """Raise if the connection is dead."""
        await self._do(self._blocking.ping)

    async def aclose(self) -> None:
        """Close the connection; one that was given up is closed by its statement's end."""
        if not self._closed:
            self._closed = True
            if not self._given_up:
                await self._close()

    async def _opened(self, work: Callable[[], C]) -> C:
        """Do work that opens something, and close what nobody gets any more as the task was cancelled meanwhile."""
        opened: list[C] = []

        def job() -> C:
            opened.append(work())
            return opened[0]

        try:
            return await self._do(job)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                for each in opened:
                    if not self.dead:
                        await self._hop(each.close)
            raise

    async def _do(self, work: Callable[[], T]) -> T:
        if self.dead:
            raise ConnectionFailedError("the connection was closed")
        job = _Job(work)
        try:
            result: T = await self._hop(job)
        except anyio.get_cancelled_exc_class():
            if not job.call_off():
                with anyio.CancelScope(shield=True):
                    await self._stop(job)
            raise
        return result

    async def _stop(self, job: _Job) -> None:
        """Have the running statement stopped and wait until it is. Asking once may be too early: ask until it ends."""
        pause = 0.001
        try:
            with anyio.move_on_after(GRACE):
                while not job.done.is_set():
                    self._blocking.cancel()
                    await anyio.sleep(pause)
                    pause = min(pause * 2, 0.1)
        finally:  # asyncio's own Task.cancel() gets through shields
            if not job.done.is_set():
                self._given_up = True
                logger.warning("a cancelled statement did not stop; its connection is given up")
                threading.Thread(target=self._bury, args=(job,), daemon=True, name="echo-connhandler-bury").start()

    def _bury(self, job: _Job) -> None:
        while not job.done.wait(1):
            self._blocking.cancel()
        self._abandon()


class _ThreadedCursor:
    def __init__(self, connection: ThreadedConnection, cursor: Cursor) -> None:
        self._connection = connection
        self._cursor = cursor

    @property
    def columns(self) -> tuple[str, ...]:
        return self._cursor.columns

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return await self._connection._do(partial(self._cursor.fetch, count))  # noqa: SLF001 - one class in two

    async def aclose(self) -> None:
        if not self._connection.dead:
            await self._connection._do(self._cursor.close)  # noqa: SLF001


class _ThreadedBatches:
    def __init__(self, connection: ThreadedConnection, batches: Batches) -> None:
        self._connection = connection
        self._batches = batches

    async def fetch(self) -> pa.RecordBatch | None:
        return await self._connection._do(self._batches.fetch)  # noqa: SLF001 - one class in two

    async def aclose(self) -> None:
        if not self._connection.dead:
            await self._connection._do(self._batches.close)  # noqa: SLF001
