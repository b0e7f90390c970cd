"""The samples of the page on httpx's patterns, one after the other, as they are written here; both flavours.

What a sample does with `httpx` itself is done by a handler. Where the page keeps httpx's own client, so does the test,
with `HTTPClient`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from echo_connhandler import (
    ConnectionFailedError,
    HTTPClient,
    HttpConnProperties,
    HttpHandler,
    HttpSession,
    InsecureTlsWarning,
    LoginFlow,
    RateLimitedError,
    TimeoutExceededError,
    UnexpectedStatusError,
    basic_auth,
    bearer_token_auth,
)
from tests.servers.http import HttpServer, Reply, Request

TOKEN = "a-token"
DEVICES = [{"id": n, "name": f"sw-core-0{n}", "status": "active"} for n in (1, 2, 3)]


@pytest.fixture
def props(server: HttpServer) -> HttpConnProperties:
    """Properties for the page's API."""

    def guarded(answer: Any) -> Any:
        def route(request: Request) -> Reply:
            if request.header("Authorization") != f"Bearer {TOKEN}":
                return Reply(401)
            return Reply.json(answer(request))

        return route

    server.route("GET", "/v1/devices")(guarded(lambda _: DEVICES))
    server.route("POST", "/v1/devices")(guarded(lambda request: {"id": 4, **request.json()}))
    server.route("GET", "/v1/devices/*")(guarded(lambda request: DEVICES[int(request.path[-1]) - 1]))
    server.route("*", "/v1/thing")(lambda request: Reply.json({"did": request.method, "sent": request.text}))
    return HttpConnProperties(host=server.url, headers=bearer_token_auth(TOKEN), request_timeout=10.0)


# Basic requests


def test_get_with_headers(server: HttpServer, props: HttpConnProperties) -> None:
    with HttpHandler(HttpConnProperties(host=server.url)) as api:
        devices = api.get("v1/devices", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10.0).json()
    assert devices == DEVICES


async def test_get_with_headers_as_a_task(server: HttpServer, props: HttpConnProperties) -> None:
    async with HttpHandler(HttpConnProperties(host=server.url), skip_connect=True) as api:
        response = await api.async_get("v1/devices", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10.0)
    assert response.json() == DEVICES


async def test_post_json_payload(props: HttpConnProperties) -> None:
    payload = {"name": "sw-core-01", "vlan": 10}
    with HttpHandler(props) as api:
        response = api.post("v1/devices", json=payload, timeout=10.0)
        assert (response.status_code, response.json()) == (200, {"id": 4, **payload})
    async with HttpHandler(props, skip_connect=True) as api:
        assert (await api.async_post("v1/devices", json=payload)).json() == {"id": 4, **payload}


async def test_put_patch_delete(props: HttpConnProperties) -> None:
    with HttpHandler(props) as api:
        assert api.put("v1/thing", json={"full": 1}).json() == {"did": "PUT", "sent": '{"full":1}'}
        assert api.patch("v1/thing", json={"status": "active"}).json()["did"] == "PATCH"
        assert api.delete("v1/thing").json()["did"] == "DELETE"
    async with HttpHandler(props, skip_connect=True) as api:
        assert (await api.async_put("v1/thing", json={"full": 1})).json()["did"] == "PUT"
        assert (await api.async_patch("v1/thing", json={"status": "active"})).json()["did"] == "PATCH"
        assert (await api.async_delete("v1/thing")).json()["did"] == "DELETE"


# Client sessions


def test_connections_are_used_again(server: HttpServer, props: HttpConnProperties) -> None:
    names = []
    with HttpHandler(props) as api:
        devices = api.get("/v1/devices").json()
        for device in devices:
            detail = api.get(f"/v1/devices/{device['id']}").json()
            names.append((detail["name"], detail["status"]))
    assert names == [(device["name"], device["status"]) for device in DEVICES]
    assert server.connections == 1


def test_the_page_s_own_client_with_retries(server: HttpServer, props: HttpConnProperties) -> None:
    with HTTPClient(base_url=server.url, headers=bearer_token_auth(TOKEN), timeout=10.0) as made:
        client = made.get_or_create_httpx_client()
        assert client.get("/v1/devices").json() == DEVICES


# Async requests


def test_a_function_of_a_service(props: HttpConnProperties) -> None:
    async def fetch_devices() -> list[dict[str, Any]]:
        async with HttpHandler(props, skip_connect=True) as api:
            response = await api.async_get("/v1/devices")
            devices: list[dict[str, Any]] = response.json()
            return devices

    assert asyncio.run(fetch_devices()) == DEVICES


async def test_parallel_requests(props: HttpConnProperties) -> None:
    async def fetch_all_details(device_ids: list[str]) -> list[dict[str, Any]]:
        async with HttpHandler(props, skip_connect=True) as api:
            responses = await api.async_gather([f"/v1/devices/{did}" for did in device_ids], response_ok=None)
            return [r.json() for r in responses if r.status_code == 200]

    assert await fetch_all_details(["1", "2", "3"]) == DEVICES
    with HttpHandler(props) as api:
        assert [r.json() for r in api.gather([f"/v1/devices/{did}" for did in "123"], concurrency=2)] == DEVICES


# Authentication patterns


