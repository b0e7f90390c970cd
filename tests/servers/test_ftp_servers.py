"""The FTP servers do what they claim; each claim once, with the standard library's client."""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import socket
import ssl
from typing import Any

import psutil
import pytest

from tests.ftp_servers import FtpService
from tests.servers.ftp_daemon import FtpDaemon, UnpackedDaemon
from tests.servers.ftp_proftpd import ProftpdServer
from tests.servers.ftp_proxy import FtpProxy
from tests.servers.ftp_pyftpdlib import PyftpdlibServer
from tests.servers.ftp_vsftpd import VsftpdServer

KINDS: list[type[FtpDaemon]] = [PyftpdlibServer, VsftpdServer, ProftpdServer]


def data_connection(client: ftplib.FTP, command: str, *, reuse: bool) -> socket.socket:
    """Begin a transfer over TLS, as strict servers want it or not."""
    connection, _ = ftplib.FTP.ntransfercmd(client, command)
    control: Any = client.sock
    session = control.session if reuse else None
    return control.context.wrap_socket(connection, server_hostname="127.0.0.1", session=session)  # type: ignore[no-any-return]


def test_what_a_client_stores_is_on_disk_and_what_is_on_disk_is_served(ftp_service: FtpService) -> None:
    (ftp_service.folder / "there.txt").write_bytes(b"there")
    with ftp_service.server.client() as client:
        assert client.pwd() == ftp_service.server.root
        client.storbinary(f"STOR {ftp_service.path('here.txt')}", io.BytesIO(b"here"))
        got: list[bytes] = []
        client.retrbinary(f"RETR {ftp_service.path('there.txt')}", got.append)
    assert b"".join(got) == b"there"
    assert (ftp_service.folder / "here.txt").read_bytes() == b"here"
    assert (ftp_service.folder / "here.txt").owner() == (ftp_service.folder / "there.txt").owner()


def test_a_folder_is_empty_at_first(any_ftp_service: FtpService) -> None:
    assert os.listdir(any_ftp_service.folder) == []


def test_features_are_those_that_the_service_claims(ftp_service: FtpService) -> None:
    with ftp_service.server.client() as client:
        features = client.sendcmd("FEAT")
    assert ("MLST" in features, "MFMT" in features) == (ftp_service.mlsd, ftp_service.mfmt)
    offered = [line.split()[1] for line in features.splitlines() if line.strip().startswith("HASH")]
    names = tuple(name.rstrip("*") for name in "".join(offered).split(";") if name)
    assert names == ftp_service.hashes


def test_a_wrong_password_is_refused(any_ftp_service: FtpService) -> None:
    any_ftp_service.server.password, right = "wrong", any_ftp_service.server.password
    try:
        with pytest.raises(ftplib.error_perm, match="530"), any_ftp_service.server.client():
            pass
    finally:
        any_ftp_service.server.password = right


def test_certificates_are_for_the_address(tls_ftp_service: FtpService) -> None:
    with tls_ftp_service.server.client() as client:
        control = client.sock
        assert isinstance(control, ssl.SSLSocket)
        assert ("IP Address", "127.0.0.1") in control.getpeercert()["subjectAltName"]  # type: ignore[index]


def test_a_data_connection_that_resumes_the_session_is_served(tls_ftp_service: FtpService) -> None:
    (tls_ftp_service.folder / "a").write_bytes(b"content")
    with tls_ftp_service.server.client() as client:
        client.sendcmd("PBSZ 0")
        client.sendcmd("PROT P")
        with data_connection(client, f"RETR {tls_ftp_service.path('a')}", reuse=True) as connection:
            assert connection.session_reused  # type: ignore[attr-defined]
            assert connection.recv(100) == b"content"
        assert client.getresp().startswith("226")


def test_one_that_does_not_is_refused_where_the_service_claims_so(tls_ftp_service: FtpService) -> None:
    (tls_ftp_service.folder / "a").write_bytes(b"content")
    with tls_ftp_service.server.client() as client:
        client.sendcmd("PBSZ 0")
        client.sendcmd("PROT P")
        got = b""
        try:
            with data_connection(client, f"RETR {tls_ftp_service.path('a')}", reuse=False) as connection:
                got = connection.recv(100)
        except OSError:
            pass
        assert (got == b"content") is not tls_ftp_service.checks_reuse
        if tls_ftp_service.checks_reuse:
            with pytest.raises(ftplib.Error, match="522|425|450"):
                client.getresp()


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_comes_back_on_the_same_port_with_its_files(kind: type[FtpDaemon]) -> None:
    with kind() as server:
        (server.home / "a").write_bytes(b"1")
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        with server.client() as client:
            server.kill()
            assert not [process for process in family if process.is_running()]
            with pytest.raises((EOFError, OSError)):
                client.voidcmd("NOOP")
        server.start()
        with server.client() as client:
            client.voidcmd("TYPE I")
            assert client.size(f"{server.root.rstrip('/')}/a") == 1
        folder = server.folder
    assert not folder.exists()


@pytest.mark.parametrize("kind", [VsftpdServer, ProftpdServer])
def test_an_account_may_not_write_where_the_disk_forbids_it(kind: type[UnpackedDaemon]) -> None:
    with kind(account="nobody") as server:
        (server.home / "locked").mkdir()
        (server.home / "locked").chmod(0o555)
        with server.client() as client:
            client.storbinary("STOR free", io.BytesIO(b"1"))
            with pytest.raises(ftplib.error_perm, match="55[03]"):
                client.storbinary("STOR locked/a", io.BytesIO(b"1"))


def test_permissions_are_those_that_it_was_given() -> None:
    with PyftpdlibServer(permissions="elr") as server, server.client() as client:
        with pytest.raises(ftplib.error_perm, match="550"):
            client.storbinary("STOR a", io.BytesIO(b"1"))


def test_the_proxy_passes_both_kinds_of_connections_and_breaks_either(any_ftp_service: FtpService) -> None:
    (any_ftp_service.folder / "a").write_bytes(b"0123456789")
    server = any_ftp_service.server

    def fetch(client: ftplib.FTP) -> bytes:
        client.voidcmd("TYPE I")
        if server.tls == "none":
            connection, _ = client.ntransfercmd(f"RETR {any_ftp_service.path('a')}")
        else:
            connection = data_connection(client, f"RETR {any_ftp_service.path('a')}", reuse=True)
        with connection:
            got = b""
            while data := connection.recv(100):
                got += data
        client.getresp()
        return got

    with FtpProxy(server) as proxy:
        with server.client(proxy.host, proxy.port) as client:
            if server.tls != "none":
                client.sendcmd("PBSZ 0")
                client.sendcmd("PROT P")
            assert fetch(client) == b"0123456789"
            assert proxy.data.bytes_down >= 10
            proxy.data.cut("down", after=4)
            if server.tls == "none":
                assert fetch(client) == b"0123"
            else:
                with pytest.raises(OSError):
                    fetch(client)
            proxy.control.cut("up", after=2)
            with pytest.raises((EOFError, OSError)):
                for _ in range(3):
                    with contextlib.suppress(ftplib.Error):  # what the server says of the transfer that was cut
                        client.voidcmd("NOOP")
        proxy.wait_closed()
