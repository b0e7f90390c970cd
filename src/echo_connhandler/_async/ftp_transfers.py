"""Files brought from an FTP server and to it, whole or not at all, whatever the network does meanwhile."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .._concurrency import async_anyway, async_in_thread, async_opened
from .._core.ftp.checksums import Verify, check_verify
from .._core.ftp.paths import remote_path
from .._core.ftp.transfer_values import Progress, ProgressCall, check_rate, source_of
from .._core.retry import Resilience, for_call
from .._drivers.part_files import target_of
from .._drivers.transfer_ends import (
    BytesSink,
    BytesSource,
    FileSink,
    FileSource,
    ObjectSink,
    Sink,
    Source,
    object_source,
)
from .ftp_downloads import AsyncDownload, Facts
from .ftp_files import AsyncFtpFileCalls
from .ftp_reader import AsyncFtpReader
from .ftp_uploads import AsyncUpload

__all__ = ("AsyncFtpTransferCalls",)


class AsyncFtpTransferCalls(AsyncFtpFileCalls):
    """Downloads and uploads of one half of a handler."""

    async def async_download(
        self,
        remote: str | os.PathLike[str],
        local: Any,
        *,
        newer_only: bool = False,
        progress: ProgressCall | None = None,
        verify: Verify = "auto",
        rate_limit: float | None = None,
        retry: Resilience | int | None = None,
    ) -> bool:
        """Bring a file from the server, and return True; False where `newer_only` left what is there.

        The bytes go to `<local>.part`, which becomes `local` in one step once all of them are there, verified and on
        the disk; it has the time of the server's file then. Where the connection breaks, the rest is fetched, if size
        and time of the server's file are still the same, else it begins anew. Attempts are counted from the last one
        that came further. A `.part` that an earlier process left is continued under the same condition. Memory use
        does not depend on the size.

        Args:
            remote: the file on the server.
            local: the file to become, in a folder that exists, or an object with `write`, which is written to from
                where it stands and stays open. One that can't go back can't begin anew either.
            newer_only: leave a local file that has the same size and isn't older.
            progress: called with the bytes that are there and those of the whole, None where the server doesn't tell.
                The first number never falls, and is the second in the end.
            verify: "size" compares the size; "auto" also a checksum where the server offers one; "hash" insists on it.
            rate_limit: bytes per second at most; None: that of the properties.
            retry: the number of retries for this call, or a `Resilience`; its deadline is for the whole download.

        Raises:
            FtpNotFoundError: there's no such file.
            FtpReplyError: the server refused it.
            ConnectionFailedError, TimeoutExceededError: the connection broke, and trying again was in vain.
            TransferError: what came is not what the server has, or another download to this file is under way.
            OSError: the file can't be written.
        """
        path, rate = self._checked(remote, verify, rate_limit)
        unless = None
        if hasattr(local, "write"):
            if newer_only:
                raise ValueError("newer_only compares files: it needs a path to download to, not a file object")
            sink: Sink = ObjectSink(local)
        else:
            target = target_of(local, overwrite=True)
            unless = await async_in_thread(_facts_of_file, target) if newer_only else None
            sink = FileSink(target, source_of(f"{self.props.user}@{self._settings.target}", path))
        return await self._async_fetch(path, sink, progress, verify, rate, retry, unless)

    async def _async_fetch(
        self,
        path: str,
        sink: Sink,
        progress: ProgressCall | None,
        verify: Verify,
        rate: float | None,
        retry: Resilience | int | None,
        unless: Facts | None = None,
    ) -> bool:
        download = AsyncDownload(self, path, sink, progress=Progress(progress), rate=rate, verify=verify, unless=unless)
        return await download.run(for_call(self.resilience, retry))

    async def async_download_bytes(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        verify: Verify = "auto",
        rate_limit: float | None = None,
        retry: Resilience | int | None = None,
    ) -> bytes:
        """Bring a file from the server into memory, and return its bytes; see `async_download`."""
        sink = BytesSink()
        name, rate = self._checked(path, verify, rate_limit)
        await self._async_fetch(name, sink, progress, verify, rate, retry)
        return sink.content

    async def async_upload(
        self,
        local: Any,
        remote: str | os.PathLike[str],
        *,
        newer_only: bool = False,
        progress: ProgressCall | None = None,
        verify: Verify = "auto",
        rate_limit: float | None = None,
        retry: Resilience | int | None = None,
    ) -> bool:
        """Bring a file to the server, and return True; False where `newer_only` left what is there.

        The bytes go to a hidden name beside `remote`, `.<name>.<20 digits>.part`, which is renamed to `remote` once the
        server has all of them, by its own account of the size and, where it offers that, of a checksum. Where the
        connection breaks it goes on from the size that the server has. What an earlier call left is continued if it's
        of the same content: the digits stand for it. Where the server allows it, the file gets the time of the local
        one.

        Args:
            local: a file, or an object with `read` that gives bytes, from where it stands. What can't go back is read
                to a temporary file first.
            remote: the file to become, in a folder that exists.
            newer_only: leave a file that has the same size and isn't older.
            progress: see `async_download`.
            verify: see `async_download`.
            rate_limit: see `async_download`.
            retry: see `async_download`.

        Raises:
            FtpNotFoundError: the folder isn't there.
            FtpReplyError: the server refused the temporary name, the bytes, or the renaming.
            ConnectionFailedError, TimeoutExceededError: the connection broke, and trying again was in vain.
            TransferError: what arrived is not what was sent, or the file was changed meanwhile.
            OSError: the file can't be read.
        """
        path, rate = self._checked(remote, verify, rate_limit)
        if hasattr(local, "read"):
            if newer_only:
                raise ValueError("newer_only compares files: it needs the path of one, not a file object")
            source: Source = await async_opened(object_source, local)
        else:
            source = await async_opened(FileSource, local)
        return await self._async_send(source, path, progress, verify, rate, retry, newer_only=newer_only)

    async def async_upload_bytes(
        self,
        data: bytes | bytearray | memoryview,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        verify: Verify = "auto",
        rate_limit: float | None = None,
        retry: Resilience | int | None = None,
    ) -> None:
        """Bring bytes to the server as a file; see `async_upload`."""
        name, rate = self._checked(path, verify, rate_limit)
        await self._async_send(BytesSource(data), name, progress, verify, rate, retry)

    async def _async_send(
        self,
        source: Source,
        path: str,
        progress: ProgressCall | None,
        verify: Verify,
        rate: float | None,
        retry: Resilience | int | None,
        *,
        newer_only: bool = False,
    ) -> bool:
        try:
            upload = AsyncUpload(
                self, source, path, progress=Progress(progress), rate=rate, verify=verify, newer_only=newer_only
            )
            return await upload.run(for_call(self.resilience, retry))
        finally:
            await async_anyway(source.close)

    @asynccontextmanager
    async def async_open_read(
        self, path: str | os.PathLike[str], *, retry: Resilience | int | None = None
    ) -> AsyncIterator[AsyncFtpReader]:
        """Read a file as it comes: the block gets an object with `read(n=-1)`, or iterates over it.

        Where the connection breaks it is made anew, and reading goes on where it was, if size and time of the file are
        still the same. The block may be left at any time. It occupies a connection; other calls use others.

        Args:
            path: the file on the server.
            retry: the number of retries for each read, or a `Resilience`.

        Raises:
            FtpNotFoundError: there's no such file.
            FtpReplyError: the server refused it.
            ConnectionFailedError, TimeoutExceededError: the connection broke, and trying again was in vain.
            TransferError: the file was changed while it was read.
        """
        reader = AsyncFtpReader(self, self._checked(path)[0], for_call(self.resilience, retry))
        await reader.open()
        try:
            yield reader
        finally:
            await reader.aclose()

    def _checked(
        self, path: str | os.PathLike[str], verify: Verify = "auto", rate: float | None = None
    ) -> tuple[str, float | None]:
        """Return a file's path and the rate, or raise where arguments of a transfer are wrong."""
        check_verify(verify)
        check_rate(rate)
        name = remote_path(path)
        if name.rpartition("/")[2] in ("", "..") or os.fspath(path).endswith("/"):
            raise ValueError(f"{os.fspath(path)!r} names no file")
        return name, self.props.rate_limit if rate is None else rate


def _facts_of_file(path: Path) -> Facts | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Facts(status.st_size, dt.datetime.fromtimestamp(status.st_mtime, dt.UTC))
