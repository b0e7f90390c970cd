"""Frames read from and written to SQLite."""

from __future__ import annotations

import datetime as dt
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from echo_connhandler import Resilience, RetryDetails, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.errors import ConstraintError, InvalidRequestError, ParameterError, QueryError
from echo_connhandler.testing import no_waits

SCHEMA: pa.Schema = pa.table({"id": [1], "v": ["x"]}).schema
NUMBERS = "r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {})"
EVIL = 'a "b"]; DROP TABLE t; --'
MODES = ["create", "append", "replace", "truncate", "upsert", "ignore"]


def make(path: str | Path = ":memory:", **options: Any) -> SqlLiteHandler:
    return SqlLiteHandler(SqlLiteConnProperties(path=path, busy_timeout=0.001), skip_connect=True, **options)


def frame(*rows: tuple[Any, Any]) -> pa.Table:
    return pa.table({"id": [row[0] for row in rows], "v": [row[1] for row in rows]}, SCHEMA)


def stream(table: pa.Table) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=2))


KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "pandas": lambda table: table.to_pandas(),
    "polars": pl.from_arrow,
    "table": lambda table: table,
    "batch": lambda table: table.combine_chunks().to_batches()[0],
    "stream": stream,
}


async def with_table(handler: SqlLiteHandler) -> None:
    await handler.async_execute_script("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n DEFAULT 7)")
    await handler.async_execute_script("INSERT INTO t (id, v) VALUES (1, 'old'), (2, 'old')")


async def pairs(handler: SqlLiteHandler, table: str = "t") -> list[tuple[Any, Any]]:
    rows = await handler.async_fetch_all(f'SELECT id, v FROM "{table}" ORDER BY id')
    return [(row["id"], row["v"]) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mode", "keys", "written", "then"),
    [
        ("append", (), 3, [(1, "old"), (2, "old"), (3, "x"), (4, None), (5, "z")]),
        ("replace", (), 3, [(3, "x"), (4, None), (5, "z")]),
        ("replace", ("id",), 3, [(3, "x"), (4, None), (5, "z")]),
        ("truncate", (), 3, [(3, "x"), (4, None), (5, "z")]),
        ("upsert", ("id",), 3, [(1, "old"), (2, "old"), (3, "x"), (4, None), (5, "z")]),
        ("ignore", ("id",), 3, [(1, "old"), (2, "old"), (3, "x"), (4, None), (5, "z")]),
    ],
)
async def test_every_mode_takes_every_frame(
    kind: str, mode: Any, keys: tuple[str, ...], written: int, then: list[tuple[Any, Any]]
) -> None:
    async with make() as handler:
        await with_table(handler)
        given = KINDS[kind](frame((3, "x"), (4, None), (5, "z")))
        assert await handler.async_write_frame(given, "t", mode=mode, keys=keys, batch_rows=2) == written
        assert await pairs(handler) == then
        assert await handler.async_list_tables() == ["t"]
        assert await handler.async_fetch_all("SELECT name FROM temp.sqlite_master") == []


async def test_create_makes_the_table_with_its_key() -> None:
    async with make() as handler:
        assert await handler.async_write_frame(frame((1, "a")), "t", mode="create", keys=["id"]) == 1
        columns = await handler.async_describe_table("t")
        assert [(c.name, c.type, c.nullable, c.primary_key) for c in columns] == [
            ("id", "INTEGER", False, 1),
            ("v", "TEXT", True, 0),
        ]
        with pytest.raises(QueryError, match="already exists"):
            await handler.async_write_frame(frame((1, "a")), "t", mode="create")
        assert await pairs(handler) == [(1, "a")]


