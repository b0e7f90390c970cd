"""The engine that belongs to this event loop, or to this thread: made on first use, closed when its owner ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import current_token

from .._core.errors import HandlerClosedError
from .streams import close_soon

__all__ = ("AsyncLocal", "Local")

CLOSED = "the handler is closed; connect(), reconnect() or entering a context opens it again"


class _AsyncCloses(Protocol):
    async def aclose(self) -> None: ...


class _Closes(Protocol):
    def close(self) -> None: ...


A = TypeVar("A", bound=_AsyncCloses)
S = TypeVar("S", bound=_Closes)


async def _keep(value: _AsyncCloses) -> AsyncGenerator[None, None]:
    """Close `value` when this generator is closed; event loops close what generators are left when they end."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await value.aclose()


class _AsyncSlot(Generic[A]):
    """An event loop's place for a value. Dropped, as with a handler that nobody closed, it has the value closed."""

    closed = False
    value: A | None = None
    keeper: AsyncGenerator[None, None] | None = None
    detach: Callable[[], object] | None = None

    def put(self, value: A, loop: Any) -> None:
        self.value = value
        self.keeper = _keep(value)
        with suppress(StopIteration):
            self.keeper.__anext__().send(None)  # runs to its yield without waiting, and makes the loop know it
        # The finalizer refers to the keeper: else it could be found to be garbage before the slot is.
        finalizer = weakref.finalize(self, _abandoned, weakref.ref(loop), self.keeper)
        finalizer.atexit = False
        self.detach = finalizer.detach

    def take(self) -> AsyncGenerator[None, None] | None:
        keeper, self.value, self.keeper = self.keeper, None, None
        if self.detach is not None:
            self.detach()
        return keeper


def _abandoned(loop: weakref.ref[Any], keeper: AsyncGenerator[None, None]) -> None:
    found = loop()
    if found is not None:
        close_soon(found, keeper)


def _running_loop() -> Any:
    """Return what anyio's `current_token().native_token` is, in a tenth of its time: each call asks for it."""
    trio = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_run():
        with suppress(RuntimeError):
            return asyncio.get_running_loop()
    return current_token().native_token


class AsyncLocal(Generic[A]):
    """One value per event loop. Making one does no I/O, so that it needs no lock between tasks."""

    def __init__(self, make: Callable[[], A]) -> None:
        self._make = make
        # Keyed weakly by the event loop: a loop that is gone takes its slot with it.
        self._slots: weakref.WeakKeyDictionary[Any, _AsyncSlot[A]] = weakref.WeakKeyDictionary()

    def _slot(self) -> _AsyncSlot[A]:
        loop = _running_loop()
        try:
            return self._slots[loop]
        except KeyError:
            return self._slots.setdefault(loop, _AsyncSlot())

    def peek(self) -> A | None:
        """Return this event loop's value if there is one; None outside of an event loop."""
        try:
            return self._slot().value
        except anyio.NoEventLoopError:
            return None

    def get(self) -> A:
        """Return this event loop's value, making it if need be.

        Raises:
            HandlerClosedError: it was closed.
        """
        slot = self._slot()
        if slot.value is not None:
            return slot.value
        if slot.closed:
            raise HandlerClosedError(CLOSED)
        return self._open(slot)

    def open(self) -> A:
        """Return this event loop's value, making it if need be, also after a close."""
        slot = self._slot()
        slot.closed = False
        return slot.value if slot.value is not None else self._open(slot)

    def _open(self, slot: _AsyncSlot[A]) -> A:
        value = self._make()
        slot.put(value, _running_loop())
        return value

    async def drop(self) -> None:
        """Close this event loop's value; the next use makes a new one."""
        keeper = self._slot().take()
        if keeper is not None:
            await keeper.aclose()

    async def aclose(self) -> None:
        """Close this event loop's value; its use is refused until it is opened again."""
        self._slot().closed = True
        await self.drop()


class _Lease(Generic[S]):
    """Held by a thread's local storage alone, so that it goes when the thread ends or the handler is dropped."""

    __slots__ = ("__weakref__", "epoch", "finalizer", "value")

    def __init__(self, value: S, epoch: int) -> None:
        self.value = value
        self.epoch = epoch
        self.finalizer = weakref.finalize(self, value.close)


class Local(Generic[S]):
    """One value per thread."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._here = threading.local()
        self._lock = threading.Lock()
        self._finalizers: weakref.WeakSet[_Lease[S]] = weakref.WeakSet()
        self._epoch = 0  # moves on with every close: leases of an earlier one are void
        self._closed = False

    def _lease(self) -> _Lease[S] | None:
        lease: _Lease[S] | None = getattr(self._here, "lease", None)
        return lease if lease is not None and lease.epoch == self._epoch else None

    def peek(self) -> S | None:
        """Return this thread's value if there is one."""
        lease = self._lease()
        return lease.value if lease is not None else None

    def get(self) -> S:
        """Return this thread's value, making it if need be.

        Raises:
            HandlerClosedError: it was closed.
        """
        lease = self._lease()
        if lease is not None:
            return lease.value
        if self._closed:
            raise HandlerClosedError(CLOSED)
        return self._open()

    def open(self) -> S:
        """Return this thread's value, making it if need be, also after a close."""
        self._closed = False
        lease = self._lease()
        return lease.value if lease is not None else self._open()

    def _open(self) -> S:
        with self._lock:
            lease = _Lease(self._make(), self._epoch)
            self._finalizers.add(lease)
        self._here.lease = lease
        return lease.value

    def drop(self) -> None:
        """Close this thread's value; the next use makes a new one."""
        lease = self._lease()
        if lease is not None:
            self._here.lease = None
            lease.finalizer()

    def close(self) -> None:
        """Close every thread's value; use is refused until it is opened again."""
        with self._lock:
            self._closed = True
            self._epoch += 1
            leases = list(self._finalizers)
            self._finalizers.clear()
        for lease in leases:
            lease.finalizer()
