"""HTTP calls beside what others make of them: `python -m benchmarks.http [rounds]`.

Small JSON answers (1 KB) of a server on another core: nginx where it's installed, else a bare one of ours. In each
round every contender runs once, in a process of its own, so that a slow moment of the machine meets all alike. Printed
are medians of the rounds, and ratios within a round with their spread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.http_peers import CONTENDERS

Rates = dict[tuple[str, int, str], list[float]]  # requests per second of each round, by world, number at once, name

BODY = json.dumps({"prices": [{"hour": h, "price": 60.5 + h, "submarket": "SE"} for h in range(24)], "unit": "BRL/MWh"})
BODY = BODY[:1023].ljust(1023) + "\n" if len(BODY) < 1024 else BODY[:1024]
# World, requests in flight, whose rate is 1.
GROUPS = (
    ("sync", 1, "httpx"),
    ("asyncio", 1, "httpx"),
    ("asyncio", 50, "aiohttp"),
    ("asyncio", 200, "aiohttp"),
    ("trio", 1, "httpx"),
    ("trio", 50, "httpx"),
    ("trio", 200, "httpx"),
)
SECONDS = 1.5  # that a contender is to take
SLOW = {("httpx", 50): 300, ("httpx", 200): 300}  # contenders that collapse would take minutes

NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location / {{ return 200 '{body}'; }}
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pin(core: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


@contextlib.contextmanager
def server() -> Iterator[tuple[str, str]]:
    """Run a server; yield its URL and its name."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if nginx:
            Path(folder, "nginx.conf").write_text(NGINX.format(folder=folder, port=port, body=BODY))
            command = [nginx, "-p", folder, "-c", f"{folder}/nginx.conf", "-g", "daemon off;"]
        else:
            command = [sys.executable, "-m", "benchmarks.http", "serve", str(port)]
        process = subprocess.Popen(command, preexec_fn=lambda: pin(1))
        try:
            wait_for(port)
            yield f"http://127.0.0.1:{port}", "nginx" if nginx else "a bare server of ours"
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise RuntimeError("the server did not start")


class Bare(asyncio.Protocol):
    """Answers whatever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        self.transport.write((head + BODY).encode() * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined] # connected by then


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Bare, "127.0.0.1", port) as listening:
        await listening.serve_forever()


def run(name: str, world: str, at_once: int, total: int, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.http_peers", name, world, str(at_once), str(total), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=lambda: pin(0))
    if done.returncode:
        raise RuntimeError(f"{name} on {world}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rates: Rates = {}
    cpu: Rates = {}
    with server() as (url, kind):
        print(f"against {kind}, {len(BODY)} bytes, {rounds} rounds")
        for _ in range(rounds + 1):
            for world, at_once, _ in GROUPS:
                for name in CONTENDERS[world]:
                    key = (world, at_once, name)
                    known = rates.get(key)
                    total = SLOW.get((name, at_once)) or (int(known[0] * SECONDS) if known else 500)
                    found = run(name, world, at_once, max(total, 200), url)
                    # The first round finds out how many requests to make.
                    rates[key] = [*(known or []), found["rate"]]
                    cpu[key] = [*cpu.get(key, []), found["cpu"]]
        show("by the clock", rates)
        show("by processor time of the client, which other programs disturb less", cpu)
        for world, at_once in (("sync", 1), ("asyncio", 50), ("trio", 50)):
            found = run("ours", world, at_once, 10_000, url)
            print(f"memory after 10,000 requests / after 100, {world}: {found['after'] / found['before']:.3f}")


def show(title: str, rates: Rates) -> None:
    print(f"\n{title}")
    for world, at_once, peer in GROUPS:
        print(f"\n{world}, {at_once} in flight")
        base = rates[world, at_once, peer][1:]
        for name in CONTENDERS[world]:
            mine = rates[world, at_once, name][1:]
            ratios = [a / b for a, b in zip(mine, base, strict=True)]
            print(f"  {name:22s} {statistics.median(mine):8.0f}/s  x {peer} {middle(ratios)}")
    trio, aiohttp = rates["trio", 200, "ours"][1:], rates["asyncio", 200, "aiohttp"][1:]
    ratios = [a / b for a, b in zip(trio, aiohttp, strict=True)]
    print(f"\n  ours on trio, 200 in flight, x aiohttp on asyncio {middle(ratios)}")
    for world in ("asyncio", "trio"):
        more, less = rates[world, 200, "ours"][1:], rates[world, 50, "ours"][1:]
        ratios = [a / b for a, b in zip(more, less, strict=True)]
        print(f"  ours on {world}, rate at 200 in flight / at 50 {middle(ratios)}")


if __name__ == "__main__":
    main()
