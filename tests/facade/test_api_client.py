"""AsyncAPIClient and the helpers for headers, as their page has them; on asyncio and trio."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from echo_connhandler import (
    AsyncAPIClient,
    api_key_auth,
    basic_auth,
    bearer_token_auth,
    oauth_token_auth,
)
from echo_connhandler.errors import (
    ConnectionFailedError,
    RateLimitedError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply


def test_signatures_are_those_of_the_page() -> None:
    for call, arguments in (
        (AsyncAPIClient, {"base_url": ..., "auth_headers": None, "timeout": 30}),
        (AsyncAPIClient.request, {"method": ..., "endpoint": ..., "params": None, "json": None, "headers": None}),
        (AsyncAPIClient.get_json, {"endpoint": ..., "params": None}),
        (bearer_token_auth, {"token": ...}),
        (oauth_token_auth, {"access_token": ...}),
        (api_key_auth, {"api_key": ..., "header_name": "X-API-Key"}),
    ):
        found = {
            name: ... if parameter.default is inspect.Parameter.empty else parameter.default
            for name, parameter in inspect.signature(call).parameters.items()
            if name != "self"
        }
        assert found == arguments


def test_headers_that_say_who_asks() -> None:
    assert bearer_token_auth("t") == oauth_token_auth("t") == {"Authorization": "Bearer t"}
    assert api_key_auth("k") == {"X-API-Key": "k"}
    assert api_key_auth("k", "X-Own") == {"X-Own": "k"}
    assert basic_auth("Aladdin", "open sesame") == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    with pytest.raises(ValueError, match="colon"):
        basic_auth("a:b", "c")


async def test_a_request_takes_its_parts(server: HttpServer) -> None:
    async with AsyncAPIClient(server.url, bearer_token_auth("planted"), 5) as client:
        response = await client.request("POST", "/echo", {"a": "1"}, {"b": 2}, {"X-One": "1"})
        assert await client.get_json("echo", params={"c": "3"}) is not None
        assert "planted" not in repr(client)
    echoed = response.json()
    assert (echoed["method"], echoed["query"], echoed["json"]) == ("POST", [["a", "1"]], {"b": 2})
    assert [request.header("Authorization") for request in server.requests] == ["Bearer planted"] * 2
    assert server.requests[0].header("X-One") == "1"


@pytest.mark.parametrize("failure", [429, 500, 501, 502, 505, 599, "drop", "reset"])
async def test_three_requests_with_two_and_four_seconds_between(server: HttpServer, failure: Any) -> None:
    reply = {"drop": Reply.drop, "reset": Reply.reset}.get(failure, lambda: Reply(failure))
    server.script("/x", [reply(), reply(), Reply.json({"ok": True})])
    async with AsyncAPIClient(server.url) as client:
        with no_waits() as waits:
            assert await client.get_json("/x") == {"ok": True}
            assert waits == [2, 4]
            server.script("/x", [reply() for _ in range(4)])
            with pytest.raises((UnexpectedStatusError, ConnectionFailedError)) as caught:
                await client.request("POST", "/x")
    assert waits == [2, 4, 2, 4]
    assert caught.value.attempts == 3
    assert server.script_left("/x") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 422, 425])
async def test_any_other_status_from_400_fails_at_once(server: HttpServer, status: int) -> None:
    async with AsyncAPIClient(server.url) as client:
        with no_waits() as waits, pytest.raises(UnexpectedStatusError) as caught:
            await client.request("GET", f"/status/{status}")
    assert caught.value.response.status_code == status
    assert waits == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 204, 304])
async def test_any_status_below_400_is_returned(server: HttpServer, status: int) -> None:
    async with AsyncAPIClient(server.url) as client:
        assert (await client.request("GET", f"/status/{status}")).status_code == status


async def test_a_server_that_says_how_long_is_obeyed(server: HttpServer) -> None:
    server.script("/x", [Reply(429, {"Retry-After": "7"})] * 3)
    async with AsyncAPIClient(server.url) as client:
        with no_waits() as waits, pytest.raises(RateLimitedError) as caught:
            await client.request("GET", "/x")
    assert waits == [7, 7]
    assert caught.value.retry_after == 7


async def test_json_that_is_none_is_said(server: HttpServer) -> None:
    server.script("/page", [Reply(200, {"Content-Type": "text/html"}, b"<html>")])
    async with AsyncAPIClient(server.url) as client:
        with pytest.raises(UnexpectedContentError, match="not JSON but text/html"):
            await client.get_json("/page")


async def test_it_can_be_used_without_a_context(server: HttpServer) -> None:
    client = AsyncAPIClient(server.url, api_key_auth("k"))
    assert (await client.request("GET", "/echo")).status_code == 200
    await client.aclose()
    server.wait_open(0)


async def test_headers_stay_at_the_origin(server: HttpServer, other_server: HttpServer) -> None:
    async with AsyncAPIClient(server.url, api_key_auth("planted")) as client:
        await client.request("GET", f"{other_server.url}/echo")
    assert "planted" not in repr(other_server.requests[0].headers)
