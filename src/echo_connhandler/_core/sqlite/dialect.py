"""SQLite's own words, for the engine that serves all databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dialects import Dialect, Query
from ..extras import require
from ..sqltext import quote_table
from ..sqlvalues import ColumnInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..retry import Failure

__all__ = ("SQLITE",)


def _tables(schema: str | None) -> Query:
    catalogue = quote_table("sqlite_master", schema or "main", "sqlite")
    internal = r"'sqlite\_%' ESCAPE '\'"
    wanted = f"type IN ('table', 'view') AND name NOT LIKE {internal}"
    return f"SELECT name FROM {catalogue} WHERE {wanted} ORDER BY name", ()


def _exists(table: str, schema: str | None) -> Query:
    # With NULL as schema SQLite looks where it would look for the bare name: temp, main, attached.
    return "SELECT EXISTS (SELECT 1 FROM pragma_table_xinfo(?, ?))", (table, schema)


def _describe(table: str, schema: str | None) -> Query:
    columns = 'name, type, "notnull", dflt_value, pk'
    return f"SELECT {columns} FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid", (table, schema)


def _column(row: Sequence[Any]) -> ColumnInfo:
    name, declared, not_null, default, primary_key = row
    return ColumnInfo(name=name, type=declared, nullable=not not_null, default=default, primary_key=primary_key)


def _judge(error: Exception, call: str) -> Failure | None:
    from .errors import judge_sqlite  # it needs sqlite3, other dialects don't

    return judge_sqlite(error, call)


# Any: what a predicate of pyarrow.types tells about a type is not in its stubs.
def _type(kind: Any) -> str | None:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return {"arrow.uuid": "TEXT", "arrow.json": "TEXT"}.get(kind.extension_name)
    if types.is_decimal(kind):
        # The word TEXT gives the column TEXT affinity, so that digits stay exact.
        return f"DECIMAL_TEXT({kind.precision},{kind.scale})"
    if types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
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


# UPDATE ... FROM needs SQLite 3.33. An outer join, because for it SQLite builds an index where the target has
# none on the keys; a subquery would read the whole target for each row.
SQLITE = Dialect(
    family="sqlite",
    style="qmark",
    begin_write="BEGIN IMMEDIATE",
    begin_read="BEGIN",
    tables=_tables,
    exists=_exists,
    describe=_describe,
    column_info=_column,
    types=_type,
    staging_text="CREATE TEMP TABLE {staging} AS SELECT {columns} FROM {table} AS t WHERE 0",
    staging_schema="temp",
    update_text="UPDATE {table} AS t SET {pairs} FROM {staging} AS s WHERE {matches}",
    missing_text=(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s "
        "LEFT JOIN {table} AS t ON {matches} WHERE t.{key} IS NULL"
    ),
    ignore_text=("INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s WHERE 1 ON CONFLICT DO NOTHING"),
    fold_case=True,
    judge=_judge,
    commits_again=True,
)
