"""Connections and servers that go away in the midst of something: the caller is told the truth, and nothing doubles."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from echo_connhandler import Resilience
from echo_connhandler.errors import ConnectionFailedError, OutcomeUnknownError
from echo_connhandler.sql import SqlHandler
from echo_connhandler.testing import no_waits
from tests.concurrency import async_pause
from tests.servers.daemon import DatabaseDaemon
from tests.servers.proxy import TcpProxy
from tests.sql_services import SqlService, mysql_service, postgres_service

INSERT = "INSERT INTO t (n) VALUES (:n)"


@pytest.fixture(params=["postgres", "mysql"])
def server(request: pytest.FixtureRequest) -> DatabaseDaemon:
    """A server of ours that may be killed."""
    chosen: DatabaseDaemon = request.getfixturevalue(f"own_{'postgres' if request.param == 'postgres' else 'mariadb'}")
    return chosen


async def numbers(handler: SqlHandler) -> list[int]:
    return [row["n"] for row in await handler.async_fetch_all("SELECT n FROM t ORDER BY n")]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_dropped_while_idle_is_noticed_before_it_is_used(
    sql_server: SqlService, sql_proxy: TcpProxy, how: Any
) -> None:
    async with sql_server.make(port=sql_proxy.port, pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        for n in range(3):
            assert sql_proxy.drop(how) == 1
            while sql_proxy.open_connections:
                await async_pause(0.01)
            with no_waits() as waits:
                await handler.async_execute(INSERT, {"n": n})
            assert not waits
        assert await numbers(handler) == [0, 1, 2]
        assert handler.async_pool_stats.opened == 4


async def test_a_connection_that_went_silent_is_replaced(sql_server: SqlService, sql_proxy: TcpProxy) -> None:
    properties = {"idle_check": 0, "conn_timeout": 0.5}
    async with sql_server.make(port=sql_proxy.port, pool_size=1, properties=properties) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        sql_proxy.stall()
        await handler.async_execute(INSERT, {"n": 1})
        assert handler.async_pool_stats.replaced == 1
        assert await numbers(handler) == [1]


async def test_a_lost_write_is_told_unless_it_may_be_repeated(sql_server: SqlService, sql_proxy: TcpProxy) -> None:
    async with sql_server.make(port=sql_proxy.port, pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        for _ in range(2):  # so often that PostgreSQL has it prepared: what is lost before is no write
            await handler.async_execute(INSERT, {"n": 1})
        sql_proxy.cut("down", after=0)
        with no_waits() as waits:
            with pytest.raises(OutcomeUnknownError, match="may have taken effect or not"):
                await handler.async_execute(INSERT, {"n": 1})
            assert not waits
            sql_proxy.cut("down", after=0)
            await handler.async_execute("DELETE FROM t WHERE n = 1", idempotent=True)
            sql_proxy.cut("down", after=0)
            assert await numbers(handler) == []
            sql_proxy.cut("down", after=0)
            assert (await handler.async_read_to_arrow("SELECT n FROM t")).num_rows == 0
        assert len(waits) == 3


async def test_what_is_lost_within_a_transaction_is_undone(sql_server: SqlService, sql_proxy: TcpProxy) -> None:
    async with sql_server.make(port=sql_proxy.port, pool_size=1, **sql_server.ledger) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        with pytest.raises(ConnectionFailedError):
            async with handler.async_transaction():
                await handler.async_execute(INSERT, {"n": 1})
                sql_proxy.cut("down", after=0)
                await handler.async_execute(INSERT, {"n": 2})
        assert await numbers(handler) == []
        calls = []

        async def insert(within: SqlHandler) -> None:
            calls.append(1)
            await within.async_execute(INSERT, {"n": 3})
            if len(calls) == 1:
                sql_proxy.drop("reset")

        with no_waits():
            await handler.async_run_in_transaction(insert)
        assert len(calls) == 2
        assert await numbers(handler) == [3]


async def test_a_commit_that_is_late_never_comes(sql_server: SqlService, sql_proxy: TcpProxy) -> None:
    """The COMMIT is on its way when its connection is given up: it must not take effect after the repetition."""
    properties = {"query_timeout": 0.3}
    handler = sql_server.make(port=sql_proxy.port, pool_size=1, properties=properties, **sql_server.ledger)
    async with handler, sql_server.make() as beside:
        await beside.async_execute("CREATE TABLE t (n INTEGER)")
        calls = []
        commit, dialect = sql_proxy.bytes_up, handler._dialect

        async def insert(within: SqlHandler) -> None:
            calls.append(1)
            await within.async_execute(INSERT, {"n": 1})
            if len(calls) == 1:
                await taken(within)

        async def taken(within: SqlHandler) -> None:
            """Let what comes before COMMIT pass, and hold what follows."""
            receipts, held = dialect.receipts, within._async_joined()
            assert receipts is not None
            assert held is not None
            for _ in range(9):  # so often that it's prepared, and always as long
                before = sql_proxy.bytes_up
                await within._async_take(held, receipts)
            sql_proxy.cut("up", after=sql_proxy.bytes_up - before + 1, how="stall")

        await handler.async_run_in_transaction(insert)
        sql_proxy.heal()
        assert sql_proxy.bytes_up > commit
        assert len(calls) == 2
        assert await numbers(beside) == [1]


@pytest.mark.parametrize("sql_server", ["mysql"], indirect=True)
async def test_mysql_without_a_ledger_says_that_it_does_not_know(sql_proxy: TcpProxy, sql_server: SqlService) -> None:
    async with sql_server.make(port=sql_proxy.port, pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        calls = []

        async def insert(within: SqlHandler) -> None:
            calls.append(1)
            await within.async_execute("INSERT IGNORE INTO t VALUES (1)")
            if len(calls) == 1:
                sql_proxy.cut("down", after=0)

        with no_waits():
            with pytest.raises(OutcomeUnknownError, match="nothing was left by which to tell"):
                await handler.async_run_in_transaction(insert)
            calls.clear()
            await handler.async_run_in_transaction(insert, idempotent=True)
        assert len(calls) == 2
        assert await numbers(handler) == [1]


@pytest.mark.parametrize("when", [1, 3])
async def test_a_server_killed_in_the_midst_of_a_frame_and_started_again(server: DatabaseDaemon, when: int) -> None:
    database = server.new_database()
    kind = postgres_service if server.superuser == "postgres" else mysql_service
    sql_server = kind(database)
    table = pa.table({"n": list(range(40_000))})
    killed: list[int] = []

    def progress(done: int, _: int | None) -> None:
        if done == when * 10_000 and not killed:
            killed.append(done)
            server.kill()
            server.start()

    policy = Resilience(max_retries=5, max_conn_retries=8)
    async with sql_server.make(resilience=policy, **sql_server.ledger) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        written = await handler.async_write_frame(table, "t", batch_rows=10_000, progress=progress)
        assert (written, len(killed)) == (40_000, 1)
        row = await handler.async_fetch_one("SELECT count(*) AS c, count(DISTINCT n) AS d FROM t")
        assert row == {"c": 40_000, "d": 40_000}
