"""HTTP calls against a real server: what is sent, what is taken, and where credentials go."""

from __future__ import annotations

import json

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler
from echo_connhandler.errors import (
    HandlerClosedError,
    InvalidRequestError,
    RateLimitedError,
    TransferError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply

VERBS = ["get", "post", "put", "patch", "delete", "head", "options"]


def make(server: HttpServer, **properties: object) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url, **properties), skip_connect=True)  # type: ignore[arg-type]


async def test_every_verb_sends_its_method(server: HttpServer) -> None:
    async with make(server) as handler:
        calls = {
            "get": handler.async_get,
            "post": handler.async_post,
            "put": handler.async_put,
            "patch": handler.async_patch,
            "delete": handler.async_delete,
            "head": handler.async_head,
            "options": handler.async_options,
        }
        for call in calls.values():
            assert (await call("echo")).status_code == 200
    assert [request.method.lower() for request in server.requests] == list(calls)


async def test_bodies_and_parameters_arrive(server: HttpServer) -> None:
    async with make(server) as handler:
        sent = await handler.async_post(
            "echo?a=1", json={"key": "välue"}, params={"b": ["2", "3"]}, headers={"X-One": "1"}
        )
        form = await handler.async_put("echo", data={"x": "1"})
        files = await handler.async_post("echo", files={"file": ("a.txt", b"content")}, data={"note": "hi"})
        text = await handler.async_patch("echo", content=b"raw")
    echoed = sent.json()
    assert echoed["json"] == {"key": "välue"}
    assert echoed["query"] == [["a", "1"], ["b", "2"], ["b", "3"]]
    assert ["X-One", "1"] in echoed["headers"] or ["x-one", "1"] in echoed["headers"]
    assert form.json()["body"] == "x=1"
    assert "content" in files.json()["body"]
    assert text.json()["body"] == "raw"


@pytest.mark.parametrize(
    ("host_path", "endpoint", "path"),
    [("", "echo", "/echo"), ("", "/echo", "/echo"), ("/echo", "", "/echo"), ("/echo/", "sub", "/echo/sub")],
)
async def test_relative_endpoints_are_appended_to_the_host(
    server: HttpServer, host_path: str, endpoint: str, path: str
) -> None:
    handler = HttpHandler(HttpConnProperties(host=server.url + host_path), skip_connect=True)
    async with handler:
        await handler.async_get(endpoint, response_ok=None)
    assert server.requests[0].path == path


async def test_a_full_url_is_used_as_it_is(server: HttpServer, other_server: HttpServer) -> None:
    async with make(server) as handler:
        await handler.async_get(f"{other_server.url}/echo?x=1")
    assert server.requests == []
    assert other_server.requests[0].target == "/echo?x=1"


async def test_an_endpoint_with_two_slashes_stays_at_the_host(server: HttpServer) -> None:
    async with make(server) as handler:
        await handler.async_get("//evil.example/x", response_ok=None)
    assert server.requests[0].path == "/evil.example/x"


@pytest.mark.parametrize(
    "endpoint",
    ["a b", "a\nb", "a\r\nX: y", "ftp://host/file", "file:///etc/passwd", "http://user:secret@host/", "\x00"],
)
async def test_endpoints_that_make_no_request_are_refused(server: HttpServer, endpoint: str) -> None:
    async with make(server) as handler:
        with pytest.raises(InvalidRequestError) as caught:
            await handler.async_get(endpoint)
    assert "secret" not in str(caught.value)
    assert server.requests == []


