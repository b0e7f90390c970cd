"""Byte streams to HTTP servers: what a wire owes to those who use it, and how the right one is opened.

A wire knows no HTTP. It raises httpx's exceptions, so that callers judge them as they judge httpx's own.
"""

from __future__ import annotations

import ssl
import sys
from typing import Protocol

from .wire_sockets import SocketWire, connect_socket

__all__ = ("AsyncWire", "Wire", "async_connect_wire", "connect_wire")


class AsyncWire(Protocol):
    """A connection for one task at a time.

    Attributes:
        taken: whether any byte was handed to the operating system since this was last set to False.
        heard: whether the server said something, or hung up, that was not read yet; as far as is known.
        silent: whether nothing at all came while the wire was idle, so that it can be used again; asks the system.
    """

    taken: bool

    @property
    def heard(self) -> bool: ...

    @property
    def silent(self) -> bool: ...

    async def read(self, timeout: float | None) -> bytes:
        """Return what comes next, at least one byte; nothing when the server has closed.

        Raises:
            httpx.ReadTimeout, httpx.ReadError: nothing came in `timeout` seconds, or the connection broke.
        """

    async def write(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Send `data` after what is left of earlier calls, and say whether all was sent.

        False means that the server spoke first. The rest is kept: `write(b"")` goes on with it.

        Raises:
            httpx.WriteTimeout, httpx.WriteError: the server took nothing in `timeout` seconds, or the connection broke.
        """

    def drop(self) -> None:
        """Close it at once, in the middle of anything; for its own task. A second time is no error."""

    def interrupt(self) -> None:
        """Let the one who uses it find it closed; for others."""

    async def aclose(self) -> None:
        """Close it, and return when it is closed."""


class Wire(Protocol):
    """What `AsyncWire` is, for a thread."""

    taken: bool

    @property
    def heard(self) -> bool: ...

    @property
    def silent(self) -> bool: ...

    def read(self, timeout: float | None) -> bytes: ...

    def write(self, data: bytes | memoryview, timeout: float | None) -> bool: ...

    def drop(self) -> None: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


async def async_connect_wire(host: str, port: int, context: ssl.SSLContext | None, timeout: float | None) -> AsyncWire:
    """Open a wire for this event loop.

    Args:
        host: a name or an address.
        port: of the server.
        context: for TLS, None for none. The certificate is checked against `host` where the context has it so.
        timeout: seconds, for TLS included.

    Raises:
        httpx.ConnectTimeout, httpx.ConnectError: there is no connection.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        from .wire_trio import connect_trio

        return await connect_trio(host, port, context, timeout)
    from .wire_asyncio import connect_asyncio

    return await connect_asyncio(host, port, context, timeout)


def connect_wire(host: str, port: int, context: ssl.SSLContext | None, timeout: float | None) -> Wire:
    """Open a wire for this thread; see `async_connect_wire`."""
    wire: SocketWire = connect_socket(host, port, context, timeout)
    return wire
