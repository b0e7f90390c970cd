"""Clients for those who know httpx: its own clients with retries and a signature, and a small one for JSON APIs."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from ._async.clients import AsyncResilientClient
from ._core.http_answers import unexpected
from ._core.http_cookies import cookie_jar
from ._core.http_properties import HttpConnProperties
from ._core.http_requests import origin_of
from ._core.redaction import Redactor
from ._core.retry import Resilience
from ._core.signing import Signer, Signing, basic_credentials, signature, signed_text
from ._drivers.httpx_clients import ClientSettings, default_headers, mask_logs
from ._drivers.tls import tls_context, warn_of_weak_tls
from ._sync.clients import ResilientClient
from .http import HttpHandler

__all__ = (
    "AsyncAPIClient",
    "HTTPAuthenticatedClient",
    "HTTPClient",
    "Signer",
    "api_key_auth",
    "basic_auth",
    "bearer_token_auth",
    "oauth_token_auth",
    "sign_request",
)


class HTTPClient:
    """An `httpx.Client` and an `httpx.AsyncClient` for one API, made from the same arguments when first asked for.

    They behave as httpx has it: any status is returned, and httpx's own exceptions are raised. With `resilience`
    both try again as the handlers do. Configured headers and cookies go only to the origin of `base_url`.

    Attributes:
        raise_on_unexpected_status: whether `request` and `async_request` raise where the status is not 2xx. Those who
            work with the httpx clients look at it themselves.
    """

    def __init__(
        self,
        base_url: str,
        *,
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | httpx.Timeout | None = None,
        verify_ssl: bool | str | Any = True,
        follow_redirects: bool = False,
        httpx_args: Mapping[str, Any] | None = None,
        raise_on_unexpected_status: bool = False,
        resilience: Resilience | None = None,
    ) -> None:
        """Make the client; nothing is connected.

        Args:
            base_url: all requests are made to a path relative to it.
            cookies: sent with every request.
            headers: sent with every request.
            timeout: seconds, or an `httpx.Timeout`; None: 30 s to connect, 300 s for the rest. `httpx.TimeoutException`
                is raised when it's exceeded.
            verify_ssl: whether to verify the server's certificate; or a file or folder of CAs, or an `ssl.SSLContext`.
            follow_redirects: whether to follow redirects.
            httpx_args: further arguments for `httpx.Client` and `httpx.AsyncClient`.
            raise_on_unexpected_status: see above.
            resilience: how hard to try; None: once.

        Raises:
            ValueError, TypeError: an argument is wrong.
        """
        self.raise_on_unexpected_status = raise_on_unexpected_status
        self._base_url = base_url
        self._cookies = dict(cookies or {})
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._verify_ssl = verify_ssl
        self._follow_redirects = follow_redirects
        self._httpx_args = dict(httpx_args or {})
        self._resilience = resilience
        self._client: httpx.Client | None = None
        self._async_client: httpx.AsyncClient | None = None
        taken = {"base_url", "cookies", "headers", "timeout", "verify", "follow_redirects"} & set(self._httpx_args)
        if taken:
            raise ValueError(f"httpx_args: {', '.join(sorted(taken))} are arguments of {type(self).__name__} itself")
        self._setup()
        derived = type(self).__init__ is not HTTPClient.__init__
        warn_of_weak_tls(self._settings.props, stacklevel=3 if derived else 2)

    def _setup(self) -> None:
        """Check what the clients are made from, and prepare it."""
        props = HttpConnProperties(
            host=self._base_url,
            headers=self._all_headers(),
            cookies=self._cookies,
            verify_ssl=self._verify_ssl,
        )
        url = httpx.URL(self._base_url)
        self._settings = ClientSettings(
            props,
            origin_of(url),
            cookie_jar(self._cookies, url).jar,
            size=100,
            redactor=Redactor([*props.secrets(), *self._secrets()]),
        )

    def _all_headers(self) -> dict[str, str]:
        return self._headers

    def _secrets(self) -> list[str]:
        """Return what must not be shown, besides headers and cookies."""
        return []

    def _signing(self) -> Signing | None:
        return None

    def _arguments(self) -> dict[str, Any]:
        mask_logs()
        timeout = self._timeout if self._timeout is not None else httpx.Timeout(**self._settings.props.timeouts)
        return {
            "base_url": self._base_url,
            "cookies": self._settings.jar,
            "headers": {**default_headers(), **self._all_headers()},
            "timeout": timeout,
            "verify": tls_context(self._settings.props),
            "follow_redirects": self._follow_redirects,
            **self._httpx_args,
        }

    def _like(self, **changes: Any) -> Self:
        twin = copy.copy(self)
        twin.__dict__.update({f"_{name}": value for name, value in changes.items()}, _client=None, _async_client=None)
        twin._setup()  # noqa: SLF001 - a client of this class
        return twin

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return a new client matching this one with additional headers."""
        replaced = {name.lower() for name in headers}
        kept = {name: value for name, value in self._headers.items() if name.lower() not in replaced}
        return self._like(headers={**kept, **headers})

    def with_cookies(self, cookies: Mapping[str, str]) -> Self:
        """Return a new client matching this one with additional cookies."""
        return self._like(cookies={**self._cookies, **cookies})

    def with_timeout(self, timeout: float | httpx.Timeout) -> Self:
        """Return a new client matching this one with a new timeout in seconds."""
        return self._like(timeout=timeout)

    def with_resilience(self, resilience: Resilience | None) -> Self:
        """Return a new client matching this one that tries so hard; None: once."""
        return self._like(resilience=resilience)

    def set_httpx_client(self, client: httpx.Client) -> Self:
        """Use this `httpx.Client`. It overrides all other settings: cookies, headers, timeout, key and retries."""
        self._client = client
        return self

    def get_or_create_httpx_client(self) -> httpx.Client:
        """Return the underlying `httpx.Client`, made now if there's none yet."""
        if self._client is None:
            self._client = ResilientClient(self._settings, self._resilience, self._signing(), **self._arguments())
        return self._client

    def set_async_httpx_client(self, async_client: httpx.AsyncClient) -> Self:
        """Use this `httpx.AsyncClient`. It overrides all other settings: cookies, headers, timeout, key and retries."""
        self._async_client = async_client
        return self

    def get_or_create_async_httpx_client(self) -> httpx.AsyncClient:
        """Return the underlying `httpx.AsyncClient`, made now if there's none yet. It belongs to one event loop."""
        if self._async_client is None:
            self._async_client = AsyncResilientClient(
                self._settings, self._resilience, self._signing(), **self._arguments()
            )
        return self._async_client

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request; the options are those of `httpx.Client.request`.

        Raises:
            UnexpectedStatusError: the status is not 2xx, and `raise_on_unexpected_status` is set.
            httpx.TransportError: no answer.
        """
        return self._checked(self.get_or_create_httpx_client().request(method, url, **options))

    async def async_request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request; as `request`."""
        return self._checked(await self.get_or_create_async_httpx_client().request(method, url, **options))

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if self.raise_on_unexpected_status and not response.is_success:
            raise unexpected(response, None, self._settings.redactor)
        return response

    def __enter__(self) -> Self:
        """Enter the context of the underlying `httpx.Client`; that can be done once."""
        self.get_or_create_httpx_client().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.get_or_create_httpx_client().__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        """Enter the context of the underlying `httpx.AsyncClient`; that can be done once."""
        await self.get_or_create_async_httpx_client().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.get_or_create_async_httpx_client().__aexit__(kind, error, trace)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_client", "_async_client", "_settings")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _client=None, _async_client=None)
        self._setup()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.redactor(self._base_url)!r})"


