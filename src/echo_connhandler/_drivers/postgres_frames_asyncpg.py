"""Frames of PostgreSQL through asyncpg: results of COPY read to record batches, and record batches sent by COPY.

The twin for psycopg is `postgres_frames`. What both decide and decode is in `_core/postgres`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
from anyio import to_thread

from .._core.errors import ConnectionFailedError, ParameterError
from .._core.extras import require
from .._core.postgres.binding import bind, settle, typed
from .._core.postgres.copy_plan import CopyPlan, Described, Question, plan, row_description
from .._core.postgres.copy_rows import MarkedRows
from .._core.postgres.copy_write import Loading, loading
from .._core.postgres.frames import Frames
from .._core.postgres.types import Column
from .postgres_frames_common import MOST_BYTES, SAVEPOINT, UNDO, WHOLE, FrameHost

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sqlvalues import Result, Target
    from .protocol import AsyncBatches, AsyncCursor

__all__ = ("Host", "Stream", "load", "open_batches")

T = TypeVar("T")

_AHEAD = 1 << 25  # bytes that are read while nobody asks for them


class Stream(Protocol):
    """A COPY that is being read off the connection."""

    async def spool(self) -> None:
        """Move what is still to come to a file on disk, so that the connection is free for other statements."""


class Host(FrameHost[Stream], Protocol):
    """What frames need of the connection that they belong to."""

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result: ...

    async def open(self, sql: str, params: tuple[Any, ...]) -> AsyncCursor: ...

    async def call(self, call: Any, *args: Any, **options: Any) -> Any:
        """Await one call of asyncpg's within the time that a statement has; leave it stopped if it is cancelled."""

    async def stopped(self, sql: str = ...) -> None:
        """Wait until the server has stopped what was cancelled, and execute `sql` then; or give the connection up."""

    def remaining(self) -> float | None:
        """Return the seconds that a statement begun now may take, None without end; 0.001 when there are none left."""

    def failed(self, error: BaseException) -> BaseException:
        """Return what `run` would raise when asyncpg raised `error` (TimeoutError included), and note a dead one."""