async def test_upsert_overwrites_and_adds_and_ignore_only_adds() -> None:
    new = frame((2, "new"), (3, "new"))
    async with make() as handler:
        await with_table(handler)
        await handler.async_execute("UPDATE t SET n = 8")
        assert await handler.async_write_frame(new, "t", mode="ignore", keys=["id"]) == 1
        assert await pairs(handler) == [(1, "old"), (2, "old"), (3, "new")]
        assert await handler.async_write_frame(new, "t", mode="upsert", keys=["id"]) == 2
        assert await pairs(handler) == [(1, "old"), (2, "new"), (3, "new")]
        assert await handler.async_fetch_value("SELECT n FROM t WHERE id = 2") == 8  # not in the frame: not touched


async def test_keys_need_no_unique_constraint() -> None:
    async with make() as handler:
        await handler.async_execute("CREATE TABLE t (id, v)")
        await handler.async_write_frame(frame((1, "a"), (2, "a")), "t")
        assert await handler.async_write_frame(frame((2, "b"), (3, "b")), "t", mode="upsert", keys=["id"]) == 2
        assert await pairs(handler) == [(1, "a"), (2, "b"), (3, "b")]


@pytest.mark.parametrize("mode", MODES)
async def test_a_bad_row_at_the_end_leaves_everything_as_it_was(mode: Any) -> None:
    table = "other" if mode == "create" else "t"
    keys = ["id"] if mode in ("upsert", "ignore") else []

    def broken() -> Iterator[pa.RecordBatch]:
        yield from frame((7, "a"), (8, "b")).to_batches()
        raise ValueError("the source broke")

    async with make() as handler:
        await with_table(handler)
        rows = pa.RecordBatchReader.from_batches(SCHEMA, broken())
        with pytest.raises(ValueError, match="the source broke"):
            await handler.async_write_frame(rows, table, mode=mode, keys=keys)
        bad = pa.table({"id": [7, 8], "v": [1.5, float("nan")]})
        with pytest.raises(InvalidRequestError, match="'v' holds NaN"):
            await handler.async_write_frame(bad, table, mode=mode, keys=keys, batch_rows=1)
        assert await pairs(handler) == [(1, "old"), (2, "old")]
        assert await handler.async_list_tables() == ["t"]
        assert await handler.async_fetch_all("SELECT name FROM temp.sqlite_master") == []


async def test_a_constraint_leaves_everything_as_it_was() -> None:
    async with make() as handler:
        await with_table(handler)
        with pytest.raises(ConstraintError) as caught:
            await handler.async_write_frame(frame((7, "a"), (8, "b"), (1, "c")), "t", batch_rows=1)
        assert caught.value.code == "SQLITE_CONSTRAINT_PRIMARYKEY"
        assert await pairs(handler) == [(1, "old"), (2, "old")]


