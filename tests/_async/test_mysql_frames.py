"""Frames read from and written to MariaDB or MySQL: every type exact, every way in, and nothing let pass in silence."""

from __future__ import annotations

import datetime as dt
import math
import tracemalloc
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from echo_connhandler import MySqlHandler
from echo_connhandler.errors import ConstraintError, InvalidRequestError, ParameterError, QueryError
from tests.servers.daemon import Database
from tests.servers.mariadb import MariaDbServer
from tests.sql_services import mysql_service

UTC = dt.UTC
TYPES: list[tuple[str, str, pa.DataType, Any]] = [
    ("TINYINT", "-128", pa.int8(), -128),
    ("TINYINT(1)", "1", pa.int8(), 1),
    ("TINYINT UNSIGNED", "255", pa.uint8(), 255),
    ("SMALLINT", "-32768", pa.int16(), -32768),
    ("SMALLINT UNSIGNED", "65535", pa.uint16(), 65535),
    ("MEDIUMINT", "-8388608", pa.int32(), -8388608),
    ("MEDIUMINT UNSIGNED", "16777215", pa.uint32(), 16777215),
    ("INT", "-2147483648", pa.int32(), -(2**31)),
    ("INT UNSIGNED", "4294967295", pa.uint32(), 2**32 - 1),
    ("BIGINT", "-9223372036854775808", pa.int64(), -(2**63)),
    ("BIGINT UNSIGNED", "18446744073709551615", pa.uint64(), 2**64 - 1),
    ("YEAR", "2155", pa.int16(), 2155),
    ("BIT(1)", "1", pa.uint64(), 1),
    ("BIT(12)", "b'100000000001'", pa.uint64(), 2049),
    ("BIT(64)", "18446744073709551615", pa.uint64(), 2**64 - 1),
    ("FLOAT", "0.1", pa.float32(), float(np.float32(0.1))),
    ("FLOAT", "16777217", pa.float32(), 16777216.0),
    ("DOUBLE", "0.1", pa.float64(), 0.1),
    ("DOUBLE", "5e-324", pa.float64(), 5e-324),
    ("DECIMAL(1,0)", "-9", pa.decimal128(1, 0), Decimal(-9)),
    ("DECIMAL(4,4)", "-0.0001", pa.decimal128(4, 4), Decimal("-0.0001")),
    ("DECIMAL(18,4)", "-12345678901234.5678", pa.decimal128(18, 4), Decimal("-12345678901234.5678")),
    ("DECIMAL(18,0)", "999999999999999999", pa.decimal128(18, 0), Decimal(10**18 - 1)),
    ("DECIMAL(19,0)", "-9999999999999999999", pa.decimal128(19, 0), Decimal(1 - 10**19)),
    ("DECIMAL(10,2) UNSIGNED", "12345678.90", pa.decimal128(10, 2), Decimal("12345678.90")),
    ("DECIMAL(38,10)", "1.0000000001", pa.decimal128(38, 10), Decimal("1.0000000001")),
    ("DECIMAL(65,30)", "9" * 35 + "." + "9" * 30, pa.decimal256(65, 30), Decimal("9" * 35 + "." + "9" * 30)),
    ("DATE", "'0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
    ("DATE", "'9999-12-31'", pa.date32(), dt.date(9999, 12, 31)),
    ("DATE", "'1900-02-28'", pa.date32(), dt.date(1900, 2, 28)),
    ("DATETIME", "'2024-02-29 00:00:00'", pa.timestamp("us"), dt.datetime(2024, 2, 29)),
    ("DATETIME(6)", "'1969-12-31 23:59:59.000001'", pa.timestamp("us"), dt.datetime(1969, 12, 31, 23, 59, 59, 1)),
    (
        "TIMESTAMP(3) NULL",
        "'2024-03-31 01:30:00.5'",
        pa.timestamp("us", "UTC"),
        dt.datetime(2024, 3, 31, 1, 30, 0, 500000, UTC),
    ),
    ("TIME", "'-838:59:59'", pa.duration("us"), -dt.timedelta(hours=838, minutes=59, seconds=59)),
    ("TIME(6)", "'00:00:00.000001'", pa.duration("us"), dt.timedelta(microseconds=1)),
    ("TIME(6)", "'25:00:00'", pa.duration("us"), dt.timedelta(hours=25)),
    ("CHAR(3)", "'a'", pa.string(), "a"),
    ("VARCHAR(300)", "REPEAT('é', 300)", pa.string(), "é" * 300),
    ("VARCHAR(20) CHARACTER SET latin1", "'äöü€'", pa.string(), "äöü€"),
    ("VARCHAR(20) CHARACTER SET utf16", "'𝄞'", pa.string(), "𝄞"),
    ("TEXT", "''", pa.string(), ""),
    ("LONGTEXT", "REPEAT('x', 70000)", pa.string(), "x" * 70000),
    ("ENUM('a','b')", "'b'", pa.string(), "b"),
    ("SET('x','y')", "'y,x'", pa.string(), "x,y"),
    ("JSON", "'{\"a\": [1, null]}'", pa.string(), '{"a": [1, null]}'),
    ("BINARY(3)", "x'00'", pa.binary(), b"\0\0\0"),
    ("VARBINARY(3)", "x'00ff'", pa.binary(), b"\0\xff"),
    ("LONGBLOB", "x'80'", pa.binary(), b"\x80"),
]
COLUMNS = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(TYPES))
AWKWARD = [
    "",
    "NULL",
    r"\N",
    "\\",
    "a\tb\nc\rd\0e",
    "'",
    '"',
    "%s %% :x ?",
    "é",
    "𝄞",
    " x ",
    None,
    "\x1a",
    "\\'",
    "\\0",
]


