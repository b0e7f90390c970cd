"""Locks of SQLite that are waited for, and limits of time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import Resilience, RetryDetails, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.errors import (
    HandlerClosedError,
    QueryError,
    TimeoutExceededError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks

from .sqlite_tables import count, file, locked, make, path, read, with_table  # noqa: F401 - some are fixtures

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"


# Locks


def release_after(attempts: int, lock: sqlite3.Connection, **options: Any) -> Resilience:
    def hook(details: RetryDetails) -> None:
        if details.attempt == attempts:
            lock.rollback()

    return Resilience(before_retry=(hook,), **options)


async def insert(handler: SqlLiteHandler) -> object:
    return await handler.async_execute("INSERT INTO t (v) VALUES (:v)", {"v": "x"})


async def insert_many(handler: SqlLiteHandler) -> object:
    return await handler.async_execute_many("INSERT INTO t (v) VALUES (:v)", [{"v": "x"}])


async def insert_by_script(handler: SqlLiteHandler) -> object:
    return await handler.async_execute_script("INSERT INTO t (v) VALUES ('x')")


async def insert_and_return(handler: SqlLiteHandler) -> object:
    return await handler.async_fetch_all("INSERT INTO t (v) VALUES ('x') RETURNING v")


async def insert_in_a_block(handler: SqlLiteHandler) -> object:
    async with handler.async_transaction():
        return await insert(handler)


async def insert_in_a_transaction(handler: SqlLiteHandler) -> object:
    return await handler.async_run_in_transaction(insert)


WRITES = [insert, insert_many, insert_by_script, insert_and_return, insert_in_a_block, insert_in_a_transaction]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_waits_for_the_lock_and_takes_effect_once(file: str, write: Callable[..., Any]) -> None:
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file) as lock, no_waits() as waits:
            patient = handler.with_resilience(release_after(3, lock, jitter=(1, 1)))
            async with patient:
                await write(patient)
        assert waits == [0.1, 0.2, 0.4]
        assert await count(handler) == 1


@pytest.mark.parametrize("write", WRITES)
async def test_a_lock_that_stays_is_told_after_the_retries(file: str, write: Callable[..., Any]) -> None:
    async with make(file, busy_timeout=0.001, max_retries=2) as handler:
        await with_table(handler)
        with locked(file), no_waits() as waits:
            with pytest.raises(QueryError, match=r"another connection holds the lock.*after 3 attempts") as caught:
                await write(handler)
        assert caught.value.code == "SQLITE_BUSY"
        assert caught.value.attempts == 3
        assert len(waits) == 2
        assert await count(handler) == 0


async def test_no_retries_means_none(file: str) -> None:
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file), no_waits() as waits:
            calls: list[Callable[[], Any]] = [
                lambda: handler.async_execute("DELETE FROM t", retry=0),
                lambda: handler.async_execute_many("DELETE FROM t WHERE id = ?", [(1,)], retry=0),
                lambda: handler.async_execute_script("DELETE FROM t", retry=False),
                lambda: handler.async_run_in_transaction(insert, retry=0),
            ]
            for work in calls:
                with pytest.raises(QueryError) as caught:
                    await work()
                assert caught.value.attempts == 1
        assert waits == []


async def test_a_transaction_is_begun_anew_as_a_whole(file: str) -> None:
    calls = 0
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file) as lock, no_waits():

            async def read_then_write(inside: SqlLiteHandler) -> int:
                nonlocal calls
                calls += 1
                before = await count(inside)
                await insert(inside)
                return before

            patient = handler.with_resilience(release_after(2, lock))
            async with patient:
                # A deferred transaction meets the lock at its first write, not at its beginning.
                assert await patient.async_run_in_transaction(read_then_write, read_only=True) == 0
        assert calls == 3
        assert await count(handler) == 1


async def test_a_commit_that_meets_a_reader_is_tried_again(file: str) -> None:
    async with make(file, busy_timeout=0.001, journal_mode="delete") as handler:
        await with_table(handler, 1)
        reader = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        try:
            with no_waits() as waits:
                patient = handler.with_resilience(release_after(2, reader))
                async with patient:
                    await insert_in_a_block(patient)
            assert len(waits) == 2
        finally:
            reader.close()
        assert await count(handler) == 2


async def test_connecting_does_not_wait_for_a_writer(file: str) -> None:
    with sqlite3.connect(file) as plain:
        plain.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    plain.close()
    with locked(file), no_waits() as waits:
        async with make(file, busy_timeout=0.001) as handler:
            assert await count(handler) == 0
    assert waits == []
    async with make(file) as handler:
        assert await handler.async_fetch_value("PRAGMA journal_mode") == "wal"


async def test_many_writers_lose_and_double_nothing(file: str) -> None:
    async with make(file, busy_timeout=2) as handler:

        async def write(number: int) -> None:
            for part in range(20):
                await handler.async_execute("INSERT INTO t VALUES (:id, :v)", {"id": number * 100 + part, "v": "x"})

        await with_table(handler)
        async with AsyncTasks() as tasks:
            for number in range(16):
                tasks.start(write, number)
        assert tasks.results == [None] * 16
        assert await count(handler) == 320


async def test_many_first_connections_at_once(file: str) -> None:
    handler = make(file, pool_size=16)

    async def first() -> object:
        return await handler.async_execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v)")

    async with AsyncTasks() as tasks:
        for _ in range(16):
            tasks.start(first)
    assert tasks.results == [0] * 16
    assert await handler.async_fetch_value("PRAGMA journal_mode") == "wal"
    await handler.async_close()


async def test_closing_while_others_write_ends_them_with_an_error(file: str) -> None:
    handler = make(file)
    await handler.async_connect()
    await with_table(handler)

    async def write() -> None:
        while True:
            await handler.async_execute("INSERT INTO t (v) VALUES ('x')")

    async def close() -> None:
        while await count(handler) < 50:
            pass
        await handler.async_close()

    async with AsyncTasks() as tasks:
        for _ in range(4):
            tasks.start(write)
        tasks.start(close)
    assert [type(result) for result in tasks.results] == [HandlerClosedError] * 4 + [type(None)]


# Time limits


async def test_query_timeout_stops_a_statement_and_is_not_retried(path: str) -> None:
    async with make(path, query_timeout=0.1, pool_size=1) as handler:
        await with_table(handler, 3)
        with no_waits() as waits:
            for call in (handler.async_execute, handler.async_fetch_all, handler.async_fetch_value):
                with pytest.raises(TimeoutExceededError, match=r"query_timeout=0\.1 s") as caught:
                    await call(ENDLESS)
                assert 0.1 <= caught.value.elapsed < 0.6
                assert caught.value.attempts == 1
            with pytest.raises(TimeoutExceededError):
                await read(handler.async_iterate(ENDLESS))
        assert waits == []
        assert await count(handler) == 3


async def test_a_timeout_in_a_transaction_lets_nothing_follow(path: str) -> None:
    slow = ENDLESS.replace("WITH", "INSERT INTO t (id, v) WITH").replace(
        "SELECT max(n) FROM r", "SELECT n + 9, n FROM r"
    )
    async with make(path, query_timeout=0.1) as handler:
        await with_table(handler)
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                with pytest.raises(TimeoutExceededError):
                    await handler.async_execute(slow)
                await handler.async_execute("INSERT INTO t VALUES (2, 'would be outside')")
        with pytest.raises(TimeoutExceededError):
            await handler.async_execute(slow)
        assert await count(handler) == 0


async def test_a_deadline_stops_a_statement_once(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    props = SqlLiteConnProperties(path=tmp_path / "a.db", busy_timeout=0)
    async with SqlLiteHandler(props, skip_connect=True, resilience=Resilience(deadline=0.2)) as handler:
        for _ in range(2):
            with pytest.raises(TimeoutExceededError, match="stopped at the call's deadline") as caught:
                await handler.async_fetch_value(endless)
            assert caught.value.attempts == 1
            assert 0.2 <= caught.value.elapsed < 3
        with pytest.raises(TimeoutExceededError, match="deadline"):
            await handler.async_execute_script(f"CREATE TABLE t (a); INSERT INTO t {endless}")
        assert await handler.async_list_tables() == []
        assert await handler.async_fetch_value("SELECT 1") == 1
