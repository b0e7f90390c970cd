"""What an SQL driver adapter owes the engine. One pair of these per database is all that a new one needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .._core.sqlvalues import Result

__all__ = ("AsyncCursor", "AsyncSqlConnection", "Cursor", "SqlConnection")


class Cursor(Protocol):
    """An open result that is read in batches."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows, at most `count`; an empty list at the end."""

    def close(self) -> None: ...


class SqlConnection(Protocol):
    """One connection of a blocking library. Statements are in the library's own parameter style."""

    @property
    def raw(self) -> Any:
        """The library's own connection."""

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Execute one statement for each row and return the rows affected."""

    def open(self, sql: str, params: tuple[Any, ...]) -> Cursor:
        """Execute a query whose rows are read in batches."""

    @property
    def dead(self) -> bool:
        """Whether the connection was lost or given up and must not be used again."""

    def cancel(self) -> None:
        """Stop the statement that runs now; called from any thread, also when none runs."""

    def ping(self) -> None:
        """Raise the library's error if the connection is dead."""

    def close(self) -> None: ...


class AsyncCursor(Protocol):
    """The twin of `Cursor`."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    async def fetch(self, count: int) -> list[tuple[Any, ...]]: ...

    async def aclose(self) -> None: ...


class AsyncSqlConnection(Protocol):
    """The twin of `SqlConnection`. Cancelling a call stops its statement and leaves the connection usable or dead."""

    @property
    def raw(self) -> Any: ...

    @property
    def dead(self) -> bool:
        """Whether the connection was lost or given up and must not be used again."""

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result: ...

    async def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int: ...

    async def open(self, sql: str, params: tuple[Any, ...]) -> AsyncCursor: ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...
