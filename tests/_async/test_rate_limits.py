"""What a server says about its limits is obeyed by all callers of a handler, not only by the one that was told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience
from echo_connhandler.errors import RateLimitedError
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply, Request


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


USED_UP = [
    {"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "7"},
    {"RateLimit": "limit=10, remaining=0, reset=7"},
    {"RateLimit": '"default";r=0;t=7', "RateLimit-Policy": '"default";q=10;w=60'},
    {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7"},
]


@pytest.mark.parametrize("headers", USED_UP, ids=str)
async def test_after_the_last_request_all_wait_for_the_reset(server: HttpServer, headers: dict[str, str]) -> None:
    server.script("/last", [Reply(200, headers)])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("last")
            assert waits == []
            await handler.async_get("echo")
            assert waits == pytest.approx([7], abs=0.5)
            await handler.async_get("echo")
    assert len(waits) == 1


async def test_a_call_waits_for_what_another_was_told(server: HttpServer) -> None:
    server.script("/told", [Reply(429, {"Retry-After": "9"})])
    async with make(server) as handler:
        with no_waits() as waits:
            with pytest.raises(RuntimeError):
                await handler.async_get("told", retry=0)
            await handler.async_get("echo")
    assert waits == pytest.approx([9], abs=0.5)


async def test_a_service_that_is_out_of_order_holds_back_its_own_call_only(server: HttpServer) -> None:
    server.script("/report", [Reply(503, {"Retry-After": "9"}), Reply(200)])
    async with make(server) as handler:
        with no_waits() as waits:
            with pytest.raises(RuntimeError):
                await handler.async_get("report", retry=0)
            await handler.async_get("echo")
            assert waits == []
            server.script("/report", [Reply(503, {"Retry-After": "9"}), Reply(200)])
            await handler.async_get("report")
    assert waits == [9]


async def test_the_call_that_was_told_waits_once(server: HttpServer) -> None:
    server.script("/told", [Reply(429, {"Retry-After": "9"}), Reply(200)])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("told")
    assert waits == [9]


async def test_both_halves_and_handlers_like_it_know_of_it(server: HttpServer) -> None:
    server.script("/last", [Reply(200, USED_UP[0])])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("last")
            with handler.with_timeout(5) as twin:
                twin.get("echo")
    assert waits == pytest.approx([7], abs=0.5)


async def test_no_more_go_out_than_are_left(server: HttpServer) -> None:
    windows = Windows(limit=5, seconds=3)
    server.route("GET", "/limited")(windows)
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("limited")  # tells that 4 are left
            for _ in range(9):
                await handler.async_get("limited")
    assert windows.refused == 0
    assert waits == pytest.approx([3], abs=0.5)


class Windows:
    """A route that takes so many requests, then none until its window is over: when the handler has waited for it."""

    def __init__(self, limit: int, seconds: int) -> None:
        self._lock = threading.Lock()
        self._limit = self._left = limit
        self._seconds = seconds
        self._late = False
        self.refused = 0

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            if self._late:
                self._left, self._late = self._limit, False
            headers = {"RateLimit-Reset": str(self._seconds)}
            if not self._left:
                self.refused += 1
                self._late = True
                return Reply(429, {**headers, "RateLimit-Remaining": "0", "Retry-After": str(self._seconds)})
            self._left -= 1
            self._late = not self._left
            return Reply(200, {**headers, "RateLimit-Remaining": str(self._left)})


async def test_many_at_once_all_get_through(server: HttpServer) -> None:
    windows = Windows(limit=10, seconds=2)
    server.route("GET", "/limited")(windows)
    async with make(server, pool_size=5) as handler:
        with no_waits():
            async with AsyncTasks() as tasks:
                for _ in range(40):
                    tasks.start(handler.async_get, "limited")
    assert [response.status_code for response in tasks.results] == [200] * 40


@pytest.mark.parametrize(
    "policy", [Resilience(deadline=5), Resilience(max_retries=0, retry_wait_time=8), Resilience(retry_wait_time=1)]
)
async def test_where_the_wait_is_too_long_the_call_fails_at_once(server: HttpServer, policy: Resilience) -> None:
    server.script("/told", [Reply(429, {"Retry-After": "9"})])
    async with make(server) as handler:
        with no_waits() as waits:
            with pytest.raises(RateLimitedError):
                await handler.async_get("told", retry=0)
            with pytest.raises(RateLimitedError, match=r"GET .*/echo\?token=\*\*\*: not sent") as caught:
                await handler.async_get("echo?token=planted", retry=policy)
    assert waits == []
    assert server.hits("/echo") == 0
    assert caught.value.retry_after == pytest.approx(9, abs=0.5)
    assert caught.value.response.status_code == 429
    assert caught.value.attempts == 1
    assert "planted" not in str(caught.value)


async def test_no_wait_is_longer_than_retry_wait_time(server: HttpServer) -> None:
    server.script("/last", [Reply(200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "50"})])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("last")
            await handler.async_get("echo")
    assert waits == pytest.approx([30], abs=0.5)


async def test_other_origins_are_not_held_back(server: HttpServer, other_server: HttpServer) -> None:
    server.script("/last", [Reply(200, USED_UP[0])])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("last")
            await handler.async_get(f"{other_server.url}/echo")
    assert waits == []


async def test_limits_can_be_left_to_the_caller(server: HttpServer) -> None:
    server.script("/last", [Reply(200, USED_UP[0])])
    async with make(server, resilience=Resilience(obey_rate_limits=False)) as handler:
        with no_waits() as waits:
            await handler.async_get("last")
            await handler.async_get("echo")
    assert waits == []


async def test_streams_and_pages_wait_too(server: HttpServer) -> None:
    server.script("/last", [Reply(200, USED_UP[0])] * 2)
    async with make(server) as handler:
        with no_waits() as waits:
            async with handler.async_stream("GET", "last"):
                pass
            async with handler.async_stream("GET", "last"):
                pass
            await handler.async_gather(["echo"])
    assert waits == pytest.approx([7, 7], abs=0.5)
