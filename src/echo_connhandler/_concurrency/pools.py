"""Connections kept for the next caller: several for the tasks of an event loop, one for a thread."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import anyio

from .._core.errors import ConnectionFailedError, ConnectTimeoutError, EchoConnError, HandlerClosedError
from .limiters import AsyncLimiter
from .local import CLOSED

__all__ = ("AsyncPool", "Pool", "PoolOptions", "PoolStats")

logger = logging.getLogger("echo_connhandler")

PING_SECONDS = 5.0  # that an idle connection has to give a sign of life


class _AsyncPooled(Protocol):
    @property
    def dead(self) -> bool: ...

    def limit(self, seconds: float | None) -> None: ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...


class _Pooled(Protocol):
    @property
    def dead(self) -> bool: ...

    def limit(self, seconds: float | None) -> None: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


T = TypeVar("T")
A = TypeVar("A", bound=_AsyncPooled)
S = TypeVar("S", bound=_Pooled)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How a pool keeps its connections.

    Attributes:
        size: connections at most.
        timeout: seconds to wait for a free one.
        idle_check: seconds of idleness after which a connection is asked for a sign of life before it's used; None
            never asks.
        max_age: seconds after which a connection is replaced when it is free, spread by a tenth; None keeps it.
    """

    size: int
    timeout: float
    idle_check: float | None = None
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a pool holds now, and what it has done so far.

    Attributes:
        size: connections at most.
        idle: open connections that nobody uses.
        in_use: connections in use, those being opened included.
        waiting: callers that wait for one.
        opened: connections opened so far.
        replaced: connections closed so far because they were dead, too old, or gave no sign of life.
        timeouts: callers that waited in vain so far.
    """

    size: int
    idle: int
    in_use: int
    waiting: int
    opened: int
    replaced: int
    timeouts: int


class _Entry(Generic[T]):
    """A connection and its times."""

    __slots__ = ("connection", "ends", "used")

    def __init__(self, connection: T, options: PoolOptions) -> None:
        now = time.monotonic()
        self.connection = connection
        self.used = now
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - so that connections opened together don't all end together
        self.ends = math.inf if options.max_age is None else now + options.max_age * spread

    @property
    def expired(self) -> bool:
        return time.monotonic() > self.ends

    def doubtful(self, options: PoolOptions) -> bool:
        return options.idle_check is not None and time.monotonic() - self.used > options.idle_check


class AsyncPool(Generic[A]):
    """Connections made when needed; those who find none free wait in order."""

    def __init__(self, connect: Callable[[], Awaitable[A]], options: PoolOptions) -> None:
        self._connect = connect
        self._options = options
        self._places = AsyncLimiter(options.size)
        self._idle: list[_Entry[A]] = []
        self._used: dict[int, _Entry[A]] = {}
        self._closed = False
        self._waiting = self._opened = self._replaced = self._timeouts = 0

    @property
    def connected(self) -> bool:
        """Whether a connection is open and idle, or all are in use."""
        return not self._closed and (bool(self._idle) or self._places.free < self._options.size)

    @property
    def closed(self) -> bool:
        """Whether it was closed; what was acquired before is still to be given back."""
        return self._closed

    @property
    def stats(self) -> PoolStats:
        """What it holds now, and what it has done so far."""
        return PoolStats(
            size=self._options.size,
            idle=len(self._idle),
            in_use=self._options.size - self._places.free,
            waiting=self._waiting,
            opened=self._opened,
            replaced=self._replaced,
            timeouts=self._timeouts,
        )

    async def acquire(self, within: float | None = None) -> A:
        """Return a connection that is this caller's until `release`.

        Args:
            within: seconds that the caller has for it, if it has no more than so many.

        Raises:
            ConnectionFailedError: none became free in time, or none could be made.
            HandlerClosedError: the pool was closed.
        """
        if within is None:
            return await self._acquire()
        try:
            with anyio.fail_after(within):
                return await self._acquire()
        except TimeoutError as error:
            if isinstance(error, EchoConnError):
                raise
            raise ConnectTimeoutError("no connection within the call's deadline") from None

    async def _acquire(self) -> A:
        if not self._places.acquire_now():
            await self._wait()
        try:
            if self._closed:
                raise HandlerClosedError(CLOSED)
            entry = await self._take()
            if self.closed:
                await self._discard(entry)
                raise HandlerClosedError(CLOSED)
        except BaseException:
            self._places.release()
            raise
        self._used[id(entry.connection)] = entry
        return entry.connection

    async def _take(self) -> _Entry[A]:
        while self._idle:
            entry = self._idle.pop()
            if (
                entry.connection.dead
                or entry.expired
                or (entry.doubtful(self._options) and not await self._lives(entry))
            ):
                self._replaced += 1
                await self._discard(entry)
                continue
            return entry
        entry = _Entry(await self._connect(), self._options)
        self._opened += 1
        return entry

    async def _lives(self, entry: _Entry[A]) -> bool:
        """Ask the server for a sign of life; a caller that is cancelled meanwhile leaves no connection behind."""
        connection = entry.connection
        connection.limit(min(PING_SECONDS, self._options.timeout))
        try:
            await connection.ping()
        except Exception as error:  # noqa: BLE001 - whatever it was, another connection will do
            logger.debug("an idle connection gave no sign of life (%s): another one is opened", type(error).__name__)
            return False
        except BaseException:
            await self._discard(entry)
            raise
        connection.limit(None)
        return not connection.dead

    def peek(self) -> A | None:
        """Return an idle connection without taking it, the one used last; None if there's none."""
        return self._idle[-1].connection if self._idle else None

    async def _wait(self) -> None:
        seconds = self._options.timeout
        self._waiting += 1
        try:
            with anyio.fail_after(seconds):
                await self._places.acquire()
        except TimeoutError:
            self._timeouts += 1
            raise ConnectionFailedError(
                f"no connection became free in {seconds:g} s: all {self._options.size} are in use (pool_size)"
            ) from None
        finally:
            self._waiting -= 1

    async def release(self, connection: A) -> None:
        """Give a connection back; a dead one is closed, and so are those that have been idle for too long."""
        entry = self._used.pop(id(connection))
        try:
            if connection.dead or self._closed or entry.expired:
                self._replaced += not self._closed
                await self._discard(entry)
            else:
                entry.used = time.monotonic()
                self._idle.append(entry)
            while self._idle and self._idle[0].expired:  # the one longest unused may never be taken again
                self._replaced += 1
                await self._discard(self._idle.pop(0))
        finally:
            self._places.release()

    async def _discard(self, entry: _Entry[A]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await entry.connection.aclose()
            except Exception:
                logger.debug("a connection could not be closed in order", exc_info=True)

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().connection.aclose()


class Pool(Generic[S]):
    """One connection, made when needed: it stands in an engine of one thread."""

    def __init__(self, connect: Callable[[], S], options: PoolOptions) -> None:
        """Take what its twin takes; size and timeout don't matter for one connection that nobody waits for."""
        self._connect = connect
        self._options = options
        self._entry: _Entry[S] | None = None
        self._in_use = 0
        self._closed = False
        self._opened = self._replaced = 0

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._entry is not None

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def stats(self) -> PoolStats:
        """What it holds now, and what it has done so far."""
        return PoolStats(
            size=1,
            idle=int(self._entry is not None and not self._in_use),
            in_use=min(self._in_use, 1),
            waiting=0,
            opened=self._opened,
            replaced=self._replaced,
            timeouts=0,
        )

    def acquire(self, within: float | None = None) -> S:
        """Return the connection. Making one has its own timeouts, as a thread can't be stopped from outside.

        Raises:
            ConnectionFailedError: it could not be made.
            HandlerClosedError: the pool was closed.
        """
        if self._closed:
            raise HandlerClosedError(CLOSED)
        entry = self._entry
        if entry is not None and not self._in_use:
            stale = entry.connection.dead or entry.expired
            if stale or (entry.doubtful(self._options) and not self._lives(entry)):
                self._replaced += 1
                self._entry = None
                self._discard(entry)
        elif entry is not None and entry.connection.dead:
            self._entry = None
        if self._entry is None:
            self._entry = _Entry(self._connect(), self._options)
            self._opened += 1
            self._in_use = 0
        self._in_use += 1
        return self._entry.connection

    def _lives(self, entry: _Entry[S]) -> bool:
        connection = entry.connection
        connection.limit(min(PING_SECONDS, self._options.timeout))
        try:
            connection.ping()
        except Exception as error:  # noqa: BLE001 - whatever it was, another connection will do
            logger.debug("an idle connection gave no sign of life (%s): another one is opened", type(error).__name__)
            return False
        connection.limit(None)
        return not connection.dead

    def release(self, connection: S) -> None:
        """Give the connection back; a dead one is closed, and so is one that was replaced meanwhile."""
        entry = self._entry
        if entry is None or entry.connection is not connection:
            connection.close()
            return
        self._in_use -= 1
        entry.used = time.monotonic()
        if connection.dead:
            self._entry = None
            self._replaced += 1
            self._discard(entry)

    def _discard(self, entry: _Entry[S]) -> None:
        try:
            entry.connection.close()
        except Exception:
            logger.debug("a connection could not be closed in order", exc_info=True)

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.connection.close()
