"""What the users' guides of the reference promise about HttpHandler and SqlLiteHandler, sample by sample.

A sample that the guides write with a handler of a later version, but that shows what every HTTP handler does, is run
with HttpHandler. Names of tests follow the headings of the guides.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

import echo_connhandler
from echo_connhandler import HttpConnProperties, HttpHandler, InsecureTlsWarning, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.core import ConnHandler, ConnProperties
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply

HANDLERS: list[type[ConnHandler]] = [HttpHandler, SqlLiteHandler]


@pytest.fixture
def props(server: HttpServer) -> HttpConnProperties:
    """Properties for a server that knows the endpoints of the guides' samples."""
    for path in ("/api/resource", "/api/resource/1", "/api/endpoint", "/endpoint"):
        server.route("*", path)(lambda request: Reply.json({"did": request.method, "at": request.path}))
    server.route("GET", "/api/session/start")(
        lambda _: Reply(200, {"Set-Cookie": "session=started; Path=/"}, b"started")
    )
    return HttpConnProperties(host=server.url)


# Overview: architecture, handlers


@pytest.mark.parametrize(
    ("handler", "properties"), [(HttpHandler, HttpConnProperties), (SqlLiteHandler, SqlLiteConnProperties)]
)
def test_architecture_is_properties_and_a_handler_with_a_base_each(
    handler: type[ConnHandler], properties: type[ConnProperties]
) -> None:
    assert issubclass(handler, ConnHandler)
    assert issubclass(properties, ConnProperties)
    assert handler.properties_class is properties
    for base in ("ConnHandler", "ConnProperties"):
        assert base not in echo_connhandler.__all__


def test_importing_needs_no_submodule() -> None:
    for name in ("HttpConnProperties", "HttpHandler", "SqlLiteConnProperties", "SqlLiteHandler"):
        assert name in echo_connhandler.__all__
        assert hasattr(echo_connhandler, name)


# Overview: retry strategy


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize(
    ("argument", "default"),
    [
        ("max_retries", 8),
        ("max_conn_retries", 3),
        ("retry_wait_time", 30),
        ("exponential_min_retry_wait_time", 0.1),
        ("exponential_multiplier", 1),
    ],
)
def test_retry_parameters_have_the_defaults_of_the_table(
    handler: type[ConnHandler], argument: str, default: float
) -> None:
    assert inspect.signature(handler).parameters[argument].default == default


def test_eight_retries_wait_from_a_tenth_of_a_second_doubling(server: HttpServer, props: HttpConnProperties) -> None:
    server.script("/busy", [Reply(503)] * 9)
    with HttpHandler(props) as handler, no_waits() as waits, pytest.raises(RuntimeError, match="after 9 attempts"):
        handler.get("busy")
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8], rel=0.25)


def test_waits_are_capped_at_thirty_seconds(server: HttpServer, props: HttpConnProperties) -> None:
    server.script("/busy", [Reply(503)] * 12)
    with HttpHandler(props, max_retries=11) as handler, no_waits() as waits, pytest.raises(RuntimeError):
        handler.get("busy")
    assert waits[8] == pytest.approx(25.6, rel=0.25)
    assert all(wait <= 30 for wait in waits)
    assert waits[9] >= 30 * 0.75


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_retries": 2}, [0.1, 0.2]),
        ({"max_retries": 2, "exponential_min_retry_wait_time": 1}, [1, 2]),
        ({"max_retries": 2, "exponential_multiplier": 3}, [0.3, 0.6]),
    ],
)
def test_counts_and_timing_are_arguments_of_the_handler(
    server: HttpServer, props: HttpConnProperties, options: dict[str, Any], expected: list[float]
) -> None:
    server.script("/busy", [Reply(503)] * 12)
    with HttpHandler(props, **options) as handler, no_waits() as waits, pytest.raises(RuntimeError):
        handler.get("busy")
    assert waits == pytest.approx(expected, rel=0.25)


def test_max_conn_retries_is_for_connecting(tmp_path: Path) -> None:
    nowhere = SqlLiteConnProperties(path=tmp_path)  # a folder is no database
    with pytest.raises(ConnectionError):
        SqlLiteHandler(nowhere, max_conn_retries=1)


# Overview: thread safety


def test_threads_share_a_handler_without_a_lock(server: HttpServer, props: HttpConnProperties) -> None:
    everyone_is_there = threading.Barrier(4)
    clients: set[int] = set()

    def work() -> None:
        assert handler.get("api/resource").json()["did"] == "GET"
        clients.add(id(handler.connection))
        everyone_is_there.wait(10)

    with HttpHandler(props) as handler:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(clients) == 4
    assert server.hits("/api/resource") == 4


