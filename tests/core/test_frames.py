"""Frames in and out: what is taken for one, what is refused, and what the columns become."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from echo_connhandler._core.errors import InvalidRequestError, MissingExtraError, QueryError
from echo_connhandler._core.frames import (
    arrow_reader,
    check_columns,
    check_keys,
    decimal_text,
    find_duplicate_key,
    is_rereadable,
    iter_slices,
    to_pandas,
    to_polars,
)

TABLE = pa.table({"a": [1, 2, None], "s": ["x", None, "z"]})


class Stream:
    """Some library's frame that speaks the Arrow C stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]


class Batch:
    """Some library's frame that speaks the Arrow C array."""

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        batch = TABLE.to_batches()[0]
        return batch.__arrow_c_array__(requested_schema)  # type: ignore[no-untyped-call]


FRAMES = [
    (lambda: TABLE, True),
    (lambda: TABLE.to_batches()[0], True),
    (lambda: TABLE.to_reader(), False),
    (lambda: pl.DataFrame({"a": [1, 2, None], "s": ["x", None, "z"]}), True),
    (lambda: pd.DataFrame({"a": pd.array([1, 2, None], "Int64"), "s": ["x", None, "z"]}), True),
    (Stream, False),
    (Batch, True),
]


@pytest.mark.parametrize(("make", "again"), FRAMES)
def test_all_kinds_of_frames_are_read(make: Any, again: bool) -> None:
    frame = make()
    assert is_rereadable(frame) is again
    for _ in range(2 if again else 1):
        assert arrow_reader(frame).read_all().to_pydict() == TABLE.to_pydict()


def test_a_stream_is_not_consumed_by_asking() -> None:
    reader = TABLE.to_reader()
    assert not is_rereadable(reader)
    arrow_reader(reader)
    assert reader.read_all().equals(TABLE)


def test_the_index_of_a_pandas_frame_is_not_written() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["p", "q"], name="key"))
    assert arrow_reader(frame).schema.names == ["a"]


