"""A server that answers each request with the bytes that it is told, and keeps the requests as bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.tcp import TcpServer

__all__ = ("Raw", "ScriptedServer")


@dataclass(frozen=True)
class Raw:
    """A request: its head up to the empty line, its body as it came (chunks too), and the number of its connection."""

    head: bytes
    body: bytes
    connection: int

    def lines(self) -> list[bytes]:
        return self.head.split(b"\r\n")


# What follows a request: bytes to send, and the connection stays; None: it's closed; or a function that says whether
# it stays, called when the head has been read, with what came behind it so far.
Step = bytes | None | Callable[[socket.socket, bytes], bool]


class ScriptedServer(TcpServer):
    """Each request, on whichever connection, is answered by the next step; the last one stays in force."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self._steps = list(steps)
        self._next = threading.Lock()
        self.requests: list[Raw] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def handle(self, connection: socket.socket) -> None:
        number, data = self.connections, b""
        while True:
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            with self._next:
                step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
            if callable(step):
                self.requests.append(Raw(head, data, number))
                if not step(connection, data):
                    return
                data = b""
                continue
            body, data = _body(connection, head.lower(), data)
            self.requests.append(Raw(head, body, number))
            if step is None:
                return
            connection.sendall(step)


def _body(connection: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Return the body that the head announces, reading what is missing, and what is behind it."""
    if b"transfer-encoding: chunked" in head:
        while b"0\r\n\r\n" not in data:
            data += connection.recv(65536)
        end = data.index(b"0\r\n\r\n") + 5
        return data[:end], data[end:]
    _, found, rest = head.partition(b"content-length:")
    length = int(rest.split(b"\r\n")[0]) if found else 0
    while len(data) < length:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data[:length], data[length:]
