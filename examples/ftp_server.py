"""An FTP server on this machine whose data connections break: pyftpdlib, which nobody here wrote, in a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer

from echo_connhandler import FtpConnProperties

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

USER, PASSWORD = "example", "not a secret"
PATIENCE = 20_000  # bytes that pass on each data connection


class UnreliableServer:
    """Serves a folder; of the data connections that have 20,000 bytes to carry, every other one breaks there.

    Attributes:
        broken: how many have broken.
    """

    def __init__(self, folder: Path) -> None:
        self.broken = self._large = 0
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmwMT")
        data = type("Data", (_UnreliableData,), {"owner": self})
        members = {"authorizer": authorizer, "use_sendfile": False, "dtp_handler": data}
        handler = type("Handler", (FTPHandler,), members)
        self._server = FTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._serve)
        self._ends = False

    def props(self) -> FtpConnProperties:
        """Say how to reach it."""
        host, port = self._server.address[:2]
        return FtpConnProperties(host=host, port=port, user=USER, password=PASSWORD, request_timeout=1)

    def is_to_break(self) -> bool:
        """Count a data connection that has carried its bytes, and say whether it is to break."""
        self._large += 1
        self.broken += self._large % 2
        return self._large % 2 == 1

    def _serve(self) -> None:
        while not self._ends:
            self._server.ioloop.loop(timeout=0.05, blocking=False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        self._thread.join()
        self._server.close_all()


class _UnreliableData(DTPHandler):  # type: ignore[misc] # untyped
    owner: UnreliableServer

    def __init__(self, *args: Any, **options: Any) -> None:
        self._left = PATIENCE
        super().__init__(*args, **options)

    def send(self, data: bytes) -> int:
        return self._counted(super().send(data[: self._left] if self._left else data))

    def recv(self, size: int) -> bytes:
        data: bytes = super().recv(min(size, self._left) if self._left else size)
        self._counted(len(data))
        return data

    def _counted(self, count: int) -> int:
        if self._left:
            self._left -= count
            if not self._left and self.owner.is_to_break():
                self.ioloop.call_later(0, self.handle_close)  # as if the network had; once what came is written
        return count
