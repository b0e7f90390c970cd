"""A MariaDB server for tests: with and without TLS."""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.cursors import Cursor

from tests.servers import system
from tests.servers.daemon import SUPERUSER_PASSWORD, DatabaseDaemon
from tests.servers.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers.tls import Tls

_ACCOUNTS = ("mysql", "nobody")
_DEBIAN = Path("/usr/sbin")  # not on the PATH of all users
# The data folder's first files, small as they are copied for every server.
_SIZES = {
    "innodb-log-file-size": "8M",
    "innodb-data-file-path": "ibdata1:4M:autoextend",
    "innodb-buffer-pool-size": "32M",
    "innodb-undo-tablespaces": "0",
    "innodb-autoextend-increment": "8",
}
_SETTINGS = {
    "bind-address": "127.0.0.1",
    "skip-name-resolve": "ON",
    "character-set-server": "utf8mb4",  # as Debian's own settings have it
    "collation-server": "utf8mb4_general_ci",
    "default-time-zone": "+00:00",
    "innodb-flush-method": "nosync",  # only a crash of the machine needs it
    "performance-schema": "OFF",
    "innodb-buffer-pool-dump-at-shutdown": "OFF",
}
# What a crash of the server breaks or loses.
_CARELESS = {"innodb-flush-log-at-trx-commit": "0", "innodb-doublewrite": "OFF"}


class MariaDbServer(DatabaseDaemon):
    """MariaDB with passwords on, where `user` owns the databases that new_database() makes.

    Args:
        durable: keep what was committed through kill(), though not through a power cut.
        tls: whether it offers TLS or insists on it; `files` has the certificates.
        local_infile: whether clients may load files of theirs.
        read_only: whether `user` may only read.
        max_connections: how many clients it takes, 10 at least; the superuser may be one more.
        settings: more of what mariadbd takes as --name=value.
    """

    superuser = "root"
    database = "test"
    accounts = _ACCOUNTS
    stop_signal = signal.SIGTERM
    quit_signal = signal.SIGKILL

    def __init__(
        self,
        *,
        durable: bool = False,
        tls: Tls = "off",
        local_infile: bool = False,
        read_only: bool = False,
        max_connections: int = 100,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.tls = tls
        self.settings = {**_SIZES, **_SETTINGS, **({} if durable else _CARELESS)}
        self.settings["local-infile"] = "ON" if local_infile else "OFF"
        self.settings["read-only"] = "ON" if read_only else "OFF"
        self.settings["max-connections"] = str(max_connections)
        self.settings |= {name: str(value) for name, value in (settings or {}).items()}

    @property
    def files(self) -> TlsFiles:
        """The certificates, from the first start on."""
        return TlsFiles.of(self.folder)

    def prepare(self) -> None:
        shutil.copytree(_template(), self.folder / "data")
        self.settings |= {
            "datadir": str(self.folder / "data"),
            "socket": str(self.folder / "socket"),
            "pid-file": str(self.folder / "pid"),
            "tmpdir": str(self.folder),
            "init-file": str(self.folder / "accounts.sql"),
        }
        if self.tls != "off":
            files = TlsFiles.make(self.folder, self.user)
            self.settings |= {"ssl-ca": files.ca, "ssl-cert": files.server_certificate, "ssl-key": files.server_key}
            self.settings["require-secure-transport"] = "OFF" if self.tls == "offered" else "ON"
        require = " REQUIRE X509" if self.tls == "mutual" else ""
        # Read at every start.
        statements = [
            f"ALTER USER root@localhost IDENTIFIED BY '{SUPERUSER_PASSWORD}';",
            f"CREATE USER IF NOT EXISTS {self.user} IDENTIFIED BY '{self.password}'{require};",
            rf"GRANT ALL ON `echo\_%`.* TO {self.user};",
            "CREATE DATABASE IF NOT EXISTS test;",
            f"GRANT SELECT ON test.* TO {self.user};",
        ]
        (self.folder / "accounts.sql").write_text("\n".join([*statements, ""]))
        system.own(self.folder, self.identity)

    def command(self) -> Sequence[str]:
        settings = {**self.settings, "port": self.port}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [system.program("mariadbd", _DEBIAN), "--no-defaults", *options]

    def answers(self) -> bool:
        # The driver leaves a socket open that finds nobody, so it must not be the first to try.
        with contextlib.suppress(OSError, pymysql.err.OperationalError), socket.socket(socket.AF_UNIX) as attempt:
            attempt.connect(str(self.folder / "socket"))
            self.admin().close()
            return True
        return False

    def admin(self) -> pymysql.Connection[Cursor]:
        """Connect as the superuser, over the socket, each statement committed at once; `with` closes it."""
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"),
            user=self.superuser,
            password=SUPERUSER_PASSWORD,
            charset="utf8mb4",
            ssl_disabled=True,  # else it reads the certificates of the whole world first: 40 ms
            connect_timeout=10,
            autocommit=True,
        )

    def execute(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Run one statement as the superuser and return its rows."""
        with self.admin() as admin, admin.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    def create_database(self, name: str) -> None:
        self.execute(f"CREATE DATABASE `{name}`")

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def set_read_only(self, on: bool) -> None:
        """Let `user` only read from now on, or write again, as the server runs."""
        self.execute(f"SET GLOBAL read_only = {'ON' if on else 'OFF'}")


@functools.cache
def _template() -> Path:
    """A data folder that was never used, to copy: making it takes longer than copying it."""
    who = system.identity(_ACCOUNTS)
    folder = system.make_folder("install", who)
    options = [f"--{name}={value}" for name, value in (_SIZES | _CARELESS).items()]
    options += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    install = system.program("mariadb-install-db")
    system.run([install, "--no-defaults", f"--datadir={folder / 'data'}", *options], folder, who)
    return folder / "data"
