"""An HTTP/2 server for tests, over TLS: it answers each request with what it was, one after the other."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.servers.tcp import TcpServer

if TYPE_CHECKING:
    import trustme

__all__ = ("Http2Server",)


class Http2Server(TcpServer):
    """HTTP/2 on a free port, agreed on by ALPN; bodies must be small, as no window is opened further."""

    def __init__(self, ca: trustme.CA) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(["h2"])
        ca.issue_cert(self.host).configure_cert(self._context)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def wrap(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def handle(self, connection: socket.socket) -> None:
        protocol = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        protocol.initiate_connection()
        connection.sendall(protocol.data_to_send())
        asked: dict[int, dict[str, object]] = {}
        while data := connection.recv(65536):
            for event in protocol.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = {str(name): str(value) for name, value in event.headers or []}
                    asked[event.stream_id or 0] = {"method": headers[":method"], "path": headers[":path"], "size": 0}
                elif isinstance(event, DataReceived):
                    request = asked[event.stream_id or 0]
                    request["size"] = int(str(request["size"])) + len(event.data or b"")
                elif isinstance(event, StreamEnded):
                    number = event.stream_id or 0
                    protocol.send_headers(number, [(":status", "200"), ("content-type", "application/json")])
                    protocol.send_data(number, json.dumps(asked.pop(number)).encode(), end_stream=True)
            connection.sendall(protocol.data_to_send())
