"""Handlers of SQLite and small tables, for the tests of SQL calls."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler
from tests.concurrency import AsyncTasks

__all__ = (
    "count",
    "file",
    "locked",
    "make",
    "path",
    "read",
    "with_table",
    "write_elsewhere",
)


def make(path: str | Path = ":memory:", **options: Any) -> SqlLiteHandler:
    names = ("conn_timeout", "query_timeout", "busy_timeout", "journal_mode", "foreign_keys", "read_only")
    properties = {name: options.pop(name) for name in names if name in options}
    return SqlLiteHandler(SqlLiteConnProperties(path=path, **properties), skip_connect=True, **options)


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ":memory:" if request.param == "memory" else str(tmp_path / "a b?#%.db")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


async def with_table(handler: SqlLiteHandler, rows: int = 0) -> None:
    await handler.async_execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)")
    await handler.async_execute_many(
        "INSERT INTO t VALUES (:id, :v)", [{"id": n, "v": f"v{n}"} for n in range(1, rows + 1)]
    )


async def count(handler: SqlLiteHandler) -> int:
    number: int = await handler.async_fetch_value("SELECT count(*) FROM t")
    return number


@contextmanager
def locked(file: str) -> Iterator[sqlite3.Connection]:
    """Hold the write lock; `rollback()` of what is given releases it."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def read(rows: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row async for row in rows]


async def write_elsewhere(other: SqlLiteHandler) -> None:
    async with AsyncTasks() as tasks:
        tasks.start(other.async_execute, "INSERT INTO t (v) VALUES ('new')")
    assert tasks.results == [1]
