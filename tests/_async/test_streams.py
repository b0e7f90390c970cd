"""Streams: the response with its body unread, and a handler that stays usable whatever is done with it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler
from echo_connhandler.errors import InvalidRequestError, TransferError, UnexpectedStatusError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


async def test_a_stream_gives_the_response_unread_and_the_body_as_it_comes(server: HttpServer) -> None:
    async with make(server) as handler:
        async with handler.async_stream("GET", "bytes/300000") as response:
            assert response.status_code == 200
            assert not response.is_stream_consumed
            with pytest.raises(httpx.ResponseNotRead):
                response.content
            chunks = [chunk async for chunk in response.aiter_bytes()]
    assert b"".join(chunks) == (bytes(range(256)) * 1172)[:300_000]
    assert len(chunks) > 1


async def test_a_stream_takes_the_options_of_a_call_and_any_method(server: HttpServer) -> None:
    async with make(server) as handler:
        async with handler.async_stream("POST", "echo", json={"a": 1}, params={"b": "2"}) as response:
            lines = [line async for line in response.aiter_lines()]
        with pytest.raises(InvalidRequestError):
            async with handler.async_stream("GET", "a b"):
                pass
    echoed = json.loads("".join(lines))
    assert (echoed["method"], echoed["json"], echoed["query"]) == ("POST", {"a": 1}, [["b", "2"]])


async def test_a_stream_is_checked_and_tried_again_until_the_headers_are_there(server: HttpServer) -> None:
    server.script("/data", [Reply(503), Reply.drop(), Reply(200, {}, b"there")])
    server.script("/gone", [Reply(404, {}, b"no such thing")])
    async with make(server) as handler:
        with no_waits() as waits:
            async with handler.async_stream("GET", "data") as response:
                assert [chunk async for chunk in response.aiter_raw()] == [b"there"]
        with pytest.raises(UnexpectedStatusError, match="404 Not Found: no such thing") as caught:
            async with handler.async_stream("GET", "gone"):
                pass
    assert len(waits) == 2
    assert caught.value.response.text == "no such thing"


@pytest.mark.parametrize("read", ["aiter_raw", "aiter_bytes", "aiter_text", "aiter_lines", None])
async def test_a_stream_left_early_keeps_the_handler_usable(server: HttpServer, read: str | None) -> None:
    async with make(server, pool_size=1) as handler:
        for _ in range(3):
            async with handler.async_stream("GET", "bytes/3000000") as response:
                if read is not None:
                    async for _chunk in getattr(response, read)():
                        break
        assert (await handler.async_get("echo")).status_code == 200


async def test_a_stream_left_by_an_exception_raises_it_as_it_is(server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        for mistake in (KeyError("own"), OSError("own"), httpx.ReadError("of another client")):
            with pytest.raises(type(mistake)) as caught:
                async with handler.async_stream("GET", "bytes/3000000"):
                    raise mistake
            assert caught.value is mistake
        assert (await handler.async_get("echo")).status_code == 200


async def test_a_body_that_breaks_off_in_a_stream_is_an_error_of_ours(server: HttpServer) -> None:
    server.script("/cut", [Reply.cut(b"x" * 100, after=50)])
    async with make(server) as handler:
        with pytest.raises(TransferError, match="GET .*/cut") as caught:
            async with handler.async_stream("GET", "cut") as response:
                async for _ in response.aiter_bytes():
                    pass
    assert isinstance(caught.value.__cause__, httpx.RemoteProtocolError)
    assert server.hits("/cut") == 1


async def test_a_stream_follows_redirects_and_decompresses(server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        async with handler.async_stream("GET", "redirect/2") as response:
            assert [hop.status_code for hop in response.history] == [302, 302]
            await response.aread()
        async with handler.async_stream("GET", "gzip") as response:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b'{"encoding": "gzip"}'


async def test_streams_share_the_places_of_the_pool(server: HttpServer) -> None:
    async with make(server) as handler:
        async with handler.async_stream("GET", "bytes/2000") as one:
            first = await one.aread()
            async with handler.async_stream("GET", "bytes/1000") as two:
                assert (first, await two.aread()) == ((bytes(range(256)) * 8)[:2000], (bytes(range(256)) * 4)[:1000])
