"""`connect`: from a URL to the handler that serves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from echo_connhandler import FtpHandler, HttpHandler, MySqlHandler, PgSqlHandler, SqlLiteHandler, connect
from tests.ftp_servers import FTP_SERVICES
from tests.servers.daemon import Database
from tests.servers.http import HttpServer


def test_the_scheme_tells_the_handler(server: HttpServer, tmp_path: Path) -> None:
    with connect(server.url.replace("http://", "http://me:secret@"), max_retries=0) as http:
        assert type(http) is HttpHandler
        assert (http.props.user, http.props.password, http.resilience.max_retries) == ("me", "secret", 0)
        assert http.get("echo").status_code == 200
    with connect(f"sqlite:///{tmp_path}/a.db?query_timeout=5") as sql:
        assert type(sql) is SqlLiteHandler
        assert sql.fetch_value("SELECT 1") == 1
        assert sql.props.query_timeout == 5
    with connect("sqlite://") as memory:
        assert memory.props.in_memory


def test_servers_of_databases(postgres_database: Database, mariadb_database: Database) -> None:
    for scheme, kind, database in [
        ("postgresql", PgSqlHandler, postgres_database),
        ("postgres", PgSqlHandler, postgres_database),
        ("mysql", MySqlHandler, mariadb_database),
        ("mariadb", MySqlHandler, mariadb_database),
    ]:
        with connect(f"{database.url(scheme)}?query_timeout=5") as handler:
            assert type(handler) is kind
            assert handler.props.query_timeout == 5
            assert handler.fetch_value("SELECT 1") == 1


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("ftp", "pyftpdlib"),
        ("ftpes", "pyftpdlib-explicit"),
        ("ftp+tls", "pyftpdlib-explicit"),
        ("ftps", "pyftpdlib-implicit"),
    ],
)
def test_servers_of_files(scheme: str, name: str, request: pytest.FixtureRequest) -> None:
    service = FTP_SERVICES[name](request)
    server = service.server
    url = f"{scheme}://{server.user}:{server.password}@{server.host}:{server.port}?verify_ssl={server.files.ca}"
    with connect(url) as handler:
        assert type(handler) is FtpHandler
        assert handler.props.tls == server.tls
        assert handler.list_dir(service.root) == []


@pytest.mark.parametrize("url", ["gopher://h", "prices.db", "", "://x"])
def test_an_unknown_scheme_is_said_with_those_known(url: str) -> None:
    with pytest.raises(ValueError, match="no handler for URLs with scheme .*; known are http://, https://, sqlite://"):
        connect(url)
