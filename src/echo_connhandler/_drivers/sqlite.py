"""SQLite through the standard library's sqlite3, blocking."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from .._core.errors import ConnectionFailedError, TimeoutExceededError
from .._core.sqlite.values import adapt_row
from .._core.sqlvalues import Result, Target
from .._core.statements import statement
from .sqlite_frames import SqliteBatches, insert_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sql_properties import SqlLiteConnProperties
    from .registry import SqlSettings

__all__ = ("SqliteConnection", "connect", "open_arguments")

_TICK = 2000  # virtual machine steps between looks at the clock: some 20 us apart

Args = TypeVarTuple("Args")
T = TypeVar("T")

_changing_mode = threading.Lock()  # SQLite refuses at once, without its busy wait, when two change it together


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
        path = Path(settings.label).as_uri() + ("?mode=ro" if props.read_only else "")
    # isolation_level=None: the engine begins and ends transactions itself. Threads take turns on a connection.
    return path, {
        "uri": True,
        "timeout": props.busy_timeout,
        "isolation_level": None,
        "check_same_thread": False,
        "cached_statements": 256,
    }


class SqliteConnection:
    """One sqlite3 connection. One thread at a time uses it; `cancel` and `close` may come from any."""

    session = 0

    def __init__(self, raw: sqlite3.Connection, props: SqlLiteConnProperties) -> None:
        self.raw = raw
        self.dead = False
        self._props = props
        self._limit = props.query_timeout
        self._deadline = math.inf
        self._ends = math.inf
        self._watched = False
        # Closing a connection in the midst of a statement crashes the interpreter. Reentrant, for SQL functions
        # written in Python that query.
        self._in_use = threading.RLock()

    def prepare(self) -> None:
        """Set what the properties ask for."""
        props = self._props
        self.raw.execute(f"PRAGMA foreign_keys = {'ON' if props.foreign_keys else 'OFF'}")
        if props.journal_mode is not None and not props.in_memory and not props.read_only:
            self._set_journal_mode(props.journal_mode)
        elif not props.in_memory:
            self.ping()  # reads the file: is it a database at all?
        if self._limit is not None:
            self._watch()

    def _watch(self) -> None:
        if not self._watched:
            self.raw.set_progress_handler(self._over_time, _TICK)
            self._watched = True

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        if seconds is not None and not self.dead:
            self._watch()

    def _set_journal_mode(self, mode: str) -> None:
        # Changing the mode needs the file for itself: don't when it is what it should be.
        with _changing_mode:
            if self.raw.execute("PRAGMA journal_mode").fetchone()[0] == mode:
                return
            try:
                self.raw.execute(f"PRAGMA journal_mode = {mode}")
            except sqlite3.OperationalError as error:
                # Another program is writing. Both modes are safe: leave the change to a later connection.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or mode != "wal":
                    raise

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        try:
            return self.raw.in_transaction
        except sqlite3.ProgrammingError:  # closed
            return False

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        return self._use(self._run, sql, adapt_row(params) if params else params, most)

    def _run(self, sql: str, params: tuple[Any, ...], most: int | None) -> Result:
        cursor = self.raw.execute(sql, params)
        description = cursor.description
        if description is None:
            return Result((), [], max(cursor.rowcount, 0) or self._affected_by_with(sql))
        if most is None:
            rows = cursor.fetchall()
        else:
            rows = cursor.fetchmany(most)
            cursor.close()  # it would go on holding its read lock
        return Result(tuple([column[0] for column in description]), rows, max(cursor.rowcount, 0))

    def _affected_by_with(self, sql: str) -> int:
        """Return the rows affected by WITH ... INSERT and the like, which sqlite3 doesn't count."""
        known = statement(sql, "sqlite")
        if known.first != "WITH" or not known.changes:
            return 0
        return int(self.raw.execute("SELECT changes()").fetchone()[0])

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        return self._use(self._run_many, sql, rows if adapted else map(adapt_row, rows))

    def _run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        if statement(sql, "sqlite").first == "WITH":  # sqlite3 takes it for a query and refuses
            return sum([self._run(sql, row, None).affected for row in rows])
        return max(self.raw.executemany(sql, rows).rowcount, 0)

    def open(self, sql: str, params: tuple[Any, ...]) -> _SqliteCursor:
        """Execute a query whose rows are read in batches."""
        return _SqliteCursor(self, self._use(self.raw.execute, sql, adapt_row(params)))

    def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> SqliteBatches:
        """Execute a query whose result is read as record batches of at most `rows` rows."""
        return SqliteBatches(self, sql, params, rows, settled=settled)

    def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        return insert_rows(self, target, batch)

    def cancel(self) -> None:
        """Stop the statement that runs now."""
        if not self.dead:
            self.raw.interrupt()

    def ping(self) -> None:
        """Read a page of the file, or raise."""
        self._use(self._run, "PRAGMA schema_version", (), None)

    def close(self) -> None:
        """Close the connection, at the end of the statement that runs; what it had not committed is undone."""
        self.dead = True
        if self._in_use.acquire(blocking=False):
            try:
                self.raw.close()
            finally:
                self._in_use.release()

    def _use(self, work: Callable[[*Args], T], *args: *Args) -> T:
        try:
            with self._in_use:
                if self.dead:
                    raise ConnectionFailedError("the connection was closed")
                if self._limit is None and self._deadline == math.inf:
                    return work(*args)
                return self._timed(work, *args)
        finally:
            if self.dead:  # closed meanwhile by another thread, which left it to this one
                self.close()

    def _timed(self, work: Callable[[*Args], T], *args: *Args) -> T:
        longest = math.inf if self._limit is None else time.monotonic() + self._limit
        self._ends = min(longest, self._deadline)
        try:
            return work(*args)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT and self._over_time():
                why = "at the call's deadline" if self._deadline < longest else f"after query_timeout={self._limit:g} s"
                raise TimeoutExceededError(f"the statement was stopped {why}") from error
            raise
        finally:
            self._ends = math.inf

    def _over_time(self) -> int:
        return time.monotonic() > self._ends


class _SqliteCursor:
    def __init__(self, connection: SqliteConnection, cursor: sqlite3.Cursor) -> None:
        self._use = connection._use  # noqa: SLF001 - one class in two
        self._cursor = cursor
        self.columns = tuple([column[0] for column in cursor.description or ()])

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        return self._use(self._cursor.fetchmany, count)

    def close(self) -> None:
        self._use(self._cursor.close)
