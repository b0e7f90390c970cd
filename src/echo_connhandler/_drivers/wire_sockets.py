"""Wires for threads: blocking sockets. Besides what all wires ask of a socket."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from contextlib import suppress

import httpx

from .sockets import readable

__all__ = ("CHUNK", "SocketWire", "connect_socket", "no_delay")

CHUNK = 64 * 1024


def no_delay(sock: socket.socket) -> None:
    """Send small pieces at once."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect_socket(host: str, port: int, context: ssl.SSLContext | None, timeout: float | None) -> SocketWire:
    """Open a wire for this thread; see `wires.connect_wire`."""
    try:
        sock = socket.create_connection((host, port), timeout)
        try:
            no_delay(sock)
            if context is not None:
                context.set_alpn_protocols(["http/1.1"])
                sock = context.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
    except TimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(str(error)) from error
    return SocketWire(sock, timeout)


class SocketWire:
    """A socket, with TLS or without."""

    __slots__ = ("_owner", "_pushed", "_secure", "_sock", "_timeout", "_unsent", "taken")

    def __init__(self, sock: socket.socket, timeout: float | None) -> None:
        """Take a connected socket, and the timeout that it has."""
        self._sock = sock
        self._timeout = timeout
        self._owner = threading.get_ident()
        self._secure = isinstance(sock, ssl.SSLSocket)
        self._unsent: bytes | memoryview = b""
        self._pushed = b""  # read while something was written
        self.taken = False

    @property
    def heard(self) -> bool:
        """Whether the server said something that was not read yet."""
        if self._pushed:
            return True
        if not self._secure:
            return readable(self._sock.fileno())
        # What is readable may be TLS's own, which is no answer.
        try:
            self._patience(0)
            self._pushed = self._sock.recv(CHUNK)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True
        return True

    @property
    def silent(self) -> bool:
        """Whether nothing came while it was idle."""
        return not self._pushed and self._sock.fileno() >= 0 and not readable(self._sock.fileno())

    def _patience(self, timeout: float | None) -> None:
        if timeout != self._timeout:
            self._sock.settimeout(timeout)
            self._timeout = timeout

    def read(self, timeout: float | None) -> bytes:
        """Return what comes next; see `wires.AsyncWire`."""
        if self._pushed:
            data, self._pushed = self._pushed, b""
            return data
        try:
            self._patience(timeout)
            return self._sock.recv(CHUNK)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def write(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Send; see `wires.AsyncWire`."""
        try:
            self._patience(timeout)
            if self._unsent:
                data = bytes(self._unsent) + bytes(data)
                self._unsent = b""
            elif data:
                data = self._send(data)
            while data:
                if not self._writable(timeout):
                    self._unsent = data
                    return False
                data = self._send(data)
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error
        return True

    def _send(self, data: bytes | memoryview) -> bytes | memoryview:
        """Send a piece and return the rest."""
        # With TLS a failed call may have sent something all the same.
        self.taken = self.taken or self._secure
        count = self._sock.send(data)
        self.taken = True
        return data[count:]

    def _writable(self, timeout: float | None) -> bool:
        """Wait until something can be sent; False when the server speaks first."""
        if self._secure:
            spoke = self.heard
            self._patience(timeout)
            return not spoke
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            events = selector.select(timeout)
        if not events:
            raise TimeoutError("timed out")
        return not events[0][1] & selectors.EVENT_READ

    def drop(self) -> None:
        """Close it."""
        self._sock.close()

    def interrupt(self) -> None:
        """Close it for the thread that uses it: another can't close it, which would give its number to another file."""
        if threading.get_ident() == self._owner:
            self._sock.close()
            return
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self._sock.close()
