"""Servers that somebody lends to the tests by URL: databases come and go there, and nothing else changes."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
import pymysql
from psycopg.sql import SQL, Identifier
from pymysql.cursors import Cursor

from tests.servers.daemon import DatabaseServer


class _Lent(DatabaseServer):
    def __init__(self, url: str, variable: str, schemes: tuple[str, ...], port: int) -> None:
        super().__init__()
        parts = _split(url, variable, schemes)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or port
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.database = unquote(parts.path.strip("/"))


class LentPostgres(_Lent):
    """The PostgreSQL server of ECHO_TEST_POSTGRES_URL, postgresql://user:password@host:port/database.

    The user needs CREATEDB; the database is the one to connect to for making others.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, "ECHO_TEST_POSTGRES_URL", ("postgresql", "postgres"), 5432)

    def create_database(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))

    def drop_database(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=10,
            autocommit=True,
        )


class LentMariaDb(_Lent):
    """The MariaDB or MySQL server of ECHO_TEST_MYSQL_URL, mysql://user:password@host:port.

    The user needs all rights on databases whose names begin with "echo_".
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, "ECHO_TEST_MYSQL_URL", ("mysql", "mariadb"), 3306)

    def create_database(self, name: str) -> None:
        self._execute(f"CREATE DATABASE `{name}`")

    def drop_database(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _execute(self, statement: str) -> None:
        connection: pymysql.Connection[Cursor] = pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, connect_timeout=10
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)


def _split(url: str, variable: str, schemes: tuple[str, ...]) -> SplitResult:
    # Its text may hold a password, so it is in no message.
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or not parts.username:
        raise ValueError(f"{variable} is no URL like {schemes[0]}://user:password@host:port/database")
    return parts
