"""Results of MySQL and MariaDB that are read in batches: off the connection, or from the file they were moved to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .mysql_common import CHUNK, SMALL

if TYPE_CHECKING:
    from .._core.mysql.reading import Reading
    from .._core.mysql.wire import Talk

__all__ = ("AsyncMySqlCursor", "MySqlCursor")

T = TypeVar("T")


class Host(Protocol):
    """What a cursor needs of the connection that it belongs to.

    Attributes:
        stream: the cursor whose rows are what the server sends next.
        turn: held while something is said to the server.
    """

    stream: Any

    @property
    def turn(self) -> AbstractContextManager[Any]: ...

    @property
    def dead(self) -> bool: ...

    def drive(self, talk: Talk[T]) -> T:
        """Drive a talk to its end."""

    def stop(self, talk: Talk[Any]) -> None:
        """Have the statement stopped whose answer is being read, and read its end."""


class AsyncHost(Protocol):
    """The twin of `Host`."""

    stream: Any

    @property
    def turn(self) -> AbstractAsyncContextManager[Any]: ...

    @property
    def dead(self) -> bool: ...

    async def drive(self, talk: Talk[T]) -> T: ...

    async def stop(self, talk: Talk[Any]) -> None: ...


H = TypeVar("H", bound=Host | AsyncHost)


class _Spooled(Generic[H]):
    """A result that is read off the connection, or from the file to which it was spooled."""

    def __init__(self, connection: H, reading: Reading | None) -> None:
        self._connection: H = connection
        self._reading = reading
        self._file: Any = None
        self.columns: tuple[str, ...] = () if reading is None else reading.columns

    def forget(self) -> None:
        """Drop what is left."""
        self._leave()
        self._reading = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _leave(self) -> None:
        if self._connection.stream is self:
            self._connection.stream = None


class MySqlCursor(_Spooled[Host]):
    """A result that is read in batches."""

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows."""
        return self.read(lambda reading: reading.take(count)) or []

    def read(self, take: Callable[[Reading], Talk[T]]) -> T | None:
        """Take something out of the result by a talk; None at its end."""
        reading, connection = self._reading, self._connection
        if reading is None or reading.ended:
            return None
        with connection.turn:
            if reading.spooled:
                return _from_file(take(reading), self._file)
            try:
                taken = connection.drive(take(reading))
            except BaseException:
                self.forget()
                raise
            if _over(reading):
                self._leave()
            return taken

    def spool(self) -> None:
        """Move what is left of the result to a file, so that the connection is free."""
        reading = self._reading
        self._leave()
        if reading is not None and not reading.ended:
            self._file = tempfile.SpooledTemporaryFile(max_size=SMALL)  # noqa: SIM115 - closed with the cursor
            self._connection.drive(reading.spool(self._file.write))
            self._file.seek(0)

    def close(self) -> None:
        """End the query: a short rest is read, a long one stopped."""
        connection, reading = self._connection, self._reading
        with connection.turn:
            if reading is not None and connection.stream is self and not connection.dead:
                self._leave()
                if not connection.drive(reading.pass_over(SMALL)):
                    connection.stop(reading.pass_over())
            self.forget()


class AsyncMySqlCursor(_Spooled[AsyncHost]):
    """A result that is read in batches."""

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows."""
        return await self.read(lambda reading: reading.take(count)) or []

    async def read(self, take: Callable[[Reading], Talk[T]]) -> T | None:
        """Take something out of the result by a talk; None at its end."""
        reading, connection = self._reading, self._connection
        if reading is None or reading.ended:
            return None
        async with connection.turn:
            if reading.spooled:
                return _from_file(take(reading), self._file)
            try:
                taken = await connection.drive(take(reading))
            except BaseException:
                self.forget()
                raise
            if _over(reading):
                self._leave()
            return taken

    async def spool(self) -> None:
        """Move what is left of the result to a file, so that the connection is free."""
        reading = self._reading
        self._leave()
        if reading is not None and not reading.ended:
            self._file = tempfile.SpooledTemporaryFile(max_size=SMALL)  # noqa: SIM115 - closed with the cursor
            await self._connection.drive(reading.spool(self._file.write))
            self._file.seek(0)

    async def aclose(self) -> None:
        """End the query: a short rest is read, a long one stopped."""
        connection, reading = self._connection, self._reading
        async with connection.turn:
            if reading is not None and connection.stream is self and not connection.dead:
                self._leave()
                if not await connection.drive(reading.pass_over(SMALL)):
                    await connection.stop(reading.pass_over())
            self.forget()


def _from_file(talk: Talk[T], file: Any) -> T:
    """Drive a talk with what was spooled."""
    pieces = iter(lambda: file.read(CHUNK), b"")
    try:
        next(talk)
        for piece in pieces:
            talk.send(piece)
    except StopIteration as end:
        result: T = end.value
        return result
    raise EOFError("a spooled result ended early")


def _over(reading: Reading) -> bool:
    return reading.ended  # which its talk has changed
