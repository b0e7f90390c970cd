"""The test server for HTTP does what it claims; each claim once, with a plain client."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from tests.servers.http import HttpServer, Reply, Request

if TYPE_CHECKING:
    pass
from tests.servers.clients import client, dial, read_all, server  # noqa: F401 - some are fixtures


def test_echo_tells_what_came(server: HttpServer, client: httpx.Client) -> None:
    got = client.put("/echo?a=1&a=2&b=", json={"x": "é"}, headers={"Cookie": "k=v", "X-A": "1"}).json()

    assert (got["method"], got["path"]) == ("PUT", "/echo")
    assert got["query"] == [["a", "1"], ["a", "2"], ["b", ""]]
    assert ["X-A", "1"] in got["headers"]
    assert (got["cookies"], got["json"]) == ({"k": "v"}, {"x": "é"})
    assert server.requests[0].text == got["body"]


def test_a_chunked_request_body_arrives(server: HttpServer, client: httpx.Client) -> None:
    assert client.post("/echo", content=iter([b"one ", b"two"])).json()["body"] == "one two"


def test_one_connection_serves_many_requests_and_ends_with_the_client(server: HttpServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        for _ in range(5):
            client.get("/json")
        assert (server.connections, server.open_connections) == (1, 1)

    server.wait_open(0)
    assert server.hits("/json") == 5


def test_connection_close_is_honoured(server: HttpServer, client: httpx.Client) -> None:
    client.get("/json", headers={"Connection": "close"})
    server.wait_open(0)
    server.script("/x", [Reply(200, {"Connection": "close"})])
    client.get("/x")
    server.wait_open(0)


@pytest.mark.parametrize("status", [200, 201, 204, 304, 404, 418, 429, 503, 599])
def test_status(client: httpx.Client, status: int) -> None:
    response = client.get(f"/status/{status}?Retry-After=7")
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")
    assert client.get("/json").json()["hello"] == "world"


def test_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/bytes/100")
    assert (response.headers["content-length"], response.content) == ("100", b"")
    assert client.get("/json").status_code == 200


def test_cookies_and_sessions(client: httpx.Client) -> None:
    client.get("/set-cookie?flavour=oat")
    session = client.get("/session/start").json()["session"]
    assert client.get("/cookies").json() == {"flavour": "oat", "session": session}


def test_redirects(server: HttpServer, client: httpx.Client) -> None:
    response = client.get("/redirect/3", follow_redirects=True)
    assert [r.status_code for r in response.history] == [302, 302, 302]
    assert response.json()["path"] == "/redirect/0"
    moved = client.get("/redirect-to", params={"url": "http://other.example/", "status": 307})
    assert (moved.status_code, moved.headers["location"]) == (307, "http://other.example/")


def test_bytes_with_ranges(client: httpx.Client) -> None:
    whole = client.get("/bytes/1000").content
    part = client.get("/bytes/1000", headers={"Range": "bytes=900-"})
    assert (len(whole), part.status_code, part.content) == (1000, 206, whole[900:])
    assert part.headers["content-range"] == "bytes 900-999/1000"
    assert client.get("/bytes/1000", headers={"Range": "bytes=1000-"}).status_code == 416
    changed = client.get("/bytes/1000", headers={"Range": "bytes=1-2", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_answers(client: httpx.Client, encoding: str) -> None:
    response = client.get(f"/{encoding}")
    assert response.headers["content-encoding"] == encoding
    assert response.json() == {"encoding": encoding}


def test_delay_is_late_and_lets_go_of_a_client_that_leaves(server: HttpServer, client: httpx.Client) -> None:
    begin = time.monotonic()
    assert client.get("/delay/0.2").text == "late"
    assert time.monotonic() - begin >= 0.2
    with pytest.raises(httpx.ReadTimeout):
        client.get("/delay/60", timeout=0.1)
    server.wait_open(0)


def test_scripts_are_used_up_in_order_then_fail_loudly(server: HttpServer, client: httpx.Client) -> None:
    server.script("/s", [Reply(503), Reply(429, {"Retry-After": "1"}), Reply.json([1])])
    assert [client.get("/s").status_code for _ in range(3)] == [503, 429, 200]
    assert server.script_left("/s") == 0
    over = client.get("/s")
    assert (over.status_code, over.text) == (500, "script over: /s")


def test_routes_win_over_built_in_ones(server: HttpServer, client: httpx.Client) -> None:
    @server.route("GET", "/json")
    def mine(request: Request) -> Reply:
        return Reply(201, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], request.header("x-who") or "")

    @server.route("*", "/items/*")
    def items(request: Request) -> Reply:
        return Reply(body=request.path)

    response = client.get("/json", headers={"X-Who": "me"})
    assert (response.status_code, response.text, dict(response.cookies)) == (201, "me", {"a": "1", "b": "2"})
    assert client.post("/json").json()["hello"] == "world"
    assert client.delete("/items/7").text == "/items/7"
    assert client.get("/nowhere").status_code == 404


def test_an_error_in_a_route_reaches_the_test() -> None:
    def broken(request: Request) -> Reply:
        raise LookupError("mine")

    server = HttpServer()
    server.route("GET", "/")(broken)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        assert httpx.get(server.url).status_code == 500
        with pytest.raises(LookupError, match="mine"):
            stack.close()


def test_broken_replies(server: HttpServer) -> None:
    server.script("/x", [Reply.drop(), Reply.reset(), Reply.cut("0123456789", after=4), Reply.stall(0.1)])

    def send() -> socket.socket:
        connection = dial(server)
        connection.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        return connection

    with send() as connection:
        assert read_all(connection) == b""
    with send() as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    with send() as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert (b"Content-Length: 10" in head, body) == (True, b"0123")
    begin = time.monotonic()
    with send() as connection:
        assert read_all(connection) == b""
    assert time.monotonic() - begin >= 0.1


def test_what_is_not_http_gets_400(server: HttpServer) -> None:
    with dial(server) as connection:
        connection.sendall(b"nonsense\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_expect_continue(server: HttpServer) -> None:
    with dial(server) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_https_with_and_without_the_ca_and_a_client_certificate() -> None:
    ca = trustme.CA()
    with HttpServer(ca) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=server.ca_pem)
        assert httpx.get(f"{server.url}/json", verify=context).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{server.url}/json")

    strict = HttpServer(ca)
    assert strict.ssl_context is not None
    strict.ssl_context.verify_mode = ssl.CERT_REQUIRED
    with strict:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{strict.url}/json", verify=context)
        ca.issue_cert("someone@example.com").configure_cert(context)
        assert httpx.get(f"{strict.url}/json", verify=context).status_code == 200
        strict.wait_open(0)


def test_a_thousand_requests_at_once_over_fifty_connections(server: HttpServer) -> None:
    # http.client, as httpx's own pool takes most of the time with so many requests waiting.
    together = threading.Barrier(50)

    def worker(first: int) -> list[int]:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        together.wait()
        sizes = []
        for size in range(first, first + 20):
            connection.request("GET", f"/bytes/{size}")
            sizes.append(len(connection.getresponse().read()))
        connection.close()
        return sizes

    with ThreadPoolExecutor(50) as pool:
        sizes = list(pool.map(worker, range(0, 1000, 20)))

    assert [size for part in sizes for size in part] == list(range(1000))
    server.wait_open(0)
    assert server.connections == 50
    assert len(server.requests) == 1000


def test_closing_ends_threads_and_sockets_also_of_clients_that_stay() -> None:
    before = threading.active_count()
    with HttpServer() as server:
        idle, waiting = dial(server), dial(server)
        waiting.sendall(b"GET /delay/60 HTTP/1.1\r\n\r\n")
        server.wait_open(2)
    with idle, waiting:
        assert (idle.recv(1), waiting.recv(1)) == (b"", b"")
        assert (threading.active_count(), server.open_connections) == (before, 0)
        with pytest.raises(ConnectionRefusedError):
            dial(server)


def test_wait_open_says_what_is_open(server: HttpServer) -> None:
    with pytest.raises(AssertionError, match="0 connections are open, not 1"):
        server.wait_open(1, timeout=0.05)
