"""Large answers: read as they come, or brought into a file, whatever the network does meanwhile."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack

import httpx

from .._concurrency import AsyncReads, async_anyway, async_in_thread, async_shielded, monotonic
from .._core.content_range import Answer, Verdict, answer_of, range_headers, verdict
from .._core.downloads import Checksum, source_of
from .._core.errors import TransferError
from .._core.http_answers import is_about
from .._core.http_calls import HttpCall, prepare
from .._core.http_requests import RequestOptions
from .._core.retry import Failure, Resilience
from .._drivers.part_files import PartFile, target_of
from .http import AsyncHttpCalls
from .retry import async_persist

__all__ = ("AsyncHttpTransfers",)

# Bytes held before they are written: a worker thread per network packet would cost more than the packet.
_BLOCK = 1 << 20

P = ParamSpec("P")
T = TypeVar("T")


class AsyncHttpTransfers(AsyncHttpCalls):
    """Streams and downloads of one half of a handler."""

    @asynccontextmanager
    async def async_stream(
        self, method: str, endpoint: str, **options: Unpack[RequestOptions]
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and give its response with the body unread, for the block to read as it comes.

        It is tried again until the headers of an answer that `response_ok` takes are there, a predicate sees no more
        than these. What breaks later, while the block reads, is raised. The block may be left at any time; the
        connection is closed then. `max_response_bytes` does not apply: nothing is held.

        Args:
            method: an HTTP method.
            endpoint: relative to the host, or a full URL.
            options: see `RequestOptions`. A deadline ends when the headers are there.

        Raises:
            UnexpectedStatusError, ConnectionFailedError, TimeoutExceededError: as by `async_request`.
            TransferError: the body broke off, or its compression is broken.
        """
        call = prepare(self._base, self.resilience, method, endpoint, options, monotonic())
        judge = call.judge(self._redactor, self._temporary)

        async def attempt() -> httpx.Response:
            return await self._async_attempt(call, whole=False)

        response = await async_persist(attempt, call.policy, judge, named=judge.call, started=call.began)
        reads = AsyncReads(response)
        try:
            yield response
        except httpx.HTTPError as error:
            failure = judge(error) if is_about(error, response) else None
            if failure is None:
                raise
            raise failure.error from error
        finally:
            with async_shielded():
                await reads.aclose()

    async def async_download(
        self,
        endpoint: str,
        path: str | os.PathLike[str],
        *,
        checksum: str | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        overwrite: bool = True,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        retry: Resilience | int | None = None,
    ) -> Path:
        """Bring what a GET gives into a file, and return its path.

        The bytes go to `<path>.part`, which becomes `path` in one step once all of them are there and on the disk:
        no broken file is ever seen under that name. Where the connection breaks, the rest is asked for with Range,
        if the server told an ETag or a date by which it can be sure that the content is still the same; else it begins
        anew. Attempts are counted from the last one that came further. A `.part` that an earlier process left is
        continued when it belongs to the same URL and content. Memory use does not depend on the size.

        Args:
            endpoint: relative to the host, or a full URL.
            path: the file to become; its folder must exist.
            checksum: what the content must have, for example `"sha256:9f86d0..."`; any algorithm of `hashlib`.
            progress: called with the bytes that are there and those of the whole, None as long as that's unknown. The
                first number never falls, and is the second in the end.
            overwrite: whether `path` may exist already.
            params: query parameters, added to those of the endpoint.
            headers: request headers; they win over the handler's.
            timeout: seconds, a mapping, or an `httpx.Timeout`, as in other calls.
            retry: the number of retries for this call, or a `Resilience`; its deadline is for the whole download.

        Raises:
            UnexpectedStatusError, ConnectionFailedError, TimeoutExceededError: as by `async_request`.
            TransferError: no whole answer, a wrong checksum, or another download to this file is under way.
            OSError: the file can't be written.
        """
        options: RequestOptions = {"params": params, "headers": headers, "timeout": timeout, "retry": retry}
        call = prepare(self._base, self.resilience, "GET", endpoint, options, monotonic())
        wanted = None if checksum is None else Checksum.parse(checksum)
        target = target_of(path, overwrite=overwrite)
        transfer = _AsyncTransfer(self, call, PartFile(target, source_of(call)), progress, checked=wanted is not None)
        await transfer.run(wanted, overwrite=overwrite)
        return target


