"""One HTTP/1.1 connection: a request goes out, its answer comes in, and whether the connection can be used again."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx

from .._concurrency import async_shielded, monotonic
from .._core.http1 import UNTIL_CLOSED, ChunkedReader, Head, HeadWriter, Length, head_end, parse_head, request_length
from .._core.http_requests import Origin
from .._core.http_values import content_of, header_items

if TYPE_CHECKING:
    from .._core.http1 import Headers
    from .._drivers.wires import AsyncWire

__all__ = ("AsyncHttpConnection", "UnsentError")

# Bytes that are sent at once: between the pieces the server may say that it has had enough. And bytes of a body that
# are handed on at once: they may be a thousand times as many when they are decompressed.
_PIECE = 64 * 1024
_MAX_INTERIM = 100  # answers of the kind 1xx before the real one
_CONTINUE_WAIT = 1.0  # seconds that a request with `Expect: 100-continue` waits for a word before it sends its body


def _keeps(headers: Headers) -> bool:
    """Tell whether a request lets the server keep the connection open."""
    return not any(name == b"connection" and b"close" in value.lower() for _, name, value in headers)


class UnsentError(Exception):
    """The connection turned out to be closed before any byte of the request was sent."""


class AsyncHttpConnection:
    """A connection to one origin, for one request at a time."""

    __slots__ = (
        "_chunks",
        "_interim",
        "_keep",
        "_left",
        "_length",
        "_pieces",
        "_rest",
        "_searched",
        "_timeouts",
        "ends",
        "idle_since",
        "origin",
        "used",
        "wire",
    )

    def __init__(self, wire: AsyncWire, origin: Origin) -> None:
        self.wire = wire
        self.origin = origin
        self.idle_since = 0.0
        self.used = False  # it has served a request before
        self._timeouts: dict[str, float | None] = {}
        self.ends: float | None = None  # when the clock says so, no more is waited for
        self._rest = b""  # what came and was not looked at yet,
        self._searched = 0  # but for so many bytes, in which no head ends
        self._interim = 0
        self._keep = False
        self._length: Length = 0
        self._left: Length = 0  # what is still to come of the body
        self._chunks: ChunkedReader | None = None
        self._pieces: deque[bytes] = deque()

    @property
    def reusable(self) -> bool:
        """Whether the answer was read to its end, and nothing came behind it."""
        return self._keep and self._left == 0 and not self._rest

    def _patience(self, what: str) -> float | None:
        """Return the seconds that the next step may take."""
        timeout = self._timeouts.get(what)
        if self.ends is None:
            return timeout
        left = self.ends - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed while the answer was awaited")
        return left if timeout is None else min(timeout, left)

    async def exchange(self, request: httpx.Request, writer: HeadWriter, ends: float | None) -> Head:
        """Send a request and return the head of its answer.

        Args:
            request: what to send; the four timeouts are among its extensions.
            writer: writes its head.
            ends: when the clock says so, no more is waited for.

        Raises:
            UnsentError: no byte of it was sent; another connection may serve it.
            httpx.LocalProtocolError: it is no valid request; nothing was sent.
            httpx.TransportError: it was sent, at least in part, and there's no answer.
            TimeoutError: `ends` is over.
        """
        self._timeouts, self.ends = request.extensions["timeout"], ends
        headers = header_items(request.headers)
        head = writer.write(request.method, request.url.raw_path, headers)
        length = request_length(headers)
        content = content_of(request)
        if content is not None and length is not None and length != len(content):
            raise httpx.LocalProtocolError(f"the body has {len(content)} bytes, its Content-Length says {length}")
        self.wire.taken = self._keep = False
        self._interim = 0
        early: Head | None
        try:
            if content is not None and length is not None and len(head) + len(content) <= _PIECE:
                early = await self._push(head + content, request.method)
            else:
                early = await self._push(head, request.method)
                if early is None and (b"expect", b"100-continue") in [(n, v.lower()) for _, n, v in headers]:
                    early = await self._bidden(request.method)
                if early is None:
                    early = await self._send_body(request, content, length)
        except (httpx.WriteError, httpx.WriteTimeout) as error:
            if not self.wire.taken:
                raise UnsentError(str(error)) from error
            if isinstance(error, httpx.WriteTimeout):
                raise
            # A server may refuse a body before it has read all of it: its answer says why.
            return self._begin(await self._head(request.method), keep=False)
        if early is not None:
            return self._begin(early, keep=False)
        return self._begin(await self._head(request.method), keep=_keeps(headers))

    def _begin(self, head: Head, *, keep: bool) -> Head:
        """Go from the head to the body."""
        self._keep = keep and head.keep
        self._length = self._left = head.length
        self._chunks = ChunkedReader() if head.length is None else None
        return head

    async def _push(self, data: bytes | memoryview, method: str) -> Head | None:
        """Send all of it; or return the answer, if the server gives one before."""
        sent = await self.wire.write(data, self._patience("write"))
        while not sent:
            early = await self._listen(method)
            if early is not None:
                return early
            sent = await self.wire.write(b"", self._patience("write"))
        return None

    async def _listen(self, method: str) -> Head | None:
        """Read what the server says while the request is being sent; return its answer, if that is it."""
        data = await self.wire.read(self._patience("read"))
        if not data:
            raise httpx.WriteError("the server has closed the connection")
        self._rest += data
        return self._take_head(method)

    async def _bidden(self, method: str) -> Head | None:
        """Wait a moment for the server to say that it wants the body, or doesn't (RFC 9110, 10.1.1)."""
        patience = self._patience("read")
        try:
            data = await self.wire.read(_CONTINUE_WAIT if patience is None else min(patience, _CONTINUE_WAIT))
        except httpx.ReadTimeout:
            return None
        if not data:
            raise httpx.WriteError("the server has closed the connection")
        self._rest += data
        return self._take_head(method)

    async def _send_body(self, request: httpx.Request, content: bytes | None, length: Length) -> Head | None:
        """Send the body behind the head; or return the answer, if the server gives one before."""
        if content is not None and length is not None:
            view = memoryview(content)
            for begin in range(0, len(view), _PIECE):
                early = await self._listen(request.method) if self.wire.heard else None
                early = early or await self._push(view[begin : begin + _PIECE], request.method)
                if early is not None:
                    return early
            return None
        stream = request.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the body can't be read by this half of the handler")
        chunks = stream.__aiter__()
        try:
            return await self._send_chunks(chunks, request.method, length)
        finally:
            close = getattr(chunks, "aclose", None)  # generators have it
            if close is not None:
                with async_shielded():
                    await close()

    async def _send_chunks(self, chunks: AsyncIterator[bytes], method: str, length: Length) -> Head | None:
        count = 0
        async for chunk in chunks:
            if not chunk:
                continue
            count += len(chunk)
            if length is not None and count > length:
                raise httpx.LocalProtocolError("the body has more bytes than its Content-Length says")
            early = await self._listen(method) if self.wire.heard else None
            data = chunk if length is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk)
            early = early or await self._push(data, method)
            if early is not None:
                return early
        if length is None:
            return await self._push(b"0\r\n\r\n", method)
        if count < length:
            raise httpx.LocalProtocolError("the body has fewer bytes than its Content-Length says")
        return None

    async def _head(self, method: str) -> Head:
        """Return the answer's head."""
        while True:
            head = self._take_head(method) if self._rest else None
            if head is not None:
                return head
            data = await self.wire.read(self._patience("read"))
            if not data:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            self._rest = self._rest + data if self._rest else data

    def _take_head(self, method: str) -> Head | None:
        """Return the answer's head if all of it is there; go past what comes before it."""
        while end := head_end(self._rest, self._searched):
            head = parse_head(self._rest[:end], method)
            self._rest, self._searched = self._rest[end:], 0
            if head.status >= 200:
                return head
            self._interim += 1
            if head.status == 101 or self._interim > _MAX_INTERIM:
                raise httpx.RemoteProtocolError(f"unexpected {head.status} answer before the real one")
        self._searched = len(self._rest)
        return None

    async def piece(self) -> bytes | None:
        """Return the next piece of the body as it comes over the wire; None at its end.

        Raises:
            httpx.RemoteProtocolError: it ends too early, or is not what the head says.
            httpx.ReadTimeout, httpx.ReadError: the rest didn't come.
            TimeoutError: the time of the exchange is over.
        """
        if self._chunks is not None:
            return await self._chunk(self._chunks)
        if self._left == 0:
            return None
        data, self._rest = self._rest, b""
        if not data:
            data = await self.wire.read(self._patience("read"))
        if self._left == UNTIL_CLOSED or self._left is None or self._length is None:
            if not data:
                self._left = 0
                return None
            data, self._rest = data[:_PIECE], data[_PIECE:]
            return data
        if not data:
            got = self._length - self._left
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {got} bytes, expected {self._length})"
            )
        size = min(self._left, _PIECE)
        if len(data) > size:
            data, self._rest = data[:size], data[size:]
        self._left -= len(data)
        return data

    async def _chunk(self, chunks: ChunkedReader) -> bytes | None:
        while not self._pieces:
            if chunks.done:
                self._rest, self._left, self._chunks = chunks.beyond, 0, None
                return None
            data, self._rest = self._rest, b""
            if not data:
                data = await self.wire.read(self._patience("read"))
            if not data:
                raise httpx.RemoteProtocolError(
                    "peer closed connection without sending complete message body (incomplete chunked read)"
                )
            self._pieces.extend(chunks.feed(data))
        return self._pieces.popleft()
