"""Packets of the MySQL protocol after the login: what is received, taken apart. No I/O: generators ask for bytes.

A talk yields bytes to be sent (`b""`: none) and is sent what is received then. Sources: "MySQL Client/Server
Protocol" (dev.mysql.com/doc/dev/mysql-server/latest, PROTOCOL) and "MariaDB Client/Server Protocol" (mariadb.com/kb).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import lru_cache
from typing import NamedTuple, TypeAlias, TypeVar

__all__ = (
    "Column",
    "Inbox",
    "Ok",
    "Onward",
    "Talk",
    "ends_rows",
    "framed",
    "read_column",
    "read_eof",
    "read_number",
    "read_ok",
    "refusal",
)

T = TypeVar("T")
Talk: TypeAlias = Generator[bytes, bytes, T]

_LARGEST = 0xFFFFFF  # bytes in a packet; one of just that size is continued by the next


class Onward(bytes):
    """Bytes to be sent without waiting for what is received; the talk is sent `b""`."""


class Column(NamedTuple):
    """What the server tells of a result's column.

    Attributes:
        name: its name, or alias.
        kind: the field type's number.
        charset: the collation's number; 63 is binary.
        length: its greatest width, in bytes or digits.
        flags: the column's flags.
        scale: digits after the point.
    """

    name: str
    kind: int
    charset: int
    length: int
    flags: int
    scale: int


class Ok(NamedTuple):
    """What the server tells of a statement without rows, or at the end of rows."""

    affected: int
    status: int
    warnings: int


def framed(payload: bytes, number: int = 0) -> bytes:
    """Return a payload as packets, numbered from `number` on."""
    if len(payload) < _LARGEST:
        return len(payload).to_bytes(3, "little") + bytes([number & 0xFF]) + payload
    pieces: list[bytes] = []
    for start in range(0, len(payload) + 1, _LARGEST):
        piece = payload[start : start + _LARGEST]
        pieces += (len(piece).to_bytes(3, "little"), bytes([number & 0xFF]), piece)
        number += 1
    return b"".join(pieces)


class Inbox:
    """What was received and not yet read."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.at = 0

    def fill(self, count: int) -> Talk[None]:
        """Receive until `count` bytes are there from `at` on."""
        have = len(self.data) - self.at
        if have >= count:
            return
        pieces = [self.data[self.at :]]
        while have < count:
            pieces.append((yield b""))
            have += len(pieces[-1])
        self.data, self.at = b"".join(pieces), 0

    def more(self) -> Talk[None]:
        """Receive what completes the next packet."""
        yield from self.fill(4)
        yield from self.fill(4 + int.from_bytes(self.data[self.at : self.at + 3], "little"))

    def ready(self) -> bytes | None:
        """Return the next packet's payload if it's there, in one piece: what `packet` does, only faster."""
        data, start = self.data, self.at + 4
        if len(data) < start:
            return None
        size = data[start - 4] | data[start - 3] << 8 | data[start - 2] << 16
        end = start + size
        if len(data) < end or size == _LARGEST:
            return None
        self.at = end
        return data[start:end]

    def packet(self) -> Talk[bytes]:
        """Return the next packet's payload, joined where it came in several."""
        pieces: list[bytes] = []
        while True:
            yield from self.more()
            size = int.from_bytes(self.data[self.at : self.at + 3], "little")
            start = self.at + 4
            self.at = start + size
            pieces.append(self.data[start : self.at])
            if size < _LARGEST:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skim(self, write: Callable[[bytes], object], most: float) -> Talk[bytes | None]:
        """Hand the packets up to the end of the rows to `write` and return the last; None after some `most` bytes."""
        passed = 0
        continued = False
        while True:
            mark = self.at
            last = None
            while len(self.data) - self.at >= 4:
                size = int.from_bytes(self.data[self.at : self.at + 3], "little")
                start = self.at + 4
                if len(self.data) < start + size:
                    break
                if not continued and size and ends_rows(self.data[start], size):
                    last = self.data[start : start + size]
                self.at = start + size
                if last is not None:
                    break
                continued = size == _LARGEST
            passed += self.at - mark
            write(self.data[mark : self.at])
            if last is not None:
                return last
            if passed > most:
                return None
            yield from self.more()


def ends_rows(first: int, size: int) -> bool:
    """Tell from a packet's first byte and size whether it ends the rows of a result: EOF or an error."""
    return first == 0xFF or (first == 0xFE and size < 9)


def refusal(payload: bytes) -> Exception:
    """Return the library's own exception for an error packet."""
    from pymysql.err import Error, raise_mysql_exception

    try:
        raise_mysql_exception(payload)
    except Error as error:
        return error.with_traceback(None)
    raise AssertionError("an error packet is one")


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the length-encoded number at a place, and the place behind it."""
    first = data[at]
    if first < 251:
        return first, at + 1
    width = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def read_ok(payload: bytes) -> Ok:
    """Read an OK packet."""
    affected, at = read_number(payload, 1)
    _, at = read_number(payload, at)  # the last inserted id
    return Ok(affected, _short(payload, at), _short(payload, at + 2))


def read_eof(payload: bytes) -> Ok:
    """Read an EOF packet."""
    return Ok(0, _short(payload, 3), _short(payload, 1))


def _short(payload: bytes, at: int) -> int:
    return payload[at] | payload[at + 1] << 8


@lru_cache(maxsize=4096)  # a query made again and again gets the same ones
def read_column(payload: bytes) -> Column:
    """Read a column definition packet (protocol 4.1)."""
    at = 0
    name = ""
    for place in range(6):  # catalog, schema, table, original table, name, original name
        size, at = read_number(payload, at)
        if place == 4:
            name = payload[at : at + size].decode()
        at += size
    at += 1  # the length of what follows
    length = int.from_bytes(payload[at + 2 : at + 6], "little")
    return Column(name, payload[at + 6], _short(payload, at), length, _short(payload, at + 7), payload[at + 9])
