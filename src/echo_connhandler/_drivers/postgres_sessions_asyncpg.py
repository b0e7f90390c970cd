"""A session of PostgreSQL through asyncpg: how long its statements may run, how they are stopped, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg

from .._core.errors import ConnectionFailedError, EchoConnError, TimeoutExceededError
from .postgres_common import CANCEL_GRACE, Clock, read_only_server
from .sockets import hung_up

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = ("NOTHING", "AsyncpgSession")

logger = logging.getLogger("echo_connhandler.sql")

NOTHING = "SELECT"  # a row of no columns; asyncpg stumbles over an empty statement


class _Turns:
    """A lock that the task which holds it may take again, as frames run statements of their own."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: object = None
        self._depth = 0

    @property
    def taken(self) -> bool:
        return self._lock.locked()

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if self._owner is not task:
            await self._lock.acquire()
            self._owner = task
        self._depth += 1

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()


class AsyncpgSession:
    """One session, used by one task at a time. Cancelling a call stops its statement at the server."""

    def __init__(self, raw: Any, props: SqlConnProperties) -> None:
        self.raw = raw
        self.session: int = raw.get_server_pid()
        self._props = props
        self._clock = Clock(props)
        self._closed = False
        self._turn = _Turns()
        self._unsettled = False
        raw.add_log_listener(_note)

    @property
    def dead(self) -> bool:
        """Whether it must not be used again. An end that the event loop has not looked at yet counts."""
        if self._closed or self.raw.is_closed():
            return True
        return not self._turn.taken and self._hung_up()

    def _hung_up(self) -> bool:
        sock = self.raw._transport.get_extra_info("socket")  # noqa: SLF001 - told nowhere else
        return sock is None or hung_up(sock.fileno())

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._clock.limit(seconds)

    def remaining(self) -> float | None:
        """Return the seconds that a statement begun now may take, None without end."""
        return self._clock.start()

    async def aclose(self) -> None:
        """Close the connection; what it had not committed is undone."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._turn.taken or self._unsettled:
                self.raw.terminate()
            else:
                await self.raw.close(timeout=CANCEL_GRACE)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # OSError: TimeoutError is one
            self.raw.terminate()
        except BaseException:
            self.raw.terminate()
            raise

    async def call(self, call: Any, *args: Any, **options: Any) -> Any:
        """Await one call of asyncpg's: for frames."""
        return await self._guarded(call, *args, **options)

    async def stopped(self, sql: str = NOTHING) -> None:
        """Wait until the server has stopped what was cancelled, and execute `sql` then: for frames."""
        await self._settle(sql)

    async def _guarded(self, call: Any, *args: Any, **options: Any) -> Any:
        """Await one call of asyncpg's within the time that a statement has; leave it stopped if it is cancelled."""
        timeout = self._clock.start()
        try:
            return await call(*args, timeout=timeout, **options)
        except TimeoutError as error:
            raised = self.failed(error)
            await self._settle()
            raise raised from error
        except (asyncpg.QueryCanceledError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError) as error:
            raise self.failed(error) from error
        except asyncio.CancelledError:
            self._unsettled = True
            with anyio.CancelScope(shield=True):
                await self._settle()
            raise

    def failed(self, error: BaseException) -> BaseException:
        """Return what `run` would raise when asyncpg raised `error`, and note a dead connection."""
        if isinstance(error, TimeoutError) and not isinstance(error, EchoConnError):
            self._unsettled = True
            return TimeoutExceededError(f"the statement was stopped {self._clock.over() or 'after its time'}")
        if isinstance(error, asyncpg.QueryCanceledError) and (why := self._clock.over(str(error))) is not None:
            return TimeoutExceededError(f"the statement was stopped {why}")
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._expects_writes():
            self.raw.terminate()
            return read_only_server(error)
        if isinstance(error, asyncpg.InternalClientError):
            self.raw.terminate()
            if "cannot switch to state" in str(error):  # the server has said goodbye; nothing was sent after that
                return ConnectionFailedError("the server has closed the connection")
        if isinstance(error, OSError | asyncpg.PostgresConnectionError) and not isinstance(error, EchoConnError):
            self.raw.terminate()
            said = error.__cause__
            if said is not None and isinstance(said, asyncpg.PostgresError):
                error.__cause__ = None
                error = said  # the server's last words, which tell why it hung up
        return error

    def _expects_writes(self) -> bool:
        wanted = self._props.target_session_attrs
        return wanted in ("read-write", "primary") and getattr(self.raw.get_settings(), "in_hot_standby", "") != "off"

    async def _settle(self, sql: str = NOTHING) -> None:
        """Wait until the server has stopped what was cancelled, or give the connection up."""
        try:
            async with asyncio.timeout(CANCEL_GRACE):
                await self.raw.execute(sql)
            self._unsettled = False
        except BaseException as error:
            self.raw.terminate()
            if not isinstance(error, Exception):
                raise
            logger.warning("a cancelled statement did not stop; its connection is given up: %s", error)


def _note(_: Any, message: Any) -> None:
    logger.debug("PostgreSQL says: %s: %s", getattr(message, "severity", ""), getattr(message, "message", message))
