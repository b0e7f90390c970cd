"""COPY's binary values decoded to Arrow with numpy. Which bytes are a value is told by `copy_rows`.

What Arrow and Python have no value for (infinite dates, years before 1 and after 9999, 24:00, NaN in a numeric) makes
the whole column of that batch text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require
from . import copy_texts as texts
from .copy_rows import Buffer, Fields, Rows, fields_of
from .types import Kind

if TYPE_CHECKING:
    from numpy import ndarray
    from pyarrow import Array, DataType, RecordBatch, Schema

    Numbers = ndarray[Any, Any]

__all__ = ("decode", "refuse_duplicates")

EPOCH_DAYS = 10957  # from 1970-01-01 to 2000-01-01, where PostgreSQL counts from
EPOCH_US = EPOCH_DAYS * 86_400_000_000
_DAYS = (-719162 - EPOCH_DAYS, 2932896 - EPOCH_DAYS)  # years 1 to 9999
_US = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)
_NS_LIMIT = 2**63 // 1000


def refuse_duplicates(names: Iterable[str]) -> None:
    """Raise QueryError if columns of a frame would have the same name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise QueryError(f"the result has columns of the same name: {listed}: give each its own with AS")


def decode(rows: Rows, names: Sequence[str], kinds: Sequence[Kind], schema: Schema | None = None) -> RecordBatch:
    """Return rows as a record batch.

    Args:
        rows: where they are.
        names: of the columns.
        kinds: of the columns.
        schema: that of the batches before, which all values must fit.

    Raises:
        QueryError: a value doesn't fit `schema`.
    """
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    fields = fields_of(rows, len(kinds))
    if fields is None:
        raise QueryError("the result's columns changed while it was read: try again")
    arrays = []
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        wanted = None if schema is None else schema.field(place).type
        array = _column(rows.buffer, fields[place], kind, wanted)
        if wanted is not None and array.type != wanted:
            raise QueryError(
                f"column {name!r} holds a value that is no {wanted}, and the rows before had that type: "
                f"give it one type with CAST(... AS text) in the query, or read it as one frame"
            )
        arrays.append(array)
    batch: RecordBatch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    return batch


def _column(buffer: Buffer, fields: Fields, kind: Kind, wanted: DataType | None) -> Array[Any]:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    if kind.is_array:
        return _arrays(buffer, fields, kind, wanted)
    as_text = wanted is not None and bool(pa.types.is_string(wanted))
    return _values(buffer, fields, kind, as_text=as_text)


def _values(buffer: Buffer, fields: Fields, kind: Kind, *, as_text: bool) -> Array[Any]:
    """Return the values as their type, or as text where one has no place in it or `as_text` asks for it."""
    reader = _READERS[kind.wire]
    array = None if as_text and kind.wire in texts.TEXTS else reader(buffer, fields, kind)
    if array is None:
        return texts.as_texts(buffer, fields, kind.wire)
    return array


def _nulls(fields: Fields) -> tuple[Any, int, Any]:
    """Return the validity bitmap (None where all are there), the number of NULLs, and which ones are there."""
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    there = fields.lengths >= 0
    missing = len(there) - int(np.count_nonzero(there))
    if not missing:
        return None, 0, there
    return pa.py_buffer(np.packbits(there, bitorder="little")), missing, there


def _made(kind: DataType, fields: Fields, values: Numbers) -> Array[Any]:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    valid, missing, _ = _nulls(fields)
    array: Array[Any] = pa.Array.from_buffers(kind, len(fields.lengths), [valid, pa.py_buffer(values)], missing)
    return array


def _check(fields: Fields, size: int) -> None:
    lengths = fields.lengths
    if not bool(((lengths == size) | (lengths == -1)).all()):
        raise QueryError("a column changed its type while it was read: try again")