async def test_headers_with_line_breaks_are_refused(server: HttpServer) -> None:
    async with make(server) as handler:
        with pytest.raises(InvalidRequestError):
            await handler.async_get("echo", headers={"X-One": "a\r\nX-Two: b"})
        with pytest.raises(InvalidRequestError):
            await handler.async_request("GET /evil HTTP/1.1\r\nX:", "echo")
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "response_ok", "taken"),
    [
        (200, 200, True),
        (201, 200, False),
        (201, 201, True),
        (204, (200, 204), True),
        (404, {404}, True),
        (404, None, True),
        (503, None, True),
        (503, lambda response: response.status_code == 503, True),
        (200, lambda response: False, False),
    ],
)
async def test_response_ok_decides_what_is_taken(
    server: HttpServer, status: int, response_ok: object, taken: bool
) -> None:
    async with make(server) as handler:
        if taken:
            response = await handler.async_get(f"status/{status}", response_ok=response_ok)  # type: ignore[arg-type]
            assert response.status_code == status
        else:
            with pytest.raises(RuntimeError):
                await handler.async_get(f"status/{status}", response_ok=response_ok)  # type: ignore[arg-type]
    assert len(server.requests) == 1


async def test_an_unexpected_status_is_a_runtime_error_with_the_response(server: HttpServer) -> None:
    server.script("/thing", [Reply(404, {}, b"no such thing")])
    async with make(server) as handler:
        with pytest.raises(UnexpectedStatusError, match=r"GET http://.*/thing: 404 Not Found: no such thing") as caught:
            await handler.async_get("thing")
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.response.text == "no such thing"
    assert caught.value.attempts == 1


async def test_429_without_retries_is_a_rate_limit(server: HttpServer) -> None:
    server.script("/busy", [Reply(429, {"Retry-After": "7"})])
    async with make(server) as handler:
        with pytest.raises(RateLimitedError) as caught:
            await handler.async_get("busy", retry=0)
    assert caught.value.retry_after == 7


async def test_get_json(server: HttpServer) -> None:
    server.script(
        "/latin", [Reply(200, {"Content-Type": "application/json; charset=latin-1"}, '{"a": "ã"}'.encode("latin-1"))]
    )
    server.script("/page", [Reply(200, {"Content-Type": "text/html"}, b"<html>login</html>")])
    server.script("/empty", [Reply(200, {}, b"")])
    async with make(server) as handler:
        assert (await handler.async_get_json("echo", params={"a": 1}))["query"] == [["a", "1"]]
        assert await handler.async_get_json("latin") == {"a": "ã"}
        with pytest.raises(UnexpectedContentError, match="not JSON but text/html: <html>login") as caught:
            await handler.async_get_json("page")
        assert caught.value.response.status_code == 200
        with pytest.raises(ValueError, match="empty"):
            await handler.async_get_json("empty")
    assert server.requests[0].header("Accept") == "application/json"


async def test_payload_goes_into_bodies_and_the_calls_own_keys_win(server: HttpServer) -> None:
    payload = {"api_token": "xyz", "page": 1}
    async with make(server, payload_kwargs=payload) as handler:
        mine = {"page": 2}
        assert (await handler.async_post("echo", json=mine)).json()["json"] == {"api_token": "xyz", "page": 2}
        assert (await handler.async_put("echo")).json()["json"] == payload
        assert (await handler.async_patch("echo", json={})).json()["json"] == payload
        assert (await handler.async_get("echo")).json()["body"] == ""
        assert (await handler.async_delete("echo")).json()["body"] == ""
        assert (await handler.async_delete("echo", json={"a": 1})).json()["json"] == {**payload, "a": 1}
        with pytest.raises(InvalidRequestError, match="another kind of body"):
            await handler.async_post("echo", data={"a": 1})
        with pytest.raises(InvalidRequestError, match="list"):
            await handler.async_post("echo", json=[1])
    assert mine == {"page": 2}
    assert payload == {"api_token": "xyz", "page": 1}


