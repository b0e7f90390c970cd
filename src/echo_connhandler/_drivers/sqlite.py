"""SQLite through the standard library's sqlite3, blocking."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core.errors import TimeoutExceededError
from .._core.sqlite_values import adapt_row
from .._core.sqlvalues import Result

if TYPE_CHECKING:
    from .._core.properties import SqlLiteConnProperties
    from .registry import SqlSettings

__all__ = ("SqliteConnection", "connect", "open_arguments")

_TICK = 2000  # virtual machine steps between looks at the clock: some 20 us apart


def connect(settings: SqlSettings) -> SqliteConnection:
    """Open a connection."""
    path, arguments = open_arguments(settings)
    connection = SqliteConnection(sqlite3.connect(path, **arguments), settings.props)
    try:
        connection.prepare()
    except BaseException:
        connection.close()
        raise
    return connection


def open_arguments(settings: SqlSettings) -> tuple[str, dict[str, Any]]:
    """Return what `sqlite3.connect` is called with.

    A database in memory is a named one of SQLite's memdb file system: all connections of the process that know the
    name share it, until the last is closed.
    """
    props: SqlLiteConnProperties = settings.props
    if props.in_memory:
        path = f"file:/{settings.label}?vfs=memdb"
    else:
        path = Path(props.path).absolute().as_uri() + ("?mode=ro" if props.read_only else "")
    # isolation_level=None: the engine begins and ends transactions itself. Threads take turns on a connection.
    return path, {
        "uri": True,
        "timeout": props.busy_timeout,
        "isolation_level": None,
        "check_same_thread": False,
        "cached_statements": 256,
    }


class SqliteConnection:
    """One sqlite3 connection."""

    def __init__(self, raw: sqlite3.Connection, props: SqlLiteConnProperties) -> None:
        self.raw = raw
        self.dead = False
        self._props = props
        self._limit = props.query_timeout
        self._ends = float("inf")

    def prepare(self) -> None:
        """Set what the properties ask for."""
        props = self._props
        self.raw.execute(f"PRAGMA foreign_keys = {'ON' if props.foreign_keys else 'OFF'}")
        if props.journal_mode is not None and not props.in_memory and not props.read_only:
            # Changing the mode needs the file for itself: don't when it is what it should be.
            if self.raw.execute("PRAGMA journal_mode").fetchone()[0] != props.journal_mode:
                self.raw.execute(f"PRAGMA journal_mode = {props.journal_mode}")
        else:
            self.raw.execute("PRAGMA schema_version").fetchone()  # reads the file: is it a database at all?
        if self._limit is not None:
            self.raw.set_progress_handler(self._over_time, _TICK)

    def _over_time(self) -> int:
        return time.monotonic() > self._ends

    @contextmanager
    def _timed(self) -> Iterator[None]:
        if self._limit is None:
            yield
            return
        self._ends = time.monotonic() + self._limit
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT and self._over_time():
                raise TimeoutExceededError(
                    f"the statement was stopped after query_timeout={self._limit:g} s"
                ) from error
            raise
        finally:
            self._ends = float("inf")

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        with self._timed():
            cursor = self.raw.execute(sql, adapt_row(params))
            rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
        description = cursor.description
        columns = tuple(column[0] for column in description) if description else ()
        affected = max(cursor.rowcount, 0)
        if most is not None:
            cursor.close()  # a query cut short would go on holding its read lock
        return Result(columns, rows, affected)

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Execute one statement for each row and return the rows affected."""
        with self._timed():
            return max(self.raw.executemany(sql, map(adapt_row, rows)).rowcount, 0)

    def open(self, sql: str, params: tuple[Any, ...]) -> _SqliteCursor:
        """Execute a query whose rows are read in batches."""
        with self._timed():
            return _SqliteCursor(self, self.raw.execute(sql, adapt_row(params)))

    def cancel(self) -> None:
        """Stop the statement that runs now."""
        self.raw.interrupt()

    def ping(self) -> None:
        """Read a page of the file, or raise."""
        self.raw.execute("PRAGMA schema_version").fetchone()

    def close(self) -> None:
        """Close the connection; what it had not committed is undone."""
        self.dead = True
        self.raw.close()


class _SqliteCursor:
    def __init__(self, connection: SqliteConnection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self.columns = tuple(column[0] for column in cursor.description or ())

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        with self._connection._timed():  # noqa: SLF001 - one class in two
            return self._cursor.fetchmany(count)

    def close(self) -> None:
        self._cursor.close()
