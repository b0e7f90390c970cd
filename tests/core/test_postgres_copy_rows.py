"""Rows of COPY, found in pieces of any size, with and without messages around them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.postgres.copy_read import decode
from echo_connhandler._core.postgres.copy_rows import MarkedRows, MessageRows
from echo_connhandler._core.postgres.types import Kind
from echo_connhandler.errors import ConnectionFailedError
from tests.core.postgres_copy import FEW, HEAD, HEADER, MARK, TRAILER, message

BYTES = (Kind("bytea", pa.binary()),)


def field(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def row(*values: bytes | None) -> bytes:
    return len(values).to_bytes(2, "big") + b"".join(map(field, values))


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
