"""HTTP calls: sending, logging in, following redirects, and reading what comes back."""

from __future__ import annotations

import json as jsonlib
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack

import httpx

from .._concurrency import AsyncLimiter, Logins, async_blocks, async_bounded, async_join, async_shielded, monotonic
from .._core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    EchoConnError,
    TransferError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from .._core.http_answers import TEMPORARY, BodyReader, Judge, accepts, body_hint, takes_redirect, unexpected
from .._core.http_requests import (
    MAX_REDIRECTS,
    Body,
    HttpBase,
    RequestOptions,
    ResponseOk,
    check_method,
    check_options,
    origin_of,
    redirected,
    timeouts,
    with_idempotency_key,
)
from .._core.login import HttpSession, LoginFlow, lifetime
from .._core.redaction import Redactor
from .._core.retry import for_call
from .base import AsyncCalls, AsyncEngine
from .retry import async_persist

if TYPE_CHECKING:
    from .._drivers.httpx_clients import ClientSettings

__all__ = ("AsyncHttpCalls", "AsyncHttpEngine")


class AsyncHttpEngine(AsyncEngine):
    """One live client and the number of requests that it may have in flight."""

    def __init__(self, settings: ClientSettings, logins: Logins[HttpSession] | None) -> None:
        self.client = settings.async_client()
        self._limiter = AsyncLimiter(settings.size)
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
        await self._limiter.acquire()
        try:
            if self.client.is_closed:
                raise ConnectionFailedError("the connection was closed while the call waited for it")
            response = await self.client.send(request, follow_redirects=False, stream=True)
            await self._read(response, ends)
            return response
        finally:
            self._limiter.release()

    async def _read(self, response: httpx.Response, ends: float | None) -> None:
        """Read the body, as `response.read` does, but with a limit, and leaving nothing open when it is broken."""
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
        """Close the client and its connections."""
        await self.client.aclose()


