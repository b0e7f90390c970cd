"""What values become in SQLite, which has only integers, floats, text and bytes. `arrow` reads them.

Dates and times are ISO 8601 text that sorts by time, decimals are text in plain digits. A value is the same
text whether it came as a bound parameter or in a frame.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import InvalidRequestError, ParameterError
from ..extras import require
from ..frames import decimal_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import RecordBatch

__all__ = ("adapt", "adapt_row", "to_sqlite_rows")

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def adapt(value: Any) -> Any:
    """Return `value` as int, float, str, bytes or None, as SQLite stores it.

    ======================================  ===================================================
    bool                                    0, 1
    date; time without a zone               YYYY-MM-DD; HH:MM:SS[.ffffff]
    datetime, numpy.datetime64              YYYY-MM-DD HH:MM:SS[.ffffff[fff]]
    datetime with a zone                    the same in UTC, then +00:00
    Decimal; UUID                           plain digits as text; text
    dict, list, tuple                       JSON text
    Enum; numpy scalar                      its value
    pandas.NaT, pandas.NA, NaT              None
    bytearray, memoryview                   bytes
    ======================================  ===================================================

    Raises:
        ParameterError: SQLite has nothing that holds the value: another type, an integer beyond 64 bits, NaN,
            which SQLite would turn into NULL, or text with lone surrogates.
    """
    kind = type(value)
    if value is None or kind is bytes:
        return value
    if kind is str:
        return value if value.isascii() else _encodable(value)
    if kind is int:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        raise ParameterError(f"SQLite's integers have 64 bits, {value} has more: pass it as text")
    if kind is bool:
        return int(value)
    if kind is float:
        if value == value:  # only NaN isn't
            return value
        raise ParameterError("SQLite has no NaN and would store NULL: pass None if that is meant")
    return _adapt_other(value)


def adapt_row(params: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row of values, each as `adapt` returns it."""
    for value in params:
        kind = type(value)
        if (
            value is None
            or (kind is int and _INT_MIN <= value <= _INT_MAX)
            or (kind is str and value.isascii())
            or (kind is float and value == value)
        ):
            continue
        return tuple([adapt(value) for value in params])
    return tuple(params)


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"text with a lone surrogate at position {error.start} can't be stored") from error
    return value


