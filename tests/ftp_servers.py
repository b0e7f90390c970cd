"""Fixtures that give tests real FTP servers: three products, without and with both kinds of TLS. See docs/own-tests.md.

A server starts when the first test of a process asks for it, and serves all that come after: each test has a folder of
its own there. Tests that kill, restart or reconfigure a server take `own_ftp_service`, or start one with the classes.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler._async import ftp_data as async_data
from echo_connhandler._core.ftp.properties import FtpConnProperties
from echo_connhandler._sync import ftp_data
from tests.servers.ftp_daemon import FtpDaemon, FtpTls
from tests.servers.ftp_proftpd import ProftpdServer
from tests.servers.ftp_pyftpdlib import PyftpdlibServer
from tests.servers.ftp_vsftpd import VsftpdServer

__all__ = ("FTP_SERVICES", "FtpService", "FtpServers", "service_of")

_KINDS: dict[str, type[FtpDaemon]] = {"pyftpdlib": PyftpdlibServer, "vsftpd": VsftpdServer, "proftpd": ProftpdServer}
_TLS: tuple[FtpTls, ...] = ("none", "explicit", "implicit")


@dataclass(frozen=True)
class FtpService:
    """A folder on an FTP server, and what that server can.

    Attributes:
        name: which one it is: `product`, or `product-tls`.
        product: pyftpdlib, vsftpd or proftpd.
        server: what runs.
        folder: the test's own folder, on disk; empty at first, and writable for both sides.
        root: the same folder as the server names it, absolute, without a slash at its end.
        mlsd: whether it lists by MLSD and tells of one path by MLST; else LIST alone.
        hashes: what FEAT offers for HASH.
        mfmt: whether it sets times by MFMT; vsftpd sets them by MDTM with two arguments.
        checks_reuse: whether a data connection must resume the control connection's TLS session.
    """

    name: str
    product: str
    server: FtpDaemon
    folder: Path
    root: str

    @property
    def mlsd(self) -> bool:
        return self.product != "vsftpd"

    @property
    def mfmt(self) -> bool:
        return self.product != "vsftpd"

    @property
    def hashes(self) -> tuple[str, ...]:
        return ("CRC32", "MD5", "SHA-1", "SHA-256", "SHA-512") if self.product == "proftpd" else ()

    @property
    def checks_reuse(self) -> bool:
        return self.server.tls != "none" and self.product != "pyftpdlib"

    def props(self, **values: Any) -> FtpConnProperties:
        """Say how to reach it; `values` go before what is right."""
        right: dict[str, Any] = {
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "password": self.server.password,
            "tls": self.server.tls,
            "conn_timeout": 10,
            "request_timeout": 20,
        }
        if self.server.tls != "none":
            right["verify_ssl"] = self.server.files.ca
        return FtpConnProperties(**{**right, **values})

    def make(self, *, properties: dict[str, Any] | None = None, **options: Any) -> Any:
        """Give an FtpHandler that is not connected yet; takes its options, and `properties` of the connection."""
        from echo_connhandler import FtpHandler

        return FtpHandler(self.props(**(properties or {})), skip_connect=True, **options)

    def path(self, *names: str) -> str:
        """Name something in the folder as the server does."""
        return "/".join((self.root, *names))


class FtpServers:
    """The servers of this process, started at first need."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, FtpTls], FtpDaemon] = {}
        self._folders = (f"t{number}" for number in itertools.count(1))
        self._stack = ExitStack()

    def server(self, product: str, tls: FtpTls) -> FtpDaemon:
        """Give the one of this kind."""
        if (product, tls) not in self._running:
            self._running[product, tls] = self._stack.enter_context(_KINDS[product](tls=tls))
        return self._running[product, tls]

    def service(self, product: str, tls: FtpTls) -> FtpService:
        """Give a new folder on the one of this kind."""
        return service_of(self.server(product, tls), product, next(self._folders))

    def close(self) -> None:
        """End them all."""
        self._stack.close()


def service_of(server: FtpDaemon, product: str, folder: str) -> FtpService:
    """Make a folder on this server."""
    place = server.home / folder
    place.mkdir()
    name = product if server.tls == "none" else f"{product}-{server.tls}"
    return FtpService(name, product, server, place, f"{server.root.rstrip('/')}/{folder}")


def _lend(product: str, tls: FtpTls) -> Callable[[pytest.FixtureRequest], FtpService]:
    def lend(request: pytest.FixtureRequest) -> FtpService:
        servers: FtpServers = request.getfixturevalue("ftp_servers")
        service = servers.service(product, tls)
        request.addfinalizer(lambda: shutil.rmtree(service.folder))
        return service

    return lend


FTP_SERVICES: dict[str, Callable[[pytest.FixtureRequest], FtpService]] = {
    product if tls == "none" else f"{product}-{tls}": _lend(product, tls) for tls in _TLS for product in _KINDS
}
"""All of them, by name: each gives a service whose folder is gone after the test."""


@pytest.fixture(scope="session")
def ftp_servers() -> Iterator[FtpServers]:
    """The servers that all tests of this process share."""
    servers = FtpServers()
    yield servers
    servers.close()


@pytest.fixture(params=_KINDS)
def ftp_service(request: pytest.FixtureRequest) -> FtpService:
    """Each product in turn, without TLS."""
    return FTP_SERVICES[request.param](request)


@pytest.fixture(params=[name for name in FTP_SERVICES if "-" in name])
def tls_ftp_service(request: pytest.FixtureRequest) -> FtpService:
    """Each product in turn, with each kind of TLS."""
    return FTP_SERVICES[request.param](request)


@pytest.fixture(params=FTP_SERVICES)
def any_ftp_service(request: pytest.FixtureRequest) -> FtpService:
    """All of them in turn."""
    return FTP_SERVICES[request.param](request)


@pytest.fixture(params=_KINDS)
def own_ftp_service(request: pytest.FixtureRequest) -> Iterator[FtpService]:
    """Each product in turn, without TLS, on a server of the test's own: to kill, stop and start."""
    with _KINDS[request.param]() as server:
        yield service_of(server, request.param, "own")


@pytest.fixture
def impatient_ftp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for replies that never come: pyftpdlib owes one for an upload that was broken off."""
    for module in (async_data, ftp_data):
        monkeypatch.setattr(module, "PATIENCE", 0.3)
