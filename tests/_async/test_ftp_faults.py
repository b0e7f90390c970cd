"""FTP servers that die, run out of room, forbid, stall or lie: equal content or a clear error, never half a file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import FtpHandler, Resilience
from echo_connhandler._concurrency import async_bounded
from echo_connhandler.errors import (
    ConnectionFailedError,
    EchoConnError,
    FtpReplyError,
    TimeoutExceededError,
)
from echo_connhandler.testing import no_waits
from tests.ftp_servers import FtpService, service_of
from tests.servers.ftp_daemon import SMALL_FILES, FtpDaemon, disk_of, small_disk
from tests.servers.ftp_proftpd import ProftpdServer
from tests.servers.ftp_proxy import FtpProxy
from tests.servers.ftp_pyftpdlib import PyftpdlibServer
from tests.servers.ftp_vsftpd import VsftpdServer
from tests.servers.system import MissingServerError

pytestmark = pytest.mark.usefixtures("impatient_ftp")

KINDS: list[type[FtpDaemon]] = [PyftpdlibServer, VsftpdServer, ProftpdServer]
PATIENT = Resilience(max_retries=4, max_conn_retries=6)
CONTENT = random.Random(1).randbytes(3_000_000)
OLD = b"what was there before"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Servers that die


class Once:
    """Does something when a transfer has come half way, once."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.acted, self.told = act, 0, [0]

    def __call__(self, done: int, total: int | None) -> None:
        self.told.append(done)
        if done >= len(CONTENT) // 2 and not self.acted:
            self.acted += 1
            self.act()


def restart(server: FtpDaemon) -> None:
    server.kill()
    server.start()


async def test_a_download_survives_that_the_server_is_killed_and_restarted(
    own_ftp_service: FtpService, tmp_path: Path
) -> None:
    service = own_ftp_service
    (service.folder / "f").write_bytes(CONTENT)
    once = Once(lambda: restart(service.server))
    async with service.make(resilience=PATIENT) as handler:
        with no_waits():
            await handler.async_download(service.path("f"), tmp_path / "f", progress=once)
    assert once.acted == 1
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert names(tmp_path) == ["f"]
    assert once.told == sorted(once.told)


async def test_an_upload_survives_that_the_server_is_killed_and_restarted(
    own_ftp_service: FtpService, tmp_path: Path
) -> None:
    service = own_ftp_service
    (service.folder / "f").write_bytes(OLD)
    (tmp_path / "f").write_bytes(CONTENT)
    once = Once(lambda: restart(service.server))
    async with service.make(resilience=PATIENT) as handler:
        with no_waits():
            await handler.async_upload(tmp_path / "f", service.path("f"), progress=once)
    assert once.acted == 1
    assert (service.folder / "f").read_bytes() == CONTENT
    assert names(service.folder) == ["f"]


@pytest.mark.parametrize("up", [False, True], ids=["download", "upload"])
async def test_a_server_that_stays_away_is_a_clear_error_and_the_next_call_goes_on(
    own_ftp_service: FtpService, tmp_path: Path, up: bool
) -> None:
    service = own_ftp_service
    (service.folder / "f").write_bytes(OLD if up else CONTENT)
    (tmp_path / "f").write_bytes(CONTENT if up else OLD)
    source, target = (tmp_path, service.folder) if up else (service.folder, tmp_path)
    once = Once(service.server.kill)
    policy = Resilience(max_retries=2, max_conn_retries=1)

    async def transfer(handler: FtpHandler, **options: Any) -> None:
        if up:
            await handler.async_upload(tmp_path / "f", service.path("f"), **options)
        else:
            await handler.async_download(service.path("f"), tmp_path / "f", **options)

    async with service.make(resilience=policy) as handler:
        with no_waits(), pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1"):
            await transfer(handler, progress=once)
        assert (target / "f").read_bytes() == OLD
        service.server.start()
        with no_waits():
            await transfer(handler)
    assert (target / "f").read_bytes() == (source / "f").read_bytes() == CONTENT
    assert names(target) == ["f"]


