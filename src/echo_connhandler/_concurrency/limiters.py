"""How many at once, and who asks: this task, or this thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque

import anyio

__all__ = ("AsyncLimiter", "Limiter", "async_owner", "owner")


class AsyncLimiter:
    """Lets `size` tasks in at once; the others wait in order, but behind those who are to be let in first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._first: deque[anyio.Event] = deque()
        self._others: deque[anyio.Event] = deque()

    @property
    def free(self) -> int:
        """How many may come in at once."""
        return self._free

    async def acquire(self, *, first: bool = False) -> None:
        if not self.acquire_now():
            await self._queue(first=first)

    def acquire_now(self) -> bool:
        """Take a place if one is free, without waiting."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def _queue(self, *, first: bool) -> None:
        called = anyio.Event()
        line = self._first if first else self._others
        line.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():  # cancelled when the place was its own already
                self.release()
            else:
                line.remove(called)
            raise

    def release(self) -> None:
        line = self._first or self._others
        if line:
            line.popleft().set()
        else:
            self._free += 1


class Limiter:
    """Lets everyone in: it stands in an engine of one thread, which does one thing at a time."""

    def __init__(self, size: int) -> None:
        """Take the size that its twin takes."""

    def acquire(self, *, first: bool = False) -> None:
        """Go on."""

    def release(self) -> None:
        """Go on."""


def async_owner() -> object:
    """Return what tells this task from others: the event loop's own task, as an id may be given to a later one."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_task()
    return asyncio.current_task()


def owner() -> object:
    """Return what tells this thread from others."""
    return threading.current_thread()
