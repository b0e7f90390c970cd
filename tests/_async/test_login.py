"""Handlers with a login flow: written once, run once for all who wait, never repeated with a refused password."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, HttpSession, LoginFlow, Resilience
from echo_connhandler.errors import AuthenticationError, ConnectionFailedError, UnexpectedStatusError
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply, Request


class TokenHandler(HttpHandler):
    def login_flow(self) -> LoginFlow:
        form = {"user": self.props.user, "password": self.props.password}
        response = yield httpx.Request("POST", self.url_for("login"), json=form)
        answer = response.json()
        return HttpSession(headers={"Authorization": f"Bearer {answer['token']}"}, expires_in=answer.get("expires_in"))


class Api:
    """An API that gives a token for the right password, and data for the token that is in force."""

    def __init__(self, server: HttpServer, **answer: Any) -> None:
        self.server = server
        self.token = "planted-token-1"
        server.route("POST", "/login")(self.login)
        server.route("GET", "/data")(self.data)
        self.answer = answer

    def login(self, request: Request) -> Reply:
        if request.json()["password"] != "planted-password":
            return Reply(401, {}, b"wrong password")
        return Reply.json({"token": self.token, **self.answer})

    def data(self, request: Request) -> Reply:
        if request.header("Authorization") != f"Bearer {self.token}":
            return Reply(401)
        return Reply.json({"ok": True})

    @property
    def logins(self) -> int:
        return self.server.hits("/login")


def make(server: HttpServer, password: str = "planted-password", **options: Any) -> TokenHandler:
    props = HttpConnProperties(host=server.url, user="me", password=password)
    return TokenHandler(props, skip_connect=True, **options)


async def test_the_first_call_logs_in_and_later_ones_use_the_token(server: HttpServer) -> None:
    api = Api(server)
    async with make(server) as handler:
        assert handler.async_is_connected
        assert await handler.async_get_json("data") == {"ok": True}
        assert await handler.async_get_json("data") == {"ok": True}
    assert api.logins == 1


async def test_many_callers_share_one_login(server: HttpServer) -> None:
    api = Api(server)
    handler = make(server)
    async with AsyncTasks() as tasks:
        for _ in range(32):
            tasks.start(handler.async_get_json, "data")
    assert tasks.results == [{"ok": True}] * 32
    assert api.logins == 1
    await handler.async_close()


async def test_many_callers_share_one_new_login_when_the_session_ends(server: HttpServer) -> None:
    api = Api(server)
    async with make(server) as handler:
        await handler.async_get("data")
        api.token = "planted-token-2"
        async with AsyncTasks() as tasks:
            for _ in range(32):
                tasks.start(handler.async_get_json, "data")
        assert tasks.results == [{"ok": True}] * 32
    assert api.logins == 2


async def test_a_session_is_renewed_before_it_expires(server: HttpServer) -> None:
    api = Api(server, expires_in=0.5)
    async with make(server) as handler:
        await handler.async_get("data")
        await handler.async_get("data")
    assert api.logins == 3
    assert [request.header("Authorization") is not None for request in server.requests if request.path == "/data"] == [
        True,
        True,
    ]


async def test_a_401_that_stays_after_a_new_login_is_an_unexpected_status(server: HttpServer) -> None:
    api = Api(server)
    server.script("/forbidden", [Reply(401)] * 3)
    async with make(server) as handler:
        with pytest.raises(UnexpectedStatusError, match="401"):
            await handler.async_get("forbidden")
        assert (await handler.async_get("forbidden", response_ok=401)).status_code == 401
    assert api.logins == 2
    assert server.hits("/forbidden") == 3


@pytest.mark.parametrize("callers", [16, 200])
async def test_a_refused_password_is_tried_once_for_all_whose_session_ended(server: HttpServer, callers: int) -> None:
    api = Api(server)
    all_are_there = threading.Barrier(callers)

    def turned_away(request: Request) -> Reply:
        all_are_there.wait(60)  # so that each call has begun before the login is tried
        return Reply(401)

    handler = make(server, pool_size=callers)
    await handler.async_get("data")
    server.route("GET", "/later")(turned_away)
    server.route("POST", "/login")(lambda _: Reply(401, {}, b"wrong password"))
    with no_waits() as waits:
        async with AsyncTasks() as tasks:
            for _ in range(callers):
                tasks.start(handler.async_get, "later")
    assert waits == []
    assert {type(result) for result in tasks.results} == {AuthenticationError}
    assert len({id(result) for result in tasks.results}) == callers
    assert api.logins == 2  # the one that went well, and the refused one
    assert server.hits("/later") == callers
    for result in tasks.results:
        assert "planted" not in str(result)
        assert "wrong password" in str(result)
    await handler.async_close()


async def test_a_later_call_tries_a_refused_password_again(server: HttpServer) -> None:
    api = Api(server)
    handler = make(server)
    server.script("/login", [Reply(401), Reply(401), Reply.json({"token": api.token})])
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            await handler.async_get("data")
    assert await handler.async_get_json("data") == {"ok": True}
    assert api.logins == 3
    await handler.async_close()


async def test_connecting_with_a_refused_password_fails_at_once(server: HttpServer) -> None:
    Api(server)
    handler = make(server, "planted-wrong")
    with no_waits() as waits, pytest.raises(AuthenticationError, match="login refused: POST .*/login: 401"):
        await handler.async_connect()
    assert waits == []
    await handler.async_close()


async def test_a_login_that_meets_trouble_is_tried_again(server: HttpServer) -> None:
    Api(server)
    server.script("/login", [Reply(503), Reply.drop(), Reply.json({"token": "planted-token-1"})])
    with no_waits() as waits:
        async with make(server) as handler:
            assert await handler.async_get_json("data") == {"ok": True}
    assert len(waits) == 2


async def test_a_login_is_repeated_whatever_methods_are_not(server: HttpServer) -> None:
    Api(server)
    server.script("/login", [Reply.drop(), Reply.json({"token": "planted-token-1"})])
    with no_waits():
        async with make(server, resilience=Resilience(retry_methods=())) as handler:
            assert await handler.async_get_json("data") == {"ok": True}


async def test_a_login_has_its_own_number_of_retries(server: HttpServer) -> None:
    server.close()
    handler = make(server, max_conn_retries=2, max_retries=0)
    with no_waits() as waits, pytest.raises(ConnectionFailedError):
        await handler.async_get("data")
    assert len(waits) == 2
    await handler.async_close()


async def test_an_answer_that_the_flow_does_not_understand_is_a_failed_login(server: HttpServer) -> None:
    server.script("/login", [Reply.json({"unexpected": "planted-password"})])
    handler = make(server)
    with pytest.raises(AuthenticationError, match="not understood .KeyError: 'token'") as caught:
        await handler.async_connect()
    assert isinstance(caught.value.__cause__, KeyError)
    await handler.async_close()


async def test_the_token_goes_nowhere_but_to_the_host(server: HttpServer, other_server: HttpServer) -> None:
    Api(server)
    async with make(server) as handler:
        await handler.async_get(f"{other_server.url}/echo")
        await handler.async_get("redirect-to", params={"url": f"{other_server.url}/echo"})
        await handler.async_connection.get(f"{other_server.url}/echo")
    assert len(other_server.requests) == 3
    for request in other_server.requests:
        assert "planted" not in repr((request.target, request.headers, request.body))


async def test_the_live_client_carries_the_session(server: HttpServer) -> None:
    api = Api(server)
    async with make(server) as handler:
        assert (await handler.async_connection.get(f"{server.url}/data")).status_code == 200
        api.token = "planted-token-2"
        await handler.async_get("data")
        assert (await handler.async_connection.get(f"{server.url}/data")).status_code == 200


async def test_reconnecting_logs_in_anew(server: HttpServer) -> None:
    api = Api(server)
    async with make(server) as handler:
        await handler.async_reconnect()
        await handler.async_get("data")
    assert api.logins == 2


async def test_handlers_made_from_one_another_share_the_login(server: HttpServer) -> None:
    api = Api(server)
    async with make(server) as handler:
        async with handler.with_timeout(5) as patient:
            await patient.async_get("data")
        async with handler.with_headers({"X-One": "1"}) as other:
            await other.async_get("data")
    assert api.logins == 1


class ForgivingHandler(HttpHandler):
    """Falls back on a second login where the first is refused."""

    def login_flow(self) -> LoginFlow:
        try:
            yield httpx.Request("POST", self.url_for("login"), json={"password": "old"})
        except AuthenticationError as error:
            assert error.response is not None
            yield httpx.Request("POST", self.url_for("fallback"), json={"status": error.response.status_code})
        return HttpSession(headers={"X-In": "yes", "Referer": self.props.host})


async def test_a_flow_may_catch_the_refusal_of_a_step(server: HttpServer) -> None:
    server.script("/login", [Reply(403), Reply(403)])
    server.script("/fallback", [Reply(200), Reply(401)])
    async with ForgivingHandler(HttpConnProperties(host=server.url), skip_connect=True) as handler:
        await handler.async_get("echo")
        assert server.requests[1].json() == {"status": 403}
        with pytest.raises(UnexpectedStatusError, match=f"GET {server.url}/nothing: 404"):  # no secret in a Referer
            await handler.async_get("nothing")
        with pytest.raises(AuthenticationError, match="login refused: POST .*/fallback: 401"):
            await handler.async_reconnect()


class ErrorInside(TokenHandler):
    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        said = response.headers.get("x-error")
        return None if said is None else UnexpectedStatusError(f"the API says: {said}", response)


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_an_answer_may_be_an_error_whatever_its_status(server: HttpServer, status: int) -> None:
    Api(server)
    server.route("GET", "/odd")(lambda _: Reply(status, {"X-Error": "odd"}))
    props = HttpConnProperties(host=server.url, user="me", password="planted-password")
    async with ErrorInside(props, skip_connect=True) as handler:
        with no_waits() as waits, pytest.raises(UnexpectedStatusError, match="the API says: odd"):
            await handler.async_get("odd", response_ok=(200, 201))
        assert len(waits) == (8 if status == 503 else 0)
        assert (await handler.async_get("odd", response_ok=None)).status_code == status
        assert (await handler.async_get("odd", response_ok=lambda _: True)).status_code == status


class CookieHandler(HttpHandler):
    def login_flow(self) -> LoginFlow:
        yield httpx.Request("GET", self.url_for("set-cookie"), params={"sid": "planted-cookie"})
        yield httpx.Request("POST", self.url_for("redirect-after-login"))
        return HttpSession(params={"key": "planted-key"})


async def test_a_login_of_several_steps_keeps_cookies_and_follows_redirects(server: HttpServer) -> None:
    server.script("/redirect-after-login", [Reply(302, {"Location": "/echo?welcome=1"})])
    handler = CookieHandler(HttpConnProperties(host=server.url), skip_connect=True)
    async with handler:
        await handler.async_get("echo")
    steps = [(request.method, request.path) for request in server.requests]
    assert steps == [
        ("GET", "/set-cookie"),
        ("POST", "/redirect-after-login"),
        ("GET", "/echo"),
        ("GET", "/echo"),
    ]
    assert server.requests[-1].cookies == {"sid": "planted-cookie"}
    assert server.requests[-1].query == [("key", "planted-key")]
