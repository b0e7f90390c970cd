"""Connections of our own where threads and event loops differ: first bytes, places, cancellation, addresses."""

from __future__ import annotations

import asyncio
import gc
import socket

import anyio
import httpx
import psutil
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience
from echo_connhandler._drivers import wire_asyncio, wire_sockets, wire_trio
from echo_connhandler.errors import ConnectTimeoutError, EchoConnError
from tests.cancellation import Steps
from tests.servers.http import HttpServer
from tests.servers.scripted import ScriptedServer
from tests.servers.tcp import reset_on_close

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEVER = Resilience(retry_methods=(), max_retries=0, max_conn_retries=0)


def make(url: str, **options: object) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=url), skip_connect=True, **options)  # type: ignore[arg-type]


async def test_a_connection_that_breaks_after_the_check_counts_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(OK)
        reset_on_close(connection)
        return False

    for wire in (wire_asyncio.AsyncioWire, wire_sockets.SocketWire, wire_trio.TrioWire):
        monkeypatch.setattr(wire, "silent", True)  # as if it broke just after that was asked
    with ScriptedServer(breaks) as server:
        handler = make(server.url, resilience=NEVER)
        for _ in range(3):  # POSTs that may not be repeated
            assert (await handler.async_post("x")).text == "ok"
            server.wait_open(0)
            assert handler.post("x").text == "ok"
            server.wait_open(0)
        await handler.async_close()
        handler.close()
        assert len(server.requests) == 6


async def test_a_place_is_waited_for_as_long_as_the_call_says(server: HttpServer) -> None:
    async with make(server.url, pool_size=1) as handler:
        async with handler.async_stream("GET", "bytes/3000000"):
            with pytest.raises(ConnectTimeoutError, match="no connection became free") as caught:
                await handler.async_get("echo", timeout={"pool": 0.01}, retry=0)
            assert isinstance(caught.value.__cause__, httpx.PoolTimeout)
        assert (await handler.async_get("echo", timeout={"pool": 5})).status_code == 200


@pytest.mark.parametrize("endpoint", ["bytes/300000", "redirect/1"])
async def test_cancelled_anywhere_nothing_is_lost(server: HttpServer, endpoint: str) -> None:
    before = psutil.Process().num_fds()
    cancelled = 0
    for nth in range(1, 100):
        handler = make(server.url, pool_size=1)
        with anyio.CancelScope() as scope:
            steps = Steps(handler.async_post("echo", content=b"x" * 3_000_000), nth, scope.cancel)
            await steps
            steps = Steps(handler.async_get(endpoint), nth - steps.count, scope.cancel)
            await steps
        cancelled += scope.cancelled_caught
        assert (await handler.async_get("echo")).status_code == 200  # the only place is free
        await handler.async_close()
        if not scope.cancelled_caught:
            break
    assert cancelled >= 3
    server.wait_open(0)
    gc.collect()
    assert psutil.Process().num_fds() <= before + 1


def test_the_next_address_has_its_turn_when_one_fails_or_keeps_silent(server: HttpServer) -> None:
    async def connect() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as refusing:
            refusing.bind(("127.0.0.1", 0))
            good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (server.host, server.port))
            bad = (socket.AF_INET, socket.SOCK_STREAM, 0, "", refusing.getsockname())
            with await wire_asyncio._connected(loop, [bad, good]) as sock:
                assert sock.getpeername() == (server.host, server.port)
            with await wire_asyncio._connected(loop, [good, good, bad]) as sock:
                assert sock.getpeername() == (server.host, server.port)
            with pytest.raises(ConnectionRefusedError):
                await wire_asyncio._connected(loop, [bad, bad])
            # A queue that is full: connecting there gets no answer.
            refusing.listen(0)
            with socket.create_connection(refusing.getsockname()):
                with await wire_asyncio._connected(loop, [bad, bad, good]) as sock:
                    assert sock.fileno() >= 0

    asyncio.run(connect())
    server.wait_open(0)


async def test_closing_the_engine_ends_what_is_in_flight() -> None:
    def silent(connection: socket.socket, data: bytes) -> bool:
        return bool(connection.recv(1))

    with ScriptedServer(silent) as server:
        handler = make(server.url, resilience=NEVER)
        failed: list[BaseException] = []

        async def call() -> None:
            with pytest.raises(EchoConnError) as caught:
                await handler.async_get("x")
            failed.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not server.requests:
                await anyio.sleep(0.001)
            await handler.async_close()
        assert len(failed) == 1
        server.wait_open(0)
