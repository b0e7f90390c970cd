"""A PostgreSQL server for tests: with and without TLS, as a primary or as a hot standby of one."""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from tests.servers import system
from tests.servers.daemon import SUPERUSER_PASSWORD, DatabaseDaemon
from tests.servers.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers.tls import Tls

_ACCOUNTS = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data folder, so that a killed server leaves nothing in /dev/shm
    "fsync": "off",  # only a crash of the machine needs it
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "timezone": "UTC",
}
# What a crash of the server breaks or loses.
_CARELESS = {"synchronous_commit": "off", "full_page_writes": "off"}
# Which clients of the database's user get in; the superuser always does, by password.
_ACCESS = {
    "off": "host all all 127.0.0.1/32 scram-sha-256",
    "offered": "host all all 127.0.0.1/32 scram-sha-256",
    "required": "hostssl all all 127.0.0.1/32 scram-sha-256",
    "mutual": "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
}


class PostgresServer(DatabaseDaemon):
    """PostgreSQL with passwords on (SCRAM), where `user` owns the databases that new_database() makes.

    Args:
        durable: keep what was committed through kill(), though not through a power cut.
        tls: whether it offers TLS or insists on it; `files` has the certificates.
        settings: more of what postgresql.conf takes.
        standby_of: the running primary that it copies and then follows; it refuses to write.
    """

    superuser = "postgres"
    database = "postgres"
    accounts = _ACCOUNTS
    stop_signal = signal.SIGINT
    quit_signal = signal.SIGQUIT

    def __init__(
        self,
        *,
        durable: bool = False,
        tls: Tls = "off",
        settings: Mapping[str, object] | None = None,
        standby_of: PostgresServer | None = None,
    ) -> None:
        super().__init__()
        self.tls = tls
        self.primary = standby_of
        self.settings = {**_SETTINGS, **({} if durable else _CARELESS), **(settings or {})}
        if standby_of is not None:
            self.password = standby_of.password

    @property
    def files(self) -> TlsFiles:
        """The certificates, from the first start on."""
        return TlsFiles.of(self.folder)

    def prepare(self) -> None:
        data = self.folder / "data"
        if self.primary is None:
            shutil.copytree(_template(), data)
        else:
            self._copy(self.primary, data)
        rules = [
            "host all,replication postgres 127.0.0.1/32 scram-sha-256",
            _ACCESS[self.tls],
        ]
        (data / "pg_hba.conf").write_text("\n".join([*rules, ""]))
        if self.tls != "off":
            files = TlsFiles.make(self.folder, self.user)
            self.settings |= {"ssl": "on", "ssl_cert_file": files.server_certificate}
            self.settings |= {"ssl_key_file": files.server_key, "ssl_ca_file": files.ca}
        system.own(self.folder, self.identity)

    def command(self) -> Sequence[str]:
        settings = {**self.settings, "port": self.port}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_program("postgres"), "-D", str(self.folder / "data"), *options]

    def answers(self) -> bool:
        # It says itself when it's ready; another one that took the port might be the one to answer, or never answer.
        with contextlib.suppress(FileNotFoundError, psycopg.OperationalError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            if len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() in ("ready", "standby"):
                self.admin().close()
                return True
        return False

    def began(self) -> None:
        if self.primary is None:
            with self.admin() as admin:
                role, password = Identifier(self.user), Literal(self.password)
                admin.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))

    def clean(self) -> None:
        # What tells PostgreSQL that a folder is in use survives its owner's death; its number is on line 7.
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            if len(lines) > 6 and len(lines[6].split()) == 2:
                subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, capture_output=True)

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the superuser, each statement committed at once; `with` closes it."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=SUPERUSER_PASSWORD,
            dbname=database,
            sslmode="disable",
            connect_timeout=10,
            autocommit=True,
        )

    def execute(self, statement: LiteralString) -> None:
        """Run one statement as the superuser."""
        with self.admin() as admin:
            admin.execute(statement)

    def create_database(self, name: str) -> None:
        with self.admin() as admin:
            # The quicker way, where there are two: with fsync off it needs no log of each page.
            how = SQL(" STRATEGY file_copy" if admin.info.server_version >= 150000 else "")
            admin.execute(SQL("CREATE DATABASE {} OWNER {}{}").format(Identifier(name), Identifier(self.user), how))

    def drop_database(self, name: str) -> None:
        with self.admin() as admin:
            admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def promote(self) -> None:
        """Make a standby a primary; returns when it takes writes."""
        with self.admin() as admin:
            assert admin.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)

    def catch_up(self) -> None:
        """Return when this standby shows all that its primary has written until now."""
        assert self.primary is not None, "not a standby"
        with self.primary.admin() as primary, self.admin() as standby:
            # A commit that waits for the disk sends those before it that did not.
            primary.execute("SET synchronous_commit = local")
            primary.execute("SELECT pg_logical_emit_message(true, 'tests', 'flush')")
            row = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
            assert row is not None
            deadline = time.monotonic() + 30
            while standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (True,):
                assert time.monotonic() < deadline, f"the standby did not reach {row[0]}; its log:\n{self.log}"
                time.sleep(0.01)

    def _copy(self, primary: PostgresServer, data: Path) -> None:
        target = ["-h", primary.host, "-p", str(primary.port), "-U", primary.superuser, "-D", str(data)]
        how = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
        env = {"PGPASSWORD": SUPERUSER_PASSWORD, "PGSSLMODE": "disable"}
        system.run([_program("pg_basebackup"), *target, *how], self.folder, self.identity, env=env)


def _program(name: str) -> str:
    """Find a program of PostgreSQL's: beside the `postgres` of the PATH, or where Debian puts the newest."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    server = Path(system.program("postgres", *reversed(debian))).resolve()
    return system.program(name, server.parent)


@functools.cache
def _template() -> Path:
    """A data folder that was never used, to copy: initdb takes a second, a copy a tenth of it."""
    who = system.identity(_ACCOUNTS)
    folder = system.make_folder("initdb", who)
    password = folder / "password"
    password.write_text(SUPERUSER_PASSWORD)
    system.own(password, who)
    options = ["-U", PostgresServer.superuser, f"--pwfile={password}", "--auth=scram-sha-256"]
    options += ["--encoding=UTF8", "--no-locale", "--no-sync"]
    system.run([_program("initdb"), "-D", str(folder / "data"), *options], folder, who)
    return folder / "data"
