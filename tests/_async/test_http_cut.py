"""A session cut at every byte, in either direction: the answer is right, or the error says what is known."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from echo_connhandler import EchoConnError, HttpConnProperties, HttpHandler, HttpSession, LoginFlow, Resilience
from echo_connhandler.errors import AuthenticationError, OutcomeUnknownError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.proxy import Direction, TcpProxy

pytestmark = pytest.mark.exhaustive

HOWS = ("close", "reset")


class TokenHandler(HttpHandler):
    def login_flow(self) -> LoginFlow:
        response = yield httpx.Request("POST", self.url_for("login"), json={"password": self.props.password})
        return HttpSession(headers={"Authorization": response.json()["token"]})


def serve(server: HttpServer) -> None:
    @server.route("POST", "/login")
    def login(request: Request) -> Reply:
        return Reply.json({"token": "abc"}) if request.json() == {"password": "pw"} else Reply(401)

    @server.route("*", "/data")
    def data(request: Request) -> Reply:
        return Reply.json({"sent": request.text}) if request.header("Authorization") == "abc" else Reply(401)


def make(proxy: TcpProxy, **options: Any) -> TokenHandler:
    props = HttpConnProperties(host=f"http://{proxy.host}:{proxy.port}", user="me", password="pw", request_timeout=5)
    return TokenHandler(props, skip_connect=True, **options)


async def session(handler: HttpHandler) -> None:
    async with handler:
        assert (await handler.async_post("data", json={"n": 1})).json() == {"sent": '{"n":1}'}
        assert await handler.async_get_json("data") == {"sent": ""}


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_with_retries_every_cut_is_survived(server: HttpServer, direction: Direction) -> None:
    serve(server)
    with TcpProxy(server.host, server.port) as proxy:
        await session(make(proxy))
        proxy.wait_open(0)  # all is counted then
        size = proxy.bytes_up if direction == "up" else proxy.bytes_down
        assert size > 200
        for n in range(size):
            proxy.heal()
            proxy.cut(direction, after=n, how=HOWS[n % 2])  # type: ignore[arg-type]
            with no_waits():
                await session(make(proxy, max_retries=2))
            assert proxy.fired, n
    server.wait_open(0)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_post_not_to_be_repeated_is_made_once_or_its_outcome_is_unknown(
    server: HttpServer, direction: Direction
) -> None:
    serve(server)
    policy = Resilience(retry_methods=("GET",), max_retries=2)
    outcomes: dict[str, int] = {}
    with TcpProxy(server.host, server.port) as proxy:
        sizes = []
        for call in (False, True):
            before = (proxy.bytes_up, proxy.bytes_down)
            async with make(proxy, resilience=policy) as handler:
                if call:
                    await handler.async_post("data", json={"n": 1})
            proxy.wait_open(0)
            sizes.append(proxy.bytes_up - before[0] if direction == "up" else proxy.bytes_down - before[1])
        size = sizes[1] - sizes[0]
        assert size > 80
        for n in range(size):
            proxy.heal()
            async with make(proxy, resilience=policy) as handler:
                seen = server.hits("/data")
                proxy.cut(direction, after=n, how=HOWS[n % 2])  # type: ignore[arg-type]
                with no_waits():
                    try:
                        assert (await handler.async_post("data", json={"n": 1})).status_code == 200
                        assert server.hits("/data") - seen == 1
                        outcomes["done"] = outcomes.get("done", 0) + 1
                    except OutcomeUnknownError:
                        assert server.hits("/data") - seen <= 1
                        outcomes["unknown"] = outcomes.get("unknown", 0) + 1
    assert outcomes["unknown"] > size / 2
    server.wait_open(0)


async def test_without_retries_every_cut_is_a_clear_error_or_no_error(server: HttpServer) -> None:
    serve(server)
    with TcpProxy(server.host, server.port) as proxy:
        await session(make(proxy))
        proxy.wait_open(0)
        size = proxy.bytes_down
        failed = 0
        for n in range(size):
            proxy.heal()
            proxy.cut("down", after=n, how=HOWS[n % 2])  # type: ignore[arg-type]
            try:
                await session(make(proxy, max_retries=0, max_conn_retries=0))
            except EchoConnError as error:
                assert not isinstance(error, AuthenticationError)
                assert str(error)
                failed += 1
    assert failed > size * 0.9
    server.wait_open(0)
