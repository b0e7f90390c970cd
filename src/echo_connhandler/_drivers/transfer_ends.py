"""Our end of an FTP transfer: a file, a file object or bytes, to read from or to write to.

All of it blocks: event loops call it in a worker thread, but for what is in memory. `PartFile` is the file to write to.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import replace
from io import UnsupportedOperation
from pathlib import Path
from typing import IO, Any, Protocol

from .._core.content_range import Beginning
from .._core.errors import TransferError
from .._core.ftp.checksums import Digest, new_digest
from .part_files import PartFile

__all__ = (
    "BytesSink",
    "BytesSource",
    "FileSink",
    "FileSource",
    "ObjectSink",
    "Sink",
    "Source",
    "object_source",
)

_BLOCK = 1 << 20
_IN_MEMORY = 8 << 20  # bytes of a stream that are held in memory; more go to a temporary file


class Sink(Protocol):
    """Where a download goes.

    Attributes:
        in_memory: whether writing waits for nothing.
        there: what is there already.
    """

    in_memory: bool

    @property
    def there(self) -> Beginning: ...

    def open(self) -> None:
        """Open it, and see what is there already."""

    def watch(self, algorithm: str | None) -> None:
        """Be ready to tell the digest of what is written from now on; called before the first byte."""

    def begin(self, validator: str | None, total: int | None) -> None:
        """Begin anew, with what `validator` tells from other versions."""

    def append(self, pieces: list[bytes]) -> None:
        """Add bytes at the end."""

    def digest(self, algorithm: str) -> str | None:
        """Return the digest of what is there; None if it can't be told."""

    def finish(self, modified: float | None) -> None:
        """All is there and verified; it was changed last at `modified` (seconds since the epoch)."""

    def close(self) -> None:
        """Let go of it, whether finished or not."""


class FileSink(PartFile):
    """A file, which is written under another name until all is there."""

    in_memory = False

    def watch(self, algorithm: str | None) -> None:
        """Do nothing: the file can be read again."""

    def digest(self, algorithm: str) -> str:
        """Return the digest of what is there."""
        computed = new_digest(algorithm)
        self._open.seek(0)
        while piece := self._open.read(_BLOCK):
            computed.update(piece)
        return computed.hexdigest()

    def finish(self, modified: float | None = None, *, overwrite: bool = True) -> None:
        """Make it the target, with the time given."""
        if modified is not None:
            os.utime(self._part, (modified, modified))
        super().finish(overwrite=overwrite)


class ObjectSink:
    """An object with `write`, which stays open."""

    in_memory = False

    def __init__(self, file: Any) -> None:
        """Take the object. What goes wrong with it before the first byte is told at once."""
        self._file = file
        self._watched: str | None = None
        self._digest: Digest | None = None
        self._start = _position(file)
        self.there = Beginning("")

    def open(self) -> None:
        """Do nothing: it's open."""

    def watch(self, algorithm: str | None) -> None:
        """Compute this digest along the way."""
        self._watched = algorithm
        self._digest = None if algorithm is None else new_digest(algorithm)

    def begin(self, validator: str | None, total: int | None) -> None:
        """Begin anew: at the position that the object had.

        Raises:
            TransferError: it can't go back.
        """
        if self.there.size:
            if self._start is None:
                raise TransferError("the file on the server changed meanwhile, and the file object can't go back")
            self._file.seek(self._start)
            self._file.truncate()
        self.watch(self._watched)
        self.there = Beginning("", validator=validator, total=total)

    def append(self, pieces: list[bytes]) -> None:
        """Write them."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                # Objects of the io module tell how many bytes they took, unbuffered ones may take less than all.
                count = self._file.write(rest)
                rest = rest[count if isinstance(count, int) else len(rest) :]
            if self._digest is not None:
                self._digest.update(piece)
        self.there = replace(self.there, size=self.there.size + sum(map(len, pieces)))

    def digest(self, algorithm: str) -> str | None:
        """Return the digest of all that was written."""
        return self._digest.hexdigest() if self._digest is not None and self._watched == algorithm else None

    def finish(self, modified: float | None) -> None:
        """Hand what was written to the operating system, as far as the object does that."""
        if hasattr(self._file, "flush"):
            self._file.flush()

    def close(self) -> None:
        """Leave it open: it's the caller's."""


class BytesSink:
    """Memory; `content` has all that came."""

    in_memory = True

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.there = Beginning("")

    @property
    def content(self) -> bytes:
        """All bytes."""
        return b"".join(self._pieces)

    def open(self) -> None:
        """Do nothing."""

    def watch(self, algorithm: str | None) -> None:
        """Do nothing: all is there to be read again."""

    def begin(self, validator: str | None, total: int | None) -> None:
        """Begin anew."""
        self._pieces.clear()
        self.there = Beginning("", validator=validator, total=total)

    def append(self, pieces: list[bytes]) -> None:
        """Keep them."""
        self._pieces += pieces
        self.there = replace(self.there, size=self.there.size + sum(map(len, pieces)))

    def digest(self, algorithm: str) -> str | None:
        """Return the digest of all of it."""
        computed = new_digest(algorithm)
        for piece in self._pieces:
            computed.update(piece)
        return computed.hexdigest()

    def finish(self, modified: float | None) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Source(Protocol):
    """What is uploaded.

    Attributes:
        in_memory: whether reading waits for nothing.
        size: its bytes.
        identity: the same only for the same content.
        modified: when it was changed last, in seconds since the epoch, if known.
    """

    in_memory: bool

    @property
    def size(self) -> int: ...

    @property
    def identity(self) -> str: ...

    @property
    def modified(self) -> float | None: ...

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return up to `count` bytes from `offset` on; none only at the end."""

    def digest(self, algorithm: str) -> str:
        """Return the digest of all of it."""

    def check(self) -> None:
        """Raise TransferError if it's no longer what it was."""

    def close(self) -> None:
        """Let go of it."""


