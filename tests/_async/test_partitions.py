"""Queries read in parts, by this process and by others that only get a pickle."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import pyarrow as pa
import pytest

from echo_connhandler.errors import InvalidRequestError, QueryError
from tests.processes import read_elsewhere
from tests.sql_services import SqlService

START = dt.datetime(2024, 1, 1)


@pytest.fixture
async def handler(sql_service: SqlService) -> Any:
    async with sql_service.make() as opened:
        frame = pa.table(
            {
                "n": pa.array([None if n % 10 == 0 else n for n in range(100)], pa.int64()),
                "ts": pa.array([START + dt.timedelta(hours=n) for n in range(100)], pa.timestamp("us")),
                "name": pa.array([f"turbine {n % 7}" for n in range(100)]),
                "id": pa.array(range(100), pa.int64()),
            }
        )
        await opened.async_write_frame(frame, "t", mode="create")
        yield opened


@pytest.mark.parametrize("column", ["n", "ts", "id"])
@pytest.mark.parametrize("partitions", [1, 3, 500])
async def test_each_row_is_in_one_partition(handler: Any, column: str, partitions: int) -> None:
    parts = await handler.async_read_partitioned("SELECT * FROM t", column, partitions)
    assert 1 <= len(parts) <= (partitions if column == "ts" else min(partitions, 100))
    tables = [await part.async_read_to_arrow() for part in parts[:5]]
    if partitions <= 3:
        assert len(parts) == partitions
        whole = pa.concat_tables(tables).sort_by("id")
        assert whole.equals((await handler.async_read_to_arrow("SELECT * FROM t ORDER BY id")).combine_chunks())
        assert all(20 < table.num_rows < 50 or partitions == 1 for table in tables)


async def test_parameters_and_order_go_with_the_query(handler: Any) -> None:
    sql = "SELECT id, n AS k FROM t WHERE name = :name;"
    parts = await handler.async_read_partitioned(sql, "k", 2, {"name": "turbine 3"})
    frames = [await part.async_read_to_pandas() for part in parts]
    polars = [await part.async_read_to_polars() for part in parts]
    expected = [n for n in range(100) if n % 7 == 3]
    assert sorted(value for frame in frames for value in frame["id"]) == expected
    assert sorted(value for frame in polars for value in frame["id"]) == expected
    assert len(parts) == 2


async def test_an_empty_result_is_one_empty_partition(handler: Any) -> None:
    (part,) = await handler.async_read_partitioned("SELECT * FROM t WHERE id < 0", "id", 4)
    assert (await part.async_read_to_arrow()).num_rows == 0


async def test_partitions_connect_for_themselves(handler: Any) -> None:
    parts = await handler.async_read_partitioned("SELECT id FROM t", "id", 2)
    await handler.async_close()
    copy = pickle.loads(pickle.dumps(parts[1]))
    assert (await copy.async_read_to_arrow()).column("id").to_pylist() == [*range(49, 100)]
    assert "SELECT" in repr(copy)
    assert "***" not in repr(copy)


async def test_partitions_are_read_by_other_processes(handler: Any, sql_service: SqlService) -> None:
    parts = await handler.async_read_partitioned("SELECT id, ts FROM t", "ts", 2)
    found = read_elsewhere(parts)
    assert sorted(value for values in found for value in values) == [*range(100)]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("sql", "column", "message"),
    [
        ("SELECT * FROM t", "name", "numbers, dates or datetimes"),
        ("DELETE FROM t", "id", "changes rows"),
        ("SELECT 1; SELECT 2", "id", "one query"),
    ],
)
async def test_what_cannot_be_split_is_refused(handler: Any, sql: str, column: str, message: str) -> None:
    with pytest.raises((InvalidRequestError, QueryError), match=message):
        await handler.async_read_partitioned(sql, column, 2)


async def test_wrong_arguments_are_refused(handler: Any) -> None:
    with pytest.raises(QueryError):
        await handler.async_read_partitioned("SELECT id FROM t", 'x"; DROP TABLE t; --', 2)
    with pytest.raises(ValueError, match="at least 1"):
        await handler.async_read_partitioned("SELECT id FROM t", "id", 0)
    assert await handler.async_table_exists("t")
