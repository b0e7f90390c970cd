"""Columns out of loose values, from JSON or the cells of a spreadsheet: one Arrow type each, decimals exact."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .extras import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("column", "decimal_column", "pyarrow", "table", "unique_names")


def pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("pyarrow", extra="arrow", purpose="reading frames")


def table(arrays: Sequence[Any], names: Sequence[str]) -> pa.Table:
    """Return a table of these columns."""
    made: pa.Table = pyarrow().table(list(arrays), names=list(names))
    return made


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of columns with those that come again numbered: `X`, `X_2`; an empty one is `column_3`."""
    found: list[str] = []
    for place, given in enumerate(names, 1):
        name = wanted = given.strip() or f"column_{place}"
        number = 1
        while name in found:
            number += 1
            name = f"{wanted}_{number}"
        found.append(name)
    return found


def column(values: Sequence[Any]) -> Any:
    """Return values as an Arrow array of the one type that holds them all.

    ==========================  =======================================================
    values (None aside)         Arrow type
    ==========================  =======================================================
    bool                        bool
    int                         int64; decimal where one has more digits
    int and Decimal, Decimal    decimal128(38, most decimal places), exact
    float, with or without int  float64
    date; datetime              date32; timestamp[us]
    time; timedelta             time64[us]; duration[us]
    none at all                 null
    anything else, or mixed     string: texts as they are, others as JSON or in digits
    ==========================  =======================================================
    """
    pa = pyarrow()
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        try:
            return pa.array(values, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            return decimal_column(values)
    if kinds and kinds <= {int, Decimal}:
        return decimal_column(values)
    if kinds and kinds <= {int, float}:
        return pa.array(values, pa.float64())
    if kinds == {dt.date, dt.datetime}:
        values = [dt.datetime(v.year, v.month, v.day) if type(v) is dt.date else v for v in values]  # noqa: DTZ001
        kinds = {dt.datetime}
    simple = {
        bool: pa.bool_(),
        dt.date: pa.date32(),
        dt.datetime: pa.timestamp("us"),
        dt.time: pa.time64("us"),
        dt.timedelta: pa.duration("us"),
    }
    if len(kinds) == 1 and (kind := simple.get(next(iter(kinds)))) is not None:
        return pa.array(values, kind)
    if not kinds:
        return pa.nulls(len(values))
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def decimal_column(values: Sequence[Any]) -> Any:
    """Return whole numbers and decimals as exact Arrow decimals; as text where they have more than 76 digits."""
    pa = pyarrow()
    exact = [None if value is None else Decimal(value) for value in values]
    parts = [value.as_tuple() for value in exact if value is not None and value.is_finite()]
    places = max((-int(part.exponent) for part in parts), default=0)
    scale = max(places, 0)
    before = max((len(part.digits) + int(part.exponent) for part in parts), default=0)
    digits = max(before, 1) + scale
    if digits > 76 or len(parts) < sum(value is not None for value in exact):
        return pa.array([None if value is None else format(value, "f") for value in exact], pa.string())
    return pa.array(exact, pa.decimal128(38, scale) if digits <= 38 else pa.decimal256(76, scale))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
