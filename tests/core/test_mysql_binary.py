"""Rows of the binary protocol decoded with numpy: the same values as one by one, however the bytes arrive."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_connhandler._core.errors import ParameterError, QueryError
from echo_connhandler._core.mysql import binary_read
from echo_connhandler._core.mysql.binary_params import encode_params
from echo_connhandler._core.mysql.binary_read import decode, take_piece
from echo_connhandler._core.mysql.frames import question_marks
from echo_connhandler._core.mysql.types import arrow_type
from echo_connhandler._core.mysql.values import Flag, Kind, read_binary_row, text_decoders
from echo_connhandler._core.mysql.wire import Column, Inbox, framed

END = b"\xfe\0\0\2\0"
UTF8, BINARY = 45, 63


def lengthy(data: bytes) -> bytes:
    size = len(data)
    if size < 251:
        return bytes([size]) + data
    return (b"\xfc" + size.to_bytes(2, "little") if size < 2**16 else b"\xfd" + size.to_bytes(3, "little")) + data


def column(kind: int, *, charset: int = BINARY, length: int = 0, flags: int = 0, scale: int = 0) -> Column:
    return Column("c", kind, charset, length, flags, scale)


def packed(form: str, low: int | None = None, high: int | None = None) -> st.SearchStrategy[bytes]:
    numbers = (
        st.integers(low, high) if low is not None else st.floats(allow_nan=False, width=32 if form == "<f" else 64)
    )
    return numbers.map(lambda number: struct.pack(form, number))


def moment(parts: tuple[dt.datetime, int]) -> bytes:
    """Encode as a server may: without what is zero at the end, or with it."""
    value, least = parts
    data = struct.pack("<HBBBBBI", *value.timetuple()[:6], value.microsecond)
    for size in (4, 7, 11):
        if size >= least and not any(data[size:]):
            return lengthy(data[:size])
    return lengthy(data)


def span(value: dt.timedelta) -> bytes:
    size = abs(value)
    minutes, seconds = divmod(size.seconds, 60)
    data = struct.pack("<?IBBBI", value < dt.timedelta(0), size.days, *divmod(minutes, 60), seconds, size.microseconds)
    return lengthy(b"" if not value else data if size.microseconds else data[:8])


def decimal_of(whole: int, scale: int) -> bytes:
    digits = str(abs(whole)).zfill(scale + 1)
    point = len(digits) - scale
    text = f"{digits[:point]}.{digits[point:]}" if scale else digits
    return lengthy(f"{'-' if whole < 0 else ''}{text}".encode())


MOMENTS = st.tuples(st.datetimes(), st.sampled_from([4, 7, 11])).map(moment)
# column: bytes of its values
COLUMNS: list[tuple[Column, st.SearchStrategy[bytes]]] = [
    (column(Kind.TINY), packed("<b", -128, 127)),
    (column(Kind.TINY, flags=Flag.UNSIGNED), packed("<B", 0, 255)),
    (column(Kind.SHORT), packed("<h", -(2**15), 2**15 - 1)),
    (column(Kind.YEAR, flags=Flag.UNSIGNED), packed("<H", 0, 2155)),
    (column(Kind.INT24), packed("<i", -(2**23), 2**23 - 1)),
    (column(Kind.LONG, flags=Flag.UNSIGNED), packed("<I", 0, 2**32 - 1)),
    (column(Kind.LONGLONG), packed("<q", -(2**63), 2**63 - 1)),
    (column(Kind.LONGLONG, flags=Flag.UNSIGNED), packed("<Q", 0, 2**64 - 1)),
    (column(Kind.FLOAT, scale=31), packed("<f")),
    (column(Kind.DOUBLE, scale=31), packed("<d")),
    (column(Kind.NULL), st.nothing()),
    (column(Kind.DATE), st.dates().map(lambda day: moment((dt.datetime(day.year, day.month, day.day), 4)))),
    (column(Kind.DATETIME, scale=6), MOMENTS),
    (column(Kind.TIMESTAMP, scale=6), MOMENTS),
    (column(Kind.TIME, scale=6), st.timedeltas(-dt.timedelta(hours=838), dt.timedelta(hours=838)).map(span)),
    (column(Kind.NEWDECIMAL, length=6, scale=2), st.integers(-9999, 9999).map(lambda n: decimal_of(n, 2))),
    (column(Kind.NEWDECIMAL, length=20, scale=4), st.integers(1 - 10**18, 10**18 - 1).map(lambda n: decimal_of(n, 4))),
    (column(Kind.NEWDECIMAL, length=19, scale=0), st.integers(1 - 10**18, 10**18 - 1).map(lambda n: decimal_of(n, 0))),
    (
        column(Kind.NEWDECIMAL, length=40, scale=10),
        st.integers(1 - 10**38, 10**38 - 1).map(lambda n: decimal_of(n, 10)),
    ),
    (
        column(Kind.NEWDECIMAL, length=67, scale=30),
        st.integers(1 - 10**65, 10**65 - 1).map(lambda n: decimal_of(n, 30)),
    ),
    (column(Kind.BIT, length=64, flags=Flag.UNSIGNED), st.binary(min_size=1, max_size=8).map(lengthy)),
    (column(Kind.VAR_STRING, charset=UTF8), st.text(max_size=5).map(lambda text: lengthy(text.encode()))),
    (
        column(Kind.BLOB, charset=UTF8),
        st.tuples(st.text(max_size=3), st.sampled_from([0, 1, 62, 63, 250, 251, 70_000])).map(
            lambda parts: lengthy((parts[0] + "x" * parts[1]).encode())
        ),
    ),
    (column(Kind.STRING), st.binary(max_size=70).map(lengthy)),
]


@st.composite
def results(draw: st.DrawFn) -> tuple[list[Column], list[bytes]]:
    """Columns in some order, and rows of them, some values NULL."""
    picked = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=12))
    columns = [each._replace(name=f"c{n}") for n, (each, _) in enumerate(picked)]
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        bitmap, values = bytearray((len(picked) + 9) // 8), b""
        for place, (each, strategy) in enumerate(picked):
            if each.kind == Kind.NULL or draw(st.integers(0, 4)) == 0:
                bitmap[(place + 2) // 8] |= 1 << (place + 2) % 8
            else:
                values += draw(strategy)
        rows.append(b"\0" + bytes(bitmap) + values)
    return columns, rows


def taken(data: bytes, sizes: list[int], rows: int, most: float = math.inf) -> list[binary_read.Piece]:
    """Take all pieces out of what arrives in parts of such sizes."""
    inbox = Inbox()
    pieces: list[binary_read.Piece] = []
    parts = iter(sizes)
    while not pieces or pieces[-1].last is None:
        talk = take_piece(inbox, rows, most)
        try:
            asked = next(talk)
            while True:
                assert asked == b""
                size = next(parts, len(data))
                part, data = data[:size], data[size:]
                asked = talk.send(part)
        except StopIteration as end:
            pieces.append(end.value)
    assert inbox.data[inbox.at :] + data == b"next"
    return pieces


@settings(max_examples=150)
@given(result=results(), sizes=st.lists(st.integers(1, 60), max_size=60), rows=st.integers(1, 4))
def test_all_values_at_once_are_those_read_one_by_one(
    result: tuple[list[Column], list[bytes]], sizes: list[int], rows: int
) -> None:
    columns, packets = result
    pieces = taken(b"".join([framed(row) for row in packets]) + framed(END) + b"next", sizes, rows)
    assert [len(piece.starts) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    batches = [decode(columns, piece, None) for piece in pieces]
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema.types == [arrow_type(each) for each in columns]
    got = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    decoders = text_decoders(columns)
    assert got == [read_binary_row(row, columns, decoders) for row in packets]


def test_rows_in_several_packets_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same as with 16 MiB, which test_mysql_frames has from a server.
    monkeypatch.setattr("echo_connhandler._core.mysql.wire._LARGEST", 10)
    monkeypatch.setattr(binary_read, "_LARGEST", 10)
    columns = [column(Kind.STRING, charset=UTF8)]
    texts = ["a" * size for size in (*range(40), 3, 27)]
    data = b"".join([framed(b"\0\0" + lengthy(text.encode())) for text in texts])
    for sizes in ([], [1] * 2000, [7] * 200):
        (piece,) = taken(data + framed(END) + b"next", sizes, 1000)
        assert decode(columns, piece, None)["c"].to_pylist() == texts


def test_a_piece_ends_early_when_it_is_large_enough() -> None:
    row = framed(b"\0\0" + lengthy(b"x" * 100))
    pieces = taken(row * 10 + framed(END) + b"next", [len(row)] * 10, 1000, most=250)
    assert [len(piece.starts) for piece in pieces] == [2, 2, 2, 2, 2, 0]


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_text_that_is_not_utf8_is_refused(data: bytes) -> None:
    (piece,) = taken(framed(b"\0\0" + lengthy(data)) + framed(END) + b"next", [], 9)
    with pytest.raises(QueryError, match="'c' holds text that is not UTF-8"):
        decode([column(Kind.STRING, charset=UTF8)], piece, None)


def test_a_character_cut_between_two_values_is_refused() -> None:
    halves = b"".join([framed(b"\0\0" + lengthy(half)) for half in (b"\xc3", b"\xa4")])
    (piece,) = taken(halves + framed(END) + b"next", [], 9)
    with pytest.raises(QueryError, match="not UTF-8"):
        decode([column(Kind.STRING, charset=UTF8)], piece, None)


def test_a_column_that_is_too_large_for_one_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_connhandler._core.mysql.binary_columns._MOST", 5)
    (piece,) = taken(framed(b"\0\0" + lengthy(b"abc")) * 2 + framed(END) + b"next", [], 9)
    with pytest.raises(QueryError, match="'c' has more than 2 GiB in one batch: read fewer rows a batch"):
        decode([column(Kind.STRING)], piece, None)


def test_decimals_with_more_digits_than_told_come_as_text() -> None:
    rows = b"".join([framed(b"\0\0" + lengthy(text)) for text in (b"1.25", b"-0.5", b"123")])
    (piece,) = taken(rows + framed(END) + b"next", [], 9)
    told = column(Kind.NEWDECIMAL, length=3, scale=1)
    assert decode([told], piece, None)["c"].to_pylist() == ["1.25", "-0.5", "123"]
    with pytest.raises(QueryError, match=r"'c' holds .* CAST"):
        decode([told], piece, pa.schema({"c": arrow_type(told)}))


@pytest.mark.parametrize(
    "day", [(0, 1, 1), (2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 0, 1), (2024, 1, 0), (9999, 13, 1)]
)
def test_days_that_no_calendar_has_are_text(day: tuple[int, int, int]) -> None:
    rows = b"".join([framed(b"\0\0" + lengthy(struct.pack("<HBB", *each))) for each in ((2024, 2, 29), day)])
    (piece,) = taken(rows + framed(END) + b"next", [], 9)
    text = "{:04}-{:02}-{:02}".format(*day)
    assert decode([column(Kind.DATE)], piece, None)["c"].to_pylist() == ["2024-02-29", text]


@pytest.mark.parametrize("value", [math.nan, math.inf, Decimal("NaN"), object(), "\ud800", 10**70])
def test_parameters_that_have_no_place_are_refused(value: Any) -> None:
    with pytest.raises(ParameterError):
        encode_params((value,))


def test_marks_are_counted_and_percents_halved() -> None:
    assert question_marks("SELECT %s, 5 %% 3, '%%s'", (1,)) == "SELECT ?, 5 % 3, '%s'"
    assert question_marks("SELECT 5 % 3, '%s'", ()) == "SELECT 5 % 3, '%s'"
    with pytest.raises(ParameterError, match="takes 2 values, 1 were given"):
        question_marks("SELECT %s, '%s'", (1,))
