"""A server that speaks HTTP/2 and HTTP/1.1 over TLS: hypercorn, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers.foreign import free_port, started
from tests.servers.tls import TlsFiles

__all__ = ("app", "http2_server")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the number of bytes in the body, and tell the client's port, so which connection it was (ASGI)."""
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"text/plain"), (b"x-connection", str(scope["client"][1]).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(size).encode()})


@contextmanager
def http2_server(files: TlsFiles) -> Iterator[str]:
    """Run it, and give its URL."""
    port = free_port()
    tls = ["--certfile", files.server_certificate, "--keyfile", files.server_key]
    with started([sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", *tls, f"{__name__}:app"], port):
        yield f"https://127.0.0.1:{port}"
