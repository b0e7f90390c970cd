"""Cancelling SQL calls: at every await point, in the midst of a statement, and with statements that don't stop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import psutil
import pyarrow as pa
import pytest

from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler._drivers import threaded
from tests.cancellation import Steps
from tests.concurrency import lasting_threads

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"


def make(path: Path, **options: Any) -> SqlLiteHandler:
    return SqlLiteHandler(SqlLiteConnProperties(path=path / "test.db"), skip_connect=True, pool_size=1, **options)


async def execute(handler: SqlLiteHandler) -> None:
    await handler.async_execute("INSERT INTO t VALUES (1), (2), (3)")


async def execute_many(handler: SqlLiteHandler) -> None:
    await handler.async_execute_many("INSERT INTO t VALUES (:n)", [{"n": 1}, {"n": 2}, {"n": 3}])


async def script(handler: SqlLiteHandler) -> None:
    await handler.async_execute_script("BEGIN; INSERT INTO t VALUES (1), (2); INSERT INTO t VALUES (3); COMMIT")


async def fetch_all(handler: SqlLiteHandler) -> None:
    await handler.async_fetch_all("INSERT INTO t VALUES (1), (2), (3) RETURNING n")


async def transaction(handler: SqlLiteHandler) -> None:
    async with handler.async_transaction():
        await handler.async_execute("INSERT INTO t VALUES (1)")
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (2)")
        await handler.async_execute("INSERT INTO t VALUES (3)")


async def write_frame(handler: SqlLiteHandler) -> None:
    await handler.async_write_frame(pa.table({"n": [1, 2, 3]}), "t", mode="upsert", keys=["n"], batch_rows=2)


async def iterate(handler: SqlLiteHandler) -> None:
    async with handler.async_transaction():
        async for row in handler.async_iterate("WITH x(n) AS (VALUES (1), (2), (3)) SELECT n FROM x", batch_size=1):
            await handler.async_execute("INSERT INTO t VALUES (:n)", row)


async def read(handler: SqlLiteHandler) -> None:
    table = await handler.async_read_to_arrow("SELECT 1 AS n UNION SELECT 2 UNION SELECT 3")
    await handler.async_write_frame(table, "t")


CALLS = [execute, execute_many, script, fetch_all, transaction, write_frame, iterate, read]


async def settle(condition: Callable[[], bool]) -> None:
    """Wait for threads that are ending."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, outside of an event loop, for threads that are ending."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("connected", [True, False])
async def test_cancelled_at_any_await_point_it_is_all_or_nothing(
    tmp_path: Path, call: Callable[[SqlLiteHandler], Awaitable[None]], connected: bool
) -> None:
    async with make(tmp_path) as watch:
        await watch.async_execute("CREATE TABLE t (n)")
        files, before = psutil.Process().num_fds(), len(lasting_threads())
        effects = []
        for nth in range(1, 500):
            handler = make(tmp_path)
            if connected:
                await handler.async_connect()
            with anyio.CancelScope() as scope:
                steps = Steps(call(handler), nth, scope.cancel)
                await steps
            with anyio.fail_after(5):  # the only place of the pool is free, and nothing holds the lock
                effects.append(await handler.async_fetch_value("SELECT count(*) FROM t"))
                assert not handler._async_holds
                await handler.async_execute("DELETE FROM t")
                assert await handler.async_fetch_all("SELECT name FROM temp.sqlite_master") == []
                await watch.async_execute("DELETE FROM t")
            await handler.async_close()
            if steps.count < nth:
                break
        assert set(effects) <= {0, 3}
        assert len(effects) > 1  # it was cancelled at least once
        assert effects[-1] == 3
        assert not scope.cancelled_caught
        gc.collect()
        await settle(lambda: len(lasting_threads()) <= before)
        await settle(lambda: psutil.Process().num_fds() <= files + 2)  # the -wal and -shm of a connection that ends


async def test_a_cancelled_statement_stops_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with make(tmp_path) as handler:
        began = time.monotonic()
        for call in (handler.async_execute, handler.async_fetch_all, handler.async_read_to_arrow):
            with anyio.move_on_after(0.05) as scope:
                await call(ENDLESS)
            assert scope.cancelled_caught
            assert await handler.async_fetch_value("SELECT 1") == 1
        assert time.monotonic() - began < 1