# No room, no right


@pytest.fixture(params=["files", "disk"])
def little_room(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Two ways to have too little: no file may grow beyond 128 KB, which works anywhere, and a disk that has 128 KB."""
    if request.param == "files":
        return SMALL_FILES
    try:
        return small_disk(128 * 1024)
    except MissingServerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_disk_is_a_clear_error_and_nothing_is_left(
    kind: type[FtpDaemon], little_room: tuple[str, ...]
) -> None:
    with kind(within=little_room) as server:
        folder = server.home if little_room is SMALL_FILES else disk_of(server)
        (folder / "t").mkdir(mode=0o777)
        (folder / "t" / "f").write_bytes(OLD)
        service = FtpService("any", "any", server, folder / "t", f"{server.root.rstrip('/')}/t")
        # pyftpdlib may say nothing more of an upload whose connection it reset.
        async with service.make(properties={"request_timeout": 1}, resilience=Resilience(max_retries=2)) as handler:
            with no_waits(), pytest.raises(EchoConnError, match="uploading") as caught:
                await handler.async_upload_bytes(CONTENT, service.path("f"))
            assert (service.folder / "f").read_bytes() == OLD
            if kind is ProftpdServer and little_room is SMALL_FILES:
                # It ends the session over such a limit: the hidden file can't be removed then, and the error says so.
                for left in set(names(service.folder)) - {"f"}:
                    assert left in str(caught.value)
            else:
                assert isinstance(caught.value, FtpReplyError)
                assert caught.value.code in (426, 451, 452)
                assert names(service.folder) == ["f"]
            await handler.async_upload_bytes(CONTENT[:1000], service.path("g"))
        assert (service.folder / "g").read_bytes() == CONTENT[:1000]


async def test_a_quota_is_a_clear_error_at_once_and_nothing_is_left() -> None:
    with ProftpdServer(quota=100_000) as server:
        service = service_of(server, "proftpd", "t")
        (service.folder / "f").write_bytes(OLD)
        async with service.make() as handler:
            with no_waits() as waits, pytest.raises(FtpReplyError, match="quota") as caught:
                await handler.async_upload_bytes(CONTENT, service.path("f"))
            assert (caught.value.code, waits) == (552, [])
        assert names(service.folder) == ["f"]
        assert (service.folder / "f").read_bytes() == OLD


@pytest.fixture(params=KINDS)
def locked(request: pytest.FixtureRequest) -> Iterator[FtpService]:
    """A folder in which the server may read only, with the file `f`."""
    with ExitStack() as stack:
        if request.param is PyftpdlibServer:
            server: FtpDaemon = stack.enter_context(PyftpdlibServer(permissions="elr"))
        else:
            server = stack.enter_context(request.param(account="nobody"))
        service = service_of(server, request.param.__name__, "t")
        (service.folder / "f").write_bytes(CONTENT[:1000])
        service.folder.chmod(0o555)
        yield service
        service.folder.chmod(0o755)


async def test_what_is_forbidden_is_a_clear_error_at_once(locked: FtpService, tmp_path: Path) -> None:
    async with locked.make() as handler:
        calls: list[Callable[[], Any]] = [
            lambda: handler.async_upload_bytes(CONTENT, locked.path("g")),
            lambda: handler.async_delete(locked.path("f")),
            lambda: handler.async_rename(locked.path("f"), locked.path("g")),
            lambda: handler.async_make_dirs(locked.path("d")),
        ]
        for call in calls:
            with no_waits() as waits, pytest.raises(FtpReplyError) as caught:
                await call()
            assert (caught.value.code in (550, 553), waits) == (True, []), caught.value
        await handler.async_download(locked.path("f"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT[:1000]
    assert names(locked.folder) == ["f"]


async def test_a_local_disk_that_forbids_is_its_own_error(ftp_service: FtpService, tmp_path: Path) -> None:
    (ftp_service.folder / "f").write_bytes(CONTENT)
    async with ftp_service.make() as handler:
        with no_waits() as waits, pytest.raises(OSError, match="missing"):
            await handler.async_download(ftp_service.path("f"), tmp_path / "missing" / "f")
        assert not waits


# Networks that fail


@pytest.fixture
def proxy(ftp_service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(ftp_service.server) as running:
        yield running
        running.heal()


@pytest.mark.parametrize("up", [False, True], ids=["download", "upload"])
async def test_data_that_stalls_is_gone_on_with_where_it_was(
    ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path, up: bool
) -> None:
    service = ftp_service
    source, target = (tmp_path, service.folder) if up else (service.folder, tmp_path)
    (source / "f").write_bytes(CONTENT)
    proxy.data.cut("up" if up else "down", after=200_000, how="stall")
    # The server gets to know then that the first connection is gone: vsftpd locks the file for it until it does.
    policy = Resilience(max_retries=4, before_retry=(lambda details: proxy.heal(),))
    properties = {**proxy.place, "request_timeout": 0.5}
    async with service.make(properties=properties, resilience=policy) as handler:
        with no_waits():
            if up:
                await handler.async_upload(tmp_path / "f", service.path("f"))
            else:
                await handler.async_download(service.path("f"), tmp_path / "f")
    assert proxy.data.fired == 1
    assert (target / "f").read_bytes() == CONTENT
    assert names(target) == ["f"]
    if not up:
        assert proxy.data.bytes_down <= len(CONTENT) + 200_000  # and not from the beginning


async def test_control_that_stalls_is_a_timeout(ftp_service: FtpService, proxy: FtpProxy) -> None:
    (ftp_service.folder / "f").write_bytes(b"1")
    async with ftp_service.make(properties={**proxy.place, "request_timeout": 0.3}) as handler:
        await handler.async_connect()
        proxy.control.stall()
        with no_waits(), pytest.raises(TimeoutExceededError, match="exists"):
            await handler.async_exists(ftp_service.path("f"), retry=0)
        proxy.heal()
        assert await handler.async_exists(ftp_service.path("f"))


async def test_sessions_that_a_firewall_forgot_are_replaced(ftp_service: FtpService, proxy: FtpProxy) -> None:
    (ftp_service.folder / "f").write_bytes(CONTENT[:1000])
    properties = {**proxy.place, "request_timeout": 0.3, "idle_check": 0}
    async with ftp_service.make(properties=properties, resilience=PATIENT) as handler:
        await handler.async_connect()
        assert proxy.control.drop("silence") == 1
        with no_waits(), async_bounded(20):
            assert await handler.async_download_bytes(ftp_service.path("f")) == CONTENT[:1000]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_session_that_ended_while_idle_is_replaced(ftp_service: FtpService, proxy: FtpProxy, how: Any) -> None:
    async with ftp_service.make(properties=proxy.place) as handler:
        await handler.async_connect()
        proxy.control.drop(how)
        proxy.wait_closed()
        with no_waits():
            assert await handler.async_list_dir(ftp_service.root) == []


async def test_no_connection_stays_behind_when_transfers_fail(
    ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path
) -> None:
    (ftp_service.folder / "f").write_bytes(CONTENT)
    async with ftp_service.make(properties=proxy.place) as handler:
        proxy.data.cut("down", after=0, how="reset", times=None)
        with no_waits(), pytest.raises(EchoConnError):
            await handler.async_download(ftp_service.path("f"), tmp_path / "f", retry=1)
        proxy.data.wait_open(0)
        proxy.heal()
        await handler.async_download(ftp_service.path("f"), tmp_path / "f")
    proxy.wait_closed()
    assert (tmp_path / "f").read_bytes() == CONTENT
