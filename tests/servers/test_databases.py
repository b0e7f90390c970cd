"""The database servers do what they claim; each claim once, with the plain drivers."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pymysql
import pytest

from tests.databases import start_ours
from tests.servers import system
from tests.servers.daemon import Daemon, Database
from tests.servers.keeper import lives
from tests.servers.lent import LentMariaDb, LentPostgres
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymysql.cursors import Cursor

KINDS = [PostgresServer, MariaDbServer]


def dial_postgres(database: Database, **more: Any) -> psycopg.Connection[Any]:
    more = {"sslmode": "disable"} | more
    return psycopg.connect(database.url("postgresql"), autocommit=True, connect_timeout=10, **more)


def dial_mariadb(database: Database, **more: Any) -> pymysql.Connection[Cursor]:
    more = more or {"ssl_disabled": True}
    return pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        database=database.database,
        autocommit=True,
        **more,
    )


def query(database: Database, server: object, statement: str) -> Sequence[Any]:
    """Run one statement as the owner of the database; the rows if there are any."""
    if isinstance(server, PostgresServer | LentPostgres):
        with dial_postgres(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
    with dial_mariadb(database) as other, other.cursor() as rows:
        rows.execute(statement)
        return list(rows.fetchall())


def tables(database: Database, server: object) -> Sequence[Any]:
    schema = "public" if isinstance(server, PostgresServer | LentPostgres) else database.database
    return query(database, server, f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'")


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def ended(processes: list[psutil.Process]) -> bool:
    return not any(lives(process) for process in processes)


# Databases on the shared servers


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_new_databases_are_empty_and_apart(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(kind)
    one, two = server.new_database(), server.new_database()
    query(one, server, "CREATE TABLE t (i int)")

    assert [len(tables(database, server)) for database in (one, two)] == [1, 0]

    for database in (one, two):
        server.drop_database(database.database)
    with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)):
        query(one, server, "SELECT 1")


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_in_use_is_dropped(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(kind)
    database = server.new_database()
    with dial_postgres(database) if kind == "postgres" else dial_mariadb(database):
        server.drop_database(database.database)
        server.drop_database(database.database)


def test_the_fixtures_give_databases_that_are_ready(postgres_database: Database, mariadb_database: Database) -> None:
    with dial_postgres(postgres_database) as postgres, dial_mariadb(mariadb_database) as mariadb:
        assert postgres.execute("SELECT current_database()").fetchall() == [(postgres_database.database,)]
        with mariadb.cursor() as cursor:
            cursor.execute("SELECT database(), @@local_infile")
            assert cursor.fetchall() == ((mariadb_database.database, 1),)


def test_passwords_are_asked_for(own_postgres: PostgresServer, own_mariadb: MariaDbServer) -> None:
    ours = (own_postgres, own_mariadb)
    wrong = [Database(s.host, s.port, user, "wrong", s.database) for s in ours for user in (s.user, s.superuser)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        dial_postgres(wrong[0])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        dial_postgres(wrong[1])
    for database in wrong[2:]:
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            dial_mariadb(database)


def test_the_user_is_no_superuser(own_postgres: PostgresServer, own_mariadb: MariaDbServer) -> None:
    database = own_postgres.new_database()
    assert query(database, own_postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    with pytest.raises(pymysql.err.OperationalError, match="CREATE USER"):
        query(own_mariadb.new_database(), own_mariadb, "CREATE USER other")


def test_lent_servers(own_postgres: PostgresServer, own_mariadb: MariaDbServer) -> None:
    own_postgres.execute("ALTER ROLE echo CREATEDB")
    for server, scheme, kind in (
        (own_postgres, "postgresql", LentPostgres),
        (own_mariadb, "mysql", LentMariaDb),
    ):
        address = Database(server.host, server.port, server.user, server.password, server.database)
        lent = kind(address.url(scheme))
        database = lent.new_database()
        query(database, lent, "CREATE TABLE t (i int)")
        assert len(tables(database, lent)) == 1
        lent.drop_database(database.database)
        with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)):
            query(database, lent, "SELECT 1")


@pytest.mark.parametrize("url", ["secret", "http://u:secret@h", "postgresql://:secret@h", "postgresql://u:secret@:1"])
def test_a_wrong_url_of_a_lent_server_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="ECHO_TEST_POSTGRES_URL is no URL like postgresql://") as caught:
        LentPostgres(url)
    assert "secret" not in str(caught.value)


# Starting and stopping


@pytest.mark.parametrize("fixture", ["own_postgres", "own_mariadb"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_durable_server_keeps_what_was_committed(fixture: str, end: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(fixture)
    port, database = server.port, server.new_database()
    query(database, server, "CREATE TABLE t (i int)")
    with dial_postgres(database) if fixture == "own_postgres" else dial_mariadb(database) as connection:
        cursor = connection.cursor()
        for number in range(20):
            cursor.execute(f"INSERT INTO t VALUES ({number})")
        processes = family(server.pid)
        getattr(server, end)()
        assert ended(processes)
        with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)):
            cursor.execute("SELECT 1")
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, port), timeout=5)

    server.start()

    assert server.port == port
    assert query(database, server, "SELECT count(*) FROM t") in ([(20,)], [(20,)])
    server.drop_database(database.database)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_server(kind: type[Daemon]) -> None:
    with kind() as server:
        folder, processes = server.folder, family(server.pid)
        server.kill()
        server.start()
        processes += family(server.pid)
    server.close()

    assert ended(processes)
    assert not folder.exists()


def test_no_shared_memory_is_left_of_a_killed_postgres() -> None:
    with PostgresServer() as server:
        segment = (server.folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        server.kill()
        assert segment in shared_memory()
    assert segment not in shared_memory()


def shared_memory() -> set[str]:
    said = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in said.splitlines() if line.startswith("0x")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_somebody_took_is_given_up(kind: type[Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], *(system.free_port() for _ in range(4))]
        monkeypatch.setattr(system, "free_port", iter(ports).__next__)
        with kind() as server:
            assert server.port == ports[1]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (PostgresServer(settings={"nonsense": 1}), 'unrecognized configuration parameter "nonsense"'),
        (MariaDbServer(settings={"nonsense": 1}), "unknown variable 'nonsense=1'"),
    ],
)
def test_a_failed_start_shows_the_log_and_leaves_nothing(server: Daemon, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        server.start()
    assert not server.running
    with pytest.raises(AssertionError, match="never started"):
        server.folder


RUN = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored for what runs in the background
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
for server in (PostgresServer().start(), MariaDbServer().start()):
    print(server.pid, server.folder, flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "time.sleep(60)"])
def test_a_run_that_dies_takes_its_servers_along(end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN.format(end=end)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        told = [run.stdout.readline().split() for _ in range(2)]
        processes = [psutil.Process(int(pid)) for pid, _ in told if psutil.pid_exists(int(pid))]
        if "sleep" in end:
            run.send_signal(signal.SIGINT)
    for _, folder in told:
        wait_gone(Path(folder))
    assert ended(processes)


def wait_gone(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_missing_program_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(system.MissingServerError, match="no-such-server isn't installed: run `sh scripts/servers.sh`"):
        system.program("no-such-server", Path("/"))


# Options


def test_a_standby_follows_refuses_writes_and_takes_over(own_postgres: PostgresServer) -> None:
    database = own_postgres.new_database()
    query(database, own_postgres, "CREATE TABLE t (i int)")
    with PostgresServer(standby_of=own_postgres) as standby:
        there = Database(standby.host, standby.port, standby.user, standby.password, database.database)
        query(database, own_postgres, "INSERT INTO t VALUES (1)")
        standby.catch_up()
        assert query(there, standby, "SELECT i FROM t") == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            query(there, standby, "INSERT INTO t VALUES (2)")

        standby.promote()

        query(there, standby, "INSERT INTO t VALUES (2)")
        assert query(there, standby, "SELECT i FROM t") == [(1,), (2,)]
        assert query(database, own_postgres, "SELECT i FROM t") == [(1,)]


def test_postgres_with_tls() -> None:
    with PostgresServer(tls="required") as server:
        database = server.new_database()
        with pytest.raises(psycopg.OperationalError, match="no encryption"):
            dial_postgres(database, sslmode="disable")
        for host in ("127.0.0.1", "localhost"):
            with dial_postgres(database, host=host, sslmode="verify-full", sslrootcert=server.files.ca) as connection:
                row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
                assert row == (True,)
    with PostgresServer(tls="mutual") as server:
        database, files = server.new_database(), server.files
        with pytest.raises(psycopg.OperationalError, match="client certificate"):
            dial_postgres(database, sslmode="verify-full", sslrootcert=files.ca)
        certificate = {"sslcert": files.client_certificate, "sslkey": files.client_key}
        dial_postgres(database, sslmode="verify-full", sslrootcert=files.ca, **certificate).close()


def test_mariadb_with_tls() -> None:
    with MariaDbServer(tls="required") as server:
        database = server.new_database()
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            dial_mariadb(database)
        context = ssl.create_default_context(cafile=server.files.ca)
        with dial_mariadb(database, ssl=context) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchall() != (("Ssl_cipher", ""),)
    with MariaDbServer(tls="mutual") as server:
        database = server.new_database()
        context = ssl.create_default_context(cafile=server.files.ca)
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            dial_mariadb(database, ssl=context)
        context.load_cert_chain(server.files.client_certificate, server.files.client_key)
        dial_mariadb(database, ssl=context).close()


@pytest.mark.parametrize("kind", KINDS)
def test_tls_offered_is_tls_for_those_that_want_it(kind: type[PostgresServer | MariaDbServer]) -> None:
    with kind(tls="offered") as server:
        database = server.new_database()
        if isinstance(server, PostgresServer):
            dial_postgres(database).close()
            dial_postgres(database, sslmode="verify-full", sslrootcert=server.files.ca).close()
        else:
            dial_mariadb(database).close()
            dial_mariadb(database, ssl=ssl.create_default_context(cafile=server.files.ca)).close()


def test_settings_of_mariadb() -> None:
    with MariaDbServer(max_connections=10, read_only=True) as server:
        database = server.new_database()
        assert query(database, server, "SELECT @@local_infile") == [(0,)]
        with pytest.raises(pymysql.err.OperationalError, match="read-only"):
            query(database, server, "CREATE TABLE t (i int)")
        server.set_read_only(False)
        query(database, server, "CREATE TABLE t (i int)")
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(dial_mariadb(database))
            with pytest.raises(pymysql.err.OperationalError, match="Too many connections"):
                dial_mariadb(database)


# Lent servers, where there is no program to start


def test_only_a_lent_server_excuses_a_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "program", missing)
    monkeypatch.delenv("ECHO_TEST_POSTGRES_URL", raising=False)
    with pytest.raises(system.MissingServerError):
        start_ours(PostgresServer(), "ECHO_TEST_POSTGRES_URL")
    monkeypatch.setenv("ECHO_TEST_POSTGRES_URL", "postgresql://u@h")
    with pytest.raises(pytest.skip.Exception, match="needs a server to start and stop, not the one of ECHO_TEST_POSTG"):
        start_ours(PostgresServer(), "ECHO_TEST_POSTGRES_URL")


def missing(name: str, *folders: Path) -> str:
    raise system.MissingServerError(f"{name} isn't installed")
