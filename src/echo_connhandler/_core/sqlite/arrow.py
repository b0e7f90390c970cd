"""What rows of SQLite become in Arrow: by a column's declared type if all values fit, else by the values."""

from __future__ import annotations

import re
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import DataType, RecordBatch, Schema

__all__ = ("columns_to_arrow", "sqlite_field_type")

_DECIMAL = re.compile(r"DECIMAL_TEXT\s*\(\s*(\d+)\s*,\s*(-?\d+)\s*\)")
_ARGUMENTS = re.compile(r"\s*\([^)]*\)\s*")


def sqlite_field_type(declared: str) -> DataType | None:
    """Return the Arrow type for a column's declared type, or None where only its values can tell.

    The types that `Dialect.column_type` writes come back as they were; for all others the five rules of
    affinity hold (sqlite.org/datatype3.html, 3.1).
    """
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    found: DataType | None
    words = declared.strip().upper()
    decimal = _DECIMAL.fullmatch(words)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        if 1 <= precision <= 76:
            found = (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
        else:
            found = pa.string()
        return found
    found = _named_type(pa, " ".join(_ARGUMENTS.sub(" ", words).split()))
    if found is not None:
        return found
    for parts, found in (
        (("INT",), pa.int64()),
        (("CHAR", "CLOB", "TEXT"), pa.string()),
        (("BLOB",), pa.binary()),
        (("REAL", "FLOA", "DOUB"), pa.float64()),
    ):
        if any(part in words for part in parts):
            return found
    return None


def _named_type(pa: Any, words: str) -> Any:
    match words:
        case "BOOLEAN" | "BOOL":
            return pa.bool_()
        case "DATE":
            return pa.date32()
        case "DATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE":
            return pa.timestamp("us")
        case "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE":
            return pa.timestamp("us", "UTC")
        case "TIME" | "TIME WITHOUT TIME ZONE":
            return pa.time64("us")
    return None


def columns_to_arrow(
    names: Sequence[str],
    declared: Sequence[str | None],
    rows: Sequence[tuple[Any, ...]],
    schema: Schema | None = None,
) -> RecordBatch:
    """Return rows that sqlite3 gave as a record batch.

    Each column has the type that its declared type says, if all its values fit that exactly, with nanoseconds
    where the text has them; else the type in which SQLite stored them; the null type where nothing tells.

    Args:
        names: the names of the result's columns.
        declared: the declared type of each column, None or "" for expressions.
        rows: tuples of int, float, str, bytes and None, one value a column.
        schema: that of the batches before, which all values must fit.

    Raises:
        QueryError: names repeat; values of a column fit no one type, or not that of `schema`.
    """
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise QueryError(f"the result has columns of the same name: {listed}: give each its own with AS")
    arrays = []
    for place, name in enumerate(names):
        values = list(map(itemgetter(place), rows))
        if schema is None:
            arrays.append(_column(name, declared[place] or "", values))
        else:
            arrays.append(_column_like(name, schema.field(place).type, values))
    result: RecordBatch = (
        pa.RecordBatch.from_arrays(arrays, names=list(names))
        if schema is None
        else pa.RecordBatch.from_arrays(arrays, schema=schema)
    )
    return result


def _column(name: str, declared: str, values: list[Any]) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    wanted = sqlite_field_type(declared)
    finer = {pa.timestamp("us"): pa.timestamp("ns"), pa.time64("us"): pa.time64("ns")}
    finer[pa.timestamp("us", "UTC")] = pa.timestamp("ns", "UTC")
    for kind in (wanted, finer.get(wanted)):
        array = None if kind is None else _fit(values, kind)
        if array is not None:
            return array
    classes = set(map(type, values)) - {type(None)}
    kind = {
        frozenset(): pa.null(),
        frozenset({int}): pa.int64(),
        frozenset({float}): pa.float64(),
        frozenset({int, float}): pa.float64(),
        frozenset({str}): pa.string(),
        frozenset({bytes}): pa.binary(),
    }.get(frozenset(classes))
    array = None if kind is None else _fit(values, kind)
    if array is None:
        raise _unfit(name, values, "no one type holds them all")
    return array


def _column_like(name: str, kind: Any, values: list[Any]) -> Any:
    array = _fit(values, kind)
    if array is None:
        raise _unfit(name, values, f"the rows before had the type {kind}")
    return array


_CLASSES = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}


def _unfit(name: str, values: list[Any], reason: str) -> QueryError:
    met = sorted(_CLASSES.get(kind, kind.__name__) for kind in set(map(type, values)) - {type(None)})
    return QueryError(
        f"column {name!r} holds {' and '.join(met)} values, and {reason}: "
        "give it one type with CAST(... AS ...) in the query"
    )


def _fit(values: list[Any], kind: Any) -> Any:
    """Return an Arrow array of the type `kind`, or None unless each value fits it exactly."""
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    types = pa.types
    try:
        if types.is_floating(kind):
            return _one_array(pa.array(values, kind))
        # Asked for a type, Arrow would cut 1.5 to 1 and take bytes for text: let it find the type by itself.
        found = _one_array(pa.array(values))
        if types.is_null(found.type):
            return found.cast(kind)
        if types.is_boolean(kind):
            return found.cast(kind) if types.is_int64(found.type) and set(values) <= {0, 1, None} else None
        if types.is_binary(kind):
            return found if set(map(type, values)) <= {bytes, type(None)} else None
        if found.type == kind:
            return found
        if not types.is_string(found.type):
            return None
        if types.is_integer(kind) or types.is_null(kind):
            return None
        return _clock(found, kind) if types.is_time(kind) else found.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _clock(text: Any, kind: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="reading frames")
    if pc.any(pc.less(pc.utf8_length(text), 5)).as_py():
        return None  # a bare number is no time of day
    # Arrow reads text as a time only beside a date.
    moment = pc.binary_join_element_wise("1970-01-01", text, " ")
    return moment.cast(pa.timestamp(kind.unit)).cast(kind)


def _one_array(array: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    if isinstance(array, pa.ChunkedArray):
        raise QueryError("a batch has more than 2 GiB in one column: read fewer rows a batch")
    return array