class AsyncHttpCalls(AsyncCalls[AsyncHttpEngine]):
    """The HTTP calls of one half of a handler."""

    _base: HttpBase
    _settings: ClientSettings
    _jar: httpx.Cookies
    _redactor: Redactor
    _logins: Logins[HttpSession] | None

    @abstractmethod
    def login_flow(self) -> LoginFlow:
        """Log in: a generator that yields requests, receives their responses and returns an `HttpSession`."""

    @abstractmethod
    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether a response means that the session is no longer valid."""

    def _async_new_engine(self) -> AsyncHttpEngine:
        return AsyncHttpEngine(self._settings, self._logins)

    async def _async_establish(self, engine: AsyncHttpEngine) -> None:
        if self._logins is not None:
            engine.carry(await self._async_session())

    async def _async_check(self, engine: AsyncHttpEngine) -> None:
        await self.async_request("HEAD", "", response_ok=None, retry=0)

    def _async_forget(self) -> None:
        if self._logins is not None:
            self._logins.forget()
            self._jar.jar.clear()

    async def async_request(self, method: str, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a request and return its response, trying again as the handler's resilience has it.

        Args:
            method: an HTTP method.
            endpoint: relative to the host, or a full URL. Credentials go to the host's own origin only.
            options: see `RequestOptions`.

        Raises:
            UnexpectedStatusError: the status is not what `response_ok` takes; a RuntimeError, with `.response`.
            ConnectionFailedError, TimeoutExceededError, TransferError: no answer, or no whole one.
            OutcomeUnknownError: the answer was lost and the method is not one of `retry_methods`.
            InvalidRequestError: the arguments don't make a request.
            TypeError: an option is unknown or of the wrong kind.
        """
        began = monotonic()
        method = check_method(method)
        check_options(options)
        policy = for_call(self.resilience, options.get("retry"))
        url = self._base.resolve(endpoint)
        headers, response_ok = options.get("headers"), options.get("response_ok", 200)
        if policy.idempotency_key and method in ("POST", "PATCH"):
            headers = with_idempotency_key(headers)
        body = Body(
            params=options.get("params"),
            json=options.get("json"),
            data=options.get("data"),
            files=options.get("files"),
            content=options.get("content"),
        )
        logged_in = self._logins is not None and origin_of(url) == self._base.origin

        ends = None if policy.deadline is None else began + policy.deadline

        async def exchange(session: HttpSession | None, remaining: float | None) -> httpx.Response:
            if session is not None:
                self._async_engines.get().carry(session)
            limits = timeouts(options.get("timeout"), self._base.timeout, remaining)
            request = self._base.build(method, url, body, headers, session, self._jar, limits)
            return await self._async_follow(request, response_ok, ends=ends)

        async def attempt() -> httpx.Response:
            remaining = None if ends is None else ends - monotonic()
            with async_bounded(remaining):
                session = await self._async_session() if logged_in else None
                response = await exchange(session, remaining)
                taken = accepts(response_ok, response)
                if session is not None and self._ended(response, response_ok, taken=taken):
                    response = await exchange(await self._async_session(stale=session), remaining)
                    taken = accepts(response_ok, response)
            if not taken:
                raise unexpected(response, response_ok, self._redactor)
            return response

        judge = Judge(method, url, policy, self._redactor, replayable=body.replayable)
        return await async_persist(attempt, policy, judge, named=judge.call, started=began)

    def _ended(self, response: httpx.Response, response_ok: ResponseOk, *, taken: bool) -> bool:
        """Tell whether to log in again: not where the call asked to see just this status."""
        asked_for = taken and response_ok != 200
        return not asked_for and self.session_ended(response)

    async def _async_follow(
        self, request: httpx.Request, response_ok: ResponseOk, *, ends: float | None, login: bool = False
    ) -> httpx.Response:
        history: list[httpx.Response] = []
        while True:
            response = await self._async_engines.get().send(request, ends)
            response.history = list(history)
            if response.next_request is None or takes_redirect(response_ok, response.status_code):
                return response
            following = redirected(response, self._jar, login=login)
            if following is None:
                return response
            if len(history) >= MAX_REDIRECTS:
                raise unexpected(response, response_ok, self._redactor, why=f", after {MAX_REDIRECTS} redirects")
            history.append(response)
            request = following

    async def _async_session(self, stale: HttpSession | None = None) -> HttpSession:
        """Return the session in force, logging in if there's none or it is `stale`; one login serves all who wait."""
        logins = self._logins
        if logins is None:
            raise TypeError(f"{type(self).__name__} has no login")
        session = logins.session
        while session is None or session is stale:
            claim = logins.claim(stale, blocking=async_blocks())
            if isinstance(claim, HttpSession):
                return claim
            flight, mine = claim
            if not mine:
                try:
                    session = await async_join(flight)
                except EchoConnError as error:
                    raise error.again() from error
                continue
            try:
                session = await self._async_log_in()
            except BaseException as error:
                flight.fail(error)
                raise
            ends = None if session.expires_in is None else monotonic() + lifetime(session.expires_in)
            flight.land(session, ends)
            return session
        return session

    async def _async_log_in(self) -> HttpSession:
        policy = self.resilience.for_connecting()
        judge = Judge("LOGIN", self._base.url, policy, self._redactor, replayable=True)
        return await async_persist(self._async_login_once, policy, judge, named=judge.call)

    async def _async_login_once(self) -> HttpSession:
        flow = self.login_flow()
        response: httpx.Response | None = None
        try:
            while True:
                try:
                    request = next(flow) if response is None else flow.send(response)
                except StopIteration as end:
                    return self._take_session(end.value)
                except EchoConnError:
                    raise
                except Exception as error:
                    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                    text = f"the login's answer was not understood ({said})"
                    raise AuthenticationError(self._redactor(text), response, scrub=self._redactor) from error
                request = self._base.complete(request, self._jar, self._base.timeout)
                response = await self._async_follow(request, None, ends=None, login=True)
                if response.status_code in TEMPORARY:
                    raise unexpected(response, 200, self._redactor)
                if response.status_code >= 400:
                    refusal: UnexpectedStatusError = unexpected(response, 200, self._redactor)
                    raise AuthenticationError(f"login refused: {refusal}", response, scrub=self._redactor)
        finally:
            flow.close()

    def _take_session(self, session: Any) -> HttpSession:
        if not isinstance(session, HttpSession):
            raise TypeError(f"login_flow must return an HttpSession, got {type(session).__name__}")
        self._redactor.add(session.secrets())
        return session

    async def async_get(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a GET request; see `async_request`."""
        return await self.async_request("GET", endpoint, **options)

    async def async_post(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a POST request; see `async_request`."""
        return await self.async_request("POST", endpoint, **options)

    async def async_put(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a PUT request; see `async_request`."""
        return await self.async_request("PUT", endpoint, **options)

    async def async_patch(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a PATCH request; see `async_request`."""
        return await self.async_request("PATCH", endpoint, **options)

    async def async_delete(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a DELETE request; see `async_request`."""
        return await self.async_request("DELETE", endpoint, **options)

    async def async_head(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a HEAD request; see `async_request`."""
        return await self.async_request("HEAD", endpoint, **options)

    async def async_options(self, endpoint: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send an OPTIONS request; see `async_request`."""
        return await self.async_request("OPTIONS", endpoint, **options)

    async def async_get_json(self, endpoint: str, **options: Unpack[RequestOptions]) -> Any:
        """Send a GET request that asks for JSON and return the parsed body; see `async_request`.

        Raises:
            UnexpectedContentError: the body is not JSON; a ValueError, with `.response`.
        """
        headers = {"accept": "application/json"}
        headers.update({name.lower(): value for name, value in (options.get("headers") or {}).items()})
        options["headers"] = headers
        response = await self.async_request("GET", endpoint, **options)
        try:
            if response.charset_encoding is not None:
                return jsonlib.loads(response.text)
            return response.json()
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            start = body_hint(response, self._redactor) or "empty"
            text = self._redactor(f"GET {response.request.url}: the body is not JSON but {kind}")
            raise UnexpectedContentError(f"{text}: {start}", response, scrub=self._redactor) from error