def test_empty_frames_keep_their_columns() -> None:
    frame = pl.DataFrame(schema={"a": pl.Int32, "b": pl.Date})
    found = arrow_reader(frame)
    assert found.schema.types == [pa.int32(), pa.date32()]
    assert found.read_all().num_rows == 0


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pl.DataFrame({"a": [1]}).lazy(), r"polars.*LazyFrame: call \.collect\(\) first"),
        ([{"a": 1}], r"list: build one"),
        ({"a": [1]}, r"dict: build one"),
        (pd.Series([1]), "Series"),
        (pl.Series([1]), "Series"),
        (pa.chunked_array([[1]]), "ChunkedArray"),
        (pa.array([1]), "Array"),
        (np.zeros(2), "ndarray"),
        ("a,b", r"builtins\.str"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_frame_is_refused(frame: Any, told: str) -> None:
    with pytest.raises(TypeError, match=rf"a frame is a pandas or polars DataFrame.*{told}"):
        arrow_reader(frame)
    assert not (hasattr(frame, "__arrow_c_stream__") and is_rereadable(frame))


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame({"mix": [1, "x"]}, dtype=object), "column mix"),
        (pd.DataFrame({"bad": ["\ud800"]}, dtype=object), "surrogates"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name: 'a', 'a'"),
        (pd.DataFrame([[1, 2]]), "text, not 0"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), r"text, not \('a', 'b'\)"),
        (pl.DataFrame({"big": pl.Series([1], dtype=pl.Int128)}), "Arrow doesn't know"),
        (pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), "column 'o' holds Python objects"),
    ],
)
def test_columns_that_arrow_can_not_hold_are_refused(frame: Any, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        arrow_reader(frame)


def test_slices_are_no_longer_than_asked() -> None:
    table = pa.concat_tables([TABLE, TABLE.slice(0, 0), TABLE])
    pieces = list(iter_slices(table.to_reader(), 2))
    assert [piece.num_rows for piece in pieces] == [2, 1, 2, 1]
    assert pa.Table.from_batches(pieces).equals(table.combine_chunks())


def test_check_columns() -> None:
    check_columns(["b", "a"], ["a", "b", "c"], "t")
    check_columns(["A"], ["a"], "t", fold_case=True)
    with pytest.raises(InvalidRequestError, match=r"table 't' has no column 'x', 'y'; it has 'a', 'b'.*rename.*ALTER"):
        check_columns(["a", "x", "y"], ["a", "b"], "t")
    with pytest.raises(InvalidRequestError, match="has no column 'A'"):
        check_columns(["A"], ["a"], "t")
    with pytest.raises(InvalidRequestError, match="has no column 'É'"):
        check_columns(["É"], ["é"], "t", fold_case=True)
    with pytest.raises(InvalidRequestError, match="same name: 'a', 'a'"):
        check_columns(["a", "b", "a"], ["a", "b"], "t")
    check_columns(["a", "A"], ["a", "A"], "t")
    with pytest.raises(InvalidRequestError, match="same name: 'a', 'A'"):
        check_columns(["a", "A"], ["a"], "t", fold_case=True)


def test_check_keys() -> None:
    check_keys(["b", "a"], ["a", "b", "c"])
    check_keys([], ["a"])
    for keys, told in [
        ("id", r"keys=\[\"id\"\], not 'id'"),
        (["a", "a"], "named twice"),
        (["a", "x"], "no key column 'x'; it has 'a', 'b'"),
    ]:
        with pytest.raises(InvalidRequestError, match=told):
            check_keys(keys, ["a", "b"])


KEYS = [
    pa.array([1, 2, 1]),
    pa.array(["x", "y", "x"]),
    pa.array(["x", "y", "x"], pa.large_string()),
    pa.array(["x", "y", "x"], pa.string_view()),
    pa.array(["x", "y", "x"]).dictionary_encode(),
    pa.array([b"x", b"y", b"x"]),
    pa.array([Decimal("1.5"), Decimal(2), Decimal("1.5")], pa.decimal256(50, 2)),
    pa.array([dt.date(2024, 1, 2), dt.date(2024, 1, 3), dt.date(2024, 1, 2)]),
    pa.array([True, False, True]),
    pa.array([0.0, 1.0, -0.0]),
    pa.array([b"a" * 16, b"b" * 16, b"a" * 16], pa.uuid()),
]


@pytest.mark.parametrize("column", KEYS, ids=lambda column: str(column.type))
def test_duplicate_keys_are_found(column: Any) -> None:
    table = pa.table({"count_all": column, "k": [7, 7, 7], "v": [1, 2, 3]})
    found = find_duplicate_key(table, ["k", "count_all"])
    assert found is not None
    assert list(found) == ["k", "count_all"]
    assert found["k"] == 7
    assert find_duplicate_key(table.slice(0, 2), ["k", "count_all"]) is None
    assert find_duplicate_key(table.slice(0, 0), ["k"]) is None


def test_duplicate_keys_are_found_across_chunks_with_their_own_dictionaries() -> None:
    chunks = [pa.array(["x"]).dictionary_encode(), pa.array(["y", "x"]).dictionary_encode()]
    table = pa.Table.from_arrays([pa.chunked_array(chunks)], names=["k"])
    assert find_duplicate_key(table, ["k"]) == {"k": "x"}


def test_null_keys_are_refused() -> None:
    table = pa.table({"k": ["x", "y", None], "v": [None, None, None]})
    with pytest.raises(InvalidRequestError, match="key column 'k' is NULL in row 2"):
        find_duplicate_key(table, ["k"])


FULL = pa.table(
    {
        "i": pa.array([2**53 + 1, None]),
        "u": pa.array([1, 2], pa.uint8()),
        "b": pa.array([True, None]),
        "f": pa.array([1.5, None]),
        "s": pa.array(["x", None]),
        "ls": pa.array(["x", None], pa.large_string()),
        "bin": pa.array([b"x", None]),
        "date": pa.array([dt.date(1, 1, 2), None]),
        "time": pa.array([dt.time(1, 2, 3, 4), None]),
        "ts": pa.array([dt.datetime(9999, 1, 2), None], pa.timestamp("us")),
        "tz": pa.array([dt.datetime(2024, 1, 2, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC")),
        "ns": pa.array([1, None], pa.int64()).cast(pa.timestamp("ns")),
        "d": pa.array([Decimal("1.10"), None], pa.decimal128(38, 2)),
        "big": pa.array([Decimal("1" * 50), None], pa.decimal256(60, 2)),
        "n": pa.nulls(2),
    }
)


def test_pandas_dtypes() -> None:
    frame = to_pandas(FULL)
    text = str(pd.DataFrame({"x": ["a"]})["x"].dtype)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "i": "Int64",
        "u": "UInt8",
        "b": "boolean",
        "f": "float64",
        "s": text,
        "ls": text,
        "bin": "binary[pyarrow]",
        "date": "date32[day][pyarrow]",
        "time": "time64[us][pyarrow]",
        "ts": "datetime64[us]",
        "tz": "datetime64[us, UTC]",
        "ns": "datetime64[ns]",
        "d": "decimal128(38, 2)[pyarrow]",
        "big": "decimal256(60, 2)[pyarrow]",
        "n": "null[pyarrow]",
    }
    first, second = frame.iloc[0].to_dict(), frame.iloc[1].to_dict()
    assert first["i"] == 2**53 + 1
    assert first["big"] == Decimal("1" * 50)
    assert (first["d"], first["date"], first["time"]) == (
        Decimal("1.10"),
        dt.date(1, 1, 2),
        dt.time(1, 2, 3, 4),
    )
    assert first["ts"].year == 9999
    assert first["tz"].utcoffset() == dt.timedelta(0)
    assert all(pd.isna(second[name]) for name in FULL.schema.names if name != "u")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_dtypes_follow_from_the_columns_types_alone(rows: int) -> None:
    assert to_pandas(FULL.slice(0, rows)).dtypes.equals(to_pandas(FULL).dtypes)
    assert to_polars(FULL.slice(0, rows)).schema == to_polars(FULL).schema
    empty = pa.Table.from_batches([], schema=FULL.schema)
    assert to_pandas(empty).dtypes.equals(to_pandas(FULL).dtypes)
    assert to_polars(empty).schema == to_polars(FULL).schema


@pytest.mark.parametrize("convert", [to_pandas, to_polars])
def test_what_is_read_can_be_written_again(convert: Any) -> None:
    table = FULL.drop_columns(["big"])
    found = arrow_reader(convert(table)).read_all()
    assert found.to_pylist() == table.to_pylist()


def test_metadata_of_a_foreign_frame_makes_no_index() -> None:
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1]}, index=pd.Index(["p"], name="key")))
    assert list(to_pandas(table).columns) == ["a", "key"]


