"""Wires for asyncio: a protocol on the event loop's own transports, which are much faster than streams."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from itertools import zip_longest
from typing import Any, TypeAlias, cast

import anyio
import httpx

from .sockets import readable

__all__ = ("AsyncioWire", "connect_asyncio")

_Address: TypeAlias = tuple[Any, Any, int, str, Any]  # as getaddrinfo has it
_HEAD_START = 0.25  # seconds
_FULL = 256 * 1024  # bytes that may lie unread before the server is held back


async def connect_asyncio(host: str, port: int, context: ssl.SSLContext | None, timeout: float | None) -> AsyncioWire:
    """Open a wire for this event loop; see `wires.async_connect_wire`."""
    loop = asyncio.get_running_loop()
    wire = AsyncioWire(loop)
    options: dict[str, Any] = {}
    try:
        with anyio.fail_after(timeout):
            sock = await _connected(loop, await _addresses(loop, host, port))
            if context is not None:
                context.set_alpn_protocols(["http/1.1"])
                options = {"ssl": context, "server_hostname": host, "ssl_handshake_timeout": timeout or 3600}
            try:
                await loop.create_connection(lambda: wire, sock=sock, **options)
            except BaseException:
                wire.drop()
                sock.close()  # closed twice where the event loop has done it
                raise
    except TimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(str(error)) from error
    return wire


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[_Address]:
    """Return where to connect, IPv6 and IPv4 by turns (RFC 8305)."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:  # a name: to be looked up in a thread
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = [one for one in found if one[0] == found[0][0]]
    others = [one for one in found if one[0] != found[0][0]]
    turns = [one for pair in zip_longest(first, others) for one in pair]
    return [one for one in turns if one is not None]


async def _connected(loop: asyncio.AbstractEventLoop, addresses: list[_Address]) -> socket.socket:
    """Return a socket connected to the address that answers first; each has a head start on the next (RFC 8305)."""
    opened: list[socket.socket] = []
    won: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: _Address, failed: anyio.Event) -> None:
        try:
            sock = socket.socket(*address[:3])
            opened.append(sock)
            sock.setblocking(False)
            await loop.sock_connect(sock, address[4])
        except OSError as error:
            errors.append(error)
            failed.set()
            return
        won.append(sock)
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, address, failed)
                with anyio.move_on_after(_HEAD_START):
                    await failed.wait()
    except BaseException:
        won.clear()
        raise
    finally:
        for sock in opened:
            if sock not in won[:1]:
                sock.close()
    if not won:
        raise errors[-1]
    return won[0]


class AsyncioWire(asyncio.Protocol):
    """A transport's protocol that lets one task wait: for data, for room to write, for the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._fileno = -1
        self._secure = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._held_back = False  # the server is, as nobody reads
        self._full = False  # our own buffer is, as the server doesn't read
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        # One timer for many waits: it looks at `_due` when it goes off, and is set anew if need be.
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._late = False
        self.taken = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._fileno = transport.get_extra_info("socket").fileno()
        self._secure = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        """Keep what came, and hold the server back when it's too much."""
        self._pieces.append(data)
        self._size += len(data)
        self._wake()
        if self._size > _FULL and not self._held_back and self._transport is not None:
            self._transport.pause_reading()
            self._held_back = True

    def eof_received(self) -> bool:
        """Note the end; the transport closes itself."""
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and why."""
        self._ended = True
        self._error = exc
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Note that the server doesn't read."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self._full = False
        self._wake()

    # What the task that uses it calls

    @property
    def heard(self) -> bool:
        """Whether the server said something, or hung up, that was not read yet."""
        # What the event loop has not looked at yet counts; with TLS it may be TLS's own, which is no answer.
        return bool(self._pieces) or self._ended or (not self._secure and readable(self._fileno))

    @property
    def silent(self) -> bool:
        """Whether nothing came while it was idle."""
        if self._pieces or self._ended or self._transport is None or self._transport.is_closing():
            return False
        return not readable(self._fileno)  # what the event loop has not looked at yet

    async def read(self, timeout: float | None) -> bytes:
        """Return what comes next; see `wires.AsyncWire`."""
        while not self._pieces:
            if self._ended:
                if self._error is not None:
                    raise httpx.ReadError(str(self._error)) from self._error
                return b""
            if not await self._wait(timeout):
                raise httpx.ReadTimeout("timed out")
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._held_back and self._transport is not None:
            self._held_back = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Send; see `wires.AsyncWire`. What the transport keeps is sent without being asked."""
        transport = self._transport
        if self._ended or transport is None or transport.is_closing():
            raise httpx.WriteError("the server has closed the connection")
        if data:
            transport.write(data)
            if transport.is_closing():  # the first attempt to send, made at once, has failed
                self.taken = self.taken or self._secure
                raise httpx.WriteError("the connection broke")
            self.taken = True
        while self._full:
            if self._pieces:
                return False
            if self._ended:
                raise httpx.WriteError(str(self._error or "the server has closed the connection"))
            if not await self._wait(timeout):
                raise httpx.WriteTimeout("timed out")
        return True

    async def _wait(self, timeout: float | None) -> bool:
        """Wait until anything happens; False if nothing did in time."""
        self._late = False
        if timeout is None:
            self._due = math.inf
        else:
            self._due = self._loop.time() + timeout
            if self._timer is not None and self._timer.when() > self._due:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = self._loop.call_at(self._due, self._tick)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return not self._late

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._due == math.inf:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._tick)
            return
        self._late = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def drop(self) -> None:
        """Close it at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def interrupt(self) -> None:
        """Close it at once: the one who waits finds it closed."""
        self.drop()

    async def aclose(self) -> None:
        """Close it, and wait until its socket is closed."""
        self.drop()
        if self._transport is not None:
            await self._gone
