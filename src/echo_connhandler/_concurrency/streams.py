"""What a call that yields gives: an iterator that frees what it holds also when it's left early."""

from __future__ import annotations

import asyncio
import functools
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import httpx
from anyio.lowlevel import current_token

__all__ = ("AsyncReads", "Reads", "async_releasing", "async_sweep", "close_soon", "releasing", "sweep")

logger = logging.getLogger("echo_connhandler")

T = TypeVar("T")

# Generators that were left early, by event loop: for the loop to close soon, or the next call before that.
_left: weakref.WeakKeyDictionary[Any, deque[Any]] = weakref.WeakKeyDictionary()
_tasks: set[asyncio.Task[None]] = set()  # event loops hold their tasks weakly


class _Releasing(AsyncIterator[T], Generic[T]):
    """Yields what a generator yields. Dropped before its end, it has the generator closed."""

    def __init__(self, generator: AsyncIterator[T]) -> None:
        self._generator: Any = generator
        self._loop: Any = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._loop is None:
            self._loop = current_token().native_token
        following: T = await self._generator.__anext__()
        return following

    async def aclose(self) -> None:
        self._loop = None
        await self._generator.aclose()

    def __del__(self) -> None:
        if self._loop is not None:  # begun
            close_soon(self._loop, self._generator)


def close_soon(loop: Any, generator: Any) -> None:
    """Have an event loop close a generator that nobody will go on with; called from any thread.

    Event loops do that to one that is dropped as well, but trio with a warning, and both only after a while.
    """
    if generator.ag_frame is None:  # at its end
        return
    _left.setdefault(loop, deque()).append(generator)
    try:
        if hasattr(loop, "run_sync_soon"):
            loop.run_sync_soon(_sweep_on_trio)
        else:
            loop.call_soon_threadsafe(_sweep_on_asyncio)
    except RuntimeError:
        _left.pop(loop, None)
        logger.debug("an event loop ended before what was left early was closed; it has closed it")


async def async_sweep() -> None:
    """Close what was left early in this event loop."""
    if not _left:
        return
    loop = current_token().native_token
    while generators := _left.get(loop):
        try:
            await generators.popleft().aclose()
        except Exception:
            logger.warning("what was left early could not be closed in order", exc_info=True)
    _left.pop(loop, None)


def _sweep_on_asyncio() -> None:
    task = asyncio.ensure_future(async_sweep())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _sweep_on_trio() -> None:
    import trio

    trio.lowlevel.spawn_system_task(async_sweep)


def sweep() -> None:
    """Do nothing: without an event loop, generators that are dropped close themselves at once."""


def async_releasing(generator: AsyncIterator[T]) -> AsyncIterator[T]:
    """Return an iterator over what a generator yields; when it's left early the generator is closed."""
    return _Releasing(generator)


def releasing(generator: Iterator[T]) -> Iterator[T]:
    """Return the generator: one that is dropped closes itself."""
    return generator


class AsyncReads:
    """The iterators over the body of an answer, which are brought to their end when it's closed.

    One that a user leaves early holds httpx's own, nested in it: suspended, and trio warns of each that is dropped so.
    Once the connection is closed, reading on ends them all. Hence they are kept until then: no method of a response
    could do that, so those that begin to read are replaced in this one.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._begun: list[AsyncIterator[Any]] = []
        for name in ("aiter_raw", "aiter_bytes", "aiter_text", "aiter_lines"):
            setattr(response, name, self._kept(getattr(response, name)))

    def _kept(self, begin: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        @functools.wraps(begin)
        def begin_kept(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            self._begun.append(begin(*args, **kwargs))
            return self._begun[-1]

        return begin_kept

    async def aclose(self) -> None:
        """Close the answer and give its connection back."""
        await self._response.aclose()
        for iterator in self._begun:
            with suppress(httpx.HTTPError, httpx.StreamError):
                async for _ in iterator:
                    pass


class Reads:
    """What closes an answer: without an event loop, iterators that are dropped end at once."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def close(self) -> None:
        """Close the answer and give its connection back."""
        self._response.close()
