"""HTTP calls against servers that nobody here wrote: nginx and httpbin, over both ways that a request can take."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler
from echo_connhandler.errors import UnexpectedStatusError
from tests.concurrency import AsyncTasks
from tests.servers.foreign import httpbin, nginx
from tests.ways import way  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture(scope="module")
def nginx_url() -> Iterator[str]:
    with nginx() as url:
        yield url


@pytest.fixture(scope="module")
def httpbin_url() -> Iterator[str]:
    with httpbin() as url:
        yield url


def make(url: str) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=url), skip_connect=True)


async def test_nginx(nginx_url: str) -> None:
    async with make(nginx_url) as handler:
        for _ in range(4):  # more than it takes on one connection
            response = await handler.async_get("moved")
            assert len(response.json()["n"]) == 6001
            assert response.headers["content-encoding"] == "gzip"
        plain = await handler.async_get(
            "data.json", headers={"Accept-Encoding": "identity", "Range": "bytes=1-3"}, response_ok=206
        )
        assert plain.text == '"n"'
        assert (await handler.async_head("data.json")).headers["content-type"] == "application/json"
        with pytest.raises(UnexpectedStatusError, match="404"):
            await handler.async_get("missing")
        refused = await handler.async_post("upload", content=b"x" * 3_000_000, response_ok=413)
        assert refused.status_code == 413
        async with AsyncTasks() as tasks:
            for _ in range(30):
                tasks.start(handler.async_get_json, "data.json")
        assert [len(found["n"]) for found in tasks.results] == [6001] * 30


async def test_httpbin(httpbin_url: str) -> None:
    async with make(httpbin_url) as handler:
        for packed in ("gzip", "deflate", "brotli"):
            assert (await handler.async_get_json(packed))["method"] == "GET"
        sent = await handler.async_post("anything", json={"a": 1}, params={"b": ["2", "3"]}, headers={"X-One": "1"})
        assert (sent.json()["json"], sent.json()["args"]) == ({"a": 1}, {"b": ["2", "3"]})
        assert sent.json()["headers"]["X-One"] == "1"
        files = await handler.async_post("anything", files={"file": ("a.txt", b"content")}, data={"note": "hi"})
        assert (files.json()["files"], files.json()["form"]) == ({"file": "content"}, {"note": "hi"})
        assert (await handler.async_get_json("cookies/set?sid=one"))["cookies"] == {"sid": "one"}
        assert len((await handler.async_get("redirect/3")).history) == 3
        assert len((await handler.async_get("bytes/100000")).content) == 100_000
        assert (await handler.async_get("stream/5")).text.count("\n") == 5
        assert (await handler.async_get("encoding/utf8")).encoding == "utf-8"
        assert (await handler.async_get("status/418", response_ok=418)).status_code == 418
        live = handler.async_connection
        assert (await live.get(f"{httpbin_url}/basic-auth/me/pw", auth=httpx.BasicAuth("me", "pw"))).status_code == 200
        assert (await live.get(f"{httpbin_url}/cookies")).json()["cookies"] == {"sid": "one"}
