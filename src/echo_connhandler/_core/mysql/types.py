"""Which Arrow type a column of MySQL or MariaDB has in a frame. It follows from what the server tells of the column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..extras import require
from .values import Flag, Kind, is_bytes

if TYPE_CHECKING:
    from pyarrow import DataType

    from .wire import Column

__all__ = ("arrow_type", "decimal_digits", "is_calendar")

_WIDTHS = {Kind.TINY: 8, Kind.SHORT: 16, Kind.INT24: 32, Kind.LONG: 32, Kind.LONGLONG: 64}
_DIGITS = 76  # of Arrow's widest decimal
_CALENDAR = frozenset({Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP})


def arrow_type(column: Column) -> DataType:
    """Return the Arrow type of a column.

    ==============================================  =====================================================
    TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT       int8, int16, int32, int32, int64; UNSIGNED: uint8 ...
    YEAR; BIT                                       int16; uint64
    DECIMAL(p, s)                                   decimal128(p, s), from 39 digits on decimal256(p, s)
    FLOAT; DOUBLE                                   float; double
    DATE                                            date32
    DATETIME; TIMESTAMP                             timestamp[us]; timestamp[us, UTC]
    TIME                                            duration[us]
    CHAR, VARCHAR, TEXT, ENUM, SET, JSON, UUID ...  string
    BINARY, VARBINARY, BLOB, GEOMETRY               binary
    NULL                                            null
    ==============================================  =====================================================

    A batch with a value that the type can't hold has text in that column instead: dates with a zero or in the year 0,
    and decimals of more than 76 digits.
    """
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    found: DataType = _arrow_type(column, pa)
    return found


def _arrow_type(column: Column, pa: Any) -> Any:
    if column.kind in _WIDTHS:
        unsigned = "u" if column.flags & Flag.UNSIGNED else ""
        return getattr(pa, f"{unsigned}int{_WIDTHS[Kind(column.kind)]}")()
    if column.kind in (Kind.DECIMAL, Kind.NEWDECIMAL):
        precision, scale = decimal_digits(column)
        if precision > _DIGITS:
            return pa.string()
        return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    if column.kind in _OTHERS:
        name, *arguments = _OTHERS[Kind(column.kind)]
        return getattr(pa, name)(*arguments)
    return pa.binary() if is_bytes(column) else pa.string()


_OTHERS = {
    Kind.YEAR: ("int16",),
    Kind.BIT: ("uint64",),
    Kind.FLOAT: ("float32",),
    Kind.DOUBLE: ("float64",),
    Kind.DATE: ("date32",),
    Kind.DATETIME: ("timestamp", "us"),
    Kind.TIMESTAMP: ("timestamp", "us", "UTC"),
    Kind.TIME: ("duration", "us"),
    Kind.NULL: ("null",),
}


def decimal_digits(column: Column) -> tuple[int, int]:
    """Return precision and scale of a DECIMAL column, told as the width of its longest text: sign, digits and point."""
    signed = not column.flags & Flag.UNSIGNED
    digits = column.length - (column.scale > 0) - signed
    return max(digits, column.scale, 1), column.scale


def is_calendar(column: Column) -> bool:
    """Tell whether a column's values are days of a calendar, which the server may also have with zeros."""
    return column.kind in _CALENDAR
