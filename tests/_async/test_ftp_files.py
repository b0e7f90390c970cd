"""Looking at files and folders of FTP servers, and changing them: on every server, with and without TLS."""

from __future__ import annotations

import datetime as dt
import os
import pickle
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from echo_connhandler import FtpEntry, FtpHandler, Resilience
from echo_connhandler.errors import ConnectionFailedError, FtpNotFoundError, FtpReplyError, HandlerClosedError
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.ftp_servers import FtpService
from tests.servers.ftp_proxy import FtpProxy

NAMES = [
    "  leading",
    ".hidden",
    "a -> b",
    "a b  c.csv",
    "naïve-Ω.txt",
    "quo'te\"",
    "semi;colon=x; y",
    "star*[?]#%",
    "~x-",
]
MOMENT = dt.datetime(2021, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def fill(folder: Path, *paths: str) -> None:
    """Make files, each with its own path as its content, and folders where a path ends in a slash."""
    for path in paths:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir(exist_ok=True)
        else:
            place.write_text(path)
            os.utime(place, (MOMENT.timestamp(), MOMENT.timestamp()))


async def test_a_folder(any_ftp_service: FtpService) -> None:
    fill(any_ftp_service.folder, "b.csv", "a.csv", "data/", "empty/")
    for passive in (True, False):
        async with any_ftp_service.make(properties={"passive": passive}) as handler:
            entries = await handler.async_list_dir(any_ftp_service.root)
            assert [(each.name, each.is_dir, each.size, each.is_link) for each in entries] == [
                ("a.csv", False, 5, False),
                ("b.csv", False, 5, False),
                ("data", True, None, False),
                ("empty", True, None, False),
            ]
            assert [each.path for each in entries] == [any_ftp_service.path(each.name) for each in entries]
            assert [each.modified for each in entries if not each.is_dir] == [MOMENT, MOMENT]
            assert await handler.async_list_dir(any_ftp_service.path("empty")) == []
            assert await handler.async_ping()


async def test_names_come_as_they_are(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, *NAMES, "d/  x  y")
    async with ftp_service.make() as handler:
        found = await handler.async_list_dir(ftp_service.root)
        assert [each.name for each in found] == sorted([*NAMES, "d"])
        for each in found:
            assert await handler.async_info(each.path) == each
        for name in NAMES:
            await handler.async_delete(ftp_service.path(name))
        await handler.async_remove_dir(ftp_service.path("d"), recursive=True)
        assert list(ftp_service.folder.iterdir()) == []


async def test_names_in_a_legacy_encoding(ftp_service: FtpService) -> None:
    if ftp_service.product == "pyftpdlib":  # it shows such names as what nobody could ask for
        fill(ftp_service.folder, "x")
    else:
        (ftp_service.folder / os.fsdecode("preço.csv".encode("latin-1"))).write_text("x")
    async with ftp_service.make(properties={"encoding": "latin-1"}) as handler:
        (entry,) = await handler.async_list_dir(ftp_service.root)
        assert entry.name == ("x" if ftp_service.product == "pyftpdlib" else "preço.csv")
        assert (await handler.async_info(entry.path)).size == 1
        with pytest.raises(ValueError, match="can't be written in latin-1"):
            await handler.async_exists("Ω")
        assert await handler.async_exists(entry.path)
    async with ftp_service.make() as handler:
        (entry,) = await handler.async_list_dir(ftp_service.root)
        assert await handler.async_exists(entry.path)


async def test_paths_are_relative_to_where_the_login_leads(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, "d/x")
    name = ftp_service.folder.name
    async with ftp_service.make() as handler:
        for path in (name, f"./{name}/", f"{name}//."):
            assert [each.path for each in await handler.async_list_dir(path)] == [f"{name}/d"]
        assert [each.path async for each in handler.async_walk(PurePosixPath(name))] == [f"{name}/d", f"{name}/d/x"]
        assert name in [each.name for each in await handler.async_list_dir()]
        assert name in [each.path for each in await handler.async_list_dir(".")]
        assert (await handler.async_info(f"{name}/d/x")).path == f"{name}/d/x"
        assert (await handler.async_info("")).is_dir


def link_all(folder: Path) -> None:
    fill(folder, "file", "d/x")
    for name, target in [("to file", "file"), ("to d", "d"), ("nowhere", "gone"), ("d/up", ".."), ("here", ".")]:
        (folder / name).symlink_to(target)


async def test_links(ftp_service: FtpService) -> None:
    link_all(ftp_service.folder)
    async with ftp_service.make() as handler:
        found = {each.name: each for each in await handler.async_list_dir(ftp_service.root)}
        tells = ftp_service.product != "pyftpdlib"  # it shows what they lead to
        assert found["to file"].is_link is found["to d"].is_link is tells
        assert (found["to file"].is_dir, found["to file"].size, found["to file"].modified) == (False, 4, MOMENT)
        assert (found["to d"].is_dir, found["to d"].size) == (True, None)
        info = await handler.async_info(ftp_service.path("to file"))
        assert (info.is_dir, info.size, info.modified) == (False, 4, MOMENT)
        assert (await handler.async_info(ftp_service.path("to d"))).is_dir
        assert not await handler.async_exists(ftp_service.path("nowhere"))
        await handler.async_delete(ftp_service.path("nowhere"))
        await handler.async_delete(ftp_service.path("to d"))
        assert not (ftp_service.folder / "nowhere").is_symlink()
        assert (ftp_service.folder / "d/x").exists()


async def test_a_walk_goes_through_all_and_ends(any_ftp_service: FtpService) -> None:
    link_all(any_ftp_service.folder)
    fill(any_ftp_service.folder, "d/e/f/y")
    async with any_ftp_service.make() as handler:
        walked = [each async for each in handler.async_walk(any_ftp_service.root)]
    paths = [each.path.removeprefix(any_ftp_service.root + "/") for each in walked]
    assert len(set(paths)) == len(paths)
    assert {"file", "d", "d/x", "d/e", "d/e/f", "d/e/f/y", "to file", "to d", "d/up", "here"} <= set(paths)
    assert paths.index("d") < paths.index("d/e") < paths.index("d/e/f") < paths.index("d/e/f/y")
    if any_ftp_service.product != "pyftpdlib":
        assert not [path for path in paths if path.startswith(("to d/", "d/up/", "here/"))]


async def test_a_walk_may_be_left_and_its_folders_may_vanish(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, "a/x", "b/y", "c")
    async with ftp_service.make(pool_size=1) as handler:
        seen = []
        async for entry in handler.async_walk(ftp_service.root):
            seen.append(entry.name)
            if entry.name == "c":
                await handler.async_remove_dir(ftp_service.path("a"), recursive=True)
        assert seen == ["a", "b", "c", "y"]
        await first_of(handler.async_walk(ftp_service.root))
        with pytest.raises(FtpNotFoundError):
            [each async for each in handler.async_walk(ftp_service.path("nope"))]
        assert handler.async_pool_stats.in_use == 0


async def test_patterns(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, "a.csv", "b.txt", "x/c.csv", "x/y/d.csv", "x/y/.e.csv", "xx/f.CSV", "z[1]/g.csv")
    async with ftp_service.make() as handler:
        for pattern, expected in [
            ("*.csv", ["a.csv"]),
            ("?.*", ["a.csv", "b.txt"]),
            ("*/*.csv", ["x/c.csv", "z[1]/g.csv"]),
            ("**/*.csv", ["a.csv", "x/c.csv", "x/y/.e.csv", "x/y/d.csv", "z[1]/g.csv"]),
            ("x/**", ["x/c.csv", "x/y", "x/y/.e.csv", "x/y/d.csv"]),
            ("x*/f.CSV", ["xx/f.CSV"]),
            ("z[1]/*", ["z[1]/g.csv"]),
            ("a.csv", ["a.csv"]),
            ("nope", []),
            ("nope/*", []),
            ("nope/**/*", []),
            ("a.csv/*", []),
            ("*/y/d.csv", ["x/y/d.csv"]),
        ]:
            found = await handler.async_glob(f"{ftp_service.root}/{pattern}")
            assert [each.path for each in found] == [ftp_service.path(path) for path in expected], pattern
        name = ftp_service.folder.name
        assert [each.path for each in await handler.async_glob(f"{name}/*.csv")] == [f"{name}/a.csv"]
        assert [each.path for each in await handler.async_glob(f"**/{name}/*.csv")] == [f"{name}/a.csv"]


async def test_what_is_there(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, "d/x")
    async with ftp_service.make() as handler:
        assert await handler.async_info(ftp_service.path("d", "x")) == FtpEntry(
            "x", ftp_service.path("d", "x"), False, 3, MOMENT
        )
        assert (await handler.async_info(ftp_service.path("d"))).is_dir
        for path, there in [("d", True), ("d/x", True), ("d/", True), ("y", False), ("d/y", False), ("d/x/y", False)]:
            assert await handler.async_exists(ftp_service.path(path)) is there
        assert await handler.async_exists("/")


async def test_changes(ftp_service: FtpService) -> None:
    folder = ftp_service.folder
    fill(folder, "a", "b")
    async with ftp_service.make() as handler:
        await handler.async_rename(ftp_service.path("a"), ftp_service.path("c"))
        await handler.async_rename(ftp_service.path("c"), ftp_service.path("b"))
        assert (folder / "b").read_text() == "a"
        await handler.async_make_dirs(ftp_service.path("n", "e", "w"))
        await handler.async_make_dirs(ftp_service.path("n", "e", "w"))
        await handler.async_make_dirs(ftp_service.path("n", "f"))
        await handler.async_rename(ftp_service.path("b"), ftp_service.path("n", "f", "b"))
        await handler.async_rename(ftp_service.path("n", "f"), ftp_service.path("n", "g"))
        assert sorted(str(each.relative_to(folder)) for each in folder.rglob("*")) == [
            "n",
            "n/e",
            "n/e/w",
            "n/g",
            "n/g/b",
        ]
        await handler.async_remove_dir(ftp_service.path("n", "e", "w"))
        await handler.async_delete(ftp_service.path("n", "g", "b"))
        await handler.async_remove_dir(ftp_service.path("n"), recursive=True)
        assert list(folder.iterdir()) == []
        await handler.async_make_dirs("")
        await handler.async_make_dirs("/")


async def test_removing_a_folder_leaves_what_its_links_lead_to(ftp_service: FtpService) -> None:
    folder = ftp_service.folder
    fill(folder, "kept/x", "gone/.h", "gone/e/f/y", "gone/g/")
    for name, target in [("gone/l", "../kept"), ("gone/m", "../kept/x"), ("gone/up", ".."), ("link", "kept")]:
        (folder / name).symlink_to(target)
    async with ftp_service.make() as handler:
        with pytest.raises(FtpReplyError, match="is a link: what it leads to is not removed"):
            await handler.async_remove_dir(ftp_service.path("link"), recursive=True)
        await handler.async_remove_dir(ftp_service.path("gone"), recursive=True)
    assert sorted(each.name for each in folder.iterdir()) == ["kept", "link"]
    assert (folder / "kept/x").exists()


REFUSED: dict[str, tuple[Callable[[FtpHandler, Callable[..., str]], Any], type[Exception], str]] = {
    "list missing": (
        lambda h, p: h.async_list_dir(p("no")),
        FtpNotFoundError,
        "list_dir on FTP .*'.*/no' is not there",
    ),
    "list file": (lambda h, p: h.async_list_dir(p("file")), FtpReplyError, "'.*/file' is no folder"),
    "info missing": (lambda h, p: h.async_info(p("no")), FtpNotFoundError, "info on FTP .*'.*/no' is not there"),
    "delete missing": (lambda h, p: h.async_delete(p("no")), FtpNotFoundError, "delete on FTP .*'.*/no' is not there"),
    "delete folder": (lambda h, p: h.async_delete(p("d")), FtpReplyError, "delete on FTP .*DELE .*/d was answered 550"),
    "rename missing": (lambda h, p: h.async_rename(p("no"), p("x")), FtpNotFoundError, "'.*/no' is not there: RNFR"),
    "rename into missing": (
        lambda h, p: h.async_rename(p("file"), p("no", "x")),
        FtpReplyError,
        "RNTO .* was answered 5",
    ),
    "make on file": (lambda h, p: h.async_make_dirs(p("file")), FtpReplyError, "MKD .*/file was answered 550"),
    "make below file": (lambda h, p: h.async_make_dirs(p("file", "x")), FtpReplyError, "MKD .* was answered 550"),
    "remove missing": (lambda h, p: h.async_remove_dir(p("no")), FtpNotFoundError, "'.*/no' is not there"),
    "remove all of missing": (
        lambda h, p: h.async_remove_dir(p("no"), recursive=True),
        FtpNotFoundError,
        "'.*/no' is not there",
    ),
    "remove full": (lambda h, p: h.async_remove_dir(p("d")), FtpReplyError, "RMD .*/d was answered 550"),
    "remove file": (lambda h, p: h.async_remove_dir(p("file")), FtpReplyError, "RMD .*/file was answered 550"),
    "remove all of file": (
        lambda h, p: h.async_remove_dir(p("file"), recursive=True),
        FtpReplyError,
        "'.*/file' is no folder",
    ),
}


@pytest.mark.parametrize("call", REFUSED)
async def test_what_is_refused_is_said_at_once_and_nothing_is_changed(ftp_service: FtpService, call: str) -> None:
    fill(ftp_service.folder, "file", "d/x")
    work, kind, text = REFUSED[call]
    async with ftp_service.make() as handler:
        with no_waits() as waits, pytest.raises(FtpReplyError, match=text) as caught:
            await work(handler, ftp_service.path)
        assert type(caught.value) is kind
        assert isinstance(caught.value, FileNotFoundError) is (kind is FtpNotFoundError)
        assert caught.value.code in (550, 553, 501)
        assert waits == []
        assert await handler.async_exists(ftp_service.path("file"))
        assert handler.async_pool_stats.opened == 1
    assert sorted(each.name for each in ftp_service.folder.rglob("*")) == ["d", "file", "x"]


CALLS: dict[str, Callable[[FtpHandler, str], Any]] = {
    "list_dir": lambda h, path: h.async_list_dir(path),
    "walk": lambda h, path: first_of(h.async_walk(path)),
    "glob": lambda h, path: h.async_glob(path),
    "exists": lambda h, path: h.async_exists(path),
    "info": lambda h, path: h.async_info(path),
    "delete": lambda h, path: h.async_delete(path),
    "rename from": lambda h, path: h.async_rename(path, "x"),
    "rename to": lambda h, path: h.async_rename("x", path),
    "make_dirs": lambda h, path: h.async_make_dirs(path),
    "remove_dir": lambda h, path: h.async_remove_dir(path, recursive=True),
}


async def first_of(entries: Any) -> None:
    async for _ in entries:
        return


@pytest.mark.parametrize("call", CALLS)
async def test_no_argument_can_be_another_command(call: str) -> None:
    from tests.servers.ftp_scripted import ScriptedFtpServer

    with ScriptedFtpServer() as server:
        handler = FtpHandler(server_props(server), skip_connect=True)
        for path in ("a\r\nDELE b", "a\nb", "a\rb", "a\0b", "a\tb", "a\x7f", "\x1b[2J"):
            with pytest.raises(ValueError, match="control character"):
                await CALLS[call](handler, path)
        with pytest.raises(TypeError):
            await CALLS[call](handler, 7)  # type: ignore[arg-type]
        assert server.commands == []


def server_props(server: Any) -> Any:
    from echo_connhandler import FtpConnProperties

    return FtpConnProperties(host=server.host, port=server.port, user="me", password="secret-word")


async def test_many_at_once_share_a_pool(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, *(f"d{n}/f{n}" for n in range(12)))
    async with ftp_service.make(pool_size=3) as handler:
        async with AsyncTasks() as tasks:
            for n in range(12):
                tasks.start(handler.async_list_dir, ftp_service.path(f"d{n}"))
        assert [[each.name for each in found] for found in tasks.results] == [[f"f{n}"] for n in range(12)]
        assert handler.async_pool_stats.in_use == 0


async def test_the_life_of_a_handler(ftp_service: FtpService) -> None:
    fill(ftp_service.folder, "x")
    handler = ftp_service.make(max_retries=0)
    assert not handler.async_is_connected
    assert await handler.async_exists(ftp_service.path("x"))
    assert handler.async_is_connected
    twin = pickle.loads(pickle.dumps(handler))
    assert await twin.async_exists(ftp_service.path("x"))
    other = handler.with_resilience(Resilience(max_retries=1))
    assert (other.resilience.max_retries, other.props) == (1, handler.props)
    assert await other.async_exists(ftp_service.path("x"))
    await handler.async_reconnect()
    assert await handler.async_exists(ftp_service.path("x"))
    await handler.async_close()
    await handler.async_close()
    for call in (handler.async_list_dir, handler.async_ping):
        with pytest.raises(HandlerClosedError):
            await call()
    async with handler:
        assert await handler.async_ping()
    for each in (twin, other):
        await each.async_close()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_session_lost_while_idle_is_replaced_without_a_failed_attempt(
    ftp_service: FtpService, how: Any
) -> None:
    fill(ftp_service.folder, "x")
    with FtpProxy(ftp_service.server) as proxy:
        async with ftp_service.make(properties={**proxy.place, "idle_check": 0}, max_retries=0) as handler:
            for _ in range(3):
                assert proxy.control.drop(how) == 1
                assert [each.name for each in await handler.async_list_dir(ftp_service.root)] == ["x"]
            assert handler.async_pool_stats.opened == 4
        proxy.wait_closed()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_session_lost_in_its_midst_is_replaced(ftp_service: FtpService, how: Any) -> None:
    fill(ftp_service.folder, "x")
    with FtpProxy(ftp_service.server) as proxy:
        async with ftp_service.make(properties=proxy.place) as handler:
            for _ in range(2):
                proxy.control.drop(how)
                with no_waits() as waits:
                    assert [each.name for each in await handler.async_list_dir(ftp_service.root)] == ["x"]
                assert len(waits) <= 1
            proxy.data.cut("down", after=10, how="reset")
            with no_waits() as waits:
                assert [each.name for each in await handler.async_list_dir(ftp_service.root)] == ["x"]
            assert len(waits) == 1
        proxy.wait_closed()


async def test_a_server_that_starts_again_is_found_again(own_ftp_service: FtpService) -> None:
    fill(own_ftp_service.folder, "x")
    async with own_ftp_service.make() as handler:
        own_ftp_service.server.kill()
        assert not await handler.async_ping()
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match="connecting to FTP .* refused"):
            await handler.async_exists(own_ftp_service.path("x"), retry=0)
        assert len(waits) == 3
        own_ftp_service.server.start()
        assert await handler.async_exists(own_ftp_service.path("x"))