class _OpenFile:
    """A stretch of an open file that can go back, from `start` to its end."""

    in_memory = False
    modified: float | None = None

    def __init__(self, file: Any, named: str, *, start: int = 0) -> None:
        self._file = file
        self._named = named
        self._start = start
        self.size = file.seek(0, os.SEEK_END) - start
        self.identity = ""

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return up to `count` bytes from `offset` on."""
        self._file.seek(self._start + offset)
        found = self._file.read(min(count, self.size - offset))
        if not isinstance(found, bytes):
            raise TypeError(f"{self._named} gives {type(found).__name__}, not bytes: open it in binary mode")
        return found

    def digest(self, algorithm: str) -> str:
        """Return the digest of all of it."""
        return self._digest(new_digest(algorithm))

    def _digest(self, computed: Digest) -> str:
        offset = 0
        while offset < self.size and (piece := self.read(offset, _BLOCK)):
            computed.update(bytes(piece))
            offset += len(piece)
        return computed.hexdigest()

    def _content(self) -> str:
        return f"content {self.size} {self._digest(hashlib.blake2b(digest_size=32))}"

    def check(self) -> None:
        """Raise if its size isn't what it was."""
        if self._file.seek(0, os.SEEK_END) - self._start != self.size:
            raise TransferError(f"{self._named} changed while it was uploaded")

    def close(self) -> None:
        """Leave the file open: it's the caller's."""


class FileSource(_OpenFile):
    """A file of this machine."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file.

        Raises:
            OSError: it can't be read, or it's a folder.
            InvalidRequestError: it's neither file nor folder.
        """
        name = Path(path)
        if name.is_dir():
            raise IsADirectoryError(f"{name} is a folder: name the file to upload, or use mirror()")
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        self._descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        file = os.fdopen(self._descriptor, "rb", buffering=0)
        try:
            self._status = os.fstat(self._descriptor)
            if not stat.S_ISREG(self._status.st_mode):
                raise OSError(f"{name} is not a regular file")
            super().__init__(file, str(name))
        except BaseException:
            file.close()
            raise
        self.modified = self._status.st_mtime
        self.identity = f"{os.path.realpath(name)} {_version(self._status)}"

    def check(self) -> None:
        """Raise if anybody wrote into it."""
        if _version(os.fstat(self._descriptor)) != _version(self._status):
            raise TransferError(f"{self._named} changed while it was uploaded")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class _Spooled(_OpenFile):
    """What a stream gave that can't go back."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, "the file object")
        self.identity = self._content()

    def close(self) -> None:
        """Close the temporary file."""
        self._file.close()


class _Seekable(_OpenFile):
    """A file object that can go back; from the position that it has."""

    def __init__(self, file: Any, start: int) -> None:
        super().__init__(file, "the file object", start=start)
        self.identity = self._content()


def object_source(file: Any) -> Source:
    """Return a source over an object with `read`, from where it stands; a stream that can't go back is read now.

    Raises:
        TypeError: it doesn't give bytes.
    """
    start = _position(file)
    if start is not None:
        return _Seekable(file, start)
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by the source
    try:
        while piece := file.read(_BLOCK):
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise TypeError(f"the file object gives {type(piece).__name__}, not bytes: open it in binary mode")
            spool.write(piece)
        return _Spooled(spool)
    except BaseException:
        spool.close()
        raise


def _position(file: Any) -> int | None:
    """Return the position of a file object that can go back to it, None for others."""
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, OSError, UnsupportedOperation):
        return None


class BytesSource:
    """Bytes in memory."""

    in_memory = True
    modified: float | None = None

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        """Take the bytes.

        Raises:
            TypeError: they are none.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        self._data = memoryview(bytes(data) if not isinstance(data, bytes) else data)
        self.size = len(self._data)
        self.identity = f"content {self.size} {hashlib.blake2b(self._data, digest_size=32).hexdigest()}"

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return up to `count` bytes from `offset` on."""
        return self._data[offset : offset + count]

    def digest(self, algorithm: str) -> str:
        """Return the digest of all of it."""
        computed = new_digest(algorithm)
        computed.update(self._data)
        return computed.hexdigest()

    def check(self) -> None:
        """Do nothing: bytes don't change."""

    def close(self) -> None:
        """Do nothing."""
