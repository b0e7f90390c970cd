"""Arrow columns cut into the pieces of bytes of which COPY's binary rows are made, with numpy.

A field of a row is its length in four bytes, -1 for NULL, and its value. Each encoder gives one or two arrays of bytes
that are joined row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..extras import require
from .copy_read import EPOCH_DAYS, EPOCH_US

if TYPE_CHECKING:
    from numpy import ndarray
    from pyarrow import Array

    Piece: TypeAlias = Array[Any]
    Numbers: TypeAlias = ndarray[Any, Any]

__all__ = ("ENCODERS", "encode_array")


def _there(column: Array[Any]) -> Numbers:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    there: Numbers = np.asarray(column.is_valid()) if column.null_count else np.ones(len(column), bool)
    return there


def _numbers(column: Array[Any], dtype: str) -> Numbers:
    """Return a column's values as they lie in its buffer, those of NULLs too."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    buffer = column.buffers()[1]
    found: Numbers = np.zeros(len(column), dtype)
    if buffer is not None:
        found = np.frombuffer(buffer, dtype)[column.offset : column.offset + len(column)]
    return found


def _bytes(data: Numbers, lengths: Numbers) -> Piece:
    """Return byte strings that lie one after the other."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    offsets = np.zeros(len(lengths) + 1, "i4")
    np.cumsum(lengths, out=offsets[1:])
    found: Piece = pa.Array.from_buffers(
        pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )
    return found


def _fields(values: Numbers, there: Numbers, length: Numbers | int | None = None) -> Piece:
    """Return values of one width, a row of bytes each, with their lengths before them; `length` where it's another."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    count, width = values.shape
    whole = np.empty((count, 4 + width), "u1")
    whole[:, :4] = np.full(count, width if length is None else length, ">i4").view("u1").reshape(count, 4)
    whole[:, 4:] = values
    if there.all():
        return _bytes(whole.reshape(-1), np.full(count, 4 + width))
    whole[~there, :4] = 0xFF
    kept = np.repeat(there[:, None], 4 + width, axis=1)
    kept[:, :4] = True
    return _bytes(whole[kept], np.where(there, 4 + width, 4))


def _number(ours: str, theirs: str, shift: int = 0) -> Callable[[Array[Any]], list[Piece]]:
    def encode(column: Array[Any]) -> list[Piece]:
        values = _numbers(column, ours)
        if shift:
            values = values - shift
        width = int(theirs[-1])
        return [_fields(values.astype(theirs).view("u1").reshape(-1, width), _there(column))]

    return encode


def _bool(column: Array[Any]) -> list[Piece]:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    values = np.asarray(column.cast(pa.uint8()).fill_null(0))
    return [_fields(values.reshape(-1, 1), _there(column))]