async def test_a_cancelled_iteration_gives_its_connection_back(tmp_path: Path) -> None:
    async with make(tmp_path) as handler:
        with anyio.move_on_after(0.05) as scope:
            async for _ in handler.async_iterate(ENDLESS):
                raise AssertionError
        assert scope.cancelled_caught
        with anyio.fail_after(1):
            assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_cancelled_transaction_is_undone(tmp_path: Path) -> None:
    async with make(tmp_path) as handler:
        await handler.async_execute("CREATE TABLE t (n)")
        with anyio.move_on_after(0.05) as scope:
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1)")
                await handler.async_execute(ENDLESS)
        assert scope.cancelled_caught
        with anyio.fail_after(1):
            async with handler.async_transaction():
                assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0


async def test_a_block_cancelled_within_a_transaction_undoes_itself_alone(tmp_path: Path) -> None:
    async with make(tmp_path) as handler:
        await handler.async_execute("CREATE TABLE t (n)")
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1)")
            with anyio.move_on_after(0.05) as scope:
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (2)")
                    await handler.async_fetch_value(ENDLESS)
            await handler.async_execute("INSERT INTO t VALUES (3)")
        assert scope.cancelled_caught
        assert await handler.async_fetch_all("SELECT n FROM t") == [{"n": 1}, {"n": 3}]


async def test_waiting_for_a_place_can_be_cancelled(tmp_path: Path) -> None:
    async with make(tmp_path) as handler, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(handler.async_fetch_value, ENDLESS)
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    async with handler:
        assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_statement_that_does_not_stop_costs_its_connection_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "GRACE", 0.05)
    before = len(lasting_threads())
    go, entered = threading.Event(), threading.Event()

    def stubborn() -> int:
        entered.set()
        go.wait()
        return 1

    async with make(tmp_path) as handler:
        await handler.async_execute("CREATE TABLE t (n)")
        handler.async_connection.create_function("stubborn", 0, stubborn)
        with anyio.move_on_after(0.05) as scope:
            async with handler.async_transaction(read_only=True):
                await handler.async_fetch_value("SELECT stubborn()")
        assert scope.cancelled_caught
        assert entered.is_set()
        assert await handler.async_execute("INSERT INTO t VALUES (1)") == 1
    go.set()
    await settle(lambda: len(lasting_threads()) <= before)


def test_asyncios_own_cancellation_stops_a_statement(tmp_path: Path) -> None:
    async def main() -> None:
        async with make(tmp_path) as handler:
            await handler.async_execute("CREATE TABLE t (n)")
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05), handler.async_transaction():
                        await handler.async_execute("INSERT INTO t VALUES (1)")
                        await handler.async_execute(ENDLESS)
                task = asyncio.create_task(handler.async_fetch_value(ENDLESS))
                await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()  # in the midst of stopping: the connection is given up, not waited for
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0

    before = len(lasting_threads())
    asyncio.run(main())
    wait_until(lambda: len(lasting_threads()) <= before)


def test_one_handler_in_several_event_loops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handler = make(tmp_path)
    begun: list[Any] = []

    async def main() -> int:
        async for _ in handler.async_iterate("SELECT 1 UNION SELECT 2", batch_size=1):
            break
        value: int = await handler.async_fetch_value("SELECT 1")
        for rows in (
            handler.async_iterate("SELECT 1 UNION SELECT 2", batch_size=1),
            handler.async_iter_arrow("SELECT 1"),
        ):
            begun.append(rows)  # not dropped: still open when the event loop ends
            async for _ in rows:
                break
        return value

    before, files = len(lasting_threads()), psutil.Process().num_fds()
    for backend in ("asyncio", "trio", "asyncio", "asyncio"):
        assert anyio.run(main, backend=backend) == 1
    wait_until(lambda: len(lasting_threads()) <= before and psutil.Process().num_fds() <= files)
    assert not handler._async_holds
    assert caplog.records == []
    assert handler.fetch_value("SELECT 1") == 1
    handler.close()
