"""Wires for trio: a socket without TLS, one of trio's streams with it."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import trio

from .sockets import readable
from .wire_sockets import CHUNK, no_delay

__all__ = ("TrioTlsWire", "TrioWire", "connect_trio")

_Wait = Callable[[socket.socket], Awaitable[None]]


async def connect_trio(
    host: str, port: int, context: ssl.SSLContext | None, timeout: float | None
) -> TrioWire | TrioTlsWire:
    """Open a wire for this event loop; see `wires.async_connect_wire`."""
    try:
        with trio.fail_after(math.inf if timeout is None else timeout):
            stream = await trio.open_tcp_stream(host, port)
            if context is None:
                sock = socket.socket(fileno=stream.socket.detach())
                no_delay(sock)
                sock.setblocking(False)
                return TrioWire(sock)
            context.set_alpn_protocols(["http/1.1"])
            secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
            wire = TrioTlsWire(secure)
            try:
                await secure.do_handshake()
            except BaseException:
                wire.drop()
                raise
            return wire
    except trio.TooSlowError as error:
        raise httpx.ConnectTimeout("timed out") from error
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:
        raise httpx.ConnectError(str(error.__cause__ or error)) from error


class TrioWire:
    """A socket."""

    __slots__ = ("_ahead", "_sock", "_unsent", "taken")

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected socket that doesn't block."""
        self._sock = sock
        self._unsent: bytes | memoryview = b""
        self._ahead = 0  # reads in a row that needed no waiting
        self.taken = False

    @property
    def heard(self) -> bool:
        """Whether the server said something, or hung up, that was not read yet."""
        return self._sock.fileno() < 0 or readable(self._sock.fileno())

    @property
    def silent(self) -> bool:
        """Whether nothing came while it was idle."""
        return not self.heard

    async def read(self, timeout: float | None) -> bytes:
        """Return what comes next; see `wires.AsyncWire`."""
        wait = self._ahead % 16 == 0  # others have their turn too, when data come without a pause
        while True:
            if wait:
                await self._wait(timeout, httpx.ReadTimeout, httpx.ReadError, trio.lowlevel.wait_readable)
            try:
                data = self._sock.recv(CHUNK)
            except BlockingIOError:
                wait, self._ahead = True, 0
                continue
            except OSError as error:
                raise httpx.ReadError(str(error)) from error
            self._ahead += 1
            if not wait:
                await trio.lowlevel.checkpoint_if_cancelled()
            return data

    async def write(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Send; see `wires.AsyncWire`."""
        self._ahead = 0
        if self._unsent:
            data = bytes(self._unsent) + bytes(data)
            self._unsent = b""
        while data:
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                await self._wait(timeout, httpx.WriteTimeout, httpx.WriteError, self._wait_for_either)
                if self.heard:
                    self._unsent = data
                    return False
                continue
            except OSError as error:
                raise httpx.WriteError(str(error)) from error
            self.taken = True
            data = data[count:]
        return True

    async def _wait_for_either(self, sock: socket.socket) -> None:
        """Wait until something can be sent or read."""
        async with trio.open_nursery() as nursery:

            async def one(wait: _Wait) -> None:
                await wait(sock)
                nursery.cancel_scope.cancel()

            nursery.start_soon(one, trio.lowlevel.wait_readable)
            nursery.start_soon(one, trio.lowlevel.wait_writable)

    async def _wait(
        self, timeout: float | None, late: type[httpx.TimeoutException], broken: type[httpx.NetworkError], wait: _Wait
    ) -> None:
        try:
            if timeout is None:
                await wait(self._sock)
                return
            with trio.CancelScope(deadline=trio.current_time() + timeout) as scope:
                await wait(self._sock)
        except (OSError, trio.ClosedResourceError) as error:
            raise broken(str(error)) from error
        if scope.cancelled_caught:
            raise late("timed out")

    def drop(self) -> None:
        """Close it at once."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def interrupt(self) -> None:
        """Close it at once: the one who waits finds it closed."""
        self.drop()

    async def aclose(self) -> None:
        """Close it."""
        self.drop()


class TrioTlsWire:
    """A stream with TLS."""

    __slots__ = ("_stream", "taken")

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self.taken = False

    @property
    def heard(self) -> bool:
        """Not known: what can be read may be TLS's own, and no task may read while another writes."""
        return False

    @property
    def silent(self) -> bool:
        """Whether nothing came while it was idle."""
        fileno = self._stream.transport_stream.socket.fileno()
        return fileno >= 0 and not readable(fileno)

    async def read(self, timeout: float | None) -> bytes:
        """Return what comes next; see `wires.AsyncWire`."""
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                return bytes(await self._stream.receive_some(CHUNK))
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout("timed out") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise httpx.ReadError(str(error.__cause__ or error)) from error

    async def write(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Send; see `wires.AsyncWire`."""
        if not data:
            return True
        self.taken = True
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await self._stream.send_all(data)
        except trio.TooSlowError as error:
            raise httpx.WriteTimeout("timed out") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise httpx.WriteError(str(error.__cause__ or error)) from error
        return True

    def drop(self) -> None:
        """Close its socket at once."""
        with suppress(OSError):
            self._stream.transport_stream.socket.close()

    def interrupt(self) -> None:
        """Close it at once: the one who waits finds it closed."""
        self.drop()

    async def aclose(self) -> None:
        """Close it."""
        self.drop()
