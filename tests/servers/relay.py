"""An HTTP proxy: forwards requests for http:// and opens tunnels for https://; wants user and password if told to."""

from __future__ import annotations

import base64
import selectors
import socket
from urllib.parse import urlsplit

from tests.servers.tcp import TcpServer

__all__ = ("ForwardProxy",)


class ForwardProxy(TcpServer):
    """`served` has the origin of each request, and host:port of each tunnel."""

    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        self._token = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.served: list[str] = []

    def handle(self, connection: socket.socket) -> None:
        while True:
            data = b""
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            head, _, rest = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if headers.get("proxy-authorization") != self._token:
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                continue
            if method == "CONNECT":
                self.served.append(target)
                host, _, port = target.rpartition(":")
                with socket.create_connection((host, int(port))) as origin:
                    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    origin.sendall(rest)
                    _relay(connection, origin)
                return
            parts = urlsplit(target)
            self.served.append(f"{parts.scheme}://{parts.netloc}")
            kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
            request = [f"{method} {parts.path or '/'} HTTP/1.1", *kept, "Connection: close", "", ""]
            with socket.create_connection((parts.hostname or "", parts.port or 80)) as origin:
                origin.sendall("\r\n".join(request).encode("latin-1") + rest)
                answer = b""
                while more := origin.recv(65536):
                    answer += more
            connection.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            return


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on what comes from either side until one closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source = one if key.data is other else other
                data = source.recv(65536)
                if not data:
                    return
                key.data.sendall(data)
