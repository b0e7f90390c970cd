"""Frames of PostgreSQL: every type right, whatever way they are read and written, on the handler's own connection."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from echo_connhandler import PgSqlHandler
from echo_connhandler.errors import InvalidRequestError, QueryError
from tests.servers.daemon import Database
from tests.servers.postgres import PostgresServer
from tests.sql_services import postgres_service

Make = Callable[..., Any]
UTC = pa.timestamp("us", "UTC")
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'frames' AND state = 'active'"


@pytest.fixture
def make(postgres_database: Database) -> Make:
    return postgres_service(postgres_database).make


@pytest.fixture
async def handler(make: Make) -> AsyncIterator[Any]:
    async with make(properties={"application_name": "frames"}) as opened:
        yield opened


@pytest.fixture
async def watcher(make: Make) -> AsyncIterator[Any]:
    """Another handler, which sees what sessions of the first do."""
    async with make(properties={"application_name": "watcher"}) as opened:
        yield opened


# Types

MOMENT = dt.datetime(2024, 2, 29, 12, 0, 0, 5)
UUID = "b5e01d5a-0d3f-4c1e-9d7a-0123456789ab"
TYPES: dict[str, tuple[str, pa.DataType, Any]] = {
    "bool": ("true", pa.bool_(), True),
    "int2": ("'-32768'::int2", pa.int16(), -32768),
    "int4": ("2147483647", pa.int32(), 2**31 - 1),
    "int8": ("'-9223372036854775808'::int8", pa.int64(), -(2**63)),
    "oid": ("4294967295::oid", pa.uint32(), 2**32 - 1),
    "float4": ("0.1::float4", pa.float32(), 0.10000000149011612),
    "float8": ("0.1::float8", pa.float64(), 0.1),
    "infinite float": ("'-Infinity'::float8", pa.float64(), -math.inf),
    "text": ("'é€😀'::text", pa.string(), "é€😀"),
    "empty text": ("''::text", pa.string(), ""),
    "varchar": ("'abc'::varchar(5)", pa.string(), "abc"),
    "char": ("'abc'::char(5)", pa.string(), "abc  "),
    "name": ("'abc'::name", pa.string(), "abc"),
    "untyped": ("'abc'", pa.string(), "abc"),
    "bytea": (r"'\x00ff'::bytea", pa.binary(), b"\0\xff"),
    "date": ("'2024-02-29'::date", pa.date32(), dt.date(2024, 2, 29)),
    "infinite date": ("'infinity'::date", pa.string(), "infinity"),
    "date before Christ": ("'0044-03-15 BC'::date", pa.string(), "0044-03-15 BC"),
    "far date": ("'12024-01-01'::date", pa.string(), "12024-01-01"),
    "time": ("'12:00:00.000005'::time", pa.time64("us"), dt.time(12, 0, 0, 5)),
    "24:00": ("'24:00'::time", pa.string(), "24:00:00"),
    "timetz": ("'12:00+02'::timetz", pa.string(), "12:00:00+02"),
    "timestamp": ("'2024-02-29 12:00:00.000005'::timestamp", pa.timestamp("us"), MOMENT),
    "first timestamp": ("'0001-01-01'::timestamp", pa.timestamp("us"), dt.datetime.min),
    "last timestamp": ("'9999-12-31 23:59:59.999999'::timestamp", pa.timestamp("us"), dt.datetime.max),
    "infinite timestamp": ("'-infinity'::timestamp", pa.string(), "-infinity"),
    "far timestamp": ("'12024-01-01 01:00'::timestamp", pa.string(), "12024-01-01 01:00:00"),
    "timestamptz": ("'2024-02-29 14:00:00.000005+02'::timestamptz", UTC, MOMENT.replace(tzinfo=dt.UTC)),
    "infinite timestamptz": ("'infinity'::timestamptz", pa.string(), "infinity"),
    "timestamptz before Christ": ("'0044-03-15 12:00+00 BC'::timestamptz", pa.string(), "0044-03-15 12:00:00+00 BC"),
    "interval": (
        "'1 mon -2 days 3.5 s'::interval",
        pa.month_day_nano_interval(),
        pa.scalar((1, -2, 3500000000), pa.month_day_nano_interval()).as_py(),
    ),
    "numeric(10,2)": ("'-1234.50'::numeric(10,2)", pa.decimal128(10, 2), Decimal("-1234.50")),
    "numeric(18,18)": ("0.000000000000000001::numeric(18,18)", pa.decimal128(18, 18), Decimal("1E-18")),
    "numeric(18)": ("999999999999999999::numeric(18)", pa.decimal128(18, 0), Decimal(10**18 - 1)),
    "numeric(38,9)": ("1.5::numeric(38,9)", pa.decimal128(38, 9), Decimal("1.500000000")),
    "numeric(76,1)": ("1.5::numeric(76,1)", pa.decimal256(76, 1), Decimal("1.5")),
    "numeric(77,1)": ("1.5::numeric(77,1)", pa.string(), "1.5"),
    "numeric(2,-3)": ("99000::numeric(2,-3)", pa.decimal128(5, 0), Decimal(99000)),
    "numeric(3,5)": ("0.00123::numeric(3,5)", pa.decimal128(5, 5), Decimal("0.00123")),
    "numeric": ("1.50::numeric", pa.string(), "1.50"),
    "numeric, no number": ("'NaN'::numeric(10,2)", pa.string(), "NaN"),
    "numeric(20,2), no number": ("'NaN'::numeric(20,2)", pa.string(), "NaN"),
    "json": ("""'{"a": [1,  2]}'::json""", pa.string(), '{"a": [1,  2]}'),
    "jsonb": ("""'{"a": [1,  2]}'::jsonb""", pa.string(), '{"a": [1, 2]}'),
    "uuid": (f"'{UUID}'::uuid", pa.string(), UUID),
    "inet": ("'10.0.0.1/8'::inet", pa.string(), "10.0.0.1/8"),
    "inet of one host": ("'10.0.0.1'::inet", pa.string(), "10.0.0.1"),
    "inet of version 6": ("'::1'::inet", pa.string(), "::1"),
    "inet of a small net": ("'fe80::1/32'::inet", pa.string(), "fe80::1/32"),
    "cidr": ("'10.0.0.0/8'::cidr", pa.string(), "10.0.0.0/8"),
    "money": ("12::money", pa.string(), "$12.00"),
    "bits": ("B'101'", pa.string(), "101"),
    "point": ("point(1,2)", pa.string(), "(1,2)"),
    "range": ("int4range(1,5)", pa.string(), "[1,5)"),
    "multirange": ("'{[1,5)}'::int4multirange", pa.string(), "{[1,5)}"),
    "record": ("row(1, 'x')", pa.string(), "(1,x)"),
    "composite": ("row(1, 'x')::pair", pa.string(), "(1,x)"),
    "enum": ("'good'::mood", pa.string(), "good"),
    "domain": ("5::positive", pa.int32(), 5),
    "domain of numeric": ("5::price", pa.decimal128(8, 3), Decimal("5.000")),
    "void": ("pg_sleep(0)", pa.string(), ""),
    "int4[]": ("'{1,NULL,-3}'::int4[]", pa.list_(pa.int32()), [1, None, -3]),
    "int4[][]": ("'{{1,2},{3,NULL}}'::int4[]", pa.list_(pa.list_(pa.int32())), [[1, 2], [3, None]]),
    "int4[] from 0": ("'[0:1]={1,2}'::int4[]", pa.list_(pa.int32()), [1, 2]),
    "empty array": ("'{}'::text[]", pa.list_(pa.string()), []),
    "text[]": ("""'{a,"b c",""}'::text[]""", pa.list_(pa.string()), ["a", "b c", ""]),
    "bool[]": ("'{t,f}'::bool[]", pa.list_(pa.bool_()), [True, False]),
    "timestamptz[]": (
        "array['2024-01-01 00:00+00'::timestamptz]",
        pa.list_(UTC),
        [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
    ),
    "numeric(5,2)[]": ("'{1.5,NULL}'::numeric(5,2)[]", pa.list_(pa.decimal128(5, 2)), [Decimal("1.50"), None]),
    "numeric[]": ("'{1.50}'::numeric[]", pa.list_(pa.string()), ["1.50"]),
    "infinite dates": ("'{infinity,2024-01-01}'::date[]", pa.list_(pa.string()), ["infinity", "2024-01-01"]),
    "uuid[]": (f"'{{{UUID}}}'::uuid[]", pa.list_(pa.string()), [UUID]),
    "inet[]": ("'{10.0.0.1}'::inet[]", pa.list_(pa.string()), ["10.0.0.1"]),
    "enum[]": ("'{good,NULL}'::mood[]", pa.list_(pa.string()), ["good", None]),
    "domain[]": ("'{1,2}'::positive[]", pa.list_(pa.int32()), [1, 2]),
}
NEEDED = """
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (value > 0); CREATE DOMAIN price AS numeric(8,3)
"""


async def test_every_type_is_read_as_documented(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(NEEDED)
    columns = ", ".join(f'{sql} AS "{name}"' for name, (sql, _, _) in TYPES.items())
    table = await handler.async_read_to_arrow(f"SELECT {columns}")
    assert {field.name: field.type for field in table.schema} == {name: kind for name, (_, kind, _) in TYPES.items()}
    assert table.to_pylist() == [{name: value for name, (_, _, value) in TYPES.items()}]


async def test_null_and_nothing_have_the_same_types(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(NEEDED)
    usual = {
        name: case for name, case in TYPES.items() if " " not in name and name not in ("24:00", "int4[][]", "void")
    }
    given = ", ".join(f'{sql} AS "{name}"' for name, (sql, _, _) in usual.items())
    nulls = await handler.async_read_to_arrow(f"SELECT v.* FROM (SELECT 1) one LEFT JOIN (SELECT {given}) v ON false")
    empty = await handler.async_read_to_arrow(f"SELECT {given} WHERE false")
    assert set(nulls.to_pylist()[0].values()) == {None}
    assert nulls.schema == empty.schema == pa.schema([(name, kind) for name, (_, kind, _) in usual.items()])
    assert empty.num_rows == 0


async def test_a_column_whose_later_rows_do_not_fit_becomes_text(handler: PgSqlHandler) -> None:
    sql = (
        "SELECT CASE WHEN n = 60000 THEN numeric 'NaN' ELSE n END::numeric(10,2) AS v, "
        "CASE WHEN n = 60000 THEN 'infinity' ELSE date '2024-01-01' END AS d FROM generate_series(1, 60000) n"
    )
    table = await handler.async_read_to_arrow(sql)
    assert table.schema.types == [pa.string(), pa.string()]
    assert table.column("v").to_pylist()[::59999] == ["1.00", "NaN"]
    assert table.column("d").to_pylist()[::59999] == ["2024-01-01", "infinity"]
    with pytest.raises(QueryError, match=r"column 'v'.*decimal128\(10, 2\).*CAST"):
        async for batch in handler.async_iter_arrow(sql, batch_rows=10_000):
            assert batch.schema.types == [pa.decimal128(10, 2), pa.date32()]
    reversed_order = sql + " ORDER BY n DESC"
    kinds = [batch.schema.types async for batch in handler.async_iter_arrow(reversed_order, batch_rows=10_000)]
    assert kinds == [[pa.string(), pa.string()]] * 6


async def test_frames_and_rows_agree(handler: PgSqlHandler) -> None:
    sql = (
        "SELECT n, CASE WHEN n % 3 = 0 THEN NULL ELSE repeat(chr(97 + n % 26), n % 40) END AS t, "
        "(n * 7919 % 100003 - 50000)::numeric(14,4) / 7 AS open, (n * 7919 % 100003 - 50000)::numeric(14,4) AS p, "
        "n / 7.0::float8 AS f, timestamptz '2020-01-01' + n * interval '7 min' AS ts, "
        "CASE WHEN n % 5 = 0 THEN NULL ELSE array_fill(n, array[n % 4]) END AS a FROM generate_series(1, 5000) n"
    )
    table = await handler.async_read_to_arrow(sql)
    rows = await handler.async_fetch_all(sql)
    assert table.to_pylist() == [{**row, "open": f"{row['open']:f}"} for row in rows]


# Statements


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SHOW work_mem", [{"work_mem": "4MB"}]),
        ("EXPLAIN (COSTS off) SELECT 1", [{"QUERY PLAN": "Result"}]),
        (
            "INSERT INTO t VALUES (1, '1.5'), (2, NULL) RETURNING n, p",
            [{"n": 1, "p": Decimal("1.500")}, {"n": 2, "p": None}],
        ),
        ("WITH w AS (INSERT INTO t VALUES (1, 2) RETURNING n) SELECT n FROM w", [{"n": 1}]),
        ("VALUES (1, 'x'), (2, NULL)", [{"column1": 1, "column2": "x"}, {"column1": 2, "column2": None}]),
        ("WITH w AS (SELECT 1 AS n) SELECT n FROM w;  -- done", [{"n": 1}]),
        ("SELECT 1 AS n -- done", [{"n": 1}]),
        ("TABLE t", []),
        ("SELECT n FROM t FOR UPDATE", []),
        ("SELECT FROM (VALUES (1)) v", []),
    ],
)
async def test_what_copy_cannot_take_is_read_otherwise(handler: PgSqlHandler, sql: str, rows: list[Any]) -> None:
    await handler.async_execute("CREATE TABLE t (n int, p numeric(8,3))")
    table = await handler.async_read_to_arrow(sql)
    assert table.to_pylist() == rows


async def test_a_statement_without_a_result_is_an_empty_frame(handler: PgSqlHandler) -> None:
    table = await handler.async_read_to_arrow("CREATE TABLE made (n int)")
    assert (table.num_rows, table.num_columns) == (0, 0)
    assert await handler.async_table_exists("made")


async def test_values_are_bound(handler: PgSqlHandler) -> None:
    values = {
        "i": 2**40,
        "f": math.nan,
        "s": "it's $1 \\ :i E'",
        "b": b"\0'\\",
        "d": Decimal("-1.50"),
        "t": MOMENT.replace(tzinfo=dt.UTC),
        "n": None,
        "j": {"a": "'"},
        "a": ["x'", None, '"'],
    }
    sql = (
        "SELECT :i AS i, :f AS f, :s AS s, :b AS b, :d::numeric(5,2) AS d, :t AS t, :n::int AS n, :j::jsonb AS j, "
        ":a::text[] AS a, ':i' AS quoted"
    )
    row = (await handler.async_read_to_arrow(sql, values)).to_pylist()[0]
    assert math.isnan(row.pop("f"))
    assert row == {**{key: values[key] for key in "isbdtna"}, "j": """{"a": "'"}""", "quoted": ":i"}
    limited = await handler.async_read_to_arrow("SELECT n FROM generate_series(1, 9) n LIMIT :n", {"n": 2})
    assert limited.column("n").to_pylist() == [1, 2]


@pytest.mark.parametrize("evil", ["'; DROP TABLE t; --", "\\'; DROP TABLE t; --", "')) TO PROGRAM 'x' --", "$$"])
async def test_values_stay_values(handler: PgSqlHandler, evil: str) -> None:
    await handler.async_execute("CREATE TABLE t (v text)")
    await handler.async_execute("SET standard_conforming_strings = off")
    assert (await handler.async_read_to_arrow("SELECT :v AS v", {"v": evil})).to_pylist() == [{"v": evil}]
    assert await handler.async_table_exists("t")


async def test_columns_of_one_name_are_refused(handler: PgSqlHandler) -> None:
    with pytest.raises(QueryError, match="columns of the same name: 'a': give each its own with AS"):
        await handler.async_read_to_arrow("SELECT 1 AS a, 2 AS a")


async def test_an_order_is_kept_and_batches_are_full(handler: PgSqlHandler) -> None:
    sql = "SELECT n, 1.5 AS open FROM generate_series(1, 10000) n ORDER BY n DESC"
    batches = [batch async for batch in handler.async_iter_arrow(sql, batch_rows=3000)]
    assert [batch.num_rows for batch in batches] == [3000, 3000, 3000, 1000]
    assert [value for batch in batches for value in batch.column(0).to_pylist()] == [*range(10_000, 0, -1)]


@pytest.mark.parametrize("sql", ["SELECT 1/(5000 - n) AS v FROM generate_series(1, 9000) n", "SELECT 1/0 AS v"])
async def test_an_error_in_the_midst_is_raised(handler: PgSqlHandler, sql: str) -> None:
    with pytest.raises(QueryError, match="division by zero") as caught:
        await handler.async_read_to_arrow(sql)
    assert caught.value.code == "22012"
    assert await handler.async_fetch_value("SELECT 1") == 1


# Other statements, and leaving early

LONG = "SELECT n, repeat('x', 100) AS t FROM generate_series(1, 200000) n"


async def test_other_statements_run_between_batches(handler: PgSqlHandler) -> None:
    async with handler.async_transaction():
        await handler.async_execute("CREATE TABLE seen (n int)")
        found = []
        async for batch in handler.async_iter_arrow(LONG, batch_rows=20_000):
            found += batch.column("n").to_pylist()
            await handler.async_execute("INSERT INTO seen VALUES (:n)", {"n": batch.num_rows})
        inner = [batch.num_rows async for batch in handler.async_iter_arrow("SELECT * FROM seen")]
    assert found == [*range(1, 200_001)]
    assert inner == [10]
    assert await handler.async_fetch_value("SELECT sum(n) FROM seen") == 200_000


async def test_two_results_are_read_in_turns(handler: PgSqlHandler) -> None:
    async with handler.async_transaction():
        pairs = []
        async for one in handler.async_iter_arrow("SELECT generate_series(1, 60000) AS n", batch_rows=20_000):
            async for two in handler.async_iter_arrow("SELECT generate_series(1, 40000) AS n", batch_rows=20_000):
                pair = (one.column(0)[0].as_py(), two.column(0)[0].as_py())
                pairs += [pair]
    assert pairs == [(one, two) for one in (1, 20_001, 40_001) for two in (1, 20_001)]


async def test_an_error_after_other_statements_is_raised_where_it_is_read(handler: PgSqlHandler) -> None:
    sql = "SELECT 1/(150000 - n) AS v FROM generate_series(1, 200000) n"
    with pytest.raises(QueryError, match="division by zero"):
        async for _ in handler.async_iter_arrow(sql, batch_rows=1000):
            assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_result_that_is_left_is_stopped_and_its_transaction_goes_on(
    handler: PgSqlHandler, watcher: PgSqlHandler
) -> None:
    endless = "SELECT generate_series(1, 10000000000) AS n, repeat('x', 100) AS t"
    async with handler.async_transaction():
        await handler.async_execute("CREATE TABLE kept (n int)")
        async for batch in handler.async_iter_arrow(endless, batch_rows=100):
            assert batch.num_rows == 100
            break
        assert await watcher.async_fetch_value(BUSY) == 0
        await handler.async_execute("INSERT INTO kept VALUES (1)")
    async for _ in handler.async_iter_arrow(endless, batch_rows=100):
        break
    assert await watcher.async_fetch_value(BUSY) == 0
    assert await handler.async_fetch_value("SELECT count(*) FROM kept") == 1


async def test_every_row_is_read_over_tls(tls_postgres: PostgresServer) -> None:
    made = tls_postgres.new_database()
    properties = {"tls": "require", "verify_ssl": str(tls_postgres.files.ca)}
    async with postgres_service(made).make(properties=properties) as handler:
        assert await handler.async_fetch_value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
        async with handler.async_transaction():
            found = []
            async for batch in handler.async_iter_arrow(LONG, batch_rows=50_000):
                found += batch.column("n").to_pylist()
                assert await handler.async_fetch_value("SELECT 1") == 1
            async for _ in handler.async_iter_arrow(LONG, batch_rows=100):
                break
            assert await handler.async_fetch_value("SELECT 1") == 1
        assert found == [*range(1, 200_001)]
        with pytest.raises(QueryError, match="division by zero"):
            await handler.async_read_to_arrow("SELECT 1/(5000 - n) AS v FROM generate_series(1, 9000) n")
        assert (await handler.async_read_to_arrow("SELECT 1.5 AS v")).to_pylist() == [{"v": "1.5"}]
        written = pa.table({"n": [*range(100_000)], "t": ["x" * 100] * 100_000})
        assert await handler.async_write_frame(written, "t", mode="create") == 100_000
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 100_000


@pytest.mark.parametrize("rows", [150, 300, 50_000])
async def test_a_result_may_be_left_where_all_of_it_or_more_of_it_has_come(
    tls_postgres: PostgresServer, rows: int
) -> None:
    made = tls_postgres.new_database()
    properties = {"tls": "require", "verify_ssl": str(tls_postgres.files.ca)}
    sql = f"SELECT n, repeat('x', 50) AS text FROM generate_series(1, {rows}) AS g(n)"
    async with postgres_service(made).make(properties=properties, pool_size=1) as handler:
        session = await handler.async_fetch_value("SELECT pg_backend_pid()")
        for _ in range(10):
            async for _ in handler.async_iter_arrow(sql, batch_rows=100):
                break
            async with handler.async_transaction():
                async for _ in handler.async_iter_arrow(sql, batch_rows=100):
                    break
                assert await handler.async_fetch_value("SELECT pg_backend_pid()") == session


@pytest.fixture(scope="module")
def tls_postgres() -> Any:
    with PostgresServer(tls="required") as running:
        yield running


# Writing

WRITES: list[tuple[str, pa.Array[Any], list[Any]]] = [
    ("int2", pa.array([1, None, -3], pa.int64()), [1, None, -3]),
    ("int4", pa.array([1.0, None]), [1, None]),
    ("int8", pa.array(["12", None]), [12, None]),
    ("float8", pa.array([1, 2], pa.int32()), [1.0, 2.0]),
    ("float4", pa.array([0.1, math.inf]), [0.10000000149011612, math.inf]),
    ("numeric", pa.array([1, None], pa.int16()), [Decimal(1), None]),
    ("numeric", pa.array([1.1, None]), [Decimal("1.1"), None]),
    ("numeric", pa.array([2**63 - 1, -(2**63)], pa.int64()), [Decimal(2**63 - 1), Decimal(-(2**63))]),
    (
        "numeric",
        pa.array([Decimal("1e-18"), Decimal("-0.5")], pa.decimal128(18, 18)),
        [Decimal("1e-18"), Decimal("-0.5")],
    ),
    ("numeric(12,3)", pa.array([Decimal("1.5"), None], pa.decimal128(38, 3)), [Decimal("1.500"), None]),
    ("numeric", pa.array([Decimal("1.5"), Decimal(10**30)], pa.decimal128(38, 1)), [Decimal("1.5"), Decimal(10**30)]),
    ("price", pa.array([Decimal("1.5")], pa.decimal128(5, 1)), [Decimal("1.500")]),
    ("text", pa.array(["é", "", None, 'a,"b\n\\.'], pa.large_string()), ["é", "", None, 'a,"b\n\\.']),
    ("text", pa.array([1, None]), ["1", None]),
    ("varchar(5)", pa.array(["abc", None]).dictionary_encode(), ["abc", None]),
    ("mood", pa.array(["good", None]), ["good", None]),
    ("json", pa.array(['{"a": 1}', None]), [{"a": 1}, None]),
    ("jsonb", pa.array(['{"a": 1}', None]), [{"a": 1}, None]),
    ("date", pa.array(["2024-01-01", None]), [dt.date(2024, 1, 1), None]),
    ("date", pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("ns")), [dt.date(2024, 1, 1), None]),
    ("timestamp", pa.array([MOMENT, None], pa.timestamp("ns")), [MOMENT, None]),
    ("timestamptz", pa.array([MOMENT], pa.timestamp("us", "America/Sao_Paulo")), [MOMENT.replace(tzinfo=dt.UTC)]),
    ("timestamptz", pa.array([MOMENT], pa.timestamp("us")), [MOMENT.replace(tzinfo=dt.UTC)]),
    ("time", pa.array([dt.time(1, 2, 3), None], pa.time64("ns")), [dt.time(1, 2, 3), None]),
    ("bool", pa.array([True, None, False]), [True, None, False]),
    ("bytea", pa.array([b"\0\xff", b"", None]), [b"\0\xff", b"", None]),
    ("int4[]", pa.array([[1, None], [], None]), [[1, None], [], None]),
    ("int4[]", pa.array([[[1], [2]], None]), [[[1], [2]], None]),
    ("text[]", pa.array([["a", 'b,"'], None]), [["a", 'b,"'], None]),
    ("int4", pa.nulls(2), [None, None]),
    ("inet[]", pa.nulls(2), [None, None]),
]


@pytest.mark.parametrize("case", range(len(WRITES)), ids=lambda case: f"{WRITES[case][1].type} to {WRITES[case][0]}")
async def test_columns_are_written_to_what_the_table_has(handler: PgSqlHandler, case: int) -> None:
    kind, column, expected = WRITES[case]
    await handler.async_execute_script(NEEDED)
    await handler.async_execute(f'CREATE TABLE "T ""x""" (place int, v {kind})')
    frame = pa.table({"v": column, "place": [*range(len(column))]})
    assert await handler.async_write_frame(frame, 'T "x"') == len(column)
    rows = await handler.async_fetch_all('SELECT v FROM "T ""x""" ORDER BY place')
    assert [row["v"] for row in rows] == expected


