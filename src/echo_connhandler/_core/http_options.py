"""Properties of HTTP connections that need more than a look, checked: TLS, client certificates, proxies."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from .http_properties import HttpConnProperties

__all__ = ("InsecureTlsWarning", "check_connection_options", "proxy_secrets", "weaknesses")


class InsecureTlsWarning(UserWarning):
    """A handler was told to trust a server more than is safe."""


def check_connection_options(props: HttpConnProperties) -> None:
    """Refuse options that are wrong, or don't go together.

    Raises:
        TypeError, ValueError: which one, and what it may be.
    """
    for name in ("legacy_tls", "http2"):
        if not isinstance(getattr(props, name), bool):
            raise TypeError(f"{name} must be True or False, got {getattr(props, name)!r}")
    for name in ("client_cert", "client_key", "client_key_password"):
        value = getattr(props, name)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be text, got {type(value).__name__}")
        if value is not None and name != "client_cert" and props.client_cert is None:
            raise ValueError(f"{name} goes with client_cert, which is missing")
    verify: object = props.verify_ssl
    if not isinstance(verify, bool | str | ssl.SSLContext):
        kind = type(verify).__name__
        raise TypeError(f"verify_ssl must be True, False, a path or an ssl.SSLContext, got {kind}")
    if isinstance(verify, ssl.SSLContext):
        for name in ("client_cert", "legacy_tls"):
            if getattr(props, name):
                raise ValueError(f"{name} and an SSLContext of your own don't go together: set it up in the context")
    _check_proxy(props.proxy)


def _check_proxy(proxy: object) -> None:
    if proxy is None:
        return
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a URL as text, got {type(proxy).__name__}")
    # Not shown in what is raised: it may hold a password.
    try:
        parts = urlsplit(proxy)
        host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError("proxy must be a URL like 'http://proxy.example.com:3128'") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError(
            "proxy must be a URL like 'http://proxy.example.com:3128' or 'https://user:password@host:3128'"
        )


def proxy_secrets(proxy: str | None) -> list[str]:
    """Return user and password in a proxy's URL."""
    if proxy is None:
        return []
    parts = urlsplit(proxy)
    return [text for part in (parts.username, parts.password) if part for text in {part, unquote(part)}]


def weaknesses(props: HttpConnProperties) -> list[str]:
    """Return what makes connections to an https:// host unsafe, to be said to the user."""
    found = []
    parts = urlsplit(props.host)
    if parts.scheme == "https" and props.verify_ssl is False:
        found.append(
            f"verify_ssl=False: any certificate is taken for that of {parts.netloc}, so that anyone on the way can "
            "read and change what is sent; give the path of its CA instead"
        )
    if parts.scheme == "https" and props.legacy_tls:
        found.append(
            f"legacy_tls=True: {parts.netloc} may use versions, ciphers and renegotiation of TLS that are not safe"
        )
    return found
