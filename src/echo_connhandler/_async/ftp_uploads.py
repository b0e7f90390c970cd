"""One FTP upload: under a temporary name until all is there and verified, then renamed."""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from typing import TYPE_CHECKING

from .._concurrency import UPLOADS
from .._core.errors import (
    ConnectionFailedError,
    EchoConnError,
    FtpNotFoundError,
    FtpReplyError,
    TimeoutExceededError,
    TransferError,
)
from .._core.ftp.checksums import Verify
from .._core.ftp.paths import parent
from .._core.ftp.transfer_values import Progress, broken, stamp, temporary_path, token_of, up_to_date
from .._core.retry import NO_RETRIES, Resilience
from .ftp_downloads import AsyncLocalWork, async_digest_of, way_of

if TYPE_CHECKING:
    from .._drivers.ftp_protocol import AsyncFtpData
    from .._drivers.transfer_ends import Source
    from .ftp_connections import AsyncFtpConnections
    from .ftp_session import AsyncFtpSession

__all__ = ("AsyncUpload",)

logger = logging.getLogger("echo_connhandler.ftp")

_PIECE = 1 << 20


class AsyncUpload(AsyncLocalWork):
    """One upload."""

    def __init__(
        self,
        calls: AsyncFtpConnections,
        source: Source,
        path: str,
        *,
        progress: Progress,
        rate: float | None,
        verify: Verify,
        newer_only: bool,
    ) -> None:
        """Take what is to be uploaded.

        Args:
            calls: the handler.
            source: its content.
            path: the file that it's to become.
            progress: whom to tell.
            rate: bytes per second at most.
            verify: how it's verified.
            newer_only: do nothing if the server has a file of the same size that isn't older.
        """
        super().__init__(calls, in_memory=source.in_memory, progress=progress, rate=rate)
        self._source = source
        self._path = path
        self._verify = verify
        self._newer_only = newer_only
        self._token = ""  # of the temporary name, as long as it's taken
        self._temporary = ""  # known when it's known where relative paths begin
        self._begun = False
        self._renaming = False
        self._mismatched = False

    async def run(self, policy: Resilience) -> bool:
        """Bring the content to the server, and return True; False if the server's was as new already."""
        try:
            if not await self.persist(f"uploading {self._path!r}", self._attempt, policy):
                return False
        except Exception as error:
            if self._begun:
                await self._tidy(error)
            raise
        finally:
            UPLOADS.give_back(self._token)
        self._progress.end(self._source.size)
        return True

    async def _tidy(self, error: Exception) -> None:
        """Remove what is left under the temporary name; where that can't be, say so in the error.

        Where the connection is lost it's left: the next call may continue it.
        """
        left = "what was sent is left there, and continued by the next upload of the same content"
        if not isinstance(error, ConnectionFailedError | TimeoutExceededError):
            left = "what was sent could not be removed"

            async def remove(session: AsyncFtpSession) -> bool:
                await session.try_to(f"DELE {self._temporary}")
                return await self._there(session) is None

            try:
                if await self.calls._async_with_session(  # noqa: SLF001 - a part of the handler
                    f"removing {self._temporary!r}", remove, policy=NO_RETRIES
                ):
                    return
            except EchoConnError as other:
                logger.debug("%s: %s", self._temporary, other)
        if isinstance(error, EchoConnError) and error.args:
            error.args = (f"{error.args[0]}; {left} as {self._temporary!r}", *error.args[1:])

    async def _attempt(self, session: AsyncFtpSession) -> bool:
        source = self._source
        if not self._temporary:
            self._temporary = self._claimed(session.path(self._path))
        if not self._begun and self._newer_only and await self._is_there_already(session):
            return False
        way_of(session, self._temporary, self._verify)
        there = await self._there(session)
        if self._renaming and there is None and await session.size(self._path) == source.size:
            return True  # the answer to the renaming was lost, not the renaming
        if there is not None and there > source.size:
            await session.ask(f"DELE {self._temporary}")
            there = None
        self.furthest = max(self.furthest, there or 0)
        if there is None or there < source.size:
            await self._send(session, there or 0)
            there = await self._there(session)
        if there is not None or session.knows("SIZE"):
            self.furthest = max(self.furthest, there or 0)
            if there != source.size:
                raise broken(f"{self._path!r}: the server has {there or 0} of {source.size} bytes")
        await self.locally(source.check)
        await self._check(session)
        await self._set_time(session)
        await self._rename(session)
        return True

    def _claimed(self, path: str) -> str:
        """Return the temporary name: the one that the same content always has, unless it's in use now."""
        parts = (self._source.identity, self.calls._settings.target, path)  # noqa: SLF001 - a part of the handler
        token = token_of(*parts)
        while not UPLOADS.take(token):
            token = token_of(*parts, secrets.token_hex())
        self._token = token
        return temporary_path(path, token)

    async def _is_there_already(self, session: AsyncFtpSession) -> bool:
        there = await session.stat(self._path)
        if there is None or there.is_dir or self._source.modified is None:
            return False
        ours = dt.datetime.fromtimestamp(self._source.modified, dt.UTC)
        return up_to_date(there.size, there.modified, than_size=self._source.size, than_modified=ours)

    async def _there(self, session: AsyncFtpSession) -> int | None:
        """Return how many bytes are there under the temporary name; None if there's nothing, or nobody tells."""
        size = await session.size(self._temporary)
        if size is not None or session.knows("SIZE"):
            return size
        there = await session.stat(self._temporary)
        return None if there is None else there.size

    async def _send(self, session: AsyncFtpSession, offset: int) -> None:
        data, offset = await self._open(session, offset)
        self._begun = True
        try:
            await self._write(data, offset)
            await session.end_data(data)
        except FtpReplyError as error:  # the reply to the end: there's nothing more to come
            raise await self._explained(session, error) from error.__cause__
        except (ConnectionFailedError, TimeoutExceededError) as error:
            explained = await session.failed_data(data, error)
            if explained is error:
                raise
            raise explained from error
        except Exception:
            await session.break_data(data)
            raise

    async def _open(self, session: AsyncFtpSession, offset: int) -> tuple[AsyncFtpData, int]:
        command = f"STOR {self._temporary}"
        try:
            return await session.open_data(command, rest=offset), offset
        except FtpReplyError as error:
            if not offset or error.code < 500 or session.dead:
                raise await self._explained(session, error) from error.__cause__
        # It may be REST that was refused: then from the beginning, over what is there.
        await session.try_to(f"DELE {self._temporary}")
        try:
            return await session.open_data(command), 0
        except FtpReplyError as error:
            raise await self._explained(session, error) from error.__cause__

    async def _explained(self, session: AsyncFtpSession, error: FtpReplyError) -> FtpReplyError:
        """Return a refusal as what it means: a folder that isn't there, or a name that isn't allowed."""
        folder = parent(self._path)
        if not session.dead and error.code in (425, 450, 501, 550, 553) and folder not in ("", "/"):
            there = await session.stat(folder)
            if there is None or not there.is_dir:
                return FtpNotFoundError(f"the folder {folder!r} is not there: make it first", code=error.code)
        return error

    async def _write(self, data: AsyncFtpData, offset: int) -> None:
        source, piece = self._source, self._pace.piece(_PIECE)
        while offset < source.size:
            found = await self.locally(source.read, offset, piece)
            if not found:
                await self.locally(source.check)
                raise TransferError(f"{self._path!r}: what is uploaded ended at byte {offset} of {source.size}")
            await data.write(found)
            offset += len(found)
            await self.moved(len(found), offset, source.size)

    async def _check(self, session: AsyncFtpSession) -> None:
        told = await async_digest_of(session, self._temporary, self._verify, self._source.size)
        if told is None:
            return
        way, theirs = told
        if await self.locally(self._source.digest, way.algorithm) == theirs:
            return
        await session.ask(f"DELE {self._temporary}")
        await session.aclose()  # servers remember digests for as long as a session lasts, and may be wrong by then
        again = not self._mismatched
        self._mismatched = True
        text = f"{self._path!r}: what arrived has another {way.algorithm} digest than what was sent"
        raise broken(text) if again else TransferError(text)

    async def _set_time(self, session: AsyncFtpSession) -> None:
        """Give the file its time, as far as the server does that: mirrors compare it."""
        if self._source.modified is None:
            return
        # Some servers set the time by MDTM; to others the whole is the name of a file that isn't there.
        verb = "MFMT" if session.features.has("MFMT") else "MDTM"
        try:
            await session.try_to(f"{verb} {stamp(self._source.modified)} {self._temporary}")
        except FtpReplyError:
            logger.debug("%s: its time could not be set", self._temporary, exc_info=True)

    async def _rename(self, session: AsyncFtpSession) -> None:
        try:
            await session.ask(f"RNFR {self._temporary}", 350)
            self._renaming = True
            await session.ask(f"RNTO {session.path(self._path)}")
        except FtpReplyError as error:
            if error.code < 500 or session.dead:
                raise
            there = await session.stat(self._path)
            why = "the server doesn't let it have its name"
            if there is not None:
                why = "it's a folder" if there.is_dir else "the server doesn't let it take the place of the file there"
            raise FtpReplyError(f"{self._path!r}: {why}: {error.args[0]}", code=error.code) from error
