"""What Python values become as parameters of PostgreSQL, the same for both drivers.

A number, date, Decimal and the like brings its own type, as a cast written into the SQL text: `$1` becomes
`($1::int4)`. So `SELECT $1 + $2` works, and `n > $1` with 1.5 where n is an integer. Text has no type of its own: the
server infers it from where it stands, as it does for a quoted literal, and so do None, dicts, and lists of texts.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import math
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

from ..errors import ParameterError
from ..sqltext import first_keyword, replace_parameters
from .literals import array_literal
from .values import Interval, Range

__all__ = ("OPEN", "UNKNOWN", "bind", "bind_many", "recast", "settle", "typed")

UNKNOWN = ""  # the server infers the type
OPEN = "?"  # the same, and the value's text depends on the type: JSON, array or hstore

_INT4, _INT8 = 2**31, 2**63
_JSON, _JSONB = 114, 3802
_BOXES = 1020  # an array whose items have commas: they are separated by semicolons
_NUMBERS = ("int4", "int8", "numeric", "float8")
_ASSIGNING = frozenset({"INSERT", "UPDATE", "MERGE", "WITH"})  # where a list may be meant for a JSON column

Kinds = tuple[str, ...]


def bind(sql: str, params: Sequence[Any]) -> tuple[Kinds, list[Any]]:
    """Return for each parameter the type that it brings, and what is sent for it.

    Sent are int, float, bool, bytes and None as they are, everything else as text. Those whose kind is OPEN are
    the caller's own lists and dicts still: `settle` makes texts of them once the server has told their types.

    Raises:
        ParameterError: PostgreSQL has nothing that holds a value.
    """
    kinds: list[str] = []
    values: list[Any] = []
    for value in params:
        simple = _SIMPLE.get(type(value))
        kind, sent = simple(value) if simple is not None else _other(value)
        kinds.append(kind)
        values.append(sent)
    if OPEN in kinds and first_keyword(sql, "postgres") not in _ASSIGNING:
        for place, kind in enumerate(kinds):
            if kind == OPEN and isinstance(values[place], list):
                kinds[place], values[place] = _typed_list(values[place])
    return tuple(kinds), values


def bind_many(sql: str, rows: Iterable[Sequence[Any]]) -> tuple[Kinds, list[list[Any]]]:
    """Return the same for rows of one statement: a type that holds the values of all rows, and the rows.

    Raises:
        ParameterError: as `bind`; or rows differ in their number of values.
    """
    merged: list[str] = []
    bound: list[list[Any]] = []
    for row in rows:
        kinds, values = bind(sql, row)
        if not bound:
            merged = [kind if value is not None else "-" for kind, value in zip(kinds, values, strict=True)]
        elif len(kinds) != len(merged):
            raise ParameterError(f"a row has {len(kinds)} values, the rows before it {len(merged)}")
        else:
            for place, kind in enumerate(kinds):
                if kind != merged[place] and values[place] is not None:
                    merged[place] = _common(merged[place], kind)
        bound.append(values)
    kinds = tuple([UNKNOWN if kind == "-" else kind for kind in merged])
    for place, kind in enumerate(kinds):
        for values in bound:
            values[place] = _fitted(values[place], kind)
    return kinds, bound


def _common(one: str, other: str) -> str:
    if one == "-":
        return other
    if one in _NUMBERS and other in _NUMBERS:
        return max(one, other, key=_NUMBERS.index)
    return OPEN if OPEN in (one, other) else UNKNOWN


def _fitted(value: Any, kind: str) -> Any:
    """Return what is sent, for a kind that other rows' values have widened."""
    if value is None or kind == OPEN or kind == "bytea":
        return value
    if kind == "float8":
        return float(value)
    if kind in ("int4", "int8", "bool") or isinstance(value, str):
        return value
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def settle(kinds: Kinds, values: list[Any], oids: Sequence[int], hstore: frozenset[int] | set[int]) -> list[Any]:
    """Return the values with those of kind OPEN made texts of the types that the server has inferred.

    Args:
        kinds: from `bind`.
        values: from `bind`.
        oids: the parameters' types.
        hstore: the oids that are hstore.
    """
    return [
        value if kind != OPEN or value is None else _settled(value, oid, hstore)
        for kind, value, oid in zip(kinds, values, oids, strict=True)
    ]


