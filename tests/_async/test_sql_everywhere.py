"""What every SQL handler promises, tried on every database by one source."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from echo_connhandler import Resilience
from echo_connhandler.errors import (
    ConstraintError,
    HandlerClosedError,
    InvalidRequestError,
    ParameterError,
    QueryError,
    TimeoutExceededError,
)
from echo_connhandler.sql import SqlHandler
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.sql_services import SqlService

NAMES = [
    "plain",
    "Two Words",
    'quo"te',
    "back`tick",
    "semi;colon",
    "per%cent",
    "que?stion",
    ":colon",
    "naïve-Ω",
    "select",
]


async def with_table(handler: SqlHandler, service: SqlService, rows: int = 0) -> None:
    await handler.async_execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {service.text} NOT NULL)")
    await handler.async_execute_many(
        "INSERT INTO t (id, v) VALUES (:id, :v)", [{"id": n, "v": f"v{n}"} for n in range(1, rows + 1)]
    )


async def ids(handler: SqlHandler) -> list[int]:
    return [row["id"] for row in await handler.async_fetch_all("SELECT id FROM t ORDER BY id")]


def frame(rows: int, text: str = "v") -> pa.Table:
    numbers = range(1, rows + 1)
    return pa.table({"id": pa.array(numbers, pa.int64()), "v": pa.array([f"{text}{n}" for n in numbers], pa.string())})


async def test_statements_and_rows(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 3)
        assert await handler.async_fetch_one("SELECT * FROM t WHERE id = :id", {"id": 2}) == {"id": 2, "v": "v2"}
        assert await handler.async_fetch_one("SELECT * FROM t WHERE id = :id", {"id": 9}) is None
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 3
        assert await handler.async_execute("UPDATE t SET v = :v WHERE id <> :id", {"v": "x", "id": 1}) == 2
        assert await handler.async_execute("DELETE FROM t WHERE id = :id", {"id": 9}) == 0
        assert await handler.async_fetch_all("SELECT id, v FROM t WHERE v = :v ORDER BY id", {"v": "x"}) == [
            {"id": 2, "v": "x"},
            {"id": 3, "v": "x"},
        ]
        rows = [row async for row in handler.async_iterate("SELECT id FROM t ORDER BY id", batch_size=2)]
        assert rows == [{"id": 1}, {"id": 2}, {"id": 3}]
        assert await handler.async_ping()


async def test_a_name_may_stand_twice_and_beside_what_looks_like_one(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 2)
        text = "SELECT id, ':no' AS a, '100%' AS b FROM t -- :nor this\n WHERE id = :id OR id = :id"
        assert await handler.async_fetch_all(text, {"id": 1}) == [{"id": 1, "a": ":no", "b": "100%"}]
        assert await handler.async_fetch_value("SELECT '100%'") == "100%"


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE t; --",
        "\\'; DROP TABLE t; --",
        "%s %(a)s $1 ? :x",
        "\\",
        "''",
        '"',
        "\n\r\t\x1a",
        "Ω 🌬 é",
        " " * 50,
    ],
)
async def test_values_are_never_sql(sql_service: SqlService, text: str) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service)
        await handler.async_execute("INSERT INTO t (id, v) VALUES (1, :v)", {"v": text})
        assert await handler.async_fetch_value("SELECT v FROM t WHERE v = :v", {"v": text}) == text
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 1


@pytest.mark.parametrize("name", NAMES)
async def test_names_are_never_sql(sql_service: SqlService, name: str) -> None:
    table = pa.table({"id": [1, 2], name: ["a", "b"]})
    async with sql_service.make() as handler:
        assert await handler.async_write_frame(table, name, mode="create", keys=["id"]) == 2
        assert await handler.async_write_frame(table, name, mode="upsert", keys=["id"]) == 2
        assert await handler.async_table_exists(name)
        assert await handler.async_list_tables() == [name]
        assert [column.name for column in await handler.async_describe_table(name)] == ["id", name]
        await handler.async_write_frame(table, name, mode="replace")
        assert await handler.async_list_tables() == [name]


async def test_execute_many_and_scripts_are_all_or_nothing(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 1)
        with pytest.raises(ConstraintError):
            await handler.async_execute_many("INSERT INTO t (id, v) VALUES (:id, 'x')", [{"id": 5}, {"id": 1}])
        with pytest.raises(ConstraintError):
            await handler.async_execute_script("INSERT INTO t VALUES (6, 'x'); INSERT INTO t VALUES (1, ';')")
        assert await ids(handler) == [1]
        assert await handler.async_execute_script("INSERT INTO t VALUES (2, ';'); UPDATE t SET v = 'y';") == 3


async def test_what_is_wrong_is_told_at_once(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        with no_waits() as waits:
            with pytest.raises(QueryError) as caught:
                await handler.async_fetch_all("SELECT a FROM nowhere")
            with pytest.raises(ParameterError, match=":b"):
                await handler.async_execute("SELECT :a, :b", {"a": 1})
            with pytest.raises(QueryError, match=r"transaction\(\)"):
                await handler.async_execute("COMMIT")
            with pytest.raises(QueryError, match="same name|several columns"):
                await handler.async_fetch_all("SELECT 1 AS a, 2 AS a")
            with pytest.raises(QueryError, match="same name"):
                await handler.async_read_to_arrow("SELECT 1 AS a, 2 AS a")
        assert "nowhere" in str(caught.value)
        assert caught.value.code
        assert not waits
        assert await handler.async_fetch_value("SELECT 1") == 1


async def test_transactions_commit_or_undo_and_nest(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1, 'a')")
            with pytest.raises(ZeroDivisionError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (2, 'b')")
                    raise ZeroDivisionError
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (3, 'c')")
        with pytest.raises(ZeroDivisionError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (4, 'd')")
                raise ZeroDivisionError
        assert await ids(handler) == [1, 3]


async def test_a_statement_that_fails_in_a_transaction_is_undone_alone_in_a_savepoint(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 1)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (2, 'b')")
            with pytest.raises(ConstraintError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (1, 'a')")
            await handler.async_execute("INSERT INTO t VALUES (3, 'c')")
        assert await ids(handler) == [1, 2, 3]


async def test_a_read_only_transaction_sees_one_state(sql_service: SqlService) -> None:
    async with sql_service.make() as handler, sql_service.make() as other:
        await with_table(handler, sql_service, 1)
        async with handler.async_transaction(read_only=True):
            assert await ids(handler) == [1]
            await other.async_execute("INSERT INTO t VALUES (2, 'b')")
            assert await ids(handler) == [1]
        assert await ids(handler) == [1, 2]


async def test_run_in_transaction_gives_what_the_function_gives(sql_service: SqlService) -> None:
    async def work(within: SqlHandler) -> int:
        await within.async_execute("INSERT INTO t VALUES (7, 'x')")
        value: int = await within.async_fetch_value("SELECT max(id) FROM t")
        return value

    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 3)
        assert await handler.async_run_in_transaction(work) == 7
        assert await ids(handler) == [1, 2, 3, 7]


@pytest.mark.parametrize("rows", [0, 1, 1234])
async def test_every_mode_writes_a_frame(sql_service: SqlService, rows: int) -> None:
    async with sql_service.make() as handler:
        seen: list[tuple[int, int | None]] = []
        count = await handler.async_write_frame(
            frame(rows), "t", mode="create", keys=["id"], batch_rows=500, progress=lambda *p: seen.append(p)
        )
        assert count == rows
        assert seen[-1] == (rows, rows)
        assert seen == sorted(seen)
        more = frame(rows + 2, "new")
        assert await handler.async_write_frame(more, "t", mode="ignore", keys=["id"]) == 2
        assert await handler.async_fetch_value("SELECT count(*) FROM t WHERE v LIKE 'new%'") == 2
        assert await handler.async_write_frame(more, "t", mode="upsert", keys=["id"]) == rows + 2
        assert await handler.async_fetch_value("SELECT count(*) FROM t WHERE v LIKE 'new%'") == rows + 2
        assert await handler.async_write_frame(frame(2), "t", mode="truncate") == 2
        later = pa.table({"id": [8, 9], "v": ["h", "i"]})
        assert await handler.async_write_frame(later, "t") == 2
        assert await ids(handler) == [1, 2, 8, 9]
        assert await handler.async_write_frame(frame(3, "z"), "t", mode="replace", keys=["id"]) == 3
        got = await handler.async_read_to_arrow("SELECT * FROM t ORDER BY id")
        assert got.to_pydict() == frame(3, "z").to_pydict()


@pytest.mark.parametrize("mode", ["append", "truncate", "upsert", "ignore", "replace"])
async def test_a_bad_row_at_the_end_leaves_everything_as_it_was(sql_service: SqlService, mode: Any) -> None:
    bad = pa.table({"id": [*range(10, 2000), 1, 1], "v": ["x"] * 1992})
    keys = [] if mode in ("append", "truncate") else ["id"]
    async with sql_service.make() as handler:
        await handler.async_write_frame(frame(3), "t", mode="create", keys=["id"])
        with pytest.raises((ConstraintError, InvalidRequestError)):
            await handler.async_write_frame(bad, "t", mode=mode, keys=keys, batch_rows=700)
        assert await ids(handler) == [1, 2, 3]
        assert await handler.async_list_tables() == ["t"]


async def test_what_does_not_fit_the_table_is_refused_with_a_reason(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await with_table(handler, sql_service, 1)
        with pytest.raises(InvalidRequestError, match="'extra'"):
            await handler.async_write_frame(pa.table({"id": [5], "extra": [1]}), "t")
        with pytest.raises(QueryError, match="create"):
            await handler.async_write_frame(frame(1), "nowhere")
        with pytest.raises(QueryError):
            await handler.async_write_frame(frame(1), "t", mode="create")
        with pytest.raises(ConstraintError):
            await handler.async_write_frame(pa.table({"id": [5], "v": pa.array([None], pa.string())}), "t")
        assert await ids(handler) == [1]


async def test_frames_keep_their_types(sql_service: SqlService) -> None:
    moment = dt.datetime(2026, 11, 20, 12, 30, 15, 123456)
    table = pa.table(
        {
            "i": pa.array([1, None, 2**62], pa.int64()),
            "f": pa.array([0.1, None, -1e300], pa.float64()),
            "s": pa.array(["a", None, ""], pa.string()),
            "d": pa.array([Decimal("1.10"), None, Decimal("-99999999.99")], pa.decimal128(12, 2)),
            "b": pa.array([b"\x00\xff", None, b""], pa.binary()),
            "day": pa.array([dt.date(2026, 2, 28), None, dt.date(1, 1, 1)], pa.date32()),
            "at": pa.array([moment, None, dt.datetime(1999, 1, 1)], pa.timestamp("us")),
        }
    )
    async with sql_service.make() as handler:
        await handler.async_write_frame(table, "x", mode="create")
        got = await handler.async_read_to_arrow("SELECT * FROM x")
        assert got.to_pydict() == table.to_pydict()
        assert [str(kind) for kind in got.schema.types] == [str(kind) for kind in table.schema.types]
        empty = await handler.async_read_to_arrow("SELECT * FROM x WHERE i = :i", {"i": -5})
        assert (empty.num_rows, empty.schema.types) == (0, got.schema.types)
        data = await handler.async_read_to_pandas("SELECT * FROM x")
        assert str(data["i"].dtype) == "Int64"
        assert data["i"].tolist()[2] == 2**62
        assert (await handler.async_read_to_polars("SELECT i FROM x")).height == 3


async def test_reading_goes_on_while_other_calls_are_made(sql_service: SqlService) -> None:
    async with sql_service.make() as handler:
        await handler.async_write_frame(frame(3000), "t", mode="create", keys=["id"])
        await handler.async_execute(f"CREATE TABLE copy (id INTEGER, v {sql_service.text})")
        read = 0
        async for batch in handler.async_iter_arrow("SELECT * FROM t ORDER BY id", batch_rows=500):
            read += await handler.async_write_frame(batch, "copy")
        assert read == 3000
        total = 0
        async for row in handler.async_iterate("SELECT id FROM t ORDER BY id", batch_size=1000):
            total += row["id"]
            if row["id"] % 1000 == 1:
                await handler.async_execute("DELETE FROM copy WHERE id = :id", row)
        assert total == 3000 * 3001 // 2
        assert await handler.async_fetch_value("SELECT count(*) FROM copy") == 2997
        async with handler.async_transaction():
            async for batch in handler.async_iter_arrow("SELECT * FROM t ORDER BY id", batch_rows=1000):
                await handler.async_execute("DELETE FROM copy WHERE id = :id", {"id": batch["id"][5].as_py()})
        assert await handler.async_fetch_value("SELECT count(*) FROM copy") == 2994


async def test_reading_may_be_left_early(sql_service: SqlService) -> None:
    async with sql_service.make(pool_size=1) as handler:
        query = sql_service.many.format(count=200_000)
        for _ in range(3):
            async for row in handler.async_iterate(query, batch_size=10):
                assert row["n"] == 1
                break
            async for batch in handler.async_iter_arrow(query, batch_rows=10):
                assert batch.num_rows == 10
                break
        assert await handler.async_fetch_value("SELECT 1") == 1


async def test_many_at_once_lose_and_double_nothing(sql_service: SqlService) -> None:
    async with sql_service.make(pool_size=4) as handler:
        await with_table(handler, sql_service)

        async def add(number: int) -> None:
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t (id, v) VALUES (:id, 'x')", {"id": number})

        async with AsyncTasks() as tasks:
            for number in range(24):
                tasks.start(add, number)
        assert tasks.results == [None] * 24
        assert await ids(handler) == list(range(24))


async def test_a_timeout_stops_the_statement_and_is_not_retried(sql_service: SqlService) -> None:
    handler = sql_service.make(properties={"query_timeout": 0.2}, pool_size=1)
    async with handler:
        with no_waits() as waits:
            with pytest.raises(TimeoutExceededError, match="query_timeout"):
                await handler.async_fetch_all(sql_service.endless)
        assert not waits
        assert await handler.async_fetch_value("SELECT 1") == 1


async def iterate(handler: SqlHandler, sql: str) -> None:
    async for _ in handler.async_iterate(sql):
        pass


async def iter_arrow(handler: SqlHandler, sql: str) -> None:
    async for _ in handler.async_iter_arrow(sql):
        pass


@pytest.mark.parametrize("read", [SqlHandler.async_fetch_all, SqlHandler.async_read_to_arrow, iterate, iter_arrow])
async def test_a_deadline_stops_the_statement(sql_service: SqlService, read: Callable[..., Any]) -> None:
    async with sql_service.make(resilience=Resilience(deadline=0.3), pool_size=1) as handler:
        with pytest.raises(TimeoutExceededError, match="deadline"):
            await read(handler, sql_service.endless)
        assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_deadline_stops_the_writing_of_a_frame(sql_service: SqlService) -> None:
    # SQLite tells at once that another holds the lock; there's no statement to be stopped.
    expected = QueryError if sql_service.name == "sqlite" else TimeoutExceededError
    properties = {"busy_timeout": 0} if sql_service.name == "sqlite" else {}
    async with sql_service.make() as other, sql_service.make(properties=properties, pool_size=1) as handler:
        await with_table(handler, sql_service)
        async with other.async_transaction():
            await other.async_execute("INSERT INTO t VALUES (1, 'mine')")
            with pytest.raises(expected):
                await handler.async_write_frame(frame(2), "t", retry=Resilience(deadline=0.3))
        assert await ids(handler) == [1]


async def test_close_and_open_again_and_travel(sql_service: SqlService) -> None:
    handler = sql_service.make()
    async with handler:
        await with_table(handler, sql_service, 2)
        assert handler.async_is_connected
    with pytest.raises(HandlerClosedError):
        await handler.async_fetch_value("SELECT 1")
    await handler.async_connect()
    assert await ids(handler) == [1, 2]
    async with pickle.loads(pickle.dumps(handler)) as twin:
        assert await ids(twin) == [1, 2]
    await handler.async_reconnect()
    assert await ids(handler) == [1, 2]
    await handler.async_close()
