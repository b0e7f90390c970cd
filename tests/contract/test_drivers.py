"""What `_drivers/protocol.py` asks of a driver, asked of each one. A new database is a row in `MATRIX`."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import asyncpg
import psycopg
import pymysql
import pytest

from echo_connhandler import SqlConnProperties, SqlLiteConnProperties
from echo_connhandler._drivers.protocol import AsyncSqlConnection
from echo_connhandler._drivers.registry import SqlSettings
from echo_connhandler._drivers.threaded import ThreadedConnection, worker_hop
from echo_connhandler.errors import ConnectionFailedError, ParameterError, TimeoutExceededError
from tests.concurrency import lasting_threads
from tests.servers.daemon import Database


@dataclass(frozen=True)
class Service:
    """One database: how to connect, and the words for what the tests need."""

    settings: Callable[[pytest.FixtureRequest], SqlSettings]
    mark: str
    endless: str
    refused: str
    error: type[Exception] | tuple[type[Exception], ...]
    create: str = "CREATE TABLE t (n INTEGER PRIMARY KEY, v VARCHAR(20))"


def sqlite_file(request: pytest.FixtureRequest) -> SqlSettings:
    path = request.getfixturevalue("tmp_path") / "x.db"
    return SqlSettings("sqlite", SqlLiteConnProperties(path=path), str(path), "test")


def sqlite_memory(request: pytest.FixtureRequest) -> SqlSettings:
    name = request.getfixturevalue("tmp_path").name
    return SqlSettings("sqlite", SqlLiteConnProperties(path=":memory:"), name, "test")


def server(driver: str, fixture: str) -> Callable[[pytest.FixtureRequest], SqlSettings]:
    def settings(request: pytest.FixtureRequest) -> SqlSettings:
        made: Database = request.getfixturevalue(fixture)
        props = SqlConnProperties(
            host=made.host, port=made.port, user=made.user, password=made.password, database=made.database
        )
        return SqlSettings(driver, props, "test", "test")

    return settings


MATRIX = {
    "sqlite-file": Service(
        settings=sqlite_file,
        mark="?",
        endless="WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        refused="SELEC 1",
        error=sqlite3.OperationalError,
    ),
    "sqlite-memory": Service(
        settings=sqlite_memory,
        mark="?",
        endless="WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        refused="SELEC 1",
        error=sqlite3.OperationalError,
    ),
    "postgres": Service(
        settings=server("postgres", "postgres_database"),
        mark="$1",
        endless="SELECT pg_sleep(1000)",
        refused="SELEC 1",
        error=(psycopg.Error, asyncpg.PostgresError),
    ),
    "mariadb": Service(
        settings=server("mysql", "mariadb_database"),
        mark="%s",
        endless="SELECT SLEEP(1000)",
        refused="SELEC 1",
        error=pymysql.err.DatabaseError,
    ),
}


@pytest.fixture(params=MATRIX)
def service(request: pytest.FixtureRequest) -> Service:
    return MATRIX[request.param]


class Blocking:
    """A blocking connection with the twin's shape, so that one test serves both."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        if name in ("raw", "dead", "in_transaction", "columns", "limit"):
            return getattr(self.blocking, name)
        found = getattr(self.blocking, {"aclose": "close"}.get(name, name))

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            return Blocking(result) if name == "open" else result

        return call


async def blocking(settings: SqlSettings) -> AsyncSqlConnection:
    return Blocking(settings.open_connection())


async def in_a_thread(settings: SqlSettings) -> AsyncSqlConnection:
    return ThreadedConnection(settings.open_connection(), worker_hop())


# On asyncio `async_open_connection` gives the native driver, on trio the blocking one in threads.
OPEN = {"blocking": blocking, "threaded": in_a_thread, "registry": SqlSettings.async_open_connection}
TASKS = ("threaded", "registry")  # those whose calls can be cancelled


