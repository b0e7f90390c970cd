"""Transactions of PostgreSQL, results that are read while other calls are made, and limits of time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from echo_connhandler import PgSqlHandler, Resilience
from echo_connhandler.errors import (
    ConstraintError,
    QueryError,
    TimeoutExceededError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks, async_pause

from .postgres_handlers import Make, handler, make, watcher  # noqa: F401 - some are fixtures

ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "


# Transactions


async def test_a_commit_that_the_server_turns_down_is_an_error(handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (n int)")
    with pytest.raises(QueryError, match="nothing was committed|undone"):
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1)")
            with pytest.raises(QueryError):
                await handler.async_execute("SELECT 1 / 0")
    assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
    await handler.async_execute("CREATE TABLE u (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(ConstraintError):
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO u VALUES (1), (1)")
    assert await handler.async_fetch_value("SELECT count(*) FROM u") == 0


async def test_deadlocks_are_begun_anew(handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    await handler.async_execute("INSERT INTO t VALUES (1, 0), (2, 0)")
    begun: list[int] = []

    async def cross(first: int, second: int) -> None:
        async def work(inner: PgSqlHandler) -> None:
            await inner.async_execute("UPDATE t SET n = n + 1 WHERE id = :id", {"id": first})
            begun.append(first)
            while len(set(begun)) < 2:
                await async_pause(0.005)
            await inner.async_execute("UPDATE t SET n = n + 1 WHERE id = :id", {"id": second})

        await handler.async_run_in_transaction(work)

    async with AsyncTasks() as tasks:
        tasks.start(cross, 1, 2)
        tasks.start(cross, 2, 1)
    assert tasks.results == [None, None]
    assert len(begun) == 3
    assert await handler.async_fetch_value("SELECT sum(n) FROM t") == 4


async def test_serialization_failures_are_begun_anew(make: Make, watcher: PgSqlHandler) -> None:
    settings = {"server_settings": {"default_transaction_isolation": "serializable"}}
    async with make(properties=settings) as handler:
        await handler.async_execute("CREATE TABLE t (n int)")
        await handler.async_execute("INSERT INTO t VALUES (0)")
        calls = []

        async def work(inner: PgSqlHandler) -> None:
            seen = await inner.async_fetch_value("SELECT n FROM t")
            calls.append(seen)
            if len(calls) == 1:
                await watcher.async_execute("UPDATE t SET n = 10")
            await inner.async_execute("UPDATE t SET n = :n", {"n": seen + 1})

        await handler.async_run_in_transaction(work)
        assert calls == [0, 10]
        assert await handler.async_fetch_value("SELECT n FROM t") == 11


async def test_a_lock_that_is_not_had_in_time_is_tried_again(make: Make, watcher: PgSqlHandler) -> None:
    await watcher.async_execute("CREATE TABLE t (n int)")
    async with make(properties={"server_settings": {"lock_timeout": "20ms"}}) as handler:
        with no_waits() as waits:
            async with watcher.async_transaction():
                await watcher.async_execute("LOCK TABLE t")
                with pytest.raises(QueryError, match="lock timeout") as caught:
                    await handler.async_execute("INSERT INTO t VALUES (1)", retry=2)
        assert (caught.value.code, caught.value.attempts, len(list(waits))) == ("55P03", 3, 2)


async def test_a_read_only_transaction_sees_one_state_and_writes_nothing(
    handler: PgSqlHandler, watcher: PgSqlHandler
) -> None:
    await handler.async_execute("CREATE TABLE t (n int)")
    async with handler.async_transaction(read_only=True):
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
        await watcher.async_execute("INSERT INTO t VALUES (1)")
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
    with no_waits() as waits, pytest.raises(QueryError, match="read-only") as caught:
        async with handler.async_transaction(read_only=True):
            await handler.async_execute("INSERT INTO t VALUES (1)")
    assert (caught.value.code, list(waits)) == ("25006", [])


async def test_truncating_locks_out_readers_until_the_transaction_ends(make: Make, handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t AS SELECT 1 AS n")
    async with make(properties={"server_settings": {"lock_timeout": "20ms"}}) as reader:
        async with handler.async_transaction():
            await handler.async_write_frame(pa.table({"n": [2]}), "t", mode="truncate")
            with pytest.raises(QueryError, match="lock timeout"):
                await reader.async_fetch_all("SELECT n FROM t", retry=0)
        assert await reader.async_fetch_all("SELECT n FROM t") == [{"n": 2}]


# Cursors


async def test_reading_in_batches_leaves_no_transaction_open(make: Make, watcher: PgSqlHandler) -> None:
    async with make(pool_size=1) as handler:
        many = "SELECT n FROM generate_series(1, :m) n"
        assert sum([row["n"] async for row in handler.async_iterate(many, {"m": 2500})]) == 2500 * 2501 // 2
        early = handler.async_iterate(many, {"m": 2500}, batch_size=10)
        async for row in early:
            assert row == {"n": 1}
            break
        await early.aclose()
        failing = "SELECT 1 / (n - 1500) AS v FROM generate_series(1, 2500) n"
        with pytest.raises(QueryError, match="division"):
            [row async for row in handler.async_iterate(failing, batch_size=1000)]
        with pytest.raises(QueryError, match="nowhere"):
            [row async for row in handler.async_iterate("SELECT * FROM nowhere")]
        assert await watcher.async_fetch_value(f"{ACTIVE} state <> 'idle'") == 0
        assert await handler.async_fetch_value("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_echo%'") == 0


async def test_other_statements_run_beside_a_cursor(make: Make, watcher: PgSqlHandler) -> None:
    async with make(pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n int)")
        seen = 0
        async for row in handler.async_iterate("SELECT n FROM generate_series(1, 3000) n", batch_size=100):
            seen += 1
            if row["n"] % 1000 == 0:
                await handler.async_execute("INSERT INTO t VALUES (:n)", {"n": row["n"]})
                assert await watcher.async_fetch_value("SELECT max(n) FROM t") == row["n"]  # committed by itself
            if row["n"] == 2500:
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (-1)")
        assert seen == 3000
        async with handler.async_transaction():
            seen = 0
            async for row in handler.async_iterate("SELECT n FROM generate_series(1, 300) n", batch_size=100):
                seen += 1
                if row["n"] == 150:
                    await handler.async_execute("INSERT INTO t VALUES (-2)")
            assert seen == 300
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 5
        assert await handler.async_fetch_value("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_echo%'") == 0


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT n FROM t ORDER BY n FOR UPDATE", 3),
        ("WITH x AS (SELECT n FROM t) SELECT * FROM x;", 3),
        ("VALUES (1), (2)", 2),
        ("TABLE t", 3),
        ("(SELECT 1) UNION ALL (SELECT 2)", 2),
        ("SHOW server_version", 1),
        ("EXPLAIN SELECT 1", 1),
        ("INSERT INTO t VALUES (4), (5) RETURNING n", 2),
        ("SELECT 1 WHERE false", 0),
        ("SELECT 1 -- that's all", 1),
    ],
)
async def test_every_query_can_be_iterated(make: Make, sql: str, rows: int) -> None:
    async with make(pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 3) n")
        assert len([row async for row in handler.async_iterate(sql)]) == rows
        async with handler.async_transaction():
            assert len([row async for row in handler.async_iterate(sql)]) == rows
        assert await handler.async_fetch_value("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_echo%'") == 0


# Time


async def test_a_statement_is_stopped_after_query_timeout(make: Make, watcher: PgSqlHandler) -> None:
    async with make(properties={"query_timeout": 0.1}, pool_size=1) as handler:
        with no_waits() as waits, pytest.raises(TimeoutExceededError, match="query_timeout=0.1"):
            await handler.async_execute("SELECT pg_sleep(1000)")
        assert list(waits) == []
        assert await watcher.async_fetch_value(f"{ACTIVE} query LIKE '%pg_sleep%' AND state = 'active'") == 0
        assert await handler.async_fetch_value("SELECT 1") == 1
        with pytest.raises(TimeoutExceededError):
            [row async for row in handler.async_iterate("SELECT pg_sleep(1000)")]
        assert await handler.async_fetch_value("SELECT 1") == 1
        assert await watcher.async_fetch_value(f"{ACTIVE} state <> 'idle'") == 0


async def test_a_deadline_stops_a_statement_too(handler: PgSqlHandler, watcher: PgSqlHandler) -> None:
    with pytest.raises(TimeoutExceededError, match="deadline"):
        await handler.async_fetch_value("SELECT pg_sleep(1000)", retry=Resilience(deadline=0.1))
    assert await watcher.async_fetch_value(f"{ACTIVE} query LIKE '%pg_sleep%' AND state = 'active'") == 0
    assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_statement_that_another_session_cancels_is_no_timeout(make: Make, watcher: PgSqlHandler) -> None:
    async with make(properties={"query_timeout": 60}) as handler:
        async with AsyncTasks() as tasks:
            tasks.start(handler.async_fetch_value, "SELECT pg_sleep(1000)")
            cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1000)' "
            while not await watcher.async_fetch_value(f"{cancel} AND wait_event = 'PgSleep'"):  # none hears it before
                await async_pause(0.01)
        (error,) = tasks.results
        assert type(error) is QueryError
        assert error.code == "57014"
