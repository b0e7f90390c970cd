"""Files to and from real FTP servers, over networks that break: whole and verified, or a clear error."""

from __future__ import annotations

import datetime as dt
import errno
import io
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import FtpHandler, Resilience
from echo_connhandler._core.ftp.transfer_values import is_temporary_name
from echo_connhandler.errors import (
    ConnectionFailedError,
    FtpNotFoundError,
    FtpReplyError,
    TimeoutExceededError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.ftp_servers import FTP_SERVICES, FtpService
from tests.servers.ftp_daemon import SMALL_FILES, FtpDaemon
from tests.servers.ftp_proftpd import ProftpdServer
from tests.servers.ftp_proxy import FtpProxy
from tests.servers.ftp_pyftpdlib import PyftpdlibServer
from tests.servers.ftp_scripted import FtpSession, ScriptedFtpServer, half
from tests.servers.ftp_vsftpd import VsftpdServer

SIZE = 2_000_000
LONG_AGO = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC).timestamp()


@pytest.fixture
def proxy(ftp_service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(ftp_service.server) as running:
        yield running


@pytest.fixture
def proftpd(request: pytest.FixtureRequest) -> FtpService:
    return FTP_SERVICES["proftpd"](request)


@pytest.fixture
def pyftpdlib(request: pytest.FixtureRequest) -> FtpService:
    return FTP_SERVICES["pyftpdlib"](request)


def through(proxy: FtpProxy, service: FtpService, **options: Any) -> FtpHandler:
    handler: FtpHandler = service.make(properties=proxy.place, **options)
    return handler


def scripted(server: ScriptedFtpServer, **options: Any) -> FtpHandler:
    from echo_connhandler import FtpConnProperties

    props = FtpConnProperties(host=server.host, port=server.port, user="u", password="p", conn_timeout=5)
    return FtpHandler(props, skip_connect=True, **options)


def served(service: FtpService, name: str, size: int = SIZE) -> bytes:
    """Put a file on the server that was changed long ago, so that a change shows."""
    data = os.urandom(size)
    (service.folder / name).write_bytes(data)
    os.utime(service.folder / name, (LONG_AGO, LONG_AGO))
    return data


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


class Watch:
    """A progress callback that looks whether it's told what it should be."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.told.append((done, total))

    def check(self, size: int) -> None:
        done = [each for each, _ in self.told]
        assert done == sorted(done)
        assert self.told[-1] == (size, size)


class Lost:
    """A progress callback that ends all connections for good when so many bytes have passed, once."""

    def __init__(self, proxy: FtpProxy, after: int, arrived: Callable[[], bool]) -> None:
        self.proxy, self.after, self.arrived = proxy, after, arrived

    def __call__(self, done: int, total: int | None) -> None:
        if done >= self.after:
            while not self.arrived():
                time.sleep(0.001)
            self.proxy.control.refuse()
            self.proxy.control.drop()
            self.proxy.data.drop()


async def async_interrupted(
    handler: FtpHandler,
    proxy: FtpProxy,
    remote: str,
    local: Any,
    *,
    up: bool = False,
    size: int = SIZE,
    folder: Path = Path(),
) -> None:
    """Begin a transfer that ends in the midst of it, as if this process had ended there."""

    def arrived() -> bool:
        return not up or any(path.stat().st_size for path in folder.iterdir() if is_temporary_name(path.name))

    lost = Lost(proxy, size // 2, arrived)
    with no_waits(), pytest.raises(ConnectionFailedError):
        if up:
            await handler.async_upload(local, remote, progress=lost, retry=0, rate_limit=size)
        else:
            await handler.async_download(remote, local, progress=lost, retry=0)
    proxy.heal()


# Both ways


async def test_files_come_and_go_whole(any_ftp_service: FtpService, tmp_path: Path) -> None:
    service = any_ftp_service
    async with service.make() as handler:
        for size in (0, 1, SIZE):
            data = served(service, "there", size)
            down, up = Watch(), Watch()
            assert await handler.async_download(service.path("there"), tmp_path / "here", progress=down)
            assert (tmp_path / "here").read_bytes() == data
            assert (tmp_path / "here").stat().st_mtime == LONG_AGO
            assert await handler.async_upload(tmp_path / "here", service.path("again"), progress=up)
            assert (service.folder / "again").read_bytes() == data
            assert (service.folder / "again").stat().st_mtime == LONG_AGO
            down.check(size)
            up.check(size)
            assert await handler.async_download_bytes(service.path("there")) == data
            await handler.async_upload_bytes(data, service.path("bytes"))
            assert (service.folder / "bytes").read_bytes() == data
    assert names(tmp_path) == ["here"]
    assert names(service.folder) == ["again", "bytes", "there"]


@pytest.mark.parametrize(
    "name", ["a b.csv", " lead", "ação-ž.csv", 'it\'s "q".csv', "x -> y", "*?[a]#%41.csv", "-l", "~u"]
)
async def test_names_pass_as_they_are(ftp_service: FtpService, tmp_path: Path, name: str) -> None:
    async with ftp_service.make() as handler:
        await handler.async_upload_bytes(b"content", ftp_service.path(name))
        assert names(ftp_service.folder) == [name]
        await handler.async_download(ftp_service.path(name), tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"content"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_broken_download_goes_on_where_it_broke(
    ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path, how: Any
) -> None:
    data = served(ftp_service, "data")
    watch = Watch()
    async with through(proxy, ftp_service, max_retries=1) as handler:
        proxy.data.cut("down", after=300_000, how=how, times=5)
        with no_waits():
            await handler.async_download(ftp_service.path("data"), tmp_path / "f", progress=watch)
    assert proxy.data.fired == 5
    assert (tmp_path / "f").read_bytes() == data
    assert names(tmp_path) == ["f"]
    watch.check(SIZE)
    assert proxy.data.bytes_down < 1.5 * SIZE  # what came was not fetched again


async def test_a_broken_upload_goes_on_where_it_broke(ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "f").write_bytes(data)
    (ftp_service.folder / "data").write_bytes(b"old")
    watch = Watch()
    async with through(proxy, ftp_service, max_retries=4) as handler:
        proxy.data.cut("up", after=300_000, times=4)
        with no_waits():
            await handler.async_upload(tmp_path / "f", ftp_service.path("data"), progress=watch)
    assert proxy.data.fired == 4
    assert (ftp_service.folder / "data").read_bytes() == data
    assert names(ftp_service.folder) == ["data"]
    watch.check(SIZE)
    assert proxy.data.bytes_up < 1.5 * SIZE


async def test_a_lost_control_connection_is_made_anew(ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path) -> None:
    data = served(ftp_service, "data")
    dropped: list[int] = []

    def drop(done: int, total: int | None) -> None:
        if done >= 500_000 and not dropped:
            dropped.append(proxy.control.drop("reset") + proxy.data.drop("reset"))

    async with through(proxy, ftp_service) as handler:
        with no_waits():
            await handler.async_download(ftp_service.path("data"), tmp_path / "f", progress=drop)
            assert dropped.pop()
            await handler.async_upload(tmp_path / "f", ftp_service.path("again"), progress=drop)
            assert dropped
    assert (tmp_path / "f").read_bytes() == data
    assert (ftp_service.folder / "again").read_bytes() == data


async def test_a_server_killed_in_the_midst_is_waited_for(own_ftp_service: FtpService, tmp_path: Path) -> None:
    service = own_ftp_service
    data = served(service, "data", 5 * SIZE)
    killed: list[bool] = []

    def kill(done: int, total: int | None) -> None:
        if done >= SIZE and not killed:
            killed.append(True)
            service.server.kill()
            service.server.start()

    async with service.make() as handler:
        with no_waits():
            await handler.async_download(service.path("data"), tmp_path / "f", progress=kill)
            assert killed.pop()
            await handler.async_upload(tmp_path / "f", service.path("again"), progress=kill)
            assert killed
    assert (tmp_path / "f").read_bytes() == data
    assert (service.folder / "again").read_bytes() == data
    assert names(service.folder) == ["again", "data"]


# What an earlier call left


async def test_a_part_is_continued_by_the_next_call(ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path) -> None:
    data = served(ftp_service, "data")
    async with through(proxy, ftp_service) as handler:
        await async_interrupted(handler, proxy, ftp_service.path("data"), tmp_path / "f")
        assert names(tmp_path) == ["f.part", "f.part.json"]
        first = proxy.data.bytes_down
        await handler.async_download(ftp_service.path("data"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == data
    assert names(tmp_path) == ["f"]
    assert proxy.data.bytes_down - first < SIZE


@pytest.mark.parametrize("what", ["content", "size", "source"])
async def test_a_part_of_something_else_is_not_continued(
    ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path, what: str
) -> None:
    served(ftp_service, "data")
    async with through(proxy, ftp_service) as handler:
        await async_interrupted(handler, proxy, ftp_service.path("data"), tmp_path / "f")
        name = "other" if what == "source" else "data"
        data = served(ftp_service, name, SIZE + 1 if what == "size" else SIZE)
        if what == "content":
            os.utime(ftp_service.folder / "data", (LONG_AGO + 1, LONG_AGO + 1))
        await handler.async_download(ftp_service.path(name), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == data


async def test_an_upload_is_continued_by_the_next_call_with_the_same_content(
    ftp_service: FtpService, proxy: FtpProxy
) -> None:
    data = os.urandom(SIZE)
    async with through(proxy, ftp_service) as handler:
        await async_interrupted(
            handler, proxy, ftp_service.path("data"), io.BytesIO(data), up=True, folder=ftp_service.folder
        )
        (left,) = names(ftp_service.folder)
        assert is_temporary_name(left)
        first = proxy.data.bytes_up
        other = os.urandom(SIZE)
        await handler.async_upload_bytes(other, ftp_service.path("data"))
        assert (ftp_service.folder / "data").read_bytes() == other  # nothing of what was left
        assert left in names(ftp_service.folder)
        second = proxy.data.bytes_up
        await handler.async_upload_bytes(data, ftp_service.path("data"))
    assert proxy.data.bytes_up - second < SIZE <= second - first
    assert (ftp_service.folder / "data").read_bytes() == data
    assert names(ftp_service.folder) == ["data"]


async def test_a_longer_leftover_is_deleted_first(ftp_service: FtpService, proxy: FtpProxy) -> None:
    data = os.urandom(300_000)
    async with through(proxy, ftp_service) as handler:
        await async_interrupted(
            handler, proxy, ftp_service.path("data"), io.BytesIO(data), up=True, size=300_000, folder=ftp_service.folder
        )
        (left,) = names(ftp_service.folder)
        (ftp_service.folder / left).write_bytes(b"x" * 400_000)
        await handler.async_upload_bytes(data, ftp_service.path("data"))
    assert (ftp_service.folder / "data").read_bytes() == data
    assert names(ftp_service.folder) == ["data"]


# Files that change meanwhile


async def test_a_file_that_changes_while_it_is_downloaded_is_fetched_anew(
    ftp_service: FtpService, tmp_path: Path
) -> None:
    served(ftp_service, "data", 5 * SIZE)
    new = os.urandom(5 * SIZE)
    changed: list[bool] = []

    def change(done: int, total: int | None) -> None:
        if not changed:
            changed.append(True)
            (ftp_service.folder / "data").write_bytes(new)

    async with ftp_service.make() as handler:
        with no_waits() as waits:
            await handler.async_download(ftp_service.path("data"), tmp_path / "f", progress=change)
    assert (tmp_path / "f").read_bytes() == new
    assert waits


async def test_a_file_that_keeps_changing_is_given_up(pyftpdlib: FtpService, tmp_path: Path) -> None:
    path = pyftpdlib.folder / "log"
    path.write_bytes(b"x" * 100)
    times = iter(range(10**6))

    def grow(done: int, total: int | None) -> None:
        with path.open("ab") as file:
            file.write(b"y" * 100)
        os.utime(path, (LONG_AGO, LONG_AGO + next(times)))

    async with pyftpdlib.make(max_retries=3) as handler:
        with no_waits() as waits, pytest.raises(TransferError, match="changed|longer"):
            await handler.async_download(pyftpdlib.path("log"), tmp_path / "f", progress=grow)
    assert len(waits) <= 4
    assert names(tmp_path) == []


async def test_a_local_file_that_changes_while_it_is_uploaded_is_an_error(
    pyftpdlib: FtpService, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(os.urandom(SIZE))
    (pyftpdlib.folder / "data").write_bytes(b"old")

    def change(done: int, total: int | None) -> None:
        with (tmp_path / "f").open("r+b") as file:
            file.write(b"new")

    async with pyftpdlib.make() as handler:
        with no_waits() as waits, pytest.raises(TransferError, match="changed while it was uploaded"):
            await handler.async_upload(tmp_path / "f", pyftpdlib.path("data"), progress=change)
    assert waits == []
    assert (pyftpdlib.folder / "data").read_bytes() == b"old"
    assert names(pyftpdlib.folder) == ["data"]


# newer_only


async def test_newer_only_leaves_what_is_as_new(ftp_service: FtpService, tmp_path: Path) -> None:
    served(ftp_service, "data", 1000)
    there, here = ftp_service.folder / "data", tmp_path / "f"
    async with ftp_service.make() as handler:
        assert await handler.async_download(ftp_service.path("data"), here, newer_only=True)
        assert not await handler.async_download(ftp_service.path("data"), here, newer_only=True)
        os.utime(there, (LONG_AGO + 1, LONG_AGO + 1))
        assert await handler.async_download(ftp_service.path("data"), here, newer_only=True)
        there.write_bytes(b"shorter")
        os.utime(there, (LONG_AGO, LONG_AGO))
        assert await handler.async_download(ftp_service.path("data"), here, newer_only=True)
        assert here.read_bytes() == b"shorter"
        assert not await handler.async_upload(here, ftp_service.path("data"), newer_only=True)
        os.utime(here, (LONG_AGO + 2, LONG_AGO + 2))
        assert await handler.async_upload(here, ftp_service.path("data"), newer_only=True)
        assert there.stat().st_mtime == LONG_AGO + 2
        assert await handler.async_upload(here, ftp_service.path("new"), newer_only=True)
        for call in (handler.async_download, handler.async_upload):
            with pytest.raises(ValueError, match="newer_only compares files"):
                await call(*_either(call, handler, ftp_service.path("data")), newer_only=True)


def _either(call: Any, handler: FtpHandler, remote: str) -> tuple[Any, Any]:
    return (remote, io.BytesIO()) if call == handler.async_download else (io.BytesIO(), remote)


# Checksums


async def test_a_part_with_wrong_bytes_is_found_by_its_checksum(proftpd: FtpService, tmp_path: Path) -> None:
    data = served(proftpd, "data")
    with FtpProxy(proftpd.server) as proxy:
        async with through(proxy, proftpd) as handler:
            for verify in ("auto", "hash", "size"):
                await async_interrupted(handler, proxy, proftpd.path("data"), tmp_path / "f")
                spoiled = bytearray((tmp_path / "f.part").read_bytes())
                spoiled[10] ^= 1
                (tmp_path / "f.part").write_bytes(spoiled)
                with no_waits():
                    await handler.async_download(proftpd.path("data"), tmp_path / "f", verify=verify)
                assert ((tmp_path / "f").read_bytes() == data) is (verify != "size")


async def test_an_upload_that_arrived_otherwise_is_found_by_its_checksum(proftpd: FtpService) -> None:
    data = os.urandom(100_000)
    with FtpProxy(proftpd.server) as proxy:
        async with through(proxy, proftpd) as handler:
            await async_interrupted(
                handler, proxy, proftpd.path("data"), io.BytesIO(data), up=True, size=100_000, folder=proftpd.folder
            )
            (left,) = names(proftpd.folder)
            content = (proftpd.folder / left).read_bytes()
            (proftpd.folder / left).write_bytes(b"wrong" + content[5:])
            with no_waits():
                await handler.async_upload_bytes(data, proftpd.path("data"), verify="hash")
    assert (proftpd.folder / "data").read_bytes() == data
    assert names(proftpd.folder) == ["data"]


async def test_checksums_can_be_insisted_on(ftp_service: FtpService, tmp_path: Path) -> None:
    data = served(ftp_service, "a b", 1000)
    async with ftp_service.make() as handler:
        if ftp_service.hashes:
            await handler.async_download(ftp_service.path("a b"), tmp_path / "f", verify="hash")
            assert await handler.async_download_bytes(ftp_service.path("a b"), verify="hash") == data
            await handler.async_download(ftp_service.path("a b"), io.BytesIO(), verify="hash")
            await handler.async_upload(tmp_path / "f", ftp_service.path("c"), verify="hash")
        else:
            with pytest.raises(
                TransferError, match="verify=\"hash\" needs a checksum of '.*a b', and the server doesn't"
            ):
                await handler.async_download(ftp_service.path("a b"), tmp_path / "f", verify="hash")
            assert names(tmp_path) == []
            with pytest.raises(TransferError, match="needs a checksum"):
                await handler.async_upload_bytes(data, ftp_service.path("c"), verify="hash")
            assert names(ftp_service.folder) == ["a b"]


# File objects


class Stream:
    """A stream that can't go back."""

    def __init__(self, data: bytes = b"") -> None:
        self.file = io.BytesIO(data)
        self.sizes: list[int] = []

    def read(self, count: int) -> bytes:
        return self.file.read(min(count, 1000))

    def write(self, data: memoryview) -> int:
        return self.file.write(data[:100_000])


async def test_file_objects_are_read_and_written_from_where_they_stand(ftp_service: FtpService, tmp_path: Path) -> None:
    data = served(ftp_service, "data", 300_000)
    file = io.BytesIO(b"head")
    file.seek(4)
    stream = Stream()
    async with ftp_service.make() as handler:
        await handler.async_download(ftp_service.path("data"), file)
        assert file.getvalue() == b"head" + data
        await handler.async_download(ftp_service.path("data"), stream)
        assert stream.file.getvalue() == data
        with (tmp_path / "f").open("wb") as opened:
            await handler.async_download(ftp_service.path("data"), opened)
            assert not opened.closed
        assert (tmp_path / "f").read_bytes() == data
        file.seek(4)
        await handler.async_upload(file, ftp_service.path("one"))
        await handler.async_upload(Stream(data), ftp_service.path("two"))
        with (tmp_path / "f").open("rb") as opened:
            await handler.async_upload(opened, ftp_service.path("three"))
        await handler.async_upload(io.BytesIO(), ftp_service.path("empty"))
    assert not file.closed
    for name in ("one", "two", "three"):
        assert (ftp_service.folder / name).read_bytes() == data
    assert (ftp_service.folder / "empty").read_bytes() == b""


async def test_file_objects_go_on_where_it_broke(ftp_service: FtpService, proxy: FtpProxy) -> None:
    data = served(ftp_service, "data")
    stream = Stream()
    async with through(proxy, ftp_service) as handler:
        proxy.data.cut("down", after=300_000, times=3)
        with no_waits():
            await handler.async_download(ftp_service.path("data"), stream)
    assert stream.file.getvalue() == data


async def test_a_stream_that_can_not_go_back_can_not_begin_anew(pyftpdlib: FtpService) -> None:
    served(pyftpdlib, "data", 5 * SIZE)

    def change(done: int, total: int | None) -> None:
        (pyftpdlib.folder / "data").write_bytes(b"other")

    async with pyftpdlib.make() as handler:
        with no_waits(), pytest.raises(TransferError, match="can't go back"):
            await handler.async_download(pyftpdlib.path("data"), Stream(), progress=change)
        file = io.BytesIO()
        served(pyftpdlib, "data", 5 * SIZE)
        with no_waits():
            await handler.async_download(pyftpdlib.path("data"), file, progress=change)
        assert file.getvalue() == b"other"


async def test_objects_of_text_are_refused(pyftpdlib: FtpService) -> None:
    served(pyftpdlib, "data", 10)
    async with pyftpdlib.make() as handler:
        with pytest.raises(TypeError):
            await handler.async_download(pyftpdlib.path("data"), io.StringIO())
        with pytest.raises(TypeError, match="not bytes: open it in binary mode"):
            await handler.async_upload(io.StringIO("text"), pyftpdlib.path("x"))
        with pytest.raises(TypeError, match="data must be bytes, got str"):
            await handler.async_upload_bytes("text", pyftpdlib.path("x"))
    assert names(pyftpdlib.folder) == ["data"]


# What can't be done


async def test_what_is_missing_is_told_at_once(ftp_service: FtpService, tmp_path: Path) -> None:
    (ftp_service.folder / "folder").mkdir()
    (tmp_path / "f").write_bytes(b"x")
    async with ftp_service.make() as handler:
        with no_waits() as waits:
            with pytest.raises(FtpNotFoundError, match="'.*nothing' is not there") as caught:
                await handler.async_download(ftp_service.path("nothing"), tmp_path / "g")
            assert caught.value.attempts == 1
            with pytest.raises(FtpNotFoundError):
                await handler.async_download_bytes(ftp_service.path("nothing"))
            with pytest.raises(FtpReplyError, match="is a folder"):
                await handler.async_download(ftp_service.path("folder"), tmp_path / "g")
            with pytest.raises(FtpNotFoundError, match="the folder '.*nowhere' is not there: make it first"):
                await handler.async_upload(tmp_path / "f", ftp_service.path("nowhere", "f"))
            with pytest.raises(FtpReplyError, match="folder"):
                await handler.async_upload(tmp_path / "f", ftp_service.path("folder"))
            with pytest.raises(IsADirectoryError, match="name the file to download to"):
                await handler.async_download(ftp_service.path("nothing"), tmp_path)
            with pytest.raises(FileNotFoundError, match="does not exist: make it first"):
                await handler.async_download(ftp_service.path("nothing"), tmp_path / "no" / "g")
            with pytest.raises(IsADirectoryError, match="use mirror"):
                await handler.async_upload(tmp_path, ftp_service.path("f"))
            with pytest.raises(FileNotFoundError):
                await handler.async_upload(tmp_path / "none", ftp_service.path("f"))
        assert waits == []
        assert await handler.async_exists(ftp_service.path("folder"))
    assert names(tmp_path) == ["f"]
    assert names(ftp_service.folder) == ["folder"]


async def test_arguments_are_checked(pyftpdlib: FtpService, tmp_path: Path) -> None:
    async with pyftpdlib.make() as handler:
        for bad in ("a\r\nDELE b", "a\0b"):
            with pytest.raises(ValueError, match="control character"):
                await handler.async_download(bad, tmp_path / "f")
            with pytest.raises(ValueError, match="control character"):
                await handler.async_upload_bytes(b"", bad)
            with pytest.raises(ValueError, match="control character"):
                await handler.async_download_bytes(bad)
        with pytest.raises(ValueError, match="names no file"):
            await handler.async_download("/", tmp_path / "f")
        with pytest.raises(ValueError, match="names no file"):
            await handler.async_upload_bytes(b"", "a/..")
        with pytest.raises(ValueError, match="names no file"):
            await handler.async_upload_bytes(b"", "folder/")
        with pytest.raises(ValueError, match="verify must be one of"):
            await handler.async_download("x", tmp_path / "f", verify="crc")
        with pytest.raises(ValueError, match="rate_limit must be"):
            await handler.async_download("x", tmp_path / "f", rate_limit=0)


async def test_a_server_that_forbids_writing_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    with PyftpdlibServer(permissions="elr") as server:
        (server.home / "data").write_bytes(b"old")
        service = FtpService("pyftpdlib", "pyftpdlib", server, server.home, "")
        async with service.make() as handler:
            with no_waits() as waits, pytest.raises(FtpReplyError) as caught:
                await handler.async_upload_bytes(b"new", "/data")
        assert caught.value.code == 550
        assert waits == []
        assert names(server.home) == ["data"]
        assert (server.home / "data").read_bytes() == b"old"


async def test_a_server_that_forbids_renaming_keeps_nothing_of_it() -> None:
    with PyftpdlibServer(permissions="elrawdm") as server:
        (server.home / "data").write_bytes(b"old")
        service = FtpService("pyftpdlib", "pyftpdlib", server, server.home, "")
        async with service.make() as handler:
            with pytest.raises(FtpReplyError, match="doesn't let it take the place of the file there"):
                await handler.async_upload_bytes(b"new", "/data")
        assert names(server.home) == ["data"]
        assert (server.home / "data").read_bytes() == b"old"


FULL: dict[str, Callable[[], FtpDaemon]] = {
    "pyftpdlib": lambda: PyftpdlibServer(within=SMALL_FILES),
    "vsftpd": lambda: VsftpdServer(within=SMALL_FILES),
    "quota": lambda: ProftpdServer(quota=200_000),
}


@pytest.mark.parametrize("kind", FULL)
async def test_a_full_disk_or_quota_there_is_an_error_and_leaves_what_was(kind: str) -> None:
    with FULL[kind]() as server:
        (server.home / "data").write_bytes(b"old")
        service = FtpService(kind, kind, server, server.home, server.root.rstrip("/"))
        async with service.make(max_retries=2) as handler:
            with no_waits(), pytest.raises((TransferError, ConnectionFailedError)):
                await handler.async_upload_bytes(os.urandom(1_000_000), service.path("data"))
            await handler.async_upload_bytes(b"small", service.path("other"))
        assert names(server.home) == ["data", "other"]
        assert (server.home / "data").read_bytes() == b"old"


class Full(io.BytesIO):
    """A file on a disk that is full, or gone."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def write(self, data: Any) -> int:
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ECONNRESET, errno.ETIMEDOUT])
async def test_what_fails_here_is_raised_as_it_is_and_not_tried_again(pyftpdlib: FtpService, code: int) -> None:
    data = served(pyftpdlib, "data")
    async with pyftpdlib.make() as handler:
        with no_waits() as waits, pytest.raises(OSError, match=os.strerror(code)) as caught:
            await handler.async_download(pyftpdlib.path("data"), Full(code))
        assert caught.value.errno == code
        assert waits == []
        assert await handler.async_download_bytes(pyftpdlib.path("data")) == data


async def test_what_progress_raises_ends_the_transfer(ftp_service: FtpService, tmp_path: Path) -> None:
    served(ftp_service, "data")

    def stop(done: int, total: int | None) -> None:
        raise ConnectionResetError("stop")

    async with ftp_service.make() as handler:
        with no_waits() as waits:
            with pytest.raises(ConnectionResetError, match="stop"):
                await handler.async_download(ftp_service.path("data"), tmp_path / "f", progress=stop)
            with pytest.raises(ConnectionResetError, match="stop"):
                await handler.async_upload_bytes(os.urandom(SIZE), ftp_service.path("other"), progress=stop)
        assert waits == []
        assert await handler.async_exists(ftp_service.path("data"))
    assert names(ftp_service.folder) == ["data"]


async def test_one_download_to_a_file_at_a_time(pyftpdlib: FtpService, tmp_path: Path) -> None:
    served(pyftpdlib, "data", 10)
    async with pyftpdlib.make() as handler:
        from echo_connhandler._drivers.transfer_ends import FileSink

        other = FileSink(tmp_path / "f", "")
        other.open()
        with pytest.raises(TransferError, match="under way"):
            await handler.async_download(pyftpdlib.path("data"), tmp_path / "f")
        other.close()


@pytest.mark.parametrize("name", FTP_SERVICES)
async def test_the_same_content_may_be_uploaded_to_a_file_several_times_at_once(
    request: pytest.FixtureRequest, name: str
) -> None:
    service = FTP_SERVICES[name](request)
    data = os.urandom(SIZE)
    other: list[Any] = []

    def meanwhile(done: int, total: int | None) -> None:
        if not other:
            other.append(None)
            with service.make() as second:
                second.upload_bytes(data, service.path("data"))
            assert (service.folder / "data").read_bytes() == data
            assert len(os.listdir(service.folder)) == 2

    async with service.make() as handler:
        await handler.async_upload_bytes(data, service.path("data"), progress=meanwhile, retry=0)
    assert other
    assert (service.folder / "data").read_bytes() == data
    assert os.listdir(service.folder) == ["data"]


# Pace and memory


async def test_a_limited_transfer_keeps_to_its_deadline(pyftpdlib: FtpService) -> None:
    served(pyftpdlib, "data", 500_000)
    soon = Resilience(deadline=5)
    async with pyftpdlib.make() as handler:
        with no_waits() as waits, pytest.raises(TimeoutExceededError):
            await handler.async_download_bytes(pyftpdlib.path("data"), rate_limit=1000, retry=soon)
        assert sum(waits) <= 5
        with no_waits() as waits, pytest.raises(TimeoutExceededError):
            await handler.async_upload_bytes(bytes(500_000), pyftpdlib.path("new"), rate_limit=1000, retry=soon)
        assert sum(waits) <= 5


async def test_a_rate_is_kept_to(pyftpdlib: FtpService, tmp_path: Path) -> None:
    served(pyftpdlib, "data", 500_000)
    async with pyftpdlib.make(properties={"rate_limit": 20_000}) as handler:
        for limit, seconds in ((None, 25.0), (50_000, 10.0)):
            with no_waits() as waits:
                await handler.async_download(pyftpdlib.path("data"), tmp_path / "f", rate_limit=limit)
            assert sum(waits) == pytest.approx(seconds, rel=0.3)
            with no_waits() as waits:
                await handler.async_upload(tmp_path / "f", pyftpdlib.path("up"), rate_limit=limit)
            assert sum(waits) == pytest.approx(seconds, rel=0.3)


async def test_memory_does_not_grow_with_the_file(pyftpdlib: FtpService, tmp_path: Path) -> None:
    size = 40_000_000
    with (pyftpdlib.folder / "data").open("wb") as file:
        file.truncate(size)
    async with pyftpdlib.make() as handler:
        tracemalloc.start()
        await handler.async_download(pyftpdlib.path("data"), tmp_path / "f")
        await handler.async_upload(tmp_path / "f", pyftpdlib.path("again"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (pyftpdlib.folder / "again").stat().st_size == size
    assert peak < 10_000_000


# Reading


async def test_a_file_is_read_in_pieces(any_ftp_service: FtpService) -> None:
    data = served(any_ftp_service, "data", 300_000)
    path = any_ftp_service.path("data")
    async with any_ftp_service.make() as handler:
        async with handler.async_open_read(path) as file:
            assert file.size == len(data)
            assert await file.read(10) == data[:10]
            assert file.tell() == 10
            assert await file.read(0) == b""
            assert await file.read(200_000) == data[10:200_010]
            assert await file.read() == data[200_010:]
            assert await file.read() == await file.read(1) == b""
        async with handler.async_open_read(path) as file:
            assert b"".join([piece async for piece in file]) == data
        async with handler.async_open_read(path) as file:
            await file.read(1)
            assert await handler.async_exists(path)  # another connection meanwhile
        assert await handler.async_download_bytes(path) == data
        served(any_ftp_service, "empty", 0)
        async with handler.async_open_read(any_ftp_service.path("empty")) as file:
            assert await file.read() == b""


async def test_reading_that_is_left_early_keeps_the_handler_usable(ftp_service: FtpService, proxy: FtpProxy) -> None:
    served(ftp_service, "data", 10_000_000)
    path = ftp_service.path("data")
    async with through(proxy, ftp_service) as handler:
        for _ in range(3):
            async with handler.async_open_read(path) as file:
                await file.read(1)
        with pytest.raises(KeyError):
            async with handler.async_open_read(path) as file:
                await file.read(1)
                raise KeyError("the caller's own")
        assert await handler.async_exists(path)
        assert await file.read() == b""
    proxy.wait_closed()


async def test_reading_goes_on_where_it_broke(ftp_service: FtpService, proxy: FtpProxy) -> None:
    data = served(ftp_service, "data")
    async with through(proxy, ftp_service, max_retries=1) as handler:
        proxy.data.cut("down", after=300_000, times=5)
        with no_waits():
            async with handler.async_open_read(ftp_service.path("data")) as file:
                found = [await file.read(1000)]
                found.append(await file.read())
    assert proxy.data.fired == 5
    assert b"".join(found) == data


async def test_reading_does_not_mix_versions(ftp_service: FtpService, proxy: FtpProxy) -> None:
    served(ftp_service, "data")
    async with through(proxy, ftp_service) as handler:
        with no_waits(), pytest.raises(TransferError, match="changed"):
            async with handler.async_open_read(ftp_service.path("data")) as file:
                await file.read(1000)
                os.utime(ftp_service.folder / "data", (LONG_AGO + 5, LONG_AGO + 5))
                await file.read()


async def test_a_deadline_ends_reading_that_hangs() -> None:
    data = bytes(range(256)) * 8
    with ScriptedFtpServer(files={"/data": data}, wrong={"RETR": half}) as server:
        async with scripted(server) as handler:
            async with handler.async_open_read("/data", retry=Resilience(deadline=0.5)) as file:
                assert await file.read(len(data) // 2) == data[: len(data) // 2]
                with pytest.raises(TimeoutExceededError, match="reading '/data' on FTP"):
                    await file.read()
            assert await handler.async_ping()


async def test_reading_what_is_not_there_is_told_at_once(ftp_service: FtpService) -> None:
    async with ftp_service.make() as handler:
        with no_waits() as waits, pytest.raises(FtpNotFoundError):
            async with handler.async_open_read(ftp_service.path("nothing")):
                pass
        assert waits == []


# Servers that can less, or say what isn't so


def without(*commands: str) -> dict[str, Any]:
    return {command: f"502 {command} is not known\r\n".encode() for command in commands}


@pytest.mark.parametrize(
    "missing", [("FEAT",), ("FEAT", "MLST"), ("FEAT", "MLST", "MDTM"), ("FEAT", "MLST", "MDTM", "SIZE")]
)
async def test_servers_that_know_less(tmp_path: Path, missing: tuple[str, ...]) -> None:
    def enter(session: FtpSession, argument: str) -> bool:
        return session.say("250 fine" if argument == "/" else "550 no such folder")

    data = os.urandom(200_000)
    listing = b"-rw-r--r-- 1 u g 200000 Jan 01 00:00 data\r\n"
    with ScriptedFtpServer(files={"/data": data}, wrong={**without(*missing), "CWD": enter}, listing=listing) as server:
        async with scripted(server) as handler:
            await handler.async_download("/data", tmp_path / "f")
            assert (tmp_path / "f").read_bytes() == data
            await handler.async_upload(tmp_path / "f", "/up")
            assert await handler.async_download_bytes("/data") == data
        assert server.files == {"/data": data, "/up": data}


async def test_a_server_that_can_not_begin_in_the_midst_begins_anew(tmp_path: Path) -> None:
    data = os.urandom(200_000)

    def short(session: FtpSession, argument: str) -> bool:
        return session.send(session.server.files[argument][:1000])

    wrong = {**without("REST"), "RETR": [short]}
    with ScriptedFtpServer(files={"/data": data}, wrong=wrong) as server:
        async with scripted(server) as handler:
            await handler.async_download("/data", tmp_path / "f")
            retrieved = [line for line in server.commands if line.startswith("RETR")]
    assert (tmp_path / "f").read_bytes() == data
    assert len(retrieved) == 2


async def test_226_after_half_a_file_is_not_believed(tmp_path: Path) -> None:
    data = os.urandom(200_000)

    def short_down(session: FtpSession, argument: str) -> bool:
        rest, session.rest = session.rest, 0
        return session.send(session.server.files[argument][rest : rest + 60_000])

    def short_up(session: FtpSession, argument: str) -> bool:
        session._stor(argument)
        session.server.files[argument] = session.server.files[argument][:1000]
        return True

    wrong: dict[str, Any] = {"RETR": [short_down] * 3, "STOR": [short_up]}
    with ScriptedFtpServer(files={"/data": data}, wrong=wrong) as server:
        async with scripted(server) as handler:
            with no_waits():
                await handler.async_download("/data", tmp_path / "f")
                await handler.async_upload_bytes(data, "/up")
            rests = [line for line in server.commands if line.startswith("REST")]
        assert server.files["/up"] == data
    assert (tmp_path / "f").read_bytes() == data
    assert rests == ["REST 60000", "REST 120000", "REST 180000", "REST 1000"]


async def test_a_server_may_delete_what_was_fetched_whole(tmp_path: Path) -> None:
    def fetch_once(session: FtpSession, argument: str) -> bool:
        return session.send(session.server.files.pop(argument))

    data = os.urandom(200_000)
    files = {"/one": data, "/two": data, "/three": data}
    with ScriptedFtpServer(files=files, wrong={"RETR": fetch_once}) as server:
        async with scripted(server) as handler:
            await handler.async_download("/one", tmp_path / "f")
            assert await handler.async_download_bytes("/two") == data
            async with handler.async_open_read("/three") as file:
                assert await file.read() == data
        assert server.files == {}
    assert (tmp_path / "f").read_bytes() == data


async def test_a_renaming_whose_reply_is_lost_is_looked_for() -> None:
    def lost(session: FtpSession, argument: str) -> bool:
        session.server.files[argument] = session.server.files.pop(session.renamed)
        return False

    data = os.urandom(1000)
    with ScriptedFtpServer(wrong={"RNTO": [lost]}) as server:
        async with scripted(server) as handler:
            with no_waits():
                await handler.async_upload_bytes(data, "/up")
        assert server.files == {"/up": data}
        assert sum(line.startswith("STOR") for line in server.commands) == 1


async def test_what_is_left_on_the_server_is_told() -> None:
    wrong: dict[str, Any] = {"RNTO": b"553 not that name\r\n", "DELE": b"550 not that either\r\n"}
    with ScriptedFtpServer(wrong=wrong) as server:
        async with scripted(server) as handler:
            with pytest.raises(FtpReplyError, match=r"could not be removed as '/\.up\.[0-9a-f]{20}\.part'"):
                await handler.async_upload_bytes(b"data", "/up")


async def test_a_wrong_checksum_of_the_server_is_an_error_in_the_end(tmp_path: Path) -> None:
    def features(session: FtpSession, argument: str) -> bool:
        return session.say("211-features", " SIZE", " XMD5", "211 end")

    wrong: dict[str, Any] = {"FEAT": features, "XMD5": b"250 " + b"0" * 32 + b"\r\n"}
    with ScriptedFtpServer(files={"/data": b"content"}, wrong=wrong) as server:
        async with scripted(server) as handler:
            with no_waits() as waits:
                with pytest.raises(TransferError, match="another md5 digest"):
                    await handler.async_download("/data", tmp_path / "f")
                with pytest.raises(TransferError, match="another md5 digest"):
                    await handler.async_upload_bytes(b"new", "/up")
            assert len(waits) == 2  # once more each, then no more
            await handler.async_download("/data", tmp_path / "f", verify="size")
        assert server.files == {"/data": b"content"}
    assert names(tmp_path) == ["f"]


async def test_notes_beside_a_part_tell_no_path(pyftpdlib: FtpService, tmp_path: Path) -> None:
    served(pyftpdlib, "secret-name")
    with FtpProxy(pyftpdlib.server) as proxy:
        async with through(proxy, pyftpdlib) as handler:
            await async_interrupted(handler, proxy, pyftpdlib.path("secret-name"), tmp_path / "f")
    notes = json.loads((tmp_path / "f.part.json").read_text())
    assert "secret-name" not in json.dumps(notes)
    assert notes["validator"] == f"{SIZE} 2020-01-02T03:04:05+00:00"
