"""The worlds that FTP's drivers work in, what tests say to a server through them, and servers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from echo_connhandler._core.ftp.properties import FtpConnProperties
from echo_connhandler._core.ftp.replies import Reply, extended_passive_port
from echo_connhandler._drivers.registry import FtpSettings
from tests.servers.tcp import TcpServer

SECRET = "p4ssw0rd"
CONTENT = bytes(range(256)) * 4096 * 3 + b"the end"  # 3 MiB: more than any buffer between


class Blocking:
    """What the driver for threads gives, with the twin's shape, so that one test serves both."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("raw", "dead", "peer", "local", "tls", "limit", "clean", "closed", "drop", "host", "port"):
            return getattr(self.inner, name)
        found = getattr(self.inner, {"aclose": "close"}.get(name, name))

        async def call(*args: Any) -> Any:
            result = found(*args)
            return Blocking(result) if name in ("open_data", "listen_data", "accept") else result

        return call


async def in_this_thread(settings: FtpSettings) -> Any:
    return Blocking(settings.open_connection())


Connect = Callable[[FtpConnProperties], Any]


@pytest.fixture(params=["asyncio", "trio", "threads"])
def world(request: pytest.FixtureRequest) -> str:
    """Tasks of both event loops, and threads."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def anyio_backend(world: str) -> str:
    return "asyncio" if world == "threads" else world


@pytest.fixture
def connect(world: str) -> Connect:
    opened = in_this_thread if world == "threads" else FtpSettings.async_open_connection

    @asynccontextmanager
    async def connecting(props: FtpConnProperties) -> AsyncIterator[Any]:
        connection = await opened(FtpSettings(props, "the server"))
        try:
            yield connection
        finally:
            await connection.aclose()

    return connecting


async def ask(connection: Any, line: str, *good: int) -> Reply:
    await connection.send(line)
    reply: Reply = await connection.receive()
    assert reply.kind in (good or (2,)), reply
    return reply


async def log_in(connection: Any, props: FtpConnProperties) -> None:
    assert (await connection.receive()).code == 220
    if props.tls == "explicit":
        await ask(connection, "AUTH TLS")
        await connection.secure()
    assert connection.tls is (props.tls != "none")
    await ask(connection, f"USER {props.user}", 2, 3)
    await ask(connection, f"PASS {props.password}")
    if props.tls != "none":
        await ask(connection, "PBSZ 0")
        await ask(connection, "PROT P")
        raw = getattr(connection, "inner", connection)
        raw.private = True
    await ask(connection, "TYPE I")


async def begin(connection: Any, command: str) -> Any:
    """Open a data connection and have the server use it."""
    data = await connection.open_data(extended_passive_port(await ask(connection, "EPSV")))
    await ask(connection, command, 1)
    if connection.tls:
        await data.secure()
    return data


async def begin_active(connection: Any, command: str) -> Any:
    listener = await connection.listen_data()
    await ask(connection, f"EPRT |1|{listener.host}|{listener.port}|")
    await ask(connection, command, 1)
    data = await listener.accept()
    if connection.tls:
        await data.secure()
    return data


async def read_all(data: Any) -> bytes:
    pieces = []
    while piece := await data.read():
        assert len(piece) <= 1 << 20
        pieces.append(piece)
    assert data.closed
    assert await data.read() == b""
    return b"".join(pieces)


async def store(connection: Any, path: str, content: bytes, start: Any = begin) -> None:
    data = await start(connection, f"STOR {path}")
    for at in range(0, len(content), 1 << 18):
        await data.write(memoryview(content)[at : at + (1 << 18)])
    await data.finish()
    assert data.closed
    assert (await connection.receive()).code == 226


class Scripted(TcpServer):
    """Greets, and then runs a function with the connection."""

    def __init__(self, script: Callable[[socket.socket], object], greeting: bytes = b"220 hello\r\n") -> None:
        super().__init__()
        self._script = script
        self._greeting = greeting

    def handle(self, connection: socket.socket) -> None:
        connection.sendall(self._greeting)
        self._script(connection)

    def props(self, **values: Any) -> FtpConnProperties:
        given: dict[str, Any] = {"host": self.host, "port": self.port, "conn_timeout": 5, "request_timeout": 5}
        given.update(values)
        return FtpConnProperties(**given)


def until_closed(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def says(*answers: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(65536)
            connection.sendall(answer)
        until_closed(connection)

    return script


def nothing(connection: socket.socket) -> None:
    return


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose server takes no more connections."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # until its queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@contextlib.contextmanager
def data_server(script: Callable[[socket.socket], object]) -> Iterator[tuple[Scripted, int]]:
    """A control connection that says nothing more, and a data port."""
    with Scripted(until_closed) as control, Scripted(script, b"") as data:
        yield control, data.port


@contextlib.contextmanager
def stalled_server() -> Iterator[tuple[Scripted, int]]:
    release = threading.Event()
    with Scripted(lambda sock: release.wait(30), b"") as control, Scripted(lambda sock: release.wait(30), b"") as data:
        try:
            yield control, data.port
        finally:
            release.set()
