"""Folders made alike over FTP, in both directions, and never anything outside of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import FtpConnProperties, FtpHandler, Resilience
from echo_connhandler._drivers.folders import fold_of
from echo_connhandler.errors import (
    ConnectionFailedError,
    FtpNotFoundError,
    MirrorError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.ftp_servers import FTP_SERVICES, FtpService
from tests.servers.ftp_daemon import SMALL_FILES
from tests.servers.ftp_proxy import FtpProxy
from tests.servers.ftp_pyftpdlib import PyftpdlibServer
from tests.servers.ftp_scripted import FtpSession, ScriptedFtpServer

LONG_AGO = 1_577_934_245.0
FILES = {"a": b"1", "b/x.csv": b"22", "b/y.txt": b"", "b/c/z.csv": b"4444", "ação/é": b"\xff"}


@pytest.fixture
def pyftpdlib(request: pytest.FixtureRequest) -> FtpService:
    return FTP_SERVICES["pyftpdlib"](request)


@pytest.fixture
def proxy(ftp_service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(ftp_service.server) as running:
        yield running


def fill(root: Path, files: dict[str, bytes] = FILES) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        os.utime(root / name, (LONG_AGO, LONG_AGO))


def content(root: Path) -> dict[str, bytes]:
    """All files, and folders without any, which end in a slash."""
    found = {}
    for folder, _, files in os.walk(root):
        place = Path(folder).relative_to(root)
        found.update({str(place / name): (root / place / name).read_bytes() for name in files})
        if not os.listdir(folder) and place != Path():
            found[f"{place}/"] = b""
    return found


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_a_folder_becomes_like_the_other(any_ftp_service: FtpService, tmp_path: Path, direction: Any) -> None:
    service = any_ftp_service
    there, here = service.folder / "there", tmp_path / "here"
    source, target = (there, here) if direction == "down" else (here, there)
    fill(source)
    (source / "empty").mkdir()
    remote = service.path("there")
    ends = (remote, here) if direction == "down" else (here, remote)
    async with service.make() as handler:
        would = await handler.async_mirror(*ends, direction=direction, dry_run=True)
        assert not target.exists()
        done = await handler.async_mirror(*ends, direction=direction)
        assert content(target) == content(source) == {**FILES, "empty/": b""}
        assert done.transferred == would.transferred == sorted(FILES)
        assert done.made == would.made == ["ação", "b", "b/c", "empty"]
        assert done.bytes == would.bytes == 8
        assert (would.dry_run, done.dry_run) == (True, False)
        assert {path.stat().st_mtime for path in target.rglob("*") if path.is_file()} == {LONG_AGO}
        again = await handler.async_mirror(*ends, direction=direction, newer_only=True)
        assert again.skipped == sorted(FILES)
        assert again.transferred == again.made == []
        fill(source, {"b/x.csv": b"23"})
        os.utime(source / "b/x.csv", (LONG_AGO + 1, LONG_AGO + 1))
        fill(source, {"a": b"11"})
        again = await handler.async_mirror(*ends, direction=direction, newer_only=True)
        assert again.transferred == ["a", "b/x.csv"]
        assert content(target) == content(source)
        everything = await handler.async_mirror(*ends, direction=direction)
        assert everything.transferred == sorted(FILES)


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_what_the_source_lacks_is_deleted_only_when_asked(
    ftp_service: FtpService, tmp_path: Path, direction: Any
) -> None:
    there, here = ftp_service.folder / "there", tmp_path / "here"
    source, target = (there, here) if direction == "down" else (here, there)
    fill(source, {"kept": b"1"})
    surplus = {"old": b"", "gone/x": b"", "gone/deep/y": b"", "half/z.log": b"", "half/z": b"", "kept": b"0"}
    fill(target, surplus)
    remote = ftp_service.path("there")
    ends = (remote, here) if direction == "down" else (here, remote)
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(*ends, direction=direction, exclude=["*.log"])
        assert done.deleted == []
        assert content(target) == {**surplus, "kept": b"1"}
        would = await handler.async_mirror(*ends, direction=direction, exclude=["*.log"], delete=True, dry_run=True)
        assert content(target) == {**surplus, "kept": b"1"}
        done = await handler.async_mirror(*ends, direction=direction, exclude=["*.log"], delete=True)
    assert done.deleted == would.deleted
    assert sorted(done.deleted) == ["gone", "gone/deep", "gone/deep/y", "gone/x", "half/z", "old"]
    assert content(target) == {"kept": b"1", "half/z.log": b""}


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_patterns_choose_what_takes_part(ftp_service: FtpService, tmp_path: Path, direction: Any) -> None:
    there, here = ftp_service.folder / "there", tmp_path / "here"
    source, target = (there, here) if direction == "down" else (here, there)
    fill(source, {**FILES, "tmp/t.csv": b"", "b/tmp/u.csv": b"", "v/w.txt": b""})
    fill(target, {"surplus.csv": b"", "surplus.txt": b""})
    remote = ftp_service.path("there")
    ends = (remote, here) if direction == "down" else (here, remote)
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(
            *ends, direction=direction, include=["*.csv"], exclude=["tmp", "b/c"], delete=True
        )
    assert done.transferred == ["b/x.csv"]
    assert done.made == ["b"]
    assert done.deleted == ["surplus.csv"]
    assert content(target) == {"b/x.csv": b"22", "surplus.txt": b""}


async def test_something_of_another_kind_in_the_way_is_told_or_deleted(ftp_service: FtpService, tmp_path: Path) -> None:
    fill(ftp_service.folder, {"a": b"1", "b/x": b"2", "c": b"3"})
    fill(tmp_path, {"a/deep/y": b"", "b": b""})
    async with ftp_service.make() as handler:
        with pytest.raises(MirrorError, match="2 could not be done: 'a': .*; 'b': ") as caught:
            await handler.async_mirror(ftp_service.root, tmp_path)
        assert sorted(caught.value.failures) == ["a", "b"]
        assert caught.value.result.transferred == ["c"]
        assert content(tmp_path) == {"a/deep/y": b"", "b": b"", "c": b"3"}
        done = await handler.async_mirror(ftp_service.root, tmp_path, delete=True)
    assert done.deleted == ["a/deep/y", "a/deep", "b", "a"]
    assert content(tmp_path) == {"a": b"1", "b/x": b"2", "c": b"3"}


# Links


async def test_links_on_the_server_never_lead_in_a_circle(ftp_service: FtpService, tmp_path: Path) -> None:
    fill(ftp_service.folder, {"sub/file": b"1"})
    (ftp_service.folder / "sub/loop").symlink_to("..")
    (ftp_service.folder / "sub/self").symlink_to(".")
    (ftp_service.folder / "latest").symlink_to("sub/file")
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(ftp_service.root, tmp_path, delete=True)
    assert content(tmp_path) == {"sub/file": b"1", "latest": b"1"}
    assert done.links == ["sub/loop", "sub/self"]
    assert not (tmp_path / "latest").is_symlink()


async def test_links_here_are_not_gone_through(ftp_service: FtpService, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    fill(outside, {"kept": b"1", "file": b"2", "part": b"3"})
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    (target / "other.part").symlink_to(outside / "part")
    (target / "surplus").symlink_to(outside)
    fill(ftp_service.folder, {"sub/new": b"4", "file": b"5", "other": b"6"})
    async with ftp_service.make() as handler:
        with pytest.raises(MirrorError) as caught:
            await handler.async_mirror(ftp_service.root, target, delete=True)
    assert sorted(caught.value.failures) == ["other", "sub"]
    assert content(outside) == {"kept": b"1", "file": b"2", "part": b"3"}
    assert (target / "file").read_bytes() == b"5"
    assert not (target / "file").is_symlink()
    assert not (target / "surplus").exists()


async def test_links_here_are_uploaded_as_files_and_folders_left(ftp_service: FtpService, tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    fill(source, {"a/file": b"1"})
    fill(outside, {"secret": b"2"})
    (source / "latest").symlink_to("a/file")
    (source / "loop").symlink_to(source)
    (source / "out").symlink_to(outside)
    fill(ftp_service.folder, {"out/old": b"3"})
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(source, ftp_service.root, direction="up", delete=True)
    assert done.links == ["loop", "out"]
    assert content(ftp_service.folder) == {"a/file": b"1", "latest": b"1", "out/old": b"3"}


async def test_deleting_there_deletes_links_and_not_what_they_lead_to(ftp_service: FtpService, tmp_path: Path) -> None:
    fill(ftp_service.folder, {"outside/kept": b"1"})
    target = ftp_service.folder / "target"
    fill(target, {"file": b""})
    (target / "link").symlink_to("../outside/kept")
    fill(tmp_path, {"file": b"2"})
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(tmp_path, ftp_service.path("target"), direction="up", delete=True)
    assert done.deleted == ["link"]
    assert content(ftp_service.folder) == {"outside/kept": b"1", "target/file": b"2"}


# Hostile names


def scripted(server: ScriptedFtpServer, **options: Any) -> FtpHandler:
    props = FtpConnProperties(host=server.host, port=server.port, user="u", password="p", conn_timeout=5)
    return FtpHandler(props, skip_connect=True, **options)


async def test_names_that_lead_out_of_the_target_are_refused(tmp_path: Path) -> None:
    names = ["good", "..\\evil", "C:evil", "\\\\host\\evil"]
    listing = "".join(f"type=file;size=1;modify=20250102030405; {name}\r\n" for name in names).encode()
    target = tmp_path / "target"
    with ScriptedFtpServer(files={"/good": b"1"}, listing=listing) as server:
        async with scripted(server) as handler:
            with pytest.raises(MirrorError) as caught:
                await handler.async_mirror("/", target)
    assert sorted(caught.value.failures) == sorted(names[1:])
    assert caught.value.result.transferred == ["good"]
    assert content(tmp_path) == {"target/good": b"1"}


async def test_nothing_is_deleted_on_the_word_of_one_listing(tmp_path: Path) -> None:
    """On a plain data connection, an end made by the network at the end of a line is like the server's own."""
    both = [f"type=file;size=1;modify=20250102030405; {name}\r\n".encode() for name in ("a", "b")]

    def cut_short(session: FtpSession, argument: str) -> bool:
        return session.send(both[0])

    for name in ("a", "b", "gone"):
        (tmp_path / name).write_bytes(b"2")
    with ScriptedFtpServer(
        files={"/a": b"1", "/b": b"1"}, listing=b"".join(both), wrong={"MLSD": [cut_short]}
    ) as server:
        async with scripted(server) as handler:
            result = await handler.async_mirror("/", tmp_path, delete=True)
    assert result.deleted == ["gone"]
    assert content(tmp_path) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