def _adapt_other(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        if type(value).__name__ == "NaTType":
            return None
        return _moment(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise ParameterError("a time with a zone but no date can't be told in UTC: pass a datetime")
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return adapt(value.value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (dict, list, tuple)):
        return _json(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _adapt_numpy(value, numpy)
    plain = next((base for base in (int, float, str, bytes) if isinstance(value, base)), None)
    if plain is not None:
        return adapt(plain(value))
    if type(value).__name__ == "NAType":
        return None
    raise ParameterError(
        f"SQLite can't store a value of type {type(value).__module__}.{type(value).__qualname__}: convert it first"
    )


def _moment(value: dt.datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(" ")
    try:
        return value.astimezone(dt.UTC).isoformat(" ")
    except OverflowError as error:
        raise ParameterError(f"{value} is beyond the years 1 to 9999 in UTC") from error


def _adapt_numpy(value: Any, numpy: Any) -> Any:
    if isinstance(value, numpy.datetime64):
        if numpy.isnat(value):
            return None
        unit = numpy.datetime_data(value.dtype)[0]
        day = str(value.astype("datetime64[D]")) if unit not in ("ps", "fs", "as") else ""
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day) and day >= "0001":
            if unit in ("Y", "M", "W", "D"):
                return day
            finest = "datetime64[ns]" if unit == "ns" else "datetime64[us]"
            return _shortest(str(value.astype(finest)).replace("T", " "))
    elif not isinstance(value, numpy.timedelta64):
        plain = value.item()
        if not isinstance(plain, numpy.generic):
            return adapt(plain)
    raise ParameterError(f"SQLite can't store a value of type numpy.{value.dtype}: convert it first")


def _shortest(moment: str) -> str:
    """Return ISO text with 0, 6 or 9 digits of a second, as few as hold the value."""
    head, _, fraction = moment.partition(".")
    fraction = fraction.rstrip("0")
    return f"{head}.{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}" if fraction else head


def _json(value: Any) -> str:
    try:
        return _encodable(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_in_json))
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"a {type(value).__name__} is stored as JSON, but: {error}") from error


def _in_json(value: Any) -> Any:
    plain = adapt(value)
    if isinstance(plain, bytes):
        raise TypeError("JSON has no bytes")
    return plain


def to_sqlite_rows(batch: RecordBatch) -> list[tuple[Any, ...]]:
    """Return the rows of `batch` as tuples of int, float, str, bytes and None, as SQLite stores them.

    Raises:
        InvalidRequestError: a value has no exact place in SQLite; the error names column and value.
    """
    if not batch.num_columns:
        return [()] * batch.num_rows
    names = batch.schema.names
    return list(zip(*(_stored(name, batch.column(i)) for i, name in enumerate(names)), strict=True))


def _stored(name: str, column: Any) -> list[Any]:
    """Return an Arrow array as a list of what SQLite stores."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _stored(name, column.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _stored(name, pc.run_end_decode(column))
    if isinstance(kind, pa.BaseExtensionType):
        plain = column.to_pylist() if kind.extension_name == "arrow.uuid" else column.storage.to_pylist()
        return [None if value is None else str(value) for value in plain]
    if types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif types.is_integer(kind):
        if types.is_uint64(kind):
            _check_range(name, column, 0, _INT_MAX, "{}, but SQLite's integers end at 2**63 - 1")
    elif types.is_floating(kind):
        if pc.any(pc.is_nan(column)).as_py():
            raise InvalidRequestError(
                f"column {name!r} holds NaN, which SQLite would store as NULL: "
                "make it NULL in the frame if that is meant (polars: fill_nan(None))"
            )
        column = column.cast(pa.float64())
    elif types.is_decimal(kind):
        column = decimal_text(column)
    elif types.is_date(kind):
        column = column.cast(pa.date32())
        _check_range(name, column.cast(pa.int32()), *_DAYS, _YEARS)
        column = column.cast(pa.string())
    elif types.is_timestamp(kind):
        column = _timestamp_text(name, column)
    elif types.is_time(kind):
        column = _clock_text(column, pa.time64("us"), pa.time32("s"))
    return _plain_list(column)


_EPOCH = dt.date(1970, 1, 1)
_DAYS = ((dt.date.min - _EPOCH).days, (dt.date.max - _EPOCH).days)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_YEARS = "a value beyond the years 1 to 9999"


def _check_range(name: str, column: Any, least: int, most: int, what: str) -> None:
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    found = pc.min_max(column).as_py()
    for value in (found["min"], found["max"]):
        if value is not None and not least <= value <= most:
            raise InvalidRequestError(f"column {name!r} holds {what.format(value)}")


def _timestamp_text(name: str, column: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    unit, zone = column.type.unit, column.type.tz
    if unit != "ns":  # those end in 2262
        second = _PER_SECOND[unit]
        least, most = _DAYS[0] * _DAY * second, (_DAYS[1] + 1) * _DAY * second - 1
        _check_range(name, column.cast(pa.int64()), least, most, _YEARS)
    text = _clock_text(column.cast(pa.timestamp(unit)), pa.timestamp("us"), pa.timestamp("s"))
    if zone is None:
        return text
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    return pc.binary_join_element_wise(text, "+00:00", "")


def _clock_text(column: Any, microseconds: Any, seconds: Any) -> Any:
    """Return times as ISO text, each with 0, 6 or 9 digits of a second, as few as hold the value."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    for coarser in (seconds, microseconds):
        try:
            column = column.cast(coarser)
        except pa.ArrowInvalid:  # it would lose digits
            continue
        break
    text = column.cast(pa.string())
    if column.type.unit == "ns":
        text = pc.replace_substring_regex(text, r"(\.\d{6})000$", r"\1")
    if column.type.unit != "s":
        text = pc.replace_substring_regex(text, r"\.000000$", "")
    return text


_FORMATS = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "double": "d",
}  # fmt: skip


def _plain_list(column: Any) -> list[Any]:
    code = _FORMATS.get(str(column.type))
    if code is None or column.null_count or not len(column):
        return list(column.to_pylist())
    # The same as to_pylist() in a fraction of its time, and without numpy.
    width = column.type.bit_width // 8
    start = column.offset * width
    # Any: the stubs know of codes that are literals only.
    values: Any = memoryview(column.buffers()[1])[start : start + len(column) * width]
    numbers: list[Any] = values.cast("B").cast(code).tolist()
    return numbers