@pytest.mark.parametrize("mode", ["create", "replace", "upsert", "ignore"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [([(7, "a"), (8, "b"), (7, "c")], "the key {'id': 7}"), ([(7, "a"), (None, "b")], "'id' is NULL in row 1")],
)
async def test_keys_of_the_frame_are_unique_and_not_null(mode: Any, rows: list[tuple[Any, Any]], message: str) -> None:
    table = "other" if mode == "create" else "t"
    async with make() as handler:
        await with_table(handler)
        with pytest.raises(InvalidRequestError, match=message):
            await handler.async_write_frame(frame(*rows), table, mode=mode, keys=["id"], batch_rows=1)
        assert await pairs(handler) == [(1, "old"), (2, "old")]
        assert await handler.async_list_tables() == ["t"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "upsert"}, InvalidRequestError, "needs keys"),
        ({"mode": "ignore"}, InvalidRequestError, "needs keys"),
        ({"mode": "append", "keys": ["id"]}, InvalidRequestError, "does not use keys"),
        ({"mode": "truncate", "keys": ["id"]}, InvalidRequestError, "does not use keys"),
        ({"mode": "upsert", "keys": "id"}, TypeError, "sequence of column names"),
        ({"mode": "upsert", "keys": ["nope"]}, InvalidRequestError, "no key column 'nope'"),
        ({"mode": "upsert", "keys": ["id", "id"]}, InvalidRequestError, "named twice"),
        ({"mode": "merge"}, ValueError, "mode must be one of"),
        ({"batch_rows": 0}, ValueError, "batch_rows"),
        ({"table": "missing"}, QueryError, "no table 'missing'; mode='create' makes it"),
        ({"table": "", "mode": "create"}, ParameterError, "not empty"),
        ({"frame": pa.table({"id": [1], "w": [1]})}, InvalidRequestError, "has no column 'w'"),
        ({"frame": pa.table({"id": [1], "ID": [1]})}, InvalidRequestError, "same name"),
        ({"frame": pa.table({"id": [{"a": 1}]})}, InvalidRequestError, "'id' is struct"),
        ({"frame": [{"id": 1}]}, TypeError, "a frame is"),
        ({"frame": pd.DataFrame({1: [1]})}, InvalidRequestError, "names of columns are text"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(options: Any, error: type[Exception], message: str) -> None:
    given = {"frame": frame((9, "x")), "table": "t"} | options
    async with make() as handler:
        await with_table(handler)
        with pytest.raises(error, match=message):
            await handler.async_write_frame(given.pop("frame"), given.pop("table"), **given)
        assert await pairs(handler) == [(1, "old"), (2, "old")]


async def test_names_are_never_sql() -> None:
    evil = pa.table({EVIL: [1, 2], 'v"': ["a", "b"]})
    async with make() as handler:
        await with_table(handler)
        await handler.async_write_frame(evil, EVIL, mode="create", keys=[EVIL])
        modes: tuple[Any, ...] = ("upsert", "ignore", "replace")
        for mode in modes:
            await handler.async_write_frame(evil, EVIL, mode=mode, keys=[EVIL])
        assert await handler.async_list_tables() == [EVIL, "t"]
        name = EVIL.replace('"', '""')
        assert (await handler.async_read_to_arrow(f'SELECT * FROM "{name}"')).equals(evil)


@pytest.mark.parametrize("mode", MODES)
async def test_an_empty_frame_is_written_too(mode: Any) -> None:
    keys = ["id"] if mode in ("upsert", "ignore") else []
    told: list[tuple[int, int | None]] = []
    async with make() as handler:
        await with_table(handler)
        table = "other" if mode == "create" else "t"
        write = handler.async_write_frame
        assert await write(frame(), table, mode=mode, keys=keys, progress=lambda *x: told.append(x)) == 0
        assert told == [(0, 0)]
        assert len(await pairs(handler)) == (0 if mode in ("replace", "truncate") else 2)
        if mode == "create":
            assert (await handler.async_read_to_arrow("SELECT * FROM other")).equals(frame())


async def test_types_come_back_as_they_were_written() -> None:
    given = pa.table(
        {
            "i": pa.array([1, None], pa.int64()),
            "f": pa.array([0.1, None], pa.float64()),
            "s": pa.array(["ä", None], pa.string()),
            "b": pa.array([b"\x00", None], pa.binary()),
            "y": pa.array([True, None], pa.bool_()),
            "d": pa.array([dt.date(2025, 1, 2), None], pa.date32()),
            "t": pa.array([dt.datetime(2025, 1, 2, 3, 4, 5, 6), None], pa.timestamp("us")),
            "z": pa.array([dt.datetime(2025, 1, 2, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC")),
            "n": pa.array([Decimal("0.10"), None], pa.decimal128(12, 2)),
            "c": pa.array([dt.time(1, 2, 3), None], pa.time64("us")),
        }
    )
    async with make() as handler:
        await handler.async_write_frame(given, "x", mode="create")
        for _ in range(2):  # with values, and without any
            got = await handler.async_read_to_arrow("SELECT * FROM x")
            assert got.schema.equals(given.schema)
            assert got.equals(given.slice(0, got.num_rows))
            frame_ = await handler.async_read_to_pandas("SELECT * FROM x")
            assert str(frame_["i"].dtype) == "Int64"
            assert str(frame_["y"].dtype) == "boolean"
            assert str(frame_["z"].dtype) == "datetime64[us, UTC]"
            polars_ = await handler.async_read_to_polars("SELECT * FROM x")
            assert polars_.schema["n"] == pl.Decimal(12, 2)
            assert polars_.schema["i"] == pl.Int64
            await handler.async_execute("DELETE FROM x")


async def test_reading_takes_parameters() -> None:
    async with make() as handler:
        await with_table(handler)
        for params, sql in (({"id": 2}, "SELECT id FROM t WHERE id = :id"), ([2], "SELECT id FROM t WHERE id = ?")):
            assert (await handler.async_read_to_arrow(sql, params)).to_pylist() == [{"id": 2}]
        with pytest.raises(ParameterError):
            await handler.async_read_to_arrow("SELECT :id")


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT * FROM missing", QueryError, "no such table"),
        ("SELEC 1", QueryError, "syntax error"),
        ("SELECT 1 AS a, 2 AS a", QueryError, "columns of the same name"),
        ("SELECT 1 AS a UNION ALL SELECT 'x'", QueryError, "CAST"),
        ("BEGIN", QueryError, r"transaction\(\)"),
    ],
)
async def test_queries_that_make_no_frame(sql: str, error: type[Exception], message: str) -> None:
    async with make() as handler:
        with pytest.raises(error, match=message):
            await handler.async_read_to_arrow(sql)
        with pytest.raises(error, match=message):
            async for _ in handler.async_iter_arrow(sql):
                pass


async def test_a_type_that_shows_late_is_the_type_of_the_whole_column() -> None:
    sql = f"WITH RECURSIVE {NUMBERS.format(50001)} SELECT iif(n > 50000, 0.5, n) AS v FROM r"
    async with make() as handler:
        table = await handler.async_read_to_arrow(sql)
        assert table.schema.field("v").type == pa.float64()
        assert table["v"][-1].as_py() == 0.5
        with pytest.raises(QueryError, match="CAST"):
            async for _ in handler.async_iter_arrow(sql):
                pass


async def test_a_change_that_answers_with_rows_is_executed_once() -> None:
    async with make() as handler:
        await with_table(handler)
        table = await handler.async_read_to_arrow("UPDATE t SET id = id + 10 RETURNING id")
        assert table.to_pylist() == [{"id": 11}, {"id": 12}]
        with pytest.raises(QueryError, match="no one type"):
            await handler.async_read_to_arrow("UPDATE t SET id = id + 10 RETURNING iif(id > 21, 'x', 1) AS x")
        with pytest.raises(QueryError, match="iter_arrow reads"):
            handler.async_iter_arrow("DELETE FROM t RETURNING id")
        assert await pairs(handler) == [(11, "old"), (12, "old")]


async def test_a_read_in_a_transaction_sees_its_rows() -> None:
    async with make() as handler:
        await with_table(handler)
        with pytest.raises(ZeroDivisionError):
            async with handler.async_transaction():
                await handler.async_write_frame(frame((3, "new")), "t", mode="upsert", keys=["id"])
                assert (await handler.async_read_to_pandas("SELECT * FROM t")).shape == (3, 3)
                with pytest.raises(InvalidRequestError):
                    await handler.async_write_frame(pa.table({"w": [1]}), "t")
                1 / 0
        assert await pairs(handler) == [(1, "old"), (2, "old")]


async def test_frames_may_be_written_while_a_query_is_read() -> None:
    async with make() as handler:
        await with_table(handler)
        await handler.async_execute("CREATE TABLE copy (id INTEGER PRIMARY KEY, v)")
        async for batch in handler.async_iter_arrow("SELECT id, v FROM t", batch_rows=1):
            await handler.async_write_frame(batch, "copy", mode="upsert", keys=["id"])
            assert (await handler.async_read_to_arrow("SELECT * FROM copy")).num_rows
        assert await pairs(handler, "copy") == [(1, "old"), (2, "old")]
        assert await handler.async_fetch_all("SELECT name FROM temp.sqlite_master") == []


async def test_iter_arrow_gives_batches_of_one_schema() -> None:
    async with make() as handler:
        await with_table(handler)
        batches = [
            batch async for batch in handler.async_iter_arrow("SELECT id, NULLIF(v, 'old') AS v FROM t", batch_rows=1)
        ]
        assert [batch.num_rows for batch in batches] == [1, 1]
        empty = [batch async for batch in handler.async_iter_arrow("SELECT id, v FROM t WHERE 0")]
        assert [(batch.num_rows, batch.schema) for batch in empty] == [(0, SCHEMA)]
        with pytest.raises(ValueError, match="batch_rows"):
            handler.async_iter_arrow("SELECT 1", batch_rows=0)


async def test_iter_arrow_needs_constant_memory() -> None:
    sql = (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 60000) SELECT n, 'row ' || n AS v FROM r"
    )
    async with make() as handler:
        pa.array([1])
        before = pa.total_allocated_bytes()
        most = total = 0
        tracemalloc.start()
        try:
            async for batch in handler.async_iter_arrow(sql, batch_rows=1000):
                total += batch.num_rows
                most = max(most, pa.total_allocated_bytes() - before)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert total == 60_000
    assert most < 500_000  # all batches at once need two million
    assert peak < 2_000_000


async def test_progress_never_falls_and_ends_at_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    rows = frame(*((n, "x") for n in range(5)))
    async with make() as handler:
        await handler.async_execute("CREATE TABLE t (id, v)")
        await handler.async_write_frame(rows, "t", batch_rows=2, progress=lambda *x: told.append(x))
        assert told == [(2, 5), (4, 5), (5, 5)]
        told.clear()
        await handler.async_write_frame(stream(rows), "t", progress=lambda *x: told.append(x))
        assert told == [(2, None), (4, None), (5, None)]


async def test_a_write_that_meets_a_reader_at_its_commit_is_done_once_as_a_whole(tmp_path: Path) -> None:

    file = tmp_path / "x.db"
    reader = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    reader.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    told: list[tuple[int, int | None]] = []

    def end_reading(details: RetryDetails) -> None:
        if details.attempt == 2:
            reader.rollback()

    def begin_reading() -> None:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchall()

    props = SqlLiteConnProperties(path=file, busy_timeout=0.001, journal_mode="delete")
    rows = frame((1, "a"), (2, "b"), (3, "c"))
    try:
        async with SqlLiteHandler(
            props, skip_connect=True, resilience=Resilience(before_retry=(end_reading,))
        ) as handler:
            begin_reading()
            with no_waits() as waits:
                assert await handler.async_write_frame(rows, "t", batch_rows=1, progress=lambda *x: told.append(x)) == 3
            assert len(waits) == 2
            assert told == [(1, 3), (2, 3), (3, 3)]
            assert len(await pairs(handler)) == 3
            begin_reading()
            with no_waits(), pytest.raises(InvalidRequestError, match="can be read only once"):
                await handler.async_write_frame(stream(frame((4, "d"))), "t")
            reader.rollback()
            assert len(await pairs(handler)) == 3
    finally:
        reader.close()


@pytest.mark.parametrize("columns", [1, 7, 600])
@pytest.mark.parametrize("rows", [1, 70, 71, 72, 142, 500, 501])
async def test_every_row_is_written_once_however_many_an_insert_takes(columns: int, rows: int) -> None:
    table = pa.table({f"c{c}": [r * columns + c for r in range(rows)] for c in range(columns)})
    async with SqlLiteHandler(SqlLiteConnProperties(path=":memory:"), skip_connect=True) as handler:
        assert await handler.async_write_frame(table, "t", mode="create", batch_rows=250) == rows
        assert (await handler.async_read_to_arrow("SELECT * FROM t ORDER BY c0")).equals(table)
