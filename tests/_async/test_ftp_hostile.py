"""An FTP server that talks rubbish or leads astray: a clear error, and nothing is where it must not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import FtpConnProperties, FtpHandler, Resilience
from echo_connhandler._concurrency import async_bounded
from echo_connhandler.errors import (
    ConnectionFailedError,
    EchoConnError,
    FtpReplyError,
    TimeoutExceededError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.servers.ftp_scripted import FtpSession, ScriptedFtpServer, Step, half, hang, reset

pytestmark = pytest.mark.usefixtures("impatient_ftp")

CONTENT = bytes(range(256)) * 8
FILES = {"/f": CONTENT}
LISTING = f"type=file;size={len(CONTENT)};modify=20250102030405; f\r\n".encode()
FEW = Resilience(max_retries=2, max_conn_retries=2)


def make(server: ScriptedFtpServer, **properties: Any) -> FtpHandler:
    values = {"conn_timeout": 2, "request_timeout": 2, "user": "u", "password": "secret", **properties}
    props = FtpConnProperties(host=server.host, port=server.port, **values)
    return FtpHandler(props, skip_connect=True, resilience=FEW)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def fetched(server: ScriptedFtpServer, tmp_path: Path, **properties: Any) -> None:
    """Download the file and compare it."""
    async with make(server, **properties) as handler:
        with no_waits(), async_bounded(20):
            await handler.async_download("/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert names(tmp_path) == ["f"]


def cut_reply(text: bytes) -> Step:
    """Send a part of a reply and hang up."""

    def send(session: FtpSession, argument: str) -> bool:
        session.connection.sendall(text)
        return False

    return send


# What an honest server may do at a bad moment


BREAKS: dict[str, Step] = {
    "421": b"421 going down\r\n",
    "closed": None,
    "reset": reset,
    "cut in the code": cut_reply(b"2"),
    "cut in the text": cut_reply(b"226 fi"),
}


@pytest.mark.parametrize("command", ["USER", "PASS", "FEAT", "TYPE", "EPSV", "SIZE", "RETR"])
@pytest.mark.parametrize("kind", BREAKS)
async def test_what_breaks_once_is_done_again(command: str, kind: str, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={command: [BREAKS[kind]]}) as server:
        await fetched(server, tmp_path)


async def test_a_size_cut_in_its_line_is_not_believed(tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"SIZE": [cut_reply(b"213 20"), cut_reply(b"213 2048\r")]}) as server:
        await fetched(server, tmp_path)


@pytest.mark.parametrize("code", [421, 425, 426, 450, 451, 452])
async def test_temporary_refusals_are_tried_again(code: int, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"RETR": [f"{code} not now\r\n".encode()] * 2}) as server:
        await fetched(server, tmp_path)
    assert server.commands.count("RETR /f") == 3


@pytest.mark.parametrize("code", [500, 530, 550, 552, 553])
async def test_final_refusals_are_not_tried_again(code: int, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"RETR": f"{code} never\r\n".encode()}) as server:
        async with make(server) as handler:
            with no_waits() as waits, pytest.raises(FtpReplyError) as caught:
                await handler.async_download("/f", tmp_path / "f")
    assert (caught.value.code, waits, server.commands.count("RETR /f")) == (code, [], 1)
    assert names(tmp_path) == []


async def test_data_that_stalls_once_is_fetched_from_where_it_was(tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"RETR": [half]}) as server:
        await fetched(server, tmp_path, request_timeout=0.3)
    assert f"REST {len(CONTENT) // 2}" in server.commands


async def test_data_that_always_stalls_is_a_timeout(tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"RETR": lambda session, argument: stall(session)}) as server:
        async with make(server, request_timeout=0.2) as handler:
            with no_waits(), pytest.raises(TimeoutExceededError):
                await handler.async_download("/f", tmp_path / "f")
    assert "f" not in names(tmp_path)


def stall(session: FtpSession) -> bool:
    """Send nothing at all."""
    session.say("150 it comes")
    with session.data() as data:
        data.settimeout(None)
        data.recv(1)
    return False


async def test_silence_at_any_command_is_a_timeout(tmp_path: Path) -> None:
    for command in ("", "USER", "FEAT", "TYPE", "EPSV", "RETR"):
        with ScriptedFtpServer(files=FILES, wrong={command: hang}) as server:
            with no_waits(), pytest.raises(TimeoutExceededError):
                with async_bounded(20):
                    async with make(server, request_timeout=0.1, conn_timeout=0.3) as handler:
                        await handler.async_download("/f", tmp_path / "f", retry=0)
    assert names(tmp_path) == []


async def test_an_address_in_a_pasv_reply_is_not_gone_to(tmp_path: Path) -> None:
    def elsewhere(session: FtpSession, argument: str) -> bool:
        port = session.listen()
        return session.say(f"227 Passive Mode (10,9,8,7,{port >> 8},{port & 255})")

    with ScriptedFtpServer(files=FILES, wrong={"EPSV": b"500 unknown\r\n", "PASV": elsewhere}) as server:
        await fetched(server, tmp_path)


async def test_a_data_connection_from_elsewhere_is_not_taken(tmp_path: Path) -> None:
    def intruded(session: FtpSession, argument: str) -> bool:
        session.say("150 it comes")
        with session.data(local="127.0.0.9") as foreign:
            foreign.sendall(b"x" * len(CONTENT))
        with session.data() as data:
            data.sendall(CONTENT)
        return session.say("226 that was all")

    with ScriptedFtpServer(files=FILES, wrong={"RETR": intruded}) as server:
        await fetched(server, tmp_path, passive=False)


# Lies


def lies(content: bytes) -> Step:
    def send(session: FtpSession, argument: str) -> bool:
        return session.send(content)

    return send


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT + b"more"], ids=["less", "none", "more"])
async def test_another_size_than_announced_is_no_success(content: bytes, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"RETR": lies(content), "REST": b"502 unknown\r\n"}) as server:
        async with make(server) as handler:
            with no_waits(), pytest.raises(TransferError, match=r"'/f'"):
                await handler.async_download("/f", tmp_path / "f")
    assert "f" not in names(tmp_path)


async def test_an_upload_that_did_not_arrive_is_no_success() -> None:
    def forgetful(session: FtpSession, argument: str) -> bool:
        session.say("150 go on")
        with session.data() as data:
            while data.recv(65536):
                pass
        session.server.files[argument] = CONTENT[:100]
        return session.say("226 kept")

    with ScriptedFtpServer(files={"/f": b"old"}, wrong={"STOR": forgetful}) as server:
        async with make(server) as handler:
            with no_waits(), pytest.raises(TransferError):
                await handler.async_upload_bytes(CONTENT, "/f")
        assert server.files == {"/f": b"old"}


RUBBISH = {
    "no code": b"hello\r\n",
    "no text": b"\r\n",
    "binary": bytes(range(128, 256)) + b"\r\n",
    "nul": b"220\0ready\r\n",
    "four digits": b"2200 ready\r\n",
    "class 9": b"999 what\r\n",
    "bare LF": b"200 ready\n200 ready\n",
    "never ending line": b"2" * 2_000_000,
    "never ending reply": b"200-go on\r\n" + (b" and on" * 100 + b"\r\n") * 3000,
}


@pytest.mark.parametrize("command", ["", "PASS", "PWD", "FEAT", "TYPE", "EPSV", "SIZE", "MDTM", "RETR"])
@pytest.mark.parametrize("kind", RUBBISH)
async def test_rubbish_is_a_clear_error_or_does_no_harm(command: str, kind: str, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={command: RUBBISH[kind]}) as server:
        try:
            with async_bounded(20):
                await fetched(server, tmp_path, request_timeout=0.3, conn_timeout=0.5)
        except EchoConnError as error:
            assert "secret" not in str(error)
            assert "f" not in names(tmp_path)
        server.wait_open(0)


@pytest.mark.parametrize(
    "reply",
    [b"229 (|||0|)\r\n", b"229 (|||99999|)\r\n", b"229 (|||x|)\r\n", b"229 fine\r\n", b"229 (|1|10.9.8.7|21|)\r\n"],
)
async def test_a_port_that_is_none_is_an_error(reply: bytes, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES, wrong={"EPSV": reply, "PASV": b"500 unknown\r\n"}) as server:
        async with make(server) as handler:
            with no_waits(), pytest.raises((ConnectionFailedError, TransferError)):
                await handler.async_download("/f", tmp_path / "f")
    assert "f" not in names(tmp_path)


OUTSIDE = [
    "../evil",
    "..",
    "/evil",
    "a/../../evil",
    "a/evil",
    "..\\evil",
    "C:\\evil",
    "ev\x00il",
    "ev\ril",
]


@pytest.mark.parametrize("name", OUTSIDE)
async def test_names_that_lead_out_of_the_folder_write_nothing_there(name: str, tmp_path: Path) -> None:
    target = tmp_path / "a" / "target"
    target.mkdir(parents=True)
    evil = f"type=file;size={len(CONTENT)};modify=20250102030405; {name}\r\n".encode()
    files = {**FILES, f"/{name}": CONTENT, name: CONTENT}
    with ScriptedFtpServer(files=files, listing=LISTING + evil) as server:
        async with make(server) as handler:
            with no_waits(), async_bounded(20):
                try:
                    await handler.async_mirror("/", target)
                except EchoConnError as error:
                    assert "secret" not in str(error)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if target not in path.parents] == []
    assert not Path("/evil").exists()


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nDELE f", "a\0b"])
async def test_line_ends_in_arguments_are_refused_before_anything_is_sent(text: str, tmp_path: Path) -> None:
    with ScriptedFtpServer(files=FILES) as server:
        async with make(server) as handler:
            await handler.async_connect()
            before = list(server.commands)
            for call in (handler.async_list_dir, handler.async_delete, handler.async_make_dirs, handler.async_info):
                with pytest.raises(ValueError, match="control"):
                    await call(text)
            with pytest.raises(ValueError, match="control"):
                await handler.async_upload_bytes(b"", text)
            with pytest.raises(ValueError, match="control"):
                await handler.async_rename("f", text)
            assert server.commands == before