@pytest.fixture(params=OPEN)
def connect(request: pytest.FixtureRequest, service: Service) -> Any:
    settings = service.settings(request)

    @asynccontextmanager
    async def connecting() -> AsyncIterator[AsyncSqlConnection]:
        connection = await OPEN[request.param](settings)
        try:
            yield connection
        finally:
            await connection.aclose()

    return connecting


async def test_run_gives_columns_rows_and_rows_affected(connect: Any, service: Service) -> None:
    async with connect() as connection:
        assert (await connection.run(service.create, ())).affected == 0
        inserted = await connection.run(f"INSERT INTO t VALUES ({service.mark}, 'a'), (2, 'b')", (1,))
        assert (inserted.columns, inserted.rows, inserted.affected) == ((), [], 2)
        answer = await connection.run("SELECT n, v FROM t ORDER BY n", ())
        assert (answer.columns, answer.rows, answer.affected) == (("n", "v"), [(1, "a"), (2, "b")], 0)
        assert (await connection.run("SELECT n FROM t WHERE n > 9", ())).rows == []
        assert (await connection.run("UPDATE t SET v = 'c'", ())).affected == 2


async def test_run_gives_at_most_so_many_rows_and_ends_the_query(connect: Any, service: Service) -> None:
    async with connect() as connection:
        await connection.run(service.create, ())
        await connection.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", ())
        assert (await connection.run("SELECT n FROM t ORDER BY n", (), 1)).rows == [(1,)]
        await connection.run("DROP TABLE t", ())


async def test_run_many_gives_the_rows_affected(connect: Any, service: Service) -> None:
    async with connect() as connection:
        await connection.run(service.create, ())
        insert = f"INSERT INTO t VALUES ({service.mark}, {service.mark.replace('1', '2')})"
        assert await connection.run_many(insert, ((n, "x") for n in range(5))) == 5
        assert await connection.run_many(insert, [(5, None)], adapted=True) == 1
        assert await connection.run_many(insert, []) == 0
        assert (await connection.run("SELECT count(*) FROM t", ())).rows == [(6,)]


async def test_open_reads_in_batches_beside_other_statements(connect: Any, service: Service) -> None:
    async with connect() as connection:
        await connection.run(service.create, ())
        await connection.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", ())
        cursor = await connection.open(f"SELECT n FROM t WHERE n < {service.mark} ORDER BY n", (9,))
        assert cursor.columns == ("n",)
        assert await cursor.fetch(2) == [(1,), (2,)]
        assert (await connection.run("SELECT count(*) FROM t", ())).rows == [(3,)]
        assert await cursor.fetch(2) == [(3,)]
        assert await cursor.fetch(2) == []
        await cursor.aclose()
        early = await connection.open("SELECT n FROM t", ())
        await early.fetch(1)
        await early.aclose()
        await connection.run("DROP TABLE t", ())


async def test_a_statement_is_on_its_own_unless_a_transaction_is_begun(connect: Any, service: Service) -> None:
    async with connect() as connection:
        await connection.run(service.create, ())
        await connection.run("INSERT INTO t VALUES (1, 'a')", ())
        assert not connection.in_transaction
        await connection.run("BEGIN", ())
        await connection.run("INSERT INTO t VALUES (2, 'b')", ())
        assert connection.in_transaction
        await connection.run("ROLLBACK", ())
        assert not connection.in_transaction
        assert (await connection.run("SELECT n FROM t", ())).rows == [(1,)]


async def test_the_librarys_own_error_comes_through_and_the_connection_goes_on(connect: Any, service: Service) -> None:
    async with connect() as connection:
        with pytest.raises(service.error):
            await connection.run(service.refused, ())
        with pytest.raises(service.error):
            await connection.open(service.refused, ())
        with pytest.raises(service.error):
            await connection.run_many(service.refused, [()])
        with pytest.raises(ParameterError):
            await connection.run(f"SELECT {service.mark}", (object(),))
        assert (await connection.run("SELECT 1", ())).rows == [(1,)]


