"""HTTP requests without I/O: put together from their parts, and keeping credentials at home."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypedDict

import httpx

from .errors import InvalidRequestError
from .http_properties import HttpConnProperties
from .http_values import Places, plain_request
from .login import HttpSession
from .redaction import SAFE_HEADERS
from .retry import Resilience

__all__ = (
    "MAX_REDIRECTS",
    "Body",
    "HttpBase",
    "Origin",
    "RequestOptions",
    "ResponseOk",
    "check_method",
    "check_options",
    "origin_of",
    "redirected",
    "timeouts",
    "with_idempotency_key",
)

ResponseOk: TypeAlias = int | Collection[int] | Callable[[httpx.Response], bool] | None
Origin: TypeAlias = tuple[str, str, int | None]

FOLLOWED = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_REDIRECTS = 20
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Return scheme, host and port, the default port filled in (RFC 6454)."""
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme)


class RequestOptions(TypedDict, total=False):
    """What every HTTP call takes besides its endpoint.

    Attributes:
        response_ok: the status, or statuses, that the call takes (200 if not given); a predicate on the response; or
            None to take any. Others raise `UnexpectedStatusError`, temporary ones after retries.
        params: query parameters, added to those of the endpoint.
        json: a value to be sent as JSON.
        data: a mapping to be sent as a form.
        files: a mapping to be sent as multipart form data, as httpx takes it.
        content: text or bytes to be sent as they are; an iterator of bytes can be sent only once.
        headers: request headers; they win over the handler's.
        timeout: seconds, or a mapping of connect, read, write, pool to seconds, or an `httpx.Timeout`.
        retry: the number of retries for this call (0 or False: none), or a `Resilience`.
    """

    response_ok: ResponseOk
    params: Any
    json: Any
    data: Any
    files: Any
    content: Any
    headers: Mapping[str, str] | None
    timeout: float | Mapping[str, float | None] | httpx.Timeout | None
    retry: Resilience | int | None


_OPTIONS = frozenset(RequestOptions.__annotations__)


