"""What a request and its answer are on the wire: the same over connections of our own as through httpx's client."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import brotli  # type: ignore[import-untyped]
import httpx
import pytest
import zstandard

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience
from echo_connhandler.errors import (
    ConnectionFailedError,
    EchoConnError,
    OutcomeUnknownError,
    TimeoutExceededError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply
from tests.servers.scripted import ScriptedServer
from tests.ways import way  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("way")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def make(server: ScriptedServer | HttpServer, **options: Any) -> HttpHandler:
    properties = {name: options.pop(name) for name in list(options) if name in HttpConnProperties.__annotations__}
    return HttpHandler(HttpConnProperties(host=server.url, **properties), skip_connect=True, **options)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


PACKED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    "unheard-of": lambda data: data,
}


@pytest.mark.parametrize("coding", PACKED)
async def test_bodies_are_decoded(coding: str) -> None:
    packed = PACKED[coding](b"x" * 5000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with ScriptedServer(head + packed) as server:
        async with make(server) as handler:
            response = await handler.async_get("x")
            assert response.content == b"x" * 5000
            assert response.num_bytes_downloaded == len(packed)
            with pytest.raises(TransferError, match="max_response_bytes=4999"):
                async with make(server, max_response_bytes=4999) as careful:
                    await careful.async_get("x")
        assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=1\r\nabc\r\n02 \r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
            b"abcde",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    ],
    ids=["1xx", "204", "304", "empty", "chunked", "close", "1.0"],
)
async def test_the_end_of_an_answer_is_found_and_the_connection_kept(answer: bytes, body: bytes, kept: bool) -> None:
    with ScriptedServer(answer) as server:
        async with make(server) as handler:
            for _ in range(3):
                response = await handler.async_get("x", response_ok=None)
                assert response.content == body
        assert server.connections == (1 if kept else 3)


async def test_head_has_no_body_whatever_its_headers_say() -> None:
    with ScriptedServer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") as server:
        async with make(server) as handler:
            for _ in range(2):
                response = await handler.async_head("x")
                assert (response.content, response.headers["content-length"]) == (b"", "1000")
        assert server.connections == 1


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    def step(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        return False

    with ScriptedServer(step) as server:
        async with make(server) as handler:
            assert (await handler.async_get("x")).content == b"x" * 100_000


async def test_what_is_known_of_an_answer() -> None:
    head = (
        b"HTTP/1.1 200 Nice One\r\nX-Mixed-Case: a\r\nX-Folded: b\r\n  c\r\nX-Two: 1\r\nX-Two: 2\r\n"
        b"X-Latin: \xe4\r\nX-Space:   d  \r\nContent-Type: text/plain; charset=latin-1\r\nContent-Length: 1\r\n\r\n\xe4"
    )
    with ScriptedServer(head) as server:
        async with make(server) as handler:
            response = await handler.async_get("x?a=1")
    assert (response.status_code, response.reason_phrase, response.http_version) == (200, "Nice One", "HTTP/1.1")
    assert response.headers.raw[:2] == [(b"X-Mixed-Case", b"a"), (b"X-Folded", b"b c")]
    assert response.headers.get_list("x-two") == ["1", "2"]
    assert (response.headers["x-latin"], response.headers["x-space"]) == ("ä", "d")
    assert (response.text, response.encoding) == ("ä", "latin-1")
    assert response.request.url == f"{server.url}/x?a=1"
    assert response.is_closed
    assert response.is_stream_consumed
    assert 0 < response.elapsed.total_seconds() < 60
    assert response.raise_for_status() is response
    with pytest.raises(httpx.StreamConsumed):
        async for _ in response.aiter_raw():
            pass


async def test_what_is_sent() -> None:
    with ScriptedServer(OK) as server:
        async with make(server, headers={"X-One": "1"}, cookies={"sid": "a"}) as handler:
            await handler.async_get("a/b?q=1", headers={"X-Two": "2"})
            await handler.async_post("c", json={"n": 1})
            await handler.async_post("c", content="täxt")
            await handler.async_post("c")
            await handler.async_put("c", data={"a": "1"})
            await handler.async_post("c", content=chunks(b"ab", b"", b"cde"))
            await handler.async_post("c", content=chunks(b"ab", b"cde"), headers={"Content-Length": "5"})
        bodies = [request.body for request in server.requests]
        first = server.requests[0].lines()
        heads = [request.head.lower() for request in server.requests]
        assert server.connections == 1
    assert bodies[:5] == [b"", b'{"n":1}', "täxt".encode(), b"", b"a=1"]
    assert bodies[5:] == [b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", b"abcde"]
    assert first[:2] == [b"GET /a/b?q=1 HTTP/1.1", b"Host: %b" % server.url.removeprefix("http://").encode()]
    assert {name.lower() for line in first[1:] for name in [line.partition(b":")[0]]} == {
        *(b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"x-one", b"x-two", b"cookie")
    }
    assert b"Cookie: sid=a" in first
    assert b"content-type: application/json" in heads[1]
    assert b"content-length: 0" in heads[3]
    assert b"transfer-encoding: chunked" in heads[5]
    assert b"transfer-encoding" not in heads[6]


async def test_large_bodies_arrive(server: HttpServer) -> None:
    body = bytes(range(256)) * 8000
    async with make(server) as handler:
        sent = await handler.async_post("echo", content=body)
        streamed = await handler.async_post("echo", content=chunks(*[body[:100_000]] * 5))
    assert [len(request.body) for request in server.requests] == [len(body), 500_000]
    assert server.requests[0].body == body
    assert sent.status_code == streamed.status_code == 200


async def test_an_answer_that_comes_before_the_body_is_sent_is_taken() -> None:
    def refuse(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        return False

    with ScriptedServer(refuse) as server:
        async with make(server) as handler:
            response = await handler.async_post("x", content=b"x" * 5_000_000, response_ok=413, retry=0)
            assert (response.status_code, response.text) == (413, "big")


async def test_redirects_and_cookies_belong_to_calls_and_live_client_together(server: HttpServer) -> None:
    server.script("/go", [Reply(302, {"Location": "/echo?x=1", "Set-Cookie": "sid=a; Path=/"})])
    async with make(server) as handler:
        response = await handler.async_get("go")
        assert [hop.status_code for hop in response.history] == [302]
        assert response.json()["cookies"] == {"sid": "a"}
        live = handler.async_connection
        assert (await live.get(f"{server.url}/echo")).json()["cookies"] == {"sid": "a"}
        await live.get(f"{server.url}/set-cookie?own=b")
        assert (await handler.async_get("echo")).json()["cookies"] == {"own": "b", "sid": "a"}


async def test_timeouts_are_told_by_their_kind() -> None:
    def silent(connection: socket.socket, data: bytes) -> bool:
        return bool(connection.recv(1))

    def stops(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        return bool(connection.recv(1))

    for step in (silent, stops):
        with ScriptedServer(step) as server:
            async with make(server, request_timeout=0.05) as handler:
                with pytest.raises(TimeoutExceededError, match="no answer within") as caught:
                    await handler.async_get("x", retry=0)
                assert isinstance(caught.value.__cause__, httpx.ReadTimeout)
                assert caught.value.__cause__.request.url == f"{server.url}/x"
            server.wait_open(0)


async def test_a_server_that_takes_nothing_is_a_write_timeout() -> None:
    done = threading.Event()

    def deaf(connection: socket.socket, data: bytes) -> bool:
        done.wait(10)
        return False

    with ScriptedServer(deaf) as server:
        async with make(server) as handler:
            with pytest.raises(TimeoutExceededError, match="could not be sent within") as caught:
                await handler.async_post("x", content=b"x" * 20_000_000, retry=0, timeout={"write": 0.1})
            assert isinstance(caught.value.__cause__, httpx.WriteTimeout)
        done.set()


async def test_no_connection_is_told_by_its_kind() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        handler = HttpHandler(HttpConnProperties(host=f"http://127.0.0.1:{closed.getsockname()[1]}"), skip_connect=True)
        async with handler.with_resilience(Resilience(max_retries=0, max_conn_retries=0)) as alone:
            with pytest.raises(ConnectionFailedError, match="no connection") as caught:
                await alone.async_get("x")
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


async def test_no_answer_is_told_by_its_kind() -> None:
    with ScriptedServer(None) as server:
        async with make(server) as handler:
            with pytest.raises(ConnectionFailedError, match="connection lost") as caught:
                await handler.async_get("x", retry=0)
            assert isinstance(caught.value.__cause__, httpx.RemoteProtocolError)


async def test_a_connection_that_was_closed_while_idle_is_not_used() -> None:
    def last(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_WR)
        return False

    with ScriptedServer(last) as server:
        policy = Resilience(retry_methods=(), max_retries=0, max_conn_retries=0)
        async with make(server, resilience=policy) as handler:
            for _ in range(5):
                assert (await handler.async_post("x")).text == "ok"
                server.wait_open(0)
        assert len(server.requests) == 5


async def test_a_connection_lost_after_sending_is_an_unknown_outcome_where_it_matters() -> None:
    with ScriptedServer(OK, None) as server:
        async with make(server, resilience=Resilience(retry_methods=("GET",), max_retries=3)) as handler:
            await handler.async_post("x")
            with no_waits(), pytest.raises(OutcomeUnknownError):
                await handler.async_post("x")
            assert len(server.requests) == 2
            with no_waits(), pytest.raises(ConnectionFailedError) as caught:
                await handler.async_get("x")
            assert caught.value.attempts == 4
        assert len(server.requests) == 6


async def test_expect_continue_gets_its_body_through() -> None:
    def wants(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(data) < 3 and (more := connection.recv(100)):
            data += more
        connection.sendall(OK if data == b"abc" else b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
        return True

    with ScriptedServer(wants) as server:
        async with make(server) as handler:
            for _ in range(2):
                response = await handler.async_post(
                    "x", content=chunks(b"abc"), headers={"Expect": "100-continue", "Content-Length": "3"}
                )
                assert response.text == "ok"
        assert server.connections == 1


async def test_a_large_answer_is_read_in_little_steps(server: HttpServer) -> None:
    async with make(server) as handler:
        async with handler.async_stream("GET", "bytes/3000000") as response:
            sizes = [len(piece) async for piece in response.aiter_raw()]
        assert sum(sizes) == 3_000_000
        assert max(sizes) <= 65536
        assert (await handler.async_get("echo")).status_code == 200
    assert server.connections == 1


async def test_a_stream_that_is_left_early_costs_its_connection_and_no_place(server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        for _ in range(3):
            async with handler.async_stream("GET", "bytes/3000000") as response:
                async for _ in response.aiter_raw():
                    break
        assert (await handler.async_get("echo")).status_code == 200
    assert server.connections == 4
    server.wait_open(0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nBad Header: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Nul: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
async def test_answers_that_are_no_http_are_refused(answer: bytes) -> None:
    with ScriptedServer(answer, OK) as server:
        async with make(server) as handler:
            with pytest.raises(EchoConnError) as caught:
                await handler.async_get("x", retry=0)
            assert isinstance(caught.value.__cause__, httpx.RemoteProtocolError)
            assert (await handler.async_get("x")).text == "ok"
        assert server.connections == 2
    server.wait_open(0)