async def test_payload_as_form_parameters_and_headers(server: HttpServer) -> None:
    async with make(server, payload_kwargs={"t": "x"}, payload_kwargs_key="data") as handler:
        assert (await handler.async_post("echo", data={"a": "1"})).json()["body"] == "t=x&a=1"
    async with make(server, payload_kwargs={"t": "x"}, payload_kwargs_key="params") as handler:
        assert (await handler.async_get("echo?a=1")).json()["query"] == [["t", "x"], ["a", "1"]]
        assert (await handler.async_get("echo?t=own")).json()["query"] == [["t", "own"]]
        assert (await handler.async_post("echo", params={"t": "own"})).json()["query"] == [["t", "own"]]
    async with make(server, payload_kwargs={"X-T": "x"}, payload_kwargs_key="headers") as handler:
        await handler.async_get("echo")
        await handler.async_get("echo", headers={"x-t": "own"})
    assert [request.header("X-T") for request in server.requests[-2:]] == ["x", "own"]


async def test_credentials_stay_at_the_hosts_origin(server: HttpServer, other_server: HttpServer) -> None:
    secrets = {
        "headers": {"Authorization": "Bearer planted-1", "X-Api-Key": "planted-2", "Accept": "text/x"},
        "cookies": {"sid": "planted-3"},
        "payload_kwargs": {"token": "planted-4"},
        "payload_kwargs_key": "params",
    }
    async with make(server, **secrets) as handler:
        await handler.async_get("set-cookie?name=planted-5")
        await handler.async_get("echo")
        await handler.async_get(f"{other_server.url}/echo")
        await handler.async_get(
            "redirect-to", params={"url": f"{other_server.url}/echo"}, headers={"X-Own": "planted-6"}
        )
        await handler.async_connection.get(f"{other_server.url}/echo")
    at_home, abroad = server.requests[1], other_server.requests
    assert at_home.header("Authorization") == "Bearer planted-1"
    assert at_home.cookies["sid"] == "planted-3"
    assert ("token", "planted-4") in at_home.query
    assert len(abroad) == 3
    for request in abroad[:2]:
        assert "planted" not in repr((request.target, request.headers, request.body))
        assert request.header("Accept") == "text/x"
    assert "planted-1" not in repr(abroad[2].headers)
    assert "planted-2" not in repr(abroad[2].headers)


async def test_cookies_of_the_server_come_back_and_can_be_seen(server: HttpServer) -> None:
    async with make(server) as handler:
        await handler.async_get("set-cookie", params={"sid": "one"})
        await handler.async_get("echo")
        assert dict(handler.async_connection.cookies) == {"sid": "one"}
    assert server.requests[1].cookies == {"sid": "one"}


async def test_redirects_of_reads_are_followed(server: HttpServer) -> None:
    async with make(server) as handler:
        response = await handler.async_get("redirect/3")
        assert response.status_code == 200
        assert [r.status_code for r in response.history] == [302] * 3
        assert (await handler.async_get("redirect/1", response_ok=302)).status_code == 302
        with pytest.raises(UnexpectedStatusError, match="302"):
            await handler.async_post("redirect/1")
        with pytest.raises(UnexpectedStatusError, match="after 20 redirects"):
            await handler.async_get("redirect/21")


async def test_the_live_client_has_the_calls_headers(server: HttpServer) -> None:
    async with make(server, headers={"X-One": "1"}) as handler:
        client = handler.async_connection
        assert client.headers["X-One"] == "1"
        assert (await client.get(f"{server.url}/echo")).status_code == 200
    assert server.requests[0].header("X-One") == "1"
    assert client.is_closed


async def test_new_handlers_with_more(server: HttpServer) -> None:
    async with make(server, headers={"X-One": "1", "x-two": "2"}, cookies={"a": "1"}) as handler:
        await handler.async_get("set-cookie", params={"b": "2"})
        async with handler.with_headers({"X-Two": "two"}).with_cookies({"a": "one"}) as other:
            await other.async_get("echo")
        await handler.async_get("echo")
    changed, kept = server.requests[1:]
    assert (changed.header("X-One"), changed.header("X-Two")) == ("1", "two")
    assert changed.cookies == {"a": "one", "b": "2"}
    assert kept.header("x-two") == "2"
    assert kept.cookies == {"a": "1", "b": "2"}


