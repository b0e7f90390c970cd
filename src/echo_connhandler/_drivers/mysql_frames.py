"""Frames of MySQL and MariaDB: results of the binary protocol read to record batches, and record batches loaded.

Blocking and, with names that begin with `async_` or `Async`, for asyncio. What both say to the server and what they
make of its answers is in `_core/mysql`. Nothing here touches a library: the connections drive what is said.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anyio import to_thread

from .._core.mysql.frames import Frames, begun
from .._core.mysql.load_write import NOT_ALLOWED, insert_statements, inserted, load_pieces, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from .._core.mysql.frames import Part
    from .._core.mysql.reading import Reading
    from .._core.mysql.session import Session
    from .._core.mysql.wire import Talk
    from .._core.sqlvalues import Target

__all__ = (
    "AsyncFrameBatches",
    "AsyncHost",
    "FrameBatches",
    "Host",
    "async_load",
    "async_open_batches",
    "load",
    "open_batches",
)

T = TypeVar("T")


class Source(Protocol):
    """A result that is read off the connection, or from where it was spooled."""

    def read(self, take: Callable[[Reading], Talk[T]]) -> T | None:
        """Take something out of the result by a talk; None at its end."""

    def close(self) -> None:
        """End the query."""


class Host(Protocol):
    """What frames need of the connection that they belong to, which has made way for them before they are called.

    Attributes:
        talking: what is said to the server.
        local_infile: whether LOAD DATA LOCAL is worth a try: at first what the properties say, False once the server
            refused it.
    """

    talking: Session
    local_infile: bool

    def drive(self, talk: Talk[T]) -> T:
        """Drive a talk to its end."""

    def follow(self, reading: Reading) -> Source:
        """Return a source of the result whose rows are what the server sends next."""


class AsyncSource(Protocol):
    """The twin of `Source`."""

    async def read(self, take: Callable[[Reading], Talk[T]]) -> T | None: ...

    async def aclose(self) -> None: ...


class AsyncHost(Protocol):
    """The twin of `Host`."""

    talking: Session
    local_infile: bool

    async def drive(self, talk: Talk[T]) -> T: ...

    def follow(self, reading: Reading) -> AsyncSource: ...


_INLINE = 1 << 16  # bytes of a part that is decoded before another thread would have begun


class FrameBatches:
    """A result read as record batches. While one part is received, another thread decodes the one before."""

    def __init__(self, source: Source | None, frames: Frames) -> None:
        self._source = source
        self._frames = frames
        self._worker: ThreadPoolExecutor | None = None
        self._ahead: Future[pa.RecordBatch] | None = None
        self._begun = False

    def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        if not self._begun:
            self._begun = True
            part = self._receive()
            if part is None or part.last:
                return self._frames.decode(part)
            self._submit(part)
        if self._ahead is None:
            return None
        following = self._receive()
        batch = self._ahead.result()
        self._ahead = None
        if following is not None and following.rows:
            self._submit(following)
        else:
            self._rest()
        return batch

    def close(self) -> None:
        """End the query."""
        self._rest()
        if self._source is not None:
            self._source.close()

    def _receive(self) -> Part | None:
        return None if self._source is None else self._source.read(self._frames.part)

    def _submit(self, part: Part) -> None:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "echo-connhandler-decode")
        self._ahead = self._worker.submit(self._frames.decode, part)

    def _rest(self) -> None:
        worker, self._worker, self._ahead = self._worker, None, None
        if worker is not None:
            worker.shutdown()


class AsyncFrameBatches:
    """The twin of `FrameBatches`."""

    def __init__(self, source: AsyncSource | None, frames: Frames) -> None:
        self._source = source
        self._frames = frames
        self._ahead: asyncio.Future[pa.RecordBatch] | None = None
        self._begun = False

    async def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        if not self._begun:
            self._begun = True
            part = await self._receive()
            if part is None or (part.last and part.size < _INLINE):
                return self._frames.decode(part)
            self._submit(part)
        if self._ahead is None:
            return None
        following = await self._receive()
        batch = await self._ahead
        self._ahead = None
        if following is not None and following.rows:
            self._submit(following)
        return batch

    async def aclose(self) -> None:
        """End the query."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
        if self._source is not None:
            await self._source.aclose()

    async def _receive(self) -> Part | None:
        return None if self._source is None else await self._source.read(self._frames.part)

    def _submit(self, part: Part) -> None:
        self._ahead = asyncio.get_running_loop().run_in_executor(None, self._frames.decode, part)


def open_batches(host: Host, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> FrameBatches:
    """Execute a query whose result is read as record batches: `SqlConnection.open_batches`."""
    reading = host.drive(begun(host.talking, sql, params))
    return FrameBatches(None if reading is None else host.follow(reading), Frames(reading, rows, settled=settled))


async def async_open_batches(
    host: AsyncHost, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool
) -> AsyncFrameBatches:
    """Execute a query whose result is read as record batches: `AsyncSqlConnection.open_batches`."""
    reading = await host.drive(begun(host.talking, sql, params))
    return AsyncFrameBatches(None if reading is None else host.follow(reading), Frames(reading, rows, settled=settled))


def load(host: Host, target: Target, batch: pa.RecordBatch) -> int:
    """Insert a record batch by LOAD DATA LOCAL, where the server allows that, or INSERT: `SqlConnection.load`."""
    if host.local_infile:
        pieces = load_pieces(batch)
        try:
            return host.drive(loaded(host.talking, target, batch.schema, pieces, batch.num_rows))
        except Exception as error:
            if error.args[:1] not in NOT_ALLOWED:
                raise
        host.local_infile = False
    return host.drive(inserted(host.talking, insert_statements(target, batch, backslashes=host.talking.backslashes)))


async def async_load(host: AsyncHost, target: Target, batch: pa.RecordBatch) -> int:
    """Insert a record batch: `AsyncSqlConnection.load`."""
    if host.local_infile:
        pieces = await to_thread.run_sync(load_pieces, batch)
        try:
            return await host.drive(loaded(host.talking, target, batch.schema, pieces, batch.num_rows))
        except Exception as error:
            if error.args[:1] not in NOT_ALLOWED:
                raise
        host.local_infile = False

    def statements() -> list[tuple[bytes, int]]:
        return list(insert_statements(target, batch, backslashes=host.talking.backslashes))

    return await host.drive(inserted(host.talking, await to_thread.run_sync(statements)))
