"""Every type of PostgreSQL comes and goes as documented, alike through both libraries."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from echo_connhandler import PgSqlHandler
from echo_connhandler.errors import ParameterError, QueryError
from echo_connhandler.sql import Interval, Range
from tests.postgres_types import SETUP, VALUES, same
from tests.servers.daemon import Database
from tests.sql_services import postgres_service


@pytest.fixture
async def handler(postgres_database: Database) -> AsyncIterator[Any]:
    async with postgres_service(postgres_database).make() as opened:
        yield opened


async def test_every_type_comes_as_documented(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(SETUP)
    wrong = []
    for value in VALUES:
        got = await handler.async_fetch_value(f"SELECT {value.literal}")
        if not same(got, value.python):
            wrong.append(f"{value.literal}: {got!r}, not {value.python!r}")
    assert not wrong


async def test_every_type_comes_the_same_through_a_cursor_and_beside_others(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(SETUP)
    columns = ", ".join(f"{value.literal} AS c{n}" for n, value in enumerate(VALUES))
    rows = [row async for row in handler.async_iterate(f"SELECT {columns} FROM generate_series(1, 3)")]
    assert len(rows) == 3
    for row in rows:
        assert not [value for got, value in zip(row.values(), VALUES, strict=True) if not same(got, value.python)]


async def test_every_value_goes_back_as_a_parameter(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(SETUP)
    columns = ", ".join(f"c{n} {value.sql}" for n, value in enumerate(VALUES))
    await handler.async_execute(f"CREATE TABLE t ({columns})")
    wrong = []
    for n, value in enumerate(VALUES):
        # A composite's dict has no place as a parameter, and a multirange is a list: their text does.
        sent = value.text if "place" in value.sql or "multirange" in value.sql else value.python
        await handler.async_execute("TRUNCATE t")
        try:
            await handler.async_execute(f"INSERT INTO t (c{n}) VALUES (:v)", {"v": sent})
        except QueryError as error:
            wrong.append(f"{value.sql} {sent!r}: {error}")
            continue
        got = await handler.async_fetch_value(f"SELECT c{n} FROM t")
        if not same(got, value.python):
            wrong.append(f"{value.sql} {sent!r}: {got!r}, not {value.python!r}")
    assert not wrong


async def test_hstore_is_a_dict(handler: PgSqlHandler) -> None:
    if not await handler.async_fetch_value("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'"):
        pytest.skip("the server has no hstore")
    await handler.async_execute("CREATE EXTENSION hstore")
    pairs = {"a": "1", 'q"\\': None, "é => ,": ""}
    await handler.async_execute("CREATE TABLE h (v hstore)")
    await handler.async_execute("INSERT INTO h VALUES (:v)", {"v": pairs})
    assert await handler.async_fetch_value("SELECT v FROM h") == pairs
    assert await handler.async_fetch_value("SELECT ARRAY[v] FROM h") == [pairs]
    with pytest.raises(ParameterError, match="hstore"):
        await handler.async_execute("INSERT INTO h VALUES (:v)", {"v": {"a": 1}})


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
# Type of a column, the value given, the value read back.
GIVEN: list[tuple[str, Any, Any]] = [
    ("text", 5, "5"),
    ("text", Decimal("1.50"), "1.50"),
    ("text", True, "true"),
    ("text", Colour.RED, "red"),
    ("varchar(10)", UUID(int=7), None),  # too long: refused
    ("int", "5", 5),
    ("int", " 7 ", 7),
    ("int", Level.HIGH, 3),
    ("int", np.int64(9), 9),
    ("int", 5.0, 5),
    ("bigint", 2**40, 2**40),
    ("numeric", 2**70, Decimal(2**70)),
    ("numeric", "1.50", Decimal("1.50")),
    ("numeric", 1, Decimal(1)),
    ("numeric", 1.5, Decimal("1.5")),
    ("numeric", Decimal("1e-30"), Decimal("1e-30")),
    ("numeric", Decimal("1E+5"), Decimal(100000)),
    ("double precision", Decimal("1.5"), 1.5),
    ("double precision", "nan", float("nan")),
    ("double precision", 3, 3.0),
    ("real", 0.1, 0.10000000149011612),
    ("boolean", "yes", True),
    ("boolean", np.bool_(True), True),
    ("date", "2026-11-20", dt.date(2026, 11, 20)),
    ("date", NOON, dt.date(2026, 11, 20)),
    ("date", "infinity", "infinity"),
    ("timestamptz", NOON.astimezone(dt.timezone(dt.timedelta(hours=-3))), NOON),
    ("timestamptz", NOON.replace(tzinfo=None), NOON),
    ("timestamptz", "2026-11-20 12:00", NOON),
    ("timestamptz", pd.Timestamp(NOON), NOON),
    ("timestamptz", pd.NaT, None),
    ("timestamp", NOON.replace(tzinfo=None), NOON.replace(tzinfo=None)),
    ("timestamp", np.datetime64("2026-11-20T12:00:00"), NOON.replace(tzinfo=None)),
    ("time", dt.time(1, 2, 3), dt.time(1, 2, 3)),
    ("interval", dt.timedelta(days=-1, microseconds=5), Interval(0, -1, 5)),
    ("interval", "1 month", Interval(1)),
    ("uuid", str(UUID(int=7)), UUID(int=7)),
    ("inet", "10.0.0.1", ipaddress.ip_address("10.0.0.1")),
    ("jsonb", {"a": [1, None, NOON.date()]}, {"a": [1, None, "2026-11-20"]}),
    ("jsonb", [1, "x"], [1, "x"]),
    ("jsonb", (1, 2), [1, 2]),
    ("jsonb", '{"a": 1}', {"a": 1}),
    ("json", {"b": 1, "a": 2}, {"b": 1, "a": 2}),
    ("int[]", (1, None), [1, None]),
    ("int[]", [], []),
    ("int[]", "{1,2}", [1, 2]),
    ("int[]", np.array([1, 2]), [1, 2]),
    ("numeric[]", [1, Decimal("2.5")], [Decimal(1), Decimal("2.5")]),
    ("text[]", ["a,b", 'q"\\', "NULL", None, ""], ["a,b", 'q"\\', "NULL", None, ""]),
    ("date[]", [dt.date(2026, 1, 1)], [dt.date(2026, 1, 1)]),
    ("uuid[]", [UUID(int=7)], [UUID(int=7)]),
    ("bytea", bytearray(b"\x00'"), b"\x00'"),
    ("bytea", memoryview(b"x"), b"x"),
    ("bytea", r"\x00ff", b"\x00\xff"),
    ("int4range", Range(1, 5, "[]"), Range(1, 6)),
    ("daterange", Range(dt.date(2026, 1, 1), None), Range(dt.date(2026, 1, 1), None)),
    ("int4range", Range(empty=True), Range(empty=True)),
    ('"char"', "x", "x"),
]


async def test_values_of_python_find_their_column(handler: PgSqlHandler) -> None:
    wrong = []
    for sql, given, expected in GIVEN:
        await handler.async_execute("DROP TABLE IF EXISTS t")
        await handler.async_execute(f"CREATE TABLE t (v {sql})")
        try:
            await handler.async_execute("INSERT INTO t VALUES (:v)", {"v": given})
            got = await handler.async_fetch_value("SELECT v FROM t")
            many = await handler.async_execute_many("INSERT INTO t VALUES (:v)", [{"v": None}, {"v": given}])
            both = await handler.async_fetch_value("SELECT count(*) FROM t WHERE v IS NULL") == 1 + (got is None) * 2
        except QueryError as error:
            got, many, both = error.code, 2, True
            expected = "22001" if expected is None else expected
        if not same(got, expected) or many != 2 or not both:
            wrong.append(f"{sql} {given!r}: {got!r}, not {expected!r}")
    assert not wrong


async def test_parameters_bring_their_type_where_the_server_can_not_tell(handler: PgSqlHandler) -> None:
    one = handler.async_fetch_value
    assert same(await one("SELECT :v", {"v": 5}), 5)
    assert same(await one("SELECT :v", {"v": 1.5}), 1.5)
    assert same(await one("SELECT :v", {"v": True}), True)
    assert same(await one("SELECT :v", {"v": "x"}), "x")
    assert await one("SELECT :v", {"v": None}) is None
    assert same(await one("SELECT :v", {"v": NOON}), NOON)
    assert same(await one("SELECT :v", {"v": [1, 2]}), [1, 2])
    assert same(await one("SELECT :v", {"v": b"\0"}), b"\0")
    assert same(await one("SELECT :a + :b", {"a": 2, "b": 3}), 5)
    assert same(await one("SELECT :a * 10", {"a": 0.5}), 5.0)
    assert same(await one("SELECT :at - :delta", {"at": NOON, "delta": dt.timedelta(hours=1)}), NOON.replace(hour=11))
    assert await one("SELECT count(*) FROM generate_series(:a, :b)", {"a": 1, "b": 4}) == 4
    assert await one("SELECT count(*) FROM generate_series(1, 9) n WHERE n > :x", {"x": 7.5}) == 2
    assert await one("SELECT count(*) FROM generate_series(1, 9) n WHERE n = ANY(:x)", {"x": [1, 2, 77]}) == 2
    assert await one("SELECT sum(n) FROM unnest(:x) n", {"x": [1, 2]}) == 3
    assert await one("SELECT repeat('x', :n)", {"n": 3}) == "xxx"
    assert await one("SELECT count(*) FROM pg_class LIMIT :n", {"n": 1}) > 0
    assert await one("SELECT :x::int", {"x": "7"}) == 7
    assert await one("SELECT :x IS NULL OR 1 = :x", {"x": 1}) is True


async def test_many_rows_of_mixed_values_get_one_type(handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (n numeric, v text, j jsonb)")
    rows = [
        {"n": n, "v": v, "j": j}
        for n, v, j in [
            (1, "a", {"a": 1}),
            (2.5, 5, [1]),
            (None, None, None),
            (Decimal("1e-9"), "é", {}),
            (2**70, b"x", "1"),
        ]
    ]
    assert await handler.async_execute_many("INSERT INTO t VALUES (:n, :v, :j)", rows) == 5
    got = await handler.async_fetch_all("SELECT v, j FROM t")
    assert [row["v"] for row in got] == ["a", "5", None, "é", r"\x78"]
    assert [row["j"] for row in got] == [{"a": 1}, [1], None, {}, 1]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "builtins.object"),
        ({1, 2}, "builtins.set"),
        (1j, "builtins.complex"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        (Decimal("sNaN"), "signalling"),
        ([object()], "builtins.object"),
    ],
)
async def test_values_without_a_place_are_refused(handler: PgSqlHandler, value: Any, says: str) -> None:
    await handler.async_execute("CREATE TABLE t (v text)")
    with pytest.raises(ParameterError, match=says):
        await handler.async_execute("INSERT INTO t VALUES (:v)", {"v": value})
    assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0
    with pytest.raises(ParameterError, match="JSON"):
        await handler.async_execute("INSERT INTO t VALUES (:v)", {"v": {"x": float("nan")}})


async def test_a_changed_type_is_not_misread(handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TYPE pair AS (a int, b int)")
    assert await handler.async_fetch_value("SELECT CAST('(1,2)' AS pair)") == {"a": 1, "b": 2}
    await handler.async_execute("ALTER TYPE pair ADD ATTRIBUTE c int")
    assert await handler.async_fetch_value("SELECT CAST('(1,2,3)' AS pair)") in ("(1,2,3)", {"a": 1, "b": 2, "c": 3})
