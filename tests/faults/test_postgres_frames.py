"""Frames of PostgreSQL that are broken off: by cancelling, by a time limit, by a session's end. And their memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pyarrow as pa
import pytest

from echo_connhandler import PgSqlHandler
from echo_connhandler.errors import ConnectionFailedError, EchoConnError, TimeoutExceededError
from tests.servers.daemon import Database
from tests.sql_services import postgres_service

Make = Callable[..., Any]
MINE = "FROM pg_stat_activity WHERE application_name = 'frames'"
BUSY = f"SELECT count(*) {MINE} AND state = 'active'"
ENDLESS = "SELECT generate_series(1, 10000000000) AS n, repeat('x', 100) AS t"


@pytest.fixture
def make(postgres_database: Database) -> Make:
    return postgres_service(postgres_database).make


@pytest.fixture
async def handler(make: Make) -> AsyncIterator[Any]:
    async with make(properties={"application_name": "frames"}, pool_size=1) as opened:
        yield opened


@pytest.fixture
async def watcher(make: Make) -> AsyncIterator[Any]:
    async with make(properties={"application_name": "watcher"}) as opened:
        yield opened


async def until(watcher: PgSqlHandler, busy: int) -> None:
    with anyio.fail_after(20):
        while await watcher.async_fetch_value(BUSY) != busy:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("sql", ["SELECT 1 AS a FROM pg_sleep(1000)", ENDLESS])
async def test_a_cancelled_reading_is_stopped_and_its_connection_goes_on(
    handler: PgSqlHandler, watcher: PgSqlHandler, sql: str
) -> None:
    session = await handler.async_fetch_value("SELECT pg_backend_pid()")
    async with anyio.create_task_group() as group:

        async def read() -> None:
            async for _ in handler.async_iter_arrow(sql, batch_rows=1000):
                await anyio.sleep(0)

        group.start_soon(read)
        await until(watcher, 1)
        group.cancel_scope.cancel()
    await until(watcher, 0)
    assert (await handler.async_read_to_arrow("SELECT pg_backend_pid() AS pid")).to_pylist() == [{"pid": session}]


async def test_a_cancelled_writing_is_undone(make: Make, handler: PgSqlHandler, watcher: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (n int8)")
    async with make() as other, other.async_transaction():
        await other.async_execute("LOCK TABLE t IN SHARE MODE")
        async with anyio.create_task_group() as group:
            group.start_soon(handler.async_write_frame, pa.table({"n": [*range(100_000)]}), "t")
            await until(watcher, 1)
            group.cancel_scope.cancel()
    await until(watcher, 0)
    assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
    assert await handler.async_write_frame(pa.table({"n": [1]}), "t") == 1


async def test_a_time_limit_stops_the_reading(make: Make, watcher: PgSqlHandler) -> None:
    properties = {"application_name": "frames", "query_timeout": 0.3}
    async with make(properties=properties) as handler:
        with pytest.raises(TimeoutExceededError):
            await handler.async_read_to_arrow("SELECT 1 AS a FROM pg_sleep(1000)")
        assert await watcher.async_fetch_value(BUSY) == 0
        assert (await handler.async_read_to_arrow("SELECT 1 AS a")).num_rows == 1


async def test_a_session_that_ends_in_the_midst_is_an_error(handler: PgSqlHandler, watcher: PgSqlHandler) -> None:
    with pytest.raises(EchoConnError) as caught:
        async for _ in handler.async_iter_arrow(ENDLESS, batch_rows=1000):
            await watcher.async_fetch_value(f"SELECT count(pg_terminate_backend(pid)) {MINE}")
    assert isinstance(caught.value, ConnectionFailedError)
    assert (await handler.async_read_to_arrow("SELECT 1 AS a")).num_rows == 1


def test_a_long_result_takes_no_more_memory_than_a_short_one(make: Make) -> None:
    with make() as handler:

        def peak(rows: int) -> int:
            sql = f"SELECT n, 'turbine ' || n % 100 AS t FROM generate_series(1, {rows}) n"
            before = pa.total_allocated_bytes()
            highest = 0
            tracemalloc.start()
            try:
                for batch in handler.iter_arrow(sql, batch_rows=20_000):
                    highest = max(highest, pa.total_allocated_bytes() - before, batch.nbytes)
                return highest + tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak(20_000)
        short, long = peak(40_000), peak(300_000)
    assert long < 1.2 * short
