"""What downloads make of files: parts that an earlier process left, checksums, targets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from echo_connhandler import HttpHandler
from echo_connhandler.errors import (
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.downloads import content, left_beside, make, serving
from tests.servers.http import HttpServer, Reply, Request

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
