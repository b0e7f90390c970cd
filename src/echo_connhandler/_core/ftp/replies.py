"""Replies on FTP's control connection (RFC 959, 4.2): reading them strictly, and what those with a value say.

A line that is not ended by CR LF is no line: what a lost connection leaves may look like a whole `226`, or like a size
that lacks its last digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import ConnectionFailedError, TransferError

__all__ = (
    "MAX_LINE",
    "MAX_REPLY",
    "ProtocolFault",
    "Reply",
    "ReplyReader",
    "UnaskedError",
    "extended_passive_port",
    "facts_line",
    "modified",
    "parse_moment",
    "passive_port",
    "quoted_path",
    "size",
)

MAX_LINE = 16 * 1024  # bytes; a path has 4096 at most, and quotes may be doubled
MAX_REPLY = 1024 * 1024  # bytes of a reply of many lines
_SHOWN = 400  # characters of a reply in messages

_FIRST = re.compile(r"([1-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ILLEGAL = re.compile(rb"[\x00\r\n]")
_HOST_PORT = re.compile(r"(?<![0-9,])([0-9]{1,3}(?:,[0-9]{1,3}){5})(?![0-9,])")
_PORT = re.compile(r"\(([!-/:-~])([^()]*?)\1([^()]*?)\1([0-9]{1,5})\1\)")
_NUMBER = re.compile(r"[0-9]{1,19}")
_MOMENT = re.compile(r"([0-9]{14})(?:\.([0-9]{1,9}))?")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


class ProtocolFault(TransferError):  # noqa: N818 - what FTP's words call it
    """The server said what no FTP server says."""


class UnaskedError(ConnectionFailedError):
    """The server hung up, or spoke, when nothing was asked. What was to be sent was not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply.

    Attributes:
        code: from 100 to 599.
        lines: its lines without the code, at least one: the first, those between as they came (without the code where
            the server repeats it before them), and the last. Bytes that don't decode are surrogates
            (`surrogateescape`).
    """

    code: int
    lines: tuple[str, ...]

    @property
    def kind(self) -> int:
        """The code's first digit: 1 begun, 2 done, 3 go on, 4 temporarily refused, 5 refused."""
        return self.code // 100

    @property
    def text(self) -> str:
        """The lines, with line feeds between."""
        return "\n".join(self.lines)

    @property
    def inner(self) -> tuple[str, ...]:
        """The lines between the first and the last, where FEAT, MLST and STAT answer."""
        return self.lines[1:-1]

    def __str__(self) -> str:
        """Return it in one line for messages: nothing in it can break a line or fail to be printed."""
        text = " ".join(line.strip() for line in self.lines)
        shown = "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in text)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}..."
        return f"{self.code} {shown}".rstrip()


