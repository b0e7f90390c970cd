"""Fixtures that give tests real PostgreSQL and MariaDB servers, and databases on them. See docs/own-tests.md.

A server starts when the first test of a process asks for it. `postgres` and `mariadb` are shared: a test may fill
databases there, and leaves the server as it was. Tests that kill, restart or reconfigure a server take `own_postgres`
or `own_mariadb`, or start one with the classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest

from tests.servers import system
from tests.servers.daemon import Daemon, Database, DatabaseServer
from tests.servers.lent import LentMariaDb, LentPostgres
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer

D = TypeVar("D", bound=Daemon)

POSTGRES_URL = "ECHO_TEST_POSTGRES_URL"
MYSQL_URL = "ECHO_TEST_MYSQL_URL"


def start_ours(server: D, variable: str) -> D:
    """Start a server of ours for a test that a lent one can't serve; without its programs the test is skipped.

    Raises MissingServerError if they miss and `variable` names no lent server either, as then nothing was tested.
    """
    try:
        return server.start()
    except system.MissingServerError as error:
        if os.environ.get(variable):
            pytest.skip(f"needs a server to start and stop, not the one of {variable}: {error}")
        raise


@pytest.fixture(scope="session")
def postgres() -> Iterator[DatabaseServer]:
    """A PostgreSQL server for all tests of this process: the one that ECHO_TEST_POSTGRES_URL names, or one of ours."""
    with ExitStack() as stack:
        url = os.environ.get(POSTGRES_URL)
        yield LentPostgres(url) if url else stack.enter_context(PostgresServer())


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """A MariaDB or MySQL server for all tests of this process: the one that ECHO_TEST_MYSQL_URL names, or ours."""
    with ExitStack() as stack:
        url = os.environ.get(MYSQL_URL)
        yield LentMariaDb(url) if url else stack.enter_context(MariaDbServer(local_infile=True))


@pytest.fixture
def postgres_database(postgres: DatabaseServer) -> Iterator[Database]:
    """An empty PostgreSQL database."""
    database = postgres.new_database()
    yield database
    postgres.drop_database(database.database)


@pytest.fixture
def mariadb_database(mariadb: DatabaseServer) -> Iterator[Database]:
    """An empty MariaDB or MySQL database."""
    database = mariadb.new_database()
    yield database
    mariadb.drop_database(database.database)


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[PostgresServer]:
    """The server behind `own_postgres`, in whatever state the last test left it."""
    with ExitStack() as stack:
        yield stack.enter_context(start_ours(PostgresServer(durable=True), POSTGRES_URL))


@pytest.fixture
def own_postgres(durable_postgres: PostgresServer) -> PostgresServer:
    """A PostgreSQL server of ours that keeps its commits: to kill, stop and start. The next test finds it running."""
    if not durable_postgres.running:
        durable_postgres.start()
    return durable_postgres


@pytest.fixture(scope="session")
def durable_mariadb() -> Iterator[MariaDbServer]:
    """The server behind `own_mariadb`, in whatever state the last test left it."""
    with ExitStack() as stack:
        yield stack.enter_context(start_ours(MariaDbServer(durable=True, local_infile=True), MYSQL_URL))


@pytest.fixture
def own_mariadb(durable_mariadb: MariaDbServer) -> MariaDbServer:
    """A MariaDB server of ours that keeps its commits: to kill, stop and start. The next test finds it running."""
    if not durable_mariadb.running:
        durable_mariadb.start()
    return durable_mariadb
