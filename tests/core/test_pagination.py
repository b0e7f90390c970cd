"""Link headers and the small values that say how pages follow each other."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from echo_connhandler import Cursor, LinkHeader, NextLink, Offset, Page, PageNumber
from echo_connhandler._core.link_header import find_link, parse_links


@pytest.mark.parametrize(
    ("value", "links"),
    [
        ("", []),
        ('<https://h/?page=2>; rel="next"', [("https://h/?page=2", {"rel": "next"})]),
        ("</a>;rel=next", [("/a", {"rel": "next"})]),
        ('</a>; rel="next", </b>; rel="last"', [("/a", {"rel": "next"}), ("/b", {"rel": "last"})]),
        ('</a,b;c>; rel="next"', [("/a,b;c", {"rel": "next"})]),
        ('</a>; title="x, <y>; rel=\\"no\\""; rel=next', [("/a", {"title": 'x, <y>; rel="no"', "rel": "next"})]),
        ("</a>; REL=next; rel=prev", [("/a", {"rel": "next"})]),
        ("</a>; crossorigin; rel=next", [("/a", {"crossorigin": "", "rel": "next"})]),
        (" , ,</a> ; rel = next , ", [("/a", {"rel": "next"})]),
        ("</a>; rel=next;", [("/a", {"rel": "next"})]),
        ("</a>; rel=next garbage </b>; rel=next", [("/a", {"rel": "next"})]),
        ("no link at all", []),
        ("</a", []),
    ],
)
def test_link_headers(value: str, links: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_links(value) == links


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        (['</a>; rel="prev next"'], "/a"),
        (["</a>; rel=NEXT"], "/a"),
        (["</a>; rel=prev", "</b>; rel=next"], "/b"),
        (['</a>; rel=next; anchor="#x"', "</b>; rel=next"], "/b"),
        (["</a>; rel=nextpage"], None),
        (["</a>"], None),
    ],
)
def test_the_link_with_a_relation(values: list[str], found: str | None) -> None:
    assert find_link(values, "next") == found


def page(body: Any, number: int = 1, items: list[Any] | None = None, **headers: str) -> Page:
    request = httpx.Request("GET", "https://h/v1/list?a=1")
    response = httpx.Response(200, json=body, headers=headers, request=request)
    return Page(number, [1] if items is None else items, response)


@pytest.mark.parametrize(
    ("style", "sent", "came", "taken", "following"),
    [
        (PageNumber(), {"page": 1}, page([1]), 1, {"page": 2}),
        (PageNumber(), {"page": 2}, page([], items=[]), 1, None),
        (PageNumber(start=0, param="p"), {"p": 0}, page([1]), 1, {"p": 1}),
        (PageNumber(pages="n"), {"page": 2}, page({"n": 2}, 2), 2, None),
        (PageNumber(pages="n"), {"page": 2}, page({"n": "3"}, 2), 2, {"page": 3}),
        (PageNumber(pages="n"), {"page": 2}, page({}, 2), 2, {"page": 3}),
        (PageNumber(total="n"), {"page": 1}, page({"n": 1}), 1, None),
        (PageNumber(total="n"), {"page": 1}, page({"n": 2}), 1, {"page": 2}),
        (PageNumber(size=2, short_page_ends=True), {"page": 1}, page([1]), 1, None),
        (PageNumber(size=2), {"page": 1}, page([1]), 1, {"page": 2}),
        (Offset(), {"offset": 0, "limit": 100}, page([1]), 1, {"offset": 1, "limit": 100}),
        (Offset(start=1), {"offset": 1, "limit": 100}, page([1]), 5, {"offset": 6, "limit": 100}),
        (Offset(limit_param=None), {"offset": 0}, page([1]), 1, {"offset": 1}),
        (Cursor(cursor="next"), {}, page({"next": "x"}), 1, {"cursor": "x"}),
        (Cursor(cursor="a.b", param="after"), {"after": "w"}, page({"a": {"b": 7}}), 1, {"after": 7}),
        (Cursor(cursor="next"), {}, page({"next": ""}), 1, None),
        (Cursor(cursor="next"), {}, page({}), 1, None),
        (Cursor(cursor="next"), {}, page({"next": 0}), 1, {"cursor": 0}),
        (Cursor(cursor="next", more="more"), {}, page({"next": "x", "more": False}), 1, None),
        (LinkHeader(), {}, page([1]), 1, None),
        (LinkHeader(), {}, page([1], link='<?page=2>; rel="next"'), 1, httpx.URL("https://h/v1/list?page=2")),
        (LinkHeader(rel="more"), {}, page([1], link="</x>; rel=more"), 1, httpx.URL("https://h/x")),
        (NextLink(), {}, page({"next": "https://k/x"}), 1, httpx.URL("https://k/x")),
        (NextLink(link="links.next"), {}, page({"links": {"next": "other"}}), 1, httpx.URL("https://h/v1/other")),
        (NextLink(), {}, page({"next": None}), 1, None),
    ],
)
def test_what_follows_a_page(style: Any, sent: dict[str, Any], came: Page, taken: int, following: Any) -> None:
    assert style.following(came, sent, taken) == following


@pytest.mark.parametrize(
    ("style", "first"),
    [
        (PageNumber(), {"page": 1}),
        (PageNumber(size_param="size", size=5), {"page": 1, "size": 5}),
        (Offset(), {"offset": 0, "limit": 100}),
        (Offset(limit_param=None, start=1), {"offset": 1}),
        (Cursor(cursor="next"), {}),
        (LinkHeader(), {}),
        (NextLink(), {}),
    ],
)
def test_what_is_sent_for_the_first_page(style: Any, first: dict[str, Any]) -> None:
    assert style.first() == first


def test_styles_that_can_not_work_are_refused() -> None:
    with pytest.raises(ValueError, match="need size"):
        PageNumber(size_param="size")
    with pytest.raises(ValueError, match="need size"):
        PageNumber(short_page_ends=True)
    with pytest.raises(ValueError, match="size must be a whole number from 1"):
        PageNumber(size=0)
    with pytest.raises(ValueError, match="limit must be a whole number from 1"):
        Offset(limit=-1)
