"""Plain clients of the test servers: bare sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers.http import HttpServer
from tests.servers.tcp import TcpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = (
    "client",
    "dial",
    "read_all",
    "server",
)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        yield running


@pytest.fixture
def client(server: HttpServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=5) as opened:
        yield opened


def dial(server: TcpServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=5)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data
