"""Making httpx's requests, URLs and answers quickly, where it can be done exactly.

httpx takes 60 to 100 microseconds to put a small request together, mostly by merging and parsing anew what is the same
each time. Hence its inner names here: `Headers._list` and `URL._uri_reference`. `tests/core/test_http_values.py`
compares each value with what httpx makes itself; the version of httpx is bounded.
"""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import re
from typing import Any

import httpx

from .http1 import Head, Headers

__all__ = ("Places", "answer", "content_of", "fill", "header_items", "is_read", "plain_request")

# Segments that httpx leaves as they are: nothing to encode, and no dots to resolve.
_SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*"
_SIMPLE = re.compile(rf"/?({_SEGMENT}(?:/{_SEGMENT})*/?)(?:\?([A-Za-z0-9_.~=&,:-]+))?")


def header_items(headers: httpx.Headers) -> Headers:
    """Return name, name in lower case and value of each header. Not to be changed."""
    items: Headers = headers._list  # noqa: SLF001
    return items


def content_of(request: httpx.Request) -> bytes | None:
    """Return the body, None if it is a stream that is read while it is sent."""
    try:
        return request.content
    except httpx.RequestNotRead:
        return None


def is_read(response: httpx.Response) -> bool:
    """Tell whether an answer has its whole body."""
    return hasattr(response, "_content")


def answer(head: Head, request: httpx.Request) -> httpx.Response:
    """Return an answer whose body is still to be given to it."""
    response = httpx.Response(
        head.status,
        stream=_NO_BODY,
        request=request,
        extensions={"http_version": b"HTTP/" + head.version, "reason_phrase": head.reason},
    )
    response.headers._list = head.headers  # noqa: SLF001
    return response


def fill(response: httpx.Response, body: bytes, received: int, seconds: float) -> None:
    """Give an answer its whole body, decoded, as reading it does.

    Args:
        response: the answer.
        body: decoded.
        received: bytes that came over the wire.
        seconds: from the request's beginning to the answer's end.
    """
    response._content = body  # noqa: SLF001
    response._num_bytes_downloaded = received  # noqa: SLF001
    response.is_stream_consumed = response.is_closed = True
    response.elapsed = dt.timedelta(seconds=seconds)


_NO_BODY = httpx.ByteStream(b"")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Places:
    """The URLs below a base, made from their ends."""

    def __init__(self, prefix: str) -> None:
        """Take what an endpoint is appended to, with a slash between them."""
        self._base: Any = httpx.URL(f"{prefix}/")._uri_reference  # noqa: SLF001

    def find(self, endpoint: str) -> httpx.URL | None:
        """Return the URL of an endpoint, None if it takes more than appending."""
        found = _SIMPLE.fullmatch(endpoint)
        if found is None:
            return None
        base = self._base
        url = httpx.URL.__new__(httpx.URL)
        url._uri_reference = base._replace(path=base.path + found[1], query=found[2])  # noqa: SLF001
        return url


def plain_request(
    method: str,
    url: httpx.URL,
    headers: httpx.Headers,
    json: Any,
    content: str | bytes | None,
    extensions: dict[str, Any],
) -> httpx.Request:
    """Return the request that httpx makes from the same, for bodies that are at hand.

    Args:
        method: in capitals.
        url: whole.
        headers: all that is to be sent but what follows from URL and body; it becomes the request's own.
        json: a value to be sent as JSON, or None.
        content: a body as it is, or None.
        extensions: the request's.
    """
    body = b""
    kind: bytes | None = None
    if content is not None:
        body = content.encode() if isinstance(content, str) else content
    elif json is not None:
        body = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        kind = b"application/json"
    request = httpx.Request.__new__(httpx.Request)
    request.method, request.url, request.headers, request.extensions = method, url, headers, extensions
    request.stream = httpx.ByteStream(body)
    request._content = body  # noqa: SLF001
    items = header_items(headers)
    names = {name for _, name, _ in items}
    sized = b"content-length" in names or b"transfer-encoding" in names
    if (body or kind) and b"content-length" not in names:
        items.append((b"Content-Length", b"content-length", b"%d" % len(body)))
    elif not sized and method in _WITH_BODY:
        items.insert(0, (b"Content-Length", b"content-length", b"0"))
    if kind and b"content-type" not in names:
        items.append((b"Content-Type", b"content-type", kind))
    if b"host" not in names:
        items.insert(0, (b"Host", b"host", url.netloc))
    return request