async def test_paths_in_place_of_names_are_refused(tmp_path: Path, name: str) -> None:
    listing = f"type=file;size=1;modify=20250102030405; {name}\r\n".encode()
    with ScriptedFtpServer(files={name: b"1", f"/{name}": b"1"}, listing=listing) as server:
        async with scripted(server) as handler:
            with pytest.raises(TransferError, match="no name of something in a folder"):
                await handler.async_mirror("/", tmp_path / "target")
    assert content(tmp_path) == {}


async def test_folders_without_end_are_given_up(tmp_path: Path) -> None:
    listing = b"type=dir;modify=20250102030405; d\r\n"

    def stat(session: Any, argument: str) -> bool:
        return bool(session.say("250-", f" type=dir;modify=20250102030405; {argument}", "250 end"))

    with ScriptedFtpServer(listing=listing, wrong={"MLST": stat}) as server:
        async with scripted(server) as handler:
            with pytest.raises(MirrorError, match="more than 100 folders deep"):
                await handler.async_mirror("/", tmp_path / "target", dry_run=True)


async def test_a_name_that_downloads_use_is_told(pyftpdlib: FtpService, tmp_path: Path) -> None:
    fill(pyftpdlib.folder, {"a": b"1", "a.part": b"2", "b.part": b"3"})
    async with pyftpdlib.make() as handler:
        with pytest.raises(MirrorError) as caught:
            await handler.async_mirror(pyftpdlib.root, tmp_path)
    assert list(caught.value.failures) == ["a.part"]
    assert content(tmp_path) == {"a": b"1", "b.part": b"3"}


