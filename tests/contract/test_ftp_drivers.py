"""What `_drivers/ftp_protocol.py` asks of a driver, on servers that nobody here wrote; for threads and for tasks."""

from __future__ import annotations

import ftplib
import itertools
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from sniffio import current_async_library

from echo_connhandler._core.ftp.replies import size
from echo_connhandler._drivers.registry import FtpSettings
from echo_connhandler.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    MissingExtraError,
)
from tests.contract.ftp_ways import (  # noqa: F401 - fixtures
    CONTENT,
    Connect,
    anyio_backend,
    ask,
    begin,
    begin_active,
    connect,
    log_in,
    read_all,
    store,
    world,
)
from tests.ftp_servers import FTP_SERVICES, FtpService, service_of
from tests.servers.ftp_vsftpd import VsftpdServer
from tests.servers.tls import TlsFiles

FOLDERS = itertools.count()


@pytest.mark.parametrize("start", [begin, begin_active])
async def test_what_goes_up_comes_down(connect: Connect, any_ftp_service: FtpService, start: Any) -> None:
    props, path = any_ftp_service.props(), any_ftp_service.path("x.bin")
    async with connect(props) as connection:
        await log_in(connection, props)
        for content in (CONTENT, b"", b"x"):
            await store(connection, path, content, start)
            assert size(await ask(connection, f"SIZE {path}")) == len(content)
            data = await start(connection, f"RETR {path}")
            assert await read_all(data) == content
            assert data.clean
            assert (await connection.receive()).code == 226
        await ask(connection, "QUIT")
        assert not connection.dead
    assert connection.dead


@pytest.fixture(scope="module")
def any_ciphers() -> Iterator[VsftpdServer]:
    """As it comes vsftpd has no TLS 1.2 for the tests' certificates, whose keys are of elliptic curves."""
    with VsftpdServer(tls="explicit", settings={"ssl_ciphers": "HIGH"}) as server:
        yield server


