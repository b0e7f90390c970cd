"""Streams, downloads and gathering as a whole: cancelled, used from threads, and behind a login that reads pages."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, HttpSession, LoginFlow, PageNumber
from echo_connhandler.errors import UnexpectedStatusError
from tests.servers.http import HttpServer, Reply, Request


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


async def test_a_cancelled_download_can_be_continued_and_holds_nothing(server: HttpServer, tmp_path: Path) -> None:
    async with make(server, pool_size=1) as handler:
        with anyio.CancelScope() as scope:
            await handler.async_download(
                "bytes/20000000", tmp_path / "f", progress=lambda done, total: scope.cancel() if done > 4e6 else None
            )
        assert scope.cancelled_caught
        there = (tmp_path / "f.part").stat().st_size
        assert 1e6 < there < 20_000_000
        assert not (tmp_path / "f").exists()
        await handler.async_download("bytes/20000000", tmp_path / "f")
    assert server.requests[-1].header("Range") == f"bytes={there}-"
    assert (tmp_path / "f").read_bytes() == (bytes(range(256)) * 78125)[:20_000_000]


async def test_a_cancelled_stream_gives_its_place_back(server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        with anyio.CancelScope() as scope:
            async with handler.async_stream("GET", "bytes/20000000") as response:
                async for _ in response.aiter_bytes():
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert (await handler.async_get("echo")).status_code == 200


async def test_a_stream_that_waits_for_its_headers_can_be_cancelled(server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        with anyio.move_on_after(0.1) as scope:
            async with handler.async_stream("GET", "delay/30"):
                pass
        assert scope.cancelled_caught
        assert (await handler.async_get("echo")).status_code == 200


async def test_the_first_failure_cancels_what_is_under_way(server: HttpServer) -> None:
    began = time.monotonic()
    async with make(server) as handler:
        with pytest.raises(UnexpectedStatusError):
            await handler.async_gather(["delay/30", "delay/30", "no-such-thing"])
    assert time.monotonic() - began < 20


async def test_a_gathering_can_be_cancelled(server: HttpServer) -> None:
    async with make(server) as handler:
        with anyio.move_on_after(0.2) as scope:
            await handler.async_gather(["delay/30"] * 5, return_exceptions=True)
        assert scope.cancelled_caught


def test_gathering_threads_end_and_close_their_connections(server: HttpServer) -> None:
    with make(server) as handler:
        before = threading.active_count()
        handler.gather(["echo"] * 20, concurrency=5)
        assert threading.active_count() <= before + 5  # those of the server end by themselves
        server.wait_open(0)


def test_threads_stream_and_download_side_by_side(server: HttpServer, tmp_path: Path) -> None:
    with make(server) as handler, ThreadPoolExecutor(6) as threads:
        files = [threads.submit(handler.download, f"bytes/{n}", tmp_path / str(n)) for n in range(100_000, 100_006)]
        assert [file.result().stat().st_size for file in files] == list(range(100_000, 100_006))


def test_an_iteration_over_pages_left_early_holds_nothing(server: HttpServer) -> None:
    server.route("GET", "/list")(lambda request: Reply.json([dict(request.query)["page"]]))
    with make(server) as handler:
        for item in handler.paginate("list", PageNumber()):
            if item == "3":
                break
        assert handler.get("echo").status_code == 200


class Portal(HttpHandler):
    """A handler for an API that answers with its login page, status 200, when the session has ended."""

    def login_flow(self) -> LoginFlow:
        yield httpx.Request("POST", self.url_for("login"))
        return HttpSession(headers={"X-Session": "1"})

    def session_ended(self, response: httpx.Response) -> bool:
        return "Sign in" in response.text

    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        if "went wrong" in response.text:
            return UnexpectedStatusError("something went wrong", response)
        return None


@pytest.fixture
def portal(server: HttpServer) -> HttpServer:
    server.route("POST", "/login")(lambda _: Reply(200))
    page = Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>")
    data = Reply(200, {"Content-Type": "text/csv"}, b"a;b\n1;2\n")
    server.script("/report", [page, data])
    server.script("/wrong", [Reply.json({"error": "went wrong"})])
    return server


async def test_hooks_that_read_pages_see_them_in_downloads_and_streams(portal: HttpServer, tmp_path: Path) -> None:
    async with Portal(HttpConnProperties(host=portal.url), skip_connect=True) as handler:
        file = await handler.async_download("report", tmp_path / "report.csv")
        assert file.read_bytes() == b"a;b\n1;2\n"
        assert portal.hits("/login") == 2
        with pytest.raises(UnexpectedStatusError, match="something went wrong"):
            async with handler.async_stream("GET", "wrong"):
                pass


async def test_data_is_not_read_for_the_sake_of_hooks(server: HttpServer) -> None:
    def data(request: Request) -> Reply:
        return Reply(200, {"Content-Type": "text/csv"}, b"Sign in;b\n" * 1000)

    server.route("POST", "/login")(lambda _: Reply(200))
    server.route("GET", "/data")(data)
    async with Portal(HttpConnProperties(host=server.url), skip_connect=True) as handler:
        async with handler.async_stream("GET", "data") as response:
            assert not response.is_stream_consumed
    assert server.hits("/login") == 1
