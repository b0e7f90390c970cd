"""Values into SQLite and out of it again, each through a real database."""

from __future__ import annotations

import datetime as dt
import enum
import math
import sqlite3
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.errors import InvalidRequestError, ParameterError, QueryError
from echo_connhandler._core.sqlite.arrow import columns_to_arrow, sqlite_field_type
from echo_connhandler._core.sqlite.dialect import SQLITE
from echo_connhandler._core.sqlite.values import adapt, adapt_row, to_sqlite_rows


def naive(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, *, microsecond: int = 0
) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, microsecond)


SAO_PAULO = ZoneInfo("America/Sao_Paulo")


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (math.inf, math.inf),
        ("a\0é", "a\0é"),
        (b"\xff", b"\xff"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"abc")[1:], b"bc"),
        (dt.date(1, 1, 1), "0001-01-01"),
        (naive(1969, 12, 31, 23, 59, 59), "1969-12-31 23:59:59"),
        (naive(2024, 1, 2, microsecond=5), "2024-01-02 00:00:00.000005"),
        (dt.datetime(2024, 1, 2, tzinfo=SAO_PAULO), "2024-01-02 03:00:00+00:00"),
        (dt.datetime(2024, 1, 2, 0, 0, 0, 5, dt.UTC), "2024-01-02 00:00:00.000005+00:00"),
        (dt.time(1, 2, 3), "01:02:03"),
        (dt.time(1, 2, 3, 4), "01:02:03.000004"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-1E-10"), "-0.0000000001"),
        (Decimal("0E-9"), "0.000000000"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (Number.ONE, 1),
        ({"a": [1, "é", None]}, '{"a": [1, "é", null]}'),
        (OrderedDict(a=Decimal("1.50")), '{"a": "1.50"}'),
        ((1, dt.date(2024, 1, 2)), '[1, "2024-01-02"]'),
        (np.int32(7), 7),
        (np.uint8(7), 7),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.bool_(True), 1),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (np.datetime64("2024-01"), "2024-01-01"),
        (np.datetime64("2024-01-02T03"), "2024-01-02 03:00:00"),
        (np.datetime64("2024-01-02T03:04:05.5"), "2024-01-02 03:04:05.500000"),
        (np.datetime64("2024-01-02T03:04:05.000000001"), "2024-01-02 03:04:05.000000001"),
        (np.datetime64("2024-01-02T03:04:05.000000000"), "2024-01-02 03:04:05"),
        (np.datetime64("NaT", "ns"), None),
        (pd.Timestamp("2024-01-02 03:04:05.000000001"), "2024-01-02 03:04:05.000000001"),
        (pd.Timestamp("2024-01-02 03:04:05.5", tz="America/Sao_Paulo"), "2024-01-02 06:04:05.500000+00:00"),
        (pd.NaT, None),
        (pd.NA, None),
    ],
)
def test_bound_values(value: Any, stored: Any) -> None:
    found = adapt(value)
    assert (type(found), found) == (type(stored), stored)
    assert adapt_row([value, 1]) == (stored, 1)
    connection = sqlite3.connect(":memory:")
    assert connection.execute("SELECT ?", (found,)).fetchone() == (stored,)
    connection.close()


class Text(str):
    __slots__ = ()


def test_subclasses_are_stored_as_what_they_are() -> None:
    assert type(adapt(Text("x"))) is str
    assert adapt(Text("x")) == "x"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (np.uint64(2**63), "64 bits"),
        (math.nan, "NaN"),
        (np.float64("nan"), "NaN"),
        ("\ud800", "lone surrogate at position 0"),
        (["\ud800"], "lone surrogate"),
        ({"a": math.nan}, "JSON"),
        ([b"a"], "JSON has no bytes"),
        ({(1, 2): 3}, "JSON"),
        (dt.time(1, tzinfo=dt.UTC), "zone"),
        (dt.datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")), "years 1 to 9999"),
        (dt.timedelta(1), r"datetime\.timedelta"),
        (pd.Timedelta(1, "s"), "Timedelta"),
        (np.timedelta64(1, "s"), "timedelta64"),
        (np.datetime64("10000-01-01"), "datetime64"),
        (np.datetime64("-0001-01-01"), "datetime64"),
        (np.datetime64(1, "ps"), "datetime64"),
        (np.longdouble(1), "numpy"),
        (np.array([1]), "ndarray"),
        ({1}, "set"),
        (1j, "complex"),
        (object(), "object"),
    ],
)
def test_values_that_sqlite_can_not_hold_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        adapt(value)
    with pytest.raises(ParameterError, match=reason):
        adapt_row((1, value))


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()))
def test_plain_rows_are_as_they_were(values: list[Any]) -> None:
    try:
        assert adapt_row(values) == tuple(values)
    except ParameterError as error:
        assert "surrogate" in str(error)


