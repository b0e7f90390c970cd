"""Handlers of MySQL and MariaDB for tests, and what the server tells about their sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from echo_connhandler import MySqlHandler, SqlConnProperties
from tests.concurrency import async_pause
from tests.servers.daemon import Database
from tests.servers.proxy import TcpProxy

__all__ = (
    "MANY",
    "handler",
    "make",
    "proxy",
    "running",
    "until",
)

MANY = "SELECT seq, REPEAT('x', 100) AS text FROM seq_1_to_{}"


def make(database: Database, *, properties: dict[str, Any] | None = None, **options: Any) -> MySqlHandler:
    values: dict[str, Any] = {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": database.password,
        "database": database.database,
    }
    return MySqlHandler(SqlConnProperties(**values | (properties or {})), skip_connect=True, **options)


@pytest.fixture
def handler(mariadb_database: Database) -> MySqlHandler:
    return make(mariadb_database)


@pytest.fixture
def proxy(mariadb_database: Database) -> Iterator[TcpProxy]:
    with TcpProxy(mariadb_database.host, mariadb_database.port) as running:
        yield running
        running.heal()


async def running(beside: MySqlHandler, what: str) -> list[int]:
    """Return the sessions that execute a statement with these words."""
    found = await beside.async_fetch_all(
        "SELECT id FROM information_schema.processlist WHERE info LIKE :what AND id <> CONNECTION_ID()",
        {"what": f"%{what}%"},
    )
    return [row["id"] for row in found]


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if await condition():
            return
        await async_pause(0.01)
    raise AssertionError("it never came to that")
