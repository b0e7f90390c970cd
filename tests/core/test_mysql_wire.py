"""Packets of the MySQL protocol: cut in any way they are read the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.mysql.reading import Reading
from echo_connhandler._core.mysql.session import Session
from echo_connhandler._core.mysql.wire import Column, Inbox, Talk, framed, read_number, read_ok

EOF_PACKET = b"\xfe\0\0\2\0"
INTEGER, TEXT = 3, 253


def column(kind: int) -> Column:
    return Column("x", kind, 45, 100, 0, 0)


def lenenc(data: bytes | None) -> bytes:
    if data is None:
        return b"\xfb"
    size = len(data)
    head = bytes([size]) if size < 251 else b"\xfc" + size.to_bytes(2, "little")
    return (head if size < 1 << 16 else b"\xfd" + size.to_bytes(3, "little")) + data


def driven(talk: Talk[Any], data: bytes, sizes: list[int]) -> Any:
    """Drive a talk with data that comes in pieces of these sizes."""
    sent, turns = 0, 0
    try:
        next(talk)
        while True:
            assert sent < len(data), "the talk asks for more than there is"
            size = sizes[turns % len(sizes)]
            piece = data[sent : sent + size]
            sent, turns = sent + len(piece), turns + 1
            talk.send(piece)
    except StopIteration as end:
        return end.value


def ended() -> tuple[list[bytes], Any]:
    last: list[bytes] = []

    def at_end(packet: bytes) -> Talk[None]:
        last.append(packet)
        yield from ()

    return last, at_end


@given(
    st.lists(st.tuples(st.none() | st.integers(), st.none() | st.text(max_size=400)), max_size=20),
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_rows_are_the_same_however_they_come(rows: list[tuple[Any, Any]], sizes: list[int]) -> None:
    packets = [b"".join(lenenc(None if value is None else str(value).encode()) for value in row) for row in rows]
    data = b"".join(framed(packet) for packet in [*packets, EOF_PACKET])
    last, at_end = ended()
    reading = Reading(Inbox(), (column(INTEGER), column(TEXT)), at_end, binary=False)
    assert driven(reading.take(float("inf")), data, sizes) == rows
    assert reading.ended
    assert last == [EOF_PACKET]


def test_rows_are_taken_in_batches() -> None:
    data = b"".join(framed(packet) for packet in [*(lenenc(b"%d" % n) for n in range(5)), EOF_PACKET])
    _, at_end = ended()
    reading = Reading(Inbox(data), (column(INTEGER),), at_end, binary=False)
    taken = []
    while not reading.ended:
        taken.append([row[0] for row in driven_with_nothing(reading.take(2))])
    assert taken == [[0, 1], [2, 3], [4]]


def driven_with_nothing(talk: Talk[Any]) -> Any:
    with pytest.raises(StopIteration) as end:
        next(talk)
    return end.value.value


def test_a_row_in_several_packets_is_one() -> None:
    text = b"x" * (0xFFFFFF + 10)
    row = b"\xfe" + len(text).to_bytes(8, "little") + text
    data = framed(row) + framed(EOF_PACKET)
    assert data[:3] == b"\xff\xff\xff"
    _, at_end = ended()
    reading = Reading(Inbox(), (column(TEXT),), at_end, binary=False)
    assert driven(reading.take(float("inf")), data, [1 << 20]) == [(text.decode(),)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(1, 3))
def test_an_answer_is_the_same_however_it_comes(sizes: list[int], most: int) -> None:
    fields = [b"\3def\0\0\0" + lenenc(name) + b"\0\x0c\x2d\0\x64\0\0\0\x03\0\0\0\0\0" for name in (b"n", b"m")]
    rows = [lenenc(b"%d" % n) + lenenc(b"7") for n in range(3)]
    answer = [b"\2", *fields, EOF_PACKET, *rows, b"\xfe\0\0\3\0"]
    session = Session(2)
    result, rest = driven(session.first("SHOW x", (), most, 100), b"".join(map(framed, answer)), sizes)
    assert result.columns == ("n", "m")
    assert result.rows == [(n, 7) for n in range(most)]
    assert rest is None
    assert (session.busy, session.in_transaction) == (False, True)


@pytest.mark.parametrize("size", [0, 1, 0xFFFFFF - 1, 0xFFFFFF, 0xFFFFFF + 1])
def test_payloads_are_framed_and_joined_again(size: int) -> None:
    payload = b"y" * size
    assert driven(Inbox().packet(), framed(payload), [1 << 21]) == payload


def test_what_is_left_of_a_result_is_handed_on_byte_for_byte() -> None:
    packets = [lenenc(b"%d" % n) for n in range(1000)]
    data = b"".join(map(framed, [*packets, EOF_PACKET]))
    spooled = bytearray()
    last, at_end = ended()
    reading = Reading(Inbox(), (column(INTEGER),), at_end, binary=False)
    driven(reading.spool(spooled.extend), data, [7, 300])
    assert bytes(spooled) == data
    assert last == [EOF_PACKET]
    assert driven(reading.take(float("inf")), bytes(spooled), [64]) == [(n,) for n in range(1000)]


@pytest.mark.parametrize(
    ("data", "number"),
    [(b"\x05", 5), (b"\xfc\x00\x01", 256), (b"\xfd\x00\x00\x01", 65536), (b"\xfe" + bytes(7) + b"\x01", 2**56)],
)
def test_numbers_of_any_length(data: bytes, number: int) -> None:
    assert read_number(data, 0) == (number, len(data))


def test_what_was_done_is_read() -> None:
    ok = read_ok(b"\0\xfc\x00\x01\0\x03\x00\x02\x00")
    assert (ok.affected, ok.status, ok.warnings) == (256, 3, 2)
