"""What FTP transfers reckon with: names on the way, what tells versions of a file apart, progress and pace."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import Kind, TransferError

__all__ = (
    "Pace",
    "Progress",
    "ProgressCall",
    "broken",
    "check_rate",
    "is_temporary_name",
    "source_of",
    "stamp",
    "temporary_path",
    "token_of",
    "up_to_date",
    "validator_of",
)

ProgressCall: TypeAlias = Callable[[int, int | None], object]

_TOKEN_DIGITS = 20
_NAME_BYTES = 140  # of the final name that are kept in a temporary one: file systems end at 255, some at 143
_TEMPORARY_NAME = re.compile(rf"\..+\.[0-9a-f]{{{_TOKEN_DIGITS}}}\.part", re.DOTALL)
_LONGEST_NAME = 143
_MADE_UP = 1.0  # seconds of slowness that a limited transfer may make up for


def _digest(*parts: object) -> str:
    text = "\0".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def source_of(target: str, path: str) -> str:
    """Return what stands for a file on a server in the notes beside a download.

    Args:
        target: the server, with its user.
        path: the file's absolute path there.
    """
    return _digest("ftp", target, path)


def validator_of(size: int | None, modified: dt.datetime | None) -> str | None:
    """Return what tells versions of a file apart, or None where the server doesn't tell enough for that."""
    if size is None or modified is None:
        return None
    return f"{size} {modified.astimezone(dt.UTC).isoformat()}"


def token_of(*parts: object) -> str:
    """Return what stands for an upload: the same for the same content to the same target, and for no other."""
    return _digest("upload", *parts)[:_TOKEN_DIGITS]


def temporary_path(path: str, token: str) -> str:
    """Return the path under which a file is uploaded before it becomes `path`: hidden, in the same folder."""
    folder, slash, name = path.rpartition("/")
    room = _LONGEST_NAME - len("..") - _TOKEN_DIGITS - len(".part")
    short = name.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "ignore")
    return f"{folder}{slash}.{short}.{token}.part"


def is_temporary_name(name: str) -> bool:
    """Tell whether `temporary_path` makes such names."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def stamp(modified: float) -> str:
    """Return seconds since the epoch as MFMT and MDTM write them: UTC, whole seconds."""
    return dt.datetime.fromtimestamp(math.floor(modified), dt.UTC).strftime("%Y%m%d%H%M%S")


def up_to_date(
    size: int | None, modified: dt.datetime | None, *, than_size: int | None, than_modified: dt.datetime | None
) -> bool:
    """Tell whether a target need not be transferred again: it has the source's size, and is not older.

    What the server doesn't tell proves nothing. Whole seconds are compared: that's as exact as servers are.
    """
    if size is None or modified is None or size != than_size or than_modified is None:
        return False
    return math.floor(modified.timestamp()) >= math.floor(than_modified.timestamp())


def check_rate(rate: float | None) -> None:
    """Raise ValueError unless a rate limit is None or a number of bytes per second above 0."""
    if rate is None:
        return
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ValueError(f"rate_limit must be a number of bytes per second above 0, or None, got {rate!r}")


def broken(message: str) -> TransferError:
    """Return the error of a transfer that didn't bring all, and is to be tried again from where it came to."""
    return TransferError(message).told(attempts=1, elapsed=0.0, kind=Kind.TEMPORARY)


class Progress:
    """Tells a callback how far a transfer has come. What it's told never falls, and ends at the size."""

    def __init__(self, call: ProgressCall | None) -> None:
        self._call = call
        self._told = 0

    @property
    def watched(self) -> bool:
        """Whether there's anybody to tell."""
        return self._call is not None

    def report(self, done: int, total: int | None) -> None:
        """Tell that `done` bytes are there; a transfer that begins anew is silent until it comes further."""
        if self._call is None:
            return
        self._told = max(self._told, done if total is None else min(done, total))
        self._call(self._told, total)

    def end(self, size: int) -> None:
        """Tell that all is there."""
        if self._call is not None:
            self._call(size, size)


@dataclass(slots=True)
class Pace:
    """How long to wait after each piece, so that no more than `rate` bytes a second pass on the average.

    Attributes:
        rate: bytes per second; None sets no limit.
        due: when what has passed so far should have, in seconds of the clock that `wait` is told; at first, when the
            transfer begins.
    """

    rate: float | None
    due: float

    def wait(self, count: int, now: float) -> float:
        """Return the seconds to wait after `count` more bytes; what was lost to a pause is not made up for."""
        if self.rate is None:
            return 0.0
        self.due = max(self.due, now - _MADE_UP) + count / self.rate
        return max(0.0, self.due - now)

    def piece(self, largest: int) -> int:
        """Return how many bytes to send at once: a tenth of a second's, so that the flow stays even."""
        return largest if self.rate is None else max(1024, min(largest, int(self.rate / 10)))
