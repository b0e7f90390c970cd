"""An FTP server in a temporary folder on a free loopback port: what all kinds share. No product is known here."""

from __future__ import annotations

import contextlib
import ftplib
import os
import random
import signal
import socket
import ssl
import subprocess
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.servers import system
from tests.servers.daemon import Daemon
from tests.servers.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FtpTls = Literal["none", "explicit", "implicit"]

# No file grows beyond 128 KB; a program that tries is told so, and not killed (SIGXFSZ).
SMALL_FILES = ("sh", "-c", 'trap "" XFSZ; ulimit -f 256; exec "$@"', "sh")

_PASSIVE = 64  # ports for data connections
# Debian's packages, unpacked by scripts/servers.sh.
_UNPACKED = Path(__file__).resolve().parents[2] / ".servers"


class FtpDaemon(Daemon):
    """An FTP server that keeps its user's files under `home`, a folder on disk.

    Its data connections come in at the ports of `passive`, so that a proxy can stand in front of all of them: at
    `proxy_host`, which its certificate is for as well.

    It runs as whoever runs the tests, so that both own the same files, and sees the whole disk if its product can't
    do otherwise: `root` says how clients name `home`.

    Args:
        tls: how it's encrypted; with "explicit" and "implicit", on the data connections as well, always.
        account: as whom it runs if we are root: one who may not write everywhere.
        within: a command that runs the one that follows it, such as SMALL_FILES or small_disk().
    """

    stop_signal = signal.SIGTERM
    quit_signal = signal.SIGKILL

    def __init__(self, *, tls: FtpTls = "none", account: str | None = None, within: Sequence[str] = ()) -> None:
        super().__init__()
        self.tls: FtpTls = tls
        self.within = within
        self.passive = system.free_ports(_PASSIVE)
        # An address of loopback that no other server's proxy has.
        self.proxy_host = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        self.accounts = (account,) if account else ()  # type: ignore[misc]

    @property
    def identity(self) -> system.Identity:
        return system.identity(self.accounts) if self.accounts else {}

    @property
    def home(self) -> Path:
        """Where the user's files are on disk."""
        return self.folder / "home"

    @property
    def root(self) -> str:
        """How clients name `home`: where they are after the login."""
        return str(self.home)

    @property
    def files(self) -> TlsFiles:
        """The certificates, from the first start on."""
        return TlsFiles.of(self.folder)

    def prepare(self) -> None:
        self.home.mkdir()
        TlsFiles.make(self.folder, self.user, self.proxy_host)
        self.configure()
        (self.folder / "log").touch()  # theirs too: some write to it by name
        system.own(self.folder, self.identity)

    def configure(self) -> None:
        """Write what the server reads when it starts, but for what depends on the port."""
        return

    def command(self) -> Sequence[str]:
        return [*self.within, *self.line()]

    @abstractmethod
    def line(self) -> Sequence[str]:
        """Give the program and its arguments; it must stay in the foreground."""

    def answers(self) -> bool:
        with contextlib.suppress(OSError, EOFError, ftplib.Error), self.client():
            return True
        return False

    @contextlib.contextmanager
    def client(self, host: str = "", port: int = 0) -> Iterator[ftplib.FTP]:
        """Log in as the user, here or where a proxy stands: the standard library's client.

        Its data connections work on plain FTP only.
        """
        client = self._client()
        client.connect(host or self.host, port or self.port, timeout=30)
        with client:
            if self.tls == "explicit":
                assert isinstance(client, ftplib.FTP_TLS)
                client.auth()
            client.login(self.user, self.password)
            yield client

    def _client(self) -> ftplib.FTP:
        if self.tls == "none":
            return ftplib.FTP()
        context = ssl.create_default_context(cafile=self.files.ca)
        return ftplib.FTP_TLS(context=context) if self.tls == "explicit" else _ImplicitClient(context)


class _ImplicitClient(ftplib.FTP):
    """Knows what the standard library doesn't: TLS from the first byte."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: object = None) -> str:
        self.host, self.port = host, port
        self.sock = self._context.wrap_socket(socket.create_connection((host, port), timeout), server_hostname=host)
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class UnpackedDaemon(FtpDaemon):
    """One whose program is unpacked from Debian's package, or else is on the PATH."""

    package: str

    @property
    def unpacked(self) -> Path | None:
        """Where the package is unpacked."""
        folder = _UNPACKED / self.package
        return folder if folder.is_dir() else None

    @property
    def libraries(self) -> list[str]:
        """The folders of the libraries that came with it."""
        return sorted({str(file.parent) for file in self.unpacked.glob("usr/lib/*/*.so.*")}) if self.unpacked else []

    @property
    def program(self) -> str:
        """The server's program."""
        return str(self.unpacked / "usr/sbin" / self.package) if self.unpacked else system.program(self.package)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"LD_LIBRARY_PATH": ":".join(self.libraries)}


def small_disk(size: int) -> tuple[str, ...]:
    """Run a server so that its `home` is a disk of its own with so many bytes, in memory; it's gone with the server.

    What is on it is seen under `disk_of`, as it's mounted for the server alone. Raises MissingServerError where the
    system lets nobody mount.
    """
    unshare = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    tried = subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True)
    if tried.returncode:
        raise system.MissingServerError(f"no disk can be mounted here: {tried.stderr.decode(errors='replace')}")
    return (*unshare, "sh", "-c", f'mount -t tmpfs -o size={size},mode=777 tmpfs home && exec "$@"', "sh")


def disk_of(server: FtpDaemon) -> Path:
    """Return where a server's `home` is seen by others, if it runs with a small_disk()."""
    return Path(f"/proc/{server.pid}/root{server.home}")