def test_polars_types() -> None:
    frame = to_polars(FULL)
    assert isinstance(frame, pl.DataFrame)
    assert frame["i"].to_list() == [2**53 + 1, None]
    assert frame.schema["d"] == pl.Decimal(38, 2)
    assert frame["d"].to_list() == [Decimal("1.10"), None]
    assert frame["big"].to_list() == ["1" * 50 + ".00", None]
    assert frame.schema["tz"] == pl.Datetime("us", "UTC")
    assert isinstance(to_polars(FULL.select(["i"])), pl.DataFrame)
    assert to_polars(pa.table({})).shape == (0, 0)


def test_decimal_text_is_plain_digits() -> None:
    values = [Decimal("1E-30"), None, Decimal(0)]
    assert decimal_text(pa.array(values, pa.decimal256(50, 30))).to_pylist() == [
        "0." + "0" * 29 + "1",
        None,
        "0." + "0" * 30,
    ]


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [
        ("pyarrow", lambda: arrow_reader([]), "arrow"),
        ("pandas", lambda: to_pandas(FULL), "pandas"),
        ("polars", lambda: to_polars(FULL), "polars"),
    ],
)
def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, missing: str, call: Any, extra: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"{missing}, which is not installed.*\[{extra}\]"):
        call()


def test_polars_gets_no_intervals() -> None:
    empty = pa.table({"i": pa.array([], pa.month_day_nano_interval())})
    with pytest.raises(QueryError, match="'i' is an interval"):
        to_polars(empty)