class ReplyReader:
    """Takes what the server says apart into replies.

    Attributes:
        encoding: of text that is not ASCII.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self._data = bytearray()
        self._searched = 0
        self._lines: list[str] = []  # of the reply that is not whole yet
        self._code = 0
        self._size = 0  # bytes of those lines

    @property
    def waiting(self) -> bool:
        """Whether anything came that was not returned in a reply yet."""
        return bool(self._data or self._lines)

    @property
    def unfinished(self) -> str:
        """What came of a reply that is not whole, for messages."""
        return repr(bytes(self._data[:100])) if self._data else f"{self._code}-..."

    def feed(self, data: bytes | memoryview = b"") -> Reply | None:
        """Take what came and return the first whole reply, None if there's none yet; feed nothing for further ones.

        Raises:
            ProtocolFault: it's no reply, or it's too long. Nothing can be read after that.
        """
        self._data += data
        while (line := self._line()) is not None:
            reply = self._take(line)
            if reply is not None:
                return reply
        return None

    def _line(self) -> str | None:
        end = self._data.find(b"\n", self._searched)
        if (len(self._data) if end < 0 else end) > MAX_LINE:
            raise ProtocolFault(f"the server sent a line of more than {MAX_LINE} bytes")
        if end < 0:
            self._searched = len(self._data)
            return None
        line = bytes(self._data[: end + 1])
        if not line.endswith(b"\r\n") or _ILLEGAL.search(line, 0, end - 1):
            raise ProtocolFault(f"the server sent a line that is not ended by CR LF alone: {line[:100]!r}")
        del self._data[: end + 1]
        self._searched = 0
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise ProtocolFault(f"the server sent a reply of more than {MAX_REPLY} bytes")
        return line[:-2].decode(self.encoding, "surrogateescape")

    def _take(self, line: str) -> Reply | None:
        found = _FIRST.fullmatch(line)
        if not self._lines:
            if found is None:
                raise ProtocolFault(f"the server sent what is no FTP reply: {line[:100]!r}")
            self._code = int(found[1])
        ours = found is not None and int(found[1]) == self._code
        self._lines.append((found[3] or "") if found is not None and ours else line)
        if not ours or (found is not None and found[2] == "-"):
            return None
        reply = Reply(self._code, tuple(self._lines))
        self._lines = []
        self._size = 0
        return reply


def passive_port(reply: Reply) -> int:
    """Return the port of a 227 reply (PASV). The address in it is not to be used, and isn't returned.

    Raises:
        ProtocolFault: there's none.
    """
    found = _HOST_PORT.search(reply.text)
    numbers = [int(each) for each in found[1].split(",")] if found else []
    port = numbers[4] * 256 + numbers[5] if numbers and max(numbers) < 256 else 0
    if not port:
        raise ProtocolFault(f"the server's reply to PASV has no port: {reply}")
    return port


def extended_passive_port(reply: Reply) -> int:
    """Return the port of a 229 reply (EPSV, RFC 2428). An address in it, which should not be there, is not used.

    Raises:
        ProtocolFault: there's none.
    """
    found = _PORT.search(reply.text)
    port = int(found[4]) if found else 0
    if not 1 <= port <= 65535:
        raise ProtocolFault(f"the server's reply to EPSV has no port: {reply}")
    return port


def size(reply: Reply) -> int:
    """Return the bytes that a 213 reply to SIZE tells (RFC 3659, 4).

    Raises:
        ProtocolFault: it's no number.
    """
    found = _NUMBER.fullmatch(reply.text.strip())
    if found is None:
        raise ProtocolFault(f"the server's reply to SIZE is no number: {reply}")
    return int(found[0])


def modified(reply: Reply) -> datetime:
    """Return the moment, in UTC, that a 213 reply to MDTM tells (RFC 3659, 3).

    Raises:
        ProtocolFault: it's no moment.
    """
    moment = parse_moment(reply.text.strip())
    if moment is None:
        raise ProtocolFault(f"the server's reply to MDTM is no date and time: {reply}")
    return moment


def parse_moment(text: str) -> datetime | None:
    """Return a moment written as `YYYYMMDDHHMMSS[.fraction]` in UTC (RFC 3659, 2.3); None if it isn't one."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    digits = found[1]
    second = int(digits[12:])
    try:
        moment = datetime(
            int(digits[:4]),
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            min(second, 59),  # a leap second is written as 60
            int((found[2] or "0").ljust(6, "0")[:6]),
            UTC,
        )
    except ValueError:
        return None
    return moment if second <= 60 else None


def quoted_path(reply: Reply) -> str:
    """Return the path that a 257 reply (PWD, MKD) has between quotes; those inside of it are doubled (RFC 959, II).

    Raises:
        ProtocolFault: there's none.
    """
    found = _QUOTED.match(reply.lines[0].lstrip())
    if found is None or not found[1]:
        raise ProtocolFault(f"the server's reply has no path in quotes: {reply}")
    return found[1].replace('""', '"')


def facts_line(reply: Reply) -> str:
    """Return the line `facts name` of a 250 reply to MLST (RFC 3659, 7).

    Raises:
        ProtocolFault: there isn't just one.
    """
    if len(reply.inner) != 1:
        raise ProtocolFault(f"the server's reply to MLST has not one line of facts: {reply}")
    return reply.inner[0].removeprefix(" ")
