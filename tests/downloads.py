"""Content that can be downloaded, and what is left beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echo_connhandler import HttpConnProperties, HttpHandler
from tests.servers.http import Reply, Request
from tests.servers.tcp import TcpServer

__all__ = (
    "content",
    "left_beside",
    "make",
    "serving",
)


def make(server: TcpServer, **options: Any) -> HttpHandler:
    host = f"http://{server.host}:{server.port}"
    return HttpHandler(HttpConnProperties(host=host), skip_connect=True, **options)


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def serving(body: Callable[[], bytes], **headers: str) -> Callable[[Request], Reply]:
    """Return a route that serves what `body` gives, with ranges and If-Range as they should be."""

    def route(request: Request) -> Reply:
        data = body()
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        validator = own.get("ETag") or own.get("Last-Modified")
        wanted = request.header("Range")
        if wanted is None or request.header("If-Range") not in (None, validator):
            return Reply(200, own, data)
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if first >= len(data):
            return Reply(416, {**own, "Content-Range": f"bytes */{len(data)}"})
        return Reply(206, {**own, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}, data[first:])

    return route


def left_beside(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if name != path.name)
