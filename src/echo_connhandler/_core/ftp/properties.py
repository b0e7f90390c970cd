"""How to reach an FTP server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from ..properties import ConnProperties, check_seconds, secret

__all__ = ("FtpConnProperties",)

_TLS_OF_SCHEME = {"ftp": "none", "ftpes": "explicit", "ftp+tls": "explicit", "ftps": "implicit"}
_TEXTS = ("host", "user", "password", "account", "client_cert", "client_key", "client_key_password", "encoding")
_ASCII = bytes(range(32, 127))


@dataclass(frozen=True, kw_only=True, repr=False)
class FtpConnProperties(ConnProperties):
    """How to connect to an FTP server.

    Attributes:
        host: name or address.
        port: TCP port; None is 21, with tls="implicit" 990.
        user: user name; None logs in as `anonymous`.
        password: goes with `user`.
        account: for servers that ask for one besides (ACCT); goes with `user`.
        tls: "none" does not encrypt; "explicit" connects and then asks for TLS (FTPES); "implicit" speaks TLS from the
            beginning (FTPS). Data connections are encrypted too, and resume the control connection's TLS session. A
            server that can't is refused.
        verify_ssl: True checks the certificate and the host's name against the system's CAs; a path does so against
            the CAs in that file; False takes any certificate; an `ssl.SSLContext` is used as it is (and can't be
            pickled).
        client_cert: path of the client's certificate (PEM), with or without its key.
        client_key: path of its key, if not in the same file.
        client_key_password: password of that key.
        passive: whether data connections are made by us (EPSV, PASV); False has the server make them (EPRT, PORT).
        encoding: of names that are not ASCII; any that has ASCII in it, such as "latin-1". For "utf-8" the server is
            asked where it has a choice.
        conn_timeout: seconds to establish a connection, TLS included, or to wait for a free one of the pool.
        request_timeout: seconds without a byte while a reply or data is awaited, or sent.
        rate_limit: bytes per second that transfers don't exceed, each for itself; None sets no limit.
        idle_check: seconds that a connection may be idle before the server is asked for a sign of life at next use.
        max_age: seconds after which a connection is replaced when it is free, spread at random by a tenth; None keeps
            it.
    """

    url_schemes: ClassVar[tuple[str, ...]] = tuple(_TLS_OF_SCHEME)

    host: str = "localhost"
    port: int | None = None
    user: str | None = None
    password: str | None = secret()
    account: str | None = secret()
    tls: Literal["none", "explicit", "implicit"] = "none"
    verify_ssl: bool | str | ssl.SSLContext = True
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: str | None = secret()
    passive: bool = True
    encoding: str = "utf-8"
    conn_timeout: float = 30
    request_timeout: float = 300
    rate_limit: float | None = None
    idle_check: float = 30
    max_age: float | None = 1800

    def _validate(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be text, got {type(value).__name__}")
            if value is not None and any(ord(ch) < 32 or ord(ch) == 127 for ch in value):
                raise ValueError(f"{name} must not hold control characters")
        if not self.host or any(mark in self.host for mark in ("/", "@", " ")):
            raise ValueError("host must be a name or an address; for a URL use from_url()")
        number = isinstance(self.port, int) and not isinstance(self.port, bool)
        if self.port is not None and not (number and 1 <= self.port <= 65535):
            raise ValueError(f"port must be a whole number from 1 to 65535, got {self.port!r}")
        if self.password is not None and self.user is None:
            raise ValueError("user is missing: password goes with it")
        if self.user is not None and not self.user:
            raise ValueError("user must not be empty; None logs in as anonymous")
        self._check_tls()
        if self.passive not in (True, False):
            raise TypeError(f"passive must be True or False, got {self.passive!r}")
        _check_encoding(self.encoding)
        for name in ("conn_timeout", "request_timeout"):
            if getattr(self, name) is None:
                raise ValueError(f"{name} must be a positive number of seconds, got None")
        check_seconds(self, "conn_timeout", "request_timeout", "max_age")
        if self.idle_check != 0:
            check_seconds(self, "idle_check")
        rate = self.rate_limit
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0):
            raise ValueError(f"rate_limit must be a positive number of bytes per second or None, got {rate!r}")

    def _check_tls(self) -> None:
        if self.tls not in ("none", "explicit", "implicit"):
            raise ValueError(f'tls must be "none", "explicit" or "implicit", got {self.tls!r}')
        if not isinstance(self.verify_ssl, bool | str | ssl.SSLContext):
            raise TypeError(
                f"verify_ssl must be True, False, a path or an ssl.SSLContext, got {type(self.verify_ssl).__name__}"
            )
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_cert is missing: client_key goes with it")
        if self.client_cert is not None and self.tls == "none":
            raise ValueError('client_cert needs tls="explicit" or "implicit"')
        if self.client_cert is not None and isinstance(self.verify_ssl, ssl.SSLContext):
            raise ValueError("client_cert: load it into the SSLContext that verify_ssl is")

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port to connect to."""
        return self.host.strip("[]"), self.port or (990 if self.tls == "implicit" else 21)

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        if parts.path.strip("/"):
            raise ValueError("an FTP URL names a server, not a file: paths are given to the calls")
        values = {"tls": _TLS_OF_SCHEME[parts.scheme]}
        if parts.hostname:
            values["host"] = unquote(parts.hostname)
        if parts.port is not None:
            values["port"] = str(parts.port)
        if parts.username:
            values["user"] = unquote(parts.username)
        if parts.password is not None:
            values["password"] = unquote(parts.password)
        return values


def _check_encoding(name: str) -> None:
    try:
        same = _ASCII.decode(name).encode(name) == _ASCII == _ASCII.decode(name).encode("ascii")
    except LookupError:
        raise ValueError(f"encoding must be one that Python knows for text, got {name!r}") from None
    except UnicodeError:
        same = False
    if not same:
        raise ValueError(f"encoding must have ASCII in it, as FTP's commands have, which {name!r} has not")
