"""Files that are not whole yet: `name.part`, and notes beside it that say what it is the beginning of.

All of it blocks: event loops call it in a worker thread. Downloads end with `finish`, or leave what can be continued.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from io import BufferedRandom
from pathlib import Path

from .._core.content_range import Beginning
from .._core.downloads import Checksum
from .._core.errors import TransferError

if sys.platform != "win32":  # there, two downloads to one file are not kept apart
    import fcntl

__all__ = ("PartFile", "target_of")


class PartFile:
    """A file on its way to `target`; one at a time is open for it, also among processes."""

    def __init__(self, target: Path, source: str) -> None:
        """Take the file to become and what stands for its URL."""
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.part.json")
        self._source = source
        self._file: BufferedRandom | None = None
        self.there = Beginning(source)

    @property
    def _open(self) -> BufferedRandom:
        if self._file is None:
            raise ValueError("the file is closed")
        return self._file

    def open(self) -> None:
        """Open it and see what is there already: nothing, unless the notes say that it belongs to this source.

        Raises:
            TransferError: another download to the same target is under way.
        """
        while True:
            self._file = os.fdopen(
                os.open(self._part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b"
            )
            try:
                self._lock()
                if self._is_current():
                    break
            except BaseException:
                self._file.close()
                self._file = None
                raise
            self._file.close()  # it became somebody's target just before it was locked
        self.there = self._read_notes()
        if not self.there.size:
            self.begin(None, None)

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransferError(f"another download to {self._target} is under way") from None

    def _is_current(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._open.fileno()), self._part.stat())
        return False

    def _read_notes(self) -> Beginning:
        with suppress(OSError, ValueError, KeyError, TypeError):
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
            if notes["source"] == self._source and isinstance(notes["validator"], str):
                size = os.fstat(self._open.fileno()).st_size
                return Beginning(self._source, size, validator=notes["validator"], total=notes["total"])
        return Beginning(self._source)

    def begin(self, validator: str | None, total: int | None) -> None:
        """Begin anew. The notes go before the bytes that they speak of, and come before those that they'll speak of."""
        self._notes.unlink(missing_ok=True)
        self._open.seek(0)
        self._open.truncate()
        if validator is not None:
            notes = {"source": self._source, "validator": validator, "total": total}
            self._notes.write_text(json.dumps(notes), encoding="utf-8")
        self.there = Beginning(self._source, validator=validator, total=total)

    def append(self, pieces: list[bytes]) -> None:
        """Add bytes at the end."""
        file = self._open
        file.seek(self.there.size)
        file.writelines(pieces)
        file.flush()
        self.there = replace(self.there, size=self.there.size + sum(map(len, pieces)))

    def matches(self, checksum: Checksum) -> bool:
        """Tell whether the content has this digest."""
        self._open.seek(0)
        found = hashlib.file_digest(self._open, checksum.algorithm).hexdigest()
        return found == checksum.digest

    def finish(self, *, overwrite: bool) -> None:
        """Make it the target: on the disk first, then under its name, in one step."""
        if not overwrite and self._target.exists():
            raise FileExistsError(f"{self._target} exists by now, and overwrite=False")
        os.fsync(self._open.fileno())
        if sys.platform == "win32":  # an open file can't be moved
            self._open.close()
        os.replace(self._part, self._target)
        self._open.close()
        self._file = None
        self._notes.unlink(missing_ok=True)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Leave what can be continued later, and nothing else."""
        if self._file is None:
            return
        if self.there.validator is None or not self.there.size:
            self._notes.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
        self._file.close()
        self._file = None


def target_of(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the file that a download is to become.

    Raises:
        FileExistsError: it exists and is not to be overwritten.
        IsADirectoryError, FileNotFoundError: it's a folder, or its folder doesn't exist.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name the file to download to")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: make it first")
    if not overwrite and target.exists():
        raise FileExistsError(f"{target} exists already, and overwrite=False")
    return target
