"""What stops statements of MySQL and MariaDB: limits of time, locks, sessions that end."""

from __future__ import annotations

from functools import partial

import pytest

from echo_connhandler import MySqlHandler, Resilience
from echo_connhandler.errors import (
    ConstraintError,
    QueryError,
    TimeoutExceededError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks, async_pause
from tests.servers.daemon import Database
from tests.servers.mariadb import MariaDbServer
from tests.servers.proxy import TcpProxy

from .mysql_handlers import MANY, handler, make, proxy, running, until  # noqa: F401 - some are fixtures

# Stopping statements


async def test_query_timeout_stops_it_on_the_server(mariadb_database: Database) -> None:
    async with make(mariadb_database) as beside, make(mariadb_database, properties={"query_timeout": 0.2}) as handler:
        session = await handler.async_fetch_value("SELECT CONNECTION_ID()")
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        for sql in ("SELECT SLEEP(100)", "INSERT INTO t SELECT SLEEP(100)"):
            with no_waits() as waits, pytest.raises(TimeoutExceededError, match="query_timeout"):
                await handler.async_execute(sql)
            assert not waits
            assert not await running(beside, "SLEEP(100)")
        assert await handler.async_fetch_value("SELECT CONNECTION_ID()") == session


async def test_query_timeout_is_kept_on_a_network_that_stalls(mariadb_database: Database, proxy: TcpProxy) -> None:
    async with make(mariadb_database) as beside:
        properties = {"query_timeout": 0.2, "port": proxy.port, "conn_timeout": 0.5}
        async with make(mariadb_database, properties=properties, max_retries=0) as handler:
            await handler.async_fetch_value("SELECT 1")
            proxy.stall()
            with pytest.raises(TimeoutExceededError, match="given up"):
                await handler.async_fetch_value("SELECT SLEEP(0.1)")
            proxy.heal()
            assert await handler.async_fetch_value("SELECT 1") == 1
        assert await beside.async_fetch_value("SELECT 1") == 1


async def test_reading_slowly_is_no_timeout(mariadb_database: Database) -> None:
    async with make(mariadb_database, properties={"query_timeout": 0.3}) as handler:
        rows = handler.async_iterate(MANY.format(100_000), batch_size=1000)
        count = 0
        async for _ in rows:
            count += 1
            if count == 1000:
                await async_pause(1)
        assert count == 100_000
        with pytest.raises(TimeoutExceededError):
            await handler.async_fetch_value("SELECT SLEEP(10)")


async def test_a_deadline_stops_it_on_the_server(mariadb_database: Database) -> None:
    async with make(mariadb_database) as beside, make(mariadb_database) as handler:
        with pytest.raises(TimeoutExceededError):
            await handler.async_fetch_value("SELECT SLEEP(99)", retry=Resilience(deadline=0.3))
        assert not await running(beside, "SLEEP(99)")
        assert await handler.async_fetch_value("SELECT 1") == 1


# Locks


async def test_a_deadlock_is_begun_anew_as_a_whole(mariadb_database: Database) -> None:
    async with make(mariadb_database) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER)")
        await handler.async_execute("INSERT INTO t VALUES (1, 0), (2, 0)")
        calls: list[int] = []
        reached: set[int] = set()

        async def change(first: int) -> None:
            async def work(within: MySqlHandler) -> None:
                calls.append(first)
                await within.async_execute("UPDATE t SET v = v + 1 WHERE n = :n", {"n": first})
                reached.add(first)
                while len(reached) < 2:
                    await async_pause(0.005)
                await within.async_execute("UPDATE t SET v = v + 1 WHERE n = :n", {"n": 3 - first})

            await handler.async_run_in_transaction(work)

        async with AsyncTasks() as tasks:
            tasks.start(change, 1)
            tasks.start(change, 2)
        assert tasks.results == [None, None]
        assert len(calls) == 3
        assert await handler.async_fetch_all("SELECT v FROM t") == [{"v": 2}, {"v": 2}]


