"""Results of PostgreSQL that are read in batches, for both libraries. The connections do what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._core.sqlvalues import Result
    from .postgres_asyncpg import AsyncpgConnection
    from .postgres_psycopg import PsycopgConnection

__all__ = ("AsyncFetched", "AsyncpgCursor", "Fetched", "PsycopgCursor")


class Fetched:
    """A result that was read at once, as no cursor could be had for it."""

    def __init__(self, result: Result) -> None:
        self.columns = result.columns
        self._rows = iter(result.rows)

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return [row for _, row in zip(range(count), self._rows, strict=False)]

    def close(self) -> None:
        self._rows = iter(())


class PsycopgCursor:
    """A cursor that the server keeps. Outside of a transaction it has one of its own, until something else is run."""

    def __init__(self, connection: PsycopgConnection, name: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._connection = connection
        self._name = name
        self._open = True

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return self._connection.read(self, self._name, count)

    def close(self) -> None:
        if self._open:
            self._open = False
            if not self._connection.dead:
                self._connection.end(self, self._name)


class AsyncFetched:
    """A result that was read at once, as no cursor could be had for it."""

    def __init__(self, result: Result) -> None:
        self.columns = result.columns
        self._rows = iter(result.rows)

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return [row for _, row in zip(range(count), self._rows, strict=False)]

    async def aclose(self) -> None:
        self._rows = iter(())


class AsyncpgCursor:
    """A cursor that the server keeps. Outside of a transaction it has one of its own, until something else is run."""

    def __init__(self, connection: AsyncpgConnection, name: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._connection = connection
        self._name = name
        self._open = True

    async def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return await self._connection.read(self, self._name, count)

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            if not self._connection.dead:
                await self._connection.end(self, self._name)
