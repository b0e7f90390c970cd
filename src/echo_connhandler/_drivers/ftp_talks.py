"""An FTP control connection, written once for threads and tasks: generators that yield what they wait for.

They wait for nothing themselves; `ftp_ftplib.py` and `ftp_tasks.py` do. Sockets don't block, and TLS works on them
directly: no event loop's transports are between, of which uvloop's lose the end of encrypted downloads.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from .._core.errors import ConnectionFailedError, ConnectTimeoutError, EchoConnError, TimeoutExceededError
from .._core.ftp.replies import ProtocolFault, Reply, ReplyReader, UnaskedError
from .._core.redaction import Redactor
from .ftp_tls import ftp_tls_context
from .sockets import keep_alive

if TYPE_CHECKING:
    from .registry import FtpSettings

__all__ = ("CHUNK", "Control", "Need", "Owner", "Talk", "reach", "receive", "send")

T = TypeVar("T")

CHUNK = 64 * 1024  # bytes of replies received at once
_SENT_AT_ONCE = 1 << 18  # bytes given to TLS in one call, which takes all or nothing
_SILENCE, _BETWEEN, _COUNT = 60, 15, 4  # seconds, seconds, times: of TCP's questions on an idle control connection


class Need(NamedTuple):
    """What a talk waits for: that a socket can be read or written, until `time.monotonic()` says so much."""

    fileno: int
    write: bool
    until: float


Talk: TypeAlias = Generator[Need, None, T]


class Owner(Protocol):
    """What has a socket."""

    sock: Any
    closed: bool


class Control:
    """The state of one session's connections. One thread or task at a time runs its talks; `kill` may come from any.

    Attributes:
        settings: what it was made from.
        sock: the control connection's socket, None before `connecting`; an `ssl.SSLSocket` once it's encrypted.
        dead: closed, lost or out of step.
        reader: takes replies apart.
        private: whether data connections that the library opens by itself are encrypted.
    """

    def __init__(self, settings: FtpSettings) -> None:
        self.settings = settings
        self.sock: Any = None
        self.dead = False
        self.reader = ReplyReader(settings.props.encoding)
        self.private = False
        self.peer = ""
        self.local = ""
        self.address: Any = None
        self._limit = math.inf
        self._open: set[Owner] = set()
        self._lock = threading.Lock()
        self._running = 0
        self._context: ssl.SSLContext | None = None
        self._redact = Redactor(settings.props.secrets())

    # What drivers bracket each talk with

    def enter(self) -> None:
        """A talk begins: sockets are closed by nobody else now.

        Raises:
            ConnectionFailedError: it's dead.
        """
        with self._lock:
            if self.dead:
                raise self.closed()
            self._running += 1

    def leave(self) -> None:
        """The talk has ended."""
        with self._lock:
            self._running -= 1
            if self.dead and not self._running:
                self._release()

    def kill(self) -> None:
        """Close everything at once. A talk that runs in another thread or task ends, and closes it."""
        with self._lock:
            self.dead = True
            if self._running:
                for sock in self._sockets():
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                self._release()

    def _sockets(self) -> list[socket.socket]:
        return [each for each in (self.sock, *(one.sock for one in self._open)) if each is not None]

    def _release(self) -> None:
        for sock in self._sockets():
            sock.close()
        for each in self._open:
            each.closed = True
        self._open.clear()

    def closed(self) -> ConnectionFailedError:
        """Return the error of whoever uses it when it's dead."""
        return ConnectionFailedError(f"{self.settings.target}: the connection was closed")

    def limit(self, seconds: float | None) -> None:
        """Let nothing wait beyond so many seconds from now."""
        self._limit = math.inf if seconds is None else time.monotonic() + seconds

    def until(self) -> float:
        """Return till when a wait that begins now may last."""
        return min(time.monotonic() + self.settings.props.request_timeout, self._limit)

    def connect_until(self) -> float:
        """Return till when connecting that begins now may last."""
        return min(time.monotonic() + self.settings.props.conn_timeout, self._limit)

    def hold(self, sock: socket.socket, owner: Control | Owner) -> None:
        """Let a socket be `owner`'s from now on, closed with all others."""
        with self._lock:
            owner.sock = sock
            if not isinstance(owner, Control):
                self._open.add(owner)
            if self.dead:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def let_go(self, owner: Owner, *, close: bool = True) -> None:
        """Forget the socket of one of ours, closed as it comes."""
        with self._lock:
            self._open.discard(owner)
            if close:
                owner.sock.close()

    @contextlib.contextmanager
    def _fatal(self, what: str) -> Iterator[None]:
        """Tell what broke; whatever it was, the connection is out of step."""
        try:
            with self.told(what):
                yield
        except BaseException:
            self.kill()
            raise

    @contextlib.contextmanager
    def told(self, what: str, late: type[TimeoutExceededError] = TimeoutExceededError) -> Iterator[None]:
        """Make errors ours. Cancelling, and all else that is no error, kills the connection."""
        try:
            yield
        except EchoConnError:
            raise
        except TimeoutError as error:
            raise late(f"{self.settings.target}: {what}: no sign of the server in time") from error
        except (OSError, UnicodeError) as error:  # the latter of host names
            why = "the connection was closed" if self.dead else str(error)
            raise ConnectionFailedError(f"{self.settings.target}: {what}: {why}") from error
        except BaseException:
            self.kill()
            raise

    # Talks

    def connecting(self, addresses: list[Any]) -> Talk[None]:
        """Connect to the first of these addresses that takes us, as getaddrinfo has them; with implicit TLS too."""
        until = self.connect_until()
        with self._connecting():
            for left in range(len(addresses), 0, -1):
                family, kind, protocol, _, address = addresses[-left]
                sock = socket.socket(family, kind, protocol)
                self.hold(sock, self)
                now = time.monotonic()
                try:
                    yield from reach(sock, address, now + (until - now) / left)
                    break
                except OSError:
                    sock.close()
                    if left == 1 or self.dead:
                        raise
            keep_alive(sock, _SILENCE, _BETWEEN, _COUNT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.address = sock.getpeername()
            self.peer, self.local = self.address[0], sock.getsockname()[0]
            if self.settings.props.tls == "implicit":
                yield from self.handshake(self, until, None)

    @contextlib.contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            with self.told("no connection", ConnectTimeoutError):
                yield
        except BaseException:
            self.kill()
            raise

    def securing(self) -> Talk[None]:
        """Encrypt the control connection."""
        with self._fatal("TLS"):
            if self.reader.waiting:  # said before TLS, by whoever: not to be taken for what TLS protects
                raise ConnectionFailedError(f"{self.settings.target}: the server went on unencrypted after AUTH")
            yield from self.handshake(self, self.connect_until(), None)

    def handshake(self, owner: Control | Owner, until: float, session: ssl.SSLSession | None) -> Talk[None]:
        """Shake hands, and hold the encrypted socket in place of the plain one.

        Args:
            owner: whose socket it is.
            until: when it must be done.
            session: the TLS session to resume.
        """
        plain: socket.socket = owner.sock
        if self._context is None:  # one for all: a session can't be resumed within another, made as files have changed
            self._context = ftp_tls_context(self.settings.props)
        sock = self._context.wrap_socket(
            plain,
            server_hostname=self.settings.props.address[0],
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            session=session,
        )
        self.hold(sock, owner)
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                yield Need(sock.fileno(), False, until)
            except ssl.SSLWantWriteError:
                yield Need(sock.fileno(), True, until)

    @property
    def tls(self) -> bool:
        """Whether the control connection is encrypted."""
        return isinstance(self.sock, ssl.SSLSocket)

    def encoded(self, line: str) -> bytes:
        """Return a command as it's sent.

        Raises:
            ValueError: it can't be. The command is not shown: it may be a password.
        """
        if any(mark in line for mark in "\r\n\0"):
            raise ValueError("an FTP command must not hold CR, LF or NUL")
        try:
            return line.encode(self.reader.encoding, "surrogateescape") + b"\r\n"
        except UnicodeError:
            raise ValueError(f"an argument has characters that the encoding {self.reader.encoding} lacks") from None

    def sending(self, data: bytes) -> Talk[None]:
        """Send a command, unless the server has said something that nobody asked for."""
        with self._fatal("sending a command"):
            sock = self.sock
            unasked = b"" if self.reader.waiting else _receive_now(sock, CHUNK)
            if unasked is not None:
                raise UnaskedError(f"{self.settings.target}: {self._redact(self._unasked(unasked))}")
            yield from send(sock, memoryview(data), self.until)

    def _unasked(self, data: bytes) -> str:
        try:
            reply = self.reader.feed(data)
        except ProtocolFault as fault:
            return str(fault)
        if reply is not None:
            return f"the server said unasked: {reply}"
        if self.reader.waiting:
            return f"the server said unasked: {self.reader.unfinished}"
        return "the server has closed the connection"

    def receiving(self) -> Talk[Reply]:
        """Read a whole reply."""
        with self._fatal("waiting for a reply"):
            try:
                reply = self.reader.feed()
                while reply is None:
                    data = yield from receive(self.sock, CHUNK, self.until)
                    if not data:
                        raise self._ended()
                    reply = self.reader.feed(data)
            except ProtocolFault as fault:
                raise ConnectionFailedError(f"{self.settings.target}: {self._redact(str(fault))}") from None
            return reply

    def _ended(self) -> ConnectionFailedError:
        if self.dead:
            return self.closed()
        began = f" in the middle of a reply: {self.reader.unfinished}" if self.reader.waiting else ""
        return ConnectionFailedError(
            f"{self.settings.target}: the server has closed the connection{self._redact(began)}"
        )


def reach(sock: socket.socket, address: Any, until: float) -> Talk[None]:
    """Connect a socket, which does not block from now on."""
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        yield Need(sock.fileno(), True, until)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code)) from None
        sock.getpeername()  # an error where the attempt was given up


def _receive_now(sock: socket.socket, most: int) -> bytes | None:
    """Return what is there, nothing where the connection has ended, None where nothing is there."""
    try:
        return sock.recv(most)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:  # it broke
        return b""


def receive(sock: socket.socket, most: int, until: Callable[[], float]) -> Talk[bytes]:
    """Receive at least a byte; nothing at the end."""
    while True:
        try:
            return sock.recv(most)
        except (BlockingIOError, ssl.SSLWantReadError):
            yield Need(sock.fileno(), False, until())
        except ssl.SSLWantWriteError:
            yield Need(sock.fileno(), True, until())


def send(sock: socket.socket, data: memoryview, until: Callable[[], float]) -> Talk[None]:
    """Send all of it."""
    at_once = _SENT_AT_ONCE if isinstance(sock, ssl.SSLSocket) else len(data)
    while data:
        try:
            data = data[sock.send(data[:at_once]) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            yield Need(sock.fileno(), True, until())
        except ssl.SSLWantReadError:
            yield Need(sock.fileno(), False, until())
