"""COPY's binary format: values that survive being encoded and decoded."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.postgres.copy_fit import fit, text_of
from echo_connhandler._core.postgres.copy_read import decode
from echo_connhandler._core.postgres.copy_rows import MarkedRows, MessageRows
from echo_connhandler._core.postgres.copy_texts import TEXTS
from echo_connhandler._core.postgres.copy_write import Field, encode_rows
from echo_connhandler._core.postgres.types import Kind
from echo_connhandler.errors import InvalidRequestError
from tests.core.postgres_copy import FEW, HEAD, HEADER, MARK, TRAILER, message

# Values there and back


def back(column: pa.Array[Any], wire: str, name: str = "x", *, element: int = 0) -> pa.Array[Any]:
    """Encode a column as it is sent, and decode it as it is received."""
    fitted = fit(column, wire, name, "v", is_array=element != 0)
    assert fitted is not None
    sent = b"".join(encode_rows([Field(0, name, wire, element)], [fitted]))
    inner = fitted.type.value_type if element else fitted.type
    kind = Kind(wire, inner, "", element != 0, getattr(inner, "scale", 0))
    rows = MessageRows(1)
    rows.put(message(b"H", b"\1\0\0"))
    place = len(HEADER)
    for _ in range(len(column)):
        length = struct.unpack_from(">i", sent, place + 2)[0]
        end = place + 6 + max(length, 0)
        rows.put(message(b"d", (HEADER if place == len(HEADER) else b"") + sent[place:end]))
        place = end
    assert sent[place:] == TRAILER
    found, _ = rows.take(10_000)
    return decode(found, ["v"], [kind]).column(0)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(st.none(), values), min_size=1, max_size=30)


MOMENTS = st.datetimes()
DECIMALS = st.decimals(min_value=-(10**13) + 1, max_value=10**13 - 1, places=5)
WIRES: dict[str, tuple[Any, st.SearchStrategy[Any], str]] = {
    "bool": (pa.bool_(), st.booleans(), "bool"),
    "int2": (pa.int16(), st.integers(-(2**15), 2**15 - 1), "int2"),
    "int4": (pa.int32(), st.integers(-(2**31), 2**31 - 1), "int4"),
    "int8": (pa.int64(), st.integers(-(2**63), 2**63 - 1), "int8"),
    "oid": (pa.uint32(), st.integers(0, 2**32 - 1), "oid"),
    "float4": (pa.float32(), st.floats(width=32, allow_nan=False), "float4"),
    "float8": (pa.float64(), st.floats(allow_nan=False), "float8"),
    "text": (pa.string(), st.text(st.characters(codec="utf-8", exclude_characters="\0")), "text"),
    "jsonb": (pa.string(), st.text("abc", min_size=1), "jsonb"),
    "bytea": (pa.binary(), st.binary(), "bytea"),
    "date": (pa.date32(), st.dates(), "date"),
    "time": (pa.time64("us"), st.times(), "time"),
    "timestamp": (pa.timestamp("us"), MOMENTS, "timestamp"),
    "timestamptz": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC)), "timestamptz"),
    "numeric": (pa.decimal128(18, 5), DECIMALS, "numeric"),
    "interval": (
        pa.month_day_nano_interval(),
        st.tuples(
            st.integers(-(2**31), 2**31 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.integers(-(2**63) // 1000 + 1, 2**63 // 1000 - 1).map(lambda micros: micros * 1000),
        ),
        "interval",
    ),
}


@pytest.mark.parametrize("wire", WIRES)
@FEW
@given(data=st.data())
def test_values_come_back_as_they_were(wire: str, data: st.DataObject) -> None:
    kind, values, name = WIRES[wire]
    column = pa.array(data.draw(optional(values)), kind)
    skipped = data.draw(st.integers(0, len(column) - 1))
    assert back(column, wire, name).equals(column)
    if skipped:  # a column that begins in the midst of its buffers
        assert back(column.slice(skipped), wire, name).equals(column.slice(skipped))


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in ("interval", "oid")])
@FEW
@given(data=st.data())
def test_lists_come_back_as_they_were(wire: str, data: st.DataObject) -> None:
    kind, values, name = WIRES[wire]
    column = pa.array(data.draw(optional(optional(values) | st.just([]))), pa.list_(kind))
    assert back(column, wire, name, element=25).equals(column)
    assert back(column.slice(len(column) // 2), wire, name, element=25).equals(column.slice(len(column) // 2))


@pytest.mark.parametrize(("digits", "places"), [(18, 0), (18, 18), (18, 17), (18, 1), (1, 0), (9, 4), (18, 9)])
@FEW
@given(data=st.data())
def test_numerics_of_every_scale_come_back(digits: int, places: int, data: st.DataObject) -> None:
    whole = data.draw(optional(st.integers(-(10**digits) + 1, 10**digits - 1)))
    values = [None if value is None else Decimal(value).scaleb(-places) for value in whole]
    column = pa.array(values, pa.decimal128(digits, places))
    assert back(column, "numeric").equals(column)


def test_floats_that_are_no_numbers_come_back() -> None:
    column = pa.array([float("nan"), float("inf"), float("-inf"), -0.0, None])
    assert repr(back(column, "float8").to_pylist()) == "[nan, inf, -inf, -0.0, None]"


def test_uuids_are_sent_as_bytes_and_read_as_text() -> None:
    column = pa.array([bytes(range(16)), None], pa.binary(16))
    fitted = fit(column, "uuid", "uuid", "v")
    assert fitted is not None
    sent = b"".join(encode_rows([Field(2950, "uuid", "uuid")], [fitted]))
    rows = MarkedRows(MARK, 1)
    rows.feed(
        HEADER
        + sent[len(HEADER) :].replace(b"\0\1\0\0\0\x10", HEAD + b"\0\0\0\x10").replace(b"\0\1\xff", HEAD + b"\xff")
    )
    found, _, _ = rows.split(rows.gather(9), 9)
    batch = decode(found, ["v"], [Kind("uuid", pa.string())])
    assert batch.column(0).to_pylist() == ["00010203-0405-0607-0809-0a0b0c0d0e0f", None]


# Values that are shown as text


def timestamp(text: str) -> bytes:
    moment = dt.datetime.fromisoformat(text)
    return struct.pack(">q", (moment - dt.datetime(2000, 1, 1)) // dt.timedelta(microseconds=1))


@FEW
@given(st.datetimes())
def test_moments_are_shown_as_postgresql_does(moment: dt.datetime) -> None:
    text = moment.isoformat(" ")
    text = text.rstrip("0") if moment.microsecond else text
    assert TEXTS["timestamp"](timestamp(moment.isoformat())) == text
    assert TEXTS["timestamptz"](timestamp(moment.isoformat())) == text + "+00"
    days = (moment.date() - dt.date(2000, 1, 1)).days
    assert TEXTS["date"](struct.pack(">i", days)) == moment.date().isoformat()


@pytest.mark.parametrize(
    ("wire", "raw", "text"),
    [
        ("date", struct.pack(">i", 2**31 - 1), "infinity"),
        ("date", struct.pack(">i", -(2**31)), "-infinity"),
        ("timestamp", struct.pack(">q", 2**63 - 1), "infinity"),
        ("timestamptz", struct.pack(">q", -(2**63)), "-infinity"),
        ("time", struct.pack(">q", 86_400_000_000), "24:00:00"),
        ("interval", struct.pack(">qii", -1_500_000, 2, 14), "1 year 2 mons 2 days -00:00:01.5"),
        ("interval", struct.pack(">qii", 3_000_000, -1, 0), "-1 days +00:00:03"),
        ("interval", struct.pack(">qii", 0, 0, 0), "00:00:00"),
        ("numeric", struct.pack(">hhHH", 0, 0, 0xC000, 0), "NaN"),
        ("numeric", struct.pack(">hhHH", 0, 0, 0xF000, 0), "-Infinity"),
        ("numeric", struct.pack(">hhHHhh", 2, 0, 0x4000, 2, 12, 5000), "-12.50"),
        ("numeric", struct.pack(">hhHH", 0, 0, 0, 3), "0.000"),
        ("numeric", struct.pack(">hhHHh", 1, 5, 0, 0, 7), "7" + "0" * 20),
    ],
)
def test_what_frames_cannot_hold_is_shown_as_postgresql_does(wire: str, raw: bytes, text: str) -> None:
    assert TEXTS[wire](raw) == text


# Columns of frames for columns of tables


@pytest.mark.parametrize(
    ("wire", "column", "message"),
    [
        ("int4", pa.array([1.0, 1.5]), r"column 'v': 1\.5 does not fit the type x"),
        ("int2", pa.array([1, 2, 70000, 3]), "70000"),
        ("int8", pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        ("float4", pa.array([1.0, 1e300]), "1e.300"),
        ("text", pa.array(["ok", "a\0b"]), r"'a\\x00b' holds NUL"),
        ("date", pa.array([dt.datetime(2024, 1, 1, 5)], pa.timestamp("us")), "2024-01-01 05:00:00"),
        ("timestamp", pa.array([1], pa.int64()).cast(pa.timestamp("ns")), "00:00:00.000000001"),
        ("interval", pa.array([(0, 0, 1)], pa.month_day_nano_interval()), "nanoseconds=1"),
    ],
)
def test_values_that_do_not_fit_are_named(wire: str, column: pa.Array[Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        fit(column, wire, "x", "v")


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([1.5, float("nan"), None]), ["1.5", "nan", None]),
        (pa.array([b"\0\xff", None]), ["\\x00ff", None]),
        (pa.array([[["a b"], [None]], None], pa.list_(pa.list_(pa.string()))), ['{{"a b"},{NULL}}', None]),
        (pa.array([dt.timedelta(days=1, microseconds=5)]), ["1 days 0 seconds 5 microseconds"]),
        (pa.array([(1, 2, 3000)], pa.month_day_nano_interval()), ["1 mons 2 days 3 microseconds"]),
        (pa.nulls(1), [None]),
    ],
)
def test_values_that_the_server_reads_are_sent_as_text(column: pa.Array[Any], texts: list[str | None]) -> None:
    assert text_of(column, "v").to_pylist() == texts


def test_values_without_a_text_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="column 'v': PostgreSQL has no text"):
        text_of(pa.array([{"a": 1}]), "v")
