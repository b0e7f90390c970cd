"""The clients for those who know httpx: httpx's behaviour, with retries, a key and a signature."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any

import httpx
import pytest
import trustme

from echo_connhandler import (
    HTTPAuthenticatedClient,
    HTTPClient,
    InsecureTlsWarning,
    OutcomeUnknownError,
    Resilience,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply

QUICK = Resilience(max_retries=2)


async def test_requests_go_to_a_path_relative_to_the_base(server: HttpServer) -> None:
    client = HTTPClient(base_url=f"{server.url}/echo", headers={"X-One": "1"}, cookies={"sid": "s"})
    async with client:
        response = await client.async_request("POST", "/v1/devices", json={"name": "sw-core-01"})
        same = client.get_or_create_async_httpx_client()
        assert isinstance(same, httpx.AsyncClient)
        assert client.get_or_create_async_httpx_client() is same
        assert (await same.get("v1/devices")).status_code == 404
    assert response.status_code == 404
    assert [request.path for request in server.requests] == ["/echo/v1/devices"] * 2
    assert server.requests[0].json() == {"name": "sw-core-01"}
    assert server.requests[0].header("X-One") == "1"
    assert server.requests[0].cookies == {"sid": "s"}
    assert same.is_closed


async def test_any_status_is_returned_unless_told_otherwise(server: HttpServer) -> None:
    async with HTTPClient(server.url) as client:
        assert (await client.async_request("GET", "/status/503")).status_code == 503
    async with HTTPClient(server.url, raise_on_unexpected_status=True) as client:
        assert client.raise_on_unexpected_status
        assert (await client.async_request("GET", "/status/204")).status_code == 204
        for status in (302, 404, 503):
            with pytest.raises(UnexpectedStatusError, match=str(status)) as caught:
                await client.async_request("GET", f"/status/{status}", params={"token": "planted"})
            assert caught.value.response.status_code == status
            assert "planted" not in str(caught.value)


async def test_redirects_are_followed_only_where_asked_for(server: HttpServer) -> None:
    async with HTTPClient(server.url) as client:
        assert (await client.async_request("GET", "/redirect/1")).status_code == 302
    async with HTTPClient(server.url, follow_redirects=True) as client:
        assert (await client.async_request("GET", "/redirect/1")).status_code == 200


async def test_a_context_can_be_entered_once(server: HttpServer) -> None:
    client = HTTPClient(server.url)
    async with client as same:
        assert same is client
        with pytest.raises(RuntimeError, match="more than once"):
            async with client:
                pass
    with pytest.raises(RuntimeError):
        async with client:
            pass


async def test_new_clients_match_but_for_one_thing(server: HttpServer) -> None:
    first = HTTPClient(server.url, headers={"X-One": "1"}, cookies={"a": "1"})
    more = first.with_headers({"x-one": "2", "X-Two": "2"}).with_cookies({"b": "2"})
    async with first, more:
        await first.async_request("GET", "/echo")
        await more.async_request("GET", "/echo")
    old, new = server.requests
    assert (old.header("X-One"), old.header("X-Two"), old.cookies) == ("1", None, {"a": "1"})
    assert (new.header("X-One"), new.header("X-Two"), new.cookies) == ("2", "2", {"a": "1", "b": "2"})


async def test_timeouts_are_httpx_s(server: HttpServer) -> None:
    async with HTTPClient(server.url, timeout=0.05) as client, client.with_timeout(5) as patient:
        with pytest.raises(httpx.TimeoutException):
            await client.async_request("GET", "/delay/0.5")
        assert (await patient.async_request("GET", "/delay/0.1")).status_code == 200
    async with HTTPClient(server.url).with_timeout(httpx.Timeout(7, connect=1)) as granular:
        assert granular.get_or_create_async_httpx_client().timeout == httpx.Timeout(7, connect=1)
    async with HTTPClient(server.url) as usual:
        assert usual.get_or_create_async_httpx_client().timeout.as_dict() == {
            "connect": 30,
            "read": 300,
            "write": 300,
            "pool": None,
        }


async def test_a_client_of_ones_own_overrides_all(server: HttpServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers={"X-Own": "1"}) as own:
        client = HTTPAuthenticatedClient(server.url, api_key="planted", headers={"X-One": "1"})
        assert client.set_async_httpx_client(own) is client
        assert client.get_or_create_async_httpx_client() is own
        await client.async_request("GET", "/echo")
    [request] = server.requests
    assert (request.header("X-Own"), request.header("X-One"), request.header("API-Key")) == ("1", None, None)


async def test_further_arguments_are_httpx_s(server: HttpServer) -> None:
    seen: list[str] = []

    async def look(request: httpx.Request) -> None:
        seen.append(request.url.path)

    arguments = {"params": {"v": "1"}, "event_hooks": {"request": [look]}, "auth": ("me", "pw")}
    async with HTTPAuthenticatedClient(server.url, api_key="k", api_secret="s", httpx_args=arguments) as client:
        echoed = (await client.async_request("GET", "/echo")).json()
    assert seen == ["/echo"]
    assert echoed["query"] == [["v", "1"]]
    assert server.requests[0].header("Authorization") == "Basic bWU6cHc="
    assert server.requests[0].header("API-Signature")
    with pytest.raises(ValueError, match="httpx_args: headers, timeout"):
        HTTPClient(server.url, httpx_args={"headers": {}, "timeout": 5})


# Retries


async def test_with_resilience_both_ways_to_send_try_again(server: HttpServer) -> None:
    once = HTTPClient(server.url)
    async with once, once.with_resilience(QUICK) as client:
        for send in (client.async_request, client.get_or_create_async_httpx_client().request):
            server.script("/x", [Reply(503), Reply.drop(), Reply.json({"ok": 1})])
            with no_waits() as waits:
                response = await send("POST", "/x", json={"a": 1})
            assert response.json() == {"ok": 1}
            assert len(waits) == 2
        assert {request.text for request in server.requests} == {'{"a":1}'}
        server.script("/x", [Reply(503)])
        assert (await once.async_request("GET", "/x")).status_code == 503


async def test_when_the_retries_are_used_up_it_is_as_httpx_has_it(server: HttpServer) -> None:
    server.script("/busy", [Reply(429, {"Retry-After": "3"}, b"busy")] * 3)
    server.script("/lost", [Reply.drop()] * 3)
    async with HTTPClient(server.url, resilience=QUICK) as client:
        with no_waits() as waits:
            response = await client.async_request("GET", "/busy")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.async_request("GET", "/lost")
    assert (response.status_code, response.text) == (429, "busy")
    assert waits[:2] == [3, 3]
    assert len(waits) == 4


async def test_streams_are_tried_again_and_stay_unread(server: HttpServer) -> None:
    server.script("/x", [Reply(503), Reply(200, {}, b"there")])
    async with HTTPClient(server.url, resilience=QUICK) as client:
        with no_waits():
            async with client.get_or_create_async_httpx_client().stream("GET", "/x") as response:
                assert not response.is_stream_consumed
                assert await response.aread() == b"there"


async def test_methods_that_must_not_be_repeated_are_not(server: HttpServer) -> None:
    server.script("/x", [Reply.drop()])
    async with HTTPClient(server.url, resilience=Resilience(retry_methods=["GET"])) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.async_request("POST", "/x")
    assert len(server.requests) == 1


async def test_a_deadline_holds_for_all_attempts(server: HttpServer) -> None:
    server.script("/x", [Reply(503, {"Retry-After": "5"})])
    async with HTTPClient(server.url, resilience=Resilience(deadline=2)) as client:
        with no_waits() as waits:
            assert (await client.async_request("GET", "/x")).status_code == 503
    assert waits == []


# Key and signature


async def test_the_key_is_sent_and_the_secret_never(server: HttpServer) -> None:
    client = HTTPAuthenticatedClient(base_url=server.url, api_key="planted-key", api_secret="planted-secret")
    async with client:
        assert client.get_or_create_async_httpx_client().headers["API-Key"] == "planted-key"
        await client.async_request("POST", "/echo?b=2&a=%20x", json={"n": 1})
    [request] = server.requests
    assert request.header("API-Key") == "planted-key"
    stamp, method, target = str(request.header("API-Timestamp")), "POST", "/echo?b=2&a=%20x"
    text = f"{stamp}\n{method}\n{target}\n".encode() + request.body
    assert request.header("API-Signature") == hmac.new(b"planted-secret", text, hashlib.sha256).hexdigest()
    assert "planted-secret" not in repr((request.target, request.headers, request.body))
    assert "planted" not in repr(client)


async def test_the_header_s_name_and_no_secret_no_signature(server: HttpServer) -> None:
    async with HTTPAuthenticatedClient(server.url, api_key="k", auth_header_name="X-Token") as client:
        await client.async_request("GET", "/echo")
    [request] = server.requests
    assert (request.header("X-Token"), request.header("API-Key"), request.header("API-Signature")) == ("k", None, None)


@pytest.mark.parametrize("returns", [True, False])
async def test_a_signer_of_ones_own_signs_each_attempt(server: HttpServer, returns: bool) -> None:
    signed: list[tuple[str, str, bytes]] = []

    def signer(request: httpx.Request, api_key: str, api_secret: str) -> dict[str, str] | None:
        signed.append((api_key, api_secret, request.content))
        headers = {"X-Signature": f"{len(signed)}"}
        if returns:
            return headers
        request.headers.update(headers)
        return None

    server.script("/x", [Reply(503), Reply(200)])
    client = HTTPAuthenticatedClient(server.url, api_key="k", api_secret="s", signer=signer, resilience=QUICK)
    async with client:
        with no_waits():
            await client.async_request("PUT", "/x", content=b"body")
    assert signed == [("k", "s", b"body")] * 2
    assert [request.header("X-Signature") for request in server.requests] == ["1", "2"]


async def test_uploads_are_signed_with_their_content(server: HttpServer) -> None:
    async with HTTPAuthenticatedClient(server.url, api_key="k", api_secret="s") as client:
        await client.async_request("POST", "/echo", files={"file": ("a.txt", b"content")})
    [request] = server.requests
    text = f"{request.header('API-Timestamp')}\nPOST\n/echo\n".encode() + request.body
    assert request.header("API-Signature") == hmac.new(b"s", text, hashlib.sha256).hexdigest()
    assert b"content" in request.body


async def test_credentials_stay_at_the_origin(server: HttpServer, other_server: HttpServer) -> None:
    client = HTTPAuthenticatedClient(
        server.url,
        api_key="planted-1",
        api_secret="planted-2",
        headers={"X-Secret": "planted-3"},
        cookies={"sid": "planted-4"},
        follow_redirects=True,
    )
    async with client:
        await client.async_request("GET", "/redirect-to", params={"url": f"{other_server.url}/echo"})
        await client.async_request("GET", f"{other_server.url}/echo")
    assert server.requests[0].header("API-Signature")
    assert len(other_server.requests) == 2
    for request in other_server.requests:
        assert "planted" not in repr((request.target, request.headers))
        assert not {"api-signature", "api-timestamp", "api-key"} & {name.lower() for name, _ in request.headers}


@pytest.mark.parametrize("kind", [HTTPClient, HTTPAuthenticatedClient])
async def test_verification_can_be_switched_off_with_a_warning_that_names_the_host(kind: type[HTTPClient]) -> None:
    with HttpServer(trustme.CA()) as secure:
        key: dict[str, Any] = {"api_key": "k"} if kind is HTTPAuthenticatedClient else {}
        with pytest.warns(InsecureTlsWarning, match=f"{secure.host}:{secure.port}") as said:
            client = kind(secure.url, verify_ssl=False, **key)
        assert said[0].filename == __file__
        async with client, client.with_timeout(5) as twin:
            assert (await client.async_request("GET", "/echo")).status_code == 200
            assert (await twin.async_request("GET", "/echo")).status_code == 200
        async with kind(secure.url, **key) as careful:
            with pytest.raises(httpx.ConnectError):
                await careful.async_request("GET", "/echo")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"base_url": "ftp://host"}, ValueError),
        ({"headers": {"X": "a\nb"}}, ValueError),
        ({"timeout": 5, "verify_ssl": "/nowhere"}, ValueError),
    ],
)
async def test_wrong_arguments_are_said(server: HttpServer, wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        async with HTTPClient(**{"base_url": server.url, **wrong}):
            pass


async def test_clients_travel_without_their_connections(server: HttpServer) -> None:
    async with HTTPAuthenticatedClient(server.url, api_key="k", api_secret="s", resilience=QUICK) as client:
        await client.async_request("GET", "/echo")
        copied = pickle.loads(pickle.dumps(client))
    async with copied:
        await copied.async_request("GET", "/echo")
    assert [request.header("API-Key") for request in server.requests] == ["k", "k"]