async def test_local_names_that_no_command_can_have_are_told(pyftpdlib: FtpService, tmp_path: Path) -> None:
    fill(tmp_path, {"a\nDELE b": b"1", "b": b"2"})
    async with pyftpdlib.make() as handler:
        with pytest.raises(MirrorError, match="control character") as caught:
            await handler.async_mirror(tmp_path, pyftpdlib.root, direction="up")
    assert list(caught.value.failures) == ["a\nDELE b"]
    assert content(pyftpdlib.folder) == {"b": b"2"}


# What is on the way


async def test_what_is_not_whole_yet_takes_no_part(ftp_service: FtpService, tmp_path: Path) -> None:
    left = ".data.0123456789abcdef0123.part"
    fill(ftp_service.folder / "down", {"data": b"1", left: b"0"})
    fill(ftp_service.folder / "up", {left: b"0"})
    target = tmp_path / "target"
    fill(target, {"data.part": b"0", "data.part.json": b"{}", "gone.part": b""})
    fill(tmp_path / "source", {"data": b"1", left: b"0"})
    async with ftp_service.make() as handler:
        done = await handler.async_mirror(ftp_service.path("down"), target, delete=True)
        assert done.deleted == ["gone.part"]
        assert content(target) == {"data": b"1"}
        await handler.async_mirror(tmp_path / "source", ftp_service.path("up"), direction="up", delete=True)
    assert content(ftp_service.folder / "up") == {"data": b"1", left: b"0"}


# Failures and connections


