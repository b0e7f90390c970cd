"""FTP for threads: `ftp_talks.py` run by waiting for its sockets, and an ftplib client on the same connection."""

from __future__ import annotations

import select
import selectors
import socket
import time
from typing import TYPE_CHECKING, TypeVar

from .ftp_data import Data, Listener, listening, opening
from .ftp_raw_ftplib import client_of
from .ftp_talks import Control, Need, Talk

if TYPE_CHECKING:
    import ftplib

    from .._core.ftp.replies import Reply
    from .registry import FtpSettings

__all__ = ("FtplibConnection", "connect")

T = TypeVar("T")


def connect(settings: FtpSettings) -> FtplibConnection:
    """Connect, and read nothing yet; see `ftp_protocol.FtpConnection`."""
    control = Control(settings)
    host, port = settings.props.address
    with control.told("no connection"):
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    _run(control, control.connecting(addresses))
    return FtplibConnection(control)


def _wait(need: Need) -> None:
    seconds = need.until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    if hasattr(select, "poll"):  # for any number of open files, and faster than making a selector
        poller = select.poll()
        poller.register(need.fileno, select.POLLOUT if need.write else select.POLLIN)
        happened = bool(poller.poll(min(seconds, 86400) * 1000))
    else:
        with selectors.DefaultSelector() as selector:
            selector.register(need.fileno, selectors.EVENT_WRITE if need.write else selectors.EVENT_READ)
            happened = bool(selector.select(seconds))
    if not happened and need.until <= time.monotonic():
        raise TimeoutError("timed out")


def _run(control: Control, talk: Talk[T]) -> T:
    """Go through a talk."""
    control.enter()
    try:
        need = next(talk)
        while True:
            try:
                _wait(need)
            except BaseException as error:  # noqa: BLE001 - the talk judges it
                need = talk.throw(error)
            else:
                need = talk.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        control.leave()


class FtplibConnection:
    """See `ftp_protocol.FtpConnection`."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._raw: ftplib.FTP | None = None

    @property
    def encoding(self) -> str:
        """Of text that is not ASCII."""
        return self._control.reader.encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        self._control.reader.encoding = name

    @property
    def private(self) -> bool:
        """Whether the library's own data connections are encrypted."""
        return self._control.private

    @private.setter
    def private(self, value: bool) -> None:
        self._control.private = value

    @property
    def raw(self) -> ftplib.FTP:
        """An ftplib client on this connection."""
        if self._raw is None:
            self._raw = client_of(self, self._control)
        return self._raw

    @property
    def dead(self) -> bool:
        """Whether it's closed, lost or out of step."""
        return self._control.dead

    @property
    def peer(self) -> str:
        """The server's address."""
        return self._control.peer

    @property
    def local(self) -> str:
        """Our own address."""
        return self._control.local

    @property
    def tls(self) -> bool:
        """Whether it's encrypted."""
        return self._control.tls

    def send(self, line: str) -> None:
        """Send one command."""
        data = self._control.encoded(line)
        _run(self._control, self._control.sending(data))

    def receive(self) -> Reply:
        """Return the next reply."""
        return _run(self._control, self._control.receiving())

    def secure(self) -> None:
        """Encrypt the connection."""
        _run(self._control, self._control.securing())

    def open_data(self, port: int) -> FtplibData:
        """Connect to the server's own address."""
        return FtplibData(self._control, _run(self._control, opening(self._control, port)))

    def listen_data(self) -> FtplibListener:
        """Listen on our own address."""
        return FtplibListener(self._control, listening(self._control))

    def limit(self, seconds: float | None) -> None:
        """Let nothing wait beyond so many seconds from now."""
        self._control.limit(seconds)

    def close(self) -> None:
        """Close it and its data connections; what runs in another thread ends."""
        self._control.kill()


class FtplibData:
    """See `ftp_protocol.FtpData`."""

    def __init__(self, control: Control, data: Data) -> None:
        self._control = control
        self._data = data

    @property
    def clean(self) -> bool:
        """Whether its end was told."""
        return self._data.clean

    @property
    def closed(self) -> bool:
        """Whether it's over."""
        return self._data.closed

    def detach(self) -> socket.socket:
        """Give its socket to the library, which waits by itself."""
        return self._data.detach()

    def secure(self) -> None:
        """Shake hands."""
        _run(self._control, self._data.securing())

    def read(self) -> bytes:
        """Return what comes next."""
        return _run(self._control, self._data.reading())

    def write(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        _run(self._control, self._data.writing(data))

    def finish(self) -> None:
        """Tell the end and close."""
        _run(self._control, self._data.finishing())

    def drop(self) -> None:
        """Close it now."""
        self._data.drop()


class FtplibListener:
    """See `ftp_protocol.FtpListener`."""

    def __init__(self, control: Control, listener: Listener) -> None:
        self._control = control
        self._listener = listener

    @property
    def host(self) -> str:
        """Our address."""
        return self._listener.host

    @property
    def port(self) -> int:
        """Where we listen."""
        return self._listener.port

    def accept(self) -> FtplibData:
        """Return the server's connection."""
        return FtplibData(self._control, _run(self._control, self._listener.accepting()))

    def close(self) -> None:
        """Stop listening."""
        self._listener.drop()
