"""Deadlines that pass while a connection is made."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import to_thread

from echo_connhandler import (
    FtpConnProperties,
    FtpHandler,
    MySqlHandler,
    PgSqlHandler,
    Resilience,
    SqlConnProperties,
)
from echo_connhandler.errors import ConnectTimeoutError
from tests.servers.tcp import TcpServer

SOON = Resilience(deadline=0.2)
PATIENT: dict[str, Any] = {"user": "me", "password": "x", "conn_timeout": 1000}


class Silent(TcpServer):
    """Takes connections, and says nothing."""

    def handle(self, connection: socket.socket) -> None:
        while connection.recv(65536):
            pass


async def stopped(server: TcpServer, handler: Any, call: Callable[[], Any]) -> None:
    with anyio.fail_after(60), pytest.raises(ConnectTimeoutError, match="the call's deadline"):
        await call()
    await handler.async_close()
    await to_thread.run_sync(server.wait_open, 0)


@pytest.mark.parametrize("kind", [PgSqlHandler, MySqlHandler])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio a thread connects, which has conn_timeout alone
async def test_a_deadline_ends_connecting_to_a_database(kind: type[PgSqlHandler | MySqlHandler]) -> None:
    with Silent() as server:
        props = SqlConnProperties(host=server.host, port=server.port, database="d", **PATIENT)
        handler = kind(props, skip_connect=True)
        await stopped(server, handler, lambda: handler.async_execute("DELETE FROM t", retry=SOON))


@pytest.mark.parametrize("call", ["list", "read"])
async def test_a_deadline_ends_connecting_to_an_ftp_server(call: str) -> None:
    with Silent() as server:
        handler = FtpHandler(FtpConnProperties(host=server.host, port=server.port, **PATIENT), skip_connect=True)
        calls: dict[str, Callable[[], Any]] = {
            "list": lambda: handler.async_list_dir("/", retry=SOON),
            "read": lambda: handler.async_open_read("/x", retry=SOON).__aenter__(),
        }
        await stopped(server, handler, calls[call])