async def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "b": os.urandom(1_000_000), "c/d": b"2"})
    with PyftpdlibServer(within=SMALL_FILES) as server:
        service = FtpService("pyftpdlib", "pyftpdlib", server, server.home, "")
        async with service.make(max_retries=1) as handler:
            with no_waits(), pytest.raises(MirrorError, match="1 could not be done: 'b'") as caught:
                await handler.async_mirror(tmp_path, "/", direction="up", concurrency=2)
        assert content(server.home) == {"a": b"1", "c/d": b"2"}
    assert list(caught.value.failures) == ["b"]
    assert caught.value.__cause__ is caught.value.failures["b"]
    assert caught.value.result.transferred == ["a", "c/d"]


async def test_after_the_server_is_gone_nothing_more_is_tried(
    ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path
) -> None:
    fill(ftp_service.folder, {f"f{number}": b"x" * 10_000 for number in range(5)})

    def refuse(details: object) -> None:
        proxy.control.refuse()
        proxy.control.drop()

    patience = Resilience(max_retries=2, max_conn_retries=0, before_retry=(refuse,))
    async with ftp_service.make(properties=proxy.place, resilience=patience) as handler:
        # The listing comes first; then some files come, and then no more.
        proxy.data.cut("down", after=25_000, how="reset", times=None)
        with no_waits() as waits, pytest.raises(MirrorError, match="not tried") as caught:
            await handler.async_mirror(ftp_service.root, tmp_path / "here", concurrency=1)
        proxy.heal()
    result, failures = caught.value.result, caught.value.failures
    first, *others = failures.values()
    assert isinstance(first, ConnectionFailedError)
    assert all("not tried, after ConnectionFailedError" in str(error) for error in others)
    assert len(waits) == 2
    assert {*result.transferred, *failures} == {f"f{number}" for number in range(5)}
    assert content(tmp_path / "here").keys() - {f"{first}.part" for first in failures} <= {
        *result.transferred,
        *(f"{name}.part.json" for name in failures),
    }


async def test_many_files_over_several_connections(ftp_service: FtpService, proxy: FtpProxy, tmp_path: Path) -> None:
    files = {f"{number % 5}/{number}": os.urandom(20_000) for number in range(30)}
    fill(ftp_service.folder, files)
    async with ftp_service.make(properties=proxy.place) as handler:
        done = await handler.async_mirror(ftp_service.root, tmp_path / "here", concurrency=3)
        assert proxy.control.open_connections <= 3
        assert content(tmp_path / "here") == files
        assert done.bytes == 600_000
        proxy.data.cut("down", after=30_000, how="reset", times=5)
        with no_waits():
            await handler.async_mirror(ftp_service.root, tmp_path / "again", concurrency=3)
        assert content(tmp_path / "again") == files
        proxy.heal()
        await handler.async_mirror(tmp_path / "here", ftp_service.path("up"), direction="up", concurrency=3)
        assert content(ftp_service.folder / "up") == files
    proxy.wait_closed()


async def test_arguments_are_checked(ftp_service: FtpService, tmp_path: Path) -> None:
    fill(ftp_service.folder, {"file": b""})
    fill(tmp_path, {"file": b""})
    async with ftp_service.make() as handler:
        with pytest.raises(ValueError, match='direction must be "down" or "up"'):
            await handler.async_mirror("a", tmp_path, direction="sideways")
        with pytest.raises(ValueError, match="concurrency must be a whole number from 1, got 0"):
            await handler.async_mirror("a", tmp_path, concurrency=0)
        with pytest.raises(TypeError, match="include must be a sequence of patterns"):
            await handler.async_mirror("a", tmp_path, include="*.csv")
        with pytest.raises(ValueError, match="source has a control character"):
            await handler.async_mirror("a\r\n", tmp_path)
        with pytest.raises(ValueError, match="verify must be one of"):
            await handler.async_mirror("a", tmp_path, verify="no")
        with pytest.raises(FtpNotFoundError):
            await handler.async_mirror(ftp_service.path("nothing"), tmp_path / "new")
        assert not (tmp_path / "new").exists()
        with pytest.raises(NotADirectoryError):
            await handler.async_mirror(ftp_service.path("file"), tmp_path)
        with pytest.raises(NotADirectoryError):
            await handler.async_mirror(ftp_service.root, tmp_path / "file")
        with pytest.raises(FileNotFoundError):
            await handler.async_mirror(tmp_path / "nothing", ftp_service.root, direction="up")
        with pytest.raises(NotADirectoryError):
            await handler.async_mirror(tmp_path / "file", ftp_service.root, direction="up")


def test_where_capitals_count_names_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    fold = fold_of(tmp_path / "folder" / "not" / "there")
    assert fold("Ação") == ("ação" if (tmp_path / "FOLDER").exists() else "Ação")