def through(column: Any) -> tuple[Any, list[Any]]:
    """Write a column as a frame is written and read it back; the second is what SQLite stored."""
    batch = pa.record_batch([column], names=["c"])
    connection = sqlite3.connect(":memory:")
    connection.execute(SQLITE.create_table_sql("t", None, batch.schema))
    connection.executemany(SQLITE.insert_sql(SQLITE.target("t", None, ["c"])), to_sqlite_rows(batch))
    declared = connection.execute("SELECT type FROM pragma_table_info('t')").fetchone()
    rows = connection.execute("SELECT c FROM t ORDER BY rowid").fetchall()
    connection.close()
    found = columns_to_arrow(["c"], declared, rows).column(0)
    assert columns_to_arrow(["c"], declared, []).column(0).type == sqlite_field_type(declared[0])
    return found, [row[0] for row in rows]


EDGES = st.sampled_from(
    [
        naive(1, 1, 1),
        naive(9999, 12, 31, 23, 59, 59, microsecond=999999),
        naive(1969, 12, 31, 23, 59, 59, microsecond=999999),
        naive(1970, 1, 1),
    ]
)


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, max_size=8)


EXACT = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.bool_(), st.booleans()),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(st.characters(codec="utf-8"))),
    (pa.binary(), st.binary()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes() | EDGES),
    (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    (pa.time64("us"), st.times()),
    (pa.decimal128(38, 10), st.decimals(-(10**27), 10**27, places=10)),
    (pa.decimal128(38, 38), st.decimals(-1, 1, places=38).filter(lambda value: abs(value) < 1)),
    (pa.decimal128(9, 0), st.decimals(-(10**8), 10**8, places=0)),
    (pa.decimal256(50, 20), st.decimals(-(10**29), 10**29, places=20)),
    (pa.decimal256(76, 0), st.integers(-(10**75), 10**75).map(Decimal)),
]


