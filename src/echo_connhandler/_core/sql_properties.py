"""How to reach an SQL server, be it PostgreSQL, MySQL or MariaDB; and how to open an SQLite database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from .properties import ConnProperties, check_seconds, secret

__all__ = ("SqlConnProperties", "SqlLiteConnProperties")


@dataclass(frozen=True, kw_only=True, repr=False)
class SqlConnProperties(ConnProperties):
    """How to connect to an SQL server.

    Attributes:
        host: name or address; a path that begins with `/` is a Unix socket (PostgreSQL: its folder). PostgreSQL:
            several with commas between, each with its own `:port` if need be, are tried in order.
        port: TCP port; None is the server's usual one.
        user: user name.
        password: goes with `user`; None where the server asks for none.
        database: name of the database; None is the server's default for the user.
        conn_timeout: seconds to establish a connection, or to wait for a free one of the pool.
        query_timeout: seconds after which a statement is stopped, on the server too; None never stops one.
        tls: "prefer" encrypts where the server can, without checking who it is; "require" refuses to connect
            unencrypted and, as `verify_ssl` has it, to a server that can't prove its name; "disable" does not encrypt.
        verify_ssl: with tls="require": True checks the certificate and the host's name against the system's CAs; a
            path does so against the CAs in that file; False takes any certificate.
        client_cert: path of the client's certificate (PEM), with or without its key.
        client_key: path of its key, if not in the same file.
        client_key_password: password of that key.
        idle_check: seconds that a connection may be idle before the server is asked for a sign of life at next use.
        max_age: seconds after which a connection is replaced when it is free, spread at random by a tenth; None keeps
            it.
        application_name: how the server's list of sessions names this program.
        server_settings: session variables set at connecting, by name.
        target_session_attrs: PostgreSQL with several hosts: which of them will do.
        local_infile: MySQL: write frames by LOAD DATA LOCAL where the server allows it.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ("postgresql", "postgres", "mysql", "mariadb")

    host: str = "localhost"
    port: int | None = None
    user: str | None = None
    password: str | None = secret()
    database: str | None = None
    conn_timeout: float = 30
    query_timeout: float | None = None
    tls: Literal["disable", "prefer", "require"] = "prefer"
    verify_ssl: bool | str = True
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: str | None = secret()
    idle_check: float = 30
    max_age: float | None = 1800
    application_name: str = "echo-connhandler"
    server_settings: Mapping[str, str] = field(default_factory=dict)
    target_session_attrs: Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] = "any"
    local_infile: bool = True

    def _validate(self) -> None:
        for name in ("host", "user", "password", "database", "client_cert", "client_key", "application_name"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be text, got {type(value).__name__}")
            if value is not None and any(ord(ch) < 32 or ord(ch) == 127 for ch in value):
                raise ValueError(f"{name} must not hold control characters")
        if not self.host or "://" in self.host or "@" in self.host:
            raise ValueError("host must be a name, an address or a socket's path; for a URL use from_url()")
        number = isinstance(self.port, int) and not isinstance(self.port, bool)
        if self.port is not None and not (number and 1 <= self.port <= 65535):
            raise ValueError(f"port must be a whole number from 1 to 65535, got {self.port!r}")
        if self.password is not None and self.user is None:
            raise ValueError("user is missing: password goes with it")
        check_seconds(self, "conn_timeout", "query_timeout", "max_age")
        if self.idle_check != 0:
            check_seconds(self, "idle_check")
        if self.tls not in ("disable", "prefer", "require"):
            raise ValueError(f'tls must be "disable", "prefer" or "require", got {self.tls!r}')
        if not isinstance(self.verify_ssl, bool | str):
            raise TypeError(f"verify_ssl must be True, False or a path, got {type(self.verify_ssl).__name__}")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_cert is missing: client_key goes with it")
        if self.client_cert is not None and self.tls == "disable":
            raise ValueError('client_cert needs tls="require"')
        if not isinstance(self.server_settings, Mapping):
            raise TypeError("server_settings must be a mapping of names to values")

    @property
    def hosts(self) -> list[tuple[str, int | None]]:
        """The hosts with their ports, in order."""
        found: list[tuple[str, int | None]] = []
        for each in self.host.split(","):
            name, separator, port = each.rpartition(":")
            if separator and port.isdigit() and "/" not in each and (":" not in name or name.endswith("]")):
                found.append((name.strip("[]"), int(port)))
            else:
                found.append((each.strip("[]"), self.port))
        return found

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        login, _, where = parts.netloc.rpartition("@")
        user, separator, password = login.partition(":")
        values = {"user": unquote(user)} if user else {}
        if separator:
            values["password"] = unquote(password)
        if "," in where:  # each with its own port
            values["host"] = where
        elif where:
            if parts.hostname:
                values["host"] = unquote(parts.hostname)
            if parts.port is not None:
                values["port"] = str(parts.port)
        if parts.path.strip("/"):
            values["database"] = unquote(parts.path.removeprefix("/"))
        return values


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
