"""Listings of FTP servers, read: facts, and the lines that Unix and Windows servers write for people."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echo_connhandler._core.ftp.entries import FtpEntry, Listed
from echo_connhandler._core.ftp.listings import parse_facts, parse_list, parse_mlsd
from echo_connhandler.errors import TransferError

MOMENT = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)
# What a name in a folder may be, as far as a line can carry it.
NAMES = st.text(st.characters(blacklist_characters="/\0\r\n", blacklist_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


def one(line: str, encoding: str = "utf-8") -> Listed:
    (found,), _ = parse_list(line.encode(encoding) + b"\r\n", encoding)
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # vsftpd, ProFTPD, pyftpdlib
        ("-rw-r--r--    1 1000     1000         1234 Nov 21 02:26 a.csv", Listed("a.csv", False, 1234)),
        ("-rw-r--r--   1 ftp      ftp             0 Nov  9 02:26 a b  c", Listed("a b  c", False, 0)),
        ("-rw-r--r--   1 root     root         1234 May 13  2014 old", Listed("old", False, 1234)),
        ("drwxr-xr-x   2 0        0            4096 May 13  2014 data", Listed("data", True)),
        ("-rw-r--r--   1 ftp      ftp             0 Nov  9 02:26   leading", Listed("  leading", False, 0)),
        ("-rw-r--r--   1 ftp      ftp             0 Nov  9 02:26 trailing  ", Listed("trailing  ", False, 0)),
        # an arrow is one only in a link's line; the link's size is its target's length
        ("-rw-r--r-- 1 a b 5 Nov  9 02:26 x -> y", Listed("x -> y", False, 5)),
        ("lrwxrwxrwx 1 a b 6 Nov  9 02:26 link -> target", Listed("link", False, is_link=True)),
        ("lrwxrwxrwx 1 a b 6 Nov  9 02:26 a -> b -> target", Listed("a -> b", False, is_link=True)),
        ("lrwxrwxrwx 1 a b 11 Nov  9 02:26 a -> b -> target", Listed("a", False, is_link=True)),
        ("lrwxrwxrwx 1 a b 99 Nov  9 02:26 a -> b -> target", Listed("a", False, is_link=True)),
        ("lrwxrwxrwx 1 a b 7 Nov  9 02:26 bare", Listed("bare", False, is_link=True)),
        # names that look like what stands before them
        ("-rw-r--r-- 1 a b 5 Nov  9 02:26 7 Nov 10 2020 x", Listed("7 Nov 10 2020 x", False, 5)),
        ("-rw-r--r-- 1 a b 5 Nov  9 02:26 total 5", Listed("total 5", False, 5)),
        # owners of several words, none, access lists, sticky bits, devices, sockets
        ("-rw-rw-r--+ 1 DOM\\me domain users 5 Nov  9 02:26 acl", Listed("acl", False, 5)),
        ("drwxrwxrwt. 9 0 0 160 Nov  9 02:26 tmp", Listed("tmp", True)),
        ("-rwsr-Sr-T 1 owner 12345678901 Dec 31 23:59 big", Listed("big", False, 12345678901)),
        ("crw-rw-rw- 1 0 0 1, 3 Nov  9 02:26 null", Listed("null", False)),
        ("srwxrwxrwx 1 0 0 0 Nov  9 02:26 sock", Listed("sock", False)),
        # other ways to write dates
        ("-rw-r--r-- 1 a b 5 2014-05-13 02:26 iso", Listed("iso", False, 5)),
        ("-rw-r--r-- 1 a b 5 9 Nov 02:26 day first", Listed("day first", False, 5)),
        ("-rw-r--r-- 1 a b 5 févr. 9 2014 accents", Listed("accents", False, 5)),
        # IIS, and others on Windows
        ("11-21-25  02:26AM       <DIR>          data", Listed("data", True)),
        ("11-21-25  02:26AM       <DIR>            leading", Listed("  leading", True)),
        ("11-21-2025  02:26PM       <DIR>          data", Listed("data", True)),
        ("11-21-25  02:26AM                 1234 a b.csv", Listed("a b.csv", False, 1234)),
        ("11-21-2025  02:26PM                 1234  a", Listed(" a", False, 1234)),
        ("2025-11-21  14:26                1,234 a -> b", Listed("a -> b", False, 1234)),
        ("21.11.2025  14:26 <DIR> x", Listed("x", True)),
        ("11-21-25  02:26AM       <JUNCTION>     here [C:\\there]", Listed("here", False, is_link=True)),
    ],
)
def test_lines_of_list(line: str, expected: Listed) -> None:
    assert one(line) == expected


@pytest.mark.parametrize("line", ["total 12", "total 0", "Total: 3", "", "   "])
def test_what_is_no_entry_is_passed_over(line: str) -> None:
    assert parse_list(line.encode() + b"\r\n", "utf-8") == ([], False)


def test_the_folder_itself_is_told_and_not_listed() -> None:
    listing = b"drwxr-xr-x 2 0 0 4096 Nov 21 02:26 .\r\ndrwxr-xr-x 2 0 0 4096 Nov 21 02:26 ..\r\n"
    assert parse_list(listing, "utf-8") == ([], True)
    more = listing + b"-rw-r--r-- 1 0 0 1 Nov 21 02:26 ...\r\n"
    assert parse_list(more, "utf-8") == ([Listed("...", False, 1)], True)


@pytest.mark.parametrize(
    "line", ["hello", "ls: cannot open directory '.'", "-rw-r--r-- 1 a b 5 Nov  9 02:26", "+i8,\tx"]
)
def test_a_line_that_is_none_is_said(line: str) -> None:
    with pytest.raises(TransferError, match="can't be understood: .*" + line[:2].replace("+", r"\+")):
        parse_list(line.encode() + b"\r\n", "utf-8")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(TransferError, match="no name of something in a folder"):
        parse_list(f"-rw-r--r-- 1 a b 5 Nov  9 02:26 {name}\r\n".encode(), "utf-8")
    with pytest.raises(TransferError, match="no name of something in a folder"):
        parse_mlsd(f"type=file; {name}\r\n".encode(), "utf-8")


@given(NAMES)
@example(" -> ")
@example("\x85\u2028\x1c")  # line ends for str.splitlines
def test_any_name_of_a_file_comes_through(name: str) -> None:
    data = f"-rw-r--r--   1 ftp      ftp          1234 Nov  9 02:26 {name}\r\n".encode()
    assert parse_list(data, "utf-8") == ([Listed(name, False, 1234)], False)
    assert parse_mlsd(f"type=file;size=1234; {name}\r\n".encode(), "utf-8") == ([Listed(name, False, 1234)], None)


@given(NAMES, NAMES)
def test_any_link_comes_through_where_the_lengths_fit(name: str, target: str) -> None:
    listed = one(f"lrwxrwxrwx 1 a b {len(target.encode())} Nov  9 02:26 {name} -> {target}")
    ends = [f"{name} -> {target}".find(" -> ", place) for place in range(len(name) + 1)]
    fits = [end for end in ends if len(f"{name} -> {target}"[end + 4 :].encode()) == len(target.encode())]
    assert listed.is_link
    assert fits
    assert listed.name == name


@given(st.binary())
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for parse in (parse_list, parse_mlsd):
        try:
            found, _ = parse(data, "utf-8")
        except TransferError:
            continue
        assert all("/" not in each.name for each in found)


@given(st.binary(min_size=1).filter(lambda name: not set(name) & set(b"/\0\r\n") and name not in (b".", b"..")))
def test_names_in_no_encoding_can_be_sent_back(name: bytes) -> None:
    (found,), _ = parse_mlsd(b"type=file; " + name + b"\r\n", "utf-8")
    assert found.name.encode("utf-8", "surrogateescape") == name


def test_names_in_a_legacy_encoding() -> None:
    assert one("-rw-r--r-- 1 a b 5 Nov  9 02:26 preços", "latin-1").name == "preços"
    assert one("lrwxrwxrwx 1 a b 4 Nov  9 02:26 a -> b -> maçã", "latin-1").name == "a -> b"


def test_facts() -> None:
    data = (
        b"type=cdir;modify=20240229123059;unique=1g2; /srv\r\n"
        b"type=pdir;modify=20240229123059; /\r\n"
        b"Type=file;Size=12;Modify=20240229123059.250;perm=r; a;b = c  d\r\n"
        b"type=dir;modify=20240229123059;sizd=4096;unique=1g3; data\r\n"
        b"type=OS.unix=symlink;size=7;modify=20240229123059; link\r\n"
        b"type=OS.unix=slink:/srv/x; other link\r\n"
        b"type=file;size=x;modify=2024; nonsense\r\n"
        b" no facts\r\n"
    )
    found, itself = parse_mlsd(data, "utf-8")
    assert itself == Listed("/srv", True, modified=MOMENT, unique="1g2")
    assert found == [
        Listed("a;b = c  d", False, 12, MOMENT.replace(microsecond=250000)),
        Listed("data", True, modified=MOMENT, unique="1g3"),
        Listed("link", False, is_link=True),
        Listed("other link", False, is_link=True),
        Listed("nonsense", False),
        Listed("no facts", False),
    ]


@pytest.mark.parametrize(
    ("line", "doubtful"),
    [
        ("type=dir;size=4096; /srv/data", False),
        ("type=dir;UNIX.mode=0755; /srv/data", False),
        ("type=dir;UNIX.mode=0777;UNIX.owner=0; /srv/data", True),
        ("type=dir;unix.mode=777; /srv/data", True),
        ("type=dir;UNIX.mode=01777; /srv/data", False),
        ("type=dir; /srv/;UNIX.mode=0777;", False),
    ],
)
def test_facts_of_one_path_may_be_those_of_a_link(line: str, doubtful: bool) -> None:
    assert parse_facts(line) == (Listed(line.partition(" ")[2], True), doubtful)


def test_a_link_that_is_told_says_nothing_of_what_it_leads_to() -> None:
    assert parse_facts("type=OS.unix=symlink;size=4; a") == (Listed("a", False, is_link=True), True)


@pytest.mark.parametrize("line", ["type=file;size=1;", "type; a", "-rw-r--r-- 1 a b 5 Nov  9 02:26 a"])
def test_facts_that_are_none_are_said(line: str) -> None:
    with pytest.raises(TransferError, match="can't be understood"):
        parse_facts(line)


def test_an_entry_has_the_path_of_its_folder() -> None:
    listed = Listed("a", False, 3, MOMENT, True, "1g2")
    assert listed.entry("data") == FtpEntry("a", "data/a", False, 3, MOMENT, is_link=True)
    assert listed.entry("").path == "a"
    assert listed.entry("/").path == "/a"
