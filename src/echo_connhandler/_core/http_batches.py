"""Lists of HTTP requests, given in short forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from .http_requests import RequestOptions

__all__ = ("HttpRequest", "batch")

HttpRequest: TypeAlias = str | tuple[str, str] | tuple[str, str, Mapping[str, Any]]
"""An endpoint for GET, or `(method, endpoint)`, or `(method, endpoint, options)`."""


def batch(requests: Iterable[HttpRequest], options: RequestOptions) -> list[tuple[str, str, RequestOptions]]:
    """Return method, endpoint and options of each request; `options` are those of all, a request's own win.

    Raises:
        TypeError: a request is none of the forms; the message says which.
    """
    if isinstance(requests, str | bytes):
        raise TypeError("requests must be a list of requests, got a single text")
    return [_one(number, request, options) for number, request in enumerate(requests)]


def _one(number: int, request: Any, options: RequestOptions) -> tuple[str, str, RequestOptions]:
    match request:
        case str():
            return "GET", request, options
        case (str() as method, str() as endpoint):
            return method, endpoint, options
        case (str() as method, str() as endpoint, Mapping() as own):
            return method, endpoint, cast(RequestOptions, {**options, **own})
    raise TypeError(
        f"request {number} must be an endpoint, (method, endpoint) or (method, endpoint, options), got {request!r:.100}"
    )
