"""Paths on FTP servers: what is refused, how they are joined, and what patterns mean."""

from __future__ import annotations

import functools
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.ftp.paths import (
    absolute,
    check_text,
    is_name,
    join,
    local_name,
    matches,
    parent,
    remote_path,
    split_pattern,
)
from echo_connhandler.errors import TransferError

CONTROL = [chr(code) for code in (*range(32), 127)]


@pytest.mark.parametrize("ch", CONTROL)
def test_control_characters_are_refused(ch: str) -> None:
    with pytest.raises(ValueError, match=r"^old has a control character .* at position 1,"):
        check_text(f"a{ch}b", "old")
    with pytest.raises(ValueError, match="path has a control character"):
        remote_path(ch)


def test_others_are_not() -> None:
    text = " -a b'\"*?#\\~ç\u2028\udcff%"
    assert check_text(text, "path") == text


@pytest.mark.parametrize("path", [b"a", 1, None])
def test_what_is_no_text_is_refused(path: object) -> None:
    with pytest.raises(TypeError):
        remote_path(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("", ""),
        (".", ""),
        ("/", "/"),
        ("//", "/"),
        ("a", "a"),
        ("a/", "a"),
        ("./a//b/.", "a/b"),
        ("/a/b/", "/a/b"),
        ("../a", "../a"),
        (" a ", " a "),
        (PurePosixPath("/a/b"), "/a/b"),
    ],
)
def test_paths_as_they_are_used(given_: str, expected: str) -> None:
    assert remote_path(given_) == expected


@pytest.mark.parametrize(
    ("path", "home", "expected"),
    [
        ("a", "/", "/a"),
        ("", "/", "/"),
        ("a/b", "/srv", "/srv/a/b"),
        ("", "/srv", "/srv"),
        ("/a", "/srv", "/a"),
        ("a", "DISK:[HOME]", "a"),
        ("", "DISK:[HOME]", "."),
    ],
)
def test_paths_as_they_are_sent(path: str, home: str, expected: str) -> None:
    assert absolute(path, home) == expected


def test_parts() -> None:
    assert [join("", "a"), join("/", "a"), join("b", "a"), join("/b", "a")] == ["a", "/a", "b/a", "/b/a"]
    assert [parent("a"), parent("/a"), parent("b/a"), parent("/b/a"), parent("/")] == ["", "/", "b", "/b", "/"]
    assert [is_name(name) for name in ("", ".", "..", "a/b", "a\0", "...", "a b", "\\")] == [False] * 5 + [True] * 3


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "..\\a", "a\\b", "C:", "c:\\a", "c:a", "a\nb", "a\0b", "\x7f"]
)
def test_names_that_must_not_become_local_ones(name: str) -> None:
    for windows in (True, False):
        with pytest.raises(TransferError, match="can't be used here"):
            local_name(name, windows=windows)


@pytest.mark.parametrize(
    "name", ["nul", "CON.csv", "com1", "LPT².txt", "a.", "a ", "12:30.csv", "a*", "a?", 'a"', "a|b", "<a>"]
)
def test_names_that_windows_has_not(name: str) -> None:
    assert local_name(name, windows=False) == name
    with pytest.raises(TransferError, match="Windows has no such names"):
        local_name(name, windows=True)


@pytest.mark.parametrize("name", ["a", "..a", " a", ".hidden", "a b.csv", "console", "preços", "com10", "~"])
def test_names_that_may(name: str) -> None:
    assert local_name(name, windows=True) == local_name(name, windows=False) == name


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a.csv", "*.csv", True),
        ("a.csv", "?.csv", True),
        ("ab.csv", "?.csv", False),
        (".csv", "*.csv", True),
        ("x/a.csv", "*.csv", False),
        ("x/a.csv", "*/*.csv", True),
        ("x/a.csv", "**/*.csv", True),
        ("a.csv", "**/*.csv", True),
        ("x/y/z/a.csv", "**/*.csv", True),
        ("x/y/z/a.csv", "x/**/z/*", True),
        ("x/z/a.csv", "x/**/z/*", True),
        ("x/y/a.csv", "x/**/z/*", False),
        ("x/y", "x/**", True),
        ("x/y/z", "x/**", True),
        ("y/z", "x/**", False),
        ("a", "**/**/**", True),
        ("A.CSV", "*.csv", False),
        ("[a].csv", "[a].csv", True),
        ("a.csv", "[a].csv", False),
        ("a\nb", "a*b", True),
        ("ab", "a**b", True),
        ("a/b", "a**b", False),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, pattern) is expected


def test_many_stars_take_no_exponential_time() -> None:
    assert not matches("/".join("a" * 200), "/".join(["**", "a"] * 60 + ["b"]))


def simply(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Match as the words say it, however long that takes."""

    @functools.cache
    def rest(place: int, part: int) -> bool:
        if part == len(parts):
            return place == len(names)
        if parts[part] == "**":
            return any(rest(after, part + 1) for after in range(place, len(names) + 1))
        pattern = re.escape(parts[part]).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        return place < len(names) and bool(re.fullmatch(pattern, names[place])) and rest(place + 1, part + 1)

    return rest(0, 0)


PARTS = st.lists(st.sampled_from(["**", "*", "?", "a", "b", "a*", "*b"]), min_size=1, max_size=6)


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=6), PARTS)
def test_patterns_mean_what_the_words_say(names: list[str], parts: list[str]) -> None:
    assert matches("/".join(names), "/".join(parts)) is simply(tuple(names), tuple(parts))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ("", ("*.csv",))),
        ("/*.csv", ("/", ("*.csv",))),
        ("a/b/*.csv", ("a/b", ("*.csv",))),
        ("/a/?/c", ("/a", ("?", "c"))),
        ("a/b", ("a", ("b",))),
        ("/a", ("/", ("a",))),
        ("a", ("", ("a",))),
        ("./**/x", ("", ("**", "x"))),
    ],
)
def test_patterns_begin_with_a_folder(pattern: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert split_pattern(pattern) == expected


@pytest.mark.parametrize("pattern", ["", ".", "/"])
def test_a_pattern_names_something(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern must name something"):
        split_pattern(pattern)
