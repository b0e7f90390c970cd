"""How a query is read by COPY: its parameters made literals, its columns made what can be read in binary.

No I/O: `plan` is a generator that yields questions to the server and gets their rows, driven by both drivers.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ParameterError
from ..sqltext import quote_identifier, replace_parameters, split_script
from ..statements import statement
from .copy_read import refuse_duplicates
from .types import ARRAYS, WIRES, Column, Kind, TypeInfo, kind_of

__all__ = ("CopyPlan", "Described", "Question", "copy_in", "copy_out", "literal", "plan", "row_description")

_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE"})
_DESCRIBED = struct.Struct(">IhIhih")  # table, column, type, size, modifier, format
_NAMES = {
    16: "bool",
    17: "bytea",
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    114: "json",
    700: "float4",
    701: "float8",
    1009: "text[]",
    1016: "int8[]",
    1043: "varchar",
    1082: "date",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2950: "uuid",
    3802: "jsonb",
}


class Described(NamedTuple):
    """What the server said of a statement when it parsed it: the types of its parameters, and its columns."""

    params: tuple[int, ...]
    columns: tuple[Column, ...]


def row_description(data: bytes) -> tuple[Column, ...]:
    """Return the columns in the first RowDescription among a server's messages, none where there is none.

    Format: "Message Formats". asyncpg doesn't tell a type's modifier, so without the precision and scale of a numeric.
    """
    place = 0
    while place + 5 <= len(data) and data[place : place + 1] != b"T":
        place += 1 + int.from_bytes(data[place + 1 : place + 5], "big")
    columns = []
    count = int.from_bytes(data[place + 5 : place + 7], "big")
    place += 7
    for _ in range(count):
        end = data.index(b"\0", place)
        _, _, oid, _, modifier, _ = _DESCRIBED.unpack_from(data, end + 1)
        columns.append(Column(data[place:end].decode(), oid, modifier))
        place = end + 1 + _DESCRIBED.size
    return tuple(columns)


class Question(NamedTuple):
    """A query to be asked, without parameters."""

    sql: str


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """How a result is read.

    Attributes:
        query: what COPY is given, in its parentheses; "" where COPY can't take the statement.
        names: the columns' names.
        kinds: how they are read.
    """

    query: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]


def literal(value: Any) -> str:
    """Return a value that `binding` made for a parameter as a literal, whatever the session's settings are.

    An escape string is read the same with standard_conforming_strings on and off ("String Constants with C-Style
    Escapes"); in UTF-8, which the drivers' sessions speak, no character holds the bytes of a quote or a backslash.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return rf"E'\\x{value.hex()}'"
    if isinstance(value, bool):
        return "'t'" if value else "'f'"
    text = value if isinstance(value, str) else repr(value)
    if "\0" in text:
        raise ParameterError("PostgreSQL's text can't hold NUL: pass bytes to a bytea column")
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def plan(
    sql: str, values: Sequence[Any], described: Described, catalog: dict[Any, Any], mark: int | None
) -> Generator[Question, list[tuple[Any, ...]], CopyPlan]:
    """Return how a statement's result is read.

    Args:
        sql: the statement, parameters as `$1`.
        values: what `binding` made of its parameters.
        described: what the server said of it.
        catalog: what is known of the server's types; grows.
        mark: an int8 for a first column to be added, None for none.

    Raises:
        QueryError: columns have the same name.
    """
    columns = described.columns
    names = tuple([column.name for column in columns])
    refuse_duplicates(names)
    yield from _learn([column.oid for column in columns], catalog)
    text = _single(sql)
    known = None if text is None else statement(text, "postgres")
    if text is None or known is None or not columns or known.first not in _READS | _CHANGES:
        return CopyPlan("", names, _kinds(columns, catalog))
    if described.params:
        type_names = yield from _type_names(described.params, catalog)
        text = _with_literals(text, values, type_names)
    wrappable = known.first in _READS and not known.changes
    kinds = _kinds(columns, catalog)
    if mark is None and not any(kind.cast for kind in kinds):
        return CopyPlan(text, names, kinds)
    if not wrappable and known.first not in _CHANGES:  # WITH ... INSERT must stand at the top
        return CopyPlan("", names, kinds)
    return CopyPlan(_wrapped(text, kinds, mark, with_query=not wrappable), names, kinds)


def _kinds(columns: Sequence[Column], catalog: Mapping[Any, Any]) -> tuple[Kind, ...]:
    known: Mapping[int, TypeInfo] = catalog.get("types", {})
    return tuple([kind_of(column, known) for column in columns])


def _single(sql: str) -> str | None:
    """Return the one statement that the text is, without a closing semicolon."""
    statements = split_script(sql, "postgres")
    return statements[0] if len(statements) == 1 else None


def _learn(oids: Sequence[int], catalog: dict[Any, Any]) -> Generator[Question, list[tuple[Any, ...]]]:
    """Ask for the types that users made, and for those that they are made of."""
    known: dict[int, TypeInfo] = catalog.setdefault("types", {})
    missing = {oid for oid in oids if oid not in WIRES and oid not in ARRAYS and oid not in known}
    while missing:
        listed = ", ".join(map(str, sorted(missing)))
        # An array is what has an element and is written with braces: point and name have elements too.
        rows = yield Question(
            "SELECT oid::int8, typtype::text, CASE WHEN typcategory = 'A' THEN typelem::int8 ELSE 0 END, "
            f"typbasetype::int8 FROM pg_catalog.pg_type WHERE oid IN ({listed})"
        )
        found = {oid: TypeInfo(kind, element, base) for oid, kind, element, base in rows}
        known |= {oid: found.get(oid, TypeInfo("", 0, 0)) for oid in missing}
        parts = {oid for info in found.values() for oid in (info.element, info.base) if oid}
        missing = {oid for oid in parts if oid not in WIRES and oid not in ARRAYS and oid not in known}


def _type_names(oids: Sequence[int], catalog: dict[Any, Any]) -> Generator[Question, list[tuple[Any, ...]], list[str]]:
    """Return the names of types, as a cast takes them."""
    known: dict[int, str] = catalog.setdefault("names", dict(_NAMES))
    missing = sorted(set(oids) - known.keys())
    if missing:
        listed = ", ".join(map(str, missing))
        rows = yield Question(
            "SELECT t.oid::int8, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname) "
            "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
            f"WHERE t.oid IN ({listed})"
        )
        known.update(rows)
    return [known[oid] for oid in oids]


def _with_literals(text: str, values: Sequence[Any], type_names: Sequence[str]) -> str:
    def replacement(mark: str) -> str:
        place = int(mark[1:]) - 1
        return f"({literal(values[place])}::{type_names[place]})"

    return replace_parameters(text, "postgres", replacement)


def _wrapped(text: str, kinds: Sequence[Kind], mark: int | None, *, with_query: bool) -> str:
    # A sub-select's order is kept where the query around it does nothing but name columns.
    casts = [f"c{place}{'::' + kind.cast if kind.cast else ''}" for place, kind in enumerate(kinds)]
    marked = ", ".join(casts if mark is None else [f"'{mark}'::pg_catalog.int8", *casts])
    names = ", ".join(f"c{place}" for place in range(len(kinds)))
    if with_query:
        return f"WITH q({names}) AS (\n{text}\n) SELECT {marked} FROM q"
    return f"SELECT {marked} FROM (\n{text}\n) AS q({names})"


def copy_out(query: str) -> str:
    """Return the statement that reads a query."""
    return f"COPY ({query}\n) TO STDOUT (FORMAT binary)"


def copy_in(table: str, columns: Sequence[str], form: str) -> str:
    """Return the statement that loads a table, whose name is quoted; `form` is "binary" or "csv"."""
    listed = ", ".join(quote_identifier(name, "postgres") for name in columns)
    options = "FORMAT binary" if form == "binary" else "FORMAT csv, NULL ''"
    return f"COPY {table} ({listed}) FROM STDIN ({options})"
