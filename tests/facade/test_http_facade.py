"""One handler as a whole: both halves, threads, event loops, pickles, cancellation, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import psutil
import pytest
import trio

from echo_connhandler import (
    BazeHttpHandler,
    CceeHttpHandler,
    HttpConnProperties,
    HttpHandler,
    MySqlHandler,
    OnsHttpHandler,
    PgSqlHandler,
    Resilience,
    SqlLiteHandler,
)
from echo_connhandler.errors import ConnectionFailedError, HandlerClosedError
from echo_connhandler.testing import no_waits
from tests.cancellation import Steps
from tests.servers.http import HttpServer, Reply
from tests.servers.proxy import TcpProxy

HANDLERS = [
    HttpHandler,
    BazeHttpHandler,
    CceeHttpHandler,
    OnsHttpHandler,
    SqlLiteHandler,
    PgSqlHandler,
    MySqlHandler,
]


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), **options)


@pytest.mark.parametrize("cls", HANDLERS)
def test_each_async_call_has_a_sync_twin_of_the_same_signature(cls: type) -> None:
    names = [name for name in dir(cls) if name.startswith("async_") and callable(getattr(cls, name))]
    assert len(names) > 10
    for name in names:
        ours, twin = getattr(cls, name), getattr(cls, name.removeprefix("async_"))
        a, s = inspect.signature(ours), inspect.signature(twin)
        assert list(a.parameters.values()) == list(s.parameters.values()) or name == "async_run_in_transaction"
        assert inspect.getdoc(ours), name
        assert inspect.getdoc(twin), name
        assert "async" not in (inspect.getdoc(twin) or ""), name
        assert not inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize("cls", HANDLERS)
def test_the_arguments_and_their_defaults_are_the_contracts(cls: type) -> None:
    parameters = dict(inspect.signature(cls).parameters)
    for own in ("props", "commit_ledger", "warmup_path"):
        parameters.pop(own, None)
    assert {name: p.default for name, p in parameters.items()} == {
        "max_retries": 8,
        "max_conn_retries": 3,
        "retry_wait_time": 30,
        "exponential_min_retry_wait_time": 0.1,
        "exponential_multiplier": 1,
        "skip_connect": False,
        "resilience": None,
        "pool_size": 10,
    }


def test_wrong_arguments_are_said(server: HttpServer) -> None:
    props = HttpConnProperties(host=server.url)
    with pytest.raises(ValueError, match="max_retries must be a whole number from 0"):
        HttpHandler(props, max_retries=-1)
    with pytest.raises(ValueError, match="pool_size"):
        HttpHandler(props, pool_size=0)
    with pytest.raises(ValueError, match="either resilience= or"):
        HttpHandler(props, max_retries=1, resilience=Resilience())
    with pytest.raises(TypeError, match="HttpHandler takes HttpConnProperties, got str"):
        HttpHandler("http://h")  # type: ignore[arg-type]


def test_sync_connects_when_made_unless_told_not_to(server: HttpServer) -> None:
    with make(server) as handler:
        assert handler.is_connected
    lazy = make(server, skip_connect=True)
    assert not lazy.is_connected
    lazy.get("echo")
    assert lazy.is_connected
    lazy.close()


async def test_both_halves_on_one_instance(server: HttpServer) -> None:
    handler = make(server)
    assert handler.get("echo").status_code == 200
    assert (await handler.async_get("echo")).status_code == 200
    assert isinstance(handler.connection, httpx.Client)
    assert isinstance(handler.async_connection, httpx.AsyncClient)
    handler.close()
    assert not handler.is_connected
    assert handler.async_is_connected
    assert (await handler.async_get("echo")).status_code == 200
    await handler.async_close()
    assert not handler.async_is_connected
    with handler:
        assert handler.get("echo").status_code == 200
        with pytest.raises(HandlerClosedError):
            await handler.async_get("echo")


async def test_sync_calls_inside_a_running_loop_as_in_a_notebook(server: HttpServer) -> None:
    with make(server) as handler:
        assert handler.get_json("echo")["path"] == "/echo"


def test_one_handler_survives_several_event_loops(server: HttpServer) -> None:
    handler = make(server, skip_connect=True)

    async def use() -> int:
        return (await handler.async_get("echo")).status_code

    assert asyncio.run(use()) == 200
    assert trio.run(use) == 200
    assert asyncio.run(use()) == 200
    assert anyio.run(use) == 200
    server.wait_open(0)


def test_a_loop_that_ends_closes_what_it_opened(server: HttpServer) -> None:
    handler = make(server, skip_connect=True)

    async def use() -> None:
        await handler.async_get("echo")
        assert server.open_connections == 1

    asyncio.run(use())
    server.wait_open(0)
    trio.run(use)
    server.wait_open(0)
    assert not handler.async_is_connected


def test_closing_in_one_loop_leaves_the_others(server: HttpServer) -> None:
    handler = make(server, skip_connect=True)

    async def use() -> None:
        async with handler:
            await handler.async_get("echo")

    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 8
    server.wait_open(0)


def test_32_threads_share_a_handler_each_with_its_own_connection(server: HttpServer) -> None:
    barrier = threading.Barrier(32)
    clients: set[int] = set()

    with make(server) as handler:

        def use(n: int) -> list[Any]:
            barrier.wait()
            clients.add(id(handler.connection))
            found = [handler.get_json("echo", params={"n": f"{n}-{k}"})["query"] for k in range(10)]
            barrier.wait()
            return found

        with ThreadPoolExecutor(32) as pool:
            results = list(pool.map(use, range(32)))
        assert results == [[[["n", f"{n}-{k}"]] for k in range(10)] for n in range(32)]
        assert len(clients) == 32
        assert server.connections == 32
        server.wait_open(0)  # the threads have ended: so have their connections
        assert handler.get("echo").status_code == 200


def test_a_thread_that_ends_closes_its_connection(server: HttpServer) -> None:
    with make(server, skip_connect=True) as handler:
        thread = threading.Thread(target=handler.get, args=("echo",))
        thread.start()
        thread.join()
        server.wait_open(0)


def test_close_closes_the_connections_of_every_thread(server: HttpServer) -> None:
    handler = make(server)
    used, closed = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def use() -> None:
        handler.get("echo")
        used.set()
        closed.wait(5)
        try:
            handler.get("echo")
        except HandlerClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    used.wait(5)
    assert server.open_connections == 1
    handler.close()
    server.wait_open(0)
    closed.set()
    thread.join()
    assert len(raised) == 1


def test_a_handler_that_is_dropped_closes_its_connections(server: HttpServer) -> None:
    handler = make(server)
    handler.get("echo")
    assert server.open_connections == 1
    del handler
    gc.collect()
    server.wait_open(0)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_handler_that_is_dropped_in_an_event_loop_closes_its_half(
    server: HttpServer, backend: str, connected: bool
) -> None:
    async def main() -> None:
        handler = make(server, skip_connect=True)
        if connected:
            await handler.async_get("echo")
        else:
            await handler.async_connect()
        assert server.open_connections == connected
        del handler
        gc.collect()  # warnings are errors
        await anyio.to_thread.run_sync(server.wait_open, 0)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thousand_tasks_share_a_handler(server: HttpServer, backend: str) -> None:
    async def main() -> None:
        results: list[Any] = [None] * 1000

        async def one(n: int) -> None:
            results[n] = (await handler.async_get_json(f"echo?n={n}"))["query"]

        async with handler, anyio.create_task_group() as tasks:
            for n in range(1000):
                tasks.start_soon(one, n)
        assert results == [[["n", str(n)]] for n in range(1000)]

    handler = make(server, skip_connect=True)
    anyio.run(main, backend=backend)
    assert server.connections < 50  # ten at once; on a slow machine some are idle for so long that they're replaced
    server.wait_open(0)


def test_a_pickled_handler_works_where_it_lands(server: HttpServer) -> None:
    with HttpHandler(
        HttpConnProperties(host=server.url, headers={"X-One": "1"}), max_retries=2, pool_size=3
    ) as handler:
        handler.get("echo")
        twin = pickle.loads(pickle.dumps(handler))
    assert not twin.is_connected
    assert (twin.props, twin.resilience, twin.pool_size) == (handler.props, handler.resilience, 3)
    assert ["X-One", "1"] in [[k.title(), v] for k, v in twin.get("echo").json()["headers"]]
    twin.close()


def test_with_resilience_gives_a_new_handler(server: HttpServer) -> None:
    server.script("/x", [Reply(503)] * 5)
    with make(server) as handler:
        other = handler.with_resilience(Resilience(max_retries=1))
        assert handler.resilience.max_retries == 8
        with no_waits() as waits, pytest.raises(RuntimeError):
            other.get("x")
        assert len(waits) == 1
        other.close()
        assert handler.get("echo").status_code == 200


def test_one_tls_context_serves_all_clients(server: HttpServer) -> None:
    with make(server) as one, make(server) as two:
        contexts = {id(h.connection._transport._pool._ssl_context) for h in (one, two)}  # type: ignore[attr-defined]
    assert len(contexts) == 1


async def test_cancellation_at_every_await_point_leaves_the_handler_usable(server: HttpServer) -> None:
    before = psutil.Process().num_fds()
    server.script("/retried", [Reply(503), Reply.drop(), Reply(200)] * 1000)
    cancelled = 0
    for nth in range(1, 500):
        handler = make(server, skip_connect=True, pool_size=2)
        with anyio.CancelScope() as scope, no_waits():
            steps = Steps(handler.async_get("retried", retry=8), nth, scope.cancel)
            await steps
        cancelled += scope.cancelled_caught
        with no_waits():  # all places are free again: more calls than places go through
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(handler.async_get, "echo")
        await handler.async_close()
        if steps.count < nth:
            break
    assert cancelled >= 4  # connecting, and three attempts
    server.wait_open(0)
    gc.collect()
    assert psutil.Process().num_fds() <= before + 1


def test_two_hundred_handlers_leave_nothing_open(server: HttpServer) -> None:
    before = psutil.Process().num_fds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(200):
            with make(server) as handler:
                handler.get("echo")
    server.wait_open(0)  # the server's own ends are of this process too
    assert psutil.Process().num_fds() <= before + 1


def test_a_server_that_comes_back_is_found_again(server: HttpServer) -> None:
    with TcpProxy(server.host, server.port) as proxy:
        props = HttpConnProperties(host=f"http://{proxy.host}:{proxy.port}")
        with HttpHandler(props, max_retries=1, exponential_min_retry_wait_time=0) as handler:
            handler.get("echo")
            proxy.drop("reset")
            assert handler.get("echo").status_code == 200
            proxy.refuse()
            proxy.drop()
            with pytest.raises(ConnectionFailedError):
                handler.get("echo")
            proxy.accept()
            assert handler.get("echo").status_code == 200
