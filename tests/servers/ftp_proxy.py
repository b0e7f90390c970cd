"""A proxy in front of an FTP server, for both kinds of its connections, that breaks either on command."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.servers.proxy import TcpProxy

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tests.servers.ftp_daemon import FtpDaemon


class FtpProxy:
    """Clients connect to `host:port`, and then to `host` for data, at the port that the server says (EPSV).

    It stands at another address of loopback, at the same ports for data as the server, so no reply has to be changed
    and it works with TLS too. A client that takes the address from a PASV reply goes past it.

    Attributes:
        control: what breaks control connections.
        data: what breaks data connections.
    """

    def __init__(self, server: FtpDaemon) -> None:
        self.control = TcpProxy(server.host, server.port, at=server.proxy_host)
        self.data = TcpProxy(server.host, 0, at=server.proxy_host, ports=server.passive)
        self._stack = ExitStack()

    @property
    def host(self) -> str:
        return self.control.host

    @property
    def port(self) -> int:
        return self.control.port

    @property
    def place(self) -> dict[str, object]:
        """Where to connect, as properties of the connection."""
        return {"host": self.host, "port": self.port}

    def heal(self) -> None:
        """Forget every fault."""
        self.control.heal()
        self.data.heal()

    def wait_closed(self) -> None:
        """Return when no client is connected any more; AssertionError if one stays."""
        self.control.wait_open(0)
        self.data.wait_open(0)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.control)
            stack.enter_context(self.data)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
