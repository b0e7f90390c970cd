"""Replies: whole ones only, however they come in, and what those with a value say."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.ftp.replies import (
    MAX_LINE,
    MAX_REPLY,
    ProtocolFault,
    Reply,
    ReplyReader,
    extended_passive_port,
    facts_line,
    modified,
    passive_port,
    quoted_path,
    size,
)
from echo_connhandler.errors import TransferError

FEAT = b"211-Features:\r\n MDTM\r\n REST STREAM\r\n211 End\r\n"


def reply(code: int, *lines: str) -> Reply:
    return Reply(code, lines)


@pytest.mark.parametrize(
    ("sent", "code", "lines"),
    [
        (b"220 ready\r\n", 220, ("ready",)),
        (b"226\r\n", 226, ("",)),
        (b"226 \r\n", 226, ("",)),
        (b"220-welcome\r\nto all\r\n220 ready\r\n", 220, ("welcome", "to all", "ready")),
        (b"220-\r\n220-a\r\n220 \r\n", 220, ("", "a", "")),
        (FEAT, 211, ("Features:", " MDTM", " REST STREAM", "End")),
        (
            b"213-status\r\n 213 not the end\r\n226 nor this\r\n2130\r\n213 end\r\n",
            213,
            ("status", " 213 not the end", "226 nor this", "2130", "end"),
        ),
        (b"250-Computing\r\n250 0A1B\r\n", 250, ("Computing", "0A1B")),
        ('257 "/ä"\r\n'.encode(), 257, ('"/ä"',)),
        (b'257 "/\xe4"\r\n', 257, ('"/\udce4"',)),
    ],
)
def test_a_reply_is_read_whole_in_any_pieces(sent: bytes, code: int, lines: tuple[str, ...]) -> None:
    for cut in range(len(sent)):
        reader = ReplyReader()
        assert reader.feed(sent[:cut]) is None
        assert reader.waiting is (cut > 0)
        assert reader.feed(sent[cut:]) == Reply(code, lines)
        assert not reader.waiting


def test_several_replies_in_one_piece_come_one_after_the_other() -> None:
    reader = ReplyReader()
    first = reader.feed(b"150 begun\r\n226 done\r\n2")
    assert first is not None
    assert (first.code, first.kind, first.text) == (150, 1, "begun")
    assert reader.waiting
    assert reader.feed() == Reply(226, ("done",))
    assert reader.feed() is None
    assert reader.unfinished == "b'2'"
    assert reader.feed(b"21 bye\r\n") == Reply(221, ("bye",))


def test_what_is_unfinished_is_told_of_replies_with_several_lines_too() -> None:
    reader = ReplyReader()
    reader.feed(b"220-welcome\r\n")
    assert reader.waiting
    assert reader.unfinished == "220-..."


@pytest.mark.parametrize(
    "sent",
    [
        b"220 ready\n",
        b"220 rea\rdy\r\n",
        b"220 rea\0dy\r\n",
        b"220 ready\r\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b" 220 ready\r\n",
        b"22 ready\r\n",
        b"2200 ready\r\n",
        b"020 ready\r\n",
        b"620 ready\r\n",
        b"2\xd9\xa30 ready\r\n",
        b"\x16\x03\x03\x00\x7a\x02\r\n",
        b"220 " + b"x" * MAX_LINE,
        b"220-" + b"x" * MAX_LINE + b"\r\n",
        b"211-x\r\n" + b" y\r\n" * (MAX_REPLY // 4),
    ],
)
def test_what_is_no_reply_is_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolFault, match="the server sent"):
        ReplyReader().feed(sent)
    assert issubclass(ProtocolFault, TransferError)


@given(st.binary(max_size=80))
def test_nothing_but_a_fault_comes_of_what_a_server_may_send(sent: bytes) -> None:
    reader = ReplyReader()
    try:
        found = reader.feed(sent)
        while found is not None:
            assert 100 <= found.code <= 599
            assert str(found).isprintable()
            found = reader.feed()
    except ProtocolFault as fault:
        assert str(fault).isprintable()


def test_the_encoding_is_the_readers() -> None:
    reader = ReplyReader("latin-1")
    assert reader.feed(b'257 "/\xe4"\r\n') == Reply(257, ('"/ä"',))
    reader.encoding = "utf-8"
    assert reader.feed('257 "/ä"\r\n'.encode()) == Reply(257, ('"/ä"',))


def test_a_reply_in_a_message_is_one_line_that_can_be_printed() -> None:
    shown = str(reply(550, "no\x1b[31m such\udce4", " file ", "here"))
    assert shown == "550 no\\x1b[31m such\\udce4 file here"
    assert len(str(reply(550, "x" * 1000))) < 420
    assert str(reply(226, "")) == "226"
    assert pickle.loads(pickle.dumps(reply(226, "done"))) == reply(226, "done")


@pytest.mark.parametrize(
    ("function", "text", "value"),
    [
        (passive_port, "Entering Passive Mode (10,9,8,7,4,1).", 1025),
        (passive_port, "=127,0,0,1,255,255", 65535),
        (extended_passive_port, "Entering Extended Passive Mode (|||6446|)", 6446),
        (extended_passive_port, "ok (!1!132.235.1.2!6275!)", 6275),
        (size, "204800", 204800),
        (size, "0 ", 0),
        (modified, "20240229235959", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        (modified, "20240101000000.125", datetime(2024, 1, 1, 0, 0, 0, 125000, tzinfo=UTC)),
        (modified, "20161231235960", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (quoted_path, '"/a ""quoted"" one" is the current directory', '/a "quoted" one'),
        (quoted_path, '"/"', "/"),
    ],
)
def test_values(function: Callable[[Reply], Any], text: str, value: Any) -> None:
    assert function(reply(200, text)) == value


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (passive_port, "Entering Passive Mode"),
        (passive_port, "(127,0,0,1,4)"),
        (passive_port, "(127,0,0,1,4,256)"),
        (passive_port, "(127,0,0,1,0,0)"),
        (passive_port, "(127,0,0,1,4,1,1)"),
        (extended_passive_port, "(|||0|)"),
        (extended_passive_port, "(|||65536|)"),
        (extended_passive_port, "|||6446|"),
        (extended_passive_port, "(||!6446|)"),
        (size, ""),
        (size, "20 48"),
        (size, "-1"),
        (size, "1e3"),
        (modified, "20240230000000"),
        (modified, "2024022823595"),
        (modified, "20240228235961"),
        (modified, "20240228 35959"),
        (quoted_path, "/unquoted"),
        (quoted_path, '""'),
        (quoted_path, '"/open'),
        (facts_line, "type=file; x"),
    ],
)
def test_values_that_are_none(function: Callable[[Reply], Any], text: str) -> None:
    with pytest.raises(ProtocolFault, match="the server's reply"):
        function(reply(200, text))


def test_facts_are_the_one_line_between() -> None:
    assert facts_line(reply(250, "begin", " type=file;  x y", "end")) == "type=file;  x y"
    with pytest.raises(ProtocolFault):
        facts_line(reply(250, "begin", " type=file; x", " type=file; y", "end"))
