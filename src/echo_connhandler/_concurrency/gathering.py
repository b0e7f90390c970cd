"""Many pieces of work at once, a bounded number of them at a time: tasks here, threads there."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

__all__ = ("async_each", "each")

T = TypeVar("T")
R = TypeVar("R")


async def async_each(
    work: Callable[[T], Awaitable[R]], items: Sequence[T], concurrency: int, *, collect: bool
) -> list[R | Exception]:
    """Return what `work` gives for each item, in their order, with up to `concurrency` under way.

    Args:
        work: what is done with an item.
        items: the items.
        concurrency: how many at once, from 1.
        collect: put exceptions in the place of results; else the first one cancels the rest and is raised.
    """
    results: dict[int, R | Exception] = {}
    todo = iter(enumerate(items))
    failed: list[Exception] = []

    async def go_on() -> None:
        for place, item in todo:
            try:
                results[place] = await work(item)
            except Exception as error:  # noqa: BLE001 - for the caller, as a result or raised below
                results[place] = error
                if not collect:
                    failed.append(error)
                    tasks.cancel_scope.cancel()
                    return

    async with anyio.create_task_group() as tasks:
        for _ in range(min(concurrency, len(items))):
            tasks.start_soon(go_on)
    if failed:
        raise failed[0]
    return [results[place] for place in range(len(items))]


def each(work: Callable[[T], R], items: Sequence[T], concurrency: int, *, collect: bool) -> list[R | Exception]:
    """Return what `work` gives for each item, in their order, with up to `concurrency` threads at work.

    A thread can't be stopped from outside: after a first exception no further item is begun, and those under way end.
    The arguments are those of its twin. Context variables are those of the caller.
    """
    results: dict[int, R | Exception] = {}
    todo = iter(enumerate(items))
    failed: list[Exception] = []
    lock = threading.Lock()
    stopped = threading.Event()

    def go_on() -> None:
        while not stopped.is_set():
            with lock:
                following = next(todo, None)
            if following is None:
                return
            place, item = following
            try:
                results[place] = work(item)
            except Exception as error:  # noqa: BLE001 - for the caller, as a result or raised below
                results[place] = error
                if not collect:
                    failed.append(error)
                    stopped.set()

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(go_on,), name=f"gather-{number}")
        for number in range(min(concurrency, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:  # also where the caller is interrupted
        stopped.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if failed:
        raise failed[0]
    return [results[place] for place in range(len(items))]
