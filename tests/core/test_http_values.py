"""Requests, URLs and answers that are made quickly, beside those that httpx makes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_connhandler._core.http1 import parse_head
from echo_connhandler._core.http_values import Places, answer, fill, is_read, plain_request

BASES = ["http://h", "https://h:8443/v1", "http://[::1]:80/a b", "http://ä.example/x/"]


@given(base=st.sampled_from(BASES), endpoint=st.text("abZ09/._~-?=&,:;%#@ ä", max_size=12))
@settings(max_examples=500)
def test_urls(base: str, endpoint: str) -> None:
    found = Places(base.rstrip("/")).find(endpoint)
    if found is not None:
        expected = httpx.URL(f"{base.rstrip('/')}/{endpoint.lstrip('/')}")
        assert found == expected
        assert (found.raw_path, found.netloc, str(found)) == (expected.raw_path, expected.netloc, str(expected))


def test_the_usual_endpoints_are_made_quickly() -> None:
    places = Places("http://h/v1")
    for usual in ("prices", "/prices/2025-01-01", "a/b/", "x.json?day=1&to=2:30,3", "v2~x/_y"):
        assert places.find(usual) is not None
    for other in ("", "a//b", "../a", "a/./b", ".hidden", "a b", "a%20b", "http://x/", "a#b", "?a=1", "a?b=%20"):
        assert places.find(other) is None


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("own", [{}, {"Content-Type": "x/y"}, {"content-length": "7"}, {"Host": "other", "X": "1"}])
@pytest.mark.parametrize(
    "body", [{}, {"content": b"abc"}, {"content": "ä"}, {"content": b""}, {"json": {"a": [1, "ä"]}}, {"json": 0}]
)
def test_requests(method: str, own: dict[str, str], body: dict[str, Any]) -> None:
    url = httpx.URL("https://h:8443/v1?x=1")
    headers = httpx.Headers([("Accept", "*/*"), *own.items()])
    expected = httpx.Request(method, url, headers=headers, extensions={"timeout": {}}, **body)
    found = plain_request(method, url, headers.copy(), body.get("json"), body.get("content"), {"timeout": {}})
    assert (found.method, found.url, found.content) == (expected.method, expected.url, expected.content)
    assert sorted(found.headers.raw) == sorted(expected.headers.raw)
    assert found.headers.raw[0] == expected.headers.raw[0]
    assert found.extensions == expected.extensions
    assert b"".join(found.stream) == expected.content  # type: ignore[arg-type]


def test_answers() -> None:
    raw = [(b"Content-Type", b"text/plain; charset=latin-1"), (b"X-Two", b"1"), (b"x-two", b"2"), (b"X", b"\xe4")]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in raw)
    request = httpx.Request("GET", "http://h/")
    found = answer(parse_head(b"HTTP/1.1 404 Nope\r\n" + lines + b"\r\n", "GET"), request)
    assert not is_read(found)
    fill(found, b"\xe4", 1, 0.5)
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"Nope"}
    expected = httpx.Response(404, headers=raw, content=b"\xe4", request=request, extensions=extensions)
    assert found.headers.raw == [item for item in expected.headers.raw if item[0] != b"Content-Length"]
    for name in ("status_code", "reason_phrase", "http_version", "text", "encoding", "content", "is_closed", "url"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.headers["x-two"] == "1, 2"
    assert found.elapsed.total_seconds() == 0.5
    assert found.num_bytes_downloaded == 1
