"""Columns of a frame as the texts that MySQL and MariaDB read, exact to the last digit."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidRequestError
from ..extras import require
from ..frames import decimal_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

__all__ = ("Form", "Texts", "column_texts", "form_of", "holds")


class Form(Enum):
    """What kind of text it is: digits, a date or time, text as it is, or bytes in hexadecimal digits."""

    NUMBER = "number"
    TIME = "time"
    TEXT = "text"
    HEX = "hex"


class Texts(NamedTuple):
    """A column's values as texts, an array of the type large_string with NULLs, and what they stand for."""

    values: Any
    form: Form


def column_texts(name: str, array: Any) -> Texts:
    """Return a column's values as texts.

    Floats are written with as many digits as it takes to read the same float again; moments with a zone in UTC.

    Raises:
        InvalidRequestError: a value has no place in the database: NaN, infinity, nanoseconds; or the type hasn't.
    """
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    while isinstance(array.type, pa.BaseExtensionType) or pa.types.is_dictionary(array.type):
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array.storage
    form = form_of(array.type)
    try:
        values = _TEXTS[form](name, array, pa)
    except pa.ArrowInvalid as error:
        raise InvalidRequestError(
            f"column {name!r}, {array.type}, has a value that can't be stored: {error}"
        ) from error
    return Texts(values.cast(pa.large_string()), form)


def form_of(kind: pa.DataType) -> Form:
    """Return what texts stand for an Arrow type's values."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    types: Any = pa.types
    plain: Any = kind
    if isinstance(kind, pa.BaseExtensionType):
        return form_of(plain.storage_type)
    if types.is_dictionary(kind):
        return form_of(plain.value_type)
    if types.is_boolean(kind) or types.is_null(kind) or types.is_decimal(kind):
        return Form.NUMBER
    if types.is_integer(kind) or types.is_floating(kind):
        return Form.NUMBER
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Form.TEXT
    return Form.HEX if _is_bytes(kind, types) else Form.TIME


def _numbers(name: str, array: Any, pa: Any) -> Any:
    kind, types = array.type, pa.types
    if types.is_boolean(kind):
        return array.cast(pa.int8()).cast(pa.string())
    if types.is_floating(kind):
        return _floats(name, array, pa)
    return decimal_text(array) if types.is_decimal(kind) else array.cast(pa.string())


def _is_bytes(kind: Any, types: Any) -> bool:
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _floats(name: str, array: Any, pa: Any) -> Any:
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    wide = array.cast(pa.float64())  # a column of doubles is to hold the very number, not its shortest text's
    finite = pc.is_finite(wide)
    if pc.all(finite).as_py() is False:
        row = pc.index(finite, False).as_py()
        raise InvalidRequestError(
            f"column {name!r} holds {wide[row].as_py()} in row {row} of a batch, which MySQL has not: "
            "replace it, or make it NULL"
        )
    return wide.cast(pa.string())


def _times(name: str, array: Any, pa: Any) -> Any:
    kind, types = array.type, pa.types
    if types.is_date(kind):
        return array.cast(pa.date32()).cast(pa.string())
    if types.is_timestamp(kind):
        return _micros(name, array, pa.timestamp("us", kind.tz), pa).cast(pa.timestamp("us")).cast(pa.string())
    if types.is_time(kind):
        return _micros(name, array, pa.time64("us"), pa).cast(pa.string())
    if types.is_duration(kind):
        return _spans(_micros(name, array, pa.duration("us"), pa).cast(pa.int64()), pa)
    raise InvalidRequestError(f"column {name!r} is {kind}, which a column of MySQL can't hold: cast it first")


def _micros(name: str, array: Any, kind: Any, pa: Any) -> Any:
    try:
        return array.cast(kind)
    except pa.ArrowInvalid as error:
        raise InvalidRequestError(
            f"column {name!r}, {array.type}, has a value that whole microseconds, the finest that MySQL has, "
            f"can't hold: round it first ({error})"
        ) from error


def _spans(micros: Any, pa: Any) -> Any:
    """Return microseconds as `-838:59:59.000000`."""
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    hour = 3_600_000_000
    size = pc.abs_checked(micros)
    hours = pc.divide(size, hour)
    within = pc.subtract(size, pc.multiply(hours, hour)).cast(pa.time64("us")).cast(pa.string())
    sign = pc.if_else(pc.less(micros, 0), "-", "")
    return pc.binary_join_element_wise(sign, hours.cast(pa.string()), pc.utf8_slice_codeunits(within, 2), "")


def _hexadecimal(array: Any, pa: Any) -> Any:
    np = require("numpy", extra="arrow", purpose="writing frames")
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    if not len(array):
        return pa.array([], pa.large_string())
    begin, end = int(offsets[0]), int(offsets[-1])
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[begin:end]
    digits = np.frombuffer(b"".join([b"%02x" % byte for byte in range(256)]), np.uint16)[data]
    valid = None
    if array.null_count:
        there = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), bool)
        valid = pa.py_buffer(np.packbits(there, bitorder="little"))
    twice = pa.py_buffer((offsets - begin) * 2)
    return pa.Array.from_buffers(pa.large_string(), len(array), [valid, twice, pa.py_buffer(digits)])


_TEXTS: dict[Form, Callable[[str, Any, Any], Any]] = {
    Form.NUMBER: _numbers,
    Form.TIME: _times,
    Form.TEXT: lambda name, array, pa: array,
    Form.HEX: lambda name, array, pa: _hexadecimal(array.cast(pa.large_binary()), pa),
}


def holds(array: Any, characters: bytes) -> bytes:
    """Return which of the ASCII characters there are anywhere in an array of the type large_string."""
    np = require("numpy", extra="arrow", purpose="writing frames")
    offsets = array.buffers()[1]
    if not len(array) or array.buffers()[2] is None:
        return b""
    ends = np.frombuffer(offsets, np.int64)[[array.offset, array.offset + len(array)]]
    data = memoryview(array.buffers()[2])[int(ends[0]) : int(ends[1])]
    text = bytes(data)
    return bytes(each for each in characters if each in text)
