"""What differs between databases in the SQL that one generic engine sends: a dialect is a table of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InvalidRequestError
from .sqltext import Family, Style, quote_identifier, quote_table
from .sqlvalues import ColumnInfo, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from .retry import Failure

__all__ = ("Dialect", "Query", "Receipt", "Receipts")

Query = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is remembered of a transaction before its COMMIT is sent.

    Attributes:
        session: the server's number of the session that commits.
        slot: names that session among all that ever were.
        mark: names the transaction.
        row: what the server answered to `Receipts.take`, None where it answered no row.
    """

    session: int
    slot: str
    mark: str
    row: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """How to find out whether a COMMIT whose answer was lost took effect.

    Attributes:
        prepare: statements executed once by a handler's connections, outside of transactions, before the first
            receipt is taken.
        take: executed in the transaction just before COMMIT.
        wrote: tells from the receipt whether the transaction wrote anything; if not, nothing can be lost.
        end_session: asks the server to end the session, so that it can't commit any more; it may be gone already.
        alive: query of one value, 1 while that session lives, else 0.
        status: query of one value, asked when the session is gone: "committed", "aborted", or NULL where the server
            can't tell.
    """

    prepare: tuple[str, ...] = ()
    take: Callable[[Receipt], Query]
    wrote: Callable[[Receipt], bool]
    end_session: Callable[[Receipt], Query]
    alive: Callable[[Receipt], Query]
    status: Callable[[Receipt], Query]


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
        describe: table, schema -> query of a row for `column_info` per column; none: no such table.
        column_info: row -> the column it tells about.
        types: Arrow type -> type of a column, or None where the database has none for it.
        unstored: what to cast to where `types` says None.
        clear_text: {table}; deletes all rows inside of a transaction.
        staging_text: {staging} {columns} {table}; an empty session table with those columns of the target.
        staging_schema: the schema of such tables, or None.
        update_text: {table} {staging} {pairs} {matches}; overwrites rows whose keys are staged.
        missing_text: {table} {staging} {columns} {values} {matches} {key}; inserts rows whose keys are new.
        ignore_text: {table} {staging} {columns} {values}; inserts rows that break no unique constraint.
        conflict_text: {table} {staging} {columns} {values} {keys} {pairs}; the same as `update_text` and
            `missing_text` in one statement that is safe beside others that write the same keys; it needs a unique
            constraint on them. None where the database has no such statement.
        unique: table, schema, keys -> query of one value, 1 where exactly those columns have a unique constraint.
        fold_case: whether names of columns that differ in case are the same.
        judge: a driver's exception, the call -> what it means, or None where it is none of the driver's.
        receipts: how a lost COMMIT's outcome is found out; None where it can't be.
        commits: statement -> whether the database commits at it, before and after; None where none does that.
        commits_again: a COMMIT that failed leaves the transaction open, and may be tried again.
        move_text: {new} {table}; gives a table that was filled its name, or fails and changes nothing. For databases
            where tables can't be made within a transaction; None elsewhere, likewise `swap_text`.
        swap_text: {new} {table} {aside}; renames `table` to `aside` and `new` to `table` at once.
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
    conflict_text: str | None = None
    unique: Callable[[str, str | None, Sequence[str]], Query] | None = None
    fold_case: bool
    judge: Callable[[Exception, str], Failure | None]
    receipts: Receipts | None = None
    commits: Callable[[str], bool] | None = None
    commits_again: bool = False
    move_text: str | None = None
    swap_text: str | None = None

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

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        return quote_identifier(name, self.family)

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

    def drop_table_sql(self, table: str, schema: str | None, *, missing_ok: bool = True) -> str:
        """Return the statement that drops a table; with `missing_ok` if it is there."""
        return f"DROP TABLE {'IF EXISTS ' if missing_ok else ''}{self._table(table, schema)}"

    def rename_sql(self, new: str, table: str, schema: str | None, aside: str | None) -> str:
        """Return the statement that renames the table `new` to `table`, and one that has that name to `aside`."""
        text = self.move_text if aside is None else self.swap_text
        if text is None:
            raise TypeError("this database makes tables within transactions: nothing is renamed")
        return text.format(
            new=self._table(new, schema),
            table=self._table(table, schema),
            aside="" if aside is None else self._table(aside, schema),
        )

    def clear_table_sql(self, table: str, schema: str | None) -> str:
        """Return the statement that deletes all rows."""
        return self.clear_text.format(table=self._table(table, schema))

    def target(self, table: str, schema: str | None, columns: Sequence[str]) -> Target:
        """Return where rows of a frame with those columns go."""
        _check(columns)
        return Target(self._table(table, schema), tuple(columns))

    def staging(self, name: str, columns: Sequence[str]) -> Target:
        """Return the same for the staging table of that name."""
        return Target(self._staging(name), tuple(columns))

    def insert_sql(self, target: Target, rows: int = 1) -> str:
        """Return the statement that inserts so many rows of values, in the driver's style."""
        width = len(target.columns)
        count = width * rows
        marks = [{"numeric": f"${n}", "format": "%s"}.get(self.style, "?") for n in range(1, count + 1)]
        groups = [f"({', '.join(marks[n : n + width])})" for n in range(0, count, width)]
        text = f"INSERT INTO {target.table} ({self._columns(target.columns)})"
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

    def conflict_sql(
        self, staging: str, table: str, schema: str | None, columns: Sequence[str], keys: Sequence[str]
    ) -> str | None:
        """Return the statement that does the work of `upsert_sql` where `keys` are unique, None if there is none."""
        pairs = ", ".join(f"{self.quote(name)} = excluded.{self.quote(name)}" for name in columns if name not in keys)
        if self.conflict_text is None or not pairs:
            return None
        return self.conflict_text.format(
            table=self._table(table, schema),
            staging=self._staging(staging),
            columns=self._columns(columns),
            values=", ".join(f"s.{self.quote(column)}" for column in columns),
            keys=self._columns(keys),
            pairs=pairs,
        )

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
