"""HTTP handlers: any HTTP API, and the base for handlers of a certain one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import httpx

from ._async.http_many import AsyncHttpMany
from ._async.http_transfers import AsyncHttpTransfers
from ._concurrency import Allowances, Logins
from ._core.errors import UnexpectedStatusError
from ._core.http_batches import HttpRequest
from ._core.http_cookies import cookie_jar
from ._core.http_options import InsecureTlsWarning
from ._core.http_properties import HttpConnProperties
from ._core.http_requests import HttpBase, RequestOptions
from ._core.login import HttpSession, LoginFlow
from ._core.oauth2 import OAuth2, OAuth2Session
from ._core.pagination import Cursor, LinkHeader, NextLink, Offset, Page, PageNumber, PageStyle, Selector
from ._core.properties import ConnProperties
from ._core.redaction import Redactor
from ._core.retry import Resilience
from ._drivers.httpx_clients import ClientSettings, default_headers
from ._drivers.tls import warn_of_weak_tls
from ._sync.http_many import HttpMany
from ._sync.http_transfers import HttpTransfers
from .core import ConnHandler

__all__ = (
    "Cursor",
    "HttpConnProperties",
    "HttpHandler",
    "HttpRequest",
    "HttpSession",
    "InsecureTlsWarning",
    "LinkHeader",
    "LoginFlow",
    "NextLink",
    "OAuth2",
    "OAuth2Session",
    "Offset",
    "Page",
    "PageNumber",
    "PageStyle",
    "RequestOptions",
    "Selector",
)


class HttpHandler(HttpTransfers, HttpMany, AsyncHttpTransfers, AsyncHttpMany, ConnHandler):
    """Any HTTP API: `get` and its like for threads, `async_get` and its like for asyncio and trio.

    It sends no credentials by itself. A handler for an API that needs a login is a subclass with a `login_flow`.
    """

    properties_class: ClassVar[type[ConnProperties]] = HttpConnProperties
    props: HttpConnProperties

    def _set_up(self, props: ConnProperties, resilience: Resilience, pool_size: int) -> None:
        is_new = "props" not in self.__dict__  # not one made from another handler, which has warned
        super()._set_up(props, resilience, pool_size)
        if is_new:
            warn_of_weak_tls(self.props, stacklevel=3)
        self._base = HttpBase(self.props, httpx.Headers(default_headers()))
        self._jar = cookie_jar(self.props.cookies, self._base.url)
        self._redactor = Redactor(self.props.secrets())
        self._allowances = Allowances()
        self._logins = Logins() if type(self).login_flow is not HttpHandler.login_flow else None
        self._settings = ClientSettings(
            self.props, self._base.origin, self._jar.jar, size=pool_size, redactor=self._redactor
        )

    def _left_behind(self) -> frozenset[str]:
        return super()._left_behind() | {"_base", "_jar", "_redactor", "_allowances", "_logins", "_settings"}

    def login_flow(self) -> LoginFlow:
        """Log in. Override it with a generator that yields `httpx.Request`s and receives their `httpx.Response`s.

        It runs once for all threads and tasks of the handler, again when the session ends, and is written once for
        both flavours. A status of 400 or above is a refused login: its `AuthenticationError` is raised at the `yield`,
        where a flow that knows better may catch it. 429 and the likes of 503 are tried again from the start of the
        flow. Cookies are kept by themselves.

        Returns:
            HttpSession: what to send with every request to the host from now on.
        """
        yield from ()
        return HttpSession()

    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether a response means that the session has ended; override it for APIs that don't answer 401.

        The handler then logs in again, once, and repeats the request.
        """
        return response.status_code == 401

    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that an answer means; override it for APIs that answer 200 and tell of an error inside.

        It is not asked about answers that the call's `response_ok` takes by a function, as None or by their status of
        300 or above. The error is raised; it is repeated only where `response` has a temporary status.

        Returns:
            UnexpectedStatusError: or one of its kind, made with `response`; None lets `response_ok` decide.
        """
        return None

    def url_for(self, endpoint: str) -> httpx.URL:
        """Return the full URL of an endpoint."""
        return self._base.resolve(endpoint)

    @property
    def connection(self) -> httpx.Client:
        """This thread's live client; connects if need be."""
        engine = self._sync_engines.get()
        self._sync_establish(engine)
        client: httpx.Client = engine.client
        return client

    @property
    def async_connection(self) -> httpx.AsyncClient:
        """This event loop's live client. No I/O: it's logged in after the first call, or `async_connect`."""
        client: httpx.AsyncClient = self._async_engines.get().client
        return client

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return a new handler like this one with additional headers."""
        kept = {k: v for k, v in self.props.headers.items() if k.lower() not in {name.lower() for name in headers}}
        return self._like(props=self.props.replace(headers={**kept, **headers}))

    def with_cookies(self, cookies: Mapping[str, str]) -> Self:
        """Return a new handler like this one with additional cookies."""
        return self._like(props=self.props.replace(cookies={**self.props.cookies, **cookies}))

    def with_timeout(self, timeout: float | Mapping[str, float | None] | httpx.Timeout) -> Self:
        """Return a new handler like this one with another `request_timeout`: see `HttpConnProperties`."""
        given = timeout.as_dict() if isinstance(timeout, httpx.Timeout) else timeout
        return self._like(props=self.props.replace(request_timeout=given))

    def _like(self, **changes: Any) -> Self:
        twin = super()._like(**changes)
        for cookie in self._jar.jar:
            if twin.props.cookies.get(cookie.name) == self.props.cookies.get(cookie.name):
                twin._jar.jar.set_cookie(cookie)  # noqa: SLF001 - a handler of this class
        twin._allowances = self._allowances  # noqa: SLF001 - the same server
        if self._logins is not None:
            twin._logins = self._logins  # noqa: SLF001 - the same user: the twin need not log in again
        return twin