def sign_request(request: httpx.Request, api_key: str, api_secret: str) -> dict[str, str]:
    """Sign a request: the signer that `HTTPAuthenticatedClient` has unless it's given another.

    The signature is the HMAC-SHA256, in hexadecimal digits, of these, a line break after each but the last: the
    timestamp, the method, the path with its query, the body.

    Returns:
        The headers `API-Timestamp` (Unix time in seconds) and `API-Signature`.
    """
    timestamp = str(int(time.time()))
    return {"API-Timestamp": timestamp, "API-Signature": signature(api_secret, signed_text(request, timestamp))}


class HTTPAuthenticatedClient(HTTPClient):
    """An `HTTPClient` for secured endpoints: it sends an API key, and signs each request if it has a secret.

    The secret itself is never sent. Key and signature go only to the origin of `base_url`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        api_secret: str | None = None,
        auth_header_name: str = "API-Key",
        signer: Signer = sign_request,
        **options: Any,
    ) -> None:
        """Make the client; nothing is connected.

        Args:
            base_url: as for `HTTPClient`.
            api_key: sent with every request.
            api_secret: to sign requests with; None: they aren't signed.
            auth_header_name: name of the header for the key.
            signer: given the request, the key and the secret just before the request goes, also before each further
                attempt; returns headers to send, or sets them on the request.
            options: as for `HTTPClient`.
        """
        self.api_key = api_key
        self.api_secret = api_secret
        self.auth_header_name = auth_header_name
        self._signer = signer
        super().__init__(base_url, **options)

    def _all_headers(self) -> dict[str, str]:
        return {**self._headers, self.auth_header_name: self.api_key}

    def _secrets(self) -> list[str]:
        return [self.api_secret] if self.api_secret is not None else []

    def _signing(self) -> Signing | None:
        return None if self.api_secret is None else Signing(self._signer, self.api_key, self.api_secret)


def bearer_token_auth(token: str) -> dict[str, str]:
    """Return the header that shows a bearer token (RFC 6750)."""
    return {"Authorization": f"Bearer {token}"}


def oauth_token_auth(access_token: str) -> dict[str, str]:
    """Return the header that shows an OAuth 2.0 access token; the same as `bearer_token_auth`."""
    return bearer_token_auth(access_token)


def api_key_auth(api_key: str, header_name: str = "X-API-Key") -> dict[str, str]:
    """Return the header that shows an API key."""
    return {header_name: api_key}


def basic_auth(user: str, password: str) -> dict[str, str]:
    """Return the header that shows user and password (RFC 7617).

    Raises:
        ValueError: the user has a colon in it.
    """
    return {"Authorization": basic_credentials(user, password)}


class _ApiHandler(HttpHandler):
    """What an `AsyncAPIClient` sends with: any status from 500 is temporary to it, and of the others only 429."""

    _temporary = frozenset({429, *range(500, 600)})


def _below_400(response: httpx.Response) -> bool:
    return response.status_code < 400


class AsyncAPIClient:
    """A client for JSON APIs, for asyncio and trio: three requests at most, with 2 s and 4 s between them.

    Tried again are 429, any status from 500, and network errors; any other status from 400 fails at once. A
    `Retry-After` wins over these waits, up to 30 s.
    """

    resilience: ClassVar[Resilience] = Resilience(
        max_retries=2, max_conn_retries=2, exponential_min_retry_wait_time=2, jitter=(1, 1)
    )

    def __init__(self, base_url: str, auth_headers: Mapping[str, str] | None = None, timeout: float = 30) -> None:
        """Make the client; nothing is connected.

        Args:
            base_url: endpoints are relative to it.
            auth_headers: sent to its origin, and nowhere else: see `bearer_token_auth`, `api_key_auth`.
            timeout: seconds to connect, and without a byte while sending or waiting for the answer.
        """
        props = HttpConnProperties(
            host=base_url, headers=auth_headers or {}, conn_timeout=timeout, request_timeout=timeout
        )
        self._handler = _ApiHandler(props, skip_connect=True, resilience=self.resilience)

    async def request(
        self,
        method: str,
        endpoint: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request and return its response.

        Raises:
            RateLimitedError, UnexpectedStatusError: the status is 400 or above; the response is in `.response`.
            ConnectionFailedError, TimeoutExceededError, TransferError: no answer.
        """
        return await self._handler.async_request(
            method, endpoint, params=params, json=json, headers=headers, response_ok=_below_400
        )

    async def get_json(self, endpoint: str, params: Mapping[str, Any] | None = None) -> Any:
        """Send a GET request and return the parsed JSON body.

        Raises:
            UnexpectedContentError: the body is not JSON; others as by `request`.
        """
        return await self._handler.async_get_json(endpoint, params=params, response_ok=_below_400)

    async def aclose(self) -> None:
        """Close the connections. Not needed at the end of an event loop: they're closed then."""
        await self._handler.async_close()

    async def __aenter__(self) -> Self:
        await self._handler.async_connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._handler.props.host!r})"