def _settled(value: Any, oid: int, hstore: frozenset[int] | set[int]) -> Any:
    if not isinstance(value, dict | list):
        return value if isinstance(value, str) else str(value)
    if oid in (_JSON, _JSONB):
        return _json(value)
    if isinstance(value, dict):
        return _hstore(value) if oid in hstore else _json(value)
    return array_literal(_texts(value), ";" if oid == _BOXES else ",")


def typed(sql: str, kinds: Kinds) -> str:
    """Return the SQL text with the types that the parameters bring written into it."""
    if not any(kinds):
        return sql
    return _typed(sql, kinds)


@lru_cache(maxsize=4096)
def _typed(sql: str, kinds: Kinds) -> str:
    def replacement(mark: str) -> str:
        number = int(mark[1:])
        kind = kinds[number - 1] if 0 < number <= len(kinds) else UNKNOWN
        return f"({mark}::{kind})" if kind not in (UNKNOWN, OPEN) else mark

    return replace_parameters(sql, "postgres", replacement)


@lru_cache(maxsize=4096)
def recast(sql: str, casts: tuple[str, ...]) -> str:
    """Return the SQL text with these casts, `text)::int4`, written after its parameters; "" leaves one as it is."""

    def replacement(mark: str) -> str:
        cast = casts[int(mark[1:]) - 1]
        return f"(({mark}::{cast})" if cast else mark

    return replace_parameters(sql, "postgres", replacement)


# One value


def _int(value: int) -> tuple[str, Any]:
    if -_INT4 <= value < _INT4:
        return "int4", value
    if -_INT8 <= value < _INT8:
        return "int8", value
    return "numeric", str(value)


def _text(value: str) -> tuple[str, Any]:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ParameterError(f"text with a lone surrogate at position {error.start} can't be stored") from error
    if "\0" in value:
        raise ParameterError("PostgreSQL's text can't hold NUL: pass bytes to a bytea column")
    return UNKNOWN, value


def _moment(value: dt.datetime) -> tuple[str, Any]:
    return "timestamp" if value.tzinfo is None else "timestamptz", value.isoformat(" ")


def _clock(value: dt.time) -> tuple[str, Any]:
    return "time" if value.tzinfo is None else "timetz", value.isoformat()


def _delta(value: dt.timedelta) -> tuple[str, Any]:
    clock = value.seconds * 1_000_000 + value.microseconds
    return "interval", str(Interval(0, value.days, clock))


def _range(value: Range) -> tuple[str, Any]:
    if value.empty:
        return UNKNOWN, "empty"
    ends = ["" if end is None else _quoted(_leaf(end)) for end in (value.lower, value.upper)]
    return UNKNOWN, f"{value.bounds[0]}{ends[0]},{ends[1]}{value.bounds[1]}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_SIMPLE: dict[type, Any] = {
    int: _int,
    str: _text,
    float: lambda value: ("float8", value),
    bool: lambda value: ("bool", value),
    type(None): lambda _: (UNKNOWN, None),
    bytes: lambda value: ("bytea", value),
    Decimal: lambda value: ("numeric", _number(value)),
    dt.datetime: _moment,
    dt.date: lambda value: ("date", value.isoformat()),
    dt.time: _clock,
    dt.timedelta: _delta,
    Interval: lambda value: ("interval", str(value)),
    UUID: lambda value: ("uuid", str(value)),
    dict: lambda value: (OPEN, value),
    list: lambda value: (OPEN, value),
    tuple: lambda value: (OPEN, list(value)),
    Range: _range,
    ipaddress.IPv4Address: lambda value: ("inet", str(value)),
    ipaddress.IPv6Address: lambda value: ("inet", str(value)),
    ipaddress.IPv4Interface: lambda value: ("inet", str(value)),
    ipaddress.IPv6Interface: lambda value: ("inet", str(value)),
    ipaddress.IPv4Network: lambda value: ("cidr", str(value)),
    ipaddress.IPv6Network: lambda value: ("cidr", str(value)),
}


