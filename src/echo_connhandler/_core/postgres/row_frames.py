"""Rows that a driver gave as Python values put into Arrow: for statements that COPY can't take."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require
from .types import Kind
from .values import Interval

if TYPE_CHECKING:
    from pyarrow import Array, DataType, RecordBatch, Schema

__all__ = ("rows_to_arrow",)


def rows_to_arrow(
    rows: Sequence[tuple[Any, ...]], names: Sequence[str], kinds: Sequence[Kind], schema: Schema | None = None
) -> RecordBatch:
    """Return rows as a record batch with the types that COPY would give; with text where a value has no place.

    Raises:
        QueryError: a value doesn't fit `schema`, that of the batches before.
    """
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    arrays = []
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        values = list(map(itemgetter(place), rows))
        wanted = kind.arrow if schema is None else schema.field(place).type
        array = _fit(values, wanted)
        if array is None and schema is not None:
            raise QueryError(
                f"column {name!r} holds a value that is no {wanted}, and the rows before had that type: "
                f"give it one type with CAST(... AS text) in the query, or read it as one frame"
            )
        arrays.append(_fit(values, pa.string()) if array is None else array)
    batch: RecordBatch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    return batch


def _fit(values: list[Any], kind: DataType) -> Array[Any] | None:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    inner: Any = kind
    while pa.types.is_list(inner):
        inner = inner.value_type
    if pa.types.is_string(inner):
        values = _each(values, _text, depth=kind is not inner)
    elif pa.types.is_interval(inner):
        values = _each(values, _interval, depth=kind is not inner)
    try:
        found: Array[Any] = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
    return found


def _each(values: list[Any], change: Any, *, depth: bool) -> list[Any]:
    """Change values, with `depth` those in lists."""
    return [
        None
        if value is None
        else _each(value, change, depth=True)
        if depth and isinstance(value, list)
        else change(value)
        for value in values
    ]


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else str(value)


def _interval(value: Any) -> Any:
    return (value.months, value.days, value.microseconds * 1000) if isinstance(value, Interval) else value
