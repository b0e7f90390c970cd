"""Making httpx clients: configured headers kept at home, and nothing secret in httpx's log."""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

import httpx

from .._core.errors import MissingExtraError
from .._core.http_properties import HttpConnProperties
from .._core.http_requests import Origin, origin_of
from .._core.redaction import MASK, SAFE_HEADERS, Redactor, redact_url
from .tls import default_context, tls_context

__all__ = ("ClientSettings", "before_sending", "default_headers", "mask_logs")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a handler's clients are made from."""

    props: HttpConnProperties
    origin: Origin
    jar: CookieJar = field(repr=False)
    size: int = field(kw_only=True)
    redactor: Redactor = field(kw_only=True)

    @property
    def plain(self) -> bool:
        """Whether requests may go over connections of our own, as far as the properties have it."""
        return self.props.proxy is None and not self.props.http2

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for connections of our own."""
        return tls_context(self.props)

    def client(self) -> httpx.Client:
        """Return a new client for one thread."""
        mask_logs()
        made = httpx.Client(**self._arguments())
        configured = made.headers

        def prepare(request: httpx.Request) -> None:
            before_sending(request, self, configured)

        made.event_hooks = {"request": [prepare]}
        return made

    def async_client(self) -> httpx.AsyncClient:
        """Return a new client for one event loop."""
        mask_logs()
        made = httpx.AsyncClient(**self._arguments())
        configured = made.headers

        async def prepare(request: httpx.Request) -> None:
            before_sending(request, self, configured)

        made.event_hooks = {"request": [prepare]}
        return made

    def _arguments(self) -> dict[str, Any]:
        props = self.props
        if props.http2 and importlib.util.find_spec("h2") is None:
            raise MissingExtraError("http2=True needs a library: pip install 'echo-connhandler[http2]'")
        return {
            "headers": {**default_headers(), **props.headers},
            "cookies": self.jar,
            "timeout": httpx.Timeout(**props.timeouts),
            "verify": tls_context(props),
            "proxy": props.proxy,
            "http2": props.http2,
            "limits": httpx.Limits(max_connections=self.size, max_keepalive_connections=self.size),
        }


# What this thread or task sends now is logged by httpx further down: that is where the filter finds it.
_sender: ContextVar[Redactor | None] = ContextVar("echo_connhandler_sender", default=None)


def before_sending(request: httpx.Request, settings: ClientSettings, configured: httpx.Headers) -> None:
    """Drop configured credentials from a request to another origin: users may call the live client themselves."""
    _sender.set(settings.redactor)
    if origin_of(request.url) == settings.origin:
        return
    for name, value in configured.items():
        if name not in SAFE_HEADERS and request.headers.get(name) == value:
            del request.headers[name]


@functools.cache
def default_headers() -> dict[str, str]:
    """Return the headers that httpx sends by itself, with our own user agent."""
    from .. import __version__

    with httpx.Client(verify=default_context()) as plain:
        return {**plain.headers, "user-agent": f"echo-connhandler/{__version__}"}


_SET_COOKIE = re.compile(
    r"(\(b'(?:set-cookie|authorization|cookie|location)', b)('(?:[^'\\]|\\.)*'|\"[^\"]*\")", re.IGNORECASE
)


class _MaskingFilter(logging.Filter):
    """Masks tokens and cookies: httpx logs full URLs at INFO, httpcore response headers at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_masked(arg) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        if isinstance(record.msg, str) and "return_value=" in record.msg:
            record.msg = _SET_COOKIE.sub(rf"\1'{MASK}'", record.msg)
        return True


def _masked(url: httpx.URL) -> str:
    redactor = _sender.get()
    return redact_url(str(url)) if redactor is None else redactor(str(url))


_filter = _MaskingFilter()


def mask_logs() -> None:
    """Put the filter on the loggers that carry URLs and headers; a second time changes nothing."""
    for name in ("httpx", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.connection"):
        logging.getLogger(name).addFilter(_filter)
