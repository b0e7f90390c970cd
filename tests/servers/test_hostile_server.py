"""The hostile server misbehaves as it claims: what httpx makes of each behaviour."""

from __future__ import annotations

import json
import time
import zlib
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers import hostile
from tests.servers.hostile import BEHAVIOURS, SILENT, HostileServer

if TYPE_CHECKING:
    from collections.abc import Iterator


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
