"""The patterns that users of httpx know, each in its way here, against a real server."""

from __future__ import annotations

import base64
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import trustme

from echo_connhandler import (
    AuthenticationError,
    ConnectionFailedError,
    HttpConnProperties,
    HttpHandler,
    HttpSession,
    LoginFlow,
    OAuth2,
    RateLimitedError,
    Resilience,
    TimeoutExceededError,
    UnexpectedStatusError,
    api_key_auth,
    basic_auth,
    bearer_token_auth,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.relay import ForwardProxy


def props(server: HttpServer, **more: Any) -> HttpConnProperties:
    return HttpConnProperties(host=server.url, **more)


def make(server: HttpServer, **more: Any) -> HttpHandler:
    return HttpHandler(props(server, **more), skip_connect=True)


# Saying who asks


async def test_basic_authentication(server: HttpServer) -> None:
    async with make(server, headers=basic_auth("admin", "päss:word")) as handler:
        await handler.async_get("echo")
    given = str(server.requests[0].header("Authorization")).removeprefix("Basic ")
    assert base64.b64decode(given).decode() == "admin:päss:word"


async def test_a_bearer_token_that_is_known(server: HttpServer) -> None:
    async with make(server, headers=bearer_token_auth("planted")) as handler:
        await handler.async_get("echo")
        assert "planted" not in repr(handler)
    assert server.requests[0].header("Authorization") == "Bearer planted"


async def test_an_api_key_in_a_header(server: HttpServer) -> None:
    async with make(server, headers=api_key_auth("planted")) as handler:
        await handler.async_get("echo")
    assert server.requests[0].header("X-API-Key") == "planted"


async def test_an_api_key_in_the_query(server: HttpServer) -> None:
    async with make(server, payload_kwargs={"api_key": "planted"}, payload_kwargs_key="params") as handler:
        await handler.async_get("echo", params={"day": "1"})
        with pytest.raises(UnexpectedStatusError) as caught:
            await handler.async_get("no-such-thing")
    assert server.requests[0].query == [("api_key", "planted"), ("day", "1")]
    assert "planted" not in str(caught.value)


# OAuth 2.0: tokens that are refreshed by themselves


class TokenServer:
    """The token endpoint of an authorization server, and an API that takes its tokens."""

    def __init__(self, server: HttpServer, *, expires_in: Any = 3600, uses: int | None = None) -> None:
        self.url = f"{server.url}/oauth2/token"
        self.forms: list[dict[str, str]] = []
        self.basic: list[str | None] = []
        self.refresh_token = "refresh-0"
        self._expires_in = expires_in
        self._uses = uses
        self._left: dict[str, int] = {}
        server.route("POST", "/oauth2/token")(self._token)
        server.route("GET", "/devices")(self._devices)

    def _token(self, request: Request) -> Reply:
        form = dict(httpx.QueryParams(request.text).multi_items())
        self.forms.append(form)
        self.basic.append(request.header("Authorization"))
        wrong_password = form["grant_type"] == "password" and form["password"] != "right"
        stale = form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh_token
        if wrong_password or stale:
            return Reply.json({"error": "invalid_grant"}, 400)
        token = f"token-{len(self.forms)}"
        self.refresh_token = f"refresh-{len(self.forms)}"
        self._left[f"Bearer {token}"] = self._uses or 1_000_000
        answer = {"access_token": token, "token_type": "bearer", "refresh_token": self.refresh_token}
        return Reply.json(answer | ({} if self._expires_in is None else {"expires_in": self._expires_in}))

    def _devices(self, request: Request) -> Reply:
        given = request.header("Authorization") or ""
        if self._left.get(given, 0) < 1:
            return Reply(401)
        self._left[given] -= 1
        return Reply.json(["sw-core-01"])


class ByClient(HttpHandler):
    """Asks for tokens as a client."""

    more: ClassVar[dict[str, Any]] = {}

    def login_flow(self) -> LoginFlow:
        client = OAuth2(
            token_url=self.url_for("oauth2/token"), client_id="a client", client_secret="sé:cret", **self.more
        )
        return (yield from client.client_credentials())


class ByPassword(HttpHandler):
    """Asks for the first token with the user's password, for the next ones with what came with it."""

    refresh_token: str | None = None

    def login_flow(self) -> LoginFlow:
        client = OAuth2(token_url=self.url_for("oauth2/token"), client_id="app")
        session = None
        if self.refresh_token is not None:
            try:
                session = yield from client.refresh(self.refresh_token)
            except AuthenticationError:  # it has expired too
                session = None
        if session is None:
            session = yield from client.password(str(self.props.user), str(self.props.password))
        self.refresh_token = session.refresh_token
        return session


async def test_client_credentials_bring_a_token_once_for_all(server: HttpServer) -> None:
    tokens = TokenServer(server)
    async with ByClient(props(server), skip_connect=True) as handler:
        async with AsyncTasks() as tasks:
            for _ in range(20):
                tasks.start(handler.async_get_json, "devices")
    assert tasks.results == [["sw-core-01"]] * 20
    assert tokens.forms == [{"grant_type": "client_credentials"}]
    # Form-encoded before it becomes basic authentication (RFC 6749, 2.3.1).
    assert base64.b64decode(str(tokens.basic[0])[6:]).decode() == "a+client:s%C3%A9%3Acret"


async def test_client_credentials_in_the_form_with_a_scope_and_more(server: HttpServer) -> None:
    class InForm(ByClient):
        more: ClassVar[dict[str, Any]] = {"secret_in_body": True, "scope": "read", "more": {"audience": "https://api"}}

    tokens = TokenServer(server)
    async with InForm(props(server), skip_connect=True) as handler:
        await handler.async_get_json("devices")
    assert tokens.basic == [None]
    assert tokens.forms[0] == {
        "grant_type": "client_credentials",
        "client_id": "a client",
        "client_secret": "sé:cret",
        "scope": "read",
        "audience": "https://api",
    }


async def test_a_token_is_asked_for_anew_before_it_ends_and_after_a_401(server: HttpServer) -> None:
    tokens = TokenServer(server, expires_in=100, uses=2)
    async with ByClient(props(server), skip_connect=True) as handler:
        for _ in range(3):
            assert await handler.async_get_json("devices") == ["sw-core-01"]
    assert len(tokens.forms) == 2
    assert server.hits("/devices") == 4
    short = TokenServer(server, expires_in=0.5)
    async with ByClient(props(server), skip_connect=True) as handler:
        await handler.async_get_json("devices")
        await handler.async_get_json("devices")
    assert len(short.forms) >= 2  # a token that lasts less than a second is never used twice


async def test_a_password_is_sent_once_and_then_the_refresh_token(server: HttpServer) -> None:
    tokens = TokenServer(server, uses=1)
    mine = props(server, user="me", password="right")
    async with ByPassword(mine, skip_connect=True) as handler:
        for _ in range(3):
            await handler.async_get_json("devices")
        tokens.refresh_token = "another"  # the server has forgotten it
        await handler.async_get_json("devices")
    assert [form["grant_type"] for form in tokens.forms] == [
        "password",
        "refresh_token",
        "refresh_token",
        "refresh_token",
        "password",
    ]
    assert tokens.forms[0] == {"grant_type": "password", "username": "me", "password": "right", "client_id": "app"}
    assert [form["refresh_token"] for form in tokens.forms[1:4]] == ["refresh-1", "refresh-2", "refresh-3"]


async def test_a_wrong_password_is_tried_once(server: HttpServer) -> None:
    tokens = TokenServer(server)
    handler = ByPassword(props(server, user="me", password="planted"), skip_connect=True)
    with no_waits() as waits, pytest.raises(AuthenticationError, match="invalid_grant") as caught:
        await handler.async_get("devices")
    await handler.async_close()
    assert len(tokens.forms) == 1
    assert waits == []
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Reply.json({"error": "invalid_scope", "error_description": "no such scope"}), "no such scope"),
        (Reply.json({"token": "x"}), "no access_token"),
        (Reply(200, {}, b"<html>"), "no access_token"),
        (Reply.json({"access_token": "x", "token_type": "mac"}), "only Bearer"),
    ],
)
async def test_an_answer_without_a_token_is_said(server: HttpServer, answer: Reply, said: str) -> None:
    server.script("/oauth2/token", [answer])
    handler = ByClient(props(server), skip_connect=True)
    with pytest.raises(AuthenticationError, match=said):
        await handler.async_get("devices")
    await handler.async_close()
    assert server.hits("/devices") == 0


