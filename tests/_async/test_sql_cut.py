"""A connection cut after every byte of a session, from connecting to committing: right, or a clear error, never twice.

The proxy stands between handler and server. What the server holds is asked past it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from echo_connhandler import Resilience
from echo_connhandler._concurrency import async_bounded
from echo_connhandler.errors import ConnectionFailedError, EchoConnError, OutcomeUnknownError, TransferError
from echo_connhandler.sql import SqlHandler
from echo_connhandler.testing import no_waits
from tests.concurrency import async_pause
from tests.servers.proxy import Direction, TcpProxy
from tests.sql_services import SqlService

PATIENT = Resilience(max_retries=3, max_conn_retries=3)
# All bytes take long: `make cut` tries them, other runs every 37th.
STEP = int(os.environ.get("ECHO_TEST_CUT_STEP", "37"))


async def execute(handler: SqlHandler, mark: int) -> None:
    await handler.async_execute("INSERT INTO t (n) VALUES (:n)", {"n": mark})


async def many(handler: SqlHandler, mark: int) -> None:
    await handler.async_execute_many("INSERT INTO t (n) VALUES (:n)", [{"n": mark}])


async def block(handler: SqlHandler, mark: int) -> None:
    async with handler.async_transaction():
        await handler.async_execute("INSERT INTO t (n) VALUES (:n)", {"n": mark})


async def frame(handler: SqlHandler, mark: int) -> None:
    import pyarrow as pa

    await handler.async_write_frame(pa.table({"n": [mark]}), "t")


async def session(handler: SqlHandler, write: Callable[..., Any], mark: int) -> None:
    async with handler:
        assert await handler.async_fetch_value("SELECT count(*) FROM t WHERE n = :n", {"n": mark}) == 0
        await write(handler, mark)


async def lengths(
    sql_proxy: TcpProxy, sql_server: SqlService, write: Callable[..., Any], direction: Direction
) -> range:
    """Return where a session that is connected begins and ends, in bytes of that direction."""

    def passed() -> int:
        return sql_proxy.bytes_up if direction == "up" else sql_proxy.bytes_down

    before = passed()
    handler = sql_server.make(port=sql_proxy.port, **sql_server.ledger)
    await handler.async_connect()
    connected = passed() - before
    await handler.async_close()
    before = passed()
    await session(sql_server.make(port=sql_proxy.port, **sql_server.ledger), write, -1)
    return range(connected, passed() - before)


class Outcome:
    """What a session with a fault in it came to."""

    def __init__(self) -> None:
        self.error: EchoConnError | None = None

    def check(self, rows: int, *, may_be_unknown: bool) -> None:
        if self.error is None:
            assert rows == 1
        elif isinstance(self.error, OutcomeUnknownError):
            assert may_be_unknown
            assert rows in (0, 1)
        else:
            assert isinstance(self.error, ConnectionFailedError | TransferError), self.error
            assert rows == 0


async def tried(
    sql_server: SqlService,
    sql_proxy: TcpProxy,
    write: Callable[..., Any],
    mark: int,
    policy: Resilience,
    **options: Any,
) -> Outcome:
    outcome = Outcome()
    try:
        with no_waits():
            with async_bounded(30):
                await session(sql_server.make(port=sql_proxy.port, resilience=policy, **options), write, mark)
    except EchoConnError as error:
        outcome.error = error
    return outcome


async def settled(beside: SqlHandler, mark: int) -> int:
    count: int = await beside.async_fetch_value("SELECT count(*) FROM t WHERE n = :n", {"n": mark})
    return count


async def sessions(beside: SqlHandler, sql_server: SqlService) -> int:
    """Return how many sessions the server has for the database, once those that were cut have ended."""
    view = {
        "postgres": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()",
    }[sql_server.name]
    for _ in range(500):
        count: int = await beside.async_fetch_value(view)
        if count == 1:
            break
        await async_pause(0.01)
    return count


@pytest.mark.exhaustive
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.timeout(300)
async def test_cut_at_every_byte_of_connecting(
    sql_server: SqlService, sql_proxy: TcpProxy, direction: Direction
) -> None:
    async with sql_server.make(pool_size=1) as beside:
        await beside.async_execute("CREATE TABLE t (n INTEGER)")
        connecting = range(0, (await lengths(sql_proxy, sql_server, execute, direction)).start, STEP)
        for mark, after in enumerate(connecting):
            sql_proxy.cut(direction, after=after, how="reset" if mark % 2 else "close")
            outcome = await tried(sql_server, sql_proxy, execute, mark, PATIENT)
            assert outcome.error is None, (direction, after)
            assert await settled(beside, mark) == 1
            assert sql_proxy.fired == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("write", [execute, many, block, frame], ids=lambda write: write.__name__)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.timeout(300)
async def test_cut_at_every_byte_of_reading_and_writing(
    sql_server: SqlService, sql_proxy: TcpProxy, write: Callable[..., Any], direction: Direction
) -> None:
    async with sql_server.make(pool_size=1) as beside:
        await beside.async_execute("CREATE TABLE t (n INTEGER)")
        connected = await lengths(sql_proxy, sql_server, write, direction)
        for mark, after in enumerate(connected[::STEP]):
            sql_proxy.cut(direction, after=after, how="reset" if mark % 2 else "close")
            outcome = await tried(sql_server, sql_proxy, write, mark, PATIENT, **sql_server.ledger)
            outcome.check(await settled(beside, mark), may_be_unknown=write is execute)
            if write in (many, frame):  # repeated as a whole: one cut is no failure
                assert outcome.error is None, (direction, after)
        assert await sessions(beside, sql_server) == 1
