"""Cancelling FTP calls at every await point: the handler works on, and no session is left that is out of step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from echo_connhandler import FtpConnProperties, FtpHandler
from tests.cancellation import Steps
from tests.servers.ftp_scripted import ScriptedFtpServer

LISTING = b"type=file;size=3; a\r\ntype=dir; d\r\n"
UNIX = b"drwxr-xr-x 2 0 0 0 May 13  2014 .\r\n-rw-r--r-- 1 0 0 3 Nov 21 02:26 a\r\n"


async def list_dir(handler: FtpHandler) -> None:
    await handler.async_list_dir("/")


async def change(handler: FtpHandler) -> None:
    await handler.async_rename("/a", "/b")
    await handler.async_delete("/b")


async def glob(handler: FtpHandler) -> None:
    await handler.async_glob("/*")


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "facts": ({}, {}),
    "active": ({}, {"passive": False}),
    "lists": ({"FEAT": b"500 what\r\n"}, {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", [list_dir, change, glob])
async def test_at_every_step(call: Callable[[FtpHandler], Awaitable[None]], way: str) -> None:
    wrong, values = WAYS[way]
    ended = cancelled = 0
    for nth in range(1, 500):
        listing = UNIX if way == "lists" else LISTING
        with ScriptedFtpServer(files={"/a": b"abc"}, listing=listing, wrong=wrong) as server:
            props = FtpConnProperties(host=server.host, port=server.port, request_timeout=10, **values)
            handler = FtpHandler(props, skip_connect=True, pool_size=1)
            with anyio.CancelScope() as scope:
                steps = Steps(call(handler), nth, scope.cancel)
                await steps
            assert handler.async_pool_stats.in_use == 0
            assert await handler.async_ping()
            assert len(await handler.async_list_dir("/")) == (1 if way == "lists" else 2)
            server.wait_open(1)  # what was in the midst of something is closed
            await handler.async_close()
            server.wait_open(0)
        cancelled += scope.cancelled_caught
        ended += steps.count < nth
        if ended == 3:  # how often it waits depends on how fast the server answers
            break
    assert ended == 3
    assert cancelled > 0
