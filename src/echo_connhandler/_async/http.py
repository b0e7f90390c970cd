"""HTTP calls: sending, logging in, following redirects, and reading what comes back."""

from __future__ import annotations

import json as jsonlib
from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

import httpx

from .._concurrency import (
    Allowances,
    Logins,
    async_blocks,
    async_bounded,
    async_join,
    async_shielded,
    async_sleep,
    monotonic,
)
from .._core.errors import (
    AuthenticationError,
    BlockedByWafError,
    EchoConnError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from .._core.http_answers import TEMPORARY, Judge, accepts, body_hint, may_tell, takes_redirect, unexpected
from .._core.http_calls import HttpCall, prepare
from .._core.http_requests import (
    MAX_REDIRECTS,
    HttpBase,
    RequestOptions,
    ResponseOk,
    redirected,
)
from .._core.login import HttpSession, LoginFlow, SessionReplaced, lifetime
from .._core.rate_limits import speaks_of_limits
from .._core.redaction import Redactor
from .base import AsyncCalls
from .http_engine import AsyncHttpEngine
from .retry import async_persist

if TYPE_CHECKING:
    from .._drivers.httpx_clients import ClientSettings

__all__ = ("AsyncHttpCalls",)

T = TypeVar("T")


class AsyncHttpCalls(AsyncCalls[AsyncHttpEngine]):
    """The HTTP calls of one half of a handler."""

    _base: HttpBase
    _settings: ClientSettings
    _jar: httpx.Cookies
    _redactor: Redactor
    _logins: Logins[HttpSession] | None
    _allowances: Allowances
    _temporary: ClassVar[Collection[int]] = TEMPORARY

    @abstractmethod
    def login_flow(self) -> LoginFlow:
        """Log in: a generator that yields requests, receives their responses and returns an `HttpSession`."""

    @abstractmethod
    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether a response means that the session is no longer valid."""

    @abstractmethod
    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that an answer means whatever its status says; None if there's none."""

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
        call = prepare(self._base, self.resilience, method, endpoint, options, monotonic())
        judge = call.judge(self._redactor, self._temporary)

        async def attempt() -> httpx.Response:
            return await self._async_attempt(call)

        return await async_persist(attempt, call.policy, judge, named=judge.call, started=call.began)

    async def _async_attempt(self, call: HttpCall, *, whole: bool = True) -> httpx.Response:
        """Make one attempt of a call, logging in if need be, and return an answer that the call takes.

        An answer that is not wanted `whole` has its body unread, or has it read where a hook had to see it. Then it's
        for the caller to close it.
        """
        remaining = None if call.ends is None else call.ends - monotonic()
        logged_in = self._logins is not None and call.origin == self._base.origin
        with async_bounded(remaining):
            await self._async_take_turn(call)
            session = await self._async_session(since=call.began) if logged_in else None
            response = await self._async_exchange(call, session, remaining, whole=whole)
            try:
                if session is not None and await self._async_asks_for_login(call, response):
                    await response.aclose()
                    used: HttpSession = response.request.extensions["session"]
                    session = await self._async_session(used, since=call.began)
                    response = await self._async_exchange(call, session, remaining, whole=whole, again=True)
                error = await self._async_error(call, response)
            except BaseException:
                with async_shielded():
                    await response.aclose()
                raise
        if error is not None:
            raise error
        return response

    async def _async_take_turn(self, call: HttpCall) -> None:
        """Wait while the server takes no more requests, whichever call it was that was told."""
        while self._allowances.known and call.policy.obey_rate_limits:
            wait = self._allowances.ask(call.origin, call.policy, call.began, named=call.named(self._redactor))
            if wait <= 0:
                return
            await async_sleep(wait)

    async def _async_exchange(
        self,
        call: HttpCall,
        session: HttpSession | None,
        remaining: float | None,
        *,
        whole: bool,
        again: bool = False,
    ) -> httpx.Response:
        while True:
            request = call.request(self._base, session, self._jar, remaining)
            if session is not None:
                self._async_engines.get().carry(session)
                request.extensions["session"] = session
            if again:  # not to wait in line until the new session has ended too
                request.extensions["first"] = True
            try:
                response = await self._async_follow(request, call.response_ok, ends=call.ends, whole=whole)
                break
            except SessionReplaced:
                session = await self._async_session(session, since=call.began)
        if call.policy.obey_rate_limits and speaks_of_limits(response):
            self._allowances.told(response)
        return response

    async def _async_asks_for_login(self, call: HttpCall, response: httpx.Response) -> bool:
        taken = accepts(call.response_ok, response)
        if _wanted(response, call.response_ok, taken=taken):
            return False
        return await self._async_asked(self.session_ended, response, call.ends) is True

    async def _async_error(self, call: HttpCall, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that an answer makes, whose body has then been read; None if the call takes it."""
        error = None
        taken = accepts(call.response_ok, response)
        if not _wanted(response, call.response_ok, taken=taken):
            error = await self._async_asked(self.response_error, response, call.ends)
        if error is not None or taken:
            return error
        await self._async_engines.get().read(response, call.ends)
        return unexpected(response, call.response_ok, self._redactor)

    async def _async_asked(
        self, hook: Callable[[httpx.Response], T], response: httpx.Response, ends: float | None
    ) -> T | None:
        """Return what a hook says. One that has to see the body sees it where it may be a page that tells an error."""
        try:
            return hook(response)
        except httpx.ResponseNotRead:
            if not may_tell(response):
                return None
        await self._async_engines.get().read(response, ends)
        return hook(response)

    async def _async_follow(
        self,
        request: httpx.Request,
        response_ok: ResponseOk,
        *,
        ends: float | None,
        login: bool = False,
        whole: bool = True,
    ) -> httpx.Response:
        history: list[httpx.Response] = []
        while True:
            engine = self._async_engines.get()
            response = await (engine.send(request, ends) if whole else engine.open(request, ends))
            response.history = list(history)
            if response.next_request is None or takes_redirect(response_ok, response.status_code):
                return response
            following = redirected(response, self._jar, login=login)
            if following is None:
                return response
            await engine.read(response, ends)
            if len(history) >= MAX_REDIRECTS:
                raise unexpected(response, response_ok, self._redactor, why=f", after {MAX_REDIRECTS} redirects")
            history.append(response)
            request = following

    async def _async_session(self, stale: HttpSession | None = None, *, since: float | None = None) -> HttpSession:
        """Return the session in force, logging in if there's none or it is `stale`; one login serves all who wait.

        A login that was refused after `since`, when the call began, is refused for this call too.
        """
        logins = self._logins
        if logins is None:
            raise TypeError(f"{type(self).__name__} has no login")
        session = logins.session
        while session is None or session is stale:
            claim = logins.claim(stale, blocking=async_blocks(), since=since)
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
                flight.fail(error, final=isinstance(error, AuthenticationError | BlockedByWafError))
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
        refused: AuthenticationError | None = None
        try:
            while True:
                try:
                    if refused is not None:
                        request = flow.throw(refused)
                    else:
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
                request.extensions["first"] = True
                response = await self._async_follow(request, None, ends=None, login=True)
                if response.status_code in TEMPORARY:
                    raise unexpected(response, 200, self._redactor)
                refused = None
                if response.status_code >= 400:
                    refusal: UnexpectedStatusError = unexpected(response, 200, self._redactor)
                    refused = AuthenticationError(f"login refused: {refusal}", response, scrub=self._redactor)
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


def _wanted(response: httpx.Response, response_ok: ResponseOk, *, taken: bool) -> bool:
    """Tell whether a call asked to see just this answer: it gets it then, whatever it means."""
    return taken and (response_ok is None or callable(response_ok) or response.status_code >= 300)
