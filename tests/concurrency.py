"""Doing many things at once, as tasks or as threads: a pair of one shape, for tests that are written once."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import anyio

__all__ = ("AsyncTasks", "Tasks", "async_pause", "lasting_threads", "pause")


class AsyncTasks:
    """Runs functions as tasks; at the end of the block all are done and `results` has what each gave or raised."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        place = len(self.results)
        self.results.append(None)

        async def run() -> None:
            try:
                self.results[place] = await function(*args)
            except Exception as error:
                self.results[place] = error

        self._group.start_soon(run)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)


class Tasks:
    """Runs functions as threads; at the end of the block all are done and `results` has what each gave or raised."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        place = len(self.results)
        self.results.append(None)

        def run() -> None:
            try:
                self.results[place] = function(*args)
            except Exception as error:
                self.results[place] = error

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def __exit__(self, *exc: object) -> None:
        for thread in self._threads:
            thread.join()


async def async_pause(seconds: float) -> None:
    """Let others go on for a moment."""
    await anyio.sleep(seconds)


def pause(seconds: float) -> None:
    """Let others go on for a moment."""
    threading.Event().wait(seconds)


def lasting_threads() -> list[threading.Thread]:
    """Return the threads that live, but for those that event loops keep idle for a while to use them again."""
    return [t for t in threading.enumerate() if "AnyIO" not in t.name and "Trio thread" not in t.name]
