"""Hand-written pairs of one shape: each `AsyncX` or `async_x` has an `X` or `x` that generated code uses instead."""

from .allowances import Allowances
from .behind import AsyncBehind, Behind
from .claims import UPLOADS, Claims
from .flights import Flight, Logins, async_join, join
from .gathering import async_each, each
from .limiters import AsyncLimiter, Limiter, async_owner, owner
from .local import AsyncLocal, Local
from .outcomes import AsyncOutcome, Outcome
from .pools import AsyncPool, Pool, PoolOptions, PoolStats
from .streams import AsyncReads, Reads, async_releasing, async_sweep, releasing, sweep
from .waits import (
    anyway,
    async_anyway,
    async_blocks,
    async_bounded,
    async_in_thread,
    async_opened,
    async_shielded,
    async_sleep,
    blocks,
    bounded,
    in_thread,
    monotonic,
    opened,
    shielded,
    skipping_waits,
    sleep,
)

__all__ = (
    "Allowances",
    "AsyncBehind",
    "AsyncLimiter",
    "AsyncLocal",
    "AsyncOutcome",
    "AsyncPool",
    "AsyncReads",
    "Behind",
    "Claims",
    "Flight",
    "Limiter",
    "Local",
    "Logins",
    "Outcome",
    "Pool",
    "Reads",
    "UPLOADS",
    "PoolOptions",
    "PoolStats",
    "anyway",
    "async_anyway",
    "async_blocks",
    "async_bounded",
    "async_each",
    "async_in_thread",
    "async_join",
    "async_opened",
    "async_owner",
    "async_releasing",
    "async_shielded",
    "async_sleep",
    "async_sweep",
    "blocks",
    "bounded",
    "each",
    "in_thread",
    "join",
    "monotonic",
    "opened",
    "owner",
    "releasing",
    "shielded",
    "skipping_waits",
    "sleep",
    "sweep",
)
