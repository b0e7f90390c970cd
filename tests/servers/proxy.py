"""A proxy that breaks connections on command. No protocol is known here: what travels is bytes."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.servers.tcp import HANG_UP, TcpServer, reset_on_close

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

Direction = Literal["up", "down"]
How = Literal["close", "reset", "stall"]

_CHUNK = 65536


@dataclass
class _Cut:
    direction: Direction
    after: int
    how: How
    times: int | None
    left: int


@dataclass
class _Flow:
    """One direction of a connection: at most one chunk is held before it goes on."""

    direction: Direction
    source: socket.socket
    sink: socket.socket
    held: bytes = b""
    rest: bytes = b""  # what a stall keeps back
    release_at: float = 0.0
    then: How | None = None  # what happens once `held` is gone
    eof: bool = False

    @property
    def reads(self) -> bool:
        return not (self.held or self.rest or self.eof or self.then)


@dataclass(eq=False)
class _Link:
    """One proxied connection. Only its own thread touches its sockets, so that a reset is a reset."""

    waker: socket.socket
    flows: list[_Flow] = field(default_factory=list)
    stalled: bool = False
    lost: bool = False  # stalled for good
    client_left: bool = False
    drop: Literal["close", "reset"] | None = None
    last_byte: float = field(default_factory=time.monotonic)

    def interrupted(self) -> bool:
        return self.stalled or self.drop is not None


class TcpProxy(TcpServer):
    """Forwards TCP to `host:port` and breaks it as told, also while connections run.

    "up" is from the client to the service, "down" the way back. A fault ends both sides of a connection.

    Args:
        host, port: the service.
        at: another address of loopback to listen at.
        ports: where to listen in place of a free port; each forwards to the same port of `host`, and `port` isn't used.
    """

    def __init__(self, host: str, port: int, *, at: str | None = None, ports: Sequence[int] = ()) -> None:
        super().__init__(host=at, ports=ports or (0,))
        self._same_port = bool(ports)
        self.target = (host, port)
        self.bytes_up = 0
        self.bytes_down = 0
        self.fired = 0
        self._cut: _Cut | None = None
        self._delay = 0.0
        self._links: set[_Link] = set()
        self._refusing: list[socket.socket] = []
        self._closing = False

    @property
    def open_connections(self) -> int:
        """How many clients are connected; one that hung up isn't, even if the service keeps its side."""
        with self._changed:
            return len(self._running) - sum(link.client_left for link in self._links)

    def cut(self, direction: Direction, *, after: int, how: How = "close", times: int | None = 1) -> None:
        """Break the connection that brings byte number `after` of this direction, once that byte passed.

        Bytes are counted from now, over all connections together; 0 breaks at the first byte and lets none
        pass. It happens `times` times (None: always), each counting anew; `fired` says how often it did.
        "stall" holds everything on that connection until heal(). Another call replaces this one.
        """
        with self._changed:
            self._cut = _Cut(direction, after, how, times, after)
            self.fired = 0

    def delay(self, seconds: float) -> None:
        """Hold every chunk, both ways, for so long before it goes on."""
        with self._changed:
            self._delay = seconds

    def stall(self) -> None:
        """Forward nothing more on the connections that are open now, hang-ups included; heal() resumes."""
        with self._changed:
            for link in self._links:
                link.stalled = True
                link.waker.send(b"!")

    def drop(self, how: Literal["close", "reset", "silence"] = "close", *, idle_for: float = 0.0) -> int:
        """End the connections on which no byte came for `idle_for` seconds; returns how many they were.

        "silence" tells neither side, as a firewall does that forgot them: what is sent from now on is lost, also
        after heal(), and the service keeps its side until the proxy closes.
        """
        with self._changed:
            limit = time.monotonic() - idle_for
            chosen = [link for link in self._links if link.last_byte <= limit]
            for link in chosen:
                if how == "silence":
                    link.stalled = link.lost = True
                else:
                    link.drop = how
                link.waker.send(b"!")
        return len(chosen)

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED) and keep the open ones."""
        if not self._refusing:
            self._stop_listening()
            # Bound but not listening: the kernel refuses, and nobody else gets the port.
            self._refusing = self._bind()

    def accept(self) -> None:
        """Take new connections again after refuse()."""
        if self._refusing:
            listeners, self._refusing = self._refusing, []
            self._listen(listeners)

    def heal(self) -> None:
        """Forget every fault: stalled connections go on with what was held, new ones are accepted."""
        with self._changed:
            self._cut = None
            self._delay = 0.0
            for link in self._links:
                link.stalled = link.lost
                for flow in link.flows:
                    flow.then = None if flow.then == "stall" else flow.then
                link.waker.send(b"!")
        self.accept()

    def start(self) -> Self:
        self._closing = False
        return super().start()

    def close(self) -> None:
        self._stop_listening()
        with self._changed:
            self._closing = True
        self.drop()
        super().close()
        for listener in self._refusing:
            listener.close()
        self._refusing = []

    def target_of(self, connection: socket.socket) -> tuple[str, int]:
        """Where a client's connection goes on to."""
        return (self.target[0], connection.getsockname()[1]) if self._same_port else self.target

    def handle(self, connection: socket.socket) -> None:
        try:
            service = socket.create_connection(self.target_of(connection), timeout=5)
        except OSError:
            reset_on_close(connection)
            return
        wake, waker = socket.socketpair()
        with service, wake, waker:
            service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            service.setblocking(False)
            connection.setblocking(False)
            flows = [_Flow("up", connection, service), _Flow("down", service, connection)]
            link = _Link(waker, flows)
            with self._changed:
                if self._closing:
                    return
                self._links.add(link)
            try:
                how = self._forward(link, wake)
            except OSError:
                how = "reset"
            with self._changed:
                self._links.discard(link)
            for side in (connection, service):
                reset_on_close(side) if how == "reset" else _hang_up(side)

    def _forward(self, link: _Link, wake: socket.socket) -> Literal["close", "reset"]:
        while not all(flow.eof for flow in link.flows):
            if link.drop is not None:
                return link.drop
            if link.stalled:
                self._poll_stalled(link, wake)
                continue
            _poll(link, wake)
            for flow in link.flows:
                if flow.held and flow.release_at <= time.monotonic():
                    self._write(flow)
                if not flow.held and (how := self._due(link, flow)) is not None:
                    return how
                if link.interrupted():
                    break
                if flow.reads:
                    self._read(link, flow)
        return "close"

    def _due(self, link: _Link, flow: _Flow) -> Literal["close", "reset"] | None:
        """What a cut promised for when its last byte is through."""
        with self._changed:
            if flow.then == "stall":
                link.stalled, flow.then = True, None
            elif flow.then is None:
                flow.held, flow.rest = flow.rest, b""
            return flow.then

    def _poll_stalled(self, link: _Link, wake: socket.socket) -> None:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        if not link.client_left:
            poller.register(link.flows[0].source, HANG_UP)
        for number, _ in poller.poll():
            if number == wake.fileno():
                wake.recv(_CHUNK)
            else:
                with self._changed:
                    link.client_left = True

    def _read(self, link: _Link, flow: _Flow) -> None:
        try:
            data = flow.source.recv(_CHUNK)
        except BlockingIOError:
            return
        with self._changed:
            if not data:
                flow.eof = True
                link.client_left = link.client_left or flow.direction == "up"
                _shut(flow.sink)
                return
            link.last_byte = time.monotonic()
            flow.release_at = link.last_byte + self._delay
            flow.held = data
            cut = self._cut
            if cut is None or cut.direction != flow.direction:
                return
            if len(data) < cut.left:
                cut.left -= len(data)
                return
            flow.held, flow.rest, flow.then = data[: cut.left], data[cut.left :], cut.how
            self.fired += 1
            cut.left = cut.after
            if cut.times is not None:
                cut.times -= 1
                if not cut.times:
                    self._cut = None

    def _write(self, flow: _Flow) -> None:
        try:
            count = flow.sink.send(flow.held)
        except BlockingIOError:
            return
        flow.held = flow.held[count:]
        with self._changed:
            if flow.direction == "up":
                self.bytes_up += count
            else:
                self.bytes_down += count


