"""What an SQL driver adapter owes the engine. One pair of these per database is all that a new one needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sqlvalues import Result, Target

__all__ = ("AsyncBatches", "AsyncCursor", "AsyncSqlConnection", "Batches", "Cursor", "SqlConnection")


class Cursor(Protocol):
    """An open result that is read in batches."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows, at most `count`; an empty list at the end."""

    def close(self) -> None:
        """End the query."""


class Batches(Protocol):
    """An open result that is read as Arrow record batches, without ever holding more than a batch or two."""

    def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end. An empty result is one batch without rows.

        A column that can't hold a batch's values exactly comes as one that can: batches may differ in types.
        """

    def close(self) -> None:
        """End the query."""


class SqlConnection(Protocol):
    """One connection of a blocking library. Statements are in the library's own parameter style.

    One thread at a time uses it; `cancel` and `close` may come from any. After `close` calls raise
    `ConnectionFailedError`. Every statement outside of a transaction commits by itself. Values given and taken are
    those of the documented type table, never the library's own types. Exceptions are the library's own, which the
    dialect's `judge` understands, or ours.
    """

    @property
    def raw(self) -> Any:
        """The library's own connection."""

    @property
    def session(self) -> int:
        """The server's number of this session, 0 where there's no server."""

    @property
    def dead(self) -> bool:
        """Whether the connection was lost, closed or given up and must not be used again; no I/O that waits."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, as far as is known without I/O; False once the connection is dead."""

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers; `most` cuts a query short."""

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected; some may have run when it raises.

        With `adapted` the rows come from the dialect's `to_rows` and hold the library's own types already.
        """

    def open(self, sql: str, params: tuple[Any, ...]) -> Cursor:
        """Execute a query whose rows are read in batches. Other statements may run before it is closed."""

    def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> Batches:
        """Execute a query whose result is read as record batches of at most `rows` rows, types as documented.

        Other statements may run before it is closed. With `settled` all batches have the schema of the first, and a
        value that doesn't fit raises `QueryError`. Columns of the same name raise `QueryError`.
        """

    def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch by the fastest way there is and return the rows; called within a transaction."""

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now, raising `TimeoutExceededError`."""

    def cancel(self) -> None:
        """Stop the statement that runs now, also when none does."""

    def ping(self) -> None:
        """Ask the server for a sign of life; raise if there's none."""

    def close(self) -> None:
        """Close the connection, at the end of the statement that runs; what it had not committed is undone."""


class AsyncCursor(Protocol):
    """The twin of `Cursor`."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    async def fetch(self, count: int) -> list[tuple[Any, ...]]: ...

    async def aclose(self) -> None: ...


class AsyncBatches(Protocol):
    """The twin of `Batches`."""

    async def fetch(self) -> pa.RecordBatch | None: ...

    async def aclose(self) -> None: ...


class AsyncSqlConnection(Protocol):
    """The twin of `SqlConnection`. Cancelling a call stops its statement and leaves the connection usable or dead."""

    @property
    def raw(self) -> Any: ...

    @property
    def session(self) -> int: ...

    @property
    def dead(self) -> bool: ...

    @property
    def in_transaction(self) -> bool: ...

    async def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result: ...

    async def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int: ...

    async def open(self, sql: str, params: tuple[Any, ...]) -> AsyncCursor: ...

    async def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> AsyncBatches: ...

    async def load(self, target: Target, batch: pa.RecordBatch) -> int: ...

    def limit(self, seconds: float | None) -> None: ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...
