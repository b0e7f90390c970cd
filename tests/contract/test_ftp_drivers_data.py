"""FTP's data connections on servers that misbehave; and what is left of all when it's cancelled or closed."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from echo_connhandler._core.ftp.properties import FtpConnProperties
from echo_connhandler._drivers.ftp_talks import Control
from echo_connhandler._drivers.registry import FtpSettings
from echo_connhandler.errors import (
    ConnectionFailedError,
    EchoConnError,
    TimeoutExceededError,
)
from tests.contract.ftp_ways import (  # noqa: F401 - fixtures
    CONTENT,
    Blocking,
    Connect,
    Scripted,
    anyio_backend,
    connect,
    data_server,
    full,
    read_all,
    stalled_server,
    until_closed,
    world,
)
from tests.servers.tcp import reset_on_close
from tests.servers.tls import TlsFiles


async def test_a_reset_data_connection_is_an_error(connect: Connect) -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(b"some")
        sock.recv(1)
        reset_on_close(sock)

    with data_server(script) as (server, port):
        async with connect(server.props()) as connection:
            data = await connection.open_data(port)
            assert await data.read() == b"some"
            await data.write(b"x")
            with pytest.raises(ConnectionFailedError, match="the server: receiving data"):
                await data.read()
            assert data.closed
            assert not connection.dead
            with pytest.raises(ConnectionFailedError, match="the data connection is over"):
                await data.write(b"x")


@pytest.mark.parametrize("direction", ["read", "write"])
async def test_a_data_connection_that_stalls_ends_in_time(connect: Connect, direction: str) -> None:
    release = threading.Event()
    with data_server(lambda sock: release.wait(20)) as (server, port):
        try:
            async with connect(server.props(request_timeout=0.2)) as connection:
                data = await connection.open_data(port)
                with pytest.raises(TimeoutExceededError, match=r"(receiving|sending) data: no sign"):
                    if direction == "read":
                        await data.read()
                    while True:
                        await data.write(CONTENT)
                assert data.closed
                assert not connection.dead
        finally:
            release.set()


@pytest.mark.parametrize("polite", [True, False])
async def test_whether_the_end_was_told_by_tls_is_known(connect: Connect, tmp_path: Path, polite: bool) -> None:
    files = TlsFiles.make(tmp_path, "user")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server_certificate, files.server_key)

    def encrypted(sock: socket.socket) -> None:
        with context.wrap_socket(sock.dup(), server_side=True) as tls:
            tls.sendall(b"data")
            if polite:
                tls.unwrap().close()

    with data_server(encrypted) as (server, port):
        props = server.props(tls="explicit", verify_ssl=files.ca)
        async with connect(props) as connection:
            data = await connection.open_data(port)
            assert data.clean
            await data.secure()
            assert await read_all(data) == b"data"
            assert data.clean is polite
            assert not connection.dead


async def test_what_connects_from_elsewhere_is_not_taken(connect: Connect) -> None:
    with Scripted(until_closed) as server:
        async with connect(server.props()) as connection:
            listener = await connection.listen_data()
            assert listener.host == connection.local
            stranger = socket.create_connection((listener.host, listener.port), source_address=("127.0.0.9", 0))
            peer = socket.create_connection((listener.host, listener.port), source_address=("127.0.0.1", 0))
            with stranger, peer:
                data = await listener.accept()
                assert stranger.recv(1) == b""
                peer.sendall(b"mine")
                assert await data.read() == b"mine"
                data.drop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((listener.host, listener.port))
            await listener.aclose()


async def test_a_server_that_does_not_connect_is_not_waited_for(connect: Connect) -> None:
    with Scripted(until_closed) as server:
        async with connect(server.props(conn_timeout=0.2)) as connection:
            listener = await connection.listen_data()
            with pytest.raises(TimeoutExceededError, match="data connection"):
                await listener.accept()
            assert not connection.dead


async def test_closing_closes_what_is_open(connect: Connect) -> None:
    with data_server(until_closed) as (server, port):
        async with connect(server.props()) as connection:
            data = await connection.open_data(port)
            listener = await connection.listen_data()
        assert data.closed
        server.wait_open(0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((listener.host, listener.port))
        for call in (data.write(b"x"), data.secure(), listener.accept(), connection.receive()):
            with pytest.raises(ConnectionFailedError, match="the connection was closed"):
                await call


STALLED = ["receive", "read", "write", "secure", "accept"]


async def stall(connection: Any, port: int, name: str) -> None:
    """Wait for what never comes."""
    if name == "receive":
        await connection.receive()
        return
    if name == "accept":
        await (await connection.listen_data()).accept()
        return
    data = await connection.open_data(port)
    if name == "secure":
        await data.secure()
    elif name == "read":
        await data.read()
    while True:
        await data.write(CONTENT)


@pytest.mark.parametrize("name", STALLED)
async def test_cancelling_leaves_nothing_open(name: str) -> None:
    with stalled_server() as (server, port):
        props = server.props(request_timeout=30, conn_timeout=30, tls="explicit", verify_ssl=False)
        connection = await FtpSettings(props, "the server").async_open_connection()
        with anyio.move_on_after(0.1) as scope:
            await stall(connection, port, name)
        assert scope.cancelled_caught
        assert connection.dead
        assert open_sockets() == 0


async def test_cancelling_while_connecting_leaves_nothing_open(full: int) -> None:
    with anyio.move_on_after(0.1) as scope:
        await FtpSettings(FtpConnProperties(host="127.0.0.1", port=full), "the server").async_open_connection()
    assert scope.cancelled_caught
    assert open_sockets() == 0


def open_sockets() -> int:
    """Count the client sides that this process holds open, by what the driver keeps."""
    gc.collect()
    controls = [each for each in gc.get_objects() if isinstance(each, Control)]
    return sum(sock.fileno() >= 0 for control in controls for sock in control._sockets())


@pytest.mark.parametrize("name", STALLED)
def test_closing_from_another_thread_ends_what_waits(name: str) -> None:
    with stalled_server() as (server, port):
        props = server.props(request_timeout=30, conn_timeout=30, tls="explicit", verify_ssl=False)
        connection: Any = FtpSettings(props, "the server").open_connection()
        caught: list[BaseException] = []

        def work() -> None:
            try:
                stall(Blocking(connection), port, name).send(None)
            except EchoConnError as error:
                caught.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        while not connection._control._running and worker.is_alive():
            pass
        began = time.monotonic()
        connection.close()
        worker.join(10)
        assert not worker.is_alive()
        assert time.monotonic() - began < 5
        assert isinstance(caught[0], ConnectionFailedError)
        assert connection.dead
        assert open_sockets() == 0
