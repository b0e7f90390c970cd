"""Downloads against a real server and a real network that breaks: no broken file under the final name."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience
from echo_connhandler.errors import (
    ConnectionFailedError,
    TimeoutExceededError,
    TransferError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply, Request
from tests.servers.proxy import TcpProxy
from tests.servers.tcp import TcpServer

OLD = "Wed, 01 Jan 2025 00:00:00 GMT"


def make(server: TcpServer, **options: Any) -> HttpHandler:
    host = f"http://{server.host}:{server.port}"
    return HttpHandler(HttpConnProperties(host=host), skip_connect=True, **options)


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def serving(body: Callable[[], bytes], **headers: str) -> Callable[[Request], Reply]:
    """Return a route that serves what `body` gives, with ranges and If-Range as they should be."""

    def route(request: Request) -> Reply:
        data = body()
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        validator = own.get("ETag") or own.get("Last-Modified")
        wanted = request.header("Range")
        if wanted is None or request.header("If-Range") not in (None, validator):
            return Reply(200, own, data)
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if first >= len(data):
            return Reply(416, {**own, "Content-Range": f"bytes */{len(data)}"})
        return Reply(206, {**own, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}, data[first:])

    return route


def left_beside(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if name != path.name)


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


# What an earlier process left


async def broken(handler: HttpHandler, endpoint: str, path: Path) -> None:
    with pytest.raises(TransferError):
        await handler.async_download(endpoint, path, retry=0)


async def test_a_part_of_an_earlier_process_is_continued(server: HttpServer, tmp_path: Path) -> None:
    server.script(
        "/data",
        [
            Reply.cut(b"0123456789", after=4, headers={"ETag": '"1"'}),
            Reply(206, {"ETag": '"1"', "Content-Range": "bytes 4-9/10"}, b"456789"),
        ],
    )
    async with make(server) as handler:
        await broken(handler, "data?token=planted", tmp_path / "f")
    assert (tmp_path / "f.part").read_bytes() == b"0123"
    assert "planted" not in (tmp_path / "f.part.json").read_text()
    async with make(server) as later:
        await later.async_download("data?token=planted", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"0123456789"
    assert server.requests[1].header("Range") == "bytes=4-"
    assert left_beside(tmp_path / "f") == []


@pytest.mark.parametrize("why", ["another URL", "other parameters", "no notes", "broken notes", "other notes"])
async def test_a_part_that_belongs_to_something_else_is_not_continued(
    server: HttpServer, tmp_path: Path, why: str
) -> None:
    server.script("/data", [Reply.cut(b"0123456789", after=4, headers={"ETag": '"1"'}), Reply(200, {}, b"new")])
    server.script("/other", [Reply(200, {}, b"new")])
    notes = tmp_path / "f.part.json"
    async with make(server) as handler:
        await broken(handler, "data", tmp_path / "f")
        if why == "no notes":
            notes.unlink()
        elif why == "broken notes":
            notes.write_text('{"source": ')
        elif why == "other notes":
            notes.write_text("[]")
        await handler.async_download(
            "other" if why == "another URL" else "data",
            tmp_path / "f",
            params={"day": "2"} if why == "other parameters" else None,
        )
    assert server.requests[-1].header("Range") is None
    assert (tmp_path / "f").read_bytes() == b"new"
    assert left_beside(tmp_path / "f") == []


@pytest.mark.parametrize("unchanged", [True, False])
async def test_a_part_that_has_all_its_bytes_is_asked_about(
    server: HttpServer, tmp_path: Path, unchanged: bool
) -> None:
    body = [b"0123456789"]
    etag = ['"1"']

    def route(request: Request) -> Reply:
        return serving(lambda: body[0], ETag=etag[0])(request)

    server.route("GET", "/data")(route)
    server.script("/first", [Reply.cut(body[0], after=9, headers={"ETag": '"1"'})])
    async with make(server) as handler:
        await broken(handler, "first", tmp_path / "f")
        notes = json.loads((tmp_path / "f.part.json").read_text())
        await broken_at_the_rename(handler, tmp_path)
        if not unchanged:
            body[0], etag[0] = b"ABCDEFGHIJ", '"2"'
        await handler.async_download("data", tmp_path / "f")
    assert notes["total"] == 10
    assert server.requests[-1].header("Range") == "bytes=10-"
    assert (tmp_path / "f").read_bytes() == (b"0123456789" if unchanged else b"ABCDEFGHIJ")


async def broken_at_the_rename(handler: HttpHandler, folder: Path) -> None:
    """Leave all bytes in the part, as a process does that is killed before it renames."""

    def kill(done: int, total: int | None) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await handler.async_download("data", folder / "f", progress=kill)
    assert (folder / "f.part").stat().st_size == 10


async def test_a_416_about_another_length_leads_to_a_full_download(server: HttpServer, tmp_path: Path) -> None:
    server.script(
        "/data",
        [
            Reply.cut(b"0123456789", after=8, headers={"ETag": '"1"'}),
            Reply(416, {"Content-Range": "bytes */5"}),
            Reply(200, {"ETag": '"2"'}, b"short"),
        ],
    )
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"short"


async def test_two_downloads_to_one_file_are_kept_apart(server: HttpServer, tmp_path: Path) -> None:
    async with make(server) as handler:
        refused: list[BaseException] = []

        def second(done: int, total: int | None) -> None:
            if not refused:
                with pytest.raises(TransferError, match="another download") as caught, make(server) as other:
                    other.download("bytes/1000", tmp_path / "f")
                refused.append(caught.value)

        await handler.async_download("bytes/2000", tmp_path / "f", progress=second)
    assert refused
    assert (tmp_path / "f").read_bytes() == content(2000)


# Checksums and targets


@pytest.mark.parametrize("algorithm", ["sha256", "SHA-512", "md5", "sha3_256"])
async def test_a_right_checksum_is_taken(server: HttpServer, tmp_path: Path, algorithm: str) -> None:
    digest = hashlib.new(algorithm.lower().replace("-", ""), content(1000)).hexdigest()
    async with make(server) as handler:
        await handler.async_download("bytes/1000", tmp_path / "f", checksum=f"{algorithm}:{digest.upper()}")
    assert (tmp_path / "f").read_bytes() == content(1000)


async def test_a_wrong_checksum_leaves_nothing_and_keeps_what_was_there(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"before")
    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(TransferError, match="checksum"):
            await handler.async_download("bytes/1000", tmp_path / "f", checksum=f"sha256:{'0' * 64}")
    assert (tmp_path / "f").read_bytes() == b"before"
    assert left_beside(tmp_path / "f") == []
    assert waits == []
    assert len(server.requests) == 1


async def test_what_was_put_together_of_pieces_gets_a_second_chance(server: HttpServer, tmp_path: Path) -> None:
    server.script(
        "/data",
        [
            Reply.cut(b"aaaaa", after=2, headers={"ETag": '"1"'}),
            Reply(206, {"ETag": '"1"', "Content-Range": "bytes 2-4/5"}, b"bbb"),  # a server whose ETags lie
            Reply(200, {"ETag": '"1"'}, b"bbbbb"),
        ],
    )
    digest = hashlib.sha256(b"bbbbb").hexdigest()
    async with make(server) as handler:
        with no_waits():
            await handler.async_download("data", tmp_path / "f", checksum=f"sha256:{digest}")
    assert (tmp_path / "f").read_bytes() == b"bbbbb"


@pytest.mark.parametrize("checksum", ["sha256", "sha256:", "sha256:xyz", f"crc7:{'0' * 8}", f"md5:{'0' * 31}g"])
async def test_a_checksum_that_is_none_is_refused_at_once(server: HttpServer, tmp_path: Path, checksum: str) -> None:
    async with make(server) as handler:
        with pytest.raises(ValueError, match="checksum"):
            await handler.async_download("bytes/1", tmp_path / "f", checksum=checksum)
    assert server.requests == []


async def test_targets_that_can_not_be_are_said_at_once(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"before")
    async with make(server) as handler:
        with pytest.raises(IsADirectoryError, match="name the file"):
            await handler.async_download("bytes/1", tmp_path)
        with pytest.raises(FileNotFoundError, match="make it first"):
            await handler.async_download("bytes/1", tmp_path / "missing" / "f")
        with pytest.raises(FileExistsError, match="overwrite=False"):
            await handler.async_download("bytes/1", tmp_path / "there", overwrite=False)
        assert server.requests == []
        await handler.async_download("bytes/2", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == content(2)


async def test_errors_of_the_file_are_not_tried_again(server: HttpServer, tmp_path: Path) -> None:
    def full(done: int, total: int | None) -> None:
        raise OSError(28, "No space left on device")

    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(OSError, match="No space left"):
            await handler.async_download("bytes/1000", tmp_path / "f", progress=full)
    assert waits == []
    assert len(server.requests) == 1


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
