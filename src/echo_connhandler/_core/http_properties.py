"""How to reach an HTTP API."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from .http_options import check_connection_options, proxy_secrets
from .properties import ConnProperties, check_number_of_seconds, check_seconds, secret, secret_mapping

__all__ = ("HttpConnProperties",)


@dataclass(frozen=True, kw_only=True, repr=False)
class HttpConnProperties(ConnProperties):
    """How to reach an HTTP API.

    Attributes:
        host: base URL, `http://` or `https://`, with or without a path; endpoints are appended to it.
        user: user name for handlers that log in; needs `password`.
        password: goes with `user`.
        api_key: key for handlers that use one; not together with `user` and `password`.
        conn_timeout: seconds to establish a connection, or to wait for a free one.
        request_timeout: seconds without a byte while an answer is awaited or read, or a request is written; or a
            mapping of `connect`, `read`, `write`, `pool` to seconds, where None waits without end.
        verify_ssl: True, False (any certificate is accepted), or the path of a file or folder of trusted CAs.
        headers: sent with every request to the host. What may be a credential, all but the likes of `accept` and
            `user-agent`, is sent nowhere else.
        cookies: sent with every request to the host, and nowhere else.
        payload_kwargs: merged into requests to the host under `payload_kwargs_key`; the call's own keys win.
        payload_kwargs_key: "json" or "data" (bodies of POST, PUT and PATCH; of others when the call has such a body),
            "params" or "headers" (every request).
        max_response_bytes: largest body taken, counted after decompression; None takes any.
        client_cert: path of a certificate to show to servers that ask for one (PEM), its key inside or in `client_key`.
        client_key: path of the certificate's private key (PEM).
        client_key_password: of an encrypted key.
        legacy_tls: also speak with servers that know only what is no longer safe: TLS 1.0 and 1.1, weak ciphers, no
            secure renegotiation. A warning names the host.
        proxy: URL of an HTTP proxy, with user and password if need be; None takes that of the environment, if any.
        http2: speak HTTP/2 with servers that do, over TLS; needs the extra `http2`.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ("http", "https")

    host: str
    user: str | None = None
    password: str | None = secret()
    api_key: str | None = secret()
    conn_timeout: float = 30
    request_timeout: float | Mapping[str, float | None] = 300
    verify_ssl: bool | str | ssl.SSLContext = True
    headers: Mapping[str, str] = secret_mapping()
    cookies: Mapping[str, str] = secret_mapping()
    payload_kwargs: Mapping[str, Any] = secret_mapping()
    payload_kwargs_key: Literal["json", "data", "params", "headers"] = "json"
    max_response_bytes: int | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: str | None = secret()
    legacy_tls: bool = False
    proxy: str | None = secret()
    http2: bool = False

    def secrets(self) -> list[str]:
        """Return every secret text in here, those inside of the proxy's URL too."""
        return [*super().secrets(), *proxy_secrets(self.proxy)]

    def _validate(self) -> None:
        if not isinstance(self.host, str):
            raise TypeError(f"host must be a URL as text, got {type(self.host).__name__}")
        if any(ch.isspace() or not ch.isprintable() for ch in self.host):
            raise ValueError("host must not contain white space or control characters")
        parts = urlsplit(self.host)
        if parts.scheme not in self.url_schemes:
            scheme = parts.scheme if "://" in self.host else "missing"
            raise ValueError(f"host must begin with http:// or https://, its scheme is {scheme!r}")
        if "@" in parts.netloc:
            raise ValueError("host must not hold a user or password: give user= and password=, or use from_url()")
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError("host must be a base URL like 'https://api.example.com/v1', without query or fragment")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("host has a port that is not a number from 0 to 65535") from None
        if self.api_key is not None and (self.user is not None or self.password is not None):
            raise ValueError("give either api_key, or user and password, not both")
        if (self.user is None) != (self.password is None):
            raise ValueError(f"{'user' if self.user is None else 'password'} is missing: user and password go together")
        check_seconds(self, "conn_timeout")
        if isinstance(self.request_timeout, Mapping):
            if unknown := set(self.request_timeout) - {"connect", "read", "write", "pool"}:
                raise ValueError(f"request_timeout: a timeout is connect, read, write or pool, not {sorted(unknown)}")
            for name, seconds in self.request_timeout.items():
                check_number_of_seconds(f"request_timeout[{name!r}]", seconds)
        else:
            check_number_of_seconds("request_timeout", self.request_timeout)
        if self.payload_kwargs_key not in ("json", "data", "params", "headers"):
            raise ValueError(
                f"payload_kwargs_key must be json, data, params or headers, got {self.payload_kwargs_key!r}"
            )
        for name in ("headers", "cookies", "payload_kwargs"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name} must be a mapping, got {type(getattr(self, name)).__name__}")
        for name, values in (("headers", self.headers), ("cookies", self.cookies)):
            _check_header_values(name, values)
        if self.payload_kwargs_key == "headers":
            _check_header_values("payload_kwargs", self.payload_kwargs)
        limit = self.max_response_bytes
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ValueError(f"max_response_bytes must be a positive number of bytes or None, got {limit!r}")
        check_connection_options(self)

    @property
    def timeouts(self) -> dict[str, float | None]:
        """The four timeouts of a request in seconds; None waits without end."""
        given = self.request_timeout
        named = given if isinstance(given, Mapping) else {"read": given, "write": given}
        return {"connect": self.conn_timeout, "read": 300, "write": 300, "pool": None, **named}

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        values = {"host": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"}
        if parts.username is not None:
            values["user"] = unquote(parts.username)
        if parts.password is not None:
            values["password"] = unquote(parts.password)
        return values


def _check_header_values(name: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"{name}: names and values must be text; {key!r} has a value of type {type(value).__name__}"
            )
        if any(ch in key + value for ch in "\r\n\0"):
            raise ValueError(f"{name}: line breaks and NUL are not allowed ({key!r})")