def test_threads_share_a_database_handler_too(tmp_path: Path) -> None:
    with SqlLiteHandler(SqlLiteConnProperties(path=tmp_path / "shared.db")) as handler:
        handler.execute("CREATE TABLE counts (n INTEGER)")
        threads = [
            threading.Thread(target=handler.execute, args=("INSERT INTO counts VALUES (:n)", {"n": n}))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert handler.fetch_value("SELECT sum(n) FROM counts") == sum(range(8))


# Overview: context managers


def test_with_closes_a_database_and_gives_frames(tmp_path: Path) -> None:
    conn_properties = SqlLiteConnProperties(path=tmp_path / "data.db")
    with SqlLiteHandler(conn_properties) as handler:
        handler.execute("CREATE TABLE my_table (id INTEGER, name TEXT)")
        handler.execute("INSERT INTO my_table VALUES (1, 'one')")
        df = handler.read_to_pandas("SELECT * FROM my_table")
    assert df.to_dict("records") == [{"id": 1, "name": "one"}]
    assert not handler.is_connected


async def test_async_with_closes_a_database(tmp_path: Path) -> None:
    async with SqlLiteHandler(SqlLiteConnProperties(path=tmp_path / "data.db"), skip_connect=True) as handler:
        await handler.async_execute("CREATE TABLE my_table (id INTEGER)")
        df = await handler.async_read_to_pandas("SELECT * FROM my_table")
    assert list(df.columns) == ["id"]
    assert not handler.async_is_connected


async def test_async_with_closes_an_http_handler(props: HttpConnProperties) -> None:
    async with HttpHandler(props, skip_connect=True) as handler:
        data = (await handler.async_get("api/endpoint")).json()
    assert data == {"did": "GET", "at": "/api/endpoint"}
    assert not handler.async_is_connected


# HTTP guide: connection properties


def test_connection_properties_of_the_guide() -> None:
    given = HttpConnProperties(
        host="https://prices.example.org",
        api_key="planted-key",
        conn_timeout=30,
        request_timeout=300,
        verify_ssl=False,
        headers={"accept": "application/json"},
        payload_kwargs={"api_token": "planted-token"},
        payload_kwargs_key="json",
    )
    assert given.api_key == "planted-key"
    assert given.payload_kwargs == {"api_token": "planted-token"}
    assert "planted" not in repr(given)


def test_connection_properties_not_given_have_the_values_of_the_guide() -> None:
    given = HttpConnProperties(host="https://prices.example.org")
    assert (given.conn_timeout, given.request_timeout) == (30, 300)
    assert given.payload_kwargs_key == "json"
    assert given.verify_ssl is True


def test_api_key_and_user_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        HttpConnProperties(host="https://prices.example.org", api_key="k", user="me", password="p")


def test_verify_ssl_false_takes_any_certificate() -> None:
    with HttpServer(trustme.CA()) as unknown:
        careless = HttpConnProperties(host=unknown.url, verify_ssl=False)
        with pytest.warns(InsecureTlsWarning):
            made = HttpHandler(careless)
        with made as handler:
            assert handler.get("echo").status_code == 200
        with (
            HttpHandler(careless.replace(verify_ssl=True), max_retries=0) as handler,
            pytest.raises(ConnectionError, match="certificate"),
        ):
            handler.get("echo")
        with HttpHandler(careless.replace(verify_ssl=unknown.ca_pem)) as handler:
            assert handler.get("echo").status_code == 200


# HTTP guide: synchronous usage


def test_basic_requests(props: HttpConnProperties) -> None:
    handler = HttpHandler(props)
    response = handler.get("api/resource")
    assert isinstance(response, httpx.Response)
    assert response.json() == {"did": "GET", "at": "/api/resource"}
    handler.close()


@pytest.mark.parametrize("relative", ["api/resource", "/api/resource"])
def test_endpoints_are_relative_or_full_urls(server: HttpServer, props: HttpConnProperties, relative: str) -> None:
    with HttpHandler(props) as handler:
        assert handler.get(relative).json() == handler.get(f"{server.url}/api/resource").json()


def test_all_http_verbs(server: HttpServer, props: HttpConnProperties) -> None:
    with HttpHandler(props) as handler:
        handler.get("api/resource")
        handler.post("api/resource", json={"key": "value"})
        handler.put("api/resource/1", json={"key": "updated"})
        handler.patch("api/resource/1", json={"key": "patched"})
        handler.delete("api/resource/1")
    assert [request.method for request in server.requests] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert [request.json()["key"] for request in server.requests[1:4]] == ["value", "updated", "patched"]


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
def test_response_ok_of_every_method(server: HttpServer, props: HttpConnProperties, verb: str) -> None:
    server.route("*", "/created")(lambda _: Reply(201))
    with HttpHandler(props) as handler:
        call = getattr(handler, verb)
        with pytest.raises(RuntimeError):
            call("created")
        assert call("created", response_ok=201).status_code == 201
        assert call("created", response_ok=None).status_code == 201


def test_with_closes_the_connection(server: HttpServer, props: HttpConnProperties) -> None:
    with HttpHandler(props) as handler:
        data = handler.get("api/endpoint").json()
        client = handler.connection
    assert data["at"] == "/api/endpoint"
    assert client.is_closed
    server.wait_open(0)


def test_connection_is_the_live_client(props: HttpConnProperties) -> None:
    with HttpHandler(props) as handler:
        handler.get("api/session/start")
        assert isinstance(handler.connection, httpx.Client)
        assert handler.connection.cookies["session"] == "started"


# HTTP guide: asynchronous usage


def test_basic_async_requests(props: HttpConnProperties) -> None:
    async def main() -> Any:
        async with HttpHandler(props, skip_connect=True) as handler:
            return (await handler.async_get("api/resource")).json()

    assert asyncio.run(main())["at"] == "/api/resource"


async def test_async_connections_are_lazy(server: HttpServer, props: HttpConnProperties) -> None:
    handler = HttpHandler(props)
    assert handler.is_connected
    assert not handler.async_is_connected
    await handler.async_get("api/resource")
    assert handler.async_is_connected
    await handler.async_close()
    handler.close()


async def test_skip_connect_makes_no_sync_connection(props: HttpConnProperties) -> None:
    handler = HttpHandler(props, skip_connect=True)
    await handler.async_get("api/resource")
    assert not handler.is_connected
    await handler.async_close()


async def test_all_async_http_verbs(server: HttpServer, props: HttpConnProperties) -> None:
    async with HttpHandler(props, skip_connect=True) as handler:
        await handler.async_get("api/resource")
        await handler.async_post("api/resource", json={"key": "value"})
        await handler.async_put("api/resource/1", json={"key": "updated"})
        await handler.async_patch("api/resource/1", json={"key": "patched"})
        await handler.async_delete("api/resource/1")
    assert [request.method for request in server.requests] == ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def test_explicit_async_lifecycle(server: HttpServer, props: HttpConnProperties) -> None:
    handler = HttpHandler(props, skip_connect=True)
    await handler.async_reconnect()
    assert handler.async_is_connected
    assert (await handler.async_get("api/endpoint")).json()["did"] == "GET"
    await handler.async_close()
    assert not handler.async_is_connected
    server.wait_open(0)


async def test_async_connection_is_the_live_client(props: HttpConnProperties) -> None:
    async with HttpHandler(props, skip_connect=True) as handler:
        await handler.async_get("api/session/start")
        assert isinstance(handler.async_connection, httpx.AsyncClient)
        assert handler.async_connection.cookies["session"] == "started"


async def test_mixed_use_of_one_instance(props: HttpConnProperties) -> None:
    handler = HttpHandler(props)
    sync_data = handler.get("api/resource").json()
    async_data = (await handler.async_get("api/resource")).json()
    assert sync_data == async_data
    handler.close()
    assert (await handler.async_get("api/resource")).status_code == 200  # the halves are independent
    await handler.async_close()


# HTTP guide: authentication patterns


@pytest.mark.parametrize("verb", ["post", "put", "patch"])
def test_payload_kwargs_go_into_every_body(server: HttpServer, verb: str) -> None:
    server.route("*", "/endpoint")(lambda request: Reply.json(request.json()))
    props = HttpConnProperties(
        host=server.url, payload_kwargs={"api_token": "planted-token"}, payload_kwargs_key="json"
    )
    with HttpHandler(props) as handler:
        sent = getattr(handler, verb)("endpoint", json={"day": 1}).json()
    assert sent == {"api_token": "planted-token", "day": 1}


# HTTP guide: retry behaviour


def test_requests_are_retried_and_reconnected_after_a_lost_connection(
    server: HttpServer, props: HttpConnProperties
) -> None:
    server.script("/flaky", [Reply.reset(), Reply(503), Reply.json({"ok": True})])
    with HttpHandler(props) as handler, no_waits() as waits:
        assert handler.get("flaky").json() == {"ok": True}
    assert len(waits) == 2
    assert server.connections == 2  # the connection that was reset, and a new one


async def test_async_requests_are_retried_too(server: HttpServer, props: HttpConnProperties) -> None:
    server.script("/flaky", [Reply.reset(), Reply(503), Reply.json({"ok": True})])
    async with HttpHandler(props, skip_connect=True) as handler:
        with no_waits() as waits:
            assert (await handler.async_get("flaky")).json() == {"ok": True}
    assert len(waits) == 2


def test_max_retries_0_fails_fast(server: HttpServer, props: HttpConnProperties) -> None:
    server.script("/busy", [Reply(503)] * 2)
    with HttpHandler(props, max_retries=0) as handler, no_waits() as waits, pytest.raises(RuntimeError):
        handler.get("busy")
    assert waits == []
    assert server.hits("/busy") == 1


def test_a_background_job_may_keep_trying_for_longer(server: HttpServer, props: HttpConnProperties) -> None:
    server.script("/busy", [*[Reply(503)] * 12, Reply.json({"ok": True})])
    with HttpHandler(props, max_retries=12, retry_wait_time=60) as handler, no_waits() as waits:
        assert handler.get("busy").json() == {"ok": True}
    assert len(waits) == 12
    assert 45 <= waits[-1] <= 60
