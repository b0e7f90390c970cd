"""Making httpx clients: the TLS context shared, configured headers kept at home, and nothing secret in httpx's log."""

from __future__ import annotations

import functools
import logging
import os
import re
import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import httpx

from .._core.http_requests import Origin, origin_of
from .._core.properties import HttpConnProperties
from .._core.redaction import MASK, SAFE_HEADERS, Redactor, redact_url

__all__ = ("ClientSettings", "default_headers")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a handler's clients are made from."""

    props: HttpConnProperties
    origin: Origin
    jar: CookieJar = field(repr=False)
    size: int = field(kw_only=True)
    redactor: Redactor = field(kw_only=True)

    def client(self) -> httpx.Client:
        """Return a new client for one thread."""
        _mask_logs()
        made = httpx.Client(**self._arguments())
        configured = made.headers

        def before_sending(request: httpx.Request) -> None:
            _before_sending(request, self, configured)

        made.event_hooks = {"request": [before_sending]}
        return made

    def async_client(self) -> httpx.AsyncClient:
        """Return a new client for one event loop."""
        _mask_logs()
        made = httpx.AsyncClient(**self._arguments())
        configured = made.headers

        async def before_sending(request: httpx.Request) -> None:
            _before_sending(request, self, configured)

        made.event_hooks = {"request": [before_sending]}
        return made

    def _arguments(self) -> dict[str, Any]:
        props = self.props
        return {
            "headers": {**default_headers(), **props.headers},
            "cookies": self.jar,
            "timeout": httpx.Timeout(**props.timeouts),
            "verify": _tls(props.verify_ssl),
            "limits": httpx.Limits(max_connections=self.size, max_keepalive_connections=self.size),
        }


# What this thread or task sends now is logged by httpx further down: that is where the filter finds it.
_sender: ContextVar[Redactor | None] = ContextVar("echo_connhandler_sender", default=None)


def _before_sending(request: httpx.Request, settings: ClientSettings, configured: httpx.Headers) -> None:
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

    with httpx.Client(verify=_tls(verify=True)) as plain:
        return {**plain.headers, "user-agent": f"echo-connhandler/{__version__}"}


def _tls(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    return _context(verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(32)
def _context(verify: bool | str, cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    """Return a TLS context; making one takes 30 ms, so it's shared. The variables are part of what it's made from."""
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify)
    if Path(verify).is_dir():
        return ssl.create_default_context(capath=verify)
    if not Path(verify).is_file():
        raise ValueError(f"verify_ssl: there is no file or folder {verify!r}")
    return ssl.create_default_context(cafile=verify)


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


def _mask_logs() -> None:
    """Put the filter on the loggers that carry URLs and headers; a second time changes nothing."""
    for name in ("httpx", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.connection"):
        logging.getLogger(name).addFilter(_filter)
