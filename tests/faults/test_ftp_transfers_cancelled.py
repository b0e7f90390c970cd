"""FTP transfers that are cancelled in their midst: nothing stays open, nothing half is seen, the handler goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from echo_connhandler._core.ftp.transfer_values import is_temporary_name
from tests.ftp_servers import FtpService
from tests.servers.ftp_proxy import FtpProxy

SIZE = 5_000_000


@pytest.fixture
def proxy(ftp_service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(ftp_service.server) as running:
        yield running


@pytest.fixture
def data(ftp_service: FtpService) -> bytes:
    data = os.urandom(SIZE)
    (ftp_service.folder / "data").write_bytes(data)
    os.utime(ftp_service.folder / "data", (1_577_934_245, 1_577_934_245))
    return data


class Cancel:
    """A progress callback that cancels its scope on the way."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.told = 0

    def __call__(self, done: int, total: int | None) -> None:
        self.told += 1
        if done > SIZE // 3:
            self.scope.cancel()


async def test_a_cancelled_download_is_continued(
    ftp_service: FtpService, proxy: FtpProxy, data: bytes, tmp_path: Path
) -> None:
    async with ftp_service.make(properties=proxy.place) as handler:
        cancel = Cancel()
        with cancel.scope:
            await handler.async_download(ftp_service.path("data"), tmp_path / "f", progress=cancel)
        assert cancel.scope.cancelled_caught
        assert not (tmp_path / "f").exists()
        part = tmp_path / "f.part"
        if part.exists():
            assert data.startswith(part.read_bytes())
        await handler.async_download(ftp_service.path("data"), tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == data
    proxy.wait_closed()


async def test_a_cancelled_upload_is_continued(ftp_service: FtpService, proxy: FtpProxy, data: bytes) -> None:
    async with ftp_service.make(properties=proxy.place) as handler:
        cancel = Cancel()
        with cancel.scope:
            await handler.async_upload_bytes(data, ftp_service.path("new"), progress=cancel)
        assert cancel.scope.cancelled_caught
        assert all(name == "data" or is_temporary_name(name) for name in os.listdir(ftp_service.folder))
        await handler.async_upload_bytes(data, ftp_service.path("new"))
        assert (ftp_service.folder / "new").read_bytes() == data
    assert sorted(os.listdir(ftp_service.folder)) == ["data", "new"]
    proxy.wait_closed()


@pytest.mark.parametrize("what", ["read", "mirror", "frame", "bytes"])
async def test_after_a_cancelled_call_the_handler_goes_on(
    ftp_service: FtpService, proxy: FtpProxy, data: bytes, tmp_path: Path, what: str
) -> None:
    (ftp_service.folder / "x.csv").write_bytes(b"a\n" + b"1\n" * (SIZE // 2))

    async def call(handler: Any) -> None:
        if what == "read":
            async with handler.async_open_read(ftp_service.path("data")) as file:
                while await file.read(10_000):
                    pass
        elif what == "mirror":
            await handler.async_mirror(ftp_service.root, tmp_path / "m")
        elif what == "frame":
            await handler.async_read_to_arrow(ftp_service.path("x.csv"))
        else:
            await handler.async_download_bytes(ftp_service.path("data"))

    async with ftp_service.make(properties=proxy.place) as handler:
        await handler.async_connect()
        proxy.data.cut("down", after=SIZE // 3, how="stall")
        with anyio.move_on_after(30) as patience:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, handler)
                while not proxy.data.fired:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert not patience.cancelled_caught
        proxy.heal()
        assert await handler.async_download_bytes(ftp_service.path("data")) == data
    if what == "mirror":
        assert {path.name for path in (tmp_path / "m").iterdir()} <= {
            *("data", "data.part", "data.part.json"),
            *("x.csv", "x.csv.part", "x.csv.part.json"),
        }
    proxy.wait_closed()