class _AsyncTransfer:
    """One download."""

    def __init__(
        self,
        handler: AsyncHttpTransfers,
        call: HttpCall,
        part: PartFile,
        progress: Callable[[int, int | None], object] | None,
        *,
        checked: bool,
    ) -> None:
        self._handler = handler
        self._call = call
        self._part = part
        self._progress = progress
        self._checked = checked
        self._judge = call.judge(handler._redactor, handler._temporary)  # noqa: SLF001 - a part of the handler
        self._own: list[Exception] = []  # what went wrong here, and not at the server's
        self._furthest = 0
        self._reported = 0
        self._continued = False

    async def run(self, wanted: Checksum | None, *, overwrite: bool) -> None:
        """Bring the file in, whole and verified."""
        part = self._part
        try:
            await async_in_thread(part.open)
            await self._fetch_all()
            if wanted is not None and not await async_in_thread(part.matches, wanted):
                again = self._continued  # what was put together of pieces may be mixed: once more, in one piece
                await async_in_thread(part.begin, None, None)
                if again:
                    await self._fetch_all()
                if not again or not await async_in_thread(part.matches, wanted):
                    await async_in_thread(part.begin, None, None)
                    raise TransferError(f"{self._judge.call()}: the content does not have the checksum given")
            size = part.there.size
            await async_in_thread(part.finish, overwrite=overwrite)
        finally:
            await async_anyway(part.close)
        if self._progress is not None:
            self._progress(size, size)

    async def _fetch_all(self) -> None:
        await async_persist(
            self._attempt,
            self._call.policy,
            self._judged,
            named=self._judge.call,
            started=self._call.began,
            progress=lambda: self._furthest,
        )

    def _judged(self, error: Exception) -> Failure | None:
        return None if any(error is own for own in self._own) else self._judge(error)

    async def _attempt(self) -> None:
        while not await self._fetch():
            pass

    async def _fetch(self) -> bool:
        """Ask for what is missing; return whether all is there, else there's more to ask for."""
        there = self._part.there
        self._furthest = max(self._furthest, there.size)
        asked = range_headers(there)
        call = replace(
            self._call,
            headers={"Accept-Encoding": "identity", **(self._call.headers or {}), **asked},
            response_ok=(200, 206, 416) if asked else 200,
        )
        response = await self._handler._async_attempt(call, whole=False)  # noqa: SLF001 - a part of the handler
        reads = AsyncReads(response)
        try:
            answer = answer_of(response, there, dt.datetime.now(dt.UTC))
            conditional = "if-range" in response.request.headers
            follows = verdict(there, answer, conditional=conditional) if asked else Verdict.FROM_THE_START
            if follows is Verdict.ALL_THERE:
                return True
            if follows is Verdict.UNFIT:
                await self._locally(self._part.begin, None, None)
                return False
            if follows is Verdict.FROM_THE_START:
                await self._begin(answer)
            else:
                self._continued = True
            await self._receive(response, answer)
        finally:
            with async_shielded():
                await reads.aclose()
        return self._whole(answer, more=self._part.there.size > there.size and follows is Verdict.GO_ON)

    async def _begin(self, answer: Answer) -> None:
        if not answer.delimited and not self._checked:
            raise TransferError(
                f"{self._judge.call()}: the server doesn't say how long the content is, so that a broken one would not "
                "be noticed: give checksum=, or read it with stream()"
            )
        await self._locally(self._part.begin, answer.validator, answer.total)

    async def _receive(self, response: httpx.Response, answer: Answer) -> None:
        """Write the body; where it breaks, what came of it."""
        pieces: list[bytes] = []
        held = 0
        try:
            async for chunk in response.aiter_bytes():
                pieces.append(chunk)
                held += len(chunk)
                self._report(self._part.there.size + held, answer.total)
                if held >= _BLOCK:
                    whole, pieces, held = pieces, [], 0
                    await self._locally(self._part.append, whole)
                if self._call.ends is not None and monotonic() > self._call.ends:
                    raise TimeoutError("the deadline passed while the answer came in")
        finally:
            with async_shielded():
                await self._locally(self._part.append, pieces)
            self._furthest = max(self._furthest, self._part.there.size)

    def _whole(self, answer: Answer, *, more: bool) -> bool:
        size, total = self._part.there.size, answer.total
        if total is None or size == total:
            return True
        if size < total and more:
            return False  # a server may give less than it was asked for
        raise httpx.RemoteProtocolError(f"the answer ended at byte {size} of {total}")

    def _report(self, done: int, total: int | None) -> None:
        self._reported = max(self._reported, done if total is None else min(done, total))
        if self._progress is None:
            return
        try:
            self._progress(self._reported, total)
        except Exception as error:
            self._own.append(error)
            raise

    async def _locally(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what concerns the file: its errors are no failures of the call, and are not tried again."""
        try:
            return await async_in_thread(work, *args, **kwargs)
        except OSError as error:
            self._own.append(error)
            raise