def check_options(options: RequestOptions) -> None:
    """Refuse what is no option of a call: a typing error in its name must not go unnoticed.

    Raises:
        TypeError: an option is unknown, or `response_ok` is of no kind that it can be.
    """
    if unknown := sorted(options.keys() - _OPTIONS):
        raise TypeError(f"a call takes no {', '.join(unknown)}: its options are {', '.join(sorted(_OPTIONS))}")
    expected = options.get("response_ok", 200)
    if isinstance(expected, str | bytes) or not (
        expected is None or isinstance(expected, int | Collection) or callable(expected)
    ):
        raise TypeError(f"response_ok must be a status, a collection of them, a predicate or None, got {expected!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a call sends besides method, endpoint and headers, in the words of httpx."""

    params: Any = None
    json: Any = None
    data: Any = None
    files: Any = None
    content: Any = None

    @property
    def replayable(self) -> bool:
        """Whether it can be sent a second time."""
        return self.content is None or isinstance(self.content, str | bytes)


class HttpBase:
    """The constant part of every request of a handler, put together once."""

    def __init__(self, props: HttpConnProperties, defaults: httpx.Headers) -> None:
        """Take the properties and the headers that the client library sends by itself."""
        self.url = httpx.URL(props.host)
        self.origin = origin_of(self.url)
        self._prefix = props.host.rstrip("/")
        self._places = Places(self._prefix)
        own = httpx.Headers(props.headers)
        self._abroad = defaults.copy()
        self._abroad.update({k: v for k, v in own.items() if k.lower() in SAFE_HEADERS})
        self._home = defaults.copy()
        self._home.update(own)
        key = props.payload_kwargs_key
        payload = dict(props.payload_kwargs)
        self._home.update(payload if key == "headers" else {})
        self._params = {k: str(v) for k, v in payload.items()} if key == "params" else {}
        self._payload = payload if key in ("json", "data") else {}
        self._payload_key = key
        self.timeout = props.timeouts

    def resolve(self, endpoint: str) -> httpx.URL:
        """Return the URL of an endpoint: appended to the host, or the endpoint itself if it's a full URL.

        Raises:
            InvalidRequestError: it holds white space or control characters, or has a scheme other than HTTP.
        """
        if not isinstance(endpoint, str | httpx.URL):
            raise InvalidRequestError(f"the endpoint must be text, got {type(endpoint).__name__}")
        text = str(endpoint)
        if (below := self._places.find(text)) is not None:
            return below
        if any(ord(ch) <= 32 or ord(ch) == 127 for ch in text):
            raise InvalidRequestError(
                f"the endpoint {text.split('?')[0]!r} has white space or control characters: percent-encode them"
            )
        if not _ABSOLUTE.match(text):
            text = f"{self._prefix}/{text.lstrip('/')}" if text else self._prefix
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise InvalidRequestError(f"the endpoint can't be part of a URL: {error}") from error
        if url.scheme not in _DEFAULT_PORTS or not url.host:
            raise InvalidRequestError(f"the endpoint has the scheme {url.scheme!r}: full URLs are http:// or https://")
        if url.userinfo:
            raise InvalidRequestError("a user or password in a URL is not allowed: use the properties or headers")
        return url

    def build(
        self,
        method: str,
        url: httpx.URL,
        body: Body,
        headers: Mapping[str, str] | None,
        session: HttpSession | None,
        jar: httpx.Cookies,
        timeout: dict[str, float | None],
    ) -> httpx.Request:
        """Return the request for one attempt. What belongs to the host's origin goes into no other request.

        Raises:
            InvalidRequestError: the parts don't make a request.
        """
        at_home = origin_of(url) == self.origin
        merged = httpx.Headers(self._home if at_home else self._abroad)
        json, data, params = body.json, body.data, body.params
        constant: dict[str, Any] = {}
        if at_home:
            constant = self._params
            if session is not None:
                merged.update(session.headers)
                constant = {**constant, **session.params}
            if self._payload:
                json, data = self._with_payload(method, body)
        extensions = {"timeout": timeout}
        try:
            if headers:
                merged.update(headers)
            if constant or params is not None:
                url = _with_params(url, params, constant)
            if data is None and body.files is None and isinstance(body.content, str | bytes | None):
                request = plain_request(method, url, merged, json, body.content, extensions)
            else:
                request = httpx.Request(
                    method,
                    url,
                    headers=merged,
                    json=json,
                    data=data,
                    files=body.files,
                    content=body.content,
                    extensions=extensions,
                )
        except (TypeError, ValueError, AttributeError, httpx.InvalidURL) as error:
            raise InvalidRequestError(f"{method} can't be built from these arguments: {error}") from error
        if headers or session is not None:  # the properties' own have been looked at
            _refuse_injection(request)
        steady(request)
        _add_cookies(jar, request)
        return request

    def complete(self, request: httpx.Request, jar: httpx.Cookies, timeout: dict[str, float | None]) -> httpx.Request:
        """Return a login flow's own request with what every request carries besides."""
        constant = self._home if origin_of(request.url) == self.origin else self._abroad
        for name, value in constant.items():
            request.headers.setdefault(name, value)
        steady(request)
        request.extensions.setdefault("timeout", timeout)
        _add_cookies(jar, request)
        return request

    def _with_payload(self, method: str, body: Body) -> tuple[Any, Any]:
        key = self._payload_key
        mine, other = (body.json, body.data) if key == "json" else (body.data, body.json)
        if mine is None and method not in _WITH_BODY:
            return body.json, body.data
        if body.content is not None or other is not None or (key == "json" and body.files is not None):
            raise InvalidRequestError(
                f"payload_kwargs are merged into {key}= (payload_kwargs_key), but this {method} has another kind of "
                f"body: give {key}=, or make a handler without payload_kwargs"
            )
        if mine is not None and not isinstance(mine, Mapping):
            raise InvalidRequestError(
                f"payload_kwargs can be merged into a mapping only, {key}= is a {type(mine).__name__}"
            )
        full = {**self._payload, **(mine or {})}
        return (full, None) if key == "json" else (None, full)


class _Chunks:
    """Gives the chunks of a body to tasks. No generator: trio warns of one that a failed write leaves suspended."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


class _SteadyStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that both flavours can send, from the start each time."""

    def __init__(self, body: httpx.SyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Chunks(iter(self._body))


def steady(request: httpx.Request) -> None:
    """Give a request a body of our own kind, where it has one that was at hand when it was made."""
    if isinstance(request.stream, httpx.SyncByteStream) and isinstance(request.stream, httpx.AsyncByteStream):
        request.stream = _SteadyStream(request.stream)


def check_method(method: str) -> str:
    """Return the method in capitals; refuse what no HTTP method may be (RFC 9110, 5.6.2)."""
    upper = method.upper() if isinstance(method, str) else ""
    if not _METHOD.fullmatch(upper):
        raise InvalidRequestError(f"{method!r} is no HTTP method")
    return upper


def _with_params(url: httpx.URL, params: Any, constant: Mapping[str, str]) -> httpx.URL:
    own = httpx.QueryParams(url.query.decode("ascii"))
    if params is not None:
        own = own.merge(params)
    missing = httpx.QueryParams({k: v for k, v in constant.items() if k not in own})
    return url.copy_with(params=httpx.QueryParams([*missing.multi_items(), *own.multi_items()]))


def _add_cookies(jar: httpx.Cookies, request: httpx.Request) -> None:
    for _ in jar.jar:  # an empty jar takes as long as a full one
        jar.set_cookie_header(request)
        return


def _refuse_injection(request: httpx.Request) -> None:
    for name, value in request.headers.raw:
        if any(ch in value or ch in name for ch in (b"\r", b"\n", b"\0")):
            raise InvalidRequestError(f"the header {name.decode('latin-1')!r} has a line break or NUL in it")


def with_idempotency_key(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers with a fresh `Idempotency-Key` unless the call brings its own."""
    kept = dict(headers or {})
    if not any(name.lower() == "idempotency-key" for name in kept):
        kept["Idempotency-Key"] = str(uuid.uuid4())
    return kept


def timeouts(value: Any, base: dict[str, float | None], remaining: float | None) -> dict[str, float | None]:
    """Return httpx's four timeouts in seconds: the call's own or the handler's, none beyond what remains."""
    chosen = base if value is None else {**base, **_as_timeouts(value)}
    if remaining is None:
        return chosen
    remaining = max(remaining, 0.001)
    return {k: remaining if v is None else min(v, remaining) for k, v in chosen.items()}


def _as_timeouts(value: Any) -> dict[str, float | None]:
    if isinstance(value, httpx.Timeout):
        return value.as_dict()
    named = value if isinstance(value, Mapping) else {"connect": value, "read": value, "write": value}
    for name, seconds in named.items():
        if name not in ("connect", "read", "write", "pool"):
            raise InvalidRequestError(f"a timeout is connect, read, write or pool, not {name!r}")
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
        if seconds is not None and not number:
            raise InvalidRequestError(f"timeout must be a positive number of seconds, got {seconds!r}")
    return dict(named)


def redirected(response: httpx.Response, jar: httpx.Cookies, *, login: bool = False) -> httpx.Request | None:
    """Return the request that a redirect asks for, None if it's not one to follow.

    httpx works out the new URL and method. On the way to another origin only headers that tell nothing remain, and
    a login's body goes nowhere but where it was sent.
    """
    old, new = response.request, response.next_request
    if new is None or (old.method not in FOLLOWED and not login):
        return None
    if new.url.scheme not in _DEFAULT_PORTS:
        raise InvalidRequestError(f"redirected to the scheme {new.url.scheme!r}, which is not followed")
    new.headers.pop("cookie", None)
    if origin_of(new.url) != origin_of(old.url):
        if new.method not in FOLLOWED:
            return None
        for name in list(new.headers):
            if name not in SAFE_HEADERS and name != "host":
                del new.headers[name]
    new.extensions = old.extensions
    _add_cookies(jar, new)
    return new
