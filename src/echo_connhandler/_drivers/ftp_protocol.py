"""What an FTP driver owes the session: sockets, TLS, timeouts, lines and replies. It knows no command by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .._core.ftp.replies import Reply

__all__ = ("AsyncFtpConnection", "AsyncFtpData", "AsyncFtpListener", "FtpConnection", "FtpData", "FtpListener")


class FtpConnection(Protocol):
    """The control connection of one session. One thread at a time uses it; `close` may come from any.

    Made by `FtpSettings.open_connection()`: connected, with nothing read yet. With tls="implicit" it is encrypted.

    Whatever is raised is ours: `ConnectionFailedError` (a refused certificate has an `ssl.SSLCertVerificationError` as
    its `__cause__`), `TimeoutExceededError`, and at connecting `ConnectTimeoutError`. Whatever `send`, `receive` and
    `secure` raise leaves the connection dead, as it's no longer known which reply belongs to which command; but for a
    ValueError, which is raised before anything is sent.

    Attributes:
        raw: a library's client (`ftplib.FTP`; on asyncio `aioftp.Client`), whose own calls work between ours.
        dead: closed, lost or out of step; known without I/O.
        peer: the server's address.
        local: our own address, as the server sees it where no router translates it.
        tls: whether the control connection is encrypted.
        private: whether data connections are to be encrypted: the session sets it after `PROT P`, for `raw`.
        encoding: of text that is not ASCII; may be set. Bytes that don't decode are surrogates (`surrogateescape`).
    """

    encoding: str
    private: bool

    @property
    def raw(self) -> Any: ...

    @property
    def dead(self) -> bool: ...

    @property
    def peer(self) -> str: ...

    @property
    def local(self) -> str: ...

    @property
    def tls(self) -> bool: ...

    def send(self, line: str) -> None:
        """Send one command.

        Raises:
            UnaskedError: the server has hung up, or has said something unasked (421, or a reply too many), which the
                error's text has. Nothing was sent. It's a ConnectionFailedError.
            ValueError: it has CR, LF or NUL in it, or can't be encoded; nothing was sent.
        """

    def receive(self) -> Reply:
        """Return the next reply. One that is cut short or malformed is a lost connection."""

    def secure(self) -> None:
        """Encrypt the connection: after the server's 234 to AUTH TLS."""

    def open_data(self, port: int) -> FtpData:
        """Connect to the server's own address, whatever it may have told; no TLS yet.

        When it fails the control connection stays as it is.
        """

    def listen_data(self) -> FtpListener:
        """Listen on our own address (active mode)."""

    def limit(self, seconds: float | None) -> None:
        """Let what still waits for the network when so many seconds have passed from now raise TimeoutExceededError.

        It holds for all calls until it is set anew, data connections' included. None: no limit, as it comes.
        """

    def close(self) -> None:
        """Close it and its data connections at once, saying nothing; from any thread: what runs in another ends.

        A second time is no error.
        """


class FtpData(Protocol):
    """A data connection; for one direction. Errors in it don't make the control connection dead.

    Attributes:
        clean: whether the end that `read` found was told as TLS has it (close_notify); True without TLS. An end that
            wasn't may be anybody's: what came may lack its tail.
        closed: whether it was closed, by either `read` at the end, `finish` or `drop`.
    """

    @property
    def clean(self) -> bool: ...

    @property
    def closed(self) -> bool: ...

    def secure(self) -> None:
        """Shake hands, resuming the control connection's TLS session; called after the command's 1xx reply."""

    def read(self) -> bytes:
        """Return what comes next, up to 256 KiB; b"" at the end, when it is closed too."""

    def write(self, data: bytes | memoryview) -> None:
        """Send all of it. Pieces of some 256 KiB are fastest."""

    def finish(self) -> None:
        """After the last write: tell the end, wait until the server has it, and close."""

    def drop(self) -> None:
        """Close it now. A second time is no error."""


class FtpListener(Protocol):
    """Where a server connects to in active mode.

    Attributes:
        host: our address, for PORT or EPRT.
        port: the port.
    """

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    def accept(self) -> FtpData:
        """Return the server's connection, and close the listener. Connections from elsewhere are closed unread.

        Raises:
            TimeoutExceededError: none came within `conn_timeout`.
        """

    def close(self) -> None:
        """Stop listening. A second time is no error."""


class AsyncFtpConnection(Protocol):
    """The twin of `FtpConnection`; made by `FtpSettings.async_open_connection()`.

    Cancelling a call leaves it dead, and nothing open.
    """

    encoding: str
    private: bool

    @property
    def raw(self) -> Any: ...

    @property
    def dead(self) -> bool: ...

    @property
    def peer(self) -> str: ...

    @property
    def local(self) -> str: ...

    @property
    def tls(self) -> bool: ...

    async def send(self, line: str) -> None: ...

    async def receive(self) -> Reply: ...

    async def secure(self) -> None: ...

    async def open_data(self, port: int) -> AsyncFtpData: ...

    async def listen_data(self) -> AsyncFtpListener: ...

    def limit(self, seconds: float | None) -> None: ...

    async def aclose(self) -> None: ...


class AsyncFtpData(Protocol):
    """The twin of `FtpData`. A cancelled call leaves the control connection dead, and nothing open."""

    @property
    def clean(self) -> bool: ...

    @property
    def closed(self) -> bool: ...

    async def secure(self) -> None: ...

    async def read(self) -> bytes: ...

    async def write(self, data: bytes | memoryview) -> None: ...

    async def finish(self) -> None: ...

    def drop(self) -> None: ...


class AsyncFtpListener(Protocol):
    """The twin of `FtpListener`."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    async def accept(self) -> AsyncFtpData: ...

    async def aclose(self) -> None: ...