async def test_basic_auth_in_a_lab_with_a_self_signed_certificate() -> None:
    with HttpServer(trustme.CA()) as ise:
        ise.route("GET", "/ers/config/endpoint")(lambda r: Reply.json({"auth": r.header("Authorization")}))
        lab = HttpConnProperties(
            host=ise.url,
            headers={"Accept": "application/json", **basic_auth("admin", "ise-password")},
            verify_ssl=False,
            request_timeout=15.0,
        )
        with pytest.warns(InsecureTlsWarning):
            api = HttpHandler(lab)
        with api:
            assert api.get("ers/config/endpoint").json() == {"auth": "Basic YWRtaW46aXNlLXBhc3N3b3Jk"}
            assert (await api.async_get("ers/config/endpoint")).status_code == 200
            await api.async_close()


async def test_a_bearer_token_with_automatic_refresh(server: HttpServer, props: HttpConnProperties) -> None:
    server.route("POST", "/token")(lambda _: Reply.json({"access_token": TOKEN, "expires_in": 3600}))

    class Api(HttpHandler):
        def login_flow(self) -> LoginFlow:
            answer = (yield httpx.Request("POST", self.url_for("token"))).json()
            return HttpSession(headers=bearer_token_auth(answer["access_token"]), expires_in=answer["expires_in"])

    with Api(HttpConnProperties(host=server.url)) as api:
        assert api.get_json("v1/devices") == DEVICES
        assert await api.async_get_json("v1/devices") == DEVICES
        await api.async_close()
    assert server.hits("/token") == 1


def test_httpx_s_own_auth_classes_serve_the_httpx_clients(server: HttpServer, props: HttpConnProperties) -> None:
    class TokenAuth(httpx.Auth):
        def __init__(self, token: str) -> None:
            self.token = token

        def auth_flow(self, request: httpx.Request) -> Any:
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request

    with HTTPClient(server.url, httpx_args={"auth": TokenAuth(TOKEN)}) as made:
        assert made.request("GET", "/v1/devices").json() == DEVICES


def test_client_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    mine = ca.issue_cert("me@example.com")
    mine.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca-chain.pem"))
    with HttpServer(ca) as secure:
        props = HttpConnProperties(
            host=secure.url,
            client_cert=str(tmp_path / "client.pem"),
            client_key=str(tmp_path / "client.key"),
            verify_ssl=str(tmp_path / "ca-chain.pem"),
        )
        with HttpHandler(props) as api:
            assert api.get("echo").status_code == 200


# Error handling


def structured(api: HttpHandler) -> str:
    """Do what the page does with each failure."""
    try:
        api.get("/v1/devices/42", retry=0, timeout=0.2)
    except RateLimitedError as error:
        return f"Rate limited -- wait {error.retry_after or 60:g}s"
    except UnexpectedStatusError as error:
        match error.response.status_code:
            case 401:
                return "Token expired or invalid"
            case 404:
                return "Device not found"
            case _:
                return f"HTTP {error.response.status_code}: {error.response.text}"
    except ConnectionFailedError:
        return "Cannot connect to API"
    except TimeoutExceededError:
        return "Request timed out"
    return "no error"


def test_structured_error_handling(server: HttpServer, props: HttpConnProperties) -> None:
    replies = {
        "Token expired or invalid": Reply(401),
        "Device not found": Reply(404),
        "HTTP 500: oops": Reply(500, {}, b"oops"),
        "Request timed out": Reply.stall(1),
        "Cannot connect to API": Reply.drop(),
        "Rate limited -- wait 7s": Reply(429, {"Retry-After": "7"}),
    }
    server.script("/v1/devices/42", replies.values())
    with HttpHandler(props) as api:
        assert [structured(api) for _ in replies] == list(replies)


# Response inspection, timeouts, upload


async def test_debug_response_metadata(server: HttpServer, props: HttpConnProperties) -> None:
    with HttpHandler(props) as api:
        for response in (api.get("/v1/devices"), await api.async_get("/v1/devices")):
            assert f"Status: {response.status_code}" == "Status: 200"
            assert f"Content-Type: {response.headers['content-type']}" == "Content-Type: application/json"
            assert response.elapsed.total_seconds() > 0
            assert f"URL: {response.url}" == f"URL: {server.url}/v1/devices"
            assert f"Redirected: {response.is_redirect}" == "Redirected: False"
        await api.async_close()


def test_granular_timeouts(props: HttpConnProperties) -> None:
    timeout = httpx.Timeout(connect=5.0, read=30.0, write=10.0, pool=5.0)
    with HttpHandler(props).with_timeout(timeout) as api:
        assert api.connection.timeout == timeout
        assert api.get("/v1/devices").json() == DEVICES


async def test_multipart_file_upload(server: HttpServer, props: HttpConnProperties, tmp_path: Path) -> None:
    (tmp_path / "backup.tar.gz").write_bytes(b"the backup")
    server.route("POST", "/v1/upload")(lambda request: Reply.json({"got": len(request.body)}))
    with HttpHandler(props) as api, open(tmp_path / "backup.tar.gz", "rb") as f:
        parts: Any = {
            "files": {"file": ("backup.tar.gz", f, "application/gzip")},
            "data": {"description": "Config backup"},
        }
        assert api.post("/v1/upload", **parts).json()["got"] > 10
        assert (await api.async_post("/v1/upload", **parts)).json()["got"] > 10
        await api.async_close()
    for request in server.requests:
        assert b"the backup" in request.body
        assert b"Config backup" in request.body
