"""The ftplib client that users get as `connection`: its own calls run over our sockets, with our strict replies."""

from __future__ import annotations

import ftplib
import socket
from typing import TYPE_CHECKING, Any

from .ftp_tls import ftp_tls_context

if TYPE_CHECKING:
    from .._core.ftp.replies import Reply
    from .ftp_ftplib import FtplibConnection, FtplibData
    from .ftp_talks import Control

__all__ = ("PlainClient", "TlsClient", "client_of")


def client_of(connection: FtplibConnection, control: Control) -> PlainClient | TlsClient:
    """Return a client on a connection."""
    return PlainClient(connection, control) if control.settings.props.tls == "none" else TlsClient(connection, control)


class _OnOurs:
    """What both kinds of client do otherwise than ftplib has it.

    ftplib takes a reply that was cut in the middle of a line as whole, and its data connections don't resume the TLS
    session, which most servers refuse.
    """

    _ours: FtplibConnection
    _control: Control

    def _take(self: Any, connection: FtplibConnection, control: Control) -> None:
        props = control.settings.props
        self._ours, self._control = connection, control
        self.host, self.port = props.address
        self.af = control.sock.family
        self.passiveserver = props.passive
        self.timeout = props.request_timeout

    @property
    def sock(self) -> socket.socket | None:
        """The control connection's socket."""
        sock: socket.socket | None = None if self._control.dead else self._control.sock
        return sock

    @sock.setter
    def sock(self, value: socket.socket | None) -> None:
        if value is not None:
            raise ValueError("this client's connection is its handler's: handler.reconnect() makes a new one")
        self._control.kill()

    @property
    def encoding(self) -> str:
        """Of text that is not ASCII."""
        return self._ours.encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        if "_ours" in self.__dict__:  # the library sets it while it is made
            self._ours.encoding = name

    def connect(self, *_: Any, **__: Any) -> str:
        """Refuse to connect elsewhere."""
        raise ValueError("this client is connected: handler.reconnect() makes a new connection")

    def putline(self, line: str) -> None:
        """Send one command."""
        self._ours.send(line)

    def getmultiline(self) -> str:
        """Return a reply as the library has it: with its codes, and line feeds between."""
        return _written(self._ours.receive())

    def ntransfercmd(self: Any, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        """Begin a transfer and return the data connection's socket, and the size if the server tells it."""
        data: FtplibData | None = None
        listener = None
        try:
            if self.passiveserver:
                data = self._ours.open_data(self.makepasv()[1])
            else:
                listener = self._ours.listen_data()
                announce = self.sendport if self.af == socket.AF_INET else self.sendeprt
                announce(listener.host, listener.port)
            if rest is not None:
                self.sendcmd(f"REST {rest}")
            reply = self.sendcmd(cmd)
            if reply[0] == "2":  # some servers say so before the 1xx
                reply = self.getresp()
            if reply[0] != "1":
                raise ftplib.error_reply(reply)  # noqa: S321
            if listener is not None:
                data = listener.accept()
            size = ftplib.parse150(reply) if reply[:3] == "150" else None  # noqa: S321
            return self._ready(data), size
        except BaseException:
            if data is not None:
                data.drop()
            raise
        finally:
            if listener is not None:
                listener.close()

    def _ready(self, data: FtplibData) -> socket.socket:
        if self._ours.private:
            data.secure()
        return data.detach()


class PlainClient(_OnOurs, ftplib.FTP):  # type: ignore[misc] # narrower types than ftplib's
    """A client without TLS."""

    def __init__(self, connection: FtplibConnection, control: Control) -> None:
        super().__init__()
        self._take(connection, control)


class TlsClient(_OnOurs, ftplib.FTP_TLS):  # type: ignore[misc] # narrower types than ftplib's
    """A client with TLS."""

    def __init__(self, connection: FtplibConnection, control: Control) -> None:
        super().__init__(context=ftp_tls_context(control.settings.props))
        self._take(connection, control)

    @property
    def _prot_p(self) -> bool:
        return self._ours.private

    @_prot_p.setter
    def _prot_p(self, value: bool) -> None:
        if "_ours" in self.__dict__:
            self._ours.private = value

    def auth(self) -> str:
        """Encrypt the control connection."""
        if self._ours.tls:
            raise ValueError("Already using TLS")
        reply = self.voidcmd("AUTH TLS")
        self._ours.secure()
        return reply


def _written(reply: Reply) -> str:
    if len(reply.lines) == 1:
        return f"{reply.code} {reply.lines[0]}"
    return "\n".join((f"{reply.code}-{reply.lines[0]}", *reply.inner, f"{reply.code} {reply.lines[-1]}"))