@pytest.fixture
async def handler(mariadb_database: Database) -> AsyncIterator[MySqlHandler]:
    async with mysql_service(mariadb_database).make() as opened:
        assert isinstance(opened, MySqlHandler)
        yield opened


@pytest.fixture(params=["load data", "insert"])
async def writer(request: pytest.FixtureRequest, mariadb_database: Database) -> AsyncIterator[MySqlHandler]:
    """A handler that writes by LOAD DATA, and one that writes by INSERT."""
    way = {"local_infile": request.param == "load data"}
    async with mysql_service(mariadb_database).make(properties=way) as opened:
        assert isinstance(opened, MySqlHandler)
        yield opened


async def batches(handler: MySqlHandler, sql: str, rows: int) -> list[pa.RecordBatch]:
    return [batch async for batch in handler.async_iter_arrow(sql, batch_rows=rows)]


# Reading


async def test_every_type_is_exact_beside_null_and_in_an_empty_result(handler: MySqlHandler) -> None:
    await handler.async_execute(f"CREATE TABLE t (n INT, {COLUMNS})")
    await handler.async_execute(f"INSERT INTO t VALUES (2, {', '.join(literal for _, literal, *_ in TYPES)})")
    await handler.async_execute("INSERT INTO t (n) VALUES (1), (3)")
    table = await handler.async_read_to_arrow("SELECT * FROM t ORDER BY n")
    for n, (kind, _, arrow, value) in enumerate(TYPES):
        assert table[f"c{n}"].type == arrow, kind
        assert table[f"c{n}"].to_pylist() == [None, value, None], kind
    table.validate(full=True)
    empty = await handler.async_read_to_arrow("SELECT * FROM t WHERE n > :n", {"n": 5})
    assert empty.schema == table.schema
    assert empty.num_rows == 0


async def test_a_column_is_read_alike_as_rows_and_as_a_frame(handler: MySqlHandler) -> None:
    await handler.async_execute(f"CREATE TABLE t ({COLUMNS})")
    await handler.async_execute(f"INSERT INTO t VALUES ({', '.join(literal for _, literal, *_ in TYPES)})")
    row = await handler.async_fetch_one("SELECT * FROM t")
    frame = (await handler.async_read_to_arrow("SELECT * FROM t")).to_pylist()[0]
    assert row == frame


