"""What every handler's half has in common: the lifecycle of its engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Self, TypeVar

from .._concurrency import AsyncLocal, async_shielded
from .._core.properties import ConnProperties
from .._core.retry import Resilience

__all__ = ("AsyncCalls", "AsyncEngine")


class AsyncEngine(ABC):
    """What holds connections, and nothing of the handler: it may outlive it. Making one does no I/O."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether it is ready for calls, as far as is known without I/O."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections; doing it twice is no error."""


E = TypeVar("E", bound=AsyncEngine)


class AsyncCalls(ABC, Generic[E]):
    """One half of a handler."""

    props: ConnProperties
    resilience: Resilience
    pool_size: int
    _async_engines: AsyncLocal[E]

    @property
    def async_is_connected(self) -> bool:
        """Whether this half is connected here; no I/O."""
        engine = self._async_engines.peek()
        return engine is not None and engine.connected

    async def async_connect(self) -> None:
        """Connect, and log in if the service needs it; a handler that was closed is open again.

        Raises:
            ConnectionFailedError: no connection after `max_conn_retries` retries.
            AuthenticationError: the login was refused.
        """
        await self._async_establish(self._async_engines.open())

    async def async_reconnect(self) -> None:
        """Close the connections in use here and connect anew, with a new login."""
        self._async_engines.open()
        self._async_forget()
        await self._async_engines.drop()
        await self._async_establish(self._async_engines.get())

    async def async_close(self) -> None:
        """Close the connections of this half; calls raise `HandlerClosedError` until it is opened again."""
        await self._async_engines.aclose()

    async def async_ping(self) -> bool:
        """Tell whether the server gives a sign of life now, in one attempt.

        Raises:
            HandlerClosedError: the handler is closed.
            AuthenticationError: the login was refused.
        """
        engine = self._async_engines.get()
        try:
            await self._async_check(engine)
        except (ConnectionError, TimeoutError):
            return False
        return True

    @abstractmethod
    async def _async_establish(self, engine: E) -> None:
        """Connect and log in, with retries."""

    @abstractmethod
    async def _async_check(self, engine: E) -> None:
        """Ask the server for a sign of life, once; raise if there's none."""

    def _async_forget(self) -> None:
        """Forget what was learned by logging in; a handler that has such a thing overrides this."""

    async def __aenter__(self) -> Self:
        try:
            await self.async_connect()
        except BaseException:
            with async_shielded():
                await self.async_close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.async_close()
