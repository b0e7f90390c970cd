"""Work that goes on behind its owner: in order, one at a time, and never unnoticed where it's joined."""

from __future__ import annotations

import threading

import anyio
import pytest

from echo_connhandler._concurrency import AsyncBehind, Behind


async def test_work_goes_on_meanwhile_and_in_order() -> None:
    done: list[int] = []
    gate = threading.Event()

    def first() -> None:
        gate.wait(10)
        done.append(1)

    async with AsyncBehind() as behind:
        await behind.do(first)
        assert done == []
        gate.set()
        await behind.do(done.append, 2)
        await behind.join()
        assert done == [1, 2]
        await behind.do(done.append, 3)
    assert done == [1, 2, 3]


async def test_what_fails_is_raised_once_where_it_is_joined_and_stops_what_follows() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("full")

    async with AsyncBehind() as behind:
        await behind.do(fail)
        with pytest.raises(OSError, match="full"):
            await behind.do(done.append, 1)
        await behind.join()
        await behind.do(done.append, 2)
    assert done == [2]


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    done: list[int] = []
    with pytest.raises(KeyError):
        async with AsyncBehind() as behind:
            await behind.do(done.append, 1)
            raise KeyError("own")
    assert done == [1]


async def test_a_cancelled_owner_waits_for_what_has_begun() -> None:
    begun, gate, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        gate.wait(10)
        done.append(1)

    with anyio.CancelScope() as scope:
        async with AsyncBehind() as behind:
            await behind.do(work)
            while not begun.is_set():
                await anyio.sleep(0.001)
            scope.cancel()
            threading.Timer(0.05, gate.set).start()
            await behind.join()
    assert scope.cancelled_caught
    assert done == [1]


def test_its_twin_does_it_at_once() -> None:
    done: list[int] = []
    with Behind() as behind:
        behind.do(done.append, 1)
        assert done == [1]
        behind.join()
        with pytest.raises(ZeroDivisionError):
            behind.do(lambda: 1 / 0)
