"""The contenders of `benchmarks/http.py`: each makes `total` GETs of 1 KB, `at_once` in flight, and counts its memory.

One contender per process: `python -m benchmarks.http_peers NAME WORLD AT_ONCE TOTAL URL`. A contender is a function
that opens its client and gives a function that makes one call, and one that closes the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio

Call = Callable[[int], Any]
Close = Callable[[], Any]
WARM_UP = 100


def resident() -> int:
    """Return this process's memory in KB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def sync_httpx(url: str) -> tuple[Call, Close]:
    import httpx

    client = httpx.Client()
    return lambda n: client.get(f"{url}/items/{n}").content, client.close


def sync_requests(url: str) -> tuple[Call, Close]:
    import requests

    client = requests.Session()
    return lambda n: client.get(f"{url}/items/{n}").content, client.close


def sync_urllib3(url: str) -> tuple[Call, Close]:
    import urllib3

    pool = urllib3.PoolManager()
    return lambda n: pool.request("GET", f"{url}/items/{n}").data, pool.clear


def sync_pyreqwest(url: str) -> tuple[Call, Close]:
    from pyreqwest.client import SyncClientBuilder

    client = SyncClientBuilder().build()
    return lambda n: client.get(f"{url}/items/{n}").build().send().bytes(), client.close


def sync_ours(url: str) -> tuple[Call, Close]:
    from echo_connhandler import HttpConnProperties, HttpHandler

    handler = HttpHandler(HttpConnProperties(host=url))
    return lambda n: handler.get(f"items/{n}").content, handler.close


def async_httpx(url: str) -> tuple[Call, Close]:
    import httpx

    client = httpx.AsyncClient()

    async def call(n: int) -> bytes:
        return (await client.get(f"{url}/items/{n}")).content

    return call, client.aclose


def async_httpx_limited(url: str) -> tuple[Call, Close]:
    import httpx

    client = httpx.AsyncClient()
    places = anyio.Semaphore(10, fast_acquire=True)

    async def call(n: int) -> bytes:
        async with places:
            return (await client.get(f"{url}/items/{n}")).content

    return call, client.aclose


def async_aiohttp(url: str) -> tuple[Call, Close]:
    import aiohttp

    session = aiohttp.ClientSession()

    async def call(n: int) -> bytes:
        async with session.get(f"{url}/items/{n}") as response:
            return await response.read()

    return call, session.close


def async_pyreqwest(url: str) -> tuple[Call, Close]:
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().build()

    async def call(n: int) -> Any:
        return await (await client.get(f"{url}/items/{n}").build().send()).bytes()

    return call, client.close


def async_ours(url: str) -> tuple[Call, Close]:
    from echo_connhandler import HttpConnProperties, HttpHandler

    handler = HttpHandler(HttpConnProperties(host=url), skip_connect=True)

    async def call(n: int) -> bytes:
        return (await handler.async_get(f"items/{n}")).content

    return call, handler.async_close


def async_raw(url: str) -> tuple[Call, Close]:
    """One asyncio protocol per task and nothing else: the limit."""
    parts = urlsplit(url)
    free: list[_Raw] = []

    async def call(n: int) -> bytes:
        if free:
            raw = free.pop()
        else:
            loop = asyncio.get_running_loop()
            _, raw = await loop.create_connection(_Raw, parts.hostname, parts.port)
        body = await raw.get(b"GET /items/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
        free.append(raw)
        return body

    async def close() -> None:
        for raw in free:
            raw.transport.close()
        await asyncio.sleep(0)

    return call, close


class _Raw(asyncio.Protocol):
    transport: asyncio.Transport
    waiter: asyncio.Future[bytes]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.waiter.set_result(data)

    async def get(self, request: bytes) -> bytes:
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return (await self.waiter).partition(b"\r\n\r\n")[2]


CONTENDERS: dict[str, dict[str, Callable[[str], tuple[Call, Close]]]] = {
    "sync": {
        "httpx": sync_httpx,
        "requests": sync_requests,
        "urllib3": sync_urllib3,
        "pyreqwest": sync_pyreqwest,
        "ours": sync_ours,
    },
    "asyncio": {
        "httpx": async_httpx,
        "httpx, limiter of 10": async_httpx_limited,
        "aiohttp": async_aiohttp,
        "pyreqwest": async_pyreqwest,
        "raw protocol": async_raw,
        "ours": async_ours,
    },
    "trio": {
        "httpx": async_httpx,
        "httpx, limiter of 10": async_httpx_limited,
        "ours": async_ours,
    },
}


def run_sync(make: Callable[[str], tuple[Call, Close]], url: str, total: int) -> dict[str, float]:
    call, close = make(url)
    for n in range(WARM_UP):
        assert len(call(n)) > 1000
    before = resident()
    began, cpu = time.perf_counter(), time.process_time()
    for n in range(total):
        call(n)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    after = resident()
    close()
    return {"rate": total / seconds, "cpu": total / cpu, "before": before, "after": after}


async def run_async(make: Callable[[str], tuple[Call, Close]], url: str, at_once: int, total: int) -> dict[str, float]:
    call, close = make(url)

    async def spread(count: int) -> None:
        numbers = iter(range(count))

        async def work(call: Callable[[int], Awaitable[bytes]]) -> None:
            for n in numbers:
                await call(n)

        async with anyio.create_task_group() as group:
            for _ in range(at_once):
                group.start_soon(work, call)

    assert len(await call(0)) > 1000
    await spread(max(WARM_UP, at_once))
    before = resident()
    began, cpu = time.perf_counter(), time.process_time()
    await spread(total)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    after = resident()
    await close()
    return {"rate": total / seconds, "cpu": total / cpu, "before": before, "after": after}


def main() -> None:
    name, world, at_once, total, url = sys.argv[1:]
    make = CONTENDERS[world][name]
    if world == "sync":
        found = run_sync(make, url, int(total))
    else:
        found = anyio.run(run_async, make, url, int(at_once), int(total), backend=world)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
