"""Connection properties: frozen, validated, and silent about their secrets."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import ssl
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from .http_options import check_connection_options, proxy_secrets
from .redaction import MASK, SAFE_HEADERS

__all__ = ("ConnProperties", "HttpConnProperties", "SqlLiteConnProperties")

PROFILES_VARIABLE = "ECHO_CONNHANDLER_PROFILES"
PROFILES_FILE = "echo-connhandler.toml"


def secret(default: Any = None) -> Any:
    return field(default=default, repr=False, metadata={"secret": True})


def _secret_mapping() -> Any:
    return field(default_factory=dict, repr=False, metadata={"secret": True})


@dataclass(frozen=True, kw_only=True, repr=False)
class ConnProperties:
    """Base of all connection properties: what is needed to connect, and nothing that changes.

    Instances are frozen and validated when made. They show no secret in `repr`, but a pickle of them holds the
    secrets, as whoever unpickles it must be able to connect.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Mapping):
                object.__setattr__(self, spec.name, dict(value))
        self._validate()

    def _validate(self) -> None:
        """Raise ValueError or TypeError that says which property is wrong and what it may be."""

    def __repr__(self) -> str:
        shown = []
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value == _default(spec):
                continue
            shown.append(f"{spec.name}={_shown(value, secret='secret' in spec.metadata)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def secrets(self) -> list[str]:
        """Return every secret text in here, for masking it in whatever is shown."""
        found: list[str] = []
        for spec in dataclasses.fields(self):
            if "secret" in spec.metadata:
                found.extend(_texts(getattr(self, spec.name)))
        return found

    def replace(self, **changes: Any) -> Self:
        """Return properties like these with some changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_url(cls, url: str, **more: Any) -> Self:
        """Make properties from a URL; its query may hold further properties by name (`?conn_timeout=5`).

        Args:
            url: for example `https://user:password@api.example.com/v1` or `sqlite:///prices.db`. Characters with a
                meaning in URLs are percent-encoded in user and password.
            more: properties by name; they win over those in the URL.

        Raises:
            ValueError: the scheme is none of this class's, or a property is unknown or wrong.
        """
        scheme, separator, _ = url.partition("://")
        if not separator or scheme.lower() not in cls.url_schemes:
            known = ", ".join(f"{s}://" for s in cls.url_schemes)
            raise ValueError(
                f"{cls.__name__}: the URL's scheme is {scheme if separator else 'missing'!r}, must be {known}"
            )
        return cls._from_texts({**cls._url_values(url), **_query_values(url)}, "the URL", more)

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        raise TypeError(f"{cls.__name__} can't be made from a URL")

    @classmethod
    def from_env(cls, prefix: str = "ECHO_", *, environ: Mapping[str, str] | None = None, **more: Any) -> Self:
        """Make properties from environment variables: `prefix` and the property's name in capitals (`ECHO_HOST`).

        Args:
            prefix: what the variables begin with.
            environ: where to look; `os.environ` if None. Mappings (`ECHO_HEADERS`) are JSON objects.
            more: properties by name; they win over the environment.

        Raises:
            ValueError: a value can't be read as its property's type, or a required property is missing.
        """
        environ = os.environ if environ is None else environ
        names = [spec.name for spec in dataclasses.fields(cls)]
        values = {name: environ[prefix + name.upper()] for name in names if prefix + name.upper() in environ}
        return cls._from_texts(values, f"the environment variables {prefix}*", more)

    @classmethod
    def from_profile(cls, name: str, path: str | os.PathLike[str] | None = None, **more: Any) -> Self:
        """Make properties from a named table of a TOML file.

        The file is `path`; or the one that the variable ECHO_CONNHANDLER_PROFILES names; or `echo-connhandler.toml`
        in the current folder; or `~/.config/echo-connhandler/profiles.toml`. A key `<property>_env` gives the name of
        an environment variable to take the property from, so that no secret needs to be in the file.

        Raises:
            ValueError: there is no such file or profile, or a property is unknown or wrong.
        """
        file = _profiles_file(path)
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        if not isinstance(tables.get(name), dict):
            known = ", ".join(sorted(k for k, v in tables.items() if isinstance(v, dict))) or "none"
            raise ValueError(f"no profile [{name}] in {file}; it has: {known}")
        values: dict[str, Any] = {}
        for key, value in tables[name].items():
            if key.endswith("_env") and isinstance(value, str):
                if value not in os.environ:
                    raise ValueError(f"profile [{name}] in {file}: {key} names the variable {value}, which is not set")
                key, value = key.removesuffix("_env"), os.environ[value]
            values[key] = value
        return cls._from_texts(values, f"profile [{name}] in {file}", more)

    @classmethod
    def _from_texts(cls, values: Mapping[str, Any], source: str, more: Mapping[str, Any]) -> Self:
        hints = typing.get_type_hints(cls)
        specs = {spec.name: spec for spec in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(specs))
        if unknown:
            raise ValueError(f"{cls.__name__}: {source} has unknown properties {unknown}; known are {sorted(specs)}")
        parsed = {k: _parse(k, v, hints[k], source) for k, v in values.items()} | dict(more)
        missing = [n for n, s in specs.items() if n not in parsed and _default(s) is dataclasses.MISSING]
        if missing:
            raise ValueError(f"{cls.__name__}: {source} lacks {missing}")
        return cls(**parsed)


def _default(spec: dataclasses.Field[Any]) -> Any:
    if spec.default_factory is not dataclasses.MISSING:
        return spec.default_factory()
    return spec.default


def _shown(value: Any, *, secret: bool) -> str:
    if isinstance(value, dict):
        inside = ", ".join(
            f"{k!r}: {_shown(v, secret=secret and k.lower() not in SAFE_HEADERS)}" for k, v in value.items()
        )
        return f"{{{inside}}}"
    return repr(MASK) if secret else repr(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [t for k, v in value.items() if str(k).lower() not in SAFE_HEADERS for t in _texts(v)]
    if isinstance(value, list | tuple):
        return [t for v in value for t in _texts(v)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def _query_values(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=False))


def _profiles_file(path: str | os.PathLike[str] | None) -> Path:
    chosen = path or os.environ.get(PROFILES_VARIABLE)
    places = [Path(chosen)] if chosen else [Path(PROFILES_FILE), Path.home() / ".config/echo-connhandler/profiles.toml"]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(f"no profiles file: looked for {', '.join(map(str, places))}")


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _parse(name: str, value: Any, hint: Any, source: str) -> Any:
    """Read a text as the property's type; what isn't a text is taken as it is."""
    if not isinstance(value, str):
        return value
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if bool in options and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    for kind in (int, float):
        if kind in options:
            try:
                return kind(value)
            except ValueError:
                continue
    if str in options or typing.get_origin(hint) is Literal:
        return value
    if any(typing.get_origin(option) is Mapping for option in options):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    names = [getattr(option, "__name__", str(option)) for option in options if option is not type(None)]
    raise ValueError(f"{name} in {source} can't be read as {' or '.join(names)}")


def check_seconds(owner: ConnProperties, *names: str) -> None:
    for name in names:
        _check_number_of_seconds(name, getattr(owner, name))


def _check_number_of_seconds(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    if value is not None and not number:
        raise ValueError(f"{name} must be a positive number of seconds, got {value!r}")


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
    headers: Mapping[str, str] = _secret_mapping()
    cookies: Mapping[str, str] = _secret_mapping()
    payload_kwargs: Mapping[str, Any] = _secret_mapping()
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
                _check_number_of_seconds(f"request_timeout[{name!r}]", seconds)
        else:
            _check_number_of_seconds("request_timeout", self.request_timeout)
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


@dataclass(frozen=True, kw_only=True, repr=False)
class SqlLiteConnProperties(ConnProperties):
    """How to open an SQLite database.

    Attributes:
        path: the database file, made if missing; or `:memory:` for a database that lives in this handler, shared by
            its threads and tasks, as long as the handler has an open connection.
        conn_timeout: seconds to wait for a free connection of the pool.
        query_timeout: seconds after which a statement is stopped; None never stops one.
        busy_timeout: seconds that SQLite itself waits for another connection's lock, before retries begin; may be 0.
        journal_mode: "wal" (readers and a writer don't block each other), "delete" for file systems without shared
            memory (network shares), or None to leave the file as it is. Not used for `:memory:`.
        foreign_keys: whether foreign keys are enforced.
        read_only: open the file for reading only; it must exist.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ("sqlite",)
    idle_check: ClassVar[None] = None  # no server that could go away
    max_age: ClassVar[None] = None

    path: str | os.PathLike[str]
    conn_timeout: float = 30
    query_timeout: float | None = None
    busy_timeout: float = 1
    journal_mode: Literal["wal", "delete"] | None = "wal"
    foreign_keys: bool = True
    read_only: bool = False

    def _validate(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"path must be a file's path or ':memory:', got {type(self.path).__name__}")
        text = os.fspath(self.path)
        if not text or "\0" in text:
            raise ValueError("path must not be empty or contain NUL; use ':memory:' for a database in memory")
        object.__setattr__(self, "path", text)
        check_seconds(self, "conn_timeout", "query_timeout")
        if self.busy_timeout != 0:
            check_seconds(self, "busy_timeout")
        if self.journal_mode not in ("wal", "delete", None):
            raise ValueError(f"journal_mode must be 'wal', 'delete' or None, got {self.journal_mode!r}")
        if self.in_memory and self.read_only:
            raise ValueError("a database in memory can't be read_only: it would stay empty")

    @property
    def in_memory(self) -> bool:
        """Whether the database lives in memory only."""
        return self.path == ":memory:"

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        # As SQLAlchemy has it: sqlite:///relative.db, sqlite:////absolute.db, sqlite:// in memory.
        parts = urlsplit(url)
        if parts.netloc:
            raise ValueError("an SQLite URL has three slashes before a relative path: sqlite:///prices.db")
        return {"path": unquote(parts.path.removeprefix("/")) or ":memory:"}
