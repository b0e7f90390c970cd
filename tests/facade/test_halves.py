"""What both halves of a handler have under one name must be the same: only the first one found is ever called."""

from __future__ import annotations

import inspect
from types import CodeType
from typing import Any

import pytest

from echo_connhandler import BazeHttpHandler, CceeHttpHandler, FtpHandler, HttpHandler, OnsHttpHandler
from echo_connhandler.sql import SqlHandler


def names_in(code: CodeType) -> list[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return [*code.co_names, *(name for each in inner for name in names_in(each))]


def functions(kind: type, room: str) -> dict[str, Any]:
    """Return the functions that a handler inherits from the classes of one room."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if room in base.__module__:
            found |= {name: each for name, each in vars(base).items() if callable(each) or isinstance(each, property)}
    return found


@pytest.mark.parametrize(
    "kind", [SqlHandler, HttpHandler, BazeHttpHandler, CceeHttpHandler, OnsHttpHandler, FtpHandler]
)
def test_what_has_the_same_name_in_both_halves_is_the_same(kind: type) -> None:
    ours, twins = functions(kind, "._async."), functions(kind, "._sync.")
    shared = sorted(ours.keys() & twins.keys() - {"__module__", "__doc__"})
    for name in shared:
        one, other = (inspect.unwrap(getattr(each, "fget", None) or each) for each in (ours[name], twins[name]))
        if hasattr(one, "__code__"):
            assert names_in(one.__code__) == names_in(other.__code__), name
            assert one.__code__.co_flags == other.__code__.co_flags, name
            for word in set(names_in(one.__code__)) - {"__name__"}:  # a class of each room would be another in each
                assert one.__globals__.get(word) is other.__globals__.get(word), (name, word)
    assert shared
