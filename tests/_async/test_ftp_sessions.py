"""Sessions with an FTP server that does as it's told: the login, ways to data, what is tried again."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest

from echo_connhandler import FtpConnProperties, FtpHandler, Resilience
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    EchoConnError,
    FtpNotFoundError,
    FtpReplyError,
    TimeoutExceededError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.servers.ftp_scripted import FtpSession, ScriptedFtpServer, hang, reset

# Tracebacks show source lines: the word itself stands in none.
SECRET = "".join(reversed("drow-terces"))
NO_MLST = b"211-Features:\r\n SIZE\r\n MDTM\r\n211 End\r\n"
UNIX = b"-rw-r--r-- 1 0 0 3 Nov 21 02:26 a.csv\r\ndrwxr-xr-x 2 0 0 4096 May 13  2014 d\r\n"
ITSELF = b"drwxr-xr-x 2 0 0 4096 May 13  2014 .\r\n"
WINDOWS = b"11-21-25  02:26AM                    3 a.csv\r\n11-21-25  02:26AM       <DIR>          d\r\n"
MLSD = b"type=file;size=3;modify=20240229123059; a.csv\r\ntype=dir; d\r\n"
MOMENT = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def props(server: ScriptedFtpServer, **values: Any) -> FtpConnProperties:
    right = {"host": server.host, "port": server.port, "user": "me", "password": SECRET, "request_timeout": 5}
    return FtpConnProperties(**{**right, **values})


def made(server: ScriptedFtpServer, **values: Any) -> FtpHandler:
    return FtpHandler(props(server, **values), skip_connect=True)


# The login


async def test_a_login_and_what_follows_it() -> None:
    with ScriptedFtpServer() as server:
        async with made(server):
            pass
    expected = ["USER me", f"PASS {SECRET}", "FEAT", "OPTS UTF8 ON", "TYPE I", "PWD", "QUIT"]
    assert [each for each in server.commands if "MLST" not in each] == expected


async def test_nobody_logs_in_as_anonymous() -> None:
    with ScriptedFtpServer() as server:
        async with made(server, user=None, password=None):
            pass
    assert server.commands[:2] == ["USER anonymous", "PASS anonymous@"]


async def test_a_server_may_ask_for_less_or_for_more() -> None:
    with ScriptedFtpServer(wrong={"USER": b"230 come in\r\n"}) as server:
        async with made(server):
            assert "PASS" not in " ".join(server.commands)
    wrong = {"PASS": b"332 account\r\n", "ACCT": b"230 in\r\n", "": b"120 soon\r\n220-hello\r\n220 there\r\n"}
    with ScriptedFtpServer(wrong=wrong) as server:
        async with made(server, account=f"{SECRET}-account"):
            assert server.commands[2] == f"ACCT {SECRET}-account"
        with pytest.raises(AuthenticationError, match="asks for an account"):
            await made(server).async_connect()


@pytest.mark.parametrize("command", ["USER", "PASS"])
async def test_a_refused_login_is_not_repeated(command: str) -> None:
    with ScriptedFtpServer(wrong={command: b"530 no\r\n"}) as server:
        handler = made(server)
        for call in (handler.async_connect, handler.async_ping, handler.async_list_dir):
            with (
                no_waits() as waits,
                pytest.raises(
                    AuthenticationError, match="connecting to FTP 127.0.0.1:.*: the login was refused: .* 530 no"
                ),
            ):
                await call()
            assert waits == []
        assert sum(each.startswith("USER") for each in server.commands) == 3


@pytest.mark.parametrize("command", ["", "USER", "PASS", "FEAT", "TYPE", "PWD"])
async def test_a_server_that_has_no_place_now_is_asked_again(command: str) -> None:
    with ScriptedFtpServer(wrong={command: [b"421 too many\r\n", b"421 too many\r\n"]}) as server:
        with no_waits() as waits:
            async with made(server) as handler:
                assert handler.async_is_connected
        assert len(waits) == 2
    with ScriptedFtpServer(wrong={command: b"421 too many\r\n"}) as server:
        with no_waits(), pytest.raises(ConnectionFailedError, match=r"421 too many \(after 4 attempts"):
            await made(server).async_connect()


@pytest.mark.parametrize(
    ("wrong", "values", "text"),
    [
        ({"": b"554 go away\r\n"}, {}, "554 go away"),
        ({"AUTH": b"502 no\r\n"}, {"tls": "explicit"}, "AUTH TLS was answered 502 no"),
        ({"TYPE": b"504 no\r\n"}, {}, "TYPE I was answered 504"),
        ({"PWD": b"502 no\r\n"}, {}, "PWD was answered 502"),
        ({"PWD": b"257 nothing\r\n"}, {}, "has no path in quotes"),
    ],
)
async def test_a_server_that_cannot_be_used_is_not_tried_again(
    wrong: dict[str, Any], values: dict[str, Any], text: str
) -> None:
    with ScriptedFtpServer(wrong=wrong) as server:
        handler = made(server, **values)
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match=f"the server can't be used: .*{text}"):
            await handler.async_connect()
        assert waits == []
        assert not await handler.async_ping()
        assert not any(SECRET in each for each in server.commands if "explicit" in values.values())


async def test_a_server_that_says_nothing_is_waited_for_as_long_as_connecting_may_take() -> None:
    with ScriptedFtpServer(wrong={"": hang}) as server:
        handler = FtpHandler(props(server, conn_timeout=0.2), skip_connect=True, max_conn_retries=1)
        with no_waits() as waits, pytest.raises(TimeoutExceededError, match="after 2 attempts"):
            await handler.async_connect()
        assert len(waits) == 1


@pytest.mark.parametrize(
    "wrong", [{}, {"PASS": b"530 %b is wrong\r\n" % SECRET.encode()}, {"PASS": None}, {"FEAT": reset}]
)
async def test_no_secret_is_shown(wrong: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []
    with ScriptedFtpServer(wrong=wrong | {"DELE": b"550 you are %b\r\n" % SECRET.encode()}) as server:
        handler = made(server, account=f"{SECRET}-account")
        try:
            with no_waits():
                await handler.async_delete("x")
        except EchoConnError as error:
            shown += [str(error), repr(error), repr(error.__cause__)]
        shown += [repr(handler), repr(handler.props), repr(handler._settings), repr(handler._async_engines.get().pool)]
        await handler.async_close()
        assert any(SECRET in each for each in server.commands)
    assert shown[0]
    records = [record.getMessage() + repr(record.args) for record in caplog.records]
    assert any("> PASS ***" in each for each in records)
    assert not [each for each in shown + records if SECRET in each]


# Listings, from servers that know less


@pytest.mark.parametrize("listing", [UNIX, WINDOWS, ITSELF + UNIX])
async def test_a_server_without_facts_is_read_as_people_do(listing: bytes) -> None:
    with ScriptedFtpServer(files={"/x/a.csv": b"abc"}, listing=listing, wrong={"FEAT": NO_MLST}) as server:
        async with made(server) as handler:
            for _ in range(2):
                a, d = await handler.async_list_dir("/x")
                assert (a.name, a.path, a.is_dir, a.size, a.modified) == ("a.csv", "/x/a.csv", False, 3, MOMENT)
                assert (d.name, d.is_dir, d.size, d.modified) == ("d", True, None, None)
        lists = [each for each in server.commands if each.startswith("LIST")]
        assert lists == (["LIST -a"] * 2 if listing.startswith(ITSELF) else ["LIST -a", "LIST", "LIST"])
        assert [each for each in server.commands if each.startswith("CWD")] == ["CWD /x", "CWD /"] * 2
        assert "MLSD" not in " ".join(server.commands)


async def test_a_server_that_takes_an_option_for_a_name() -> None:
    def listed(session: FtpSession, argument: str) -> bool:
        return session.say("550 no such file") if argument else session.send(UNIX)

    with ScriptedFtpServer(wrong={"FEAT": NO_MLST, "LIST": listed}) as server:
        async with made(server) as handler:
            assert [each.name for each in await handler.async_list_dir()] == ["a.csv", "d"]


async def test_a_server_that_tells_no_times_and_no_sizes() -> None:
    refused = {"FEAT": b"500 what\r\n", "MDTM": b"500 what\r\n", "SIZE": b"502 what\r\n"}

    def entered(session: FtpSession, argument: str) -> bool:
        return session.say("250 fine" if argument in ("/", "/d") else "550 no")

    with ScriptedFtpServer(listing=ITSELF + UNIX, wrong=refused | {"CWD": entered}) as server:
        async with made(server) as handler:
            assert [(each.size, each.modified) for each in await handler.async_list_dir()] == [(3, None), (None, None)]
            assert await handler.async_list_dir()
            assert (await handler.async_info("a.csv")).size == 3  # as the listing of its folder has it
            assert (await handler.async_info("d")).is_dir
            assert not await handler.async_exists("no")
            with pytest.raises(FtpNotFoundError):
                await handler.async_list_dir("no")
        assert sum(each.startswith("MDTM") for each in server.commands) == 1
        assert sum(each.startswith("SIZE") for each in server.commands) == 1


async def test_a_server_that_tells_times_and_no_sizes() -> None:
    wrong: dict[str, Any] = {"FEAT": b"500 what\r\n", "SIZE": b"502 what\r\n", "CWD": b"550 no\r\n"}
    with ScriptedFtpServer(files={"/a": b"1"}, wrong=wrong) as server:
        async with made(server) as handler:
            found = await handler.async_info("a")
            assert (found.is_dir, found.size, found.modified) == (False, None, MOMENT)


async def test_facts_are_asked_for_and_what_is_refused_is_done_without() -> None:
    features = b"211-F\r\n MLST type*;size;modify;perm*;\r\n UTF8\r\n211 End\r\n"
    wrong = {"FEAT": features, "MLSD": b"502 no\r\n", "OPTS": b"501 no\r\n"}
    with ScriptedFtpServer(listing=ITSELF + UNIX, wrong=wrong) as server:
        async with made(server) as handler:
            assert len(await handler.async_list_dir()) == 2
            assert len(await handler.async_list_dir()) == 2
        assert "OPTS MLST type;size;modify;" in server.commands
        assert sum(each.startswith("MLSD") for each in server.commands) == 1


async def test_another_encoding_is_not_talked_out_of() -> None:
    with ScriptedFtpServer(listing="type=file; preço\r\n".encode("latin-1")) as server:
        async with made(server, encoding="latin-1") as handler:
            assert [each.name for each in await handler.async_list_dir()] == ["preço"]
        assert "OPTS UTF8 ON" not in server.commands


@pytest.mark.parametrize(
    ("listing", "text"),
    [(b"type=file; ../x\r\n", "no name of something in a folder"), (b"hello\r\n", "can't be understood: 'hello'")],
)
async def test_a_listing_that_is_none_is_said(listing: bytes, text: str) -> None:
    with ScriptedFtpServer(listing=listing) as server:
        async with made(server) as handler:
            with pytest.raises(TransferError, match=text):
                await handler.async_list_dir()
            assert await handler.async_ping()


async def test_a_listing_that_breaks_off_is_read_again() -> None:
    cut: list[Any] = [lambda session, _: session.send(MLSD[:-5]), lambda session, _: session.send(MLSD[:-1])]
    with ScriptedFtpServer(listing=MLSD, wrong={"MLSD": cut}) as server:
        async with made(server) as handler:
            with no_waits() as waits:
                assert [each.name for each in await handler.async_list_dir()] == ["a.csv", "d"]
    assert len(waits) == 2


async def test_a_folder_without_an_end_is_given_up() -> None:
    with ScriptedFtpServer(listing=b"type=dir; d\r\n") as server:
        async with made(server) as handler:
            with pytest.raises(TransferError, match="more than 100 folders deep"):
                [each async for each in handler.async_walk()]


async def test_a_folder_that_is_met_again_inside_of_itself_is_not_gone_into() -> None:
    features = b"211-F\r\n MLST type*;unique*;\r\n211 End\r\n"
    facts = b"250-\r\n type=dir;unique=1; /\r\n250 end\r\n"
    listing = b"type=dir;unique=1; up\r\ntype=dir;unique=2; d\r\n"
    with ScriptedFtpServer(listing=listing, wrong={"FEAT": features, "MLST": facts}) as server:
        async with made(server) as handler:
            assert [each.path async for each in handler.async_walk()] == ["d", "up", "d/d", "d/up"]


# The way to data


async def test_addresses_in_replies_are_not_used() -> None:
    def passive(session: FtpSession, argument: str) -> bool:
        port = session.listen()
        return session.say(f"227 Entering (10,9,8,7,{port >> 8},{port & 255})")

    with ScriptedFtpServer(listing=MLSD, wrong={"EPSV": b"500 what\r\n", "PASV": passive}) as server:
        async with made(server) as handler:
            for _ in range(2):
                assert len(await handler.async_list_dir()) == 2
        assert server.commands.count("EPSV") == 1
        assert server.commands.count("PASV") == 2


async def test_a_router_that_opens_only_what_it_understands() -> None:
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        blocked = f"229 ok (|||{closed.getsockname()[1]}|)\r\n".encode()
        with ScriptedFtpServer(listing=MLSD, wrong={"EPSV": blocked}) as server:
            async with made(server) as handler:
                for _ in range(2):
                    assert len(await handler.async_list_dir()) == 2
            assert server.commands.count("EPSV") == 1


async def test_active_mode_without_the_newer_command() -> None:
    with ScriptedFtpServer(listing=MLSD, wrong={"EPRT": b"500 what\r\n"}) as server:
        async with made(server, passive=False) as handler:
            for _ in range(2):
                assert len(await handler.async_list_dir()) == 2
        assert sum(each.startswith("EPRT") for each in server.commands) == 1
        assert sum(each.startswith("PORT 127,0,0,1,") for each in server.commands) == 2


@pytest.mark.parametrize(("after", "code"), [(b"425 no way\r\n", 425), (b"522 no way\r\n", 522)])
async def test_a_server_that_does_not_come_says_why(after: bytes, code: int) -> None:
    def stays_away(session: FtpSession, argument: str) -> bool:
        session.connection.sendall(b"150 coming\r\n" + after)
        return True

    with ScriptedFtpServer(wrong={"MLSD": stays_away}) as server:
        async with made(server, passive=False, conn_timeout=0.2) as handler:
            with pytest.raises(
                FtpReplyError, match=f"MLSD: the data connection failed .* the server says {code} no way"
            ) as caught:
                await handler.async_list_dir(retry=0)
            assert caught.value.code == code
            assert await handler.async_ping()
            assert handler.async_pool_stats.opened == 1


async def test_a_refused_way_leaves_the_session_as_it_was() -> None:
    wrong: dict[str, Any] = {"EPSV": [b"425 no\r\n"], "EPRT": b"501 no\r\n", "PORT": b"501 no\r\n"}
    with ScriptedFtpServer(listing=MLSD, wrong=wrong) as server:
        async with made(server) as handler:
            with no_waits() as waits:
                assert len(await handler.async_list_dir()) == 2
            assert len(waits) == 1
            assert handler.async_pool_stats.opened == 1
        async with made(server, passive=False) as handler:
            with pytest.raises(FtpReplyError, match="PORT .* was answered 501 no"):
                await handler.async_list_dir()
            assert await handler.async_ping()


async def test_a_server_that_says_no_goodbye_is_left_all_the_same() -> None:
    with ScriptedFtpServer(wrong={"QUIT": hang}) as server:
        async with made(server):
            pass
        server.wait_open(0)


# What is tried again


@pytest.mark.parametrize("code", [421, 425, 426, 450, 451, 452])
async def test_a_temporary_reply_is_asked_again(code: int) -> None:
    reply = f"{code} not now\r\n".encode()
    with ScriptedFtpServer(listing=MLSD, wrong={"MLSD": [reply, reply]}) as server:
        async with made(server) as handler:
            with no_waits() as waits:
                assert len(await handler.async_list_dir()) == 2
            assert len(waits) == 2
            assert handler.async_pool_stats.opened == (3 if code == 421 else 1)
    with ScriptedFtpServer(listing=MLSD, wrong={"MLSD": reply}) as server:
        async with made(server) as handler:
            with (
                no_waits(),
                pytest.raises(FtpReplyError, match=rf"MLSD / was answered {code} .* \(after 3 attempts") as got,
            ):
                await handler.async_list_dir(retry=2)
            assert (got.value.code, got.value.attempts) == (code, 3)


@pytest.mark.parametrize("code", [450, 550])
async def test_what_is_missing_is_not_waited_for(code: int) -> None:
    with ScriptedFtpServer(listing=MLSD, wrong={"MLSD": [f"{code} no\r\n".encode()]}) as server:
        async with made(server) as handler:
            with no_waits() as waits, pytest.raises(FtpNotFoundError):
                await handler.async_list_dir("/missing")
            assert waits == []


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("MLST", lambda h: h.async_exists("/a")),
        ("MLST", lambda h: h.async_info("/a")),
        ("CWD", lambda h: h.async_make_dirs("/a")),
        ("DELE", lambda h: h.async_delete("/a")),
        ("RNFR", lambda h: h.async_rename("/a", "/b")),
        ("RNTO", lambda h: h.async_rename("/a", "/b")),
        ("NOOP", lambda h: h.async_exists("/a")),
    ],
)
@pytest.mark.parametrize("code", [421, 450])
async def test_what_is_busy_is_waited_for_and_not_missing(command: str, call: Any, code: int) -> None:
    with ScriptedFtpServer(files={"/a": b"1"}, wrong={command: [f"{code} busy\r\n".encode()]}) as server:
        async with made(server, idle_check=0) as handler:
            with no_waits() as waits:
                assert await call(handler) is not False
            assert len(waits) == (0 if command == "NOOP" else 1)


@pytest.mark.parametrize("wrong", [None, reset, b"226", b"nonsense\r\n", b"2", b"257-x\r\n"])
async def test_a_lost_connection_is_replaced(wrong: Any) -> None:
    def lost(session: FtpSession, argument: str) -> bool:
        session.connection.sendall(wrong)
        return False

    step = lost if isinstance(wrong, bytes) else wrong
    with ScriptedFtpServer(listing=MLSD, wrong={"MLSD": [step, step]}) as server:
        async with made(server) as handler:
            with no_waits() as waits:
                assert len(await handler.async_list_dir()) == 2
            assert len(waits) == 2
            assert handler.async_pool_stats.opened == 3


async def test_a_deadline_ends_what_hangs() -> None:
    with ScriptedFtpServer(wrong={"MLSD": hang}) as server:
        async with made(server) as handler:
            with pytest.raises(TimeoutExceededError, match="list_dir on FTP"):
                await handler.async_list_dir(retry=Resilience(deadline=0.3))
            assert await handler.async_ping()
