"""Columns of rows of the binary protocol, decoded with numpy: all values of a column at once.

Each decoder reads its column of all rows, moves the rows' places behind it, and returns an Arrow array: of the type
asked for where that holds every value exactly, else of text. Source: "Binary Protocol Value"
(dev.mysql.com/doc/dev/mysql-server/latest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require
from .binary_times import dates_and_moments, spans
from .decimal_text import decimals
from .types import is_calendar
from .values import Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from .wire import Column

__all__ = ("PAD", "Rows", "decoder")

_FIXED = {
    Kind.TINY: "i1",
    Kind.SHORT: "i2",
    Kind.YEAR: "i2",
    Kind.INT24: "i4",
    Kind.LONG: "i4",
    Kind.LONGLONG: "i8",
    Kind.FLOAT: "f4",
    Kind.DOUBLE: "f8",
}
_MOST = 2**31 - 1  # bytes in an array with 32-bit offsets

PAD = 64  # bytes before the first row and behind the last; values that are longer are copied one by one


class Rows:
    """Rows in one buffer, and where in each the next column begins.

    Attributes:
        buffer: the bytes, `PAD` more before the first row and behind the last.
        bytes: the same as an array.
        at: the places.
        nulls: which rows are NULL in the column that is read now; None where none is.
    """

    def __init__(self, buffer: bytearray, starts: Any, columns: int) -> None:
        np = require("numpy", extra="arrow", purpose="reading frames")
        self.buffer = buffer
        self.bytes = np.frombuffer(buffer, np.uint8)
        self._bitmap = starts + 5  # behind the packet's head and a zero
        self._next = 0
        self.at = self._bitmap + (columns + 9) // 8
        self.nulls: Any = None

    def __len__(self) -> int:
        return len(self.at)

    def begin(self) -> None:
        """Look up which rows are NULL in the next column."""
        bit = self._next + 2
        self._next += 1
        nulls = self.bytes[self._bitmap + bit // 8] & (1 << bit % 8) != 0
        self.nulls = nulls if nulls.any() else None

    def get(self, kind: str, places: Any) -> Any:
        """Return numbers of the numpy type `kind`, least byte first, that begin at the places."""
        np = require("numpy", extra="arrow", purpose="reading frames")
        dtype = np.dtype(kind).newbyteorder(">" if kind[0] == ">" else "<")
        view = np.ndarray((len(self.buffer) - dtype.itemsize + 1,), dtype, self.buffer, 0, (1,))
        return view[places]

    def move(self, sizes: Any) -> None:
        """Move behind values of so many bytes; those that are NULL take none."""
        np = require("numpy", extra="arrow", purpose="reading frames")
        self.at = self.at + (sizes if self.nulls is None else np.where(self.nulls, 0, sizes))

    def take_lengthy(self) -> tuple[Any, Any]:
        """Move behind values that tell their length, and return where they begin and their bytes; 0 for NULL."""
        np = require("numpy", extra="arrow", purpose="reading frames")
        first = self.bytes[self.at]
        if self.nulls is not None:
            first = np.where(self.nulls, 0, first)
        sizes = first.astype(np.int64)
        begin = self.at + 1
        if first.max(initial=0) > 250:
            for mark, width in ((252, 2), (253, 3), (254, 8)):
                wide = first == mark
                if wide.any():
                    told = self.get("u8", begin[wide])
                    sizes[wide] = told if width == 8 else told & ((1 << 8 * width) - 1)
                    begin[wide] += width
        if self.nulls is not None:
            begin = np.where(self.nulls, self.at, begin)
        self.at = begin + sizes
        return begin, sizes

    def validity(self) -> tuple[Any, int]:
        """Return Arrow's bitmap of the values that aren't NULL, and how many are."""
        if self.nulls is None:
            return None, 0
        np = require("numpy", extra="arrow", purpose="reading frames")
        pa = require("pyarrow", extra="arrow", purpose="reading frames")
        return pa.py_buffer(np.packbits(~self.nulls, bitorder="little")), int(self.nulls.sum())

    def array(self, kind: Any, values: Any) -> Any:
        """Return an Arrow array of the type `kind` over a numpy array of values of the same width."""
        pa = require("pyarrow", extra="arrow", purpose="reading frames")
        np = require("numpy", extra="arrow", purpose="reading frames")
        valid, count = self.validity()
        return pa.Array.from_buffers(kind, len(self), [valid, pa.py_buffer(np.ascontiguousarray(values))], count)


def decoder(column: Column) -> Callable[[Rows, Column, Any], Any]:
    """Return what decodes a column: of the rows, the column, and the type asked for."""
    if column.kind in _FIXED:
        return _numbers
    if is_calendar(column):
        return _calendar
    return _DECODERS.get(column.kind, _texts)


def _numbers(rows: Rows, column: Column, kind: Any) -> Any:
    rows.begin()
    name = _FIXED[Kind(column.kind)]
    if column.flags & Flag.UNSIGNED and column.kind != Kind.YEAR and name[0] == "i":
        name = "u" + name[1:]
    array = rows.array(kind, rows.get(name, rows.at))
    rows.move(int(name[1:]))
    return array


def _nothing(rows: Rows, column: Column, kind: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    rows.begin()
    return pa.nulls(len(rows), kind)


def _calendar(rows: Rows, column: Column, kind: Any) -> Any:
    rows.begin()
    return dates_and_moments(rows, column, kind)


def _spans(rows: Rows, column: Column, kind: Any) -> Any:
    rows.begin()
    return rows.array(kind, spans(rows))


def _decimals(rows: Rows, column: Column, kind: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    rows.begin()
    begin, sizes = rows.take_lengthy()
    if pa.types.is_decimal128(kind):
        quick = decimals(rows, begin, sizes, kind.scale)
        if quick is not None:
            return rows.array(kind, quick)
    text = _strings(rows, column, pa.string(), begin, sizes)
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:  # more digits than the server told of
        return text


def _bits(rows: Rows, column: Column, kind: Any) -> Any:
    np = require("numpy", extra="arrow", purpose="reading frames")
    rows.begin()
    begin, sizes = rows.take_lengthy()
    # The last of the eight bytes that end with the value; what is before it is shifted out.
    unused = (8 * (8 - np.clip(sizes, 1, 8))).astype(np.uint64)
    values = rows.get(">u8", begin + sizes - 8).astype(np.uint64) << unused >> unused
    return rows.array(kind, values)


def _texts(rows: Rows, column: Column, kind: Any) -> Any:
    rows.begin()
    return _strings(rows, column, kind, *rows.take_lengthy())


_DECODERS: dict[int, Callable[[Rows, Column, Any], Any]] = {
    Kind.NULL: _nothing,
    Kind.TIME: _spans,
    Kind.DECIMAL: _decimals,
    Kind.NEWDECIMAL: _decimals,
    Kind.BIT: _bits,
}


def _strings(rows: Rows, column: Column, kind: Any, begin: Any, sizes: Any) -> Any:
    np = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    ends = np.cumsum(sizes)
    if len(ends) and ends[-1] > _MOST:
        raise QueryError(f"column {column.name!r} has more than 2 GiB in one batch: read fewer rows a batch")
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    data = _gathered(rows, begin, sizes)
    if pa.types.is_string(kind):
        _check_text(column, data, offsets)
    valid, count = rows.validity()
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(rows), buffers, count)


def _gathered(rows: Rows, begin: Any, sizes: Any) -> Any:
    """Return the values' bytes, one value behind the other."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    widest = int(sizes.max(initial=0))
    if widest == 0:
        return b""
    if widest > PAD:
        view = memoryview(rows.buffer)
        return b"".join([view[start:end] for start, end in zip(begin.tolist(), (begin + sizes).tolist(), strict=True)])
    # As many bytes from each place as the longest has, of which those of the others are left out.
    block = np.ndarray((len(rows.buffer) - widest + 1, widest), np.uint8, rows.buffer, 0, (1, 1))[begin]
    if int(sizes.min()) == widest:
        return block
    return block[np.arange(widest) < sizes[:, None]]


def _check_text(column: Column, data: Any, offsets: Any) -> None:
    """Raise `QueryError` unless each value is UTF-8: Arrow's readers take it on trust."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    flat = np.frombuffer(data, np.uint8)
    if not len(flat) or int(flat.max()) < 0x80:
        return
    begins = offsets[:-1][offsets[:-1] < len(flat)]
    try:
        str(memoryview(flat), "utf-8")
        if not (flat[begins] & 0xC0 == 0x80).any():
            return
    except UnicodeDecodeError:
        pass
    raise QueryError(
        f"column {column.name!r} holds text that is not UTF-8: read it as bytes with CAST(... AS BINARY) in the query"
    )
