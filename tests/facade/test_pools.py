"""Pools of connections: bounded, fair, and nothing lost when callers are cancelled. They hold plain objects here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest

from echo_connhandler._concurrency import AsyncPool, Pool, PoolOptions
from echo_connhandler.errors import ConnectionFailedError, HandlerClosedError, TimeoutExceededError


@dataclass(eq=False)
class Connection:
    """A connection that does as it's told."""

    silent: bool = False
    dead: bool = False
    closed: bool = False
    pings: int = 0
    limits: list[float | None] = field(default_factory=list)

    def limit(self, seconds: float | None) -> None:
        self.limits.append(seconds)

    def ping_now(self) -> None:
        self.pings += 1
        if self.silent:
            self.dead = True
            raise TimeoutExceededError("no sign of life")

    def close(self) -> None:
        self.closed = self.dead = True


class AsyncConnection(Connection):
    async def ping(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.ping_now()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.close()


class ThreadConnection(Connection):
    def ping(self) -> None:
        self.ping_now()


class Made:
    """Makes connections and keeps them."""

    def __init__(self) -> None:
        self.all: list[AsyncConnection] = []
        self.gate: anyio.Event | None = None

    async def __call__(self) -> AsyncConnection:
        if self.gate is not None:
            await self.gate.wait()
        self.all.append(AsyncConnection())
        return self.all[-1]


def options(**changes: float | None) -> PoolOptions:
    return PoolOptions(**({"size": 2, "timeout": 5.0} | changes))  # type: ignore[arg-type]


async def test_it_gives_the_one_used_last_and_opens_no_more_than_its_size() -> None:
    made = Made()
    pool = AsyncPool(made, options())
    first, second = await pool.acquire(), await pool.acquire()
    assert (pool.stats.in_use, pool.stats.idle, pool.stats.opened) == (2, 0, 2)
    await pool.release(first)
    await pool.release(second)
    assert await pool.acquire() is second
    assert (pool.stats.in_use, pool.stats.idle, pool.stats.opened) == (1, 1, 2)


async def test_those_who_wait_are_served_in_order() -> None:
    pool = AsyncPool(Made(), options(size=1))
    served: list[int] = []
    holder = await pool.acquire()

    async def want(number: int) -> None:
        connection = await pool.acquire()
        served.append(number)
        await anyio.lowlevel.checkpoint()
        await pool.release(connection)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(want, number)
            await anyio.wait_all_tasks_blocked()
        assert pool.stats.waiting == 5
        await pool.release(holder)
        # Whoever comes now stands behind them.
        await want(9)
    assert served == [0, 1, 2, 3, 4, 9]


async def test_waiting_ends_with_an_error_that_says_why() -> None:
    pool = AsyncPool(Made(), options(size=1, timeout=0.01))
    holder = await pool.acquire()
    with pytest.raises(ConnectionFailedError, match=r"all 1 are in use \(pool_size\)"):
        await pool.acquire()
    assert (pool.stats.timeouts, pool.stats.waiting) == (1, 0)
    await pool.release(holder)
    assert await pool.acquire() is holder


async def cancelled_while_waiting(pool: AsyncPool[AsyncConnection], made: Made) -> None:
    holder = await pool.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.acquire)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    await pool.release(holder)


async def cancelled_while_connecting(pool: AsyncPool[AsyncConnection], made: Made) -> None:
    made.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.acquire)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    made.gate = None


async def cancelled_while_asking_for_a_sign_of_life(pool: AsyncPool[AsyncConnection], made: Made) -> None:
    connection = await pool.acquire()
    await pool.release(connection)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pool.acquire()


async def failed_to_connect(pool: AsyncPool[AsyncConnection], made: Made) -> None:
    async def fail() -> AsyncConnection:
        raise ConnectionFailedError("refused")

    pool._connect = fail
    with pytest.raises(ConnectionFailedError, match="refused"):
        await pool.acquire()
    pool._connect = made


