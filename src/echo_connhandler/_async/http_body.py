"""The bodies of answers that are read piece by piece: who is done with one gives its connection and place back."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from time import perf_counter
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from .._concurrency import AsyncLimiter
    from .http_pool import AsyncHttpPool
    from .http_wire import AsyncHttpConnection

__all__ = ("AsyncHttpBody", "AsyncLeasedBody")


class AsyncHttpBody(httpx.AsyncByteStream):
    """A body that comes over a connection of our own. No generator: one that is left early would stay suspended."""

    def __init__(
        self,
        connection: AsyncHttpConnection,
        response: httpx.Response,
        began: float,
        pool: AsyncHttpPool,
        limiter: AsyncLimiter,
    ) -> None:
        self._connection = connection
        self._response = response
        self._began = began
        self._pool = pool
        self._limiter: AsyncLimiter | None = limiter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._limiter is None:
            raise httpx.StreamClosed
        try:
            piece = await self._connection.piece()
        except BaseException as error:
            self._give_back()
            if isinstance(error, httpx.RequestError):
                error.request = self._response.request
            raise
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self._give_back()

    def _give_back(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            self._response.elapsed = dt.timedelta(seconds=perf_counter() - self._began)
            self._pool.release(self._connection)
            limiter.release()


class AsyncLeasedBody(httpx.AsyncByteStream):
    """The body of an answer of the live client."""

    def __init__(self, body: object, limiter: AsyncLimiter) -> None:
        assert isinstance(body, httpx.AsyncByteStream)  # noqa: S101 - for the type checker: httpx says it may be either
        self._body = body
        self._limiter: AsyncLimiter | None = limiter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        limiter, self._limiter = self._limiter, None
        try:
            await self._body.aclose()
        finally:
            if limiter is not None:
                limiter.release()