async def test_parameters_are_bound_whatever_is_in_them(handler: MySqlHandler) -> None:
    values: dict[str, Any] = {
        "a": "'; DROP TABLE t; -- %s ?",
        "b": 2**64 - 1,
        "c": -(2**63),
        "d": Decimal("-12345678901234567890.123456789"),
        "e": 0.1,
        "f": b"\0\xff'",
        "g": True,
        "h": 10**40,
    }
    names = ", ".join(f":{name} AS {name}" for name in values)
    table = await handler.async_read_to_arrow(f"SELECT {names}, '%s?' AS text, 7 % 4 AS rest", values)
    assert table.to_pylist() == [values | {"g": 1, "h": Decimal(10**40), "text": "%s?", "rest": 3}]
    moments = {
        "n": None,
        "d": dt.date(2024, 2, 29),
        "m": dt.datetime(2024, 2, 29, 12, tzinfo=UTC),
        "t": dt.timedelta(1),
    }
    asked = "SELECT :n AS n, CAST(:d AS DATE) AS d, CAST(:m AS DATETIME) AS m, CAST(:t AS TIME) AS t"
    (row,) = (await handler.async_read_to_arrow(asked, moments)).to_pylist()
    assert row == moments | {"m": dt.datetime(2024, 2, 29, 12)}
    with pytest.raises(ParameterError, match="2 values"):
        await handler.async_read_to_arrow("SELECT %s, '%s'", ("a",))


