"""Cancelling tasks that talk to PostgreSQL: the server stops, and nothing is left open."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from echo_connhandler.errors import QueryError
from tests.cancellation import Steps
from tests.servers.daemon import Database
from tests.sql_services import postgres_service

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "


async def test_cancelling_a_task_stops_its_statement_at_the_server(postgres_database: Database) -> None:
    service = postgres_service(postgres_database)
    async with service.make(pool_size=1) as handler, service.make() as watcher:
        session = await handler.async_fetch_value("SELECT pg_backend_pid()")
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(handler.async_execute, "SELECT pg_sleep(1000)")
                with anyio.fail_after(10):
                    while not await watcher.async_fetch_value(f"{OTHERS} state = 'active'"):
                        await anyio.sleep(0.005)
                tasks.cancel_scope.cancel()
            assert await watcher.async_fetch_value(f"{OTHERS} state = 'active'") == 0
            # The request to stop hits no later statement, and the session is the same.
            for _ in range(20):
                assert await handler.async_fetch_value("SELECT pg_backend_pid()") == session


@pytest.mark.parametrize("inside", [False, True])
async def test_cancelling_a_reader_at_any_step_leaves_no_transaction_open(
    postgres_database: Database, inside: bool
) -> None:
    service = postgres_service(postgres_database)
    async with service.make(pool_size=1) as handler, service.make() as watcher:

        async def read() -> None:
            async for _ in handler.async_iterate("SELECT n FROM generate_series(1, 25) n", batch_size=10):
                pass

        async def read_inside() -> None:
            async with handler.async_transaction():
                await read()

        nth = 1
        while True:
            with anyio.CancelScope() as scope:
                steps: Any = Steps((read_inside if inside else read)(), nth, scope.cancel)
                await steps
            idle = f"{OTHERS} state IN ('idle in transaction', 'idle in transaction (aborted)')"
            with anyio.fail_after(10):
                while await watcher.async_fetch_value(idle):  # a session that was given up takes a moment to end
                    await anyio.sleep(0.005)
            assert await handler.async_fetch_value("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_echo%'") == 0
            if not scope.cancelled_caught:
                break
            nth += 1
        assert nth > 3


async def test_a_statement_that_fails_while_it_is_cancelled_leaves_the_handler_usable(
    postgres_database: Database,
) -> None:
    service = postgres_service(postgres_database)
    async with service.make(pool_size=1) as handler:
        for delay in range(12):
            with anyio.move_on_after(delay / 1000):
                with pytest.raises(QueryError):
                    await handler.async_execute("SELECT 1 / 0")
                await anyio.sleep(1)
            assert await handler.async_fetch_value("SELECT 1") == 1