async def test_timeouts_of_handler_and_call(server: HttpServer) -> None:
    async with make(server, request_timeout=0.05) as handler:
        with pytest.raises(TimeoutError, match="no answer within the timeout"):
            await handler.async_get("delay/0.5", retry=0)
        assert (await handler.async_get("delay/0.1", timeout=5)).status_code == 200
        assert (await handler.async_get("delay/0.1", timeout={"read": 5})).status_code == 200
        assert (await handler.async_get("delay/0.1", timeout=httpx.Timeout(5))).status_code == 200
        async with handler.with_timeout(5) as patient:
            assert (await patient.async_get("delay/0.1")).status_code == 200
        for granular in ({"read": 5}, httpx.Timeout(5)):
            async with handler.with_timeout(granular) as patient:
                assert (await patient.async_get("delay/0.1")).status_code == 200
                assert patient.async_connection.timeout.read == 5
        for wrong in (0, -1, "5", {"all": 1}):
            with pytest.raises(InvalidRequestError, match="timeout"):
                await handler.async_get("echo", timeout=wrong)  # type: ignore[arg-type]


async def test_a_response_beyond_the_size_limit_is_refused_once(server: HttpServer) -> None:
    async with make(server, max_response_bytes=1000) as handler:
        assert len((await handler.async_get("bytes/1000")).content) == 1000
        assert (await handler.async_get("gzip")).content
        with pytest.raises(TransferError, match="max_response_bytes=1000"):
            await handler.async_get("bytes/1001")
        assert (await handler.async_get_json("json")) is not None
    assert server.hits("/bytes/1001") == 1


async def test_after_close_calls_are_refused_until_opened_again(server: HttpServer) -> None:
    handler = make(server)
    await handler.async_get("echo")
    assert handler.async_is_connected
    await handler.async_close()
    await handler.async_close()
    assert not handler.async_is_connected
    with pytest.raises(HandlerClosedError, match="connect"):
        await handler.async_get("echo")
    with pytest.raises(HandlerClosedError):
        await handler.async_ping()
    async with handler:
        await handler.async_get("echo")
    with pytest.raises(HandlerClosedError):
        await handler.async_get("echo")
    await handler.async_connect()
    await handler.async_get("echo")
    await handler.async_close()
    await handler.async_reconnect()
    before = handler.async_connection
    await handler.async_reconnect()
    assert handler.async_connection is not before
    assert before.is_closed
    await handler.async_get("echo")
    await handler.async_close()
    assert len(server.requests) == 4
    server.wait_open(0)


async def test_ping(server: HttpServer) -> None:
    async with make(server) as handler:
        assert await handler.async_ping() is True
        server.close()
        assert await handler.async_ping() is False


async def test_many_at_once_share_one_handler(server: HttpServer) -> None:
    async with make(server) as handler:
        async with AsyncTasks() as tasks:
            for n in range(32):
                tasks.start(handler.async_get_json, f"echo?n={n}")
        assert [result["query"] for result in tasks.results] == [[["n", str(n)]] for n in range(32)]
    server.wait_open(0)


async def test_a_big_answer_is_whole(server: HttpServer) -> None:
    async with make(server) as handler:
        response = await handler.async_get("bytes/3000000")
    assert len(response.content) == 3_000_000
    assert response.elapsed.total_seconds() > 0


async def test_json_text_is_what_was_sent(server: HttpServer) -> None:
    async with make(server) as handler:
        await handler.async_post("echo", json={"a": [1, None, "ü"]})
    assert json.loads(server.requests[0].body) == {"a": [1, None, "ü"]}


async def test_unknown_and_wrong_options_are_refused_before_anything_is_sent(server: HttpServer) -> None:
    async with make(server) as handler:
        with pytest.raises(TypeError, match="a call takes no timout: its options are content, data"):
            await handler.async_get("echo", timout=5)  # type: ignore[call-arg]
        for wrong in ("200", b"200", 2.0):
            with pytest.raises(TypeError, match="response_ok must be a status"):
                await handler.async_get("echo", response_ok=wrong)  # type: ignore[arg-type]
    assert server.requests == []
