"""The connections of one engine, busy and idle. To take one costs the same for any number of them."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import httpx

from .._concurrency import monotonic
from .._core.errors import ConnectionFailedError
from .._core.http1 import Head, HeadWriter
from .._core.http_requests import Origin, origin_of
from .._drivers.wires import async_connect_wire
from .http_wire import AsyncHttpConnection, UnsentError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from .._drivers.wires import AsyncWire

__all__ = ("AsyncHttpPool",)

IDLE_SECONDS = 5.0  # as httpx has it: servers close what is idle for longer, some of them soon


class AsyncHttpPool:
    """Connections to any number of origins, `size` in all."""

    def __init__(self, context: Callable[[], ssl.SSLContext], size: int) -> None:
        """Take what gives the TLS context, and how many connections may be open."""
        self._context = context
        self._size = size
        self._writer = HeadWriter()
        self._busy: set[AsyncHttpConnection] = set()
        # Those that are idle twice: by origin, the last one used on top; and all, the first one used in front. Whoever
        # takes one out of the latter has it.
        self._stacks: dict[Origin, list[AsyncHttpConnection]] = {}
        self._idle: OrderedDict[AsyncHttpConnection, None] = OrderedDict()
        # The last ones that were dropped: some event loops close them a moment later.
        self._dropped: deque[AsyncWire] = deque(maxlen=size)
        self._closed = False

    async def exchange(self, request: httpx.Request, ends: float | None) -> tuple[AsyncHttpConnection, Head]:
        """Send a request and return the head of its answer, with the connection that the body comes from.

        The connection is to be given back with `release`. See `AsyncHttpConnection.exchange`.

        Raises:
            httpx.ConnectTimeout, httpx.ConnectError: nothing was sent.
        """
        origin = origin_of(request.url)
        while True:
            connection = self._take(origin) or await self._connect(origin, request, ends)
            self._busy.add(connection)
            try:
                if self._closed:
                    raise ConnectionFailedError("the connection was closed while the call waited for it")
                return connection, await connection.exchange(request, self._writer, ends)
            except UnsentError as error:
                self._drop(connection)
                if not connection.used:
                    raise httpx.ConnectError("the server closed the connection at once") from error
            except BaseException:
                self._drop(connection)
                raise

    def release(self, connection: AsyncHttpConnection) -> None:
        """Take a connection back; one that can't be used again is closed."""
        if self._closed or not connection.reusable:
            self._drop(connection)
            return
        self._busy.discard(connection)
        connection.used = True
        connection.idle_since = now = monotonic()
        self._stacks.setdefault(connection.origin, []).append(connection)
        self._idle[connection] = None
        oldest = next(iter(self._idle))
        if now - oldest.idle_since > IDLE_SECONDS:
            self._drop_oldest()

    def _take(self, origin: Origin) -> AsyncHttpConnection | None:
        stack = self._stacks.get(origin)
        while stack:
            connection = stack.pop()
            if self._idle.pop(connection, self) is self:
                continue  # it was closed as the oldest
            if monotonic() - connection.idle_since <= IDLE_SECONDS and connection.wire.silent:
                return connection
            self._drop(connection)
        return None

    async def _connect(self, origin: Origin, request: httpx.Request, ends: float | None) -> AsyncHttpConnection:
        if len(self._idle) + len(self._busy) >= self._size:
            self._drop_oldest()
        timeout = request.extensions["timeout"].get("connect")
        if ends is not None:
            left = max(ends - monotonic(), 0.001)
            timeout = left if timeout is None else min(timeout, left)
        scheme, _, port = origin
        context = self._context() if scheme == "https" else None
        wire = await async_connect_wire(request.url.raw_host.decode("ascii"), port or 0, context, timeout)
        return AsyncHttpConnection(wire, origin)

    def _drop(self, connection: AsyncHttpConnection) -> None:
        self._busy.discard(connection)
        connection.wire.drop()
        self._dropped.append(connection.wire)

    def _drop_oldest(self) -> None:
        if self._idle:
            self._drop(self._idle.popitem(last=False)[0])

    async def aclose(self) -> None:
        """Close what is idle; what is in use is found closed by those who use it."""
        self._closed = True
        for connection in list(self._busy):
            connection.wire.interrupt()
        while self._idle:
            await self._idle.popitem()[0].wire.aclose()
        self._stacks.clear()
        while self._dropped:
            await self._dropped.popleft().aclose()
