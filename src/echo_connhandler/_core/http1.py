"""HTTP/1.1 without I/O (RFC 9112): the head of a request as bytes, the head of an answer from bytes, and bodies' ends.

It takes what h11 takes, which httpx parses with, but for what could make two readers see two different answers: those
are refused. `tests/core/test_http1.py` compares both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import httpx

__all__ = (
    "MAX_HEAD",
    "MAX_HEADERS",
    "ChunkedReader",
    "Head",
    "Headers",
    "HeadWriter",
    "Length",
    "head_end",
    "parse_head",
    "request_length",
)

# As sent, in lower case, and the value: what httpx.Headers holds inside.
Headers: TypeAlias = list[tuple[bytes, bytes, bytes]]
# How a body ends: after so many bytes; None: by its last chunk; -1: when the connection is closed.
Length: TypeAlias = int | None

MAX_HEAD = 100 * 1024  # bytes of one head, and of a chunk's size line or the trailers
MAX_HEADERS = 1000
UNTIL_CLOSED = -1
_PIECE = 64 * 1024

_END = re.compile(rb"\n\r?\n")
_TOKEN = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
_STATUS = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ((?:[ \t]|[^\x00\s])*))?\r?\n")
# Whole lines without white space at their end: what servers send. The careful way is for the others.
_LINES = re.compile(rb"(?m)^(" + _TOKEN + rb"):[ \t]*([^\x00\r\n\x0b\x0c]*)\r\n")
_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)[ \t]*")
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")
_NAME = re.compile(_TOKEN)
_TARGET = re.compile(rb"[\x21-\x7e]+")
_DIGITS = re.compile(rb"[0-9]{1,20}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[^\x00\r\n]*)?")
_NO_BODY = frozenset({204, 304})


class Head(NamedTuple):
    """The head of an answer.

    Attributes:
        version: b"1.1" or the like.
        status: from 100.
        reason: as sent, may be empty.
        headers: in the order in which they came.
        keep: whether the connection can be used again when the body has been read to its end.
        length: how the body ends: see `Length`.
        coded: there is a Content-Encoding.
        cookies: there is a Set-Cookie.
    """

    version: bytes
    status: int
    reason: bytes
    headers: Headers
    keep: bool
    length: Length
    coded: bool
    cookies: bool


def head_end(data: bytes, searched: int) -> int:
    """Return where the head at the beginning of `data` ends, 0 if it doesn't yet.

    Args:
        data: what came so far.
        searched: how many bytes of it were looked at before.

    Raises:
        httpx.RemoteProtocolError: it is no head, or too long.
    """
    if data and data[0] < 0x21:
        raise httpx.RemoteProtocolError("illegal status line: it begins with a blank or a control character")
    found = _END.search(data, max(searched - 2, 0))
    end = found.end() if found is not None else 0
    if (end or len(data)) > MAX_HEAD:
        raise httpx.RemoteProtocolError(f"the head of the answer is longer than {MAX_HEAD} bytes")
    return end


def parse_head(data: bytes, method: str) -> Head:
    """Return what a whole head says.

    Args:
        data: the head with the empty line at its end.
        method: of the request that it answers.

    Raises:
        httpx.RemoteProtocolError: it is malformed, or ambiguous about where its body ends.
    """
    first = _STATUS.match(data)
    if first is None:
        line = data.partition(b"\n")[0][:100]
        raise httpx.RemoteProtocolError(f"illegal status line: {line!r}")
    begin = first.end()
    headers = [(name, name.lower(), value) for name, value in _LINES.findall(data, begin)]
    lines = data.count(b"\n", begin) - 1
    if len(headers) != lines or not data.endswith(b"\r\n\r\n") or b" \r\n" in data or b"\t\r\n" in data:
        headers = _carefully(data[begin:])
    if len(headers) > MAX_HEADERS:
        raise httpx.RemoteProtocolError(f"the answer has more than {MAX_HEADERS} headers")
    version, status = first[1], int(first[2])
    keep, coded, cookies = version >= b"1.1", False, False
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for _, name, value in headers:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"connection":
            keep = keep and b"close" not in [option.strip() for option in value.lower().split(b",")]
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"content-encoding":
            coded = True
        elif name == b"set-cookie":
            cookies = True
    if status < 100:
        raise httpx.RemoteProtocolError(f"there is no status {status}")
    if method == "HEAD" or status in _NO_BODY or status < 200:
        length: Length = 0
    else:
        length = _length(lengths, codings)
    keep = keep and length != UNTIL_CLOSED
    return Head(version, status, first[3] or b"", headers, keep, length, coded, cookies)


def _length(lengths: list[bytes], codings: list[bytes]) -> Length:
    """Tell how a body ends (RFC 9112, 6.3), refusing what another reader might understand otherwise."""
    if codings:
        if lengths:
            raise httpx.RemoteProtocolError("both Transfer-Encoding and Content-Length: where the body ends is unclear")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise httpx.RemoteProtocolError(f"no Transfer-Encoding but chunked is understood, got {codings[0][:50]!r}")
        return None
    if not lengths:
        return UNTIL_CLOSED
    if len(lengths) > 1:
        raise httpx.RemoteProtocolError("more than one Content-Length: where the body ends is unclear")
    if not _DIGITS.fullmatch(lengths[0]):
        raise httpx.RemoteProtocolError(f"bad Content-Length: {lengths[0][:50]!r}")
    return int(lengths[0])


def _carefully(data: bytes) -> Headers:
    """Read header lines that are ended by a bare LF, folded, or followed by white space (RFC 9112, 2.2 and 5.2)."""
    lines: list[bytearray] = []
    for raw in data.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t"):
            if not lines:
                raise httpx.RemoteProtocolError("the headers begin with a continuation line")
            lines[-1] += b" " + line.lstrip(b" \t")
        elif line:
            lines.append(bytearray(line))
    headers: Headers = []
    for folded in lines:
        found = _LINE.fullmatch(folded)
        if found is None:
            shown = bytes(folded.partition(b":")[0][:50])  # the value may be a secret
            raise httpx.RemoteProtocolError(f"illegal header line: {shown!r}")
        name = bytes(found[1])
        headers.append((name, name.lower(), bytes(found[2])))
    return headers


def request_length(headers: Iterable[tuple[bytes, bytes, bytes]]) -> Length:
    """Tell how a request's body ends: None if it is chunked.

    Raises:
        httpx.LocalProtocolError: its headers contradict themselves.
    """
    length: Length = 0
    seen: list[bytes] = []
    for _, name, value in headers:
        if name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise httpx.LocalProtocolError("a request's Transfer-Encoding can only be chunked")
            length = None
            seen.append(name)
        elif name == b"content-length":
            if not _DIGITS.fullmatch(value):
                raise httpx.LocalProtocolError("a request's Content-Length must be a number")
            length = int(value)
            seen.append(name)
    if len(seen) > 1:
        raise httpx.LocalProtocolError("a request takes one Content-Length or Transfer-Encoding, not several")
    return length


class ChunkedReader:
    """Takes a chunked body apart (RFC 9112, 7.1). Extensions and trailers are checked, and dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0  # bytes still to come of the chunk at hand
        self._footer = False  # the CR LF after a chunk is still to come
        self._trailer = False
        self.done = False
        self.beyond = b""  # what came behind the body's end

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of the body in what came.

        Raises:
            httpx.RemoteProtocolError: it is not chunked as it should be.
        """
        data, at = self._rest + data if self._rest else data, 0
        pieces: list[bytes] = []
        while not self.done:
            if self._left:
                piece = data[at : at + min(self._left, _PIECE)]
                if not piece:
                    break
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._footer = not self._left
            elif self._footer:
                if not b"\r\n".startswith(data[at : at + 2]):
                    raise httpx.RemoteProtocolError("a chunk is longer than its size says")
                if len(data) - at < 2:
                    break
                at, self._footer = at + 2, False
            elif self._trailer:
                end = self._trailer_end(data, at)
                if not end:
                    break
                self.done, self.beyond, at = True, data[end:], len(data)
            else:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                self._begin(data[at:end])
                at = end + 2
        self._rest = data[at:]
        if len(self._rest) > MAX_HEAD:
            raise httpx.RemoteProtocolError(f"a chunk's head or the trailers are longer than {MAX_HEAD} bytes")
        return pieces

    def _begin(self, line: bytes) -> None:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise httpx.RemoteProtocolError(f"illegal chunk header: {line[:50]!r}")
        self._left = int(found[1], 16)
        self._trailer = not self._left

    def _trailer_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            return at + 2
        if data.startswith(b"\n", at):
            return at + 1
        found = _END.search(data, at)
        if found is None:
            return 0
        if len(_carefully(data[at : found.end()])) > MAX_HEADERS:
            raise httpx.RemoteProtocolError(f"the answer has more than {MAX_HEADERS} trailers")
        return found.end()


class HeadWriter:
    """Writes the heads of requests; remembers header lines that return, as most do."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], bytes] = {}

    def write(self, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes, bytes]]) -> bytes:
        """Return a request's head.

        Raises:
            httpx.LocalProtocolError: a part may not be in a request (RFC 9110, 5).
        """
        if not _TARGET.fullmatch(target):
            raise httpx.LocalProtocolError("the request's target has white space or control characters")
        known = self._known
        lines = [b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target)]
        hosts = 0
        for header in headers:
            if header[1] == b"host":
                hosts += 1
            line = known.get(header)
            lines.append(line if line is not None else self._line(header))
        if hosts != 1:
            raise httpx.LocalProtocolError(f"a request needs one Host header, this one has {hosts}")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _line(self, header: tuple[bytes, bytes, bytes]) -> bytes:
        name, _, value = header
        if not _NAME.fullmatch(name):
            raise httpx.LocalProtocolError(f"illegal header name {name[:50]!r}")
        if not _VALUE.fullmatch(value):
            raise httpx.LocalProtocolError(f"illegal value of the header {name[:50]!r}")
        line = b"%b: %b\r\n" % (name, value)
        if len(self._known) < 64 and len(line) < 4096:
            self._known[header] = line
        return line
