"""Work in threads whose task is cancelled by asyncio itself: nothing goes on behind its back, nothing stays open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from echo_connhandler._concurrency import async_anyway, async_in_thread, async_opened


class Slow:
    """Work that lasts until it's let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.ended = self.closed = False

    def __call__(self) -> Slow:
        self.begun.set()
        assert self.let_go.wait(10)
        self.ended = True
        return self

    def close(self) -> None:
        self.closed = True


async def cancelled(work: Slow, task: asyncio.Task[object]) -> None:
    """Cancel a task in the midst of its work, and let that end only when the task has had time to go on."""
    await asyncio.to_thread(work.begun.wait)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    work.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


def test_a_cancelled_task_waits_for_its_thread() -> None:
    async def main() -> None:
        work = Slow()
        await cancelled(work, asyncio.create_task(async_in_thread(work)))
        assert not work.closed

    asyncio.run(main())


def test_what_nobody_takes_any_more_is_closed() -> None:
    async def main() -> None:
        work = Slow()
        await cancelled(work, asyncio.create_task(async_opened(work)))
        assert work.closed

    asyncio.run(main())


def test_what_has_not_begun_never_does() -> None:
    async def main() -> None:
        work = Slow()
        task = asyncio.create_task(async_in_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not work.begun.is_set()

    asyncio.run(main())


def test_what_must_be_done_is_also_where_it_has_not_begun() -> None:
    async def main() -> None:
        work = Slow()
        task = asyncio.create_task(async_anyway(work.close))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.closed

    asyncio.run(main())


@pytest.mark.parametrize("call", [async_in_thread, async_opened])
def test_errors_come_through(call: Callable[[Callable[[], Slow]], object]) -> None:
    def wrong() -> Slow:
        raise KeyError("x")

    async def main() -> None:
        with pytest.raises(KeyError):
            await call(wrong)  # type: ignore[misc]

    asyncio.run(main())
