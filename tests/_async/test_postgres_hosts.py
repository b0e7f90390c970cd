"""Several PostgreSQL hosts, a standby and a failover; servers that stop, start or are full."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from echo_connhandler import PgSqlHandler, Resilience, SqlConnProperties
from echo_connhandler.errors import ConnectionFailedError, QueryError
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks, async_pause
from tests.databases import POSTGRES_URL, start_ours
from tests.servers import system
from tests.servers.daemon import Database
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy
from tests.sql_services import postgres_service

ON_STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        yield stack.enter_context(start_ours(PostgresServer(), POSTGRES_URL))


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with PostgresServer(standby_of=primary) as server:
        yield server


def make(*servers: PostgresServer | int, database: str = "postgres", **options: Any) -> PgSqlHandler:
    """Make a handler of several hosts; a number is a port on which nobody answers."""
    ports = [each if isinstance(each, int) else each.port for each in servers]
    known = next(each for each in servers if not isinstance(each, int))
    props = SqlConnProperties(
        host=",".join(f"127.0.0.1:{port}" for port in ports),
        user=known.user,
        password=known.password,
        database=database,
        **options.pop("properties", {}),
    )
    return PgSqlHandler(props, skip_connect=True, pool_size=1, **options)


@pytest.mark.parametrize(
    ("wanted", "on_standby"),
    [
        ("any", True),
        ("read-write", False),
        ("primary", False),
        ("read-only", True),
        ("standby", True),
        ("prefer-standby", True),
    ],
)
async def test_the_host_that_is_wanted_is_found(
    primary: PostgresServer, standby: PostgresServer, wanted: str, on_standby: bool
) -> None:
    both = (primary, standby) if on_standby and wanted != "any" else (standby, primary)
    for hosts in (both, (system.free_port(), *both)):
        async with make(*hosts, properties={"target_session_attrs": wanted}) as handler:
            assert await handler.async_fetch_value(ON_STANDBY) == on_standby


async def test_where_no_host_will_do(primary: PostgresServer, standby: PostgresServer) -> None:
    async with make(system.free_port(), primary, properties={"target_session_attrs": "prefer-standby"}) as handler:
        assert not await handler.async_fetch_value(ON_STANDBY)
    for server, wanted in ((primary, "standby"), (standby, "read-write")):
        handler = make(server, properties={"target_session_attrs": wanted}, resilience=Resilience(max_conn_retries=2))
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match=str(server.port)):
            await handler.async_connect()
        await handler.async_close()
        assert len(waits) == 2  # another may take its place meanwhile


async def test_a_host_that_is_silent_does_not_use_up_the_time_of_the_next(primary: PostgresServer) -> None:
    with TcpProxy(primary.host, primary.port) as proxy:
        proxy.cut("down", after=0, how="stall")
        async with make(proxy.port, primary, properties={"conn_timeout": 1.0}) as handler:
            with no_waits() as waits:
                assert not await handler.async_fetch_value(ON_STANDBY)
            assert not waits
        proxy.heal()


async def test_a_standby_refuses_writes(standby: PostgresServer) -> None:
    async with make(standby) as handler:
        with no_waits() as waits, pytest.raises(QueryError, match="target_session_attrs") as caught:
            await handler.async_execute("CREATE TABLE t (n int)")
        assert (caught.value.code, list(waits)) == ("25006", [])
        assert await handler.async_fetch_value(ON_STANDBY)


async def test_after_a_failover_the_write_takes_effect_once_on_the_new_primary(own_postgres: PostgresServer) -> None:
    database = own_postgres.new_database().database
    with PostgresServer(standby_of=own_postgres, durable=True) as second:
        properties = {"target_session_attrs": "read-write"}
        async with make(second, own_postgres, database=database, properties=properties) as handler:
            await handler.async_execute("CREATE TABLE t (n int)")
            await handler.async_execute("INSERT INTO t VALUES (1)")
            second.catch_up()
            own_postgres.stop()

            def promote(_: object) -> None:
                with second.admin() as admin:
                    waiting = admin.execute(ON_STANDBY).fetchone() == (True,)
                if waiting:
                    second.promote()

            with no_waits() as waits:
                patient = Resilience(before_retry=(promote,))
                handler.resilience, kept = patient, handler.resilience
                await handler.async_execute("INSERT INTO t VALUES (2)")
                handler.resilience = kept
            assert waits
            rows = await handler.async_fetch_all("SELECT n FROM t ORDER BY n")
            assert [row["n"] for row in rows] == [1, 2]
            assert not await handler.async_fetch_value(ON_STANDBY)


async def test_a_server_restarted_between_calls_goes_unnoticed(own_postgres: PostgresServer) -> None:
    database = own_postgres.new_database().database
    async with make(own_postgres, database=database) as handler:
        await handler.async_execute("CREATE TABLE t (n int)")
        for crash in (False, True):
            own_postgres.kill() if crash else own_postgres.stop()
            own_postgres.start()
            with no_waits() as waits:
                await handler.async_execute("INSERT INTO t VALUES (1)")
            assert not waits
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 2


async def test_a_server_that_is_shutting_down_is_asked_again(own_postgres: PostgresServer) -> None:
    handler = make(own_postgres, resilience=Resilience(max_conn_retries=2))
    with own_postgres.admin():
        os.kill(own_postgres.pid, signal.SIGTERM)  # it goes on until this session has ended
        while "smart shutdown" not in own_postgres.log.rpartition("ready to accept connections")[2]:
            await async_pause(0.005)
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match="shutting down"):
            await handler.async_connect()
        assert len(waits) == 2
    await handler.async_close()
    own_postgres.stop()


async def test_a_statement_that_an_administrator_ends_is_begun_anew(postgres_database: Database) -> None:
    service = postgres_service(postgres_database)
    write = "INSERT INTO t SELECT 1 FROM (SELECT pg_sleep(seconds) FROM gate) AS slept"
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' AND query LIKE :write"
    async with service.make() as handler, service.make() as beside:
        await handler.async_execute("CREATE TABLE t AS SELECT 0 AS n")
        await handler.async_execute("CREATE TABLE gate AS SELECT 1000 AS seconds")
        async with AsyncTasks() as tasks:
            tasks.start(handler.async_execute, write)
            while not await beside.async_fetch_value(f"{end} AND wait_event = 'PgSleep'", {"write": f"{write[:40]}%"}):
                await async_pause(0.01)
            await beside.async_execute("UPDATE gate SET seconds = 0")
            # What was begun anew may have read the gate before that.
            await beside.async_fetch_value(end, {"write": f"{write[:40]}%"})
        assert tasks.results == [1]
        assert await beside.async_fetch_value("SELECT count(*) FROM t") == 2


async def test_a_write_that_is_lost_before_it_is_executed_is_repeated(postgres_database: Database) -> None:
    service = postgres_service(postgres_database)
    with TcpProxy(postgres_database.host, postgres_database.port) as proxy:
        async with service.make(port=proxy.port, pool_size=1) as handler:
            await handler.async_execute("CREATE TABLE t (names text[])")
            proxy.cut("down", after=0)  # the answer to the preparing: the server is asked what a list is to be
            with no_waits() as waits:
                await handler.async_execute("INSERT INTO t VALUES (:names)", {"names": ["a"]})
            assert len(waits) == 1
            assert await handler.async_fetch_value("SELECT count(*) FROM t") == 1


async def test_a_connection_whose_other_side_is_gone_is_noticed_by_the_system(primary: PostgresServer) -> None:
    connection = await make(primary)._settings.async_open_connection()
    try:
        raw = connection.raw
        native = getattr(raw, "_transport", None)
        fileno = raw.fileno() if native is None else native.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fileno)) as same:
            options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert [same.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [30, 10, 3]
    finally:
        await connection.aclose()