# TLS


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[HttpServer]:
    """A server of a private CA that wants to see a certificate of the same CA."""
    ca = trustme.CA()
    mine = ca.issue_cert("me@example.com")
    mine.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    with HttpServer(ca) as running:
        assert running.ssl_context is not None
        running.ssl_context.verify_mode = ssl.CERT_REQUIRED
        yield running


async def test_client_certificate_and_private_ca(guarded: HttpServer, tmp_path: Path) -> None:
    shown = {"client_cert": str(tmp_path / "client.pem"), "client_key": str(tmp_path / "client.key")}
    async with make(guarded, verify_ssl=guarded.ca_pem, **shown) as handler:
        assert (await handler.async_get("echo")).status_code == 200
    async with make(guarded, verify_ssl=guarded.ca_pem) as handler:
        with pytest.raises(ConnectionFailedError):
            await handler.async_get("echo", retry=0)


# Proxies


@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_that_wants_to_know_who_asks(tls: bool) -> None:
    with HttpServer(trustme.CA() if tls else None) as target, ForwardProxy("me", "planted") as proxy:
        through = f"http://me:planted@{proxy.host}:{proxy.port}"
        trusted: Any = {"verify_ssl": target.ca_pem} if tls else {}
        async with make(target, proxy=through, **trusted) as handler:
            assert (await handler.async_get("echo")).status_code == 200
            async with handler.async_stream("GET", "bytes/100000") as response:
                assert len(await response.aread()) == 100_000
            assert "planted" not in repr(handler)
        assert set(proxy.served) == {f"127.0.0.1:{target.port}" if tls else target.url}
        assert all(request.header("Proxy-Authorization") is None for request in target.requests)
        async with make(target, proxy=through.replace("planted", "wrong"), **trusted) as handler:
            with pytest.raises((ConnectionFailedError, UnexpectedStatusError)) as caught:
                await handler.async_get("echo", retry=0)
        assert "wrong" not in str(caught.value)


