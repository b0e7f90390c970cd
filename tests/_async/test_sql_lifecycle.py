"""Handlers of SQLite from the first connection to the last: opening, closing, pickles, files."""

from __future__ import annotations

import os
import pickle
import sqlite3
from pathlib import Path

import pytest

from echo_connhandler import Resilience
from echo_connhandler.errors import (
    ConnectionFailedError,
    HandlerClosedError,
    QueryError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks

from .sqlite_tables import count, file, locked, make, read, with_table  # noqa: F401 - some are fixtures


async def test_after_close_calls_are_refused_until_it_is_opened(file: str) -> None:
    handler = make(file)
    assert not handler.async_is_connected
    await handler.async_connect()
    assert handler.async_is_connected
    await with_table(handler)
    await handler.async_close()
    assert not handler.async_is_connected
    for call in (handler.async_execute, handler.async_fetch_all, handler.async_execute_script):
        with pytest.raises(HandlerClosedError):
            await call("SELECT 1")
    with pytest.raises(HandlerClosedError):
        await read(handler.async_iterate("SELECT 1"))
    with pytest.raises(HandlerClosedError):
        await handler.async_ping()
    await handler.async_reconnect()
    assert await count(handler) == 0
    assert await handler.async_ping()
    await handler.async_close()
    async with handler:
        assert await count(handler) == 0


async def test_ping_tells_whether_the_database_is_there(tmp_path: Path) -> None:
    async with make(tmp_path / "x.db") as handler:
        assert await handler.async_ping()
        with locked(str(tmp_path / "x.db")):
            assert await handler.async_ping()
    gone = make(tmp_path / "missing" / "x.db")
    assert not await gone.async_ping()
    await gone.async_close()


async def test_the_librarys_own_connection(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler, 1)
        raw = handler.async_connection
        assert isinstance(raw, sqlite3.Connection)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
            assert handler.async_connection.in_transaction


async def test_a_database_in_memory_is_shared_by_both_halves_and_handlers_made_from_it() -> None:
    handler = make()
    async with handler:
        await with_table(handler, 2)
        twin = handler.with_resilience(Resilience(max_retries=1))
        assert await count(twin) == 2
        assert handler.fetch_value("SELECT count(*) FROM t") == 2
        async with AsyncTasks() as tasks:
            for _ in range(4):
                tasks.start(count, handler)
        assert tasks.results == [2] * 4
        await twin.async_close()
        handler.close()
        async with make() as other:
            assert await other.async_list_tables() == []


async def test_a_pickled_handler_opens_the_same_file(file: str) -> None:
    async with make(file, max_retries=3) as handler:
        await with_table(handler, 2)
        copy = pickle.loads(pickle.dumps(handler))
        assert copy.resilience.max_retries == 3
        async with copy:
            assert await count(copy) == 2


async def test_the_file_stays_the_same_when_the_process_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = make("here.db", pool_size=2)
    async with handler:
        await with_table(handler, 1)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        async with AsyncTasks() as tasks:
            for _ in range(3):
                tasks.start(count, handler)
    assert tasks.results == [1] * 3
    assert os.listdir(elsewhere) == []


async def test_files_have_a_write_ahead_log_unless_told_otherwise(tmp_path: Path) -> None:
    for options, mode in (({}, "wal"), ({"journal_mode": "delete"}, "delete"), ({"journal_mode": None}, "delete")):
        async with make(tmp_path / f"{len(options)}{mode}.db", **options) as handler:
            assert await handler.async_fetch_value("PRAGMA journal_mode") == mode
    async with make(tmp_path / "0wal.db", journal_mode="delete") as handler:
        assert await handler.async_fetch_value("PRAGMA journal_mode") == "delete"


async def test_a_file_may_be_opened_for_reading_only(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler, 1)
    with no_waits() as waits:
        async with make(file, read_only=True) as handler:
            assert await count(handler) == 1
            with pytest.raises(QueryError) as caught:
                await handler.async_execute("DELETE FROM t")
            assert caught.value.code == "SQLITE_READONLY"
        with pytest.raises(ConnectionFailedError):
            await make(file + "x", read_only=True).async_connect()
    assert waits == []


async def test_a_path_that_is_no_database_fails_at_once(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, though it is long enough to be one" * 100)
    for path, advice in ((tmp_path / "no" / "x.db", "folder"), (tmp_path, "file"), (text, "not an SQLite database")):
        handler = make(path)
        with no_waits() as waits:
            with pytest.raises(ConnectionFailedError, match=advice) as caught:
                await handler.async_execute("CREATE TABLE t (a)")
        assert caught.value.attempts == 1
        assert str(path) in str(caught.value)
        assert waits == []
        await handler.async_close()
    assert text.read_text().startswith("this is no database")
