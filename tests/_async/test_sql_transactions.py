"""Transactions on SQLite: blocks, savepoints, and what others see of them."""

from __future__ import annotations

import pytest

from echo_connhandler import Resilience, SqlLiteHandler
from echo_connhandler.errors import (
    ConstraintError,
    HandlerClosedError,
    QueryError,
)
from tests.concurrency import AsyncTasks

from .sqlite_tables import count, file, make, path, read, with_table, write_elsewhere  # noqa: F401 - some are fixtures


async def test_a_transaction_is_committed_or_undone(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        async with handler.async_transaction() as inside:
            assert inside is handler
            await handler.async_execute("INSERT INTO t VALUES (1, 'kept')")
            assert await count(handler) == 1
        with pytest.raises(ZeroDivisionError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'undone')")
                1 / 0
        with pytest.raises(ConstraintError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (3, 'undone')")
                await handler.async_execute("INSERT INTO t VALUES (1, 'again')")
        async with handler.async_transaction():  # a statement that failed undoes only itself
            with pytest.raises(ConstraintError):
                await handler.async_execute("INSERT INTO t VALUES (9, 'x'), (1, 'again')")
            await handler.async_execute("INSERT INTO t VALUES (4, 'kept')")
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 4}]


async def test_a_block_in_a_block_is_a_savepoint(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
            with pytest.raises(ZeroDivisionError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                    async with handler.async_transaction():
                        await handler.async_execute("INSERT INTO t VALUES (3, 'x')")
                    1 / 0
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (4, 'x')")
            with pytest.raises(ConstraintError):
                await handler.async_execute_many("INSERT INTO t VALUES (?, 'x')", [(5,), (1,)])
            with pytest.raises(ConstraintError):
                await handler.async_execute_script("INSERT INTO t VALUES (6, 'x'); INSERT INTO t VALUES (1, 'x')")
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 4}]


async def test_others_never_join_a_transaction(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler)

        async def see() -> int:
            return await count(handler)

        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
            async with AsyncTasks() as tasks:  # children of this task, or threads
                for _ in range(5):
                    tasks.start(see)
            assert await count(handler) == 1
        assert tasks.results == [0] * 5


async def test_transactions_of_many_at_once_do_not_mix(file: str) -> None:
    async with make(file, busy_timeout=5) as handler:
        await with_table(handler)

        async def one(number: int) -> None:
            async with handler.async_transaction():
                for part in range(3):
                    sql = "INSERT INTO t VALUES (:id, :v)"
                    await handler.async_execute(sql, {"id": number * 10 + part, "v": "x"})
                seen = await handler.async_fetch_value("SELECT count(*) FROM t WHERE id / 10 = :n", {"n": number})
                assert seen == 3
                if number % 2:
                    raise ZeroDivisionError

        async with AsyncTasks() as tasks:
            for number in range(16):
                tasks.start(one, number)
        assert [type(result) for result in tasks.results] == [type(None), ZeroDivisionError] * 8
        assert await count(handler) == 24


@pytest.mark.parametrize(
    "sql", ["BEGIN", "COMMIT", "/* x */ rollback", "SAVEPOINT a", "RELEASE a", "END", "begin immediate"]
)
async def test_transaction_control_is_refused(sql: str) -> None:
    async with make() as handler:
        await with_table(handler)
        for call in (handler.async_execute, handler.async_fetch_all):
            with pytest.raises(QueryError, match=r"transaction\(\)"):
                await call(sql)
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            await handler.async_execute_many(sql, [()])
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            await read(handler.async_iterate(sql))
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                await handler.async_execute_script(
                    f"INSERT INTO t VALUES (2, 'x'); {sql}; INSERT INTO t VALUES (3, 'x')"
                )
        assert await count(handler) == 0


async def test_nothing_follows_a_transaction_that_the_database_has_undone() -> None:
    async with make() as handler:
        await with_table(handler, 1)
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                with pytest.raises(ConstraintError):
                    await handler.async_execute("INSERT OR ROLLBACK INTO t VALUES (1, 'again')")
                await handler.async_execute("INSERT INTO t VALUES (3, 'would be outside')")
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                with pytest.raises(ConstraintError):
                    async with handler.async_transaction():
                        await handler.async_execute("INSERT OR ROLLBACK INTO t VALUES (1, 'again')")
        assert await count(handler) == 1


async def test_a_read_only_transaction_sees_one_state(file: str) -> None:
    async with make(file) as handler, make(file) as other:
        await with_table(handler, 1)
        async with handler.async_transaction(read_only=True):
            assert await count(handler) == 1
            await write_elsewhere(other)
            assert await count(handler) == 1
        assert await count(handler) == 2


async def test_run_in_transaction_gives_what_the_function_gives() -> None:
    async with make() as handler:
        await with_table(handler)

        async def add(inside: SqlLiteHandler) -> int:
            await inside.async_execute("INSERT INTO t (v) VALUES ('x')")
            return await count(inside)

        async def fail(inside: SqlLiteHandler) -> None:
            await add(inside)
            raise KeyError("mine")

        assert await handler.async_run_in_transaction(add) == 1
        with pytest.raises(KeyError, match="mine"):
            await handler.async_run_in_transaction(fail)
        async with handler.async_transaction():
            assert await handler.async_run_in_transaction(add) == 2
            with pytest.raises(KeyError):
                await handler.async_run_in_transaction(fail)
        assert await count(handler) == 2


async def test_closing_inside_a_transaction_undoes_it(path: str) -> None:
    keeper = make(path)
    handler = keeper.with_resilience(Resilience(max_retries=0))
    async with keeper:
        await with_table(keeper)
        for leave in (handler.async_close, handler.async_reconnect):
            await handler.async_connect()
            with pytest.raises(HandlerClosedError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                    await leave()
            with pytest.raises(HandlerClosedError):
                await handler.async_connect()
                async with handler.async_transaction():
                    await leave()
                    await handler.async_execute("INSERT INTO t VALUES (1, 'would be outside')")
        await handler.async_close()
        assert await count(keeper) == 0
