"""The two bases of all handlers and their properties. Not for users to import: they take a concrete handler."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypedDict, TypeVar

from ._concurrency import AsyncLocal, Local
from ._core.properties import ConnProperties
from ._core.retry import Resilience

__all__ = ("ConnHandler", "ConnProperties", "HandlerOptions", "takes_options")

_DEFAULT = Resilience()

C = TypeVar("C", bound=Callable[..., None])


class HandlerOptions(TypedDict, total=False):
    """What every handler takes besides its properties: see `ConnHandler`."""

    max_retries: int
    max_conn_retries: int
    retry_wait_time: float
    exponential_min_retry_wait_time: float
    exponential_multiplier: float
    skip_connect: bool
    resilience: Resilience | None
    pool_size: int


class ConnHandler(ABC):
    """Base of all handlers: what it takes, what it is made of, and how it travels.

    A concrete handler is a generated half for threads, a half for event loops, and this.
    """

    properties_class: ClassVar[type[ConnProperties]] = ConnProperties

    props: ConnProperties
    resilience: Resilience
    pool_size: int

    def __init__(
        self,
        props: ConnProperties,
        *,
        max_retries: int = 8,
        max_conn_retries: int = 3,
        retry_wait_time: float = 30,
        exponential_min_retry_wait_time: float = 0.1,
        exponential_multiplier: float = 1,
        skip_connect: bool = False,
        resilience: Resilience | None = None,
        pool_size: int = 10,
    ) -> None:
        """Make the handler and, unless told not to, connect its half for threads.

        Args:
            props: where and how to connect.
            max_retries: further attempts after the first; 0 fails fast.
            max_conn_retries: further attempts to connect or log in.
            retry_wait_time: longest wait between attempts, in seconds.
            exponential_min_retry_wait_time: first wait, in seconds; each further one is twice as long.
            exponential_multiplier: factor on every wait.
            skip_connect: don't connect now; the first call does.
            resilience: all of the above about retries, and more, as one value; instead of them.
            pool_size: connections (HTTP: requests in flight) that the tasks of one event loop use at most.

        Raises:
            TypeError: `props` is not of the handler's properties class.
            ValueError: a number is out of range, or `resilience` comes together with what it replaces.
            ConnectionFailedError, AuthenticationError: connecting failed.
        """
        if not isinstance(props, self.properties_class):
            raise TypeError(f"{type(self).__name__} takes {self.properties_class.__name__}, got {type(props).__name__}")
        if isinstance(pool_size, bool) or not isinstance(pool_size, int) or pool_size < 1:
            raise ValueError(f"pool_size must be a whole number from 1, got {pool_size!r}")
        single = Resilience(
            max_retries=max_retries,
            max_conn_retries=max_conn_retries,
            retry_wait_time=retry_wait_time,
            exponential_min_retry_wait_time=exponential_min_retry_wait_time,
            exponential_multiplier=exponential_multiplier,
        )
        if resilience is not None and single != _DEFAULT:
            raise ValueError("give either resilience= or the single retry arguments, not both")
        self._set_up(props, resilience if resilience is not None else single, pool_size)
        if not skip_connect:
            self.connect()

    def _set_up(self, props: ConnProperties, resilience: Resilience, pool_size: int) -> None:
        """Put the handler together; nothing is connected."""
        self.props = props
        self.resilience = resilience
        self.pool_size = pool_size
        self._sync_engines: Local[Any] = Local(self._sync_new_engine)
        self._async_engines: AsyncLocal[Any] = AsyncLocal(self._async_new_engine)

    @abstractmethod
    def _sync_new_engine(self) -> Any:
        """Make what serves a thread."""

    @abstractmethod
    def _async_new_engine(self) -> Any:
        """Make what serves an event loop."""

    @abstractmethod
    def connect(self) -> None:
        """Connect the half for threads."""

    def with_resilience(self, resilience: Resilience) -> Self:
        """Return a new handler like this one with another retry policy."""
        return self._like(resilience=resilience)

    def _like(self, *, props: ConnProperties | None = None, resilience: Resilience | None = None) -> Self:
        """Return a new handler like this one, not connected yet."""
        twin = type(self).__new__(type(self))
        changes = {"props": props or self.props, "resilience": resilience or self.resilience}
        twin.__setstate__(self.__getstate__() | changes)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle carries: properties and options, attributes of subclasses, no connection."""
        return {k: v for k, v in self.__dict__.items() if k not in self._left_behind()}

    def _left_behind(self) -> frozenset[str]:
        """Name the attributes that don't travel."""
        return frozenset({"_sync_engines", "_async_engines"})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up(self.props, self.resilience, self.pool_size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.props!r})"


def takes_options(init: C) -> C:
    """Let signatures, as `help` shows them, tell what `**options` of a handler's own `__init__` stands for."""
    own = inspect.signature(init)
    base = inspect.signature(ConnHandler.__init__).parameters
    options = [base[name] for name in HandlerOptions.__annotations__]
    kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    init.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined] # where `inspect` looks
    return init