def _number(value: Decimal) -> str:
    if value.is_snan():
        raise ParameterError("PostgreSQL has no signalling NaN")
    return str(value)


def _other(value: Any) -> tuple[str, Any]:
    if type(value).__name__ in ("NaTType", "NAType"):
        return UNKNOWN, None
    if isinstance(value, Enum):
        return _one(value.value)
    if isinstance(value, bytearray | memoryview):
        return "bytea", bytes(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _numpy(value, numpy)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _one(value.tolist())
    for base, simple in _SIMPLE.items():
        if base is not bool and isinstance(value, base):
            bound: tuple[str, Any] = simple(_plain(value, base))
            return bound
    raise ParameterError(
        f"PostgreSQL has no value for the type {type(value).__module__}.{type(value).__qualname__}: convert it first"
    )


def _plain(value: Any, base: type) -> Any:
    return base(value) if base in (int, str, float, bytes, dict, list, tuple) else value


def _numpy(value: Any, numpy: Any) -> tuple[str, Any]:
    if isinstance(value, numpy.datetime64 | numpy.timedelta64):
        if numpy.isnat(value):
            return UNKNOWN, None
        if isinstance(value, numpy.datetime64):
            return "timestamp", str(value).replace("T", " ")
        value = value.astype("timedelta64[us]")
    plain = value.item()
    if isinstance(plain, numpy.generic):
        raise ParameterError(f"PostgreSQL has no value for the type numpy.{value.dtype}: convert it first")
    return _one(plain)


def _one(value: Any) -> tuple[str, Any]:
    simple = _SIMPLE.get(type(value))
    made: tuple[str, Any] = simple(value) if simple is not None else _other(value)
    return made


# Lists and JSON


def _typed_list(items: list[Any]) -> tuple[str, Any]:
    """Return a list as an array of the type that its items bring, if they bring one."""
    kinds = {kind for kind, sent in map(_one, _leaves(items)) if sent is not None}
    if not kinds or UNKNOWN in kinds or OPEN in kinds:
        return OPEN, items
    if len(kinds) > 1:
        if not kinds <= set(_NUMBERS):
            return OPEN, items
        kinds = {max(kinds, key=_NUMBERS.index)}
    return f"{kinds.pop()}[]", array_literal(_texts(items))


def _leaves(items: Iterable[Any]) -> Iterable[Any]:
    for item in items:
        if isinstance(item, list | tuple):
            yield from _leaves(item)
        else:
            yield item


def _texts(items: Iterable[Any]) -> list[Any]:
    return [_texts(item) if isinstance(item, list | tuple) else None if item is None else _leaf(item) for item in items]


def _leaf(value: Any) -> str:
    """Return the text of a value inside of an array or a range."""
    _, sent = _one(value)
    if isinstance(sent, dict):
        return _json(sent)
    if isinstance(sent, bool):
        return "t" if sent else "f"
    if isinstance(sent, bytes):
        return f"\\x{sent.hex()}"
    return str(sent)


def _hstore(value: dict[Any, Any]) -> str:
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str | None):
            raise ParameterError("hstore takes a dict of text to text or None")
        pairs.append(f"{_quoted(key)}=>{'NULL' if item is None else _quoted(item)}")
    return ",".join(pairs)


def _json(value: Any) -> str:
    try:
        return str(_text(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_in_json))[1])
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"a {type(value).__name__} is stored as JSON, but: {error}") from error


def _in_json(value: Any) -> Any:
    kind, sent = _one(value)
    if kind == "bytea":
        raise TypeError("JSON has no bytes")
    if kind == "numeric":
        number = Decimal(sent)
        if not number.is_finite():
            raise TypeError(f"JSON has no {sent}")
        # json has no way to write a number's digits: a float, where that is the same number.
        return float(number) if math.isfinite(float(number)) and Decimal(repr(float(number))) == number else sent
    return value.isoformat() if isinstance(value, dt.datetime) else sent