@pytest.fixture(params=["pyftpdlib", "vsftpd", "proftpd"])
def explicit(request: pytest.FixtureRequest) -> FtpService:
    if request.param != "vsftpd":
        return FTP_SERVICES[f"{request.param}-explicit"](request)
    server: VsftpdServer = request.getfixturevalue("any_ciphers")
    return service_of(server, "vsftpd", f"t{next(FOLDERS)}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_data_connections_resume_the_session_of_either_version(
    connect: Connect, explicit: FtpService, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=explicit.server.files.ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = context.maximum_version = version
    props, path = explicit.props(verify_ssl=context), explicit.path("x")
    async with connect(props) as connection:
        await log_in(connection, props)
        for number in range(4):
            await store(connection, path, CONTENT[:number])
            data = await begin(connection, f"RETR {path}")
            sock = getattr(data, "inner", data)._data.sock
            assert (sock.version(), sock.session_reused) == (version.name.replace("_", "."), True)
            assert await read_all(data) == CONTENT[:number]
            await connection.receive()


async def test_many_lists_leave_replies_in_step(connect: Connect, ftp_service: FtpService) -> None:
    props = ftp_service.props()
    (ftp_service.folder / "näme").touch()
    async with connect(props) as connection:
        await log_in(connection, props)
        for _ in range(20):
            data = await begin(connection, f"LIST {ftp_service.root}")
            assert "näme".encode() in await read_all(data)
            assert (await connection.receive()).code == 226
        await ask(connection, "NOOP")


async def test_leaving_a_download_early_keeps_the_control_connection(
    connect: Connect, any_ftp_service: FtpService
) -> None:
    props, path = any_ftp_service.props(), any_ftp_service.path("x")
    (any_ftp_service.folder / "x").write_bytes(CONTENT * 10)
    async with connect(props) as connection:
        await log_in(connection, props)
        data = await begin(connection, f"RETR {path}")
        assert await data.read()
        data.drop()
        data.drop()
        assert data.closed
        try:
            assert (await connection.receive()).code in (226, 426)
            await ask(connection, "NOOP")
        except ConnectionFailedError:  # what ProFTPD does now and then when its TLS data connection breaks
            assert any_ftp_service.product == "proftpd"
            assert any_ftp_service.server.tls != "none"


async def test_a_refused_data_port_keeps_the_control_connection(connect: Connect, ftp_service: FtpService) -> None:
    props = ftp_service.props()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with connect(props) as connection:
        await log_in(connection, props)
        with pytest.raises(ConnectionFailedError, match=f"the server: data connection to port {port}"):
            await connection.open_data(port)
        await ask(connection, "NOOP")


# The library's client


async def test_the_librarys_own_calls_work_between_ours(
    connect: Connect, any_ftp_service: FtpService, world: str
) -> None:
    service = any_ftp_service
    props = service.props()
    async with connect(props) as connection:
        await log_in(connection, props)
        raw = connection.raw
        assert raw is connection.raw
        if world == "asyncio":
            await use_aioftp(raw, service)
        else:
            await to_thread.run_sync(use_ftplib, raw, service)
        await store(connection, service.path("ours"), CONTENT)
        assert (service.folder / "ours").read_bytes() == CONTENT


def use_ftplib(raw: Any, service: FtpService) -> None:
    with pytest.raises(ValueError, match="reconnect"):
        raw.connect("localhost")
    for passive in (True, False):
        raw.set_pasv(passive)
        raw.storbinary(f"STOR {service.path('up')}", _Reader(CONTENT))
        got = bytearray()
        assert raw.retrbinary(f"RETR {service.path('up')}", got.extend, rest=5).startswith("226")
        assert bytes(got) == CONTENT[5:]
        raw.cwd(service.root)
        assert raw.nlst() == ["up"]
        lines: list[str] = []
        raw.retrlines("LIST", lines.append)
        assert len(lines) == 1
    assert raw.pwd() == service.root
    raw.rename("up", "ünder")
    assert (service.folder / "ünder").stat().st_size == len(CONTENT)
    raw.voidcmd("TYPE I")
    assert raw.size("ünder") == len(CONTENT)
    raw.delete("ünder")


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._left = content

    def read(self, count: int) -> bytes:
        piece, self._left = self._left[:count], self._left[count:]
        return piece


async def use_aioftp(raw: Any, service: FtpService) -> None:
    with pytest.raises(ValueError, match="reconnect"):
        await raw.connect("localhost")
    async with raw.upload_stream(service.path("up")) as stream:
        await stream.write(CONTENT[:100])
        await stream.write(CONTENT[100:])
    async with raw.download_stream(service.path("up"), offset=5) as stream:
        assert await stream.read(-1) == CONTENT[5:]
    async with raw.download_stream(service.path("up")) as stream:
        assert await stream.readexactly(10) == CONTENT[:10]
        blocks = [block async for block in stream.iter_by_block(1000)]
        assert b"".join(blocks) == CONTENT[10:]
    await raw.change_directory(service.root)
    listed = [path.name for path, _ in await raw.list()]
    assert [name for name in listed if name not in (".", "..")] == ["up"]
    assert str(await raw.get_current_directory()) == service.root
    await raw.rename("up", "ünder")
    assert (service.folder / "ünder").stat().st_size == len(CONTENT)
    await raw.remove_file("ünder")


async def test_aioftp_is_needed_for_its_own_client_only(
    ftp_service: FtpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aioftp", None)
    props = ftp_service.props()
    connection = await FtpSettings(props, "the server").async_open_connection()
    try:
        await log_in(connection, props)
        if current_async_library() == "trio":
            assert isinstance(connection.raw, ftplib.FTP)
        else:
            with pytest.raises(MissingExtraError, match=r"echo-connhandler\[ftp\]"):
                connection.raw
        await ask(connection, "NOOP")
    finally:
        await connection.aclose()


async def test_closing_the_librarys_client_closes_the_connection(connect: Connect, ftp_service: FtpService) -> None:
    props = ftp_service.props()
    async with connect(props) as connection:
        await log_in(connection, props)
        connection.raw.close()
        assert connection.dead
        with pytest.raises(ConnectionFailedError, match="the connection was closed"):
            await connection.send("NOOP")


async def test_ca_files_may_change_while_a_session_lasts(
    connect: Connect, explicit: FtpService, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(Path(explicit.server.files.ca).read_bytes())
    props = explicit.props(verify_ssl=str(file))
    async with connect(props) as connection:
        await log_in(connection, props)
        os.utime(file, ns=(0, 0))
        await store(connection, explicit.path("x"), b"x")


async def test_a_certificate_that_is_not_trusted_is_refused(
    connect: Connect, tls_ftp_service: FtpService, tmp_path: Path
) -> None:
    foreign = TlsFiles.make(tmp_path, "other")
    props = tls_ftp_service.props(verify_ssl=foreign.ca)
    with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
        async with connect(props) as connection:
            await log_in(connection, props)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    missing = tls_ftp_service.props(verify_ssl=str(tmp_path / "none.pem"))
    with pytest.raises(InvalidRequestError, match="verify_ssl: there is no file"):
        async with connect(missing) as connection:
            await log_in(connection, missing)
    props = tls_ftp_service.props(verify_ssl=False)
    async with connect(props) as connection:
        await log_in(connection, props)


async def test_other_tasks_run_while_a_fast_server_sends(ftp_service: FtpService) -> None:
    props, path = ftp_service.props(), ftp_service.path("x")
    (ftp_service.folder / "x").write_bytes(CONTENT * 4)
    connection = await FtpSettings(props, "the server").async_open_connection()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    try:
        await log_in(connection, props)
        data = await begin(connection, f"RETR {path}")
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            reads = 0
            while await data.read():
                reads += 1
            group.cancel_scope.cancel()
        assert turns >= reads / 2
    finally:
        await connection.aclose()
