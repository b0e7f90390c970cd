"""Replies of an FTP server that are lost: what was to be changed is looked at, and done once; or said to be unsure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from echo_connhandler import FtpConnProperties, FtpHandler, Resilience
from echo_connhandler.errors import ConnectionFailedError, FtpNotFoundError, FtpReplyError, OutcomeUnknownError
from echo_connhandler.testing import no_waits
from tests.servers.ftp_scripted import FtpSession, ScriptedFtpServer, hang

NO_MLST = b"211-Features:\r\n SIZE\r\n MDTM\r\n211 End\r\n"
ITSELF = b"drwxr-xr-x 2 0 0 4096 May 13  2014 .\r\n"


def made(server: ScriptedFtpServer) -> FtpHandler:
    return FtpHandler(FtpConnProperties(host=server.host, port=server.port, request_timeout=5), skip_connect=True)


def gone(session: FtpSession, argument: str) -> bool:
    """Delete it, and lose the reply."""
    session.server.files.pop(argument, None)
    return False


def kept(session: FtpSession, argument: str) -> bool:
    """Lose the command."""
    return False


def renamed(session: FtpSession, argument: str) -> bool:
    session.server.files[argument] = session.server.files.pop(session.renamed)
    return False


def listing_of(server: ScriptedFtpServer) -> Callable[[FtpSession, str], bool]:
    def listed(session: FtpSession, argument: str) -> bool:
        lines = [f"type=file;size={len(data)}; {path[1:]}\r\n" for path, data in server.files.items()]
        return session.send("".join(lines).encode())

    return listed


def goodbye(session: FtpSession, argument: str) -> bool:
    """Answer what another thread, which closes the session, has said."""
    return session.say("221 bye")


@pytest.mark.parametrize(
    ("lost", "times"), [((gone,), 1), ((kept,), 2), ((kept, gone), 2), ((kept, kept), 3), ((goodbye,), 2)]
)
async def test_a_file_is_deleted_once_also_where_the_reply_is_lost(lost: tuple[Any, ...], times: int) -> None:
    with ScriptedFtpServer(files={"/a": b"1", "/b": b"2"}, wrong={"DELE": [*lost]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            with no_waits():
                await handler.async_delete("a")
            assert server.files == {"/b": b"2"}
            assert server.commands.count("DELE /a") == times
            with pytest.raises(FtpNotFoundError):
                await handler.async_delete("a")


def vanished(session: FtpSession, argument: str) -> bool:
    """Give it another name, and lose the reply."""
    session.server.files[argument[:-1]] = session.server.files.pop(session.renamed)
    return False


async def test_a_renamed_file_that_is_nowhere_is_said_to_be_unsure() -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"RNTO": [vanished]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            with no_waits(), pytest.raises(OutcomeUnknownError, match="neither it nor 'new' is"):
                await handler.async_rename("a", "new")
        assert server.files == {"/ne": b"1"}


@pytest.mark.parametrize(("lost", "times"), [((renamed,), 1), ((kept,), 2), ((kept, renamed), 2)])
async def test_a_file_is_renamed_once_also_where_the_reply_is_lost(lost: tuple[Any, ...], times: int) -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"RNTO": [*lost]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            with no_waits():
                await handler.async_rename("a", "b")
            assert server.files == {"/b": b"1"}
            assert server.commands.count("RNTO /b") == times


async def test_a_goodbye_does_not_say_that_an_upload_has_its_name() -> None:
    with ScriptedFtpServer(wrong={"RNTO": [goodbye]}) as server:
        async with made(server) as handler:
            with no_waits():
                await handler.async_upload_bytes(b"abc", "/a")
        assert server.files == {"/a": b"abc"}


async def test_what_arrives_late_is_no_failure() -> None:
    def late(session: FtpSession, argument: str) -> bool:
        session.server.files.pop("/a")  # what the first command does now
        return session.say("550 no such file")

    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"DELE": [kept, late]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            with no_waits():
                await handler.async_delete("a")


async def test_a_refusal_after_a_lost_reply_is_one_where_nothing_has_changed() -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"DELE": [kept, b"550 not allowed\r\n"]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            with no_waits(), pytest.raises(FtpReplyError, match="550 not allowed") as caught:
                await handler.async_delete("a")
            assert type(caught.value) is FtpReplyError


async def test_a_lost_question_is_no_doubt() -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"RNFR": None}) as server:
        async with made(server) as handler:
            with no_waits(), pytest.raises(ConnectionFailedError, match="rename on FTP"):
                await handler.async_rename("a", "b", retry=1)


async def test_without_retries_it_is_looked_at_all_the_same() -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"DELE": [gone]}) as server:
        server._wrong["MLSD"] = listing_of(server)
        async with made(server) as handler:
            await handler.async_delete("a", retry=0)
            server._wrong["DELE"] = [kept]
            server.files["/a"] = b"2"
            with pytest.raises(ConnectionFailedError, match="delete on FTP"):
                await handler.async_delete("a", retry=0)
            assert server.files == {"/a": b"2"}


@pytest.mark.parametrize("then", [b"421 closed\r\n", b"530 no\r\n", None])
async def test_what_cannot_be_found_out_is_said(then: Any) -> None:
    def last(session: FtpSession, argument: str) -> bool:
        session.server._wrong["USER"] = then
        return False

    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"DELE": [last]}) as server:
        async with made(server) as handler:
            with (
                no_waits(),
                pytest.raises(OutcomeUnknownError, match="delete on FTP .*: the reply was lost after sending"),
            ):
                await handler.async_delete("a", retry=2)


async def test_beyond_the_deadline_nothing_is_looked_for() -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={"DELE": hang}) as server:
        async with made(server) as handler:
            with pytest.raises(OutcomeUnknownError):
                await handler.async_delete("a", retry=Resilience(deadline=0.2))
            assert not [each for each in server.commands if each.startswith(("MLST", "MLSD"))]


@pytest.mark.parametrize("arrives", [True, False])
async def test_folders_are_made_and_removed_also_where_the_reply_is_lost(arrives: bool) -> None:
    folders = {"/"}

    def changes(change: Callable[[str], None], possible: Callable[[str], bool]) -> list[Any]:
        def do(session: FtpSession, path: str) -> bool:
            if not possible(path):
                return session.say("550 no")
            change(path)
            return session.say("250 fine")

        def lose(session: FtpSession, path: str) -> bool:
            if arrives:
                change(path)
            return False

        return [lose, do, do]

    wrong: dict[str, Any] = {
        "FEAT": NO_MLST,
        "CWD": lambda session, path: session.say("250 fine" if path in folders else "550 no"),
        "MKD": changes(folders.add, lambda path: path not in folders),
        "RMD": changes(folders.discard, lambda path: path in folders),
    }
    with ScriptedFtpServer(listing=ITSELF, wrong=wrong) as server:
        async with made(server) as handler:
            with no_waits():
                await handler.async_make_dirs("/d")
                assert folders == {"/", "/d"}
                await handler.async_remove_dir("/d")
                assert folders == {"/"}
            assert server.commands.count("MKD /d") == server.commands.count("RMD /d") == (1 if arrives else 2)
