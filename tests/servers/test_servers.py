"""The test servers do what they claim; each claim once, with plain clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from tests.servers import hostile
from tests.servers.hostile import BEHAVIOURS, SILENT, HostileServer
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.proxy import TcpProxy
from tests.servers.tcp import TcpServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        yield running


@pytest.fixture
def client(server: HttpServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=5) as opened:
        yield opened


class Chatty(TcpServer):
    """Repeats in capitals what it is told."""

    def handle(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data.upper())


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as running:
        yield running


def dial(server: TcpServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=5)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (chunk := connection.recv(count - len(data))):
        data += chunk
    return data


# HttpServer


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


# HostileServer: what httpx makes of each behaviour

ERRORS: dict[str, type[Exception]] = {
    "malformed_status_line": httpx.RemoteProtocolError,
    "garbage": httpx.RemoteProtocolError,
    "headers_without_end": httpx.ReadTimeout,
    "truncated_headers": httpx.RemoteProtocolError,
    "truncated_body": httpx.RemoteProtocolError,
    "negative_content_length": httpx.RemoteProtocolError,
    "conflicting_content_lengths": httpx.RemoteProtocolError,
    "bad_chunk_size": httpx.RemoteProtocolError,
    "chunked_cut": httpx.RemoteProtocolError,
    "huge_header": httpx.RemoteProtocolError,
    "many_headers": httpx.RemoteProtocolError,
    "never_answers": httpx.ReadTimeout,
    "accepts_and_closes": httpx.RemoteProtocolError,
    "reset_before_reading": httpx.NetworkError,
    "reset_after_reading": httpx.ReadError,
    "reset_mid_body": httpx.ReadError,
    "redirect_loop": httpx.TooManyRedirects,
    "redirect_to_file": httpx.UnsupportedProtocol,
    "redirect_to_unknown_scheme": httpx.UnsupportedProtocol,
    "redirect_with_bare_cr": httpx.RemoteProtocolError,
    "wrong_gzip": httpx.DecodingError,
    "continue_then_nothing": httpx.ReadTimeout,
    "http_09": httpx.RemoteProtocolError,
}


@pytest.mark.parametrize("by_path", [True, False], ids=["by path", "by constructor"])
@pytest.mark.parametrize("name", sorted(ERRORS))
def test_hostile_failures(name: str, by_path: bool) -> None:
    with HostileServer(None if by_path else name) as server:
        timeout = httpx.Timeout(5, read=0.2 if name in SILENT else 5)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client, pytest.raises(ERRORS[name]):
            client.get(f"{server.url}/{name}")
        server.wait_open(0)


def test_every_behaviour_is_tested_and_described() -> None:
    accepted = {
        "content_length_too_short",
        "slow_drip",
        "redirect_with_encoded_injection",
        "gzip_bomb",
        "invalid_json",
        "latin1_json",
        "non_utf8_headers",
        "foreign_cookie",
    }
    assert BEHAVIOURS.keys() == ERRORS.keys() | accepted
    assert all(function.__doc__ for function in BEHAVIOURS.values())
    assert BEHAVIOURS.keys() >= SILENT


@pytest.fixture
def bad() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


def test_bytes_behind_the_body_pass_for_the_next_answer(bad: HostileServer) -> None:
    # httpx alone is fooled: a client on top of it must drop the connection or be wrong.
    with httpx.Client(base_url=bad.url) as client:
        assert [client.get("/content_length_too_short").text for _ in range(2)] == ["ok", "forged"]


def test_the_drip_is_slow_in_all_but_quick_in_each_part(bad: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "DRIP_SECONDS", 0.01)
    begin = time.monotonic()
    assert httpx.get(f"{bad.url}/slow_drip", timeout=0.3).text == "." * 40
    assert time.monotonic() - begin > 0.35


def test_the_encoded_injection_stays_encoded(bad: HostileServer) -> None:
    name = "redirect_with_encoded_injection"
    assert httpx.get(f"{bad.url}/{name}", follow_redirects=True).text == "followed"
    assert f"GET /{name}/injected%0d%0aX-Injected:%20yes HTTP/1.1".encode() in bad.heads[1]


def test_the_bomb_is_small_and_true(bad: HostileServer) -> None:
    with httpx.stream("GET", f"{bad.url}/gzip_bomb") as response:
        packed = b"".join(response.iter_raw())
    unpacker, size = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
    while packed:
        size += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
    assert (size, unpacker.eof) == (hostile.BOMB_BYTES, True)
    assert int(response.headers["content-length"]) < 400_000


def test_bodies_and_headers_that_are_wrong_inside(bad: HostileServer) -> None:
    with pytest.raises(json.JSONDecodeError):
        httpx.get(f"{bad.url}/invalid_json").json()
    with pytest.raises(UnicodeDecodeError):
        httpx.get(f"{bad.url}/latin1_json").json()
    raw = dict(httpx.get(f"{bad.url}/non_utf8_headers").headers.raw)
    assert raw[b"X-Name"] == b"S\xe3o Paulo \xff\xfe"
    cookies = httpx.get(f"{bad.url}/foreign_cookie").headers.get_list("set-cookie")
    assert cookies == ["stolen=1; Domain=example.com; Path=/", "own=1; Path=/"]
    assert httpx.get(f"{bad.url}/unknown").status_code == 404


# TcpProxy


def test_the_proxy_forwards_and_counts(proxy: TcpProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"HELLO"
    proxy.wait_open(0)
    assert (proxy.connections, proxy.bytes_up, proxy.bytes_down) == (1, 5, 5)


def test_the_proxy_forwards_much_both_ways_at_once(proxy: TcpProxy) -> None:
    data = b"abcdefgh" * 500_000
    with dial(proxy) as connection:

        def feed() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        feeder = threading.Thread(target=feed)
        feeder.start()
        assert read_all(connection) == data.upper()
        feeder.join()


@pytest.mark.parametrize("after", [0, 1, 4, 5])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_close_after_byte_n(proxy: TcpProxy, direction: str, after: int) -> None:
    proxy.cut("up" if direction == "up" else "down", after=after)
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        got = read_all(connection)
    proxy.wait_open(0)

    assert proxy.fired == 1
    if direction == "down":
        assert (proxy.bytes_up, got) == (5, b"HELLO"[:after])
    else:
        assert (proxy.bytes_up, got) == (after, b"")
    with dial(proxy) as connection:
        connection.sendall(b"again")
        assert read(connection, 5) == b"AGAIN"


def test_reset_after_byte_n_is_a_reset(proxy: TcpProxy) -> None:
    proxy.cut("down", after=3, how="reset")
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        assert read(connection, 3) == b"HEL"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_bytes_are_counted_over_connections_and_cuts_repeat(proxy: TcpProxy) -> None:
    proxy.cut("up", after=8, times=None)
    for _ in range(3):
        with dial(proxy) as first:
            first.sendall(b"12345")
            assert read(first, 5) == b"12345"
            with dial(proxy) as second:
                second.sendall(b"67890")
                assert read_all(second) == b""
    assert proxy.fired == 3


def test_stall_after_byte_n_holds_until_healed(proxy: TcpProxy) -> None:
    proxy.cut("down", after=2, how="stall")
    with dial(proxy) as connection:
        connection.sendall(b"hello")
        assert read(connection, 2) == b"HE"
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(5)
        assert read(connection, 3) == b"LLO"


def test_stall_hides_hang_ups_from_the_service() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        with dial(proxy) as connection:
            connection.sendall(b"x")
            assert read(connection, 1) == b"X"
            proxy.stall()
        proxy.wait_open(0)
        assert chatty.open_connections == 1
        proxy.heal()
        chatty.wait_open(0)


def test_delay(proxy: TcpProxy) -> None:
    proxy.delay(0.1)
    with dial(proxy) as connection:
        begin = time.monotonic()
        connection.sendall(b"x")
        assert read(connection, 1) == b"X"
        assert 0.2 <= time.monotonic() - begin < 2
        proxy.heal()
        connection.sendall(b"y")
        assert read(connection, 1) == b"Y"


def test_refuse_and_accept(proxy: TcpProxy) -> None:
    with dial(proxy) as connection:
        connection.sendall(b"x")
        assert read(connection, 1) == b"X"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        connection.sendall(b"y")
        assert read(connection, 1) == b"Y"
        proxy.accept()
        with dial(proxy) as second:
            second.sendall(b"z")
            assert read(second, 1) == b"Z"


def test_a_service_that_is_gone_is_a_reset() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        chatty.close()
        with pytest.raises(ConnectionResetError), dial(proxy) as connection:
            connection.recv(1)


def test_drop_ends_idle_connections_only(proxy: TcpProxy) -> None:
    with dial(proxy) as idle, dial(proxy) as busy:
        for connection in (idle, busy):
            connection.sendall(b"x")
            assert read(connection, 1) == b"X"
        since, quiet = time.monotonic(), 0.2
        while time.monotonic() - since < quiet * 1.5:
            busy.sendall(b"y")
            assert read(busy, 1) == b"Y"
        assert proxy.drop("reset", idle_for=quiet) == 1
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        busy.sendall(b"z")
        assert read(busy, 1) == b"Z"
        assert proxy.drop() == 1
        assert busy.recv(1) == b""


def test_silence_tells_neither_side_and_lasts() -> None:
    with Chatty() as chatty, TcpProxy(chatty.host, chatty.port) as proxy:
        with dial(proxy) as idle, dial(proxy) as busy:
            for connection in (idle, busy):
                connection.sendall(b"x")
                assert read(connection, 1) == b"X"
            since, quiet = time.monotonic(), 0.2
            while time.monotonic() - since < quiet * 1.5:
                busy.sendall(b"y")
                assert read(busy, 1) == b"Y"

            assert proxy.drop("silence", idle_for=quiet) == 1

            idle.sendall(b"lost")
            proxy.heal()
            idle.settimeout(0.1)
            with pytest.raises(TimeoutError):
                idle.recv(1)
            busy.sendall(b"z")
            assert read(busy, 1) == b"Z"
        # Both clients left: the service hears it of one only.
        proxy.wait_open(0)
        chatty.wait_open(1)


def test_closing_the_proxy_ends_stalled_connections() -> None:
    before = threading.active_count()
    with Chatty() as chatty, contextlib.ExitStack() as stack:
        with TcpProxy(chatty.host, chatty.port) as proxy:
            proxy.cut("up", after=0, how="stall", times=None)
            connections = [stack.enter_context(dial(proxy)) for _ in range(3)]
            for connection in connections:
                connection.sendall(b"x")
            connections.pop().close()
            proxy.wait_open(2)
        assert [connection.recv(1) for connection in connections] == [b"", b""]
    assert threading.active_count() == before


def test_the_proxy_starts_again_on_its_port(proxy: TcpProxy) -> None:
    port = proxy.port
    proxy.close()
    proxy.start()
    with dial(proxy) as connection:
        connection.sendall(b"x")
        assert (read(connection, 1), proxy.port) == (b"X", port)
