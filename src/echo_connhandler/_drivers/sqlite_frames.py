"""Frames of SQLite: results read to record batches, and record batches inserted."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from .._core.sqlite.arrow import columns_to_arrow
from .._core.sqlite.dialect import SQLITE
from .._core.sqlite.values import to_sqlite_rows
from .._core.sqltext import first_keyword, quote_identifier, without_parameters

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sqlvalues import Result, Target
    from .protocol import Cursor

__all__ = ("SqliteBatches", "insert_rows")

_VALUES_AT_ONCE = 500  # in one INSERT, of 32,766 that it may hold; more gained nothing


class _Connection(Protocol):
    def run(self, sql: str, params: tuple[Any, ...]) -> Result: ...

    def run_many(self, sql: str, rows: Any, *, adapted: bool = False) -> int: ...

    def open(self, sql: str, params: tuple[Any, ...]) -> Cursor: ...


class SqliteBatches:
    """A query whose result is read as record batches.

    SQLite tells the declared types of a table's or a view's columns, but not those of a query: it is asked about a
    view made of the query.
    """

    def __init__(self, connection: _Connection, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> None:
        declared = _declared(connection, sql)
        self._cursor = connection.open(sql, params)
        self._names = self._cursor.columns
        self._declared: Sequence[str] = declared if len(declared) == len(self._names) else [""] * len(self._names)
        self._rows = rows
        self._settled = settled
        self._schema: pa.Schema | None = None
        self._begun = False

    def fetch(self) -> pa.RecordBatch | None:
        """Return the next batch; None at the end."""
        rows = self._cursor.fetch(self._rows)
        if not rows and self._begun:
            return None
        self._begun = True
        batch = columns_to_arrow(self._names, self._declared, rows, self._schema)
        if self._settled:
            self._schema = batch.schema
        return batch

    def close(self) -> None:
        """End the query."""
        self._cursor.close()


def _declared(connection: _Connection, sql: str) -> list[str]:
    """Return the declared types of a query's columns, none where SQLite can't tell them before it runs."""
    if first_keyword(sql, "sqlite") not in ("SELECT", "WITH", "VALUES"):
        return []
    name = f"echo_types_{uuid.uuid4().hex}"
    quoted = quote_identifier(name, "sqlite")
    # A view has no parameters, and NULL in their place changes no column's type.
    text = without_parameters(sql.strip().rstrip(";"), "sqlite")
    try:
        connection.run(f"CREATE TEMP VIEW {quoted} AS {text}", ())
        try:
            told = connection.run(f"SELECT type FROM pragma_table_info('{name}') ORDER BY cid", ())
            return [row[0] for row in told.rows]
        finally:
            connection.run(f"DROP VIEW temp.{quoted}", ())
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise
        return []  # what is wrong with the query, if anything, is told when it runs


def _taken(values: Iterator[Any], width: int) -> tuple[Any, ...]:
    return tuple(islice(values, width))


def insert_rows(connection: _Connection, target: Target, batch: pa.RecordBatch) -> int:
    """Insert a record batch, several rows in one statement, and return the number of its rows."""
    at_once = max(1, _VALUES_AT_ONCE // len(target.columns))
    even = batch.num_rows // at_once * at_once
    for rows, several in ((batch.slice(0, even), at_once), (batch.slice(even), 1)):
        if rows.num_rows:
            values = chain.from_iterable(to_sqlite_rows(rows))
            width = several * len(target.columns)
            tuples = iter(partial(_taken, values, width), ())
            connection.run_many(SQLITE.insert_sql(target, several), tuples, adapted=True)
    return batch.num_rows
