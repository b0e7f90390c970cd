"""What sends HTTP requests for one event loop: over connections of our own, or through the live client."""

from __future__ import annotations

import logging
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

import httpx

from .._concurrency import AsyncLimiter, Logins, async_bounded, async_shielded, monotonic
from .._core.errors import ConnectionFailedError, TransferError
from .._core.http1 import Head
from .._core.http_answers import BodyReader
from .._core.http_values import answer, fill, header_items, is_read
from .._core.login import HttpSession, SessionReplaced
from .base import AsyncEngine
from .http_body import AsyncHttpBody, AsyncLeasedBody
from .http_pool import AsyncHttpPool

if TYPE_CHECKING:
    from .._drivers.httpx_clients import ClientSettings
    from .http_wire import AsyncHttpConnection

__all__ = ("AsyncHttpEngine",)

logger = logging.getLogger("echo_connhandler.http")


# What our requests carry besides the timeouts: the session they were made with, and whether they are let in first.
OWN_EXTENSIONS = frozenset({"timeout", "session", "first"})


class AsyncHttpEngine(AsyncEngine):
    """A live client, connections of our own, and the number of requests that may be in flight.

    A plain HTTP/1.1 request goes over the latter. What takes more goes through the client: a proxy, HTTP/2, an upgrade,
    and everything as soon as the user has given the client event hooks, mounts, authentication or another transport.
    """

    direct: ClassVar[bool] = True  # tests switch it off, to hold both ways to the same behaviour

    def __init__(self, settings: ClientSettings, logins: Logins[HttpSession] | None) -> None:
        self.client = settings.async_client()
        self._transport = self.client._transport  # noqa: SLF001
        self._plain = self.direct and settings.plain
        self._limiter = AsyncLimiter(settings.size)
        self._pool = AsyncHttpPool(settings.context, settings.size)
        self._max_bytes = settings.props.max_response_bytes
        self._logins = logins
        self._redactor = settings.redactor
        self._carried: HttpSession | None = None

    def carry(self, session: HttpSession) -> None:
        """Let the live client send what the calls send: the session's headers."""
        if session is not self._carried:
            for name in self._carried.headers if self._carried is not None else ():
                self.client.headers.pop(name, None)
            self.client.headers.update(session.headers)
            self._redactor.add(session.secrets())
            self._carried = session

    @property
    def connected(self) -> bool:
        """Whether the client is open, and logged in where there's a login."""
        return not self.client.is_closed and (self._logins is None or self._logins.session is not None)

    async def send(self, request: httpx.Request, ends: float | None) -> httpx.Response:
        """Send one request and read the whole answer, until the clock says `ends`; no redirect is followed."""
        await self._enter(request)
        try:
            if not self._is_plain(request):
                response = await self.client.send(request, follow_redirects=False, stream=True)
                await self.read(response, ends)
                return response
            began = perf_counter()
            connection, head = await self._pool.exchange(request, ends)
            try:
                response = self._answer(head, request)
                await self._fill(response, connection, coded=head.coded, began=began)
            finally:
                self._pool.release(connection)
            return response
        except httpx.RequestError as error:
            error.request = request
            raise
        finally:
            self._limiter.release()

    async def open(self, request: httpx.Request, ends: float | None) -> httpx.Response:
        """Send one request and return its answer as soon as the headers are there; no redirect is followed.

        The body is still to be read, with `response.aiter_raw()` or the like. The answer holds one of the places of
        this event loop until it is read to its end or closed: whoever opens it must call `response.aclose()`.
        Closed early, its connection isn't used again.

        Args:
            request: what to send.
            ends: when the clock `monotonic` says so, the answer's head is no longer waited for; None: the timeouts
                only. It's for the reader to look at the time between the pieces of the body.
        """
        await self._enter(request)
        try:
            if not self._is_plain(request):
                response = await self.client.send(request, follow_redirects=False, stream=True)
                response.stream = AsyncLeasedBody(response.stream, self._limiter)
                return response
            began = perf_counter()
            connection, head = await self._pool.exchange(request, ends)
            try:
                response = self._answer(head, request)
            except BaseException:
                self._pool.release(connection)
                raise
            connection.ends = None
            response.stream = AsyncHttpBody(connection, response, began, self._pool, self._limiter)
            return response
        except BaseException as error:
            self._limiter.release()
            if isinstance(error, httpx.RequestError):
                error.request = request
            raise

    async def _enter(self, request: httpx.Request) -> None:
        """Wait for a place; without end, unless the call has a `pool` timeout."""
        seconds = request.extensions["timeout"].get("pool")
        first = "first" in request.extensions
        if seconds is None:
            await self._limiter.acquire(first=first)
        else:
            try:
                with async_bounded(seconds):
                    await self._limiter.acquire(first=first)
            except TimeoutError as error:
                raise httpx.PoolTimeout("no place became free in time", request=request) from error
        if self.client.is_closed:
            self._limiter.release()
            raise ConnectionFailedError("the connection was closed while the call waited for it")
        session = request.extensions.get("session")
        if session is not None and self._logins is not None and self._logins.replaced(session):
            self._limiter.release()
            raise SessionReplaced

    def _is_plain(self, request: httpx.Request) -> bool:
        """Tell whether our own connections serve a request as the live client would."""
        client = self.client
        if not self._plain or client._transport is not self._transport or client.auth is not None:  # noqa: SLF001
            return False
        hooks = client.event_hooks
        if len(hooks["request"]) != 1 or hooks["response"]:
            return False
        # The mounts are the proxies of the environment, and the user's.
        if client._mounts and client._transport_for_url(request.url) is not self._transport:  # noqa: SLF001
            return False
        if request.extensions.keys() - OWN_EXTENSIONS or request.method == "CONNECT":
            return False
        return b"upgrade" not in [name for _, name, _ in header_items(request.headers)]

    def _answer(self, head: Head, request: httpx.Request) -> httpx.Response:
        """Return the answer, its body still to come, with what the live client would do with its headers."""
        response = answer(head, request)
        if head.cookies:
            self.client.cookies.extract_cookies(response)
        if response.has_redirect_location:
            response.next_request = self.client._build_redirect_request(request, response)  # noqa: SLF001
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %d", request.method, self._redactor(str(request.url)), head.status)
        return response

    async def _fill(
        self, response: httpx.Response, connection: AsyncHttpConnection, *, coded: bool, began: float
    ) -> None:
        """Read the body of an answer over a connection of our own."""
        if not coded and self._max_bytes is None:
            first = await connection.piece()
            pieces = []
            while (piece := await connection.piece()) is not None:
                pieces.append(piece)
            content = b"".join([first or b"", *pieces]) if pieces else first or b""
            fill(response, content, len(content), perf_counter() - began)
            return
        body, received = BodyReader(response, self._max_bytes), 0
        while (piece := await connection.piece()) is not None:
            received += len(piece)
            body.take(piece)
        body.finish()
        fill(response, response.content, received, perf_counter() - began)

    async def read(self, response: httpx.Response, ends: float | None) -> None:
        """Read the whole body of an answer that `open` gave, with a limit, leaving nothing open when it is broken.

        One that was read already stays as it is.
        """
        if is_read(response):
            return
        body = BodyReader(response, self._max_bytes)
        chunks = response.aiter_raw()
        try:
            async for chunk in chunks:
                body.take(chunk)
                if ends is not None and monotonic() > ends:
                    raise TimeoutError("the deadline passed while the answer came in")
            body.finish()
        except (httpx.DecodingError, TransferError, TimeoutError):
            # What broke is the content, not the connection: httpx's nested generators would be left suspended. Once
            # the connection is closed, reading on ends them all.
            with async_shielded():
                await response.aclose()
                with suppress(httpx.HTTPError, httpx.StreamError):
                    async for _ in chunks:
                        pass
            raise

    async def aclose(self) -> None:
        """Close the client and all connections."""
        await self.client.aclose()
        await self._pool.aclose()