@pytest.mark.parametrize(
    ("kind", "column", "message"),
    [
        ("int4", pa.array([1, 2**31]), "column 'v': 2147483648 does not fit the type integer"),
        ("int4", pa.array([1.5]), r"column 'v': 1\.5 does not fit"),
        ("text", pa.array(["a\0b"]), "column 'v': .*NUL"),
        ("inet", pa.array(["10.0.0.1", "a\0b"]), "column 'v': .*NUL"),
        ("int8", pa.array(["12", "x"]), "invalid input syntax for type bigint"),
        ("varchar(2)", pa.array(["abc"]), "value too long"),
    ],
)
async def test_values_that_do_not_fit_are_refused(
    handler: PgSqlHandler, kind: str, column: pa.Array[Any], message: str
) -> None:
    await handler.async_execute(f"CREATE TABLE t (v {kind})")
    with pytest.raises((InvalidRequestError, QueryError), match=message):
        await handler.async_write_frame(pa.table({"v": column}), "t")
    assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0


async def test_a_table_that_changed_since_the_last_write_is_written_right(make: Make) -> None:
    async with make() as handler, make() as other:
        await handler.async_execute("CREATE TABLE t (v int8)")
        frame = pa.table({"v": [1, 2]})
        assert await handler.async_write_frame(frame, "t") == 2
        await other.async_execute("ALTER TABLE t ALTER v TYPE float8")
        with pytest.raises(QueryError, match="changed while it was written to"):
            await handler.async_write_frame(frame, "t")
        assert await handler.async_write_frame(frame, "t") == 2
        rows = await handler.async_fetch_all("SELECT v FROM t ORDER BY v")
    assert [row["v"] for row in rows] == [1.0, 1.0, 2.0, 2.0]