async def open_batches(host: Host, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> AsyncBatches:
    """Execute a query whose result is read as record batches: `AsyncSqlConnection.open_batches`."""
    require("pyarrow", extra="arrow", purpose="reading frames")
    require("numpy", extra="arrow", purpose="reading frames")
    kinds, values = bind(sql, params)
    text = typed(sql, kinds)
    described = await _describe(host, text)
    if len(values) != len(described.params):
        raise ParameterError(f"the SQL text has {len(described.params)} parameters, {len(values)} values were given")
    values = settle(kinds, values, described.params, frozenset())
    mark = os.urandom(8)
    number = int.from_bytes(mark, "big", signed=True)
    made = await _answered(host, plan(text, values, described, host.catalog, number))
    if not made.query:
        batches = RowBatches(host, made, rows, settled=settled)
        await batches.start(sql, params)
        return batches
    copied = CopyBatches(host, made, mark, rows, settled=settled)
    await copied.start()
    return copied


async def load(host: Host, target: Target, batch: pa.RecordBatch) -> int:
    """Insert a record batch by COPY: `AsyncSqlConnection.load`."""
    require("numpy", extra="arrow", purpose="writing frames")
    steps = loading(target, batch, host.catalog)
    made = await _answered(host, steps)
    schema, table = made.table
    form = {"format": "binary"} if made.binary else {"format": "csv", "null": ""}
    await host.call(
        host.raw.copy_to_table,
        table,
        schema_name=schema,
        columns=list(target.columns),
        source=_pieces(made),
        **form,
    )
    await _answered(host, made.check(host.catalog))
    return batch.num_rows


async def _pieces(made: Loading) -> AsyncIterator[bytes]:
    pieces = made.pieces()
    while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
        yield piece


async def _describe(host: Host, sql: str) -> Described:
    listener = _Listener(host.raw)
    try:
        statement = await host.call(host.raw.prepare, sql)
    finally:
        listener.end()
    columns = [Column(each.name, each.type.oid, -1) for each in statement.get_attributes()]
    told = row_description(bytes(listener.heard))
    # Anything else would be a mistake of ours: then numerics come as text.
    if [each[:2] for each in told] == [each[:2] for each in columns]:
        columns = list(told)
    return Described(tuple([each.oid for each in statement.get_parameters()]), tuple(columns))


class _Listener:
    """Hears what the server answers, between the transport and asyncpg, which keeps the modifiers of types to itself.

    No SQL tells them of a query's columns without making a view, which standbys and reading transactions refuse.
    """

    def __init__(self, raw: Any) -> None:
        self.heard = bytearray()
        self._transport = raw._transport  # noqa: SLF001 - it has no other name
        self._protocol = self._transport.get_protocol()
        self._transport.set_protocol(self)

    def end(self) -> None:
        self._transport.set_protocol(self._protocol)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self._protocol.data_received(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)


async def _answered(host: Host, steps: Generator[Question, list[tuple[Any, ...]], T]) -> T:
    """Put the questions of a plan to the server."""
    try:
        question = next(steps)
        while True:
            question = steps.send((await host.run(question.sql, ())).rows)
    except StopIteration as end:
        made: T = end.value
        return made


class _Stepwise:
    """Awaits a coroutine, and tells each future that it waits for."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], batches: CopyBatches) -> None:
        self._coroutine = coroutine
        self._batches = batches

    def __await__(self) -> Generator[Any, Any, object]:
        step = partial(self._coroutine.send, None)
        while True:
            try:
                future = step()
            except StopIteration as end:
                return end.value
            self._batches.waits(future)
            try:
                yield future
            except BaseException as error:  # noqa: BLE001 - it's the coroutine's to see
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, None)


class CopyBatches:
    """The result of a query, read by COPY in a task of its own, as asyncpg hands the bytes to who is waiting for them.

    The task reads one batch ahead. Batches are decoded in a thread, while other tasks go on.
    """

    def __init__(self, host: Host, made: CopyPlan, mark: bytes, rows: int, *, settled: bool) -> None:
        self._host = host
        self._plan = made
        self._wanted = rows
        self._frames = Frames(made, settled=settled)
        self._rows = MarkedRows(mark, len(made.kinds))
        self._most = 2**62 if rows >= WHOLE else MOST_BYTES
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ended = self._saved = self._left = self._taking = False
        self._waiter: asyncio.Future[Any] | None = None
        self._failure: Exception | None = None
        self._file: Any = None

    async def start(self) -> None:
        """Begin, and wait for the first row or an error."""
        self._saved = self._host.in_transaction
        if self._saved:
            await self._host.run(f"SAVEPOINT {SAVEPOINT}", ())
        self._task = asyncio.create_task(self._copy())
        self._host.stream = self
        async with self._abandoned_on_failure():
            await self._until(1)

    async def _copy(self) -> None:
        try:
            if not self._left:
                await _Stepwise(
                    self._host.raw.copy_from_query(self._plan.query, output=self._take, format="binary"), self
                )
        except asyncio.CancelledError:  # of the future alone, see `_leave`; nobody cancels the task
            pass
        except Exception as error:  # noqa: BLE001 - raised by who reads
            self._failure = error
        finally:
            self._ended = True
            self._news.set()

    async def _take(self, piece: bytes) -> None:
        self._taking = True
        try:
            if self._left:
                return
            if self._file is not None:
                await to_thread.run_sync(self._file.write, len(piece).to_bytes(8, "big") + piece)
                return
            self._rows.feed(piece)
            self._news.set()
            while self._file is None and not self._left and self._full():
                self._room.clear()
                await self._room.wait()
        finally:
            self._taking = False

    def waits(self, future: asyncio.Future[Any]) -> None:
        """Note what asyncpg, or `_take` on its behalf, waits for from now on."""
        self._waiter = future
        if self._left:
            self._leave()

    def _leave(self) -> None:
        """Have the COPY stopped, where it has not ended already.

        asyncpg asks the server to stop when the future that it waits for is cancelled. An error raised by `_take`, or
        a cancelled task, would have it ask after the end too: then it would wait for an answer that never comes. And
        it doesn't ask if the next piece comes before it has seen that the future is cancelled.
        """
        self._left = True
        self._room.set()
        if self._waiter is not None and not self._taking:
            self._host.raw._transport.pause_reading()  # noqa: SLF001 - asyncpg has no name for it
            self._waiter.cancel()

    def _full(self) -> bool:
        rows = self._rows
        enough = rows.waiting >= 2 * self._wanted or rows.size >= _AHEAD
        return (rows.waiting >= self._wanted and enough) or rows.size >= self._most

    async def _until(self, rows: int) -> None:
        """Wait until so many rows are there, or all."""
        try:
            async with asyncio.timeout(self._host.remaining()):
                while not self._ended and self._rows.waiting < rows and self._rows.size < self._most:
                    self._news.clear()
                    self._room.set()
                    await self._news.wait()
        except TimeoutError as error:
            raise self._host.failed(error) from error
        if self._failure is not None:
            raise self._host.failed(self._failure) from self._failure

    @contextlib.asynccontextmanager
    async def _abandoned_on_failure(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._abandon()
            raise

    async def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        async with self._abandoned_on_failure():
            if self._host.stream is self:
                await self._until(self._wanted)
                if self._ended:
                    await self._finish()
            elif self._file is not None:
                await to_thread.run_sync(self._reread)
            elif not self._ended:
                raise ConnectionFailedError("the connection was closed")
            return await self._batch()

    async def _batch(self) -> pa.RecordBatch | None:
        parts = self._rows.gather(self._wanted)
        self._room.set()
        found = await to_thread.run_sync(self._decode, parts)
        if found is None:
            return None
        batch, rest, left = found
        self._rows.restore(rest, left)
        return batch

    def _decode(self, parts: list[bytes]) -> tuple[pa.RecordBatch, bytes, int] | None:
        rows, rest, left = self._rows.split(parts, self._wanted)
        batch = self._frames.of_copy(rows)
        return None if batch is None else (batch, rest, left)

    async def _finish(self) -> None:
        """Give the connection back."""
        if self._host.stream is self:
            self._host.stream = None
            if self._task is not None:
                await self._task
            if self._saved and self._failure is None and not self._host.dead:
                await self._host.call(self._host.raw.execute, f"RELEASE SAVEPOINT {SAVEPOINT}")

    # Leaving early, or making room

    async def spool(self) -> None:
        """Move what is still to come to a file on disk; an error of the query is raised when that is read."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="echo-connhandler-")  # noqa: SIM115 - closed with the batches
        self._room.set()
        try:
            async with asyncio.timeout(self._host.remaining()):
                while not self._ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            self._failure = TimeoutError()
            raised = self._host.failed(error)
            with anyio.CancelScope(shield=True):
                await self._abandon()
            raise raised from error
        await self._finish()
        self._file.seek(0)

    def _reread(self) -> None:
        while self._rows.waiting < self._wanted:
            head = self._file.read(8)
            if not head:
                break
            self._rows.feed(self._file.read(int.from_bytes(head, "big")))
        if self._failure is not None and not self._rows.waiting:
            raise self._host.failed(self._failure)

    async def aclose(self) -> None:
        """End the query: stop it at the server if it isn't all there; a transaction goes on."""
        with anyio.CancelScope(shield=True):
            await self._abandon(undo=self._saved)
            if self._file is not None:
                self._file.close()

    async def _abandon(self, *, undo: bool = False) -> None:
        """Give the connection back from a COPY that did not end, or give it up."""
        if self._host.stream is not self or self._task is None:
            return
        self._host.stream = None
        ended = self._ended
        self._leave()
        await asyncio.wait({self._task})
        if self._host.dead:
            return
        self._host.raw._transport.resume_reading()  # noqa: SLF001
        if undo:
            await self._host.stopped(UNDO)
        elif not ended:
            await self._host.stopped()


class RowBatches:
    """The result of a statement that COPY can't take, read as rows."""

    def __init__(self, host: Host, made: CopyPlan, rows: int, *, settled: bool) -> None:
        self._host = host
        self._plan = made
        self._wanted = rows
        self._frames = Frames(made, settled=settled)
        self._cursor: AsyncCursor | None = None

    async def start(self, sql: str, params: tuple[Any, ...]) -> None:
        """Execute the statement."""
        if self._plan.names:
            self._cursor = await self._host.open(sql, params)
        else:
            await self._host.run(sql, params)

    async def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        return self._frames.of_values([] if self._cursor is None else await self._cursor.fetch(self._wanted))

    async def aclose(self) -> None:
        """End the query."""
        if self._cursor is not None:
            await self._cursor.aclose()