@pytest.mark.parametrize("rows", [1, 7, 100])
async def test_batches_have_as_many_rows_as_asked_for(handler: MySqlHandler, rows: int) -> None:
    read = await batches(handler, "SELECT seq AS n, REPEAT('x', seq % 100) AS v FROM seq_1_to_100", rows)
    sizes = [batch.num_rows for batch in read]
    assert sizes == [rows] * (100 // rows) + [100 % rows] * (100 % rows > 0)
    assert [n for batch in read for n in batch["n"].to_pylist()] == list(range(1, 101))


async def test_rows_of_more_than_16_mib_come_in_several_packets(handler: MySqlHandler) -> None:
    big = 9_000_000
    asked = (
        f"SELECT seq AS n, IF(seq % 2, REPEAT('a', {big}), 'a') AS a, IF(seq % 2, REPEAT('b', {big} + seq), 'b') AS b "
        "FROM seq_1_to_4"
    )
    rows = (await handler.async_read_to_arrow(asked)).to_pylist()
    assert [(row["n"], len(row["a"]), len(row["b"])) for row in rows] == [
        (1, big, big + 1),
        (2, 1, 1),
        (3, big, big + 3),
        (4, 1, 1),
    ]
    assert set(rows[2]["b"]) == {"b"}


async def test_dates_that_no_calendar_has_come_as_text(mariadb_database: Database) -> None:
    lenient = {"server_settings": {"sql_mode": ""}}
    async with mysql_service(mariadb_database).make(properties=lenient) as handler:
        await handler.async_execute("CREATE TABLE t (n INT, d DATE, m DATETIME(3))")
        await handler.async_execute("INSERT INTO t VALUES (1, '2024-01-02', '2024-01-02 03:04:05.6')")
        await handler.async_execute("INSERT INTO t VALUES (2, '2024-00-00', '0000-00-00'), (3, NULL, NULL)")
        await check_dates(handler)


async def check_dates(handler: Any) -> None:
    table = await handler.async_read_to_arrow("SELECT d, m FROM t ORDER BY n")
    assert table.to_pydict() == {
        "d": ["2024-01-02", "2024-00-00", None],
        "m": ["2024-01-02 03:04:05.600", "0000-00-00 00:00:00.000", None],
    }
    with pytest.raises(QueryError, match=r"'d' holds .* CAST\(\.\.\. AS CHAR\)"):
        await batches(handler, "SELECT d FROM t ORDER BY n", 1)
    assert [batch["d"].to_pylist() for batch in await batches(handler, "SELECT d FROM t ORDER BY n DESC, n", 2)] == [
        [None, "2024-00-00"],
        ["2024-01-02"],
    ]


async def test_columns_of_one_name_are_refused(handler: MySqlHandler) -> None:
    with pytest.raises(QueryError, match="columns of the same name: 'a'"):
        await handler.async_read_to_arrow("SELECT 1 AS a, 2 AS b, 3 AS a")
    assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_statement_that_cannot_be_prepared_is_read_as_text(handler: MySqlHandler) -> None:
    async with handler.async_transaction():
        await handler.async_execute("PREPARE p FROM 'SELECT 1 AS a, 2.50 AS b, CAST(NULL AS DATE) AS c, ''é'' AS d'")
        table = await handler.async_read_to_arrow("EXECUTE p")
    assert table.to_pylist() == [{"a": 1, "b": Decimal("2.50"), "c": None, "d": "é"}]
    assert table["c"].type == pa.date32()


async def test_an_error_in_the_middle_of_a_result_is_raised_and_leaves_the_handler_usable(
    handler: MySqlHandler,
) -> None:
    two = "(SELECT x.seq FROM seq_1_to_2 AS x WHERE x.seq <= s.seq)"
    asked = f"SELECT IF(s.seq < 20000, 1, {two}) AS n FROM seq_1_to_30000 AS s"
    with pytest.raises(QueryError, match="more than 1 row"):
        await batches(handler, asked, 1000)
    assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_procedure_gives_its_first_result(handler: MySqlHandler) -> None:
    await handler.async_execute("CREATE PROCEDURE p() BEGIN SELECT 1 AS a; SELECT 2 AS b, 3 AS c; END")
    async with handler.async_transaction():
        assert (await handler.async_read_to_arrow("CALL p()")).to_pylist() == [{"a": 1}]
        assert await handler.async_fetch_value("SELECT 4") == 4


async def test_other_statements_run_while_a_result_is_read(handler: MySqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (n INT)")
    asked = "SELECT seq AS n, REPEAT('x', 200) AS v FROM seq_1_to_50000"
    total = count = 0
    async with handler.async_transaction():
        async for batch in handler.async_iter_arrow(asked, batch_rows=20_000):
            numbers: list[Any] = batch["n"].to_pylist()
            total += sum(numbers)
            await handler.async_execute("INSERT INTO t VALUES (:n)", {"n": batch.num_rows})
            count += 1
    assert (count, total) == (3, 50_000 * 50_001 // 2)
    assert await handler.async_fetch_value("SELECT SUM(n) FROM t") == 50_000


async def test_a_result_left_early_is_stopped_at_the_server(handler: MySqlHandler) -> None:
    asked = "SELECT seq AS n, REPEAT('x', 1000) AS v FROM seq_1_to_1000000000"
    async with handler.async_transaction():
        reading = handler.async_iter_arrow(asked, batch_rows=10)
        async for batch in reading:
            assert batch.num_rows == 10
            break
        await reading.aclose()  # type: ignore[attr-defined]
        running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%seq_1_to_1000000000%'"
        assert await handler.async_fetch_value(f"{running} AND info NOT LIKE '%processlist%'") == 0


async def test_a_long_result_is_read_in_constant_memory(handler: MySqlHandler) -> None:
    asked = "SELECT seq AS n, REPEAT('x', 2000) AS v FROM seq_1_to_40000"  # 80 MB
    tracemalloc.start()
    try:
        rows = 0
        async for batch in handler.async_iter_arrow(asked, batch_rows=1000):
            rows += batch.num_rows
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 40_000
    assert most < 25_000_000


# Writing


def awkward() -> pa.Table:
    rows = len(AWKWARD)
    return pa.table(
        {
            "n": pa.array(range(rows), pa.int32()),
            "text": AWKWARD,
            "bytes": pa.array([None if text is None else text.encode() + b"\0\xff\\" for text in AWKWARD], pa.binary()),
            "words": pa.array(AWKWARD).dictionary_encode(),
            "view": pa.array(AWKWARD, pa.string_view()),
            "large": pa.array(AWKWARD, pa.large_string()),
            "flag": [True, False, None] * (rows // 3),
            "big": pa.array([2**64 - 1, 0, None] * (rows // 3), pa.uint64()),
            "double": [0.1, -1e-300, 1.7976931348623157e308] * (rows // 3),
            "single": pa.array([0.1, None, 3.4028234663852886e38] * (rows // 3), pa.float32()),
            "exact": pa.array([Decimal("0.00000001"), Decimal(-1), None] * (rows // 3), pa.decimal128(38, 8)),
            "wide": pa.array([Decimal(10**40), None, Decimal(-1)] * (rows // 3), pa.decimal256(41, 0)),
            "day": [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)] * (rows // 3),
            "moment": pa.array([0, -1, None] * (rows // 3), pa.timestamp("us")),
            "nanos": pa.array(
                [1_000_000_001_000, None, 2_000_000_000_000] * (rows // 3), pa.timestamp("ns", "America/Sao_Paulo")
            ),
            "seconds": pa.array([86_400, None, 2**31 - 1] * (rows // 3), pa.timestamp("s", "UTC")),
            "clock": pa.array([1, None, 86_399_999_999] * (rows // 3), pa.time64("us")),
            "span": pa.array([-1, None, 838 * 3_600_000_000] * (rows // 3), pa.duration("us")),
            "nothing": pa.nulls(rows),
        }
    )


DECLARED = (
    "n INT PRIMARY KEY, text TEXT, bytes BLOB, words VARCHAR(20), view TEXT, large TEXT, flag TINYINT(1), "
    "big BIGINT UNSIGNED, `double` DOUBLE, single FLOAT, exact DECIMAL(38,8), wide DECIMAL(41,0), day DATE, "
    "moment DATETIME(6), nanos TIMESTAMP(6) NULL, seconds DATETIME, clock TIME(6), span TIME(6), nothing INT"
)


async def test_what_is_written_is_what_is_read(writer: MySqlHandler) -> None:
    frame = awkward()
    await writer.async_execute(f"CREATE TABLE t ({DECLARED})")
    assert await writer.async_write_frame(frame, "t", batch_rows=7) == frame.num_rows
    assert frame.num_rows % 3 == 0
    read = await writer.async_read_to_arrow("SELECT * FROM t ORDER BY n")
    for name in frame.column_names:
        kept = frame[name].cast(pa.int64()).cast(pa.duration("us")) if name == "clock" else frame[name]
        if name == "seconds":  # DATETIME has no zone
            kept = kept.cast(pa.timestamp("s"))
        assert read[name].to_pylist() == kept.to_pylist(), name


async def test_numbers_go_to_columns_that_take_text_for_something_else(writer: MySqlHandler) -> None:
    await writer.async_execute("CREATE TABLE t (b BIT(12), e ENUM('5','b'), s SET('x','y'), f BIT(1))")
    frame = pa.table({"b": [2049, None], "e": [2, 1], "s": [3, None], "f": [True, None]})
    await writer.async_write_frame(frame, "t")
    assert [tuple(row.values()) for row in await writer.async_fetch_all("SELECT * FROM t")] == [
        (2049, "b", "x,y", 1),
        (None, "5", None, None),
    ]


async def test_names_are_quoted_and_columns_may_be_some(writer: MySqlHandler) -> None:
    evil = "a`b\\ %s ? ; DROP TABLE t; --"
    await writer.async_execute("CREATE TABLE `x``y%` (`a``b\\ %s ? ; DROP TABLE t; --` TEXT, other INT DEFAULT 7)")
    await writer.async_write_frame(pa.table({evil: ["v"]}), "x`y%")
    assert await writer.async_fetch_all("SELECT * FROM `x``y%`") == [{evil: "v", "other": 7}]


REFUSED: dict[str, tuple[dict[str, Any], type[QueryError], str]] = {
    "twice": ({"n": [1, 2, 2], "v": ["a", "b", "c"]}, ConstraintError, "Duplicate"),
    "null": ({"n": [1, None], "v": ["a", "b"]}, ConstraintError, "(?i)null"),
    "long": ({"n": [1, 2], "v": ["a", "toolong"]}, QueryError, "'v'"),
    "check": ({"n": [1, -2], "v": ["a", "b"]}, ConstraintError, "CONSTRAINT"),
    "range": ({"n": [1, 2**31], "v": ["a", "b"]}, QueryError, "'n'"),
    "number": ({"n": ["1", "2x"], "v": ["a", "b"]}, QueryError, "'n'"),
    "parent": ({"n": [1, 2], "v": ["a", "b"], "p": [1, 99]}, ConstraintError, "foreign key"),
    "day": ({"n": [1], "v": ["a"], "d": ["2024-02-30"]}, QueryError, "date value|'d'"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_an_insert_would_refuse_is_refused_and_undone(writer: MySqlHandler, case: str) -> None:
    data, error, words = REFUSED[case]
    await writer.async_execute("CREATE TABLE parent (id INT PRIMARY KEY)")
    await writer.async_execute("INSERT INTO parent VALUES (1)")
    await writer.async_execute(
        "CREATE TABLE t (n INT NOT NULL PRIMARY KEY, v VARCHAR(3), p INT REFERENCES parent (id), d DATE, "
        "CONSTRAINT positive CHECK (n > 0))"
    )
    await writer.async_execute("INSERT INTO t (n) VALUES (100)")
    with pytest.raises(error, match=words):
        await writer.async_write_frame(pa.table(data), "t")
    assert await writer.async_fetch_all("SELECT n FROM t") == [{"n": 100}]
    assert await writer.async_write_frame(pa.table({"n": [3]}), "t") == 1


async def test_a_note_is_no_error_however_many_there_are(writer: MySqlHandler) -> None:
    await writer.async_execute("CREATE TABLE t (d DECIMAL(6,1))")
    frame = pa.table({"d": pa.array([Decimal("1.26")] * 500, pa.decimal128(6, 2))})
    assert await writer.async_write_frame(frame, "t") == 500
    assert await writer.async_fetch_value("SELECT SUM(d) FROM t") == Decimal("650.0")
    assert await writer.async_fetch_value("SELECT @@SESSION.sql_notes") == 1


async def test_the_words_of_a_trigger_are_no_error(writer: MySqlHandler) -> None:
    await writer.async_execute("CREATE TABLE t (n INT)")
    words = "SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'mind the step'"
    await writer.async_execute(f"CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW {words}")
    assert await writer.async_write_frame(pa.table({"n": range(100)}), "t") == 100
    assert await writer.async_fetch_value("SELECT COUNT(*) FROM t") == 100
    # What is wrong is found behind however many of them.
    with pytest.raises(QueryError, match="'n'"):
        await writer.async_write_frame(pa.table({"n": [*range(100), 2**31]}), "t")
    assert await writer.async_fetch_value("SELECT @@SESSION.max_error_count") == 64


async def test_an_error_is_told_where_nothing_can_be_undone(writer: MySqlHandler) -> None:
    await writer.async_execute("CREATE TABLE t (n INT PRIMARY KEY) ENGINE=MyISAM")
    with pytest.raises(ConstraintError, match="Duplicate"):
        await writer.async_write_frame(pa.table({"n": [1, 2, 2, 3]}), "t")
    assert await writer.async_fetch_value("SELECT COUNT(*) FROM t") >= 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, math.nan], "'v' holds nan in row 1"),
        ([math.inf], "'v' holds inf in row 0"),
        (pa.array([1], pa.timestamp("ns")), "'v', .* whole microseconds"),
    ],
)
async def test_values_that_the_database_has_not_are_refused_by_name(
    writer: MySqlHandler, values: Any, words: str
) -> None:
    await writer.async_execute("CREATE TABLE t (v VARCHAR(50))")
    with pytest.raises(InvalidRequestError, match=words):
        await writer.async_write_frame(pa.table({"v": values}), "t")
    assert await writer.async_fetch_value("SELECT COUNT(*) FROM t") == 0


async def test_a_server_that_takes_no_files_gets_inserts(own_mariadb: MariaDbServer) -> None:
    own_mariadb.execute("SET GLOBAL local_infile = 0")
    try:
        async with mysql_service(own_mariadb.new_database()).make() as handler:
            await handler.async_execute("CREATE TABLE t (n INT PRIMARY KEY, v TEXT)")
            frame = pa.table({"n": range(10), "v": ["\\'"] * 10})
            async with handler.async_transaction():
                assert await handler.async_write_frame(frame, "t", batch_rows=3) == 10
            assert await handler.async_fetch_value("SELECT COUNT(*) FROM t WHERE v = :v", {"v": "\\'"}) == 10
            refused = await handler.async_fetch_value("SELECT @@GLOBAL.local_infile")
            assert refused == 0
    finally:
        own_mariadb.execute("SET GLOBAL local_infile = 1")


async def test_modes_of_the_session_do_not_change_what_is_written(mariadb_database: Database) -> None:
    for local_infile in (True, False):
        options = {"local_infile": local_infile, "server_settings": {"sql_mode": "NO_BACKSLASH_ESCAPES,ANSI_QUOTES"}}
        async with mysql_service(mariadb_database).make(properties=options) as handler:
            await handler.async_execute("CREATE OR REPLACE TABLE t (n INT, v TEXT)")
            frame = pa.table({"n": range(len(AWKWARD)), "v": AWKWARD})
            await handler.async_write_frame(frame, "t")
            read = await handler.async_read_to_arrow("SELECT n, v FROM t ORDER BY n")
            assert read["v"].to_pylist() == AWKWARD
