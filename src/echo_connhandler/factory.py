"""From a URL to the handler that serves it."""

from __future__ import annotations

from typing import Any

from .core import ConnHandler
from .ftp import FtpHandler
from .http import HttpHandler
from .sql import MySqlHandler, PgSqlHandler, SqlLiteHandler

__all__ = ("connect",)

_HANDLERS: dict[str, type[ConnHandler]] = {
    scheme: handler
    for handler in (HttpHandler, SqlLiteHandler, FtpHandler)
    for scheme in handler.properties_class.url_schemes
}
_HANDLERS |= {"postgresql": PgSqlHandler, "postgres": PgSqlHandler, "mysql": MySqlHandler, "mariadb": MySqlHandler}


def connect(url: str, **options: Any) -> Any:
    """Return the handler for a URL, connected unless `skip_connect=True`.

    Args:
        url: `https://user:password@api.example.com/v1`, `postgresql://user:password@host/database`,
            `sqlite:///prices.db`, `ftpes://user:password@host`; its query may hold properties.
        options: the handler's arguments, see `HttpHandler`.

    Raises:
        ValueError: no handler serves the URL's scheme, or the URL is wrong.
    """
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme not in _HANDLERS:
        known = ", ".join(f"{name}://" for name in _HANDLERS)
        raise ValueError(f"no handler for URLs with scheme {scheme or 'missing'!r}; known are {known}")
    handler = _HANDLERS[scheme]
    return handler(handler.properties_class.from_url(url), **options)
