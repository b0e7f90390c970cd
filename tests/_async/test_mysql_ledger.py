"""The ledger, by which MySQL's and MariaDB's lost commits are found out."""

from __future__ import annotations

from typing import Any

import pytest

from echo_connhandler import MySqlHandler
from echo_connhandler._core.dialects import Receipt
from echo_connhandler.errors import (
    QueryError,
)
from tests.servers.daemon import Database

from .mysql_handlers import make, until


async def test_the_ledger_tells_what_was_committed(mariadb_database: Database) -> None:
    async with make(mariadb_database, commit_ledger="my `ledger` 100%") as handler, make(mariadb_database) as beside:
        receipts = handler._dialect.receipts
        assert receipts is not None
        for n, (kept, outcome) in enumerate([(True, "committed"), (False, "aborted"), (True, "committed")]):
            session = await handler.async_fetch_value("SELECT CONNECTION_ID()")
            receipt = Receipt(session, "slot", f"{n:032}")
            try:
                async with handler.async_transaction():
                    await handler.async_execute(*receipts.take(receipt))
                    if not kept:
                        raise LookupError
            except LookupError:
                pass
            assert await ask(beside, receipts.alive(receipt)) == 1
            assert await ask(beside, receipts.status(receipt)) == outcome
        await beside.async_execute(*receipts.end_session(receipt))
        await until(lambda: dead(beside, receipts.alive(receipt)))
        with pytest.raises(QueryError, match="1094"):
            await beside.async_execute(*receipts.end_session(receipt))
        assert await ask(beside, receipts.status(receipt)) == "committed"
        assert await beside.async_fetch_value("SELECT 1") == 1


async def ask(handler: MySqlHandler, query: tuple[str, tuple[Any, ...]]) -> Any:
    return await handler.async_fetch_value(*query)


async def dead(handler: MySqlHandler, query: tuple[str, tuple[Any, ...]]) -> bool:
    return not await ask(handler, query)


async def test_old_rows_of_the_ledger_are_removed(mariadb_database: Database) -> None:
    async with make(mariadb_database) as beside:
        async with make(mariadb_database, commit_ledger="led") as first:
            async with first.async_transaction():
                await first.async_execute("DO 1")
            held = await beside.async_fetch_value("SELECT slot FROM led")
            await beside.async_execute("UPDATE led SET at = at - INTERVAL 2 DAY")
            await beside.async_execute(
                "INSERT INTO led VALUES ('old', :m, UTC_TIMESTAMP() - INTERVAL 2 DAY)", {"m": "x"}
            )
            await beside.async_execute("INSERT INTO led VALUES ('new', 'x', UTC_TIMESTAMP())")
            async with make(mariadb_database, commit_ledger="led") as second:
                async with second.async_transaction():
                    await second.async_execute("DO 1")
                slots = [row["slot"] for row in await beside.async_fetch_all("SELECT slot FROM led")]
        assert held in slots
        assert "new" in slots
        assert "old" not in slots