@pytest.mark.parametrize(
    "happens",
    [
        cancelled_while_waiting,
        cancelled_while_connecting,
        cancelled_while_asking_for_a_sign_of_life,
        failed_to_connect,
    ],
)
async def test_no_place_is_lost(happens: Callable[..., object]) -> None:
    made = Made()
    pool = AsyncPool(made, options(size=1, idle_check=0.0, timeout=0.5))
    for _ in range(3):
        await happens(pool, made)  # type: ignore[misc]
        assert (pool.stats.in_use, pool.stats.waiting) == (0, 0)
    connection = await pool.acquire()
    await pool.release(connection)
    await pool.aclose()
    assert all(each.closed for each in made.all)


async def test_a_connection_that_gives_no_sign_of_life_is_replaced() -> None:
    made = Made()
    pool = AsyncPool(made, options(idle_check=0.0))
    first = await pool.acquire()
    await pool.release(first)
    assert await pool.acquire() is first
    assert first.pings == 1
    assert first.limits == [5.0, None]
    await pool.release(first)
    first.silent = True
    second = await pool.acquire()
    assert second is not first
    assert first.closed
    assert (pool.stats.replaced, pool.stats.opened) == (1, 2)


async def test_one_that_was_used_just_now_is_not_asked() -> None:
    pool = AsyncPool(Made(), options(idle_check=60.0))
    first = await pool.acquire()
    await pool.release(first)
    assert await pool.acquire() is first
    assert first.pings == 0


async def test_a_dead_one_is_closed_and_replaced() -> None:
    made = Made()
    pool = AsyncPool(made, options())
    first = await pool.acquire()
    first.dead = True
    await pool.release(first)
    second = await pool.acquire()
    await pool.release(second)
    second.dead = True
    third = await pool.acquire()
    assert first.closed
    assert second.closed
    assert made.all == [first, second, third]


async def test_old_ones_are_replaced_also_where_nobody_takes_them() -> None:
    made = Made()
    pool = AsyncPool(made, options(max_age=0.05))
    first, second = await pool.acquire(), await pool.acquire()
    await pool.release(first)
    await pool.release(second)
    while time.monotonic() < max(entry.ends for entry in pool._idle):
        await anyio.sleep(0.005)
    third = await pool.acquire()
    await pool.release(third)
    assert third not in (first, second)
    assert first.closed
    assert second.closed
    assert pool.stats.idle == 1


async def test_ages_are_spread() -> None:
    pool = AsyncPool(Made(), options(size=20, max_age=100.0))
    connections = [await pool.acquire() for _ in range(20)]
    ends = [entry.ends for entry in pool._used.values()]
    assert len(connections) == 20
    assert max(ends) - min(ends) > 1
    assert max(ends) - min(ends) <= 20.1


async def test_what_is_in_use_at_its_closing_is_closed_when_given_back() -> None:
    made = Made()
    pool = AsyncPool(made, options())
    used, idle = await pool.acquire(), await pool.acquire()
    await pool.release(idle)
    await pool.aclose()
    assert idle.closed
    assert not used.closed
    with pytest.raises(HandlerClosedError):
        await pool.acquire()
    await pool.release(used)
    assert used.closed


def test_a_threads_connection_is_asked_and_replaced_too() -> None:
    made: list[ThreadConnection] = []

    def connect() -> ThreadConnection:
        made.append(ThreadConnection())
        return made[-1]

    pool = Pool(connect, options(idle_check=0.0))
    first = pool.acquire()
    assert pool.acquire() is first  # in use by the same thread: not asked in the midst of something
    pool.release(first)
    pool.release(first)
    assert first.pings == 0
    assert pool.acquire() is first
    assert first.pings == 1
    pool.release(first)
    first.silent = True
    second = pool.acquire()
    assert first.closed
    second.dead = True
    pool.release(second)
    assert second.closed
    assert (pool.stats.opened, pool.stats.replaced, pool.stats.idle, pool.stats.in_use) == (2, 2, 0, 0)
    pool.close()
    with pytest.raises(HandlerClosedError):
        pool.acquire()


def test_a_threads_connection_grows_old_too() -> None:
    pool = Pool(ThreadConnection, options(max_age=0.02))
    first = pool.acquire()
    pool.release(first)
    while time.monotonic() < pool._entry.ends:  # type: ignore[union-attr]
        time.sleep(0.005)
    assert pool.acquire() is not first
    assert first.closed