def _poll(link: _Link, wake: socket.socket) -> None:
    """Wait until this connection can read, write, let go of a delayed chunk, or is told something."""
    now = time.monotonic()
    interest: dict[int, int] = {wake.fileno(): select.POLLIN}
    timeout: float | None = None
    for flow in link.flows:
        if flow.held and flow.release_at > now:
            timeout = min(flow.release_at - now, 60.0 if timeout is None else timeout)
        elif flow.held:
            interest[flow.sink.fileno()] = interest.get(flow.sink.fileno(), 0) | select.POLLOUT
        elif flow.reads:
            interest[flow.source.fileno()] = interest.get(flow.source.fileno(), 0) | select.POLLIN
        else:
            # Neither holds nor reads: a fault or the rest after a stall is due at once, or it has ended.
            timeout = timeout if flow.eof else 0.0
    poller = select.poll()
    for number, events in interest.items():
        poller.register(number, events)
    ready = poller.poll(None if timeout is None else timeout * 1000 + 1)
    if any(number == wake.fileno() for number, _ in ready):
        wake.recv(_CHUNK)


def _shut(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_WR)


def _hang_up(side: socket.socket) -> None:
    """Say goodbye with FIN; unread bytes would turn it into RST, so they are read away first."""
    _shut(side)
    with contextlib.suppress(OSError):
        while side.recv(_CHUNK):
            pass
