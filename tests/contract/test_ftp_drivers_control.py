"""FTP's control connection on servers that misbehave: what is no whole reply, what comes unasked, what never comes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from echo_connhandler._core.ftp.properties import FtpConnProperties
from echo_connhandler._core.ftp.replies import UnaskedError
from echo_connhandler.errors import (
    ConnectionFailedError,
    ConnectTimeoutError,
    TimeoutExceededError,
)
from tests.contract.ftp_ways import (  # noqa: F401 - fixtures
    SECRET,
    Connect,
    Scripted,
    anyio_backend,
    ask,
    connect,
    full,
    nothing,
    says,
    until_closed,
    world,
)
from tests.servers.tcp import reset_on_close


@pytest.mark.parametrize("greeting", [b"220-a\r\nb\r\n220 ready\r\n"])
async def test_a_reply_cut_at_any_byte_is_a_lost_connection(connect: Connect, greeting: bytes) -> None:
    for cut in range(len(greeting)):
        with Scripted(nothing, greeting[:cut]) as server:
            async with connect(server.props()) as connection:
                with pytest.raises(ConnectionFailedError, match="the server has closed the connection"):
                    await connection.receive()
                assert connection.dead
                with pytest.raises(ConnectionFailedError, match="the connection was closed"):
                    await connection.receive()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad\r\n", b"220 a\n", b"x" * 20000])
async def test_what_is_no_reply_ends_the_connection(connect: Connect, greeting: bytes) -> None:
    with Scripted(until_closed, greeting) as server:
        async with connect(server.props()) as connection:
            with pytest.raises(ConnectionFailedError, match="the server: the server sent"):
                await connection.receive()
            assert connection.dead


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"421 idle too long\r\n", "unasked: 421 idle too long"),
        (b"226 once more\r\n", "unasked: 226 once more"),
        (b"22", "unasked: b'22'"),
        (b"nonsense\r\n", "no FTP reply"),
    ],
)
async def test_what_was_not_asked_for_is_found_before_the_next_command(
    connect: Connect, said: bytes, told: str
) -> None:
    heard: list[bytes] = []

    def script(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"200 ok\r\n" + said)
        heard.append(sock.recv(100))

    with Scripted(script) as server:
        async with connect(server.props()) as connection:
            await connection.receive()
            await ask(connection, "NOOP")
            with pytest.raises(UnaskedError, match=told):
                await connection.send("DELE x")
            assert connection.dead
        server.wait_open(0)
    assert heard == [b""]


@pytest.mark.parametrize("end", [nothing, reset_on_close])
async def test_a_connection_that_ended_is_found_before_the_next_command(
    connect: Connect, end: Callable[[socket.socket], None]
) -> None:
    heard = threading.Event()

    def script(sock: socket.socket) -> None:
        heard.wait(10)
        end(sock)

    with Scripted(script) as server:
        async with connect(server.props()) as connection:
            await connection.receive()
            heard.set()
            server.wait_open(0)
            with pytest.raises(UnaskedError, match="the server has closed the connection"):
                await connection.send("NOOP")


@pytest.mark.parametrize("said", [f"421 {SECRET}\r\n", f"{SECRET}\r\n", f"220 {SECRET}"])
async def test_a_server_that_repeats_the_password_is_not_quoted(connect: Connect, said: str) -> None:
    heard = threading.Event()

    def script(sock: socket.socket) -> None:
        sock.sendall(said.encode())
        heard.wait(10)

    with Scripted(script, b"") as server:
        for unasked in (True, False):
            async with connect(server.props(user="u", password=SECRET)) as connection:
                with pytest.raises(ConnectionFailedError) as caught:
                    if not unasked:
                        heard.set()
                        while True:
                            await connection.receive()
                    while True:  # until it's there
                        await connection.send("NOOP")
                assert SECRET not in repr([caught.value, caught.value.__cause__])
                assert SECRET not in str(caught.value)


@pytest.mark.parametrize("line", ["DELE a\r\nDELE b", "DELE a\nb", "DELE a\0b", "PASS " + SECRET + "\r"])
async def test_a_line_that_is_several_is_refused_and_nothing_is_sent(connect: Connect, line: str) -> None:
    with Scripted(says(b"200 ok\r\n")) as server:
        async with connect(server.props()) as connection:
            await connection.receive()
            with pytest.raises(ValueError, match="CR, LF or NUL") as caught:
                await connection.send(line)
            assert SECRET not in repr(caught.value)
            await ask(connection, "NOOP")


async def test_text_is_in_the_encoding_that_is_set(connect: Connect) -> None:
    heard: list[bytes] = []

    def script(sock: socket.socket) -> None:
        for _ in range(2):
            heard.append(sock.recv(100))
            sock.sendall(b'257 "/\xe4"\r\n')
        until_closed(sock)

    with Scripted(script) as server:
        async with connect(server.props(encoding="latin-1")) as connection:
            await connection.receive()
            inner = getattr(connection, "inner", connection)
            assert inner.encoding == "latin-1"
            assert (await ask(connection, "MKD /ä")).text == '"/ä"'
            with pytest.raises(ValueError, match="the encoding latin-1 lacks") as caught:
                await connection.send(f"PASS {SECRET}€")
            assert SECRET not in repr([caught.value, caught.value.__cause__])
            inner.encoding = "utf-8"
            assert (await ask(connection, "MKD /ä\udce4")).text == '"/\udce4"'
    assert heard == [b"MKD /\xe4\r\n", b"MKD /\xc3\xa4\xe4\r\n"]


@pytest.mark.parametrize("cut", ["receive", "limit"])
async def test_silence_ends_in_time(connect: Connect, cut: str) -> None:
    with Scripted(until_closed) as server:
        async with connect(server.props(request_timeout=0.2 if cut == "receive" else 60)) as connection:
            await connection.receive()
            connection.limit(0.2 if cut == "limit" else None)
            began = time.monotonic()
            with pytest.raises(TimeoutExceededError, match="the server: waiting for a reply: no sign"):
                await connection.receive()
            assert 0.1 < time.monotonic() - began < 10
            assert connection.dead


async def test_a_limit_can_be_lifted(connect: Connect) -> None:
    with Scripted(says(b"200 ok\r\n")) as server:
        async with connect(server.props()) as connection:
            connection.limit(1e-6)
            connection.limit(None)
            await connection.receive()
            await ask(connection, "NOOP")


async def test_connecting_ends_in_time(connect: Connect, full: int) -> None:
    with pytest.raises(ConnectTimeoutError, match="the server: no connection"):
        async with connect(FtpConnProperties(host="127.0.0.1", port=full, conn_timeout=0.2)):
            pass


async def test_a_data_connection_that_is_not_taken_ends_in_time(connect: Connect, full: int) -> None:
    with Scripted(says(b"200 ok\r\n")) as server:
        async with connect(server.props(conn_timeout=0.2)) as connection:
            await connection.receive()
            with pytest.raises(TimeoutExceededError, match=f"data connection to port {full}"):
                await connection.open_data(full)
            await ask(connection, "NOOP")


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1"])
async def test_a_server_that_is_not_there(connect: Connect, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionFailedError, match="the server: no connection"):
        async with connect(FtpConnProperties(host=host, port=port)):
            pass


async def test_a_second_address_is_tried(connect: Connect) -> None:
    with Scripted(until_closed) as server:
        async with connect(server.props(host="localhost")) as connection:
            assert (await connection.receive()).code == 220
            assert (connection.peer, connection.local) == ("127.0.0.1", "127.0.0.1")


async def test_tls_that_never_comes_ends_in_time(connect: Connect) -> None:
    with Scripted(until_closed, b"") as server:
        with pytest.raises(ConnectTimeoutError):
            async with connect(server.props(tls="implicit", conn_timeout=0.2)):
                pass
        server.wait_open(0)


async def test_what_is_said_before_tls_is_not_taken_for_what_tls_protects(connect: Connect) -> None:
    with Scripted(says(b"234 go\r\n230 logged in\r\n")) as server:
        async with connect(server.props(tls="explicit", verify_ssl=False)) as connection:
            await connection.receive()
            await ask(connection, "AUTH TLS")
            with pytest.raises(ConnectionFailedError, match="unencrypted"):
                await connection.secure()
            assert connection.dead
