"""Sleeping, time limits and shields, and the test mode in which waits are recorded instead of slept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, ParamSpec, Protocol, TypeVar

import anyio
from anyio import to_thread

__all__ = (
    "anyway",
    "async_anyway",
    "async_blocks",
    "async_bounded",
    "async_in_thread",
    "async_opened",
    "async_shielded",
    "async_sleep",
    "blocks",
    "bounded",
    "in_thread",
    "monotonic",
    "opened",
    "shielded",
    "skipping_waits",
    "sleep",
)


P = ParamSpec("P")
T = TypeVar("T")


class _Clock:
    """The recorders that are active now, and how far recorded waits have moved the time on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.recorders: list[list[float]] = []
        self.skipped = 0.0

    def skip(self, seconds: float) -> bool:
        if not self.recorders:
            return False
        with self.lock:
            for recorder in self.recorders:
                recorder.append(seconds)
            self.skipped += seconds
            return bool(self.recorders)


_clock = _Clock()


def monotonic() -> float:
    """Return seconds of a clock that never goes back; skipped waits count as if they had been slept."""
    return time.monotonic() + _clock.skipped


@contextmanager
def skipping_waits() -> Iterator[list[float]]:
    """Record waits in the list given, and don't sleep them, in all threads and tasks of this process."""
    waits: list[float] = []
    with _clock.lock:
        _clock.recorders.append(waits)
    try:
        yield waits
    finally:
        with _clock.lock:
            _clock.recorders = [recorder for recorder in _clock.recorders if recorder is not waits]


async def async_sleep(seconds: float) -> None:
    """Wait, letting other tasks run."""
    await anyio.sleep(0 if _clock.skip(seconds) else seconds)


def sleep(seconds: float) -> None:
    """Wait."""
    if not _clock.skip(seconds):
        time.sleep(seconds)


def async_bounded(seconds: float | None) -> AbstractContextManager[object]:
    """Raise TimeoutError if the block takes longer."""
    return nullcontext() if seconds is None else anyio.fail_after(seconds)


def bounded(seconds: float | None) -> AbstractContextManager[object]:
    """Do nothing: a thread can't be stopped from outside. Blocking calls get their own timeouts besides."""
    return nullcontext()


def async_shielded() -> AbstractContextManager[object]:
    """Let the block finish even when its task is being cancelled."""
    return anyio.CancelScope(shield=True)


def shielded() -> AbstractContextManager[object]:
    """Do nothing: threads aren't cancelled."""
    return nullcontext()


def async_blocks() -> bool:
    """Tell whether waiting stops the whole thread: not in a task."""
    return False


def blocks() -> bool:
    """Tell whether waiting stops the whole thread."""
    return True


async def async_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work that takes long and waits for nothing, without holding up other tasks.

    A task that is cancelled meanwhile waits until the work has ended, so that what it works on may be closed then.
    """
    errand = _Errand(lambda: work(*args, **kwargs))
    try:
        return await to_thread.run_sync(errand)
    except BaseException:
        await errand.call_off()
        raise


class _Errand(Generic[T]):
    """Work that a thread does, unless it's called off before: asyncio's own cancelling leaves threads to themselves."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._begun = self._off = False
        self._ended = threading.Event()

    def __call__(self) -> T:
        with self._lock:
            if self._off:
                raise RuntimeError("called off before it began")
            self._begun = True
        try:
            return self._work()
        finally:
            self._ended.set()

    async def call_off(self) -> None:
        """Wait until it has ended, if it has begun; else it never begins."""
        with self._lock:
            self._off = True
        if self._begun and not self._ended.is_set():
            with async_shielded():
                await to_thread.run_sync(self._ended.wait)


async def async_anyway(work: Callable[[], object]) -> None:
    """Do work as `async_in_thread` does, whatever cancels the task: what is to be closed in the end is closed."""
    begun: list[bool] = []

    def run() -> None:
        begun.append(True)
        work()

    try:
        with async_shielded():
            await async_in_thread(run)
    finally:
        if not begun:
            work()


def anyway(work: Callable[[], object]) -> None:
    """Do the work."""
    work()


def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work: this thread is the one."""
    return work(*args, **kwargs)


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


async def async_opened(work: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> C:
    """Open something as `async_in_thread` does work; where its task is cancelled meanwhile, it is closed again."""
    results: list[C] = []
    try:
        await async_in_thread(lambda: results.append(work(*args, **kwargs)))
    except BaseException:
        for result in results:
            result.close()
        raise
    return results[0]


def opened(work: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> C:
    """Open it."""
    return work(*args, **kwargs)
