"""Frames of PostgreSQL through psycopg: results of COPY read to record batches, and record batches sent by COPY.

The twin for asyncpg is `postgres_frames_asyncpg`. What both decide and decode is in `_core/postgres`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from psycopg import errors, pq
from psycopg.waiting import Wait

from .._core.errors import ConnectionFailedError, ParameterError
from .._core.extras import require
from .._core.postgres.binding import bind, settle, typed
from .._core.postgres.copy_plan import CopyPlan, Described, Question, copy_out, plan
from .._core.postgres.copy_rows import MessageRows
from .._core.postgres.copy_write import Loading, loading
from .._core.postgres.frames import Frames
from .._core.postgres.types import Column
from .postgres_common import CANCEL_GRACE
from .postgres_frames_common import MOST_BYTES, SAVEPOINT, UNDO, WHOLE, FrameHost
from .postgres_wires import LibpqWire, SocketWire, Steps, checked

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sqlvalues import Result, Target
    from .protocol import Batches, Cursor

__all__ = ("Host", "Stream", "load", "open_batches")

T = TypeVar("T")

_SPOOLED = 4 << 20  # bytes that go to the file at once


class Stream(Protocol):
    """A COPY that is being read off the connection."""

    def spool(self) -> None:
        """Move what is still to come to a file on disk, so that the connection is free for other statements."""


class Host(FrameHost[Stream], Protocol):
    """What frames need of the connection that they belong to."""

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result: ...

    def open(self, sql: str, params: tuple[Any, ...]) -> Cursor: ...

    def drive(self, steps: Generator[int, int, T]) -> T:
        """Drive a generator of psycopg's kind (it yields `psycopg.waiting.Wait`, and gets `Ready`) to its end.

        Within the time that a statement has; exceptions come out as they do from `run`: a lost connection makes it
        dead, passing the time stops the COPY at the server and raises TimeoutExceededError. It must not call
        `stream.spool()`.
        """

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Hold the connection for a stream's own reading: like for a statement, but without spooling."""


