"""A file on an FTP server, read as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .._concurrency import async_shielded
from .._core.errors import FtpNotFoundError, TransferError
from .._core.ftp.transfer_values import broken
from .._core.retry import Resilience
from .ftp_connections import limit_to
from .ftp_downloads import Facts, async_facts_of

if TYPE_CHECKING:
    from .._drivers.ftp_protocol import AsyncFtpData
    from .ftp_connections import AsyncFtpConnections, AsyncFtpHeld
    from .ftp_session import AsyncFtpSession

__all__ = ("AsyncFtpReader",)


class AsyncFtpReader:
    """Reads a file from its beginning to its end; iterating gives it in pieces, as they come.

    Where the connection breaks it is made anew, and reading goes on where it was, if the file is still the same.
    """

    def __init__(self, calls: AsyncFtpConnections, path: str, policy: Resilience) -> None:
        self._calls = calls
        self._path = path
        self._policy = policy
        self._facts: Facts | None = None
        self._held: AsyncFtpHeld[AsyncFtpData] | None = None
        self._rest = b""  # read from the connection, and not by the caller yet
        self._got = 0  # bytes that came
        self._ended = False

    @property
    def size(self) -> int | None:
        """The file's bytes, as far as the server told them."""
        return self._facts.size if self._facts is not None else None

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._got - len(self._rest)

    async def read(self, n: int = -1) -> bytes:
        """Return the next `n` bytes, fewer only at the end, b"" after that; a negative number stands for all.

        Raises:
            ConnectionFailedError, TimeoutExceededError: the connection broke, and trying again was in vain.
            TransferError: the file was changed meanwhile.
        """
        wanted = float("inf") if n is None or n < 0 else n
        pieces, count = [], 0
        while count < wanted and (piece := await self._next()):
            if count + len(piece) > wanted:
                keep = int(wanted) - count
                piece, self._rest = piece[:keep], piece[keep:]
            pieces.append(piece)
            count += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def _next(self) -> bytes:
        """Return what came and wasn't read yet, or else what comes next; b"" at the end."""
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        if self._ended:
            return b""
        return await self._calls._async_persisted(  # noqa: SLF001 - a part of the handler
            f"reading {self._path!r}", self._attempt, policy=self._policy, progress=lambda: self._got
        )

    async def open(self) -> None:
        """Begin, so that a file that isn't there is told at once."""
        await self._calls._async_persisted(  # noqa: SLF001
            f"reading {self._path!r}", self._begin, policy=self._policy, progress=lambda: self._got
        )

    async def _attempt(self, ends: float | None) -> bytes:
        if self._held is None and self._got and self._got == self.size:
            # All came, and then the connection broke: behind the end, servers refuse to begin.
            same = await self._calls._async_hold(self._same, ends)  # noqa: SLF001
            limit_to(same.session, None)
            await same.pool.release(same.session)
            self._ended = True
            return b""
        held = await self._begin(ends)
        limit_to(held.session, ends)
        try:
            piece = await held.value.read()
            if piece:
                self._got += len(piece)
                return piece
            await held.session.end_data(held.value)
            await self._check(held)
        except BaseException:
            await self._let_go()
            raise
        await self._let_go()
        self._ended = True
        return b""

    async def _check(self, held: AsyncFtpHeld[AsyncFtpData]) -> None:
        size = self.size
        if size is None:
            if not held.value.clean:
                raise broken(f"{self._path!r}: TLS had no farewell, and the size is unknown: there may be more")
        elif self._got < size:
            raise broken(f"{self._path!r} ended at byte {self._got} of {size}")
        elif self._got > size or not await self._is_still(held.session):
            raise TransferError(f"{self._path!r} was changed while it was read")

    async def _is_still(self, session: AsyncFtpSession) -> bool:
        try:
            return await async_facts_of(session, self._path) == self._facts
        except FtpNotFoundError:  # there are servers that delete what was fetched whole
            return True

    async def _begin(self, ends: float | None) -> AsyncFtpHeld[AsyncFtpData]:
        if self._held is None:
            self._held = await self._calls._async_hold(self._open, ends)  # noqa: SLF001
        return self._held

    async def _same(self, session: AsyncFtpSession) -> None:
        facts = await async_facts_of(session, self._path)
        if self._facts is not None and (facts != self._facts or facts.size is None):
            raise TransferError(f"{self._path!r} was changed, or may have been, while it was read")
        self._facts = facts

    async def _open(self, session: AsyncFtpSession) -> AsyncFtpData:
        await self._same(session)
        return await session.open_data(f"RETR {session.path(self._path)}", rest=self._got)

    async def _let_go(self) -> None:
        """Give the session back; one that is in the midst of the file ends that first."""
        held, self._held = self._held, None
        if held is None:
            return
        limit_to(held.session, None)
        with async_shielded():
            try:
                if held.session.dead:
                    await held.session.break_data(held.value)
            finally:
                await held.pool.release(held.session)

    async def aclose(self) -> None:
        """End reading."""
        self._ended, self._rest = True, b""
        await self._let_go()
