"""The proxy does to connections what it claims."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import TcpProxy
from tests.servers.tcp import TcpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
from tests.servers.clients import dial, read_all


class Chatty(TcpServer):
    """Repeats in capitals what it is told."""

    def handle(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data.upper())


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as running:
        yield running


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (chunk := connection.recv(count - len(data))):
        data += chunk
    return data


def test_the_proxy_forwards_and_counts(proxy: TcpProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"HELLO"
    proxy.wait_open(0)
    assert (proxy.connections, proxy.bytes_up, proxy.bytes_down) == (1, 5, 5)


def test_the_proxy_forwards_much_both_ways_at_once(proxy: TcpProxy) -> None:
    data = b"abcdefgh" * 500_000
    with dial(proxy) as connection:

        def feed() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        feeder = threading.Thread(target=feed)
        feeder.start()
        assert read_all(connection) == data.upper()
        feeder.join()


@pytest.mark.parametrize("after", [0, 1, 4, 5])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_close_after_byte_n(proxy: TcpProxy, direction: str, after: int) -> None:
    proxy.cut("up" if direction == "up" else "down", after=after)
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        got = read_all(connection)
    proxy.wait_open(0)

    assert proxy.fired == 1
    if direction == "down":
        assert (proxy.bytes_up, got) == (5, b"HELLO"[:after])
    else:
        assert (proxy.bytes_up, got) == (after, b"")
    with dial(proxy) as connection:
        connection.sendall(b"again")
        assert read(connection, 5) == b"AGAIN"


def test_reset_after_byte_n_is_a_reset(proxy: TcpProxy) -> None:
    proxy.cut("down", after=3, how="reset")
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        assert read(connection, 3) == b"HEL"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_bytes_are_counted_over_connections_and_cuts_repeat(proxy: TcpProxy) -> None:
    proxy.cut("up", after=8, times=None)
    for _ in range(3):
        with dial(proxy) as first:
            first.sendall(b"12345")
            assert read(first, 5) == b"12345"
            with dial(proxy) as second:
                second.sendall(b"67890")
                assert read_all(second) == b""
    assert proxy.fired == 3


def test_stall_after_byte_n_holds_until_healed(proxy: TcpProxy) -> None:
    proxy.cut("down", after=2, how="stall")
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        assert read(connection, 2) == b"HE"
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(5)
        assert read(connection, 3) == b"LLO"


def test_stall_hides_hang_ups_from_the_service() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        with dial(proxy) as connection:
            connection.sendall(b"x")
            assert read(connection, 1) == b"X"
            proxy.stall()
        proxy.wait_open(0)
        assert chatty.open_connections == 1
        proxy.heal()
        chatty.wait_open(0)


def test_delay(proxy: TcpProxy) -> None:
    proxy.delay(0.1)
    with dial(proxy) as connection:
        begin = time.monotonic()
        connection.sendall(b"x")
        assert read(connection, 1) == b"X"
        assert 0.2 <= time.monotonic() - begin < 2
        proxy.heal()
        connection.sendall(b"y")
        assert read(connection, 1) == b"Y"


def test_refuse_and_accept(proxy: TcpProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"x")
        assert read(connection, 1) == b"X"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        connection.sendall(b"y")
        assert read(connection, 1) == b"Y"
        proxy.accept()
        with dial(proxy) as second:
            second.sendall(b"z")
            assert read(second, 1) == b"Z"


def test_a_service_that_is_gone_is_a_reset() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        chatty.close()
        with pytest.raises(ConnectionResetError), dial(proxy) as connection:
            connection.recv(1)


def test_drop_ends_idle_connections_only(proxy: TcpProxy) -> None:
    with dial(proxy) as idle, dial(proxy) as busy:
        for connection in (idle, busy):
            connection.sendall(b"x")
            assert read(connection, 1) == b"X"
        since, quiet = time.monotonic(), 0.2
        while time.monotonic() - since < quiet * 1.5:
            busy.sendall(b"y")
            assert read(busy, 1) == b"Y"
        assert proxy.drop("reset", idle_for=quiet) == 1
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        busy.sendall(b"z")
        assert read(busy, 1) == b"Z"
        assert proxy.drop() == 1
        assert busy.recv(1) == b""


def test_silence_tells_neither_side_and_lasts() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        with dial(proxy) as idle, dial(proxy) as busy:
            for connection in (idle, busy):
                connection.sendall(b"x")
                assert read(connection, 1) == b"X"
            since, quiet = time.monotonic(), 0.2
            while time.monotonic() - since < quiet * 1.5:
                busy.sendall(b"y")
                assert read(busy, 1) == b"Y"

            assert proxy.drop("silence", idle_for=quiet) == 1

            idle.sendall(b"lost")
            proxy.heal()
            idle.settimeout(0.1)
            with pytest.raises(TimeoutError):
                idle.recv(1)
            busy.sendall(b"z")
            assert read(busy, 1) == b"Z"
        # Both clients left: the service hears it of one only.
        proxy.wait_open(0)
        chatty.wait_open(1)


def test_closing_the_proxy_ends_stalled_connections() -> None:
    before = threading.active_count()
    with Chatty() as chatty, contextlib.ExitStack() as stack:
        with TcpProxy(chatty.host, chatty.port) as proxy:
            proxy.cut("up", after=0, how="stall", times=None)
            connections = [stack.enter_context(dial(proxy)) for _ in range(3)]
            for connection in connections:
                connection.sendall(b"x")
            connections.pop().close()
            proxy.wait_open(2)
        assert [connection.recv(1) for connection in connections] == [b"", b""]
    assert threading.active_count() == before


def test_the_proxy_starts_again_on_its_port(proxy: TcpProxy) -> None:
    port = proxy.port
    proxy.close()
    proxy.start()
    with dial(proxy) as connection:
        connection.sendall(b"x")
        assert (read(connection, 1), proxy.port) == (b"X", port)
