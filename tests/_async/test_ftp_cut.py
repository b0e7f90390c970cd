"""FTP connections cut after every byte, of control and of data: equal content or a clear error, never half a file.

The proxy stands between handler and server. What the server holds is looked at on its disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import FtpHandler, Resilience
from echo_connhandler._concurrency import async_bounded
from echo_connhandler.errors import EchoConnError, OutcomeUnknownError
from echo_connhandler.testing import no_waits
from tests.ftp_servers import FTP_SERVICES, FtpService
from tests.servers.ftp_proxy import FtpProxy
from tests.servers.proxy import Direction, How, TcpProxy

pytestmark = pytest.mark.usefixtures("impatient_ftp")

PATIENT = Resilience(max_retries=3, max_conn_retries=3)
# All bytes take long: `make cut` tries them, other runs some.
STEP = int(os.environ.get("ECHO_TEST_CUT_STEP", "127"))
# ProFTPD needs 0.2 seconds for a new connection after one that ended, a hundred times what others need.
SLOW = 3
OLD = b"what was there before"
NEW = bytes(range(256)) * 2 + b"end"


@pytest.fixture
def proxy(ftp_service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(ftp_service.server) as running:
        yield running


class Place:
    """A folder on the server and one here, as each call finds them: with the old content, but for downloads."""

    def __init__(self, service: FtpService, local: Path) -> None:
        self.service, self.local = service, local

    def reset(self) -> None:
        for folder in (self.service.folder, self.local):
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        (self.service.folder / "new").write_bytes(NEW)
        (self.service.folder / "old").write_bytes(OLD)
        (self.local / "new").write_bytes(NEW)
        (self.local / "old").write_bytes(OLD)

    def there(self) -> dict[str, bytes]:
        """What is on the server under final names."""
        files = self.service.folder.iterdir()
        return {path.name: path.read_bytes() if path.is_file() else b"" for path in files if path.suffix != ".part"}

    def here(self) -> dict[str, bytes]:
        files = self.local.iterdir()
        return {path.name: path.read_bytes() for path in files if ".part" not in path.name}


# Each call, and what is there (with `True`, here) after it.


async def download(handler: FtpHandler, place: Place) -> None:
    await handler.async_download(place.service.path("new"), place.local / "old")


async def upload(handler: FtpHandler, place: Place) -> None:
    await handler.async_upload(place.local / "new", place.service.path("old"))


async def upload_anew(handler: FtpHandler, place: Place) -> None:
    await handler.async_upload_bytes(NEW, place.service.path("added"))


async def list_dir(handler: FtpHandler, place: Place) -> None:
    entries = await handler.async_list_dir(place.service.root)
    assert [(entry.name, entry.size) for entry in entries] == [("new", len(NEW)), ("old", len(OLD))]


async def delete(handler: FtpHandler, place: Place) -> None:
    await handler.async_delete(place.service.path("old"))


async def rename(handler: FtpHandler, place: Place) -> None:
    await handler.async_rename(place.service.path("new"), place.service.path("moved"))


async def folders(handler: FtpHandler, place: Place) -> None:
    await handler.async_make_dirs(place.service.path("a"))
    await handler.async_remove_dir(place.service.path("a"))


Call = Callable[[FtpHandler, Place], Any]

BEFORE = {"new": NEW, "old": OLD}
AFTER: dict[Call, dict[str, bytes]] = {
    download: BEFORE,
    upload: {"new": NEW, "old": NEW},
    upload_anew: {**BEFORE, "added": NEW},
    list_dir: BEFORE,
    delete: {"new": NEW},
    rename: {"moved": NEW, "old": OLD},
    folders: BEFORE,
}


async def session(handler: FtpHandler, call: Call, place: Place) -> None:
    async with handler:
        await call(handler, place)


async def tried(handler: FtpHandler, call: Call, place: Place) -> EchoConnError | None:
    """Make the call on a new handler, and return how it failed."""
    place.reset()
    try:
        with no_waits():
            with async_bounded(30):
                await session(handler, call, place)
    except EchoConnError as error:
        return error
    return None


def check(call: Call, place: Place, error: EchoConnError | None, where: object) -> None:
    """Whatever happened: what bears a final name is whole, old or new. Without an error all is done."""
    there, here = place.there(), place.here()
    if error is None:
        assert there == AFTER[call], where
        assert here == ({**BEFORE, "old": NEW} if call is download else BEFORE), where
        assert not [path.name for path in place.local.iterdir() if ".part" in path.name], where
    elif isinstance(error, OutcomeUnknownError):
        assert there in (BEFORE, AFTER[call]), (where, error)
    else:
        assert there == BEFORE, (where, error)
        assert here == BEFORE, (where, error)


def check_misread(call: Call, place: Place, error: EchoConnError | None, where: object) -> None:
    """See to a server that took a command whose line was cut for a whole one, as ProFTPD does: names are cut too.

    No file is half even so, and the files that the call did not mean are as they were.
    """
    there = place.there()
    wanted = [*AFTER[call], "a", ".old.", ".added."]
    strays = {name: there.pop(name) for name in set(there) - set(BEFORE) - set(AFTER[call])}
    for name, content in strays.items():
        assert any(full.startswith(name) or name.startswith(full) for full in wanted), (where, name)
        assert content in (b"", NEW), (where, name)
    assert all(content in (OLD, NEW) for content in there.values()), where
    if error is None:
        assert there == AFTER[call], where


def passed(proxy: TcpProxy, direction: Direction) -> int:
    return proxy.bytes_up if direction == "up" else proxy.bytes_down


async def cuts(
    service: FtpService,
    proxy: FtpProxy,
    broken: TcpProxy,
    call: Call,
    place: Place,
    direction: Direction,
    *,
    step: int = STEP,
    ways: tuple[How, ...] = ("close", "reset"),
) -> None:
    """Cut that connection of a session after each byte in turn; one cut is no failure."""
    # pyftpdlib says nothing of an upload whose connection was reset: it's the timeout that ends the wait.
    properties = {**proxy.place, "request_timeout": 1}
    before = passed(broken, direction)
    assert await tried(service.make(properties=properties), call, place) is None
    length = passed(broken, direction) - before
    misread = service.name == "proftpd" and broken is proxy.control and direction == "up"
    for number, after in enumerate(range(0, length, step * SLOW if service.product == "proftpd" else step)):
        how = ways[number % len(ways)]
        broken.cut(direction, after=after, how=how)
        error = await tried(service.make(properties=properties, resilience=PATIENT), call, place)
        where = (service.name, call.__name__, direction, after, how)
        assert broken.fired == 1, where
        if misread:
            check_misread(call, place, error, where)
        else:
            check(call, place, error, where)
            assert error is None, (where, error)
        proxy.wait_closed()


@pytest.mark.exhaustive
@pytest.mark.parametrize("call", AFTER, ids=lambda call: call.__name__)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.timeout(1200)
async def test_cut_at_every_byte_of_control(
    ftp_service: FtpService, proxy: FtpProxy, call: Call, direction: Direction, tmp_path: Path
) -> None:
    await cuts(ftp_service, proxy, proxy.control, call, Place(ftp_service, tmp_path), direction)


@pytest.mark.exhaustive
@pytest.mark.parametrize("call", [download, upload, list_dir], ids=lambda call: call.__name__)
@pytest.mark.timeout(1200)
async def test_cut_at_every_byte_of_data(ftp_service: FtpService, proxy: FtpProxy, call: Call, tmp_path: Path) -> None:
    direction: Direction = "up" if call is upload else "down"
    # Nothing tells a listing that ends in order, though early, from a whole one: see "What is not proved" in the docs.
    ways: tuple[How, ...] = ("reset",) if call is list_dir else ("close", "reset")
    await cuts(ftp_service, proxy, proxy.data, call, Place(ftp_service, tmp_path), direction, ways=ways)


@pytest.fixture(params=[name for name in FTP_SERVICES if name.endswith("-explicit")])
def explicit(request: pytest.FixtureRequest) -> FtpService:
    return FTP_SERVICES[request.param](request)


@pytest.mark.exhaustive
@pytest.mark.parametrize("call", [download, upload, list_dir], ids=lambda call: call.__name__)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.timeout(1200)
async def test_cut_in_encrypted_data(explicit: FtpService, call: Call, direction: Direction, tmp_path: Path) -> None:
    """Bytes of TLS are much alike: more of them between the cuts."""
    with FtpProxy(explicit.server) as proxy:
        await cuts(explicit, proxy, proxy.data, call, Place(explicit, tmp_path), direction, step=4 * STEP)
