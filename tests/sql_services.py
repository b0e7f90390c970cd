"""The databases that one test source runs on: how to make a handler for each, and the words in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from echo_connhandler import MySqlHandler, PgSqlHandler, SqlConnProperties, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.sql import SqlHandler
from tests.servers.daemon import Database
from tests.servers.proxy import TcpProxy

__all__ = ("SERVICES", "SqlService", "sql_proxy", "sql_server", "sql_service")


@dataclass(frozen=True)
class SqlService:
    """A database and its words.

    Attributes:
        name: which one it is.
        make: gives a handler that is not connected yet; takes its options, and `properties` of the connection.
        text: a type for short text.
        endless: a query that does not end by itself.
        many: {count}; a query of the numbers from 1 to count as `n`.
    """

    name: str
    make: Callable[..., SqlHandler]
    text: str
    endless: str
    many: str

    @property
    def ledger(self) -> dict[str, Any]:
        """The option of `make` by which the outcome of a lost COMMIT can be found out."""
        return {"commit_ledger": "echo_commits"} if self.name == "mysql" else {}


def _server(kind: type[SqlHandler], database: Database) -> Callable[..., SqlHandler]:
    def make(*, port: int | None = None, properties: dict[str, Any] | None = None, **options: Any) -> SqlHandler:
        props = SqlConnProperties(
            host=database.host,
            port=port or database.port,
            user=database.user,
            password=database.password,
            database=database.database,
            **(properties or {}),
        )
        return kind(props, skip_connect=True, **options)

    return make


def _sqlite(request: pytest.FixtureRequest) -> SqlService:
    file = request.getfixturevalue("tmp_path") / "x.db"

    def make(*, properties: dict[str, Any] | None = None, **options: Any) -> SqlHandler:
        return SqlLiteHandler(SqlLiteConnProperties(path=file, **(properties or {})), skip_connect=True, **options)

    numbers = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r {limit}) SELECT {what} FROM r"
    return SqlService(
        name="sqlite",
        make=make,
        text="TEXT",
        endless=numbers.format(limit="", what="max(n)"),
        many=numbers.format(limit="LIMIT {count}", what="n"),
    )


def postgres_service(database: Database) -> SqlService:
    """Return the service of a PostgreSQL database."""
    return SqlService(
        name="postgres",
        make=_server(PgSqlHandler, database),
        text="text",
        endless="SELECT pg_sleep(1000)",
        many="SELECT n::int FROM generate_series(1, {count}) AS n",
    )


def mysql_service(database: Database) -> SqlService:
    """Return the service of a MariaDB or MySQL database."""
    return SqlService(
        name="mysql",
        make=_server(MySqlHandler, database),
        text="VARCHAR(200)",
        endless="SELECT SLEEP(1000)",
        many="SELECT seq AS n FROM seq_1_to_{count}",
    )


SERVICES: dict[str, Callable[[pytest.FixtureRequest], SqlService]] = {
    "sqlite": _sqlite,
    "postgres": lambda request: postgres_service(request.getfixturevalue("postgres_database")),
    "mysql": lambda request: mysql_service(request.getfixturevalue("mariadb_database")),
}


@pytest.fixture(params=SERVICES)
def sql_service(request: pytest.FixtureRequest) -> SqlService:
    """Each database in turn, empty."""
    return SERVICES[request.param](request)


@pytest.fixture(params=[name for name in SERVICES if name != "sqlite"])
def sql_server(request: pytest.FixtureRequest) -> SqlService:
    """Each database that has a server in turn, empty."""
    return SERVICES[request.param](request)


@pytest.fixture
def sql_proxy(sql_server: SqlService) -> Iterator[TcpProxy]:
    """A proxy before the server of `sql_server`."""
    props: Any = sql_server.make().props
    with TcpProxy(props.host, props.port) as running:
        yield running
        running.heal()
