"""An HTTP proxy for tests: absolute-form requests and CONNECT (RFC 9110, 9.3.6), and a record of what it was asked."""

from __future__ import annotations

import base64
import select
import socket
from urllib.parse import urlsplit

from tests.servers.tcp import TcpServer

__all__ = ("ForwardProxy",)


class ForwardProxy(TcpServer):
    """Brings each connection to where its first request leads; given a user, only for those who show it."""

    def __init__(self, user: str | None = None, password: str = "") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._credentials = None if user is None else base64.b64encode(f"{user}:{password}".encode()).decode()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def handle(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                return
            head += data
        lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        self.asked.append(lines[0])
        shown = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")]
        if self._credentials is not None and shown != [f"Basic {self._credentials}"]:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = lines[0].split()
        tunnel = method == "CONNECT"
        where = urlsplit(f"//{target}" if tunnel else target)
        with socket.create_connection((str(where.hostname), where.port or 80), timeout=5) as service:
            if tunnel:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                service.sendall(head)  # servers take the absolute form too (RFC 9112, 3.2.2)
            _pipe(connection, service)


def _pipe(one: socket.socket, other: socket.socket) -> None:
    ways = {one: other, other: one}
    while True:
        ready, _, _ = select.select(list(ways), [], [])
        for source in ready:
            if not (data := source.recv(65536)):
                return
            ways[source].sendall(data)
