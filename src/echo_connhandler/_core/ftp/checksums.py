"""Digests of files on an FTP server: how it is asked for one, and what it answers.

HASH is from draft-bryan-ftpext-hash, MD5 from draft-twine-ftpmd5; the X commands have no standard: what is read are
answers such as ProFTPD and Serv-U give.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

__all__ = ("Digest", "Verify", "Way", "check_verify", "digest_in", "new_digest", "way_to_ask")

Verify: TypeAlias = Literal["auto", "size", "hash"]

# By hashlib's name: how HASH names it, the commands that give it, its hexadecimal digits. The best first: what is to
# be noticed are bytes of another version of the file, and tampering where the server is to be trusted at all.
_ALGORITHMS = {
    "sha256": ("SHA-256", ("XSHA256",), 64),
    "sha512": ("SHA-512", ("XSHA512",), 128),
    "sha1": ("SHA-1", ("XSHA1", "XSHA"), 40),
    "md5": ("MD5", ("MD5", "XMD5"), 32),
    "crc32": ("CRC32", ("XCRC",), 8),
}
_BY_HASH_NAME = {names[0]: algorithm for algorithm, names in _ALGORITHMS.items()}
_TAKES_THE_REST_OF_THE_LINE = ("HASH", "MD5")
_HASH_ANSWER = re.compile(r"(\S+) (\d+)-(\d+) ([0-9A-Fa-f]+)(?: .*)?", re.DOTALL)


class Digest(Protocol):
    """What hashlib's objects offer."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is asked for a file's digest.

    Attributes:
        command: without the path.
        algorithm: hashlib's name, or "crc32".
        first: a command that chooses the algorithm, to be sent before; None where it is chosen already.
    """

    command: str
    algorithm: str
    first: str | None = None


class _Crc32:
    """CRC-32 in the shape of hashlib's objects."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def new_digest(algorithm: str) -> Digest:
    """Return an object that computes a digest; `algorithm` is one of a `Way`."""
    return _Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


def check_verify(verify: str) -> None:
    """Raise ValueError unless it's one of `Verify`."""
    if verify not in get_args(Verify):
        raise ValueError(f"verify must be one of {', '.join(map(repr, get_args(Verify)))}, got {verify!r}")


def way_to_ask(offered: Mapping[str, str], path: str) -> Way | None:
    """Return how to ask for the digest of `path`, or None where the server can't be asked.

    HASH wins, with the algorithm in force: asking for another one would cost a round trip. The X commands take a range
    behind the path, and servers disagree on how a path with spaces is told from it: for such a one they aren't used.

    Args:
        offered: what FEAT lists: the commands in capitals, each with what follows it.
        path: the path.
    """
    if "HASH" in offered and (way := _hash_way(offered["HASH"])) is not None:
        return way
    plain = not re.search(r"[\s\"']", path)
    for algorithm, (_, commands, _) in _ALGORITHMS.items():
        for command in commands:
            if command in offered and (plain or command in _TAKES_THE_REST_OF_THE_LINE):
                return Way(command, algorithm)
    return None


def _hash_way(listed: str) -> Way | None:
    names = [name.strip().upper() for name in listed.split(";")]
    for name in names:
        if name.endswith("*") and name[:-1] in _BY_HASH_NAME:
            return Way("HASH", _BY_HASH_NAME[name[:-1]])
    for name, algorithm in _BY_HASH_NAME.items():
        if name in names:
            return Way("HASH", algorithm, f"OPTS HASH {name}")
    return None


def digest_in(way: Way, lines: Sequence[str], size: int) -> str | None:
    """Return the digest that an answer gives, in lower-case hexadecimal digits, or None if it gives none of that way.

    Args:
        way: how it was asked for.
        lines: the answer's lines, without its code.
        size: bytes of the file: a digest of a part of it is none.
    """
    last = lines[-1].strip()
    if way.command == "HASH":
        found = _HASH_ANSWER.fullmatch(last)
        if found is None or _BY_HASH_NAME.get(found[1].upper()) != way.algorithm:
            return None
        whole = int(found[2]) == 0 and int(found[3]) in (size, size - 1)  # the end is in the range, or behind it
        return _fitting(way.algorithm, found[4]) if whole or size == 0 else None
    words = last.split()
    # The digest is alone, before other words, or behind the path.
    ends = [digits for word in (words[:1] + words[-1:]) if (digits := _fitting(way.algorithm, word)) is not None]
    return ends[-1 if way.command == "MD5" else 0] if ends else None


def _fitting(algorithm: str, word: str) -> str | None:
    digits = _ALGORITHMS[algorithm][2]
    if not re.fullmatch(r"[0-9A-Fa-f]+", word):
        return None
    if algorithm == "crc32":  # some servers leave leading zeros out
        return word.lower().rjust(digits, "0") if len(word) <= digits else None
    return word.lower() if len(word) == digits else None
