"""Many requests at once: bounded, in order, and errors where they belong."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler
from echo_connhandler.errors import InvalidRequestError, UnexpectedStatusError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply, Request


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


class Crowd:
    """A route that counts how many are in it at once, and lets none out before so many came."""

    def __init__(self, awaited: int = 1) -> None:
        self._lock = threading.Lock()
        self._enough = threading.Barrier(awaited)
        self.inside = self.most = 0

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            self._enough.wait(10)
        finally:
            with self._lock:
                self.inside -= 1
        return Reply.json({"at": request.target})


async def test_results_come_in_the_order_of_the_requests(server: HttpServer) -> None:
    server.route("GET", "/slow")(lambda _: Reply.json("slow"))
    async with make(server) as handler:
        found = await handler.async_gather(["delay/0.2", *(f"bytes/{n}" for n in range(20)), "echo"])
    assert [response.url.path for response in found] == ["/delay/0.2", *(f"/bytes/{n}" for n in range(20)), "/echo"]
    assert all(isinstance(response, httpx.Response) for response in found)


async def test_no_request_gives_no_result(server: HttpServer) -> None:
    async with make(server) as handler:
        assert await handler.async_gather([]) == []


@pytest.mark.parametrize(("concurrency", "pool_size", "most"), [(3, 10, 3), (None, 4, 4), (1, 10, 1)])
async def test_so_many_are_under_way_and_no_more(
    server: HttpServer, concurrency: int | None, pool_size: int, most: int
) -> None:
    crowd = Crowd(awaited=most)
    server.route("GET", "/crowd")(crowd)
    async with make(server, pool_size=pool_size) as handler:
        await handler.async_gather(["crowd"] * 12, concurrency=concurrency)
    assert crowd.most == most


async def test_requests_of_every_form_and_options_for_all(server: HttpServer) -> None:
    async with make(server) as handler:
        found = await handler.async_gather(
            (
                request
                for request in (
                    "echo?n=1",
                    ("POST", "echo"),
                    ("PUT", f"{server.url}/echo", {"json": {"a": 1}, "headers": {"X-All": "own"}}),
                )
            ),
            headers={"X-All": "all"},
            timeout=10,
        )
    echoed = [response.json() for response in found]
    assert [e["method"] for e in echoed] == ["GET", "POST", "PUT"]
    assert echoed[2]["json"] == {"a": 1}
    assert [{k.lower(): v for k, v in e["headers"]}["x-all"] for e in echoed] == ["all", "all", "own"]


async def test_the_first_failure_is_raised_and_the_rest_not_begun(server: HttpServer) -> None:
    async with make(server) as handler:
        with pytest.raises(UnexpectedStatusError, match="404"):
            await handler.async_gather(["echo", "no-such-thing", *["bytes/10"] * 50], concurrency=1)
        assert (await handler.async_get("echo")).status_code == 200
    assert server.hits("/bytes/10") == 0


async def test_exceptions_can_be_results(server: HttpServer) -> None:
    server.script("/flaky", [Reply(503), Reply.json("there")])
    async with make(server, max_retries=2) as handler:
        with no_waits():
            found = await handler.async_gather(["echo", "no-such-thing", "flaky"], return_exceptions=True)
    assert isinstance(found[0], httpx.Response)
    assert isinstance(found[1], UnexpectedStatusError)
    assert isinstance(found[2], httpx.Response)
    assert found[2].json() == "there"


@pytest.mark.parametrize(
    ("requests", "error", "said"),
    [
        ("echo", TypeError, "got a single text"),
        (["echo", 7], TypeError, "request 1 must be an endpoint"),
        ([("GET",)], TypeError, "request 0 must be"),
        ([("GET", "echo", "x")], TypeError, "request 0 must be"),
        (["echo", ("GET", "echo", {"respons_ok": 1})], TypeError, "respons_ok"),
        (["echo", "a b"], InvalidRequestError, "white space"),
    ],
)
async def test_what_is_no_request_is_said_before_any_is_sent(
    server: HttpServer, requests: Any, error: type[Exception], said: str
) -> None:
    async with make(server) as handler:
        with pytest.raises(error, match=said):
            await handler.async_gather(requests)
        with pytest.raises(ValueError, match="concurrency"):
            await handler.async_gather(["echo"], concurrency=0)
    assert server.requests == []


async def test_a_large_batch_loses_nothing(server: HttpServer) -> None:
    async with make(server) as handler:
        found = await handler.async_gather([f"echo?n={n}" for n in range(200)], concurrency=8)
    assert [int(dict(response.json()["query"])["n"]) for response in found] == list(range(200))
    server.wait_open(0)
