"""What differs between databases in the SQL that one generic engine sends: a dialect is a table of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InvalidRequestError
from .extras import require
from .sqlite_arrow import columns_to_arrow
from .sqlite_values import to_sqlite_rows
from .sqltext import (
    Family,
    Style,
    first_keyword,
    is_transaction_control,
    quote_identifier,
    quote_table,
    without_parameters,
)
from .sqlvalues import ColumnInfo, Params

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from .retry import Failure

__all__ = ("SQLITE", "Dialect", "Query")

Query = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One database's own words. The texts' `{}` are filled with quoted identifiers only.

    In texts that move rows the target table is `t`; the staging table, which has the frame's rows, is `s`.

    Attributes:
        family: the lexical family of its SQL text.
        style: the parameter style of its drivers.
        begin_write: opens a transaction that may write.
        begin_read: opens one that only reads.
        commit: ends a transaction and keeps what it did.
        rollback: ends a transaction and undoes it.
        savepoint_text: {name}; likewise `release_text` and `rollback_to_text`.
        tables: schema -> query of the names of its tables and views, sorted.
        exists: table, schema -> query of one value, 1 or 0.
        describe: table, schema -> query of rows for `column_info`.
        column_info: row -> the column it tells about.
        types: Arrow type -> type of a column, or None where the database has none for it.
        unstored: what to cast to where `types` says None.
        clear_text: {table}; deletes all rows inside of a transaction.
        staging_text: {staging} {columns} {table}; an empty session table with those columns of the target.
        staging_schema: the schema of such tables, or None.
        update_text: {table} {staging} {pairs} {matches}; overwrites rows whose keys are staged.
        missing_text: {table} {staging} {columns} {values} {matches} {key}; inserts rows whose keys are new.
        ignore_text: {table} {staging} {columns} {values}; inserts rows that break no unique constraint.
        fold_case: whether names of columns that differ in case are the same.
        values_at_once: how many values an INSERT of several rows holds at most, where such a one is faster.
        judge: a driver's exception, the call -> what it means, or None where it is none of the driver's.
        to_rows: record batch -> its rows as the driver takes them.
        to_batch: names, declared types, rows, schema or None -> record batch.
        type_probe: SQL, parameters, a name -> three statements: the first makes a view of that name, the second
            tells its columns' declared types in order, the third drops it; None where a query can't be probed.
    """

    family: Family
    style: Style
    begin_write: str
    begin_read: str
    commit: str = "COMMIT"
    rollback: str = "ROLLBACK"
    savepoint_text: str = "SAVEPOINT {name}"
    release_text: str = "RELEASE SAVEPOINT {name}"
    rollback_to_text: str = "ROLLBACK TO SAVEPOINT {name}"
    tables: Callable[[str | None], Query]
    exists: Callable[[str, str | None], Query]
    describe: Callable[[str, str | None], Query]
    column_info: Callable[[Sequence[Any]], ColumnInfo]
    types: Callable[[pa.DataType], str | None]
    unstored: str = "text"
    clear_text: str = "DELETE FROM {table}"
    staging_text: str
    staging_schema: str | None
    update_text: str
    missing_text: str
    ignore_text: str
    fold_case: bool
    values_at_once: int = 1
    judge: Callable[[Exception, str], Failure | None]
    to_rows: Callable[[pa.RecordBatch], list[tuple[Any, ...]]]
    to_batch: Callable[[Sequence[str], Sequence[str], Sequence[tuple[Any, ...]], pa.Schema | None], pa.RecordBatch]
    type_probe: Callable[[str, Params, str], tuple[str, str, str] | None]

    def begin(self, *, read_only: bool) -> str:
        """Return the statement that opens a transaction."""
        return self.begin_read if read_only else self.begin_write

    def savepoint(self, name: str) -> str:
        """Return the statement that sets the savepoint `name`."""
        return self.savepoint_text.format(name=self.quote(name))

    def release(self, name: str) -> str:
        """Return the statement that keeps what was done since the savepoint, or "" where none is needed."""
        return self.release_text.format(name=self.quote(name))

    def rollback_to(self, name: str) -> str:
        """Return the statement that undoes what was done since the savepoint and leaves it set."""
        return self.rollback_to_text.format(name=self.quote(name))

    def is_transaction_control(self, sql: str) -> bool:
        """Tell whether a statement begins or ends a transaction or sets a savepoint."""
        return is_transaction_control(sql, self.family)

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        return quote_identifier(name, self.family)

    def list_tables_sql(self, schema: str | None) -> Query:
        """Return the query, and its values, of the names of tables and views, one a row, sorted."""
        return self.tables(schema)

    def table_exists_sql(self, table: str, schema: str | None) -> Query:
        """Return the query, and its values, of 1 or 0."""
        return self.exists(table, schema)

    def describe_table_sql(self, table: str, schema: str | None) -> Query:
        """Return the query, and its values, of a row for `column_info` per column; none: no such table."""
        return self.describe(table, schema)

    def column_type(self, name: str, arrow_type: pa.DataType) -> str:
        """Return the type of a column for Arrow values, or raise `InvalidRequestError` naming both."""
        declared = self.types(arrow_type)
        if declared is None:
            raise InvalidRequestError(
                f"column {name!r} is {arrow_type}, which a column of this database can't hold: "
                f"cast it first, for example to {self.unstored}"
            )
        return declared

    def create_table_sql(
        self, table: str, schema: str | None, arrow_schema: pa.Schema, keys: Sequence[str] = ()
    ) -> str:
        """Return CREATE TABLE for the columns of `arrow_schema`; `keys`, if any, are its primary key."""
        _check(arrow_schema.names, keys)
        definitions = [
            f"{self.quote(field.name)} {self.column_type(field.name, field.type)}"
            + (" NOT NULL" if field.name in keys else "")
            for field in arrow_schema
        ]
        if keys:
            definitions.append(f"PRIMARY KEY ({self._columns(keys)})")
        return f"CREATE TABLE {self._table(table, schema)} ({', '.join(definitions)})"

    def drop_table_sql(self, table: str, schema: str | None) -> str:
        """Return the statement that drops a table if it is there."""
        return f"DROP TABLE IF EXISTS {self._table(table, schema)}"

    def clear_table_sql(self, table: str, schema: str | None) -> str:
        """Return the statement that deletes all rows."""
        return self.clear_text.format(table=self._table(table, schema))

    def rows_at_once(self, columns: int) -> int:
        """Return how many rows of so many columns one INSERT takes."""
        return max(1, self.values_at_once // columns)

    def insert_sql(self, table: str, schema: str | None, columns: Sequence[str], rows: int = 1) -> str:
        """Return the statement that inserts so many rows of values for `columns`, in the driver's style."""
        _check(columns)
        count = len(columns) * rows
        marks = [{"numeric": f"${n}", "format": "%s"}.get(self.style, "?") for n in range(1, count + 1)]
        groups = [f"({', '.join(marks[n : n + len(columns)])})" for n in range(0, count, len(columns))]
        text = f"INSERT INTO {self._table(table, schema)} ({self._columns(columns)})"
        if self.style == "format":
            text = text.replace("%", "%%")
        return f"{text} VALUES {', '.join(groups)}"

    def staging_table_sql(self, name: str, table: str, schema: str | None, columns: Sequence[str]) -> str:
        """Return the statement that creates the session table `name`, empty, like `columns` of the target."""
        _check(columns)
        return self.staging_text.format(
            staging=self.quote(name),
            columns=", ".join(f"t.{self.quote(column)} AS {self.quote(column)}" for column in columns),
            table=self._table(table, schema),
        )

    def upsert_sql(
        self, staging: str, table: str, schema: str | None, columns: Sequence[str], keys: Sequence[str]
    ) -> list[str]:
        """Return the statements that overwrite the rows whose keys are staged and insert the others.

        They need no unique constraint on `keys`; the staged keys must be unique and not NULL.
        """
        insert = self.insert_missing_sql(staging, table, schema, columns, keys)
        pairs = ", ".join(f"{self.quote(name)} = s.{self.quote(name)}" for name in columns if name not in keys)
        if not pairs:
            return [insert]
        update = self.update_text.format(
            table=self._table(table, schema),
            staging=self._staging(staging),
            pairs=pairs,
            matches=self._matches(keys),
        )
        return [update, insert]

    def insert_missing_sql(
        self, staging: str, table: str, schema: str | None, columns: Sequence[str], keys: Sequence[str] = ()
    ) -> str:
        """Return the statement that inserts the staged rows whose keys are not in the table yet.

        The staged keys must be unique. Without `keys` the rows are left out that break a unique constraint; a
        NOT NULL or CHECK still fails.
        """
        _check(columns, keys)
        template = self.missing_text if keys else self.ignore_text
        return template.format(
            table=self._table(table, schema),
            staging=self._staging(staging),
            columns=self._columns(columns),
            values=", ".join(f"s.{self.quote(column)}" for column in columns),
            matches=self._matches(keys),
            key=self.quote(keys[0]) if keys else "",
        )

    def _columns(self, names: Sequence[str]) -> str:
        return ", ".join(map(self.quote, names))

    def _table(self, table: str, schema: str | None) -> str:
        return quote_table(table, schema, self.family)

    def _staging(self, name: str) -> str:
        return quote_table(name, self.staging_schema, self.family)

    def _matches(self, keys: Sequence[str]) -> str:
        # The target stands left, so that its collation counts (sqlite.org/datatype3.html, 7.1).
        return " AND ".join(f"t.{self.quote(key)} = s.{self.quote(key)}" for key in keys)


def _check(columns: Sequence[str], keys: Sequence[str] = ()) -> None:
    if not columns:
        raise InvalidRequestError("a frame without columns can't be written")
    unknown = [key for key in keys if key not in columns]
    if unknown:
        raise InvalidRequestError(f"the frame has no key column {', '.join(map(repr, unknown))}")


def _sqlite_tables(schema: str | None) -> Query:
    catalogue = quote_table("sqlite_master", schema or "main", "sqlite")
    internal = r"'sqlite\_%' ESCAPE '\'"
    wanted = f"type IN ('table', 'view') AND name NOT LIKE {internal}"
    return f"SELECT name FROM {catalogue} WHERE {wanted} ORDER BY name", ()


def _sqlite_exists(table: str, schema: str | None) -> Query:
    # With NULL as schema SQLite looks where it would look for the bare name: temp, main, attached.
    return "SELECT EXISTS (SELECT 1 FROM pragma_table_xinfo(?, ?))", (table, schema)


def _sqlite_describe(table: str, schema: str | None) -> Query:
    columns = 'name, type, "notnull", dflt_value, pk'
    return f"SELECT {columns} FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid", (table, schema)


def _sqlite_column(row: Sequence[Any]) -> ColumnInfo:
    name, declared, not_null, default, primary_key = row
    return ColumnInfo(name=name, type=declared, nullable=not not_null, default=default, primary_key=primary_key)


def _sqlite_judge(error: Exception, call: str) -> Failure | None:
    from .sqlite_errors import judge_sqlite  # it needs sqlite3, other dialects don't

    return judge_sqlite(error, call)


def _sqlite_type(kind: pa.DataType) -> str | None:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _sqlite_type(kind.value_type)  # type: ignore[attr-defined]
    if isinstance(kind, pa.BaseExtensionType):
        return {"arrow.uuid": "TEXT", "arrow.json": "TEXT"}.get(kind.extension_name)
    if types.is_decimal(kind):
        # The word TEXT gives the column TEXT affinity, so that digits stay exact.
        return f"DECIMAL_TEXT({kind.precision},{kind.scale})"  # type: ignore[attr-defined]
    if types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"  # type: ignore[attr-defined]
    for holds, declared in (
        ("is_integer", "INTEGER"),
        ("is_boolean", "BOOLEAN"),
        ("is_floating", "REAL"),
        ("is_string", "TEXT"),
        ("is_large_string", "TEXT"),
        ("is_string_view", "TEXT"),
        ("is_binary", "BLOB"),
        ("is_large_binary", "BLOB"),
        ("is_binary_view", "BLOB"),
        ("is_fixed_size_binary", "BLOB"),
        ("is_date", "DATE"),
        ("is_time", "TIME"),
        ("is_null", "TEXT"),
    ):
        if getattr(types, holds)(kind):
            return declared
    return None


def _sqlite_probe(sql: str, params: Params, name: str) -> tuple[str, str, str] | None:
    """A view tells the declared types of a query's columns; a view has no parameters, and NULL changes no type."""
    if first_keyword(sql, "sqlite") not in ("SELECT", "WITH", "VALUES"):
        return None
    if params is not None and not isinstance(params, Mapping):
        return None
    quoted = quote_identifier(name, "sqlite")
    text = without_parameters(sql.strip().rstrip(";"), "sqlite")
    return (
        f"CREATE TEMP VIEW {quoted} AS {text}",
        f"SELECT type FROM pragma_table_info('{name}') ORDER BY cid",
        f"DROP VIEW temp.{quoted}",
    )


# UPDATE ... FROM needs SQLite 3.33. An outer join, because for it SQLite builds an index where the target has
# none on the keys; a subquery would read the whole target for each row.
SQLITE = Dialect(
    family="sqlite",
    style="qmark",
    begin_write="BEGIN IMMEDIATE",
    begin_read="BEGIN",
    tables=_sqlite_tables,
    exists=_sqlite_exists,
    describe=_sqlite_describe,
    column_info=_sqlite_column,
    types=_sqlite_type,
    staging_text="CREATE TEMP TABLE {staging} AS SELECT {columns} FROM {table} AS t WHERE 0",
    staging_schema="temp",
    update_text="UPDATE {table} AS t SET {pairs} FROM {staging} AS s WHERE {matches}",
    missing_text=(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s "
        "LEFT JOIN {table} AS t ON {matches} WHERE t.{key} IS NULL"
    ),
    ignore_text=("INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s WHERE 1 ON CONFLICT DO NOTHING"),
    fold_case=True,
    values_at_once=500,  # of 32,766; more gained nothing
    judge=_sqlite_judge,
    to_rows=to_sqlite_rows,
    to_batch=columns_to_arrow,
    type_probe=_sqlite_probe,
)
