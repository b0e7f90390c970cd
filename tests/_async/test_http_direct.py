"""Connections of our own: what they know of what was sent, whom they trust, and what they leave to the live client."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trustme

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience
from echo_connhandler.errors import InvalidRequestError, TimeoutExceededError, TransferError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply
from tests.servers.scripted import ScriptedServer
from tests.servers.tcp import pause

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEVER = Resilience(retry_methods=(), max_retries=0, max_conn_retries=0)


def make(server: ScriptedServer | HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_bytes_behind_an_answer_close_the_connection() -> None:
    forged = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    nothing = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    for answer in (forged, chunked + forged, nothing + forged):
        with ScriptedServer(answer, OK) as server:
            async with make(server, resilience=NEVER) as handler:
                assert (await handler.async_get("x", response_ok=None)).text in ("ok", "")
                assert (await handler.async_get("x")).text == "ok"
            assert [request.connection for request in server.requests] == [1, 2]


async def test_bytes_that_come_while_a_connection_is_idle_close_it() -> None:
    told = threading.Semaphore(0)

    def late(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(OK)
        connection.sendall(OK.replace(b"ok", b"no"))
        told.release()
        return True

    with ScriptedServer(late) as server:
        async with make(server, resilience=NEVER) as handler:
            for _ in range(3):
                assert (await handler.async_get("x")).text == "ok"
                assert told.acquire(timeout=5)
        assert server.connections == 3


async def test_a_head_that_drips_ends_at_the_deadline() -> None:
    def drips(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while pause(connection, 0.01):
            connection.sendall(b"x")
        return False

    with ScriptedServer(drips) as server:
        async with make(server, resilience=Resilience(deadline=0.1)) as handler:
            with pytest.raises(TimeoutExceededError):
                await handler.async_get("x")
        server.wait_open(0)


async def test_an_answer_with_two_ends_is_refused() -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with ScriptedServer(both, OK) as server:
        async with make(server) as handler:
            with pytest.raises(TransferError, match="where the body ends is unclear"):
                await handler.async_get("x", retry=0)
            assert (await handler.async_get("x")).text == "ok"
        assert server.connections == 2


@pytest.mark.parametrize("length", ["9", "2"])
async def test_a_body_that_is_not_as_long_as_it_says_is_refused(length: str) -> None:
    with ScriptedServer(OK) as server:
        async with make(server) as handler:
            with pytest.raises(InvalidRequestError) as caught:
                await handler.async_post("x", content=chunks(b"abc"), headers={"Content-Length": length})
            assert isinstance(caught.value.__cause__, httpx.LocalProtocolError)
            with pytest.raises(InvalidRequestError):
                await handler.async_post("x", content=b"abc", headers={"Content-Length": length})
            assert (await handler.async_get("x")).text == "ok"
        # Those that were given up may be noted later, when the server sees that no more comes of them.
        assert sum(request.head.startswith(b"GET") for request in server.requests) == 1


async def test_what_the_user_gives_the_live_client_is_in_force_for_calls(server: HttpServer) -> None:
    seen: list[int] = []

    async def hook(response: httpx.Response) -> None:
        seen.append(response.status_code)

    async with make(server) as handler:
        live = handler.async_connection
        live.event_hooks["response"].append(hook)
        assert (await handler.async_get("echo")).status_code == 200
        live.event_hooks["response"].clear()
        live.auth = ("me", "pw")
        assert (await handler.async_get("echo")).request.headers["authorization"].startswith("Basic ")
        live.auth = None  # type: ignore[assignment]
        live._mounts = {
            httpx._utils.URLPattern("http://"): httpx.MockTransport(lambda _: httpx.Response(200, text="m"))
        }
        assert (await handler.async_get("echo")).text == "m"
        live._mounts = {}
        assert "authorization" not in (await handler.async_get("echo")).request.headers
    assert seen == [200]


async def test_proxies_of_the_environment_keep_their_meaning(
    server: HttpServer, other_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", other_server.url)
    async with make(server) as handler:
        await handler.async_get("echo", response_ok=None)
    assert other_server.requests[0].target == f"{server.url}/echo"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with make(server) as handler:
        assert (await handler.async_get("echo")).status_code == 200
    assert len(other_server.requests) == 1
    assert len(server.requests) == 1


async def test_no_more_connections_than_places(server: HttpServer, other_server: HttpServer) -> None:
    async with make(server, pool_size=1) as handler:
        for _ in range(3):
            await handler.async_get("echo")
            await handler.async_get(f"{other_server.url}/echo")
            server.wait_open(0)
    assert (server.connections, other_server.connections) == (3, 3)


async def test_connections_that_were_idle_for_long_are_not_used(server: HttpServer) -> None:
    server.script("/busy", [Reply(503)] * 3)
    async with make(server) as handler:
        with no_waits() as waits:  # waits that are skipped count as if they had passed
            await handler.async_get("echo", headers={"X-N": "1"})
            with pytest.raises(RuntimeError):
                await handler.async_get("busy", retry=Resilience(max_retries=2, exponential_min_retry_wait_time=10))
    assert len(waits) == 2
    assert server.connections == 3


class Six(ScriptedServer):
    """On IPv6."""

    host = "::1"

    def _bind(self) -> list[socket.socket]:
        listener = socket.socket(socket.AF_INET6)
        listener.bind((self.host, 0))
        return [listener]


async def test_ipv6_and_names() -> None:
    with Six(OK) as six, ScriptedServer(OK) as four:
        for host in (f"http://[::1]:{six.port}", f"http://localhost:{four.port}"):
            async with HttpHandler(HttpConnProperties(host=host), skip_connect=True, resilience=NEVER) as handler:
                assert (await handler.async_get("x")).text == "ok"
    assert b"Host: [::1]:%d" % six.port in six.requests[0].lines()


async def test_connections_with_tls_are_kept_too() -> None:
    with HttpServer(trustme.CA()) as secure:
        props = HttpConnProperties(host=secure.url, verify_ssl=secure.ca_pem)
        async with HttpHandler(props, skip_connect=True) as handler:
            for _ in range(5):
                assert len((await handler.async_get("bytes/300000")).content) == 300_000
            body = bytes(2_000_000)
            assert (await handler.async_post("echo", content=body)).status_code == 200
        assert secure.requests[-1].body == body
        assert secure.connections == 1


async def test_a_certificate_for_another_name_is_refused() -> None:
    with HttpServer(trustme.CA()) as secure:
        host = secure.url.replace("127.0.0.1", "127.0.0.2")
        props = HttpConnProperties(host=host, verify_ssl=secure.ca_pem)
        async with HttpHandler(props, skip_connect=True) as handler:
            with pytest.raises(ConnectionError):
                await handler.async_get("echo", retry=0)
        assert secure.requests == []