def open_batches(host: Host, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> Batches:
    """Execute a query whose result is read as record batches: `SqlConnection.open_batches`."""
    require("pyarrow", extra="arrow", purpose="reading frames")
    require("numpy", extra="arrow", purpose="reading frames")
    kinds, values = bind(sql, params)
    text = typed(sql, kinds)
    described = host.drive(_describe(host.raw.pgconn, text))
    if len(values) != len(described.params):
        raise ParameterError(f"the SQL text has {len(described.params)} parameters, {len(values)} values were given")
    values = settle(kinds, values, described.params, frozenset())
    made = _answered(host, plan(text, values, described, host.catalog, None))
    if not made.query:
        return RowBatches(host, sql, params, made, rows, settled=settled)
    return CopyBatches(host, made, rows, settled=settled)


def load(host: Host, target: Target, batch: pa.RecordBatch) -> int:
    """Insert a record batch by COPY: `SqlConnection.load`."""
    require("numpy", extra="arrow", purpose="writing frames")
    made = _answered(host, loading(target, batch, host.catalog))
    host.drive(_copy_in(host.raw.pgconn, made))
    _answered(host, made.check(host.catalog))
    return batch.num_rows


def _answered(host: Host, steps: Generator[Question, list[tuple[Any, ...]], T]) -> T:
    """Put the questions of a plan to the server."""
    try:
        question = next(steps)
        while True:
            question = steps.send(host.run(question.sql, ()).rows)
    except StopIteration as end:
        made: T = end.value
        return made


def _describe(pgconn: Any, sql: str) -> Steps[Described]:
    pgconn.send_prepare(b"", sql.encode())
    yield from checked(pgconn)
    pgconn.send_describe_prepared(b"")
    (answer,) = yield from checked(pgconn)
    columns = [Column(answer.fname(at).decode(), answer.ftype(at), answer.fmod(at)) for at in range(answer.nfields)]
    return Described(tuple([answer.param_type(at) for at in range(answer.nparams)]), tuple(columns))


def _copy_in(pgconn: Any, made: Loading) -> Steps[None]:
    pgconn.send_query(made.statement.encode())
    yield from checked(pgconn)
    failed = None
    try:
        for piece in made.pieces():
            while not pgconn.put_copy_data(piece):
                yield Wait.W
            # Otherwise libpq keeps in memory what the network does not take.
            while pgconn.flush():
                if (yield Wait.RW) & Wait.R:
                    pgconn.consume_input()
    except Exception as error:  # noqa: BLE001 - raised when the server knows
        failed = error
    while not pgconn.put_copy_end(None if failed is None else b"the client could not go on"):
        yield Wait.W
    try:
        yield from checked(pgconn)
    except errors.QueryCanceled:
        if failed is None:
            raise
    if failed is not None:
        raise failed


# Reading


class CopyBatches:
    """The result of a query, read by COPY."""

    def __init__(self, host: Host, made: CopyPlan, rows: int, *, settled: bool) -> None:
        self._host = host
        self._plan = made
        self._wanted = rows
        self._frames = Frames(made, settled=settled)
        self._rows = MessageRows(len(made.kinds))
        self._file: Any = None
        self._failure: Exception | None = None
        pgconn = host.raw.pgconn
        self._saved = host.in_transaction
        if self._saved:
            host.run(f"SAVEPOINT {SAVEPOINT}", ())
        through = pgconn.ssl_in_use or not hasattr(os, "readv")
        self._wire: SocketWire | LibpqWire = LibpqWire(pgconn) if through else SocketWire(pgconn)
        host.stream = self
        try:
            host.drive(self._start())
        except BaseException:
            self._abandon()
            raise

    def _start(self) -> Steps[None]:
        yield from self._wire.send(copy_out(self._plan.query))
        yield from self._more(1)

    def _more(self, rows: int) -> Steps[None]:
        most = 2**62 if self._wanted >= WHOLE else MOST_BYTES
        while not self._rows.done and self._rows.waiting < rows and self._rows.size < most:
            yield from self._wire.receive(self._rows)
        self._raise()

    def _raise(self) -> None:
        if self._rows.error is not None:
            fields, self._rows.error = self._rows.error, None
            told: dict[int, bytes | None] = {field: fields.get(field) for field in pq.DiagnosticField}
            code = fields.get(pq.DiagnosticField.SQLSTATE, b"").decode()
            text = fields.get(pq.DiagnosticField.MESSAGE_PRIMARY, b"").decode(errors="replace")
            raise _error_class(code)(text, info=told, encoding="utf-8")

    def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        if self._host.stream is self:
            try:
                with self._host.reading():
                    self._host.drive(self._more(self._wanted))
                    if self._rows.done:
                        self._finish()
            except BaseException:
                self._abandon()
                raise
        elif self._file is not None:
            self._reread()
        elif not self._rows.waiting and self._host.dead and not self._rows.done:
            raise ConnectionFailedError("the connection was closed")
        return self._batch()

    def _batch(self) -> pa.RecordBatch | None:
        found, messages = self._rows.take(self._wanted)
        batch = self._frames.of_copy(found)
        del found
        self._rows.drop(messages)
        return batch

    def _finish(self) -> None:
        """Give the connection back."""
        if self._host.stream is self:
            self._host.stream = None
            if self._saved and not self._host.dead:
                self._saved = False
                self._host.run(f"RELEASE SAVEPOINT {SAVEPOINT}", ())

    # Leaving early, or making room

    def spool(self) -> None:
        """Move what is still to come to a file on disk; an error of the query is raised when that is read."""
        self._file = tempfile.TemporaryFile(prefix="echo-connhandler-")  # noqa: SIM115 - closed with the batches
        try:
            with self._host.reading():
                while not self._rows.done:
                    self._host.drive(self._more(self._rows.waiting + 1))
                    if self._rows.size > _SPOOLED:
                        self._file.write(self._rows.whole())
                self._finish()
        except Exception as error:  # noqa: BLE001 - raised by who reads
            self._failure = error
            self._abandon()
        except BaseException:
            self._abandon()
            raise
        self._file.write(self._rows.whole())
        self._file.seek(0)

    def _reread(self) -> None:
        while self._rows.waiting < self._wanted:
            count = self._file.readinto(self._rows.room())
            if not count:
                break
            self._rows.filled(count)
        if self._failure is not None and not self._rows.waiting:
            raise self._failure

    def close(self) -> None:
        """End the query: stop it at the server if it isn't all there; a transaction goes on."""
        if self._file is not None:
            self._file.close()
        if self._host.stream is self:
            if self._host.dead:
                self._abandon()
            else:
                with self._host.reading():
                    self._abandon(undo=self._saved)

    def _abandon(self, *, undo: bool = False) -> None:
        """Give the connection back from a COPY that did not end, or give it up."""
        if self._host.stream is not self:
            return
        self._host.stream = None
        raw = self._host.raw
        try:
            if not self._rows.done and not self._host.dead:
                raw.cancel_safe(timeout=CANCEL_GRACE)
                raw.wait(self._discard(), 0.1, CANCEL_GRACE)
            if not self._host.dead:
                raw.wait(self._wire.end(), 0.1, CANCEL_GRACE)
                if undo:
                    raw.wait(_execute(raw.pgconn, UNDO), 0.1, CANCEL_GRACE)
        except (errors.Error, ConnectionFailedError, OSError):
            raw.close()
        except BaseException:
            raw.close()
            raise

    def _discard(self) -> Steps[None]:
        while not self._rows.done:
            try:
                yield from self._wire.receive(self._rows)
            except errors.Error:
                if not self._rows.done:
                    raise
            self._rows.forget()


class RowBatches:
    """The result of a statement that COPY can't take, read as rows."""

    def __init__(
        self, host: Host, sql: str, params: tuple[Any, ...], made: CopyPlan, rows: int, *, settled: bool
    ) -> None:
        self._wanted = rows
        self._frames = Frames(made, settled=settled)
        if made.names:
            self._cursor: Cursor | None = host.open(sql, params)
        else:
            self._cursor = None
            host.run(sql, params)

    def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        return self._frames.of_values([] if self._cursor is None else self._cursor.fetch(self._wanted))

    def close(self) -> None:
        """End the query."""
        if self._cursor is not None:
            self._cursor.close()


def _execute(pgconn: Any, sql: str) -> Steps[list[Any]]:
    pgconn.send_query(sql.encode())
    return (yield from checked(pgconn))


def _error_class(code: str) -> Any:
    try:
        return errors.lookup(code)
    except KeyError:
        return errors.DatabaseError