def _number(dtype: str) -> Callable[[Buffer, Fields, Kind], Array[Any] | None]:
    size = int(dtype[-1])

    def read(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
        _check(fields, size)
        return _made(kind.type, fields, buffer.at(f">{dtype}", fields.places).astype(f"<{dtype}"))

    return read


def _bool(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    _check(fields, 1)
    return _made(kind.type, fields, np.packbits(buffer.bytes[fields.places] != 0, bitorder="little"))


def _text(buffer: Buffer, fields: Fields, kind: Kind, skip: int = 0) -> Array[Any] | None:
    """Read text or bytes: as a large array of values and what is between them, of which Arrow takes the values."""
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    count = len(fields.lengths)
    offsets = np.empty(2 * count, "i8")
    offsets[0::2] = fields.places + skip
    offsets[1::2] = fields.places + fields.lengths.clip(0)
    if skip:
        np.maximum.accumulate(offsets, out=offsets)
    binary = pa.types.is_binary(kind.type)
    small = not count or int(offsets[-1]) < 2**31
    whole_type = (
        (pa.binary() if small else pa.large_binary()) if binary else (pa.string() if small else pa.large_string())
    )
    whole = pa.Array.from_buffers(
        whole_type,
        max(2 * count - 1, 0),
        [None, pa.py_buffer(offsets.astype("i4") if small else offsets), pa.py_buffer(buffer.data)],
    )
    there = fields.lengths >= 0
    wanted = pa.array(np.arange(0, 2 * count, 2), mask=None if there.all() else ~there)
    try:
        array: Array[Any] = whole.take(wanted)
        return array if array.type == kind.type or not pa.types.is_decimal(kind.type) else None
    finally:
        del whole


def _jsonb(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    versions = buffer.bytes[fields.places[fields.lengths > 0]]
    if not bool((versions == 1).all()):
        raise QueryError("the server sends jsonb in a version that is not known: CAST it to text in the query")
    return _text(buffer, fields, kind, skip=1)


def _uuid(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    _check(fields, 16)
    count = len(fields.lengths)
    raw = buffer.bytes[fields.places[:, None] + np.arange(16)]
    digits = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "u2")
    plain = digits[raw].view("u1").reshape(count, 32)
    text = np.full((count, 36), ord("-"), "u1")
    for begin, end, shift in ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4)):
        text[:, begin + shift : end + shift] = plain[:, begin:end]
    valid, missing, _ = _nulls(fields)
    offsets = np.arange(0, 36 * count + 1, 36, dtype="i4")
    array: Array[Any] = pa.Array.from_buffers(
        kind.type, count, [valid, pa.py_buffer(offsets), pa.py_buffer(text)], missing
    )
    return array


def _moments(dtype: str, low: int, high: int, shift: int) -> Callable[[Buffer, Fields, Kind], Array[Any] | None]:
    """Return the reader of dates or times: counted from another day, None where one is not from `low` to `high`."""
    size = int(dtype[-1])

    def read(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
        _check(fields, size)
        values = buffer.at(f">{dtype}", fields.places).astype(f"<{dtype}")
        there = fields.lengths >= 0
        seen = values if there.all() else values[there]
        if len(seen) and not (low <= int(seen.min()) and int(seen.max()) <= high):
            return None
        if shift:
            values += shift
        return _made(kind.type, fields, values)

    return read


def _interval(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    _check(fields, 16)
    micros = buffer.at(">i8", fields.places).astype("<i8")
    there = fields.lengths >= 0
    seen = micros[there]
    if len(seen) and not (int(seen.min()) >= -_NS_LIMIT and int(seen.max()) <= _NS_LIMIT):
        return None
    values = np.zeros(len(micros), np.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")]))
    values["months"] = buffer.at(">i4", fields.places + 12)
    values["days"] = buffer.at(">i4", fields.places + 8)
    values["nanos"] = np.where(there, micros, 0) * 1000
    return _made(kind.type, fields, values.view("u1"))


def _numeric(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    """Read numerics of at most 18 digits: each has groups of four decimal digits, the first one worth 10000^weight."""
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    there = fields.lengths >= 0
    places = fields.places if there.all() else np.where(there, fields.places, len(buffer.bytes) - 16)
    groups = buffer.at(">i2", places)
    weights = buffer.at(">i2", places + 2).astype("i4")
    signs = buffer.at(">u2", places + 4)
    scales = buffer.at(">u2", places + 6)
    if bool((signs > 0x4000).any()):  # NaN and the infinities
        return None
    if not bool((scales[there] == kind.scale).all()):
        raise QueryError("a column changed its type while it was read: try again")
    total = np.zeros(len(places), "i8")
    for group in range(int(groups.max(initial=0))):
        some = groups > group
        every = bool(some.all())
        at = places if every else places[some]
        digits = buffer.at(">i2", at + (8 + 2 * group)).astype("i8")
        power = (weights if every else weights[some]) * 4 + (kind.scale - 4 * group)
        digits = digits * _TENS[power.clip(0, 18)] // _TENS[(-power).clip(0, 18)]
        if every:
            total += digits
        else:
            total[some] += digits
    np.negative(total, out=total, where=signs == 0x4000)
    values = np.empty((len(total), 2), "<i8")
    values[:, 0] = total
    values[:, 1] = total >> 63
    return _made(kind.type, fields, values)


class _Tens:
    """The powers of ten that an int64 holds, made when first asked for."""

    _powers: Any = None

    def __getitem__(self, exponents: Numbers) -> Numbers:
        if self._powers is None:
            np: Any = require("numpy", extra="arrow", purpose="reading frames")
            self._powers = 10 ** np.arange(19, dtype="i8")
        found: Numbers = self._powers[exponents]
        return found


_TENS = _Tens()


def _inet(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    """Read addresses, which cast to text have the mask of a single host that the server doesn't show otherwise."""
    pc: Any = require("pyarrow.compute", extra="arrow", purpose="reading frames")
    text = _text(buffer, fields, kind)
    array: Array[Any] = pc.replace_substring_regex(text, r"^([^:]+)/32$|^(.+:.*)/128$", r"\1\2")
    return array


def _numeric_text(buffer: Buffer, fields: Fields, kind: Kind) -> Array[Any] | None:
    """Read numerics that come as text; None where Arrow's decimals have no such value."""
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    text: Any = _text(buffer, fields, Kind("text", pa.string()))
    try:
        array: Array[Any] = text.cast(kind.type)
        return array
    except pa.ArrowInvalid:
        return None


_READERS: dict[str, Callable[[Buffer, Fields, Kind], Array[Any] | None]] = {
    "bool": _bool,
    "bytea": _text,
    "date": _moments("i4", *_DAYS, EPOCH_DAYS),
    "inet": _inet,
    "float4": _number("f4"),
    "float8": _number("f8"),
    "int2": _number("i2"),
    "int4": _number("i4"),
    "int8": _number("i8"),
    "interval": _interval,
    "jsonb": _jsonb,
    "numeric": _numeric,
    "numeric text": _numeric_text,
    "oid": _number("u4"),
    "text": _text,
    "time": _moments("i8", 0, 86_400_000_000 - 1, 0),
    "timestamp": _moments("i8", *_US, EPOCH_US),
    "timestamptz": _moments("i8", *_US, EPOCH_US),
    "uuid": _uuid,
}


# Arrays


def _arrays(buffer: Buffer, fields: Fields, kind: Kind, wanted: DataType | None) -> Array[Any]:
    """Read arrays as lists, those of several dimensions as lists of lists."""
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    there = fields.lengths >= 0
    places = fields.places[there]
    ranks = buffer.at(">i4", places)
    met = sorted(set(ranks.tolist()) - {0})
    if len(met) > 1:
        listed = " and ".join(map(str, met))
        raise QueryError(f"a column's arrays have {listed} dimensions, which no frame holds: CAST it to text or json")
    rank = met[0] if met else 1
    empty = ranks == 0
    sizes = []
    for dimension in range(rank):
        size = buffer.at(">i4", np.where(empty, 0, places + 12 + 8 * dimension)).astype("i8")
        sizes.append(np.where(empty, 0, size))
    counts = sizes[0].copy()
    for size in sizes[1:]:
        counts *= size
    elements = _elements(buffer, places + 12 + 8 * rank, counts)
    as_text = wanted is not None and bool(pa.types.is_string(_innermost(wanted)))
    array = _values(buffer, elements, Kind(kind.wire, kind.type, scale=kind.scale), as_text=as_text)
    inner = np.ones(len(places), "i8")
    lengths = []
    for size in sizes:
        lengths.append(np.repeat(size, inner))
        inner = inner * size
    for each in lengths[:0:-1]:
        array = _listed(array, each, None, 0)
    outer = np.zeros(len(there), "i8")
    outer[there] = lengths[0]
    valid, missing, _ = _nulls(fields)
    return _listed(array, outer, valid, missing)


def _innermost(kind: DataType) -> DataType:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    inner: Any = kind
    while pa.types.is_list(inner):
        inner = inner.value_type
    found: DataType = inner
    return found


def _listed(values: Array[Any], lengths: Numbers, valid: Any, missing: int) -> Array[Any]:
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    offsets = np.zeros(len(lengths) + 1, "i4")
    np.cumsum(lengths, out=offsets[1:])
    array: Array[Any] = pa.Array.from_buffers(
        pa.list_(values.type), len(lengths), [valid, pa.py_buffer(offsets)], missing, children=[values]
    )
    return array


def _elements(buffer: Buffer, begins: Numbers, counts: Numbers) -> Fields:
    """Return where the elements of arrays are: those of all arrays one step at a time, or of one after the other."""
    np: Any = require("numpy", extra="arrow", purpose="reading frames")
    total = int(counts.sum())
    places, lengths = np.zeros(total, "i8"), np.zeros(total, "i4")
    longest = int(counts.max(initial=0))
    if total < 8 * longest:
        _walk_elements(buffer, begins.tolist(), counts.tolist(), places, lengths)
        return Fields(places, lengths)
    firsts = np.cumsum(counts) - counts
    for step in range(longest):
        some = counts > step
        begins, counts, firsts = begins[some], counts[some], firsts[some]
        found = buffer.at(">i4", begins).astype("i4")
        places[firsts + step], lengths[firsts + step] = begins + 4, found
        begins = begins + 4 + found.clip(0)
    return Fields(places, lengths)


def _walk_elements(buffer: Buffer, begins: list[int], counts: list[int], places: Numbers, lengths: Numbers) -> None:
    data = memoryview(buffer.bytes)
    place = 0
    for begin, count in zip(begins, counts, strict=True):
        for _ in range(count):
            length = int.from_bytes(data[begin : begin + 4], "big", signed=True)
            places[place], lengths[place] = begin + 4, length
            begin += 4 + max(length, 0)
            place += 1
