"""Downloads against a real server and a real network that breaks: no broken file under the final name."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from echo_connhandler import Resilience
from echo_connhandler.errors import (
    ConnectionFailedError,
    TimeoutExceededError,
    TransferError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.downloads import content, left_beside, make, serving
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.proxy import TcpProxy
from tests.servers.tcp import TcpServer

OLD = "Wed, 01 Jan 2025 00:00:00 GMT"


# Downloads


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
async def test_a_download_brings_the_file_in_whole(server: HttpServer, tmp_path: Path, size: int) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "file.bin"
    async with make(server) as handler:
        done = await handler.async_download(f"bytes/{size}", target, progress=lambda *now: told.append(now))
    assert done == target
    assert target.read_bytes() == content(size)
    assert left_beside(target) == []
    assert told[-1] == (size, size)
    assert [now for now, _ in told] == sorted(now for now, _ in told)
    assert {total for _, total in told} == {size}
    assert server.requests[0].header("Accept-Encoding") == "identity"


async def test_a_download_takes_parameters_headers_and_text_as_path(server: HttpServer, tmp_path: Path) -> None:
    async with make(server) as handler:
        done = await handler.async_download(
            "echo?a=1", str(tmp_path / "file"), params={"b": "2"}, headers={"X-One": "1"}, timeout=5, retry=0
        )
    echoed = json.loads(done.read_bytes())
    assert echoed["query"] == [["a", "1"], ["b", "2"]]
    assert server.requests[0].header("X-One") == "1"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
async def test_a_broken_download_goes_on_where_it_broke(
    server: HttpServer, tmp_path: Path, how: str, validator: str
) -> None:
    data = os.urandom(2_000_000)
    value = '"one"' if validator == "ETag" else OLD
    server.route("GET", "/data")(serving(lambda: data, **{validator.replace("-", "_"): value}))
    told: list[tuple[int, int | None]] = []
    with TcpProxy(server.host, server.port) as proxy:
        async with make(proxy, max_retries=1) as handler:
            proxy.cut("down", after=300_000, how=how, times=5)  # type: ignore[arg-type]
            with no_waits() as waits:
                await handler.async_download("data", tmp_path / "f", progress=lambda *now: told.append(now))
        assert proxy.fired == 5
    assert (tmp_path / "f").read_bytes() == data
    assert len(waits) == 5  # more than max_retries: each attempt came further
    assert {request.header("If-Range") for request in server.requests[1:]} == {value}
    starts = [int(str(request.header("Range"))[6:-1]) for request in server.requests[1:]]
    assert starts == sorted(set(starts))
    assert starts[0] > 0
    assert [now for now, _ in told] == sorted(now for now, _ in told)
    assert told[-1] == (2_000_000, 2_000_000)


@pytest.mark.exhaustive
async def test_a_download_cut_at_every_byte_comes_out_right(server: HttpServer, tmp_path: Path) -> None:
    data = bytes(range(50))
    server.route("GET", "/data")(serving(lambda: data, ETag='"one"'))
    with TcpProxy(server.host, server.port) as proxy, no_waits():
        async with make(proxy) as handler:
            await handler.async_download("data", tmp_path / "f")
            for after in range(proxy.bytes_down + 1):
                await handler.async_reconnect()
                proxy.cut("down", after=after, times=2)
                await handler.async_download("data", tmp_path / "f")
                assert (tmp_path / "f").read_bytes() == data, after
                assert left_beside(tmp_path / "f") == []
                proxy.heal()


async def test_a_server_that_restarts_is_waited_for(server: HttpServer, tmp_path: Path) -> None:
    data = os.urandom(400_000)
    server.route("GET", "/data")(serving(lambda: data, ETag='"one"'))
    with TcpProxy(server.host, server.port) as proxy:

        def restarted(details: object) -> None:
            proxy.accept()

        async with make(proxy, resilience=Resilience(before_retry=(restarted,))) as handler:
            proxy.cut("down", after=100_000)

            def refuse(done: int, total: int | None) -> None:
                if done < 200_000 and proxy.fired:
                    proxy.refuse()

            with no_waits():
                await handler.async_download("data", tmp_path / "f", progress=refuse)
    assert (tmp_path / "f").read_bytes() == data


async def test_content_that_changed_meanwhile_is_brought_anew(server: HttpServer, tmp_path: Path) -> None:
    old, new = b"o" * 100_000, b"n" * 100_000
    server.script(
        "/data",
        [
            Reply.cut(old, after=50_000, headers={"ETag": '"old"'}),
            Reply(200, {"ETag": '"new"'}, new),  # If-Range did not hold
        ],
    )
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f")
    assert server.requests[1].header("If-Range") == '"old"'
    assert (tmp_path / "f").read_bytes() == new


@pytest.mark.parametrize(
    "lie",
    [
        {"ETag": '"new"', "Content-Range": "bytes 5-9/10"},  # If-Range was ignored
        {"ETag": '"old"', "Content-Range": "bytes 4-9/10"},
        {"ETag": '"old"', "Content-Range": "bytes 5-9/11"},
        {"ETag": '"old"', "Content-Range": "bytes 5-9/10", "Content-Encoding": "gzip"},
        {"ETag": '"old"', "Content-Range": "lines 5-9/10"},
        {"ETag": '"old"'},
    ],
    ids=str,
)
async def test_a_part_that_does_not_fit_is_never_put_to_the_rest(
    server: HttpServer, tmp_path: Path, lie: dict[str, str]
) -> None:
    server.script(
        "/data",
        [
            Reply.cut(b"o" * 10, after=5, headers={"ETag": '"old"'}),
            Reply(206, lie, b"x" * 5),
            Reply(200, {"ETag": '"new"'}, b"n" * 10),
        ],
    )
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"n" * 10
    assert server.requests[2].header("Range") is None


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}, {"Last-Modified": OLD, "Date": OLD}], ids=str)
async def test_without_a_strong_validator_it_begins_anew(
    server: HttpServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.script("/data", [Reply.cut(b"a" * 10, after=5, headers=headers), Reply(200, headers, b"b" * 10)])
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"b" * 10
    assert server.requests[1].header("Range") is None


async def test_a_server_that_ignores_ranges_serves_from_the_start(server: HttpServer, tmp_path: Path) -> None:
    told: list[int] = []
    server.script(
        "/data",
        [Reply.cut(b"a" * 1000, after=600, headers={"ETag": '"1"'}), Reply(200, {"ETag": '"1"'}, b"a" * 1000)],
    )
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f", progress=lambda done, _: told.append(done))
    assert (tmp_path / "f").read_bytes() == b"a" * 1000
    assert told == sorted(told)
    assert told[-1] == 1000


async def test_a_server_that_always_cuts_at_the_same_byte_ends_the_retries(server: HttpServer, tmp_path: Path) -> None:
    server.route("GET", "/data")(lambda _: Reply.cut(b"a" * 1000, after=600))
    async with make(server, max_retries=3) as handler:
        with no_waits(), pytest.raises(TransferError) as caught:
            await handler.async_download("data", tmp_path / "f")
    assert caught.value.attempts == 4
    assert os.listdir(tmp_path) == []


async def test_a_server_that_gives_less_than_asked_for_is_asked_for_the_rest(
    server: HttpServer, tmp_path: Path
) -> None:
    data = content(1000)

    def pieces(request: Request) -> Reply:
        first = int((request.header("Range") or "bytes=0-")[6:-1])
        if first == 0:
            return Reply.cut(data, after=100, headers={"ETag": '"1"'})
        last = min(first + 99, 999)
        headers = {"ETag": '"1"', "Content-Range": f"bytes {first}-{last}/1000"}
        return Reply(206, headers, data[first : last + 1])

    server.route("GET", "/data")(pieces)
    async with make(server, max_retries=1) as handler:
        with no_waits() as waits:
            await handler.async_download("data", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == data
    assert len(waits) == 1


async def test_compressed_content_is_stored_unpacked_and_never_continued(server: HttpServer, tmp_path: Path) -> None:
    data = os.urandom(5000) + bytes(50_000)
    packed = gzip.compress(data)
    headers = {"Content-Encoding": "gzip", "ETag": '"1"'}
    server.script("/data", [Reply.cut(packed, after=3000, headers=headers), Reply(200, headers, packed)])
    told: list[tuple[int, int | None]] = []
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f", progress=lambda *now: told.append(now))
    assert (tmp_path / "f").read_bytes() == data
    assert server.requests[1].header("Range") is None
    assert {total for _, total in told[:-1]} == {None}
    assert told[-1] == (len(data), len(data))


async def test_an_announced_length_that_never_comes_is_an_error(server: HttpServer, tmp_path: Path) -> None:
    headers = {"Content-Length": "20", "Connection": "close", "ETag": '"1"'}

    def short(request: Request) -> Reply:
        if request.header("Range"):
            return Reply(206, {**headers, "Content-Length": "10", "Content-Range": "bytes 10-19/20"}, b"")
        return Reply(200, headers, b"x" * 10)

    server.route("GET", "/data")(short)
    async with make(server, max_retries=2) as handler:
        with no_waits(), pytest.raises(TransferError):
            await handler.async_download("data", tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert (tmp_path / "f.part").read_bytes() == b"x" * 10


async def test_content_that_ends_with_the_connection_needs_a_checksum(server: HttpServer, tmp_path: Path) -> None:
    server.route("GET", "/data")(lambda _: Endless(b"all"))
    async with make(server) as handler:
        with pytest.raises(TransferError, match="how long"):
            await handler.async_download("data", tmp_path / "f")
        assert os.listdir(tmp_path) == []
        checksum = f"sha256:{hashlib.sha256(b'all').hexdigest()}"
        await handler.async_download("data", tmp_path / "f", checksum=checksum)
    assert (tmp_path / "f").read_bytes() == b"all"


class Endless(Reply):
    """A body without a length, ended by hanging up."""

    def __init__(self, body: bytes) -> None:
        super().__init__(200, {"Connection": "close"}, body)

    def head(self) -> bytes:
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


class Flood(TcpServer):
    """Answers every request with 32 MB that never are in memory at once."""

    size = 32 << 20

    def handle(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {self.size}\r\nConnection: close\r\n\r\n".encode())
        for _ in range(self.size >> 16):
            connection.sendall(bytes(1 << 16))


async def test_memory_use_does_not_depend_on_the_size(tmp_path: Path) -> None:
    with Flood() as flood:
        async with make(flood) as handler:
            tracemalloc.start()
            try:
                await handler.async_download("flood", tmp_path / "f")
                async with handler.async_stream("GET", "flood") as response:
                    seen = 0
                    async for chunk in response.aiter_bytes():
                        seen += len(chunk)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert seen == (tmp_path / "f").stat().st_size == flood.size
    assert peak < 8 << 20


# Failures as in other calls


async def test_unexpected_answers_are_raised_and_leave_nothing(server: HttpServer, tmp_path: Path) -> None:
    server.script("/gone", [Reply(404, {}, b"no such thing")])
    server.script("/busy", [Reply(503)] * 3)
    async with make(server, max_retries=2) as handler:
        with pytest.raises(UnexpectedStatusError, match="no such thing"):
            await handler.async_download("gone", tmp_path / "f")
        with no_waits() as waits, pytest.raises(UnexpectedStatusError, match="after 3 attempts"):
            await handler.async_download("busy", tmp_path / "f")
    assert len(waits) == 2
    assert os.listdir(tmp_path) == []


async def test_a_deadline_ends_a_download_that_stalls(server: HttpServer, tmp_path: Path) -> None:
    with TcpProxy(server.host, server.port) as proxy:
        async with make(proxy, resilience=Resilience(deadline=0.3)) as handler:
            proxy.cut("down", after=50_000, how="stall")
            with pytest.raises((TimeoutExceededError, ConnectionFailedError)):
                await handler.async_download("bytes/100000", tmp_path / "f")
    assert not (tmp_path / "f").exists()


async def test_many_downloads_at_once(server: HttpServer, tmp_path: Path) -> None:
    async with make(server, pool_size=4) as handler:
        async with AsyncTasks() as tasks:
            for number in range(12):
                tasks.start(handler.async_download, f"bytes/{200_000 + number}", tmp_path / str(number))
    assert [path.stat().st_size - 200_000 for path in tasks.results] == list(range(12))


async def test_redirects_to_another_origin_keep_the_condition(
    server: HttpServer, other_server: HttpServer, tmp_path: Path
) -> None:
    data = content(1000)
    replies = [Reply.cut(data, after=400, headers={"Last-Modified": OLD})]
    real = serving(lambda: data, Last_Modified=OLD)
    other_server.route("GET", "/data")(lambda request: replies.pop() if replies else real(request))
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("redirect-to", tmp_path / "f", params={"url": f"{other_server.url}/data"})
    assert (tmp_path / "f").read_bytes() == data
    assert other_server.requests[1].header("Range") == "bytes=400-"
    assert other_server.requests[1].header("If-Range") == OLD
