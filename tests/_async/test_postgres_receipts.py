"""What the server tells of a transaction whose COMMIT was lost: the truth, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from echo_connhandler import PgSqlHandler
from echo_connhandler._core.dialects import Query, Receipt, Receipts
from echo_connhandler._core.postgres.receipts import RECEIPTS
from echo_connhandler.errors import ConnectionFailedError
from echo_connhandler.sql import SqlHandler
from tests.concurrency import async_pause
from tests.servers.daemon import Database
from tests.servers.postgres import PostgresServer
from tests.sql_services import postgres_service

INSERT = "INSERT INTO t VALUES (1)"


@pytest.fixture
async def handler(postgres_database: Database) -> AsyncIterator[Any]:
    async with postgres_service(postgres_database).make(pool_size=1) as opened:
        await opened.async_execute("CREATE TABLE t (n int)")
        yield opened


@pytest.fixture
async def beside(postgres_database: Database) -> AsyncIterator[Any]:
    """Another handler, as the one that asks has connections of its own."""
    async with postgres_service(postgres_database).make() as opened:
        yield opened


@pytest.fixture
async def durable(own_postgres: PostgresServer) -> AsyncIterator[Any]:
    """A handler on a server that may be killed."""
    async with postgres_service(own_postgres.new_database()).make(pool_size=1) as opened:
        await opened.async_execute("CREATE TABLE t (n int)")
        yield opened


async def taken(handler: PgSqlHandler) -> Receipt:
    """Take the receipt of the transaction that the caller is in."""
    held = handler._async_joined()
    assert held is not None
    return await handler._async_take(held, RECEIPTS)


async def committed(handler: PgSqlHandler) -> Receipt:
    async with handler.async_transaction():
        await handler.async_execute(INSERT)
        return await taken(handler)


async def asked(handler: SqlHandler, question: Callable[[Receipts], Callable[[Receipt], Query]], of: Receipt) -> Any:
    sql, params = question(RECEIPTS)(of)
    return await handler.async_fetch_value(sql, params)


async def status(handler: SqlHandler, receipt: Receipt) -> Any:
    return await asked(handler, lambda receipts: receipts.status, receipt)


async def test_what_was_committed_and_what_was_undone(handler: PgSqlHandler, beside: PgSqlHandler) -> None:
    assert await status(beside, await committed(handler)) == "committed"
    with pytest.raises(ZeroDivisionError):
        async with handler.async_transaction():
            await handler.async_execute(INSERT)
            undone = await taken(handler)
            raise ZeroDivisionError
    assert await status(beside, undone) == "aborted"


async def test_whether_it_wrote(handler: PgSqlHandler) -> None:
    async with handler.async_transaction():
        await handler.async_fetch_all("SELECT * FROM t")
        before = await taken(handler)
        await handler.async_execute(INSERT)
        after = await taken(handler)
    assert (RECEIPTS.wrote(before), RECEIPTS.wrote(after)) == (False, True)


async def test_a_transaction_in_progress_is_ended_before_it_is_told_of(
    handler: PgSqlHandler, beside: PgSqlHandler
) -> None:
    with pytest.raises(ConnectionFailedError):
        async with handler.async_transaction():
            await handler.async_execute(INSERT)
            open_still = await taken(handler)
            assert await status(beside, open_still) is None
            assert await asked(beside, lambda receipts: receipts.alive, open_still) == 1
            await asked(beside, lambda receipts: receipts.end_session, open_still)
            while await asked(beside, lambda receipts: receipts.alive, open_still):
                await async_pause(0.005)
            assert await status(beside, open_still) == "aborted"
    assert await beside.async_fetch_value("SELECT count(*) FROM t") == 0


async def test_another_session_of_the_same_number_is_left_alone(handler: PgSqlHandler, beside: PgSqlHandler) -> None:
    receipt = await committed(handler)
    assert receipt.row is not None
    xid, pid, _, *history = receipt.row
    other = Receipt(receipt.session, receipt.slot, receipt.mark, (xid, pid, "2001-01-01 00:00:00+00", *history))
    assert await asked(beside, lambda receipts: receipts.alive, other) == 0
    assert await asked(beside, lambda receipts: receipts.end_session, other) is None
    assert await asked(beside, lambda receipts: receipts.alive, receipt) == 1


async def test_a_number_that_was_not_given_yet_tells_nothing(handler: PgSqlHandler, beside: PgSqlHandler) -> None:
    receipt = await committed(handler)
    assert receipt.row is not None
    later = Receipt(receipt.session, "", "", (str(int(receipt.row[0]) + 10**6), *receipt.row[1:]))
    assert await status(beside, later) is None


async def test_a_restart_in_order_changes_nothing(durable: PgSqlHandler, own_postgres: PostgresServer) -> None:
    receipt = await committed(durable)
    own_postgres.stop()
    own_postgres.start()
    assert await status(durable, receipt) == "committed"


async def test_after_a_crash_nothing_wrong_is_told(durable: PgSqlHandler, own_postgres: PostgresServer) -> None:
    kept = await committed(durable)
    with pytest.raises(ConnectionFailedError):
        async with durable.async_transaction():
            number = await durable.async_fetch_value("SELECT pg_current_xact_id()::text")  # leaves no trace on the disk
            lost = await taken(durable)
            own_postgres.kill()
            own_postgres.start()
    assert await status(durable, kept) in (None, "committed")
    assert await durable.async_fetch_value("SELECT count(*) FROM t") == 1
    assert await status(durable, lost) in (None, "aborted")
    for _ in range(3):  # others get its number
        await durable.async_fetch_value("SELECT pg_current_xact_id()::text")
    assert await durable.async_fetch_value("SELECT pg_xact_status(:n::xid8)", {"n": number}) == "committed"
    assert await status(durable, lost) in (None, "aborted")


async def test_another_history_tells_nothing(durable: PgSqlHandler, own_postgres: PostgresServer) -> None:
    receipt = await committed(durable)
    with PostgresServer(standby_of=own_postgres, durable=True) as second:
        second.catch_up()
        properties = {"idle_check": 0.0}
        there = Database(second.host, second.port, second.user, second.password, durable.props.database or "")
        async with postgres_service(there).make(properties=properties) as handler:
            reset = await handler.async_fetch_value("SELECT stats_reset::text FROM pg_stat_bgwriter")
            assert receipt.row is not None
            alike = Receipt(receipt.session, "", "", (*receipt.row[:-1], reset))
            assert [await status(handler, receipt), await status(handler, alike)] == [None, None]
            second.promote()
            assert await handler.async_fetch_value("SELECT count(*) FROM t") == 1
            assert [await status(handler, receipt), await status(handler, alike)] == [None, None]
    assert await status(durable, receipt) == "committed"
