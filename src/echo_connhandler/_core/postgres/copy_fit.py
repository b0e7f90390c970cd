"""A frame's column made what a PostgreSQL column holds: exactly, or with an error that names column and value."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError
from ..extras import require
from .literals import array_literal

if TYPE_CHECKING:
    from pyarrow import Array, DataType

__all__ = ("fit", "text_of")

_INT64_DIGITS = 18
_DAY = 86_400_000_000  # microseconds


class _Column:
    """A column on its way, with the names that an error tells."""

    def __init__(self, values: Array[Any], name: str, target: str) -> None:
        self.values = values
        self.type: Any = values.type
        self.name = name
        self.target = target

    def cast(self, kind: DataType) -> Array[Any]:
        """Cast exactly, or raise with the first value that can't be."""
        pa = require("pyarrow", extra="arrow", purpose="writing frames")
        try:
            made: Array[Any] = self.values.cast(kind)
        except pa.ArrowInvalid as error:
            raise self.refused(self._first_wrong(kind)) from error
        return made

    def refused(self, value: object) -> InvalidRequestError:
        return InvalidRequestError(f"column {self.name!r}: {value!r} does not fit the type {self.target}")

    def _first_wrong(self, kind: DataType) -> object:
        pa = require("pyarrow", extra="arrow", purpose="writing frames")
        values = self.values
        while len(values) > 1:
            half = values.slice(0, len(values) // 2)
            try:
                half.cast(kind)
                values = values.slice(len(half))
            except pa.ArrowInvalid:
                values = half
        return values[0].as_py() if not pa.types.is_timestamp(self.type) else str(values[0])


def plain(column: Array[Any]) -> Array[Any]:
    """Return the values without a dictionary, an extension, or a layout of their own."""
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types = pa.types
    values: Any = column
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_large_string(values.type) or types.is_string_view(values.type):
        values = values.cast(pa.string())
    if types.is_large_binary(values.type) or types.is_binary_view(values.type):
        values = values.cast(pa.binary())
    if types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    found: Array[Any] = values
    return found


def fit(column: Array[Any], wire: str, target: str, name: str, *, is_array: bool = False) -> Array[Any] | None:
    """Return a column's values as `ENCODERS[wire]` takes them; None where the server has to read their text.

    Raises:
        InvalidRequestError: a value isn't one of the target's.
    """
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    values: Any = plain(column)
    if is_array:
        if pa.types.is_null(values.type):
            values = values.cast(pa.list_(pa.null()))
        if not wire or not pa.types.is_list(values.type):
            return None
        inner = fit(values.flatten(), wire, target, name)
        if inner is None:
            return None
        lengths = require("pyarrow.compute", extra="arrow", purpose="writing frames").list_value_length(values)
        return _relisted(lengths, inner)
    rule = _RULES.get(wire)
    return None if rule is None else rule(_Column(values, name, target))


def _relisted(lengths: Any, inner: Array[Any]) -> Array[Any]:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    offsets = np.zeros(len(lengths) + 1, "i4")
    np.cumsum(np.asarray(lengths.fill_null(0)), out=offsets[1:])
    valid = None if not lengths.null_count else np.packbits(np.asarray(lengths.is_valid()), bitorder="little")
    buffers = [None if valid is None else pa.py_buffer(valid), pa.py_buffer(offsets)]
    made: Array[Any] = pa.Array.from_buffers(
        pa.list_(inner.type), len(lengths), buffers, lengths.null_count, children=[inner]
    )
    return made


def _whole(made: str) -> Callable[[_Column], Array[Any] | None]:
    def rule(column: _Column) -> Array[Any] | None:
        pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
        types, kind = pa.types, column.type
        number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
        return column.cast(getattr(pa, made)()) if number else None

    return rule


def _bool(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    known = pa.types.is_boolean(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.bool_()) if known else None


def _float(made: str) -> Callable[[_Column], Array[Any] | None]:
    def rule(column: _Column) -> Array[Any] | None:
        pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
        pc: Any = require("pyarrow.compute", extra="arrow", purpose="writing frames")
        types, kind, wanted = pa.types, column.type, getattr(pa, made)()
        if types.is_integer(kind) or types.is_decimal(kind) or types.is_null(kind):
            return column.cast(wanted)
        if not types.is_floating(kind):
            return None
        cast: Array[Any] = column.values.cast(wanted, safe=False)
        if made == "float32" and types.is_float64(kind):
            lost = pc.fill_null(pc.and_(pc.is_inf(cast), pc.invert(pc.is_inf(column.values))), False)
            if pc.any(lost).as_py():
                raise column.refused(column.values.filter(lost)[0].as_py())
        return cast

    return rule


def _numeric(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types, kind = pa.types, column.type
    if types.is_null(kind):
        return column.cast(pa.decimal128(1, 0))
    if types.is_integer(kind):
        # Numbers of 19 digits are sent as text.
        if kind.bit_width < 64:
            return column.values.cast(pa.decimal128(10, 0))
        try:
            found: Array[Any] = column.values.cast(pa.decimal128(20, 0)).cast(pa.decimal128(_INT64_DIGITS, 0))
        except pa.ArrowInvalid:
            return None
        return found
    if not types.is_decimal128(kind) or kind.scale < 0 or kind.scale > kind.precision:
        return None
    if kind.precision <= _INT64_DIGITS:
        return column.values
    try:  # pandas and others declare 38 digits for numbers of a few
        narrow: Array[Any] = column.values.cast(pa.decimal128(_INT64_DIGITS, min(kind.scale, _INT64_DIGITS)))
    except pa.ArrowInvalid:
        return None
    return narrow


def _text(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types, kind = pa.types, column.type
    if column.target in ("json", "jsonb") and (types.is_nested(kind)):
        values = [None if value is None else json.dumps(value) for value in column.values.to_pylist()]
        made: Array[Any] = pa.array(values, pa.string())
        return made
    if types.is_string(kind):
        return _without_nul(column)
    known = types.is_integer(kind) or types.is_decimal(kind) or types.is_boolean(kind) or types.is_null(kind)
    return column.cast(pa.string()) if known else None


def _without_nul(column: _Column) -> Array[Any]:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pc: Any = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    buffer = column.values.buffers()[2]
    if buffer is not None and not np.frombuffer(buffer, "u1").all():
        held = pc.fill_null(pc.match_substring(column.values, "\0"), False)
        if pc.any(held).as_py():
            value = column.values.filter(held)[0].as_py()
            raise InvalidRequestError(f"column {column.name!r}: {value!r} holds NUL, which PostgreSQL's text can't")
    return column.values


def _bytea(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types, kind = pa.types, column.type
    known = types.is_binary(kind) or types.is_fixed_size_binary(kind) or types.is_null(kind)
    return column.cast(pa.binary()) if known else None


def _uuid(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    sixteen = pa.binary(16)
    return column.cast(sixteen) if column.type == sixteen else None


def _date(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types, kind = pa.types, column.type
    if types.is_timestamp(kind) and kind.tz is None:
        made: Array[Any] = column.values.cast(pa.date32(), safe=False)
        pc: Any = require("pyarrow.compute", extra="arrow", purpose="writing frames")
        wrong = pc.fill_null(pc.not_equal(made.cast(kind), column.values), False)
        if pc.any(wrong).as_py():
            raise column.refused(str(column.values.filter(wrong)[0]))
        return made
    return column.cast(pa.date32()) if types.is_date(kind) or types.is_null(kind) else None


def _time(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    known = pa.types.is_time(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.time64("us")) if known else None


def _timestamp(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types, kind = pa.types, column.type
    if types.is_timestamp(kind) and kind.tz is not None:  # what its clock shows in UTC
        return column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us", "UTC"))
    return column.cast(pa.timestamp("us")) if types.is_temporal(kind) and not types.is_time(kind) else _nulls(column)


def _nulls(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    return column.cast(pa.timestamp("us")) if pa.types.is_null(column.type) else None


def _timestamptz(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(pa.timestamp("us", kind.tz))
    return _nulls(column)  # without a zone it is the session's: the server knows that


def _interval(column: _Column) -> Array[Any] | None:
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    if pa.types.is_duration(column.type):
        micros = np.asarray(column.cast(pa.duration("us")).cast(pa.int64()).fill_null(0))
        triples = [(0, value // _DAY, value % _DAY * 1000) for value in micros.tolist()]  # as a timedelta counts
        mask = None if not column.values.null_count else np.asarray(column.values.is_null())
        made: Array[Any] = pa.array(triples, pa.month_day_nano_interval(), mask=mask)
        return made
    if not pa.types.is_interval(column.type):
        return None
    nanos = np.frombuffer(column.values.buffers()[1], "<i8")[1::2][column.values.offset :][: len(column.values)]
    wrong = np.flatnonzero((nanos % 1000 != 0) & np.asarray(column.values.is_valid()))
    if len(wrong):
        raise column.refused(column.values[int(wrong[0])].as_py())
    return column.values


_RULES: dict[str, Callable[[_Column], Array[Any] | None]] = {
    "bool": _bool,
    "bytea": _bytea,
    "date": _date,
    "float4": _float("float32"),
    "float8": _float("float64"),
    "int2": _whole("int16"),
    "int4": _whole("int32"),
    "int8": _whole("int64"),
    "interval": _interval,
    "jsonb": _text,
    "numeric": _numeric,
    "oid": _whole("uint32"),
    "text": _text,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "uuid": _uuid,
}


# Text


def text_of(column: Array[Any], name: str) -> Array[Any]:
    """Return a column's values as text that PostgreSQL reads.

    Raises:
        InvalidRequestError: a value is finer than a microsecond, holds NUL, or is of a type that has no text.
    """
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    types = pa.types
    values = plain(column)
    kind = values.type
    if types.is_string(kind):
        return _without_nul(_Column(values, name, "text"))
    if types.is_timestamp(kind) and kind.unit == "ns":
        values = _Column(values, name, "timestamp").cast(pa.timestamp("us", kind.tz))
    if types.is_time64(kind) and kind.unit == "ns":
        values = _Column(values, name, "time").cast(pa.time64("us"))
    if (types.is_primitive(kind) and not types.is_duration(kind) and not types.is_interval(kind)) or types.is_null(
        kind
    ):
        return values.cast(pa.string())
    if types.is_decimal(kind):
        return values.cast(pa.string())
    try:
        texts = [None if value is None else _one(value) for value in values.to_pylist()]
    except TypeError as error:
        raise InvalidRequestError(f"column {name!r}: PostgreSQL has no text for values of the type {kind}") from error
    made: Array[Any] = pa.array(texts, pa.string())
    return _without_nul(_Column(made, name, "text"))


def _one(value: Any) -> str:
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, list):
        return array_literal(_texts(value))
    if isinstance(value, dict):
        raise TypeError
    if hasattr(value, "nanoseconds") and hasattr(value, "months"):
        return f"{value.months} mons {value.days} days {value.nanoseconds // 1000} microseconds"
    if hasattr(value, "total_seconds"):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    return str(value)


def _texts(items: list[Any]) -> list[Any]:
    return [None if item is None else _texts(item) if isinstance(item, list) else _one(item) for item in items]
