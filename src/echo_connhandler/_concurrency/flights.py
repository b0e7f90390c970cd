"""Logins in flight: one at a time for a handler, shared by all its threads and tasks that wait for it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import current_token

from .waits import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Flight", "Logins", "async_join", "join")

T = TypeVar("T")


class Flight(Generic[T]):
    """One login under way."""

    def __init__(self, logins: Logins[T], *, blocking: bool) -> None:
        self._logins = logins
        self.landed: Future[T | None] = Future()
        self.thread = threading.get_ident()
        self.blocking = blocking

    def land(self, session: T, expires_at: float | None) -> None:
        """Hand the session to all who wait, and to those who come."""
        self._logins.settle(self, session, expires_at)
        self.landed.set_result(session)

    def fail(self, error: BaseException) -> None:
        """Hand the error to all who wait; if this login was only cancelled, one of them takes over."""
        self._logins.settle(self, None, None)
        if isinstance(error, Exception):
            self.landed.set_exception(error)
        else:
            self.landed.set_result(None)


class Logins(Generic[T]):
    """The session in force and the login under way, if any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: T | None = None
        self._expires_at: float | None = None
        self._flight: Flight[T] | None = None

    @property
    def session(self) -> T | None:
        """The session in force; None before the first login and when it is about to expire."""
        if self._expires_at is not None and monotonic() >= self._expires_at:
            return None
        return self._session

    def forget(self, stale: T | None = None) -> None:
        """Drop the session in force; if `stale` is given, only if it is that one."""
        with self._lock:
            if stale is None or self._session is stale:
                self._session = self._expires_at = None

    def claim(self, stale: T | None, *, blocking: bool) -> T | tuple[Flight[T], bool]:
        """Return a session other than `stale`; or the login to wait for and False; or a new login to do and True.

        A blocking caller can't wait for a task of its own thread, which would never go on: it logs in by itself.
        """
        with self._lock:
            session = self.session
            if session is not None and session is not stale:
                return session
            flight = self._flight
            if flight is not None and not (blocking and not flight.blocking and flight.thread == threading.get_ident()):
                return flight, False
            mine = Flight(self, blocking=blocking)
            if flight is None:
                self._flight = mine
            return mine, True

    def settle(self, flight: Flight[T], session: T | None, expires_at: float | None) -> None:
        """Take the result of a flight."""
        with self._lock:
            if self._flight is flight:
                self._flight = None
            if session is not None:
                self._session, self._expires_at = session, expires_at


async def async_join(flight: Flight[T]) -> T | None:
    """Wait for a login of another task or thread; None if it was cancelled."""
    wake = _waker(landed := anyio.Event())
    flight.landed.add_done_callback(lambda _: wake())
    await landed.wait()
    return flight.landed.result()


def join(flight: Flight[T]) -> T | None:
    """Wait for a login of another thread; None if it was cancelled."""
    return flight.landed.result()


def _waker(event: anyio.Event) -> Callable[[], None]:
    """Return a function that sets `event` from any thread."""
    loop = current_token().native_token
    # asyncio's name for it, or trio's
    schedule = getattr(loop, "call_soon_threadsafe", None) or getattr(loop, "run_sync_soon")  # noqa: B009 - untyped

    def wake() -> None:
        try:
            schedule(event.set)
        except RuntimeError:  # asyncio's and trio's word for: that event loop has ended, and its waiters with it
            return

    return wake
