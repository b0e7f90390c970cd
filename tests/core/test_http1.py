"""HTTP/1.1 heads and bodies: by tables, and beside h11, the parser that httpx stands on."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

import h11
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_connhandler._core.http1 import (
    MAX_HEAD,
    UNTIL_CLOSED,
    ChunkedReader,
    HeadWriter,
    head_end,
    parse_head,
    request_length,
)


@dataclass(frozen=True)
class Answer:
    """What a client understands of the bytes that it gets."""

    status: int
    reason: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    again: bool  # the connection can be used again
    beyond: bytes  # what came behind


class Undecided(Exception):
    """There should be more to come."""


def ours(data: bytes, method: str, *, step: int) -> Answer:
    """Read an answer that comes in pieces of `step` bytes, then the server closes."""
    buffer, position, searched = b"", 0, 0
    head = None
    while head is None:
        end = head_end(buffer, searched) if buffer else 0
        if end:
            head, buffer, searched = parse_head(buffer[:end], method), buffer[end:], 0
            if head.status < 200:
                assert head.status != 101
                head = None
            continue
        if position >= len(data):
            raise Undecided
        searched = len(buffer)
        buffer, position = buffer + data[position : position + step], position + step
    buffer += data[position:]
    headers = tuple((name, value) for name, _, value in head.headers)
    if head.length is None:
        reader = ChunkedReader()
        body = b""
        for at in range(0, len(buffer), step):
            if reader.done:
                break
            body += b"".join(reader.feed(buffer[at : at + step]))
            beyond = reader.beyond + buffer[at + step :]
        if not reader.done:
            raise Undecided
    elif head.length == UNTIL_CLOSED:
        body, beyond = buffer, b""
    else:
        body, beyond = buffer[: head.length], buffer[head.length :]
        if len(body) < head.length:
            raise Undecided
    return Answer(head.status, head.reason, head.version, headers, body, head.keep and not beyond, beyond)


def theirs(data: bytes, method: str) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    answer: h11.Response | None = None
    body, closed = b"", False
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if closed:
                raise Undecided
            with contextlib.suppress(RuntimeError):
                connection.receive_data(b"")
            closed = True
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
    assert answer is not None
    beyond = connection.trailing_data[0]
    again = connection.their_state is h11.DONE and connection.our_state is h11.DONE
    headers = tuple((bytes(name), bytes(value)) for name, value in answer.headers.raw_items())
    return Answer(
        answer.status_code,
        bytes(answer.reason),
        bytes(answer.http_version),
        headers,
        body,
        again and not beyond,
        beyond,
    )


def compare(data: bytes, method: str, step: int) -> str:
    """Hold both readers to the same understanding; return which case it was."""
    try:
        expected: Answer | None = theirs(data, method)
    except (h11.RemoteProtocolError, Undecided):
        expected = None
    try:
        found: Answer | None = ours(data, method, step=step)
    except (httpx.RemoteProtocolError, Undecided, AssertionError):
        found = None
    if found is None:
        # What we refuse besides is ambiguous about where the body ends, or hides control characters.
        assert expected is None or several_lengths(data) or odd_extension(data)
        return "refused"
    bodiless = method == "HEAD" or found.status in (204, 304)
    if expected is None or (bodiless and several_lengths(data)):
        # h11 looks at the length of a body that can't be there.
        assert bodiless
        return "taken"
    headers = tuple((n, v.lower() if n.lower() == b"transfer-encoding" else v) for n, v in found.headers)
    until_closed = not {n.lower() for n, _ in headers} & {b"content-length", b"transfer-encoding"}
    assert (found.status, found.reason, found.version) == (expected.status, expected.reason, expected.version)
    assert (headers, found.body, found.beyond) == (expected.headers, expected.body, expected.beyond)
    assert found.again == expected.again or until_closed  # httpx finds later that the server has closed
    return "same"


def several_lengths(data: bytes) -> bool:
    """Tell whether headers of this answer may say more than once how long its body is."""
    head = data.lower()
    return head.count(b"content-length") + head.count(b"transfer-encoding") > 1 or bool(
        re.search(rb"content-length:[^\n]*,", head)
    )


def odd_extension(data: bytes) -> bool:
    """Tell whether a chunk's extension has a character in it that we don't take."""
    return b";" in data and (b"\r" in data.replace(b"\r\n", b"") or b"\0" in data)


PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 304\r\n",
    b"HTTP/1.1 200 \xe4\xff odd\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n",
    b"Content-Length: 5\r\n",
    b"content-length: 0\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 123456789012345678901\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: Chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, Close\r\n",
    b"Connection: closed\r\n",
    b"X-One: a  b \t\r\n",
    b"X-One:\r\n",
    b"X-Latin: \xe4\r\n",
    b"X-Two: 2\n",
    b" folded\r\n",
    b"\t\r\n",
    b"No colon\r\n",
    b"Bad Name: 1\r\n",
    b"X-Nul: a\0b\r\n",
    b"X-Feed: a\x0cb\r\n",
    b"X-Return: a\rb\r\n",
    b": nothing\r\n",
    b"X-Space : 1\r\n",
    b"\r\n",
    b"\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"5;ext=1\r\nhello\r\n",
    b"5;e\rx\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"A\r\n0123456789\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"000\r\n",
    b"x\r\n",
    b"-1\r\n",
    b"Trailer: 1\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
]
STATUS = st.sampled_from(PIECES[:5])
FRAMING = st.sampled_from([*PIECES[7:15], b""])
HEADER = st.sampled_from(PIECES[15:31])
BODY = st.lists(st.sampled_from(PIECES[33:]), max_size=4).map(b"".join)
LIKELY = st.tuples(STATUS, st.lists(HEADER, max_size=3).map(b"".join), FRAMING, st.just(b"\r\n"), BODY).map(b"".join)
ANYTHING = st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD"])


@given(data=LIKELY, method=METHODS, step=st.sampled_from([1, 3, 7, 10_000]))
@settings(max_examples=400)
def test_likely_answers_are_read_as_h11_reads_them(data: bytes, method: str, step: int) -> None:
    compare(data, method, step)


@given(data=ANYTHING, method=METHODS, step=st.sampled_from([1, 10_000]))
@settings(max_examples=200)
def test_unlikely_answers_are_read_as_h11_reads_them(data: bytes, method: str, step: int) -> None:
    compare(data, method, step)


@given(data=LIKELY, at=st.integers(0, 200), byte=st.integers(0, 255), method=METHODS)
@settings(max_examples=400)
def test_answers_with_one_wrong_byte_are_read_as_h11_reads_them(data: bytes, at: int, byte: int, method: str) -> None:
    at %= len(data)
    compare(data[:at] + bytes([byte]) + data[at + 1 :], method, 10_000)


def test_the_comparison_meets_every_case() -> None:
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    odd = b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n"
    assert [compare(data, "GET", 1) for data in (good, both, odd)] == ["same", "refused", "taken"]


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (b"", UNTIL_CLOSED),
        (b"Content-Length: 7\r\n", 7),
        (b"Transfer-Encoding: CHUNKED\r\n", None),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", "both"),
        (b"Content-Length: 7\r\nContent-Length: 7\r\n", "more than one"),
        (b"Content-Length: 7, 7\r\n", "bad Content-Length"),
        (b"Content-Length: 0x7\r\n", "bad Content-Length"),
        (b"Content-Length: \xb2\r\n", "bad Content-Length"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "no Transfer-Encoding but chunked"),
        (b"Transfer-Encoding: identity\r\n", "no Transfer-Encoding but chunked"),
    ],
)
def test_where_a_body_ends_is_clear_or_it_is_refused(headers: bytes, length: int | str | None) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n"
    if isinstance(length, str):
        with pytest.raises(httpx.RemoteProtocolError, match=length):
            parse_head(head, "GET")
    else:
        assert parse_head(head, "GET").length == length
    assert parse_head(head, "HEAD").length == 0


def test_limits() -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="longer than"):
        head_end(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD, 0)
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(1001))
    with pytest.raises(httpx.RemoteProtocolError, match="more than 1000 headers"):
        parse_head(b"HTTP/1.1 200 OK\r\n" + many + b"\r\n", "GET")
    with pytest.raises(httpx.RemoteProtocolError, match="longer than"):
        ChunkedReader().feed(b"5;" + b"x" * (MAX_HEAD + 1))
    reader = ChunkedReader()
    with pytest.raises(httpx.RemoteProtocolError, match="longer than"):
        reader.feed(b"0\r\nX: " + b"x" * (MAX_HEAD + 1))


def test_an_illegal_header_is_told_without_its_value() -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="illegal header line: b'Set Cookie'") as caught:
        parse_head(b"HTTP/1.1 200 OK\r\nSet Cookie: planted\r\n\r\n", "GET")
    assert "planted" not in str(caught.value)


def as_items(*pairs: tuple[bytes, bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [(name, name.lower(), value) for name, value in pairs]


@given(
    name=st.one_of(st.sampled_from([b"X-One", b"accept"]), st.binary(max_size=8)),
    value=st.one_of(
        st.binary(max_size=12), st.text("ab \t\r\n\0\x0b:ä", max_size=12).map(lambda t: t.encode("latin-1"))
    ),
    target=st.one_of(st.just(b"/"), st.binary(max_size=6)),
)
@settings(max_examples=300)
def test_heads_are_written_as_h11_writes_them(name: bytes, value: bytes, target: bytes) -> None:
    pairs = [(b"Host", b"x"), (name, value)]
    if name.lower() in (b"host", b"content-length", b"transfer-encoding"):
        return
    try:
        connection = h11.Connection(h11.CLIENT)
        expected = connection.send(h11.Request(method="GET", target=target, headers=pairs))
    except h11.LocalProtocolError:
        expected = None
    writer = HeadWriter()
    for _ in range(2):  # the second time lines are remembered
        if expected is None:
            with pytest.raises(httpx.LocalProtocolError):
                writer.write("GET", target, as_items(*pairs))
        else:
            assert writer.write("GET", target, as_items(*pairs)) == expected


def test_requests_need_one_host() -> None:
    for pairs in ([], [(b"Host", b"a"), (b"host", b"b")]):
        with pytest.raises(httpx.LocalProtocolError, match="one Host header"):
            HeadWriter().write("GET", b"/", as_items(*pairs))


@pytest.mark.parametrize(
    ("pairs", "length"),
    [
        ([], 0),
        ([(b"Content-Length", b"12")], 12),
        ([(b"Transfer-Encoding", b"chunked")], None),
        ([(b"Transfer-Encoding", b"gzip")], "only be chunked"),
        ([(b"Content-Length", b"-1")], "must be a number"),
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], "not several"),
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], "not several"),
    ],
)
def test_how_a_requests_body_ends(pairs: list[tuple[bytes, bytes]], length: int | str | None) -> None:
    if isinstance(length, str):
        with pytest.raises(httpx.LocalProtocolError, match=length):
            request_length(as_items(*pairs))
    else:
        assert request_length(as_items(*pairs)) == length
