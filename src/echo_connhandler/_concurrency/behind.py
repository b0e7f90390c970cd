"""Work that goes on in a worker thread while its owner goes on too: one piece at a time, in order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self

import anyio
from anyio import to_thread

__all__ = ("AsyncBehind", "Behind")

P = ParamSpec("P")


class AsyncBehind:
    """At the end of the block all that was begun has ended; what its owner didn't join may have failed unseen.

    When the owner is cancelled, what has not begun by then never does.

    Attributes:
        worthwhile: bytes to be written that are worth a piece of work.
    """

    worthwhile = 2 << 20

    def __init__(self) -> None:
        self._done: anyio.Event | None = None
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def do(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Begin some work as soon as what was begun before has ended; raise if that failed."""
        await self.join()
        self._done = anyio.Event()
        self._group.start_soon(self._run, partial(work, *args, **kwargs), self._done)

    async def join(self) -> None:
        """Wait until what was begun has ended; raise if it failed."""
        if self._done is not None:
            await self._done.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _run(self, work: Callable[[], object], done: anyio.Event) -> None:
        try:
            await to_thread.run_sync(work)
        except Exception as error:  # noqa: BLE001 - for `join`
            self._error = error
        finally:
            done.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The task group isn't told of the block's own exception: it would raise it in a group.
        await self._group.__aexit__(None, None, None)


class Behind:
    """Does it at once: a thread for each piece would cost more than it saves."""

    worthwhile = 1 << 18

    def __enter__(self) -> Self:
        return self

    def do(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do the work."""
        work(*args, **kwargs)

    def join(self) -> None:
        """Go on: nothing is under way."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
