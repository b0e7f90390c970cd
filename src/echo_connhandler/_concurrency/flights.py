"""Logins in flight: one at a time for a handler, shared by all its threads and tasks that wait for it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import current_token

from .._core.errors import EchoConnError
from .waits import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Flight", "Logins", "async_join", "join")

T = TypeVar("T")


class Flight(Generic[T]):
    """One login under way."""

    def __init__(self, logins: Logins[T], stale: T | None, *, blocking: bool) -> None:
        self._logins = logins
        self.stale = stale
        self.landed: Future[T | None] = Future()
        self.thread = threading.get_ident()
        self.blocking = blocking

    def land(self, session: T, expires_at: float | None) -> None:
        """Hand the session to all who wait, and to those who come."""
        self._logins.settle(self, session, expires_at)
        self.landed.set_result(session)

    def fail(self, error: BaseException, *, final: bool = False) -> None:
        """Hand the error to all who wait; if this login was only cancelled, one of them takes over.

        A `final` error also meets the calls that began before it and have not asked for a session yet: to try a
        refused password again for each of them could lock the account.
        """
        self._logins.settle(self, None, None, error.again() if final and isinstance(error, EchoConnError) else None)
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
        self._refusal: EchoConnError | None = None
        self._refused_at = 0.0

    @property
    def session(self) -> T | None:
        """The session in force; None before the first login and when it is about to expire."""
        if self._expires_at is not None and monotonic() >= self._expires_at:
            return None
        return self._session

    def replaced(self, session: T) -> bool:
        """Tell whether there is a newer session, or one on its way as this one was refused."""
        flight, current = self._flight, self.session
        return (current is not None and current is not session) or (flight is not None and flight.stale is session)

    def forget(self, stale: T | None = None) -> None:
        """Drop the session in force; if `stale` is given, only if it is that one."""
        with self._lock:
            if stale is None or self._session is stale:
                self._session = self._expires_at = self._refusal = None

    def claim(self, stale: T | None, *, blocking: bool, since: float | None = None) -> T | tuple[Flight[T], bool]:
        """Return a session other than `stale`; or the login to wait for and False; or a new login to do and True.

        A blocking caller can't wait for a task of its own thread, which would never go on: it logs in by itself.

        Raises:
            EchoConnError: a login was refused after `since`.
        """
        with self._lock:
            session = self.session
            if session is not None and session is not stale:
                return session
            if self._refusal is not None and since is not None and self._refused_at >= since:
                raise self._refusal.again()
            flight = self._flight
            if flight is not None and not (blocking and not flight.blocking and flight.thread == threading.get_ident()):
                return flight, False
            mine = Flight(self, stale, blocking=blocking)
            if flight is None:
                self._flight = mine
            return mine, True

    def settle(
        self, flight: Flight[T], session: T | None, expires_at: float | None, refusal: EchoConnError | None = None
    ) -> None:
        """Take the result of a flight."""
        with self._lock:
            if self._flight is flight:
                self._flight = None
            if session is not None:
                self._session, self._expires_at, self._refusal = session, expires_at, None
            if refusal is not None:
                self._refusal, self._refused_at = refusal, monotonic()


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
