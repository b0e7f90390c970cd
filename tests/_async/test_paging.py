"""Lists that come page by page, in every common way: nothing left out, nothing doubled, no going in circles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from echo_connhandler import (
    Cursor,
    HttpConnProperties,
    HttpHandler,
    LinkHeader,
    NextLink,
    Offset,
    Page,
    PageNumber,
    PageStyle,
)
from echo_connhandler.errors import InvalidRequestError, UnexpectedContentError, UnexpectedStatusError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply, Request

ALL = list(range(25))


def make(server: HttpServer, **properties: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url, **properties), skip_connect=True)


def asked(request: Request) -> dict[str, str]:
    return dict(request.query)


def play(server: HttpServer, path: str, page: Callable[[Request], Reply]) -> None:
    server.route("*", path)(page)


def by_number(request: Request) -> Reply:
    query = asked(request)
    page, size = int(query.get("page", "1")), min(int(query.get("per_page", "10")), 10)
    return Reply.json({"data": ALL[(page - 1) * size :][:size], "pages": -(-25 // size), "total": 25})


def by_offset(request: Request) -> Reply:
    values = {**asked(request), **(request.json() if request.body else {})}
    start, limit = int(values["offset"]), min(int(values["limit"]), 10)  # as servers do that clamp the limit
    return Reply.json({"result": {"records": ALL[start : start + limit], "total": 25}})


def by_cursor(request: Request) -> Reply:
    values = {**asked(request), **(request.json() if request.body else {})}
    start = int(values.get("cursor", "c0").removeprefix("c"))
    following = f"c{start + 10}" if start + 10 < 25 else None
    return Reply.json({"items": ALL[start : start + 10], "meta": {"next": following, "more": following is not None}})


def by_link(request: Request) -> Reply:
    page = int(asked(request).get("page", "1"))
    links = [f'</list?page={page + 1}&day=1>; rel="next"'] if page < 3 else []
    links += ['</list?page=1>; rel="first prefetch"', '</list?page=9>; rel="next"; anchor="/other"']
    return Reply.json(ALL[(page - 1) * 10 :][:10], headers={"Link": ", ".join(links)})


def by_next(request: Request) -> Reply:
    page = int(asked(request).get("page", "1"))
    following = f"?page={page + 1}" if page < 3 else None
    return Reply.json({"results": ALL[(page - 1) * 10 :][:10], "next": following})


@pytest.mark.parametrize(
    ("page", "style", "items", "requests"),
    [
        (by_number, PageNumber(), "data", 4),
        (by_number, PageNumber(size_param="per_page", size=5), "data", 6),
        (by_number, PageNumber(size_param="per_page", size=5, short_page_ends=True), "data", 6),
        (by_number, PageNumber(size=10, short_page_ends=True), "data", 3),
        (by_number, PageNumber(pages="pages"), "data", 3),
        (by_number, PageNumber(total="total"), "data", 3),
        (by_number, PageNumber(total=lambda response: response.json()["total"]), lambda r: r.json()["data"], 3),
        (by_offset, Offset(), "result.records", 4),
        (by_offset, Offset(limit=5), "result.records", 6),
        (by_offset, Offset(limit=1000, total="result.total"), "result.records", 3),
        (by_offset, Offset(limit=10, short_page_ends=True), "result.records", 3),
        (by_cursor, Cursor(cursor="meta.next"), "items", 3),
        (by_cursor, Cursor(cursor=lambda r: f"c{r.json()['items'][-1] + 1}", more="meta.more"), "items", 3),
        (by_link, LinkHeader(), None, 3),
        (by_next, NextLink(), "results", 3),
        (by_next, NextLink(link=lambda response: response.json()["next"]), "results", 3),
    ],
)
async def test_every_item_comes_once_and_in_order(
    server: HttpServer, page: Callable[[Request], Reply], style: PageStyle, items: Any, requests: int
) -> None:
    play(server, "/list", page)
    async with make(server) as handler:
        assert [item async for item in handler.async_paginate("list", style, items=items)] == ALL
    assert len(server.requests) == requests


@pytest.mark.parametrize("style", [Offset(send_in="json"), Cursor(cursor="meta.next", send_in="json")])
async def test_pages_asked_for_in_the_body(server: HttpServer, style: PageStyle) -> None:
    play(server, "/list", by_offset if isinstance(style, Offset) else by_cursor)
    items = "result.records" if isinstance(style, Offset) else "items"
    async with make(server) as handler:
        found = handler.async_paginate("list", style, items=items, method="POST", json={"query": "x"})
        assert [item async for item in found] == ALL
    assert all(request.json()["query"] == "x" and request.query == [] for request in server.requests)


async def test_pages_come_with_their_responses_and_numbers(server: HttpServer) -> None:
    play(server, "/list", by_link)
    async with make(server) as handler:
        pages = [page async for page in handler.async_pages("list", LinkHeader(), params={"day": "1"})]
    assert [page.number for page in pages] == [1, 2, 3]
    assert [len(page.items) for page in pages] == [10, 10, 5]
    assert [page.response.url.params.get("page") for page in pages] == [None, "2", "3"]
    # A next link has its own parameters; the call's are not put to it again.
    assert [request.target for request in server.requests] == ["/list?day=1"] + [
        f"/list?page={n}&day=1" for n in (2, 3)
    ]


async def test_pages_are_asked_for_when_they_are_needed(server: HttpServer) -> None:
    play(server, "/list", by_number)
    async with make(server, headers={"X-One": "1"}) as handler:
        found = handler.async_paginate("list", PageNumber(), items="data")
        assert server.requests == []
        async for item in found:
            if item == 12:
                break
        assert len(server.requests) == 2
        assert (await handler.async_get("echo")).status_code == 200


async def test_max_pages_ends_it(server: HttpServer) -> None:
    play(server, "/list", by_number)
    async with make(server) as handler:
        found = [item async for item in handler.async_paginate("list", PageNumber(), items="data", max_pages=2)]
    assert found == ALL[:20]
    assert len(server.requests) == 2


async def test_each_page_is_tried_again_like_any_call(server: HttpServer) -> None:
    server.script("/list", [Reply.json([1, 2]), Reply(503), Reply.drop(), Reply.json([3]), Reply.json([])])
    async with make(server) as handler:
        with no_waits() as waits:
            assert [item async for item in handler.async_paginate("list", PageNumber())] == [1, 2, 3]
        server.script("/list", [Reply.json([1, 2]), Reply(404)])
        taken = 0
        with pytest.raises(UnexpectedStatusError):
            async for _ in handler.async_paginate("list", PageNumber()):
                taken += 1
    assert len(waits) == 2
    assert taken == 2


# Circles


@pytest.mark.parametrize("style", [PageNumber(), Offset()])
async def test_a_server_that_ignores_the_page_is_noticed(server: HttpServer, style: PageStyle) -> None:
    play(server, "/list", lambda _: Reply.json([1, 2, 3]))
    async with make(server) as handler:
        with pytest.raises(UnexpectedContentError, match="page 2 has the same items as page 1") as caught:
            async for _ in handler.async_paginate("list", style):
                pass
        assert "repeats_ok=True" in str(caught.value)
    assert len(server.requests) == 2


async def test_pages_may_be_the_same_where_that_is_said(server: HttpServer) -> None:
    server.script("/list", [Reply.json([0]), Reply.json([0]), Reply.json([])])
    async with make(server) as handler:
        assert [item async for item in handler.async_paginate("list", PageNumber(), repeats_ok=True)] == [0, 0]


@pytest.mark.parametrize(
    ("style", "reply"),
    [
        (Cursor(cursor="next"), {"items": [1], "next": "same"}),
        (NextLink(), {"items": [1], "next": "/list"}),
        (NextLink(), {"items": [1], "next": "/list?page=2"}),
    ],
)
async def test_a_list_that_leads_back_is_noticed(server: HttpServer, style: PageStyle, reply: dict[str, Any]) -> None:
    play(server, "/list", lambda _: Reply.json(reply))
    async with make(server) as handler:
        with pytest.raises(UnexpectedContentError, match="leads back"):
            async for _ in handler.async_paginate("list", style, items="items"):
                pass
    assert len(server.requests) <= 2


async def test_a_link_header_that_leads_back_is_noticed(server: HttpServer) -> None:
    play(server, "/list", lambda _: Reply.json([1], headers={"Link": '</list?a=1>; rel="next"'}))
    async with make(server) as handler:
        with pytest.raises(UnexpectedContentError, match="leads back"):
            async for _ in handler.async_paginate("list?a=1", LinkHeader()):
                pass


# Pages that are none


@pytest.mark.parametrize(
    ("reply", "items", "said"),
    [
        (
            Reply.json({"rows": [1], "extra": []}),
            None,
            "the body is no list of items but dict; lists are in 'extra', 'row",
        ),
        (Reply.json({"rows": [1]}), "data", "items='data' is no list of items but NoneType; lists are in 'rows'"),
        (Reply.json({"data": {"rows": 1}}), "data.rows", "items='data.rows' is no list of items but int"),
        (Reply.json([1]), "data", "items='data' is no list"),
        (Reply.json({"rows": [1]}), lambda response: None, "items=... is no list of items but NoneType"),
        (Reply(200, {"Content-Type": "text/html"}, b"<html>"), None, "the page is not JSON but text/html"),
    ],
)
async def test_an_answer_that_is_no_page_is_said(server: HttpServer, reply: Reply, items: Any, said: str) -> None:
    server.script("/list", [reply])
    async with make(server) as handler:
        with pytest.raises(UnexpectedContentError, match="GET .*/list.*: ") as caught:
            async for _ in handler.async_paginate("list?token=planted", PageNumber(), items=items):
                pass
    assert said in str(caught.value)
    assert caught.value.response.status_code == 200
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("style", "reply", "said"),
    [
        (NextLink(), {"items": [1], "next": 7}, "the next link must be a URL, it is a int"),
        (NextLink(), {"items": [1], "next": "http://127.0.0.1:bad/"}, "the next link is no URL"),
        (PageNumber(total="total"), {"items": [1], "total": "many"}, "total must be a number, it is 'many'"),
    ],
)
async def test_what_leads_nowhere_is_said(
    server: HttpServer, style: PageStyle, reply: dict[str, Any], said: str
) -> None:
    server.script("/list", [Reply.json(reply)])
    async with make(server) as handler:
        with pytest.raises(UnexpectedContentError) as caught:
            async for _ in handler.async_paginate("list", style, items="items"):
                pass
    assert said in str(caught.value)


async def test_wrong_arguments_are_said_before_anything_is_sent(server: HttpServer) -> None:
    async with make(server) as handler:
        with pytest.raises(TypeError, match="style must be a PageStyle"):
            handler.async_paginate("list", "page")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="max_pages"):
            handler.async_pages("list", PageNumber(), max_pages=0)
        with pytest.raises(TypeError, match="params= must be a mapping"):
            handler.async_paginate("list", PageNumber(), params="a=1")
        with pytest.raises(TypeError, match="takes no item"):
            handler.async_paginate("list", PageNumber(), item="data")  # type: ignore[call-arg]
        with pytest.raises(InvalidRequestError):
            handler.async_paginate("a b", PageNumber())
    assert server.requests == []


# Where the next link leads


async def test_a_next_link_to_another_origin_gets_no_secrets(server: HttpServer, other_server: HttpServer) -> None:
    play(server, "/list", lambda _: Reply.json({"items": [1], "next": f"{other_server.url}/list?page=2"}))
    play(other_server, "/list", lambda _: Reply.json({"items": [2], "next": None}))
    secrets = {
        "headers": {"Authorization": "planted-1"},
        "cookies": {"sid": "planted-2"},
        "payload_kwargs": {"key": "planted-3"},
        "payload_kwargs_key": "params",
    }
    async with make(server, **secrets) as handler:
        found = handler.async_paginate(
            "list",
            NextLink(),
            items="items",
            method="POST",
            headers={"X-Own": "planted-4", "Accept": "text/x"},
            params={"p": "planted-5"},
            json={"b": "planted-6"},
        )
        assert [item async for item in found] == [1, 2]
    [abroad] = other_server.requests
    assert "planted" not in repr((abroad.target, abroad.headers, abroad.body))
    assert abroad.header("Accept") == "text/x"


async def test_a_next_link_at_home_gets_what_the_call_sends(server: HttpServer) -> None:
    play(server, "/list", by_next)
    async with make(server, headers={"Authorization": "mine"}) as handler:
        async for _ in handler.async_paginate("list", NextLink(), items="results", headers={"X-Own": "1"}):
            pass
    assert {(r.header("Authorization"), r.header("X-Own")) for r in server.requests} == {("mine", "1")}


@pytest.mark.parametrize("link", ["ftp://host/list", "http://user:secret@host/list", "file:///etc/passwd"])
async def test_next_links_that_are_no_place_to_go_are_refused(server: HttpServer, link: str) -> None:
    play(server, "/list", lambda _: Reply.json({"items": [1], "next": link}))
    async with make(server) as handler:
        with pytest.raises(ValueError, match="scheme|user or password"):
            async for _ in handler.async_paginate("list", NextLink(), items="items"):
                pass
    assert len(server.requests) == 1


# A style of one's own


@dataclass(frozen=True)
class ByDay(PageStyle):
    last: int

    def first(self) -> Mapping[str, Any]:
        return {"day": 1}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> Mapping[str, Any] | httpx.URL | None:
        return {"day": sent["day"] + 1} if sent["day"] < self.last else None


async def test_a_style_of_ones_own(server: HttpServer) -> None:
    play(server, "/list", lambda request: Reply.json([f"day {asked(request)['day']}"]))
    async with make(server) as handler:
        assert [item async for item in handler.async_paginate("list", ByDay(3))] == ["day 1", "day 2", "day 3"]
