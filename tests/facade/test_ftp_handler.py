"""The FTP handler as threads have it: its live client, a session per thread, and a second one where that is busy."""

from __future__ import annotations

import ftplib
import threading
from typing import Any

import pytest

from echo_connhandler import FtpConnProperties, FtpHandler
from echo_connhandler.errors import ConnectionFailedError, HandlerClosedError
from tests.ftp_servers import FtpService


def test_it_connects_at_once_unless_told_not_to(ftp_service: FtpService) -> None:
    with FtpHandler(ftp_service.props()) as handler:
        assert handler.is_connected
        assert not handler.async_is_connected
        assert handler.ping()
    assert not handler.is_connected
    with pytest.raises(HandlerClosedError):
        handler.list_dir()
    assert not ftp_service.make().is_connected
    with pytest.raises(TypeError, match="FtpConnProperties"):
        FtpHandler("host")


def test_the_live_client_works_between_calls(ftp_service: FtpService) -> None:
    (ftp_service.folder / "x.csv").write_bytes(b"a\r\n" * 1000)
    with ftp_service.make() as handler:
        raw: ftplib.FTP = handler.connection
        assert isinstance(raw, ftplib.FTP)
        for _ in range(2):
            raw.cwd(ftp_service.root)
            assert raw.nlst() == ["x.csv"]  # leaves the transfer type of text behind, and another folder
            lines: list[str] = []
            raw.retrlines("LIST", lines.append)
            assert len(lines) == 1
            assert handler.info(ftp_service.path("x.csv")).size == 3000
            assert [each.name for each in handler.list_dir(ftp_service.root)] == ["x.csv"]
            assert handler.exists(ftp_service.folder.name)
        assert handler.connection is raw
        assert handler.pool_stats.opened == 1


async def test_the_live_client_of_tasks(ftp_service: FtpService) -> None:
    handler = ftp_service.make()
    with pytest.raises(ConnectionFailedError, match="await async_connect"):
        handler.async_connection
    await handler.async_connect()
    raw = handler.async_connection
    if isinstance(raw, ftplib.FTP):  # on trio
        assert raw.pwd()
    else:
        assert str(await raw.get_current_directory())
    assert await handler.async_exists("/")
    await handler.async_close()


def test_each_thread_has_a_session_of_its_own(ftp_service: FtpService) -> None:
    seen: list[Any] = []
    with ftp_service.make() as handler:

        def look() -> None:
            seen.append(handler.connection)
            assert handler.exists("/")

        for _ in range(2):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        look()
        assert len({id(each) for each in seen}) == 3


def test_what_is_read_in_the_midst_of_a_file_takes_a_second_session(ftp_service: FtpService) -> None:
    (ftp_service.folder / "x").write_bytes(bytes(3_000_000))
    with ftp_service.make() as handler:
        with handler.open_read(ftp_service.path("x")) as file:
            assert file.read(10) == bytes(10)
            assert handler.info(ftp_service.path("x")).size == 3_000_000
            assert len(file.read(-1)) == 2_999_990
        assert handler.exists(ftp_service.path("x"))
        assert handler.pool_stats.opened == 2


def test_a_server_that_does_not_exist_is_said() -> None:
    with pytest.raises(ConnectionFailedError, match=r"connecting to FTP 127\.0\.0\.1:1: "):
        FtpHandler(FtpConnProperties(host="127.0.0.1", port=1), max_conn_retries=0)
