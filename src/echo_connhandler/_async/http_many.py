"""Many answers: long lists page by page, and many requests at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, Unpack, overload

import httpx

from .._concurrency import async_each, async_releasing, monotonic
from .._core.http_batches import HttpRequest, batch
from .._core.http_calls import prepare
from .._core.http_requests import RequestOptions
from .._core.page_walks import Walk
from .._core.pagination import Page, PageStyle, Selector
from .http import AsyncHttpCalls

__all__ = ("AsyncHttpMany",)


class AsyncHttpMany(AsyncHttpCalls):
    """Pages and gathering of one half of a handler."""

    pool_size: int

    def async_paginate(
        self,
        endpoint: str,
        style: PageStyle,
        *,
        items: Selector | None = None,
        method: str = "GET",
        max_pages: int | None = None,
        repeats_ok: bool = False,
        **options: Unpack[RequestOptions],
    ) -> AsyncIterator[Any]:
        """Yield the items of a list that an API hands out page by page.

        A page is asked for when its items are, so the iteration may be left at any time. Each request is tried again
        like any other call. Going in circles is noticed.

        Args:
            endpoint: relative to the host, or a full URL.
            style: how pages follow each other: `PageNumber`, `Offset`, `Cursor`, `LinkHeader`, `NextLink`, or your own.
            items: where a page has its items: a dotted path into the JSON body, a function of the response, or None
                where the body is the list.
            method: the HTTP method.
            max_pages: end after so many pages; None: only where the list ends.
            repeats_ok: don't mind that two pages hold the same, where `style` counts pages by itself.
            options: see `RequestOptions`. To a next link goes no `params`, and to one at another origin nothing of it
                that may be a secret.

        Raises:
            UnexpectedContentError: an answer is no such page, or a page comes again.
            UnexpectedStatusError, ConnectionFailedError, TimeoutExceededError: as by `async_request`.
        """
        walk = self._walk(endpoint, style, items, method, max_pages, repeats_ok, options)
        return async_releasing(self._async_items(walk, endpoint, method, max_pages))

    def async_pages(
        self,
        endpoint: str,
        style: PageStyle,
        *,
        items: Selector | None = None,
        method: str = "GET",
        max_pages: int | None = None,
        repeats_ok: bool = False,
        **options: Unpack[RequestOptions],
    ) -> AsyncIterator[Page]:
        """Yield the pages of such a list whole, each with its response; the arguments are those of `async_paginate`."""
        walk = self._walk(endpoint, style, items, method, max_pages, repeats_ok, options)
        return async_releasing(self._async_pages(walk, endpoint, method, max_pages))

    def _walk(
        self,
        endpoint: str,
        style: PageStyle,
        items: Selector | None,
        method: str,
        max_pages: int | None,
        repeats_ok: bool,
        options: RequestOptions,
    ) -> Walk:
        """Check the arguments before anything is sent."""
        if max_pages is not None and (isinstance(max_pages, bool) or not isinstance(max_pages, int) or max_pages < 1):
            raise ValueError(f"max_pages must be a whole number from 1, or None for all, got {max_pages!r}")
        prepare(self._base, self.resilience, method, endpoint, options, monotonic())
        return Walk(style, items, options, self._redactor, repeats_ok=repeats_ok)

    async def _async_items(self, walk: Walk, endpoint: str, method: str, max_pages: int | None) -> AsyncIterator[Any]:
        async for page in async_releasing(self._async_pages(walk, endpoint, method, max_pages)):
            for item in page.items:
                yield item

    async def _async_pages(self, walk: Walk, endpoint: str, method: str, max_pages: int | None) -> AsyncIterator[Page]:
        while True:
            target, options = walk.request(endpoint)
            page = walk.take(await self.async_request(method, target, **options))
            yield page
            if page.number == max_pages or not walk.goes_on(page):
                return

    @overload
    async def async_gather(
        self,
        requests: Iterable[HttpRequest],
        *,
        concurrency: int | None = None,
        return_exceptions: Literal[False] = False,
        **options: Unpack[RequestOptions],
    ) -> list[httpx.Response]: ...

    @overload
    async def async_gather(
        self,
        requests: Iterable[HttpRequest],
        *,
        concurrency: int | None = None,
        return_exceptions: bool,
        **options: Unpack[RequestOptions],
    ) -> list[httpx.Response | Exception]: ...

    async def async_gather(
        self,
        requests: Iterable[HttpRequest],
        *,
        concurrency: int | None = None,
        return_exceptions: bool = False,
        **options: Unpack[RequestOptions],
    ) -> list[Any]:
        """Send many requests, a bounded number at once, and return their responses in the order of the requests.

        Each is tried again by itself. The first that fails for good cancels the rest and is raised, unless exceptions
        are to be returned in the place of responses.

        Args:
            requests: endpoints for GET, or tuples `(method, endpoint)` or `(method, endpoint, options)`; the options as
                a mapping, see `RequestOptions`. All are checked before the first is sent.
            concurrency: how many at once; `pool_size` if not given, which also bounds it for the tasks of an event
                loop.
            return_exceptions: give exceptions as results.
            options: for all requests; those of a request win.

        Raises:
            ValueError, TypeError: a request is none; the message says which.
        """
        limit = self.pool_size if concurrency is None else concurrency
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"concurrency must be a whole number from 1, got {concurrency!r}")
        calls = batch(requests, options)
        for method, endpoint, own in calls:
            prepare(self._base, self.resilience, method, endpoint, own, monotonic())

        async def send(call: tuple[str, str, RequestOptions]) -> httpx.Response:
            method, endpoint, own = call
            return await self.async_request(method, endpoint, **own)

        return await async_each(send, calls, limit, collect=return_exceptions)
