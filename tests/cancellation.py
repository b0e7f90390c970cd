"""Cancelling a task at a chosen one of its await points."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ("Steps",)


class Steps:
    """Awaits a coroutine and calls `cancel` just before its nth suspension; counts them."""

    def __init__(self, work: Awaitable[Any], nth: int, cancel: Callable[[], object]) -> None:
        self._work, self._nth, self._cancel, self.count = work, nth, cancel, 0

    def __await__(self) -> Any:
        inner = self._work.__await__()
        send: Callable[[], Any] = lambda: next(inner)  # noqa: E731
        while True:
            try:
                yielded = send()
            except StopIteration as end:
                return end.value
            self.count += 1
            if self.count == self._nth:
                self._cancel()
            try:
                value = yield yielded
                send = lambda value=value: inner.send(value)  # type: ignore[misc]  # noqa: E731
            except BaseException as error:
                send = lambda error=error: inner.throw(error)  # type: ignore[misc]  # noqa: E731