@pytest.mark.parametrize(("kind", "values"), EXACT, ids=lambda value: str(value)[:20])
@given(data=st.data())
def test_columns_come_back_exactly(kind: pa.DataType, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    column = pa.array(data.draw(lists(values)), kind)
    found, _ = through(column)
    assert found.type == kind
    assert found.equals(column)


# Arrow reads text from the first whole second of its range on.
NANOSECONDS = st.integers(-9_223_372_036 * 10**9, 2**63 - 1)


@pytest.mark.parametrize("zone", [None, "UTC"])
@given(values=lists(NANOSECONDS | st.integers(-(10**12), 10**12).map(lambda n: n * 1000)))
def test_nanoseconds_come_back_exactly(zone: str | None, values: list[int | None]) -> None:
    column = pa.array(values, pa.int64()).cast(pa.timestamp("ns", zone))
    found, _ = through(column)
    fine = any(value is not None and value % 1000 for value in values)
    assert found.type == pa.timestamp("ns" if fine else "us", zone)
    assert found.cast(pa.timestamp("ns", zone)).equals(column)


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        (pa.array([1, 2], pa.int8()), [1, 2]),
        (pa.array([1, None], pa.uint64()), [1, None]),
        (pa.array([0.1], pa.float32()), [pa.scalar(0.1, pa.float32()).as_py()]),
        (pa.array([0.5], pa.float16()), [0.5]),
        (pa.array([True, None]), [1, None]),
        (pa.nulls(2), [None, None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([b"a", None], pa.large_binary()), [b"a", None]),
        (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
        (pa.array([b"ab"], pa.binary(2)), [b"ab"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
        (pc.run_end_encode(pa.array([7, 7, None])), [7, 7, None]),  # type: ignore[attr-defined]
        (pa.array([dt.date(2024, 1, 2)], pa.date64()), ["2024-01-02"]),
        (pa.array([naive(2024, 1, 2), None], pa.timestamp("s")), ["2024-01-02 00:00:00", None]),
        (
            pa.array([naive(2024, 1, 2, microsecond=120000), naive(1900, 1, 1)], pa.timestamp("ms")),
            ["2024-01-02 00:00:00.120000", "1900-01-01 00:00:00"],
        ),
        (
            pa.array([1, 1_000, 1_000_000_000], pa.int64()).cast(pa.timestamp("ns")),
            ["1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000001", "1970-01-01 00:00:01"],
        ),
        (
            pa.array([dt.datetime(2024, 1, 2, tzinfo=SAO_PAULO), None], pa.timestamp("us", "America/Sao_Paulo")),
            ["2024-01-02 03:00:00+00:00", None],
        ),
        (pa.array([dt.time(1, 2, 3)], pa.time32("ms")), ["01:02:03"]),
        (pa.array([1, 10**9], pa.int64()).cast(pa.time64("ns")), ["00:00:00.000000001", "00:00:01"]),
        (pa.array([Decimal(0), Decimal("1E-10")], pa.decimal128(38, 10)), ["0.0000000000", "0.0000000001"]),
        (pa.array([Decimal("1E+2")], pa.decimal128(5, -2)), ["100"]),
        (pa.array([Decimal("1.5")], pa.decimal32(5, 2)), ["1.50"]),
        (pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()), [str(uuid.UUID(int=1)), None]),
        (pa.array(['{"a": 1}'], pa.json_()), ['{"a": 1}']),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_what_sqlite_stores(column: Any, stored: list[Any]) -> None:
    assert through(column)[1] == stored
    if len(column) > 1:  # a slice starts elsewhere in the same buffers
        assert through(column[1:])[1] == stored[1:]


@given(st.datetimes(), st.sampled_from([None, "UTC", "America/Sao_Paulo"]))
def test_frames_and_parameters_store_the_same(moment: dt.datetime, zone: str | None) -> None:
    kind = pa.timestamp("us", zone)
    if zone is not None:
        moment = moment.replace(tzinfo=dt.UTC)
    assert to_sqlite_rows(pa.record_batch([pa.array([moment], kind)], names=["c"])) == [adapt_row((moment,))]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([1, 2**63], pa.uint64()), r"'c' holds 9223372036854775808, but"),
        (pa.array([1.0, math.nan]), "'c' holds NaN"),
        (pa.array([3_000_000], pa.int32()).cast(pa.date32()), "'c' holds a value beyond the years"),
        (pa.array([253402300800], pa.int64()).cast(pa.timestamp("s")), "'c' holds a value beyond the years"),
        (pa.array([-62135596801], pa.int64()).cast(pa.timestamp("s")), "'c' holds a value beyond the years"),
    ],
)
def test_columns_that_sqlite_can_not_hold_are_refused(column: Any, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        to_sqlite_rows(pa.record_batch([column], names=["c"]))


def test_rows_of_no_columns() -> None:
    assert to_sqlite_rows(pa.table({"a": [1, 2]}).select([]).to_batches()[0]) == [(), ()]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("boolean", pa.bool_()),
        ("Date", pa.date32()),
        ("DATETIME", pa.timestamp("us")),
        ("timestamp(6)", pa.timestamp("us")),
        ("TIMESTAMP (3) WITH  TIME ZONE", pa.timestamp("us", "UTC")),
        ("TIMESTAMPTZ", pa.timestamp("us", "UTC")),
        ("TIME", pa.time64("us")),
        ("DECIMAL_TEXT(38, 2)", pa.decimal128(38, 2)),
        ("DECIMAL_TEXT(39,-2)", pa.decimal256(39, -2)),
        ("DECIMAL_TEXT(77,0)", pa.string()),
        ("UNSIGNED BIG INT", pa.int64()),
        ("VARCHAR(20)", pa.string()),
        ("NATIVE CHARACTER(70)", pa.string()),
        ("CLOB", pa.string()),
        ("BLOB", pa.binary()),
        ("DOUBLE PRECISION", pa.float64()),
        ("FLOAT", pa.float64()),
        ("NUMERIC", None),
        ("DECIMAL(10,5)", None),
        ("", None),
    ],
)
def test_declared_types(declared: str, kind: pa.DataType | None) -> None:
    assert sqlite_field_type(declared) == kind


