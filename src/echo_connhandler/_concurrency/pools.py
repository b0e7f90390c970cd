"""How many at once: a limiter for requests, a pool for connections, and who asks (this task, or this thread)."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio

from .._core.errors import ConnectionFailedError, HandlerClosedError
from .local import CLOSED

__all__ = ("AsyncLimiter", "AsyncPool", "Limiter", "Pool", "async_owner", "owner")


class _AsyncPooled(Protocol):
    @property
    def dead(self) -> bool: ...

    async def aclose(self) -> None: ...


class _Pooled(Protocol):
    @property
    def dead(self) -> bool: ...

    def close(self) -> None: ...


A = TypeVar("A", bound=_AsyncPooled)
S = TypeVar("S", bound=_Pooled)


class AsyncLimiter:
    """Lets `size` tasks in at once; the others wait in order."""

    def __init__(self, size: int) -> None:
        self._places = anyio.Semaphore(size, fast_acquire=True)

    async def acquire(self) -> None:
        await self._places.acquire()

    def release(self) -> None:
        self._places.release()


class Limiter:
    """Lets everyone in: it stands in an engine of one thread, which does one thing at a time."""

    def __init__(self, size: int) -> None:
        """Take the size that its twin takes."""

    def acquire(self) -> None:
        """Go on."""

    def release(self) -> None:
        """Go on."""


class AsyncPool(Generic[A]):
    """Up to `size` connections, made when needed; those who find none free wait in order, up to `timeout` seconds."""

    def __init__(self, connect: Callable[[], Awaitable[A]], size: int, timeout: float) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._places = anyio.Semaphore(size, fast_acquire=True)
        self._idle: list[A] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection is open and idle, or all are in use."""
        return not self._closed and (bool(self._idle) or self._places.value < self._size)

    @property
    def closed(self) -> bool:
        """Whether it was closed; what was acquired before is still to be given back."""
        return self._closed

    async def acquire(self) -> A:
        """Return a connection that is this caller's until `release`.

        Raises:
            ConnectionFailedError: none became free in time, or none could be made.
            HandlerClosedError: the pool was closed.
        """
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait()
        try:
            if self._closed:
                raise HandlerClosedError(CLOSED)
            while self._idle:
                connection = self._idle.pop()
                if not connection.dead:
                    return connection
            return await self._connect()
        except BaseException:
            self._places.release()
            raise

    def peek(self) -> A | None:
        """Return an idle connection without taking it, the one used last; None if there's none."""
        return self._idle[-1] if self._idle else None

    async def _wait(self) -> None:
        try:
            with anyio.fail_after(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise ConnectionFailedError(
                f"no connection became free in {self._timeout:g} s: all {self._size} are in use (pool_size)"
            ) from None

    async def release(self, connection: A) -> None:
        """Give a connection back; a dead one is closed."""
        try:
            if connection.dead or self._closed:
                with anyio.CancelScope(shield=True):
                    await connection.aclose()
            else:
                self._idle.append(connection)
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()


class Pool(Generic[S]):
    """One connection, made when needed: it stands in an engine of one thread."""

    def __init__(self, connect: Callable[[], S], size: int, timeout: float) -> None:
        """Take what its twin takes; size and timeout don't matter for one connection that nobody waits for."""
        self._connect = connect
        self._connection: S | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._connection is not None

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def acquire(self) -> S:
        """Return the connection.

        Raises:
            ConnectionFailedError: it could not be made.
            HandlerClosedError: the pool was closed.
        """
        if self._closed:
            raise HandlerClosedError(CLOSED)
        if self._connection is None or self._connection.dead:
            self._connection = self._connect()
        return self._connection

    def release(self, connection: S) -> None:
        """Give the connection back; a dead one is closed."""
        if connection.dead and self._connection is connection:
            self._connection = None
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def async_owner() -> object:
    """Return what tells this task from others: the event loop's own task, as an id may be given to a later one."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_task()
    return asyncio.current_task()


def owner() -> object:
    """Return what tells this thread from others."""
    return threading.current_thread()
