"""FTP's data connections, as `ftp_talks.py` has the control connection: generators that wait for nothing themselves."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

from .._core.errors import ConnectionFailedError
from .ftp_talks import CHUNK, Control, Need, Talk, reach, receive, send

__all__ = ("Data", "Listener", "listening", "opening")

# Bytes of data received at once. Larger ones are new memory each time, whose pages the system has to clear.
_PIECE = 1 << 17
_TLS_PIECE = 1 << 18  # the same with TLS, whose records have 16 KiB each


def opening(control: Control, port: int) -> Talk[Data]:
    """Connect to a port of the control connection's peer."""
    with control.told(f"data connection to port {port}"):
        data = Data(control, socket.socket(control.sock.family, socket.SOCK_STREAM))
        try:
            address = (control.address[0], port, *control.address[2:])
            yield from reach(data.sock, address, control.connect_until())
        except BaseException:
            data.drop()
            raise
        return data


def listening(control: Control) -> Listener:
    """Listen for a data connection of the server's, where the control connection comes from."""
    with control.told("listening for a data connection"):
        ours = control.sock.getsockname()
        listener = Listener(control, socket.socket(control.sock.family, socket.SOCK_STREAM))
        try:
            listener.sock.setblocking(False)
            listener.sock.bind((ours[0], 0, *ours[2:]))
            listener.sock.listen(1)
            listener.host, listener.port = listener.sock.getsockname()[:2]
        except BaseException:
            listener.drop()
            raise
        return listener


class Listener:
    """Where the server connects to."""

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self.host = ""
        self.port = 0
        self._control = control
        control.hold(sock, self)

    def accepting(self) -> Talk[Data]:
        """Wait for the server's connection, and stop listening."""
        control = self._control
        with control.told("waiting for the server's data connection"):
            until = control.connect_until()
            try:
                while True:
                    if self.closed:
                        raise control.closed()
                    try:
                        sock, address = self.sock.accept()
                    except BlockingIOError:
                        yield Need(self.sock.fileno(), False, until)
                        continue
                    if address[0] == control.peer:
                        break
                    sock.close()
                sock.setblocking(False)
                return Data(control, sock)
            finally:
                self.drop()

    def drop(self) -> None:
        """Stop listening."""
        self.closed = True
        self._control.let_go(self)


class Data:
    """A data connection."""

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self.clean = True
        self._control = control
        self._buffer = bytearray()
        self._sent = False
        control.hold(sock, self)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        if self.closed:
            raise self._control.closed() if self._control.dead else ConnectionFailedError("the data connection is over")
        try:
            with self._control.told(what):
                yield
        except BaseException:
            self.drop()
            raise

    def securing(self) -> Talk[None]:
        """Encrypt it, as the same TLS session."""
        control = self._control
        with self._told("TLS on the data connection"):
            session = control.sock.session if isinstance(control.sock, ssl.SSLSocket) else None
            yield from control.handshake(self, control.connect_until(), session)
            self.clean = False  # until its end is told

    def reading(self) -> Talk[bytes]:
        """Read what comes next."""
        if self.closed:
            return b""
        sock = self.sock
        try:
            if isinstance(sock, ssl.SSLSocket):
                return (yield from self._reading_tls(sock))
            data = yield from receive(sock, _PIECE, self._control.until)
            if not data:
                self.drop()
                if self._control.dead:
                    raise self._control.closed()
            return data
        except BaseException:
            with self._told("receiving data"):  # only now: entering it costs, and this is run thousands of times
                raise

    def _reading_tls(self, sock: ssl.SSLSocket) -> Talk[bytes]:
        """Read as many records as are there, one at least."""
        if not self._buffer:
            self._buffer = bytearray(_TLS_PIECE)
        room, filled, ended = memoryview(self._buffer), 0, False
        while filled < len(room) and not ended:
            try:
                count = sock.recv_into(room[filled:])
                filled += count
                self.clean = ended = not count
            except ssl.SSLWantReadError:
                if filled:
                    break
                yield Need(sock.fileno(), False, self._control.until())
            except ssl.SSLWantWriteError:
                yield Need(sock.fileno(), True, self._control.until())
            except ssl.SSLEOFError:
                ended = True
        if not filled:
            if self._control.dead:
                raise self._control.closed()
            self.drop()
        return bytes(room[:filled])

    def writing(self, data: bytes | memoryview) -> Talk[None]:
        """Send all of it."""
        self._sent = True
        with self._told("sending data"):
            yield from send(self.sock, memoryview(data).cast("B"), self._control.until)

    def finishing(self) -> Talk[None]:
        """Tell the end, and close when the server has all."""
        with self._told("ending the data connection"):
            sock = self.sock
            if isinstance(sock, ssl.SSLSocket):
                yield from self._ending_tls(sock)
            self.drop()

    def _ending_tls(self, sock: ssl.SSLSocket) -> Talk[None]:
        # Closing a socket with something unread in it, as TLS 1.3's tickets are, resets the connection: the server
        # would lose what it has not read yet. So all is read until the server hangs up.
        until = self._control.until()
        while not self._bye(sock):
            yield Need(sock.fileno(), True, until)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_WR)
            plain = socket.socket(fileno=sock.detach())
            self._control.hold(plain, self)
            plain.setblocking(False)
            while (yield from receive(plain, CHUNK, lambda: until)):
                pass

    def _bye(self, sock: ssl.SSLSocket) -> bool:
        """Send TLS's own end; False if it can't be sent now."""
        try:
            sock._sslobj.shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - unwrap() would end TLS before it is done
        except ssl.SSLWantWriteError:
            return False
        except OSError:  # sent: the server's own is not waited for; or the server is gone
            return True
        return True

    def detach(self) -> socket.socket:
        """Give the socket away, as one that blocks."""
        self._control.let_go(self, close=False)
        self.closed = True
        self.sock.settimeout(self._control.settings.props.request_timeout)
        return self.sock

    def drop(self) -> None:
        """Close it now."""
        # A download that is left gets a word of it, else ProFTPD may hang up altogether; an upload must not look whole.
        if isinstance(self.sock, ssl.SSLSocket) and not (self.closed or self._sent):
            self._bye(self.sock)
        self.closed = True
        self._buffer = bytearray()
        self._control.let_go(self)