@pytest.mark.parametrize(
    ("declared", "values", "kind"),
    [
        ("INTEGER", [1, None], pa.int64()),
        ("INTEGER", ["x", None], pa.string()),
        ("INTEGER", [1, 1.5], pa.float64()),
        ("TEXT", [b"x"], pa.binary()),
        ("BLOB", ["x"], pa.string()),
        ("BLOB", [7], pa.int64()),
        ("REAL", [1.5, 2], pa.float64()),
        ("BOOLEAN", [0, 1, 2], pa.int64()),
        ("BOOLEAN", ["true"], pa.string()),
        ("DATE", ["2024-01-02", "yesterday"], pa.string()),
        ("DATE", [20240102], pa.int64()),
        ("TIMESTAMP", [1700000000], pa.int64()),
        ("TIMESTAMP", ["2024-01-02 00:00:00+00:00"], pa.string()),
        ("TIMESTAMPTZ", ["2024-01-02 00:00:00"], pa.string()),
        ("TIMESTAMP", ["2024-01-02T03:04:05.000000001", "2024-01-02"], pa.timestamp("ns")),
        ("TIMESTAMP", ["2024-01-02T03:04:05.000000001", "9999-01-02"], pa.string()),
        ("TIME", ["10:00:00.000000001"], pa.time64("ns")),
        ("TIME", ["10"], pa.string()),
        ("TIME", ["25:00:00"], pa.string()),
        ("TIME", ["10:00:00+01:00"], pa.string()),
        ("DECIMAL_TEXT(5,2)", ["1.5", None], pa.decimal128(5, 2)),
        ("DECIMAL_TEXT(5,2)", ["1.555"], pa.string()),
        ("DECIMAL_TEXT(5,2)", ["NaN", ""], pa.string()),
        ("NUMERIC", [1, 2], pa.int64()),
        ("NUMERIC", [1, 2.5], pa.float64()),
        ("", ["a"], pa.string()),
        ("", [b"a"], pa.binary()),
        ("", [None], pa.null()),
        (None, [1.5, None], pa.float64()),
    ],
)
def test_columns_have_the_type_their_values_fit(declared: str | None, values: list[Any], kind: pa.DataType) -> None:
    column = columns_to_arrow(["c"], [declared], [(value,) for value in values]).column(0)
    assert column.type == kind
    if kind in (pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.null()):
        assert column.to_pylist() == values


@pytest.mark.parametrize(
    ("declared", "values", "met"),
    [
        ("TEXT", ["a", b"a"], "BLOB and TEXT"),
        ("BLOB", ["a", b"a"], "BLOB and TEXT"),
        ("", [1, "a", None], "INTEGER and TEXT"),
        ("INTEGER", [1.5, "a"], "REAL and TEXT"),
        ("DATE", ["2024-01-02", 7], "INTEGER and TEXT"),
        ("", [2**53 + 1, 1.5], "INTEGER and REAL"),
    ],
)
def test_columns_that_no_type_fits_are_refused(declared: str, values: list[Any], met: str) -> None:
    with pytest.raises(QueryError, match=rf"column 'c' holds {met} values.*CAST"):
        columns_to_arrow(["c"], [declared], [(value,) for value in values])


def test_repeated_names_are_refused() -> None:
    with pytest.raises(QueryError, match=r"same name: 'a', 'c': give each its own with AS"):
        columns_to_arrow(["a", "b", "a", "c", "c"], [""] * 5, [])


def test_later_batches_keep_the_schema() -> None:
    declared = ["INTEGER", "", "TIMESTAMP", "", "TEXT"]
    names = list("abcde")
    first = columns_to_arrow(names, declared, [(1, 1.5, "2024-01-02 00:00:00", None, "x")])
    later = columns_to_arrow(names, declared, [(None, 2, None, None, None)], first.schema)
    assert later.schema == first.schema
    assert later.to_pylist() == [{"a": None, "b": 2.0, "c": None, "d": None, "e": None}]
    assert columns_to_arrow(names, declared, [], first.schema).schema == first.schema

    for row, name, met in [
        ((1.5, None, None, None, None), "a", "REAL"),
        (("x", None, None, None, None), "a", "TEXT"),
        ((None, 2**53 + 1, None, None, None), "b", "INTEGER"),
        ((None, None, "2024-01-02 00:00:00.000000001", None, None), "c", "TEXT"),
        ((None, None, None, 1, None), "d", "INTEGER"),
        ((None, None, None, None, b"x"), "e", "BLOB"),
    ]:
        with pytest.raises(QueryError, match=rf"column '{name}' holds {met} values, and the rows before.*CAST"):
            columns_to_arrow(names, declared, [row], first.schema)