# Time limits, uploads, errors, inspection


async def test_granular_timeouts(server: HttpServer) -> None:
    granular = {"connect": 5.0, "read": 0.05, "write": 10.0, "pool": 5.0}
    async with make(server, request_timeout=granular) as handler:
        assert handler.async_connection.timeout == httpx.Timeout(**granular)
        with pytest.raises(TimeoutExceededError):
            await handler.async_get("delay/0.5", retry=0)
        assert (await handler.async_get("delay/0.1", timeout=httpx.Timeout(5))).status_code == 200


async def test_a_multipart_upload_from_a_file_is_sent_whole_in_each_attempt(server: HttpServer, tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar.gz"
    backup.write_bytes(bytes(range(256)) * 1000)
    server.script("/v1/upload", [Reply(503), Reply.json({"ok": True})])
    async with make(server) as handler:
        with open(backup, "rb") as f, no_waits():
            response = await handler.async_post(
                "v1/upload",
                files={"file": ("backup.tar.gz", f, "application/gzip")},
                data={"description": "Config backup"},
            )
    assert response.json() == {"ok": True}
    assert len(server.requests) == 2
    for request in server.requests:
        assert backup.read_bytes() in request.body
        assert b'filename="backup.tar.gz"\r\nContent-Type: application/gzip' in request.body
        assert b"Config backup" in request.body


async def test_a_body_that_can_be_sent_only_once_is_not_repeated(server: HttpServer) -> None:
    server.script("/v1/upload", [Reply(503)])
    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(UnexpectedStatusError):
            await handler.async_post("v1/upload", content=Once())
    assert waits == []
    assert server.requests[0].text == "once"


class Once:
    """A body that comes as it goes."""

    def __init__(self) -> None:
        self._pieces = ["on", "ce"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._pieces:
            yield self._pieces.pop(0).encode()


async def test_structured_errors_by_status(server: HttpServer) -> None:
    server.script("/v1/devices/42", [Reply(401), Reply(404), Reply(429, {"Retry-After": "60"}), Reply(418)])
    said = []
    async with make(server, headers=bearer_token_auth("old")) as handler:
        for _ in range(4):
            try:
                await handler.async_get("v1/devices/42", retry=Resilience(max_retries=0, obey_rate_limits=False))
            except RateLimitedError as error:
                said.append(f"wait {error.retry_after:g} s")
            except UnexpectedStatusError as error:
                match error.response.status_code:
                    case 401:
                        said.append("token expired or invalid")
                    case 404:
                        said.append("device not found")
                    case status:
                        said.append(f"HTTP {status}")
    assert said == ["token expired or invalid", "device not found", "wait 60 s", "HTTP 418"]


async def test_no_connection_is_an_error_of_its_own() -> None:
    with HttpServer() as gone:
        nowhere = make(gone)
    with pytest.raises(ConnectionFailedError):
        await nowhere.async_get("echo", retry=0)
    await nowhere.async_close()


async def test_response_inspection(server: HttpServer) -> None:
    async with make(server) as handler:
        response = await handler.async_get("redirect/1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.elapsed.total_seconds() > 0
    assert str(response.url) == f"{server.url}/redirect/0"
    assert not response.is_redirect
    assert [hop.is_redirect for hop in response.history] == [True]


# Many at once, compression, redirects


async def test_parallel_requests(server: HttpServer) -> None:
    ids = [str(number) for number in range(30)]
    server.route("GET", "/v1/devices/*")(lambda request: Reply.json({"id": request.path.rpartition("/")[2]}))
    async with make(server) as handler:
        responses = await handler.async_gather([f"v1/devices/{did}" for did in ids], concurrency=5)
    assert [response.json()["id"] for response in responses] == ids


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compression(server: HttpServer, encoding: str) -> None:
    text = b"text " * 1000
    packed = gzip.compress(text) if encoding == "gzip" else zlib.compress(text)
    server.route("GET", "/packed")(lambda _: Reply(200, {"Content-Encoding": encoding}, packed))
    async with make(server) as handler:
        response = await handler.async_get("packed")
        assert response.text == "text " * 1000
        async with handler.async_stream("GET", "packed") as unread:
            assert b"".join([chunk async for chunk in unread.aiter_bytes()]) == b"text " * 1000
    assert encoding in str(server.requests[0].header("Accept-Encoding"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects(server: HttpServer, status: int) -> None:
    async with make(server) as handler:
        target = {"url": "/echo", "status": str(status)}
        assert (await handler.async_get("redirect-to", params=target)).json()["path"] == "/echo"
        with pytest.raises(UnexpectedStatusError):
            await handler.async_post("redirect-to", params=target)
        kept = await handler.async_get("redirect-to", params=target, response_ok=status)
    assert kept.headers["location"] == "/echo"


async def test_a_session_in_the_query(server: HttpServer) -> None:
    class InQuery(HttpHandler):
        def login_flow(self) -> LoginFlow:
            response = yield httpx.Request("POST", self.url_for("session/start"))
            return HttpSession(params={"session": response.json()["session"]})

    async with InQuery(props(server), skip_connect=True) as handler:
        await handler.async_get("echo")
    assert dict(server.requests[1].query)["session"]
