"""COPY's binary format: rows found in pieces of any size, and values that survive being encoded and decoded."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_connhandler._core.postgres.copy_fit import fit, text_of
from echo_connhandler._core.postgres.copy_plan import (
    CopyPlan,
    Described,
    Question,
    literal,
    plan,
    row_description,
)
from echo_connhandler._core.postgres.copy_read import decode
from echo_connhandler._core.postgres.copy_rows import SIGNATURE, MarkedRows, MessageRows
from echo_connhandler._core.postgres.copy_texts import TEXTS
from echo_connhandler._core.postgres.copy_write import Field, encode_rows
from echo_connhandler._core.postgres.types import Column, Kind, TypeInfo, kind_of
from echo_connhandler.errors import ConnectionFailedError, InvalidRequestError, ParameterError, QueryError

FEW = settings(max_examples=20, deadline=None)
HEADER = SIGNATURE + bytes(8)
TRAILER = b"\xff\xff"
MARK = b"\x12\x34\x56\x78\x9a\xbc\xde\xf0"
BYTES = (Kind("bytea", pa.binary()),)


def field(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def row(*values: bytes | None) -> bytes:
    return len(values).to_bytes(2, "big") + b"".join(map(field, values))


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def messages(rows: Sequence[bytes]) -> bytes:
    bodies = [HEADER + rows[0] if rows else HEADER, *rows[1:], TRAILER]
    copied = b"".join(message(b"d", body) for body in bodies)
    return message(b"H", b"\1\0\0") + copied + message(b"c") + message(b"C", b"COPY\0") + message(b"Z", b"I")


def fed(data: bytes, cuts: Sequence[int], columns: int = 1) -> MessageRows:
    """Feed the bytes in pieces that end at `cuts`."""
    rows = MessageRows(columns)
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        rows.put(data[begin:end])
    return rows


def taken(rows: MessageRows, count: int) -> list[Any]:
    found, messages = rows.take(count)
    batch = decode(found, ["v"], BYTES)
    values: list[Any] = batch.column(0).to_pylist()
    rows.drop(messages)
    return values


VALUES = st.lists(st.one_of(st.none(), st.binary(max_size=40)), max_size=20)


# Rows in messages


@FEW
@given(VALUES, st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 7))
def test_rows_are_found_however_the_messages_are_cut(values: list[bytes | None], cuts: list[int], count: int) -> None:
    rows = fed(messages([row(value) for value in values]), cuts)
    assert rows.done
    assert rows.error is None
    found: list[Any] = []
    while rows.waiting:
        found += taken(rows, count)
    assert found == values


@FEW
@given(VALUES.filter(bool), st.integers(0, 5000))
def test_rows_are_read_before_the_rest_has_come(values: list[bytes | None], cut: int) -> None:
    data = messages([row(value) for value in values])
    cut %= len(data)
    rows = fed(data[:cut], ())
    found = taken(rows, 1000)
    rows.put(data[cut:])
    assert found + taken(rows, 1000) == values


@FEW
@given(VALUES, st.lists(st.integers(0, 5000), max_size=10))
def test_whole_messages_can_be_kept_elsewhere(values: list[bytes | None], cuts: list[int]) -> None:
    data = messages([row(value) for value in values])
    rows, kept = MessageRows(1), b""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        rows.put(data[begin:end])
        kept += rows.whole()
    assert rows.done
    rows.put(kept)
    assert taken(rows, 1000) == values


def test_what_a_server_says_at_any_time_is_no_row() -> None:
    data = messages([row(b"a"), row(b"b")])
    data = data.replace(message(b"d", row(b"b")), message(b"N", b"x\0") + message(b"d", row(b"b")))
    rows = fed(message(b"S", b"TimeZone\0UTC\0") + data, ())
    assert taken(rows, 1000) == [b"a", b"b"]


def test_an_error_in_the_midst_is_told_with_its_fields() -> None:
    body = b"SERROR\0C22012\0Mdivision by zero\0\0"
    data = message(b"H", b"\1\0\0") + message(b"d", HEADER + row(b"a")) + message(b"E", body) + message(b"Z", b"I")
    rows = fed(data, ())
    assert rows.done
    assert rows.error == {ord("S"): b"ERROR", ord("C"): b"22012", ord("M"): b"division by zero"}
    assert taken(rows, 10) == [b"a"]


@pytest.mark.parametrize("data", [message(b"T", b"\0\0"), b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_is_none_to_copy_is_refused(data: bytes) -> None:
    with pytest.raises(ConnectionFailedError, match="can't be understood"):
        fed(data * 5000, ())


def test_rows_of_another_width_are_refused() -> None:
    rows = fed(messages([row(b"a"), row(b"a", b"b")]), ())
    with pytest.raises(ConnectionFailedError, match="2 fields instead of 1"):
        rows.take(10)
    with pytest.raises(ConnectionFailedError, match="does not begin"):
        fed(message(b"H", b"\1\0\0") + message(b"d", b"a,b,c\n" * 9) + message(b"d", b"x"), ()).take(10)


# Rows with a mark


def marked(values: Sequence[bytes | None], mark: bytes = MARK) -> list[bytes]:
    return [row(mark, value) for value in values]


def drained(rows: MarkedRows, count: int) -> list[list[Any]]:
    batches = []
    while parts := rows.gather(count):
        found, rest, left = rows.split(parts, count)
        rows.restore(rest, left)
        batches.append(decode(found, ["v"], BYTES).column(0).to_pylist())
    return batches


@FEW
@given(VALUES.filter(bool), st.integers(1, 5), st.integers(1, 7))
def test_marked_rows_are_found(values: list[bytes | None], together: int, count: int) -> None:
    rows = MarkedRows(MARK, 1)
    tuples = marked(values)
    for place in range(0, len(tuples), together):
        rows.feed((b"" if place else HEADER) + b"".join(tuples[place : place + together]))
    rows.feed(TRAILER)
    batches = drained(rows, count)
    assert list(chain(*batches)) == values
    assert all(len(batch) <= count for batch in batches)


HEAD = struct.pack(">hi", 2, 8) + MARK
ADVERSE = st.lists(
    st.lists(st.sampled_from([HEAD, HEAD[:7], HEAD[7:], MARK, TRAILER, b"\0", b"\0\0\0\3abc", b"x"]), max_size=6).map(
        b"".join
    ),
    min_size=1,
    max_size=12,
)


@FEW
@given(ADVERSE, st.integers(1, 5))
def test_data_that_holds_the_mark_is_walked_through(values: list[bytes], count: int) -> None:
    rows = MarkedRows(MARK, 1)
    rows.feed(HEADER)
    for each in marked(values):
        rows.feed(each)
    rows.feed(TRAILER)
    assert list(chain(*drained(rows, count))) == values


@pytest.mark.parametrize("last", [b"\xff\xff", b"\0\xff\xff", None])
def test_a_row_that_ends_like_the_copy_is_read_whole(last: bytes | None) -> None:
    rows = MarkedRows(MARK, 1)
    rows.feed(HEADER + b"".join(marked([b"a", last])))
    assert list(chain(*drained(rows, 10))) == [b"a", last]


def test_an_empty_result_has_no_rows() -> None:
    rows = MarkedRows(MARK, 1)
    rows.feed(HEADER + TRAILER)
    assert drained(rows, 10) == [[]]


def test_rows_cut_short_are_refused() -> None:
    rows = MarkedRows(MARK, 1)
    rows.feed(HEADER + row(MARK, b"abc")[:-1])
    with pytest.raises((ConnectionFailedError, struct.error)):
        rows.split(rows.gather(1), 1)


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


# Plans


def planned(sql: str, columns: Sequence[Column], values: Sequence[Any] = (), mark: int | None = None) -> CopyPlan:
    steps = plan(sql, values, Described((25,) * len(values), tuple(columns)), {}, mark)
    try:
        raise AssertionError(f"asked {next(steps)}")
    except StopIteration as end:
        made: CopyPlan = end.value
        return made


INT, JSON_PATH = Column("a", 23, -1), Column("b", 4072, -1)


@pytest.mark.parametrize(
    ("sql", "mark", "query"),
    [
        ("SELECT 1 AS a;", None, "SELECT 1 AS a"),
        ("TABLE t -- all", 7, "SELECT '7'::pg_catalog.int8, c0 FROM (\nTABLE t -- all\n) AS q(c0)"),
        ("INSERT INTO t VALUES (1) RETURNING a", None, "INSERT INTO t VALUES (1) RETURNING a"),
        (
            "DELETE FROM t RETURNING a",
            7,
            "WITH q(c0) AS (\nDELETE FROM t RETURNING a\n) SELECT '7'::pg_catalog.int8, c0 FROM q",
        ),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", 7, ""),
        ("SHOW work_mem", None, ""),
        ("SELECT 1; SELECT 2", None, ""),
    ],
)
def test_queries_are_given_to_copy(sql: str, mark: int | None, query: str) -> None:
    assert planned(sql, [INT], mark=mark).query == query


def test_parameters_become_literals_outside_of_strings_only() -> None:
    made = planned("SELECT $1 AS a, '$1', \"$1\" /* $1 */, $2", [INT], ["it's", "\\"])
    assert made.query == "SELECT (E'it''s'::text) AS a, '$1', \"$1\" /* $1 */, (E'\\\\'::text)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "'t'"),
        (-5, "E'-5'"),
        (1e300, "E'1e+300'"),
        (float("nan"), "E'nan'"),
        (b"\0'", r"E'\\x0027'"),
        ("'; DROP TABLE t; --", "E'''; DROP TABLE t; --'"),
        ("\\'", "E'\\\\'''"),
    ],
)
def test_literals_hold_any_value(value: Any, text: str) -> None:
    assert literal(value) == text


def test_a_literal_holds_no_nul() -> None:
    with pytest.raises(ParameterError, match="NUL"):
        literal("a\0")


def test_columns_of_one_name_are_refused() -> None:
    with pytest.raises(QueryError, match="columns of the same name: 'a'"):
        planned("SELECT 1 AS a, 2 AS a", [INT, INT])


def test_types_that_users_make_are_asked_for() -> None:
    steps: Iterator[Any] = plan("SELECT a", (), Described((), (Column("a", 99999, -1),)), {}, None)
    asked: Question = next(steps)
    assert "IN (99999)" in asked.sql


@pytest.mark.parametrize(
    ("column", "known", "kind"),
    [
        (Column("a", 1700, -1), {}, Kind("text", pa.string(), "text")),
        (Column("a", 1700, ((10 << 16) | 2) + 4), {}, Kind("numeric", pa.decimal128(10, 2), scale=2)),
        (Column("a", 1700, ((2 << 16) | 0x7FD) + 4), {}, Kind("numeric", pa.decimal128(5, 0), scale=0)),
        (Column("a", 1700, ((3 << 16) | 5) + 4), {}, Kind("numeric", pa.decimal128(5, 5), scale=5)),
        (Column("a", 1700, ((38 << 16) | 3) + 4), {}, Kind("numeric text", pa.decimal128(38, 3), "text", scale=3)),
        (Column("a", 1700, ((76 << 16) | 3) + 4), {}, Kind("numeric text", pa.decimal256(76, 3), "text", scale=3)),
        (Column("a", 1700, ((77 << 16) | 3) + 4), {}, Kind("text", pa.string(), "text")),
        (Column("a", 1007, -1), {}, Kind("int4", pa.int32(), is_array=True)),
        (Column("a", 869, -1), {869: TypeInfo("b", 0, 0)}, Kind("inet", pa.string(), "text")),
        (Column("a", 1041, -1), {1041: TypeInfo("b", 869, 0)}, Kind("inet", pa.string(), "text[]", is_array=True)),
        (Column("a", 9, -1), {9: TypeInfo("e", 0, 0)}, Kind("text", pa.string())),
        (
            Column("a", 9, -1),
            {9: TypeInfo("b", 8, 0), 8: TypeInfo("d", 0, 20)},
            Kind("int8", pa.int64(), is_array=True),
        ),
    ],
)
def test_columns_have_the_documented_types(column: Column, known: dict[int, TypeInfo], kind: Kind) -> None:
    assert kind_of(column, known) == kind


def test_columns_are_read_from_the_servers_description() -> None:
    described = struct.pack(">h", 1) + "prix €".encode() + b"\0" + struct.pack(">IhIhih", 0, 0, 1700, -1, 655366, 0)
    heard = message(b"1") + message(b"t", b"\0\0") + message(b"T", described) + message(b"Z", b"I")
    assert row_description(heard) == (Column("prix €", 1700, 655366),)
    assert row_description(message(b"1") + message(b"n") + message(b"Z", b"I")) == ()