async def test_a_lock_that_is_not_had_in_time_undoes_the_statement_alone(mariadb_database: Database) -> None:
    settings = {"server_settings": {"innodb_lock_wait_timeout": "1"}}
    async with make(mariadb_database) as beside, make(mariadb_database, properties=settings) as handler:
        await beside.async_execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER)")
        await beside.async_execute("INSERT INTO t VALUES (1, 0), (2, 0)")
        async with beside.async_transaction():
            await beside.async_execute("UPDATE t SET v = 1 WHERE n = 1")
            async with handler.async_transaction():
                await handler.async_execute("UPDATE t SET v = 5 WHERE n = 2")
                with pytest.raises(QueryError) as caught:
                    await handler.async_execute("UPDATE t SET v = 5 WHERE n = 1")
                assert caught.value.code == "1205"
        assert await beside.async_fetch_all("SELECT v FROM t ORDER BY n") == [{"v": 1}, {"v": 5}]


async def test_what_would_commit_is_refused_within_a_transaction(handler: MySqlHandler) -> None:
    async with handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        with pytest.raises(QueryError, match="commit"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1)")
                await handler.async_execute("CREATE TABLE u (n INTEGER)")
        assert await handler.async_list_tables() == ["t"]
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1)")
            await handler.async_execute("CREATE TEMPORARY TABLE u (n INTEGER)")
            await handler.async_execute("DROP TEMPORARY TABLE u")


async def test_constraints(handler: MySqlHandler) -> None:
    async with handler:
        await handler.async_execute(
            "CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER NOT NULL, p INTEGER REFERENCES t (n), CHECK (v > 0))"
        )
        for values, code in (
            ("(1, 1, NULL), (1, 1, NULL)", "1062"),
            ("(1, NULL, NULL)", "1048"),
            ("(1, 1, 9)", "1452"),
            ("(1, 0, NULL)", "4025"),
        ):
            with pytest.raises(ConstraintError) as caught:
                await handler.async_execute(f"INSERT INTO t VALUES {values}")
            assert caught.value.code == code
        with pytest.raises(ConstraintError):
            await handler.async_execute("INSERT INTO t (n) VALUES (1)")


async def test_a_server_that_only_reads_is_tried_again_with_a_new_connection(own_mariadb: MariaDbServer) -> None:
    database = own_mariadb.new_database()
    async with make(database, pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER)")
        session = await handler.async_fetch_value("SELECT CONNECTION_ID()")
        own_mariadb.set_read_only(True)
        try:
            with no_waits() as waits, pytest.raises(QueryError, match="only reads"):
                await handler.async_execute("INSERT INTO t VALUES (1)", retry=1)
            assert len(waits) == 1
        finally:
            own_mariadb.set_read_only(False)
        assert await handler.async_execute("INSERT INTO t VALUES (1)") == 1
        assert await handler.async_fetch_value("SELECT CONNECTION_ID()") != session


async def test_a_statement_too_long_for_the_server_is_not_sent(handler: MySqlHandler) -> None:
    async with handler:
        most = await handler.async_fetch_value("SELECT @@max_allowed_packet")
        with pytest.raises(QueryError, match="max_allowed_packet"):
            await handler.async_fetch_value("SELECT LENGTH(:v)", {"v": "x" * most})
        assert await handler.async_fetch_value("SELECT LENGTH(:v)", {"v": "x" * (most // 2)}) == most // 2


async def test_a_session_that_was_killed_is_replaced(mariadb_database: Database) -> None:
    async with make(mariadb_database) as beside, make(mariadb_database, pool_size=1) as handler:
        for _ in range(3):
            session = await handler.async_fetch_value("SELECT CONNECTION_ID()")
            await beside.async_execute(f"KILL {session}")
            await until(partial(gone, beside, session))
            with no_waits() as waits:
                assert await handler.async_fetch_value("SELECT CONNECTION_ID()") != session
            assert not waits


async def gone(beside: MySqlHandler, session: int) -> bool:
    query = "SELECT count(*) FROM information_schema.processlist WHERE id = :n"
    return not await beside.async_fetch_value(query, {"n": session})
