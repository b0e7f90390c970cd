"""MySQL's and MariaDB's own words, for the engine that serves all databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..dialects import Dialect, Query
from ..extras import require
from ..sqlvalues import ColumnInfo
from .errors import judge_mysql
from .literals import quoted
from .text import commits

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("MYSQL",)

_HERE = "COALESCE(%s, DATABASE())"
_KEY_BYTES = 3072  # of an InnoDB index (row format DYNAMIC)


def _tables(schema: str | None) -> Query:
    text = (
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {_HERE} "
        "AND table_type <> 'SEQUENCE' ORDER BY CAST(table_name AS BINARY)"
    )
    return text, (schema,)


def _exists(table: str, schema: str | None) -> Query:
    text = (
        "SELECT EXISTS (SELECT 1 FROM information_schema.tables "
        f"WHERE table_schema = {_HERE} AND table_name = %s AND table_type <> 'SEQUENCE')"
    )
    return text, (schema, table)


def _describe(table: str, schema: str | None) -> Query:
    text = (
        "SELECT c.column_name, c.column_type, c.is_nullable = 'YES', c.column_default, "
        "COALESCE((SELECT s.seq_in_index FROM information_schema.statistics AS s WHERE s.table_schema = c.table_schema "
        "AND s.table_name = c.table_name AND s.column_name = c.column_name AND s.index_name = 'PRIMARY'), 0), "
        "VERSION() LIKE '%%MariaDB%%' OR c.extra LIKE '%%DEFAULT_GENERATED%%' "
        f"FROM information_schema.columns AS c WHERE c.table_schema = {_HERE} AND c.table_name = %s "
        "ORDER BY c.ordinal_position"
    )
    return text, (schema, table)


def _column(row: Sequence[Any]) -> ColumnInfo:
    name, declared, nullable, default, primary_key, is_text = row
    if default is not None and not is_text:  # MySQL tells plain defaults by their value
        default = quoted(default, backslashes=True)
    elif default == "NULL":  # and MariaDB that there's none
        default = None
    return ColumnInfo(name=name, type=declared, nullable=bool(nullable), default=default, primary_key=int(primary_key))


_PLAIN = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INT",
    "int64": "BIGINT",
    "uint8": "TINYINT UNSIGNED",
    "uint16": "SMALLINT UNSIGNED",
    "uint32": "INT UNSIGNED",
    "uint64": "BIGINT UNSIGNED",
    "bool": "BOOLEAN",
    "halffloat": "FLOAT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "date32[day]": "DATE",
    "date64[ms]": "DATE",
    "null": "LONGTEXT",
}


# Any: what a predicate of pyarrow.types tells about a type is not in its stubs.
def _type(kind: Any) -> str | None:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return {"arrow.uuid": "CHAR(36)", "arrow.json": "JSON"}.get(kind.extension_name)
    if types.is_decimal(kind):
        return _decimal(kind.precision, kind.scale)
    if types.is_fixed_size_binary(kind):
        return f"BINARY({kind.byte_width})" if kind.byte_width <= 255 else "LONGBLOB"
    for declared, kinds in (
        ("LONGTEXT", ("is_string", "is_large_string", "is_string_view")),
        ("LONGBLOB", ("is_binary", "is_large_binary", "is_binary_view")),
        ("TIME(6)", ("is_time", "is_duration")),
    ):
        if any(getattr(types, name)(kind) for name in kinds):
            return declared
    if types.is_timestamp(kind):
        # Without NULL old servers set the first such column themselves, at every change of its row.
        return "TIMESTAMP(6) NULL" if kind.tz else "DATETIME(6)"
    return _PLAIN.get(str(kind))


def _decimal(precision: int, scale: int) -> str | None:
    if scale < 0:
        precision, scale = precision - scale, 0
    return f"DECIMAL({precision},{scale})" if precision <= 65 and scale <= 30 else None


def _key_type(declared: str, keys: int) -> str:
    """Return the type of a column that is one of so many in an index."""
    width = _KEY_BYTES // keys
    if declared == "LONGTEXT":
        return f"VARCHAR({width // 4})"
    if declared == "LONGBLOB":
        return f"VARBINARY({width})"
    if declared == "TIMESTAMP(6) NULL":
        return "TIMESTAMP(6) DEFAULT '1970-01-01 00:00:01'"
    return declared


@dataclass(frozen=True, kw_only=True)
class _MySqlDialect(Dialect):
    """What MySQL says otherwise than by filling in a text."""

    def create_table_sql(
        self, table: str, schema: str | None, arrow_schema: pa.Schema, keys: Sequence[str] = ()
    ) -> str:
        """Return CREATE TABLE; keys of text or bytes have a length, and texts are the same only if all signs are."""
        plain = super().create_table_sql(table, schema, arrow_schema, keys)
        options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        if not keys:
            return plain + options
        definitions = []
        for field in arrow_schema:
            declared = self.column_type(field.name, field.type)
            if field.name in keys:
                declared = f"{_key_type(declared, len(keys))} NOT NULL"
            definitions.append(f"{self.quote(field.name)} {declared}")
        definitions.append(f"PRIMARY KEY ({self._columns(keys)})")
        return f"CREATE TABLE {self._table(table, schema)} ({', '.join(definitions)}){options}"

    def insert_missing_sql(
        self, staging: str, table: str, schema: str | None, columns: Sequence[str], keys: Sequence[str] = ()
    ) -> str:
        """Return the statement that inserts the staged rows whose keys are not in the table yet."""
        text = super().insert_missing_sql(staging, table, schema, columns, keys)
        if keys:
            return text
        same = f"{self._table(table, schema)}.{self.quote(columns[0])}"
        return f"{text} ON DUPLICATE KEY UPDATE {same} = {same}"

    def upsert_sql(
        self, staging: str, table: str, schema: str | None, columns: Sequence[str], keys: Sequence[str]
    ) -> list[str]:
        """Return the statements that overwrite the rows whose keys are staged and insert the others.

        Before them one that fails where the columns' collations take several staged keys for the same. New rows come
        first: beside another that writes the same keys the result is one's or the other's, not a mixture.
        """
        names = ", ".join(f"s.{self.quote(key)}" for key in keys)
        check = (
            f"SELECT IF(COUNT(*) = COUNT(DISTINCT {names}), 1, (SELECT 1 UNION ALL SELECT 2)) "
            f"FROM {self._staging(staging)} AS s"
        )
        insert = self.insert_missing_sql(staging, table, schema, columns, keys)
        pairs = ", ".join(f"t.{self.quote(name)} = s.{self.quote(name)}" for name in columns if name not in keys)
        if not pairs:
            return [check, insert]
        update = self.update_text.format(
            table=self._table(table, schema),
            staging=self._staging(staging),
            pairs=pairs,
            matches=self._matches(keys),
        )
        return [check, insert, update]


MYSQL = _MySqlDialect(
    family="mysql",
    style="format",
    begin_write="START TRANSACTION",
    begin_read="START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    tables=_tables,
    exists=_exists,
    describe=_describe,
    column_info=_column,
    types=_type,
    # CREATE and DROP of temporary tables commit nothing.
    staging_text="CREATE TEMPORARY TABLE {staging} ENGINE=InnoDB AS SELECT {columns} FROM {table} AS t LIMIT 0",
    staging_schema=None,
    update_text="UPDATE {table} AS t JOIN {staging} AS s ON {matches} SET {pairs}",
    missing_text=(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s "
        "LEFT JOIN {table} AS t ON {matches} WHERE t.{key} IS NULL"
    ),
    # INSERT IGNORE would also take what is too long or NULL, cut to fit.
    ignore_text="INSERT INTO {table} ({columns}) SELECT {values} FROM {staging} AS s",
    fold_case=True,
    judge=judge_mysql,
    commits=commits,
    move_text="RENAME TABLE {new} TO {table}",
    swap_text="RENAME TABLE {table} TO {aside}, {new} TO {table}",
)