def _text(column: Array[Any], head: bytes = b"") -> list[Piece]:
    """Return the lengths, with `head` behind each, and the texts."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    column = column.cast(pa.binary())
    there = _there(column)
    values = np.broadcast_to(np.frombuffer(head, "u1"), (len(column), len(head)))
    lengths = np.diff(_numbers_of_offsets(column)) + len(head)
    return [_fields(values, there, lengths), column.fill_null(b"") if column.null_count else column]


def _numbers_of_offsets(column: Array[Any]) -> Numbers:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    found: Numbers = np.zeros(1, "i4")
    if len(column):
        found = np.frombuffer(column.buffers()[1], "i4")[column.offset : column.offset + len(column) + 1]
    return found


def _jsonb(column: Array[Any]) -> list[Piece]:
    return _text(column, b"\1")


def _uuid(column: Array[Any]) -> list[Piece]:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    raw = np.frombuffer(column.buffers()[1], "u1").reshape(-1, 16)[column.offset : column.offset + len(column)]
    return [_fields(raw, _there(column))]


def _interval(column: Array[Any]) -> list[Piece]:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    made = np.zeros(len(column), np.dtype([("micros", ">i8"), ("days", ">i4"), ("months", ">i4")]))
    parts = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])
    values = np.frombuffer(column.buffers()[1], parts)[column.offset : column.offset + len(column)]
    made["micros"], made["days"], made["months"] = values["nanos"] // 1000, values["days"], values["months"]
    return [_fields(made.view("u1").reshape(-1, 16), _there(column))]


def _numeric(column: Array[Any]) -> list[Piece]:
    """Encode decimals of at most 18 digits: groups of four decimal digits on both sides of the point."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    scale = column.type.scale
    low = np.frombuffer(column.buffers()[1], "<i8").reshape(-1, 2)[column.offset : column.offset + len(column), 0]
    negative = low < 0
    size = np.abs(low)
    before = -(-max(column.type.precision - scale, 0) // 4)
    after = -(-scale // 4)
    whole, part = np.divmod(size, 10**scale)
    part = part * 10 ** (4 * after - scale) if 4 * after <= 18 else part
    made = np.zeros((len(low), 4 + before + after), ">i2")
    made[:, 0], made[:, 1], made[:, 2], made[:, 3] = before + after, before - 1, np.where(negative, 0x4000, 0), scale
    for group in range(before):
        whole, made[:, 4 + before - 1 - group] = np.divmod(whole, 10_000)
    if 4 * after > 18:  # the last group's digits apart: all together don't fit an int64
        rest = scale - 4 * (after - 1)
        part, last = np.divmod(part, 10**rest)
        made[:, 4 + before + after - 1] = last * 10 ** (4 - rest)
        after -= 1
    for group in range(after):
        part, made[:, 4 + before + after - 1 - group] = np.divmod(part, 10_000)
    return [_fields(made.view("u1").reshape(len(low), 2 * made.shape[1]), _there(column))]


ENCODERS: dict[str, Callable[[Array[Any]], list[Piece]]] = {
    "bool": _bool,
    "bytea": _text,
    "date": _number("<i4", ">i4", EPOCH_DAYS),
    "float4": _number("<f4", ">f4"),
    "float8": _number("<f8", ">f8"),
    "int2": _number("<i2", ">i2"),
    "int4": _number("<i4", ">i4"),
    "int8": _number("<i8", ">i8"),
    "interval": _interval,
    "jsonb": _jsonb,
    "numeric": _numeric,
    "oid": _number("<u4", ">u4"),
    "text": _text,
    "time": _number("<i8", ">i8"),
    "timestamp": _number("<i8", ">i8", EPOCH_US),
    "timestamptz": _number("<i8", ">i8", EPOCH_US),
    "uuid": _uuid,
}


def encode_array(column: Any, wire: str, element: int) -> list[Piece]:
    """Encode lists as arrays of one dimension: what every array has at its beginning, and the elements."""
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    pa: Any = require("pyarrow", extra="arrow", purpose="writing frames")
    pc: Any = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    counts = np.asarray(pc.list_value_length(column).fill_null(0)).astype("i8")
    values = column.flatten()
    elements = pc.binary_join_element_wise(*ENCODERS[wire](values), pa.scalar(b"", pa.binary()))
    ends = np.zeros(len(counts) + 1, "i8")
    np.cumsum(counts, out=ends[1:])
    offsets = _numbers_of_offsets(elements)[ends]
    contents = pa.Array.from_buffers(
        pa.binary(), len(column), [None, pa.py_buffer(offsets.astype("i4")), elements.buffers()[2]]
    )
    there = _there(column)
    head = np.empty((len(column), 6), ">i4")  # length, dimensions, whether NULLs may be, type, size, first index
    head[:] = (20, 1, 1, element, 0, 1)
    head[:, 0] += np.diff(offsets)
    head[:, 4] = counts
    head[counts == 0, :2] = (12, 0)
    head[~there, 0] = -1
    width = np.where(there, np.where(counts == 0, 16, 24), 4)
    kept = np.arange(24)[None, :] < width[:, None]
    return [_bytes(head.view("u1").reshape(-1, 24)[kept], width), contents]
