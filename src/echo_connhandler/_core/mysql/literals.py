"""What Python values become in SQL text. Both libraries bind on the client, so this is where injection is kept out."""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..errors import ParameterError

__all__ = ("literal", "quoted", "simpler", "with_values")


def with_values(sql: str, params: Sequence[Any], *, backslashes: bool) -> bytes:
    r"""Return a statement with its values in the places of `%s`, as it is sent. Without values `%` is only a sign.

    Args:
        sql: the text, values as `%s`, each other `%` doubled.
        params: the values.
        backslashes: whether the session takes `\\` in strings as an escape, as all do without NO_BACKSLASH_ESCAPES.

    Raises:
        ParameterError: there are more or fewer values than places, or a value is of a type that has no literal.
    """
    if params:
        try:
            sql %= tuple([literal(value, backslashes=backslashes) for value in params])
        except (TypeError, ValueError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(
                f"{len(params)} values do not fit the text: each takes one %s, and any other % is doubled ({error})"
            ) from error
    return sql.encode()


def quoted(text: str, *, backslashes: bool) -> str:
    """Return text as a string literal. The session's character set is utf8mb4, where no sign hides a quote."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"text with a lone surrogate at position {error.start} can't be stored") from error
    if backslashes:
        text = text.replace("\\", "\\\\")
    return "'" + text.replace("'", "''") + "'"


def literal(value: Any, *, backslashes: bool) -> str:
    """Return a value as SQL text.

    ======================================  =====================================================
    None, pandas.NaT, pandas.NA             NULL
    bool                                    1, 0
    int; float; Decimal                     digits; a DOUBLE literal; plain digits
    str; UUID                               a string literal; its canonical text
    bytes, bytearray, memoryview            a hexadecimal literal
    date, datetime, time, timedelta         a string literal; a datetime with a zone in UTC
    dict, list, tuple                       JSON text
    Enum; numpy scalar                      its value
    ======================================  =====================================================

    Raises:
        ParameterError: there is no literal for it: another type, NaN, infinity, or text with lone surrogates.
    """
    kind = type(value)
    if kind is str:
        return quoted(value, backslashes=backslashes)
    if value is None:
        return "NULL"
    if kind is int:
        return _int(value)
    if kind is float:
        return _float(value)
    plain = simpler(value)
    return plain if isinstance(plain, _Bare) else literal(plain, backslashes=backslashes)


_DECIMAL_END = 10**65  # DECIMAL has 65 digits


class _Bare(str):
    """SQL text that is complete."""

    __slots__ = ()


def _int(value: int) -> str:
    if value.bit_length() > 216 or abs(value) >= _DECIMAL_END:
        raise ParameterError("a whole number of more than 65 digits has no place in a column: pass it as text")
    return str(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ParameterError(f"MySQL has no {value}: pass None if NULL is meant")
    text = repr(value)
    return text if "e" in text else f"{text}e0"  # without the exponent it would be a DECIMAL


def simpler(value: Any) -> Any:
    """Return a value of a simpler type, or its finished text."""
    for kind, made in _KINDS:
        if isinstance(value, kind):
            return made(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _simpler_numpy(value, numpy)
    if type(value).__name__ == "NAType":
        return None
    raise ParameterError(
        f"MySQL has no value of type {type(value).__module__}.{type(value).__qualname__}: convert it first"
    )


def _simpler_numpy(value: Any, numpy: Any) -> Any:
    if isinstance(value, numpy.datetime64 | numpy.timedelta64):
        if numpy.isnat(value):
            return None
        with suppress(OverflowError):  # as newer versions of numpy say it
            micro = value.astype(f"{value.dtype.kind}8[us]")
            plain = micro.item()
            if not isinstance(plain, int) and micro == value:
                return plain
    else:
        plain = value.item()
        if not isinstance(plain, numpy.generic):
            return plain
    raise ParameterError(f"MySQL has no value of type numpy.{value.dtype} for {value}: convert it first")


def _moment(value: dt.datetime) -> Any:
    if type(value).__name__ == "NaTType":
        return None
    if getattr(value, "nanosecond", 0):
        raise ParameterError(f"{value} has nanoseconds, MySQL's finest is microseconds: round it first")
    if value.tzinfo is not None:
        try:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError as error:
            raise ParameterError(f"{value} is beyond the years 1 to 9999 in UTC") from error
    return dt.datetime.isoformat(value, " ")


def _time(value: dt.time) -> str:
    if value.tzinfo is not None:
        raise ParameterError("a time with a zone but no date can't be told in UTC: pass a datetime")
    return value.isoformat()


def _span(value: dt.timedelta) -> Any:
    if getattr(value, "nanoseconds", 0):
        raise ParameterError(f"{value} has nanoseconds, MySQL's finest is microseconds: round it first")
    sign, size = ("-", -value) if value < dt.timedelta(0) else ("", value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{size.microseconds:06}" if size.microseconds else ""
    return f"{sign}{size.days * 24 + hours:02}:{minutes:02}:{seconds:02}{fraction}"


def _decimal(value: Decimal) -> _Bare:
    if not value.is_finite():
        raise ParameterError(f"MySQL has no {value}: pass None if NULL is meant")
    if abs(value.adjusted()) > 100:
        raise ParameterError(f"{value} has more digits than a DECIMAL column, which has 65: pass it as text or float")
    return _Bare(format(value, "f"))


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_in_json)
    except ParameterError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"a {type(value).__name__} is stored as JSON, but: {error}") from error


def _in_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("JSON has no bytes")
    plain = simpler(value)
    return str(plain) if isinstance(plain, _Bare) else plain


# In this order: a bool is an int, a datetime is a date, and members of an enumeration may be anything.
_KINDS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (bool, lambda value: _Bare(int(value))),
    (dt.datetime, _moment),
    (dt.date, lambda value: value.isoformat()),
    (dt.time, _time),
    (dt.timedelta, _span),
    (Decimal, _decimal),
    (UUID, str),
    (bytes | bytearray | memoryview, lambda value: _Bare(f"_binary X'{bytes(value).hex()}'")),
    (dict | list | tuple, _json),
    (str, lambda value: str.__str__(value)),
    (int, lambda value: _Bare(_int(int(value)))),
    (float, lambda value: _Bare(_float(float(value)))),
)
