"""A threaded TCP server to build test servers on. No protocol is known here."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

HANG_UP: int = getattr(select, "POLLRDHUP", select.POLLHUP)


def reset_on_close(connection: socket.socket) -> None:
    """Make the coming close() send RST in place of FIN (SO_LINGER with zero seconds)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def pause(connection: socket.socket, seconds: float) -> bool:
    """Wait, and say whether the time passed in full; a peer that hangs up or a closing server ends it."""
    poller = select.poll()
    poller.register(connection, HANG_UP)
    return not poller.poll(seconds * 1000)


class TcpServer:
    """Listens on a free loopback port and gives every connection a thread that runs `handle`.

    Args:
        host: another address of loopback.
        ports: where to listen in place of a free port; `port` is the first.
    """

    host = "127.0.0.1"

    def __init__(self, *, host: str | None = None, ports: Sequence[int] = (0,)) -> None:
        self.host = host or self.host
        self.port = ports[0]
        self._more_ports = ports[1:]
        self.connections = 0
        self._changed = threading.Condition()
        self._running: dict[threading.Thread, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []
        self._accepter: threading.Thread | None = None
        self._waker: socket.socket | None = None

    def handle(self, connection: socket.socket) -> None:
        """Serve one connection; it is closed when this returns, and an OSError only ends it."""
        raise NotImplementedError

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Give the socket that is to be served, such as one with TLS around it; must not block."""
        return connection

    @property
    def open_connections(self) -> int:
        """How many accepted connections have not ended yet."""
        with self._changed:
            return len(self._running)

    def wait_open(self, count: int, timeout: float = 5.0) -> None:
        """Return when exactly `count` connections are open; AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self.open_connections != count:
                # Woken by every end of a connection; the short slice covers counts that subclasses derive.
                self._changed.wait(0.01)
                if time.monotonic() > deadline:
                    raise AssertionError(f"{self.open_connections} connections are open, not {count}")

    def start(self) -> Self:
        listeners = self._bind()
        self.port = listeners[0].getsockname()[1]
        self._listen(listeners)
        return self

    def close(self) -> None:
        """Stop listening, end every connection and wait for its thread. Safe to call twice."""
        self._stop_listening()
        with self._changed:
            for connection in self._running.values():
                # Past the TLS layer on purpose: only the thread that serves it may touch that.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self) -> list[socket.socket]:
        listeners: list[socket.socket] = []
        try:
            for port in (self.port, *self._more_ports):
                listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                listeners.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self.host, port))
        except OSError:
            for listener in listeners:
                listener.close()
            raise
        return listeners

    def _listen(self, listeners: list[socket.socket]) -> None:
        for listener in listeners:
            listener.listen(socket.SOMAXCONN)
        self._listeners = listeners
        wake, self._waker = socket.socketpair()
        self._accepter = threading.Thread(target=self._accept, args=(listeners, wake), name="accept")
        self._accepter.start()

    def _stop_listening(self) -> None:
        if self._waker is not None and self._accepter is not None:
            self._waker.close()
            self._accepter.join()
            self._waker = self._accepter = None
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _accept(self, listeners: list[socket.socket], wake: socket.socket) -> None:
        with wake, selectors.DefaultSelector() as selector:
            for listener in listeners:
                selector.register(listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if wake in ready:
                    return
                for listener in listeners:
                    if listener in ready:
                        with contextlib.suppress(OSError):
                            self._begin(listener.accept()[0])

    def _begin(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self.wrap(connection)
        except OSError:
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name=type(self).__name__)
        with self._changed:
            self.connections += 1
            self._running[thread] = connection
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self.handle(connection)
        finally:
            with self._changed:
                del self._running[threading.current_thread()]
                connection.close()
                self._changed.notify_all()