async def test_a_closed_connection_is_dead(connect: Any, service: Service) -> None:
    async with connect() as connection:
        assert not connection.dead
        await connection.ping()
        assert connection.raw is not None
        await connection.run("BEGIN", ())
        await connection.aclose()
        await connection.aclose()
        assert connection.dead
        assert not connection.in_transaction
        with pytest.raises(ConnectionFailedError):
            await connection.run("SELECT 1", ())
        with pytest.raises(ConnectionFailedError):
            await connection.run_many("DELETE FROM t", [()])
        with pytest.raises(ConnectionFailedError):
            await connection.open("SELECT 1", ())
        with pytest.raises(ConnectionFailedError):
            await connection.ping()


async def test_closing_undoes_what_was_not_committed(connect: Any, service: Service) -> None:
    async with connect() as keeper:
        await keeper.run(service.create, ())
        async with connect() as connection:
            await connection.run("BEGIN", ())
            await connection.run("INSERT INTO t VALUES (1, 'a')", ())
        assert (await keeper.run("SELECT * FROM t", ())).rows == []


@pytest.mark.parametrize("connect", TASKS, indirect=True)
async def test_cancelling_a_task_stops_its_statement(connect: Any, service: Service) -> None:
    async with connect() as connection:
        for _ in range(3):
            with anyio.move_on_after(0.02) as scope:
                await connection.run(service.endless, ())
            assert scope.cancelled_caught
            with anyio.fail_after(1):
                assert (await connection.run("SELECT 1", ())).rows == [(1,)]
        assert not connection.dead


@pytest.mark.parametrize("connect", TASKS, indirect=True)
async def test_calls_of_a_connection_take_turns(connect: Any, service: Service) -> None:
    async with connect() as connection:
        with anyio.move_on_after(0.05) as scope:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):  # the first runs, the others wait in line: none may begin when all are cancelled
                    tasks.start_soon(connection.run, service.endless, ())
        assert scope.cancelled_caught
        with anyio.fail_after(1):
            assert (await connection.run("SELECT 1", ())).rows == [(1,)]


async def test_a_limit_stops_statements_until_it_is_lifted(connect: Any, service: Service) -> None:
    async with connect() as connection:
        connection.limit(0.05)
        with pytest.raises(TimeoutExceededError):
            await connection.run(service.endless, ())
        connection.limit(None)
        assert (await connection.run("SELECT 1", ())).rows == [(1,)]
        assert not connection.dead


@contextmanager
def until_it_ends(action: Callable[[], object]) -> Any:
    """Repeat an action from another thread while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(0.005):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_cancel_comes_from_any_thread(service: Service, request: pytest.FixtureRequest) -> None:
    connection = service.settings(request).open_connection()
    connection.cancel()  # with nothing to stop
    began = time.monotonic()
    with until_it_ends(connection.cancel), pytest.raises(service.error):
        connection.run(service.endless, ())
    assert time.monotonic() - began < 1
    assert connection.run("SELECT 1", ()).rows == [(1,)]
    connection.close()
    connection.cancel()


def test_close_comes_from_any_thread_and_waits_for_no_statement(
    service: Service, request: pytest.FixtureRequest
) -> None:
    connection = service.settings(request).open_connection()
    connection.run(service.create, ())
    errors: list[Exception] = []
    begun = threading.Event()

    def work() -> None:
        try:
            for n in range(10**9):
                connection.run(f"INSERT INTO t VALUES ({service.mark}, 'x')", (n,))
                begun.set()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(5)
    connection.close()
    thread.join(5)
    assert [type(error) for error in errors] == [ConnectionFailedError]


async def test_nothing_is_left_of_connections_that_were_closed(connect: Any, service: Service) -> None:
    before = lasting_threads()
    for _ in range(5):
        async with connect() as connection:
            await connection.run("SELECT 1", ())
    gc.collect()
    with anyio.fail_after(5):
        while len(lasting_threads()) > len(before):
            await anyio.sleep(0.001)
