"""A session of PostgreSQL through psycopg 3: how long its statements may run, how they are stopped, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import errors, pq

from .._core.errors import TimeoutExceededError
from .postgres_common import CANCEL_GRACE, Clock
from .postgres_logins import TICK
from .sockets import hung_up

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = ("PsycopgSession",)

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


class PsycopgSession:
    """One session. One thread at a time uses it; `cancel` and `close` may come from any."""

    def __init__(self, raw: psycopg.Connection[Any], props: SqlConnProperties) -> None:
        self.raw = raw
        self.session = raw.pgconn.backend_pid
        self._pg = raw.pgconn
        self._props = props
        self._clock = Clock(props)
        self._closed = False
        self._in_use = threading.RLock()
        self._cancelling = threading.Lock()
        self._running = False
        raw.add_notice_handler(_note)

    @property
    def dead(self) -> bool:
        """Whether it must not be used again. A server's goodbye that has arrived counts."""
        if self._closed or self._pg.status != pq.ConnStatus.OK:
            return True
        return not self._running and self._hung_up()

    def _hung_up(self) -> bool:
        return hung_up(self._pg.socket)

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._clock.limit(seconds)

    def cancel(self) -> None:
        """Stop the statement that runs now. It asks in a thread of its own and waits for nothing."""
        if self._running and not self._closed and not self._cancelling.locked():
            threading.Thread(target=self._cancel, daemon=True, name="echo-connhandler-cancel").start()

    def _cancel(self) -> None:
        # While this holds the lock no other statement begins, so none but the one that runs now is hit.
        if self._cancelling.acquire(blocking=False):
            try:
                if self._running:
                    self.raw.cancel_safe(timeout=CANCEL_GRACE)
            except (psycopg.Error, OSError) as error:
                logger.warning("a statement could not be cancelled: %s", error)
            finally:
                self._cancelling.release()

    def close(self) -> None:
        """Close the connection, at the end of the statement that runs."""
        self._closed = True
        if self._in_use.acquire(blocking=False):
            try:
                with self._cancelling:
                    self.raw.close()
            finally:
                self._in_use.release()

    def drive(self, steps: Generator[int, int, T]) -> T:
        """Drive a generator of psycopg's kind to its end, within the time that a statement has."""
        timeout = self._clock.start()
        self._running = True
        try:
            return self.raw.wait(steps, TICK, timeout)  # type: ignore[arg-type] # its enums are ints
        except errors._WaitTimeout as error:  # noqa: SLF001 - it has no other name
            self._stop(steps)
            raise TimeoutExceededError(f"the statement was stopped {self._clock.over()}") from error
        except errors.QueryCanceled as error:
            why = self._clock.over(str(error))
            if why is None:
                raise
            raise TimeoutExceededError(f"the statement was stopped {why}") from error
        finally:
            with self._cancelling:  # a request to cancel that is on its way must not hit the next statement
                self._running = False
            if self._pg.status != pq.ConnStatus.OK:
                self._closed = True

    def _stop(self, steps: Generator[int, int, T]) -> None:
        """Stop the statement at the server, or give the connection up."""
        try:
            self.raw.cancel_safe(timeout=CANCEL_GRACE)
            self.raw.wait(steps, TICK, CANCEL_GRACE)  # type: ignore[arg-type] # its enums are ints
        except errors.QueryCanceled:
            return
        except (psycopg.Error, OSError):
            self._closed = True

    def _expects_writes(self) -> bool:
        wanted = self._props.target_session_attrs
        return wanted in ("read-write", "primary") and self._pg.parameter_status(b"in_hot_standby") != b"off"


def _note(diagnostic: Any) -> None:
    logger.debug("PostgreSQL says: %s: %s", diagnostic.severity, diagnostic.message_primary)
