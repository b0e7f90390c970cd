"""Arrow record batches made into what COPY ... FROM STDIN reads: binary where all columns can, else CSV.

A column's values are first made what its target type holds, exactly or with an error that names the value; then they
are put into pieces of bytes, and Arrow joins the pieces of each row.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require
from .copy_encode import ENCODERS, encode_array
from .copy_fit import fit, text_of
from .copy_plan import Question, copy_in, literal
from .copy_rows import SIGNATURE
from .types import ARRAYS, WIRES

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch

    from ..sqlvalues import Target

__all__ = ("Field", "Loading", "encode_rows", "loading")

_ROWS = 16_384  # put together at once: more fell out of the processor's cache, fewer cost calls
_MOST = 1 << 28  # bytes, so that offsets of 32 bits do
_NAME = re.compile(r'"((?:[^"]|"")*)"')


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the target: its type's number and name, the binary form of its values, "" where that's not known."""

    oid: int
    type: str
    wire: str
    element: int = 0  # the type of an array's elements


@dataclass(slots=True)
class Loading:
    """A batch on its way: the COPY statement, the table's schema (None for the search path's) and name, the bytes."""

    target: Target
    fields: Sequence[Field]
    columns: Sequence[Array[Any]]
    binary: bool
    statement: str = field(init=False)

    def __post_init__(self) -> None:
        self.statement = copy_in(self.target.table, self.target.columns, "binary" if self.binary else "csv")

    @property
    def table(self) -> tuple[str | None, str]:
        names = [name.replace('""', '"') for name in _NAME.findall(self.target.table)]
        return (names[-2] if len(names) > 1 else None), names[-1]

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes for COPY."""
        if self.binary:
            return encode_rows(self.fields, self.columns)
        return iter((_csv(self.columns),))

    def check(self, catalog: dict[Any, Any]) -> Generator[Question, list[tuple[Any, ...]], None]:
        """Make sure that the table was what it seemed: binary values of another type might be taken for its own."""
        if (yield from _fields(self.target)) != list(self.fields):
            del catalog["targets"][self.target]
            raise QueryError(f"the table {self.target.table} was changed while it was written to: try again")


def loading(
    target: Target, batch: RecordBatch, catalog: dict[Any, Any]
) -> Generator[Question, list[tuple[Any, ...]], Loading]:
    """Return how a batch is loaded, after asking for the types of the target's columns where they aren't known.

    Raises:
        InvalidRequestError: a value doesn't fit its column, which the message names.
        QueryError: the target lacks a column.
    """
    known: dict[Any, list[Field]] = catalog.setdefault("targets", {})
    if len(known) > 100:  # staging tables come and go
        known.clear()
    fields = known.get(target)
    if fields is None:
        fields = known[target] = yield from _fields(target)
    columns: list[Any] = []
    binary = True
    for name, each, column in zip(target.columns, fields, batch.columns, strict=True):
        fitted = fit(column, each.wire, each.type, name, is_array=each.element != 0)
        binary = binary and fitted is not None
        columns.append(fitted)
    if not binary:
        columns = [text_of(column, name) for name, column in zip(target.columns, batch.columns, strict=True)]
    return Loading(target, fields, columns, binary)


def _fields(target: Target) -> Generator[Question, list[tuple[Any, ...]], list[Field]]:
    rows = yield Question(
        "SELECT a.attname::text, a.atttypid::int8, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typtype::text, "
        "CASE WHEN t.typcategory = 'A' THEN t.typelem::int8 ELSE 0 END, t.typbasetype::int8 "
        "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
        f"WHERE a.attrelid = {literal(target.table)}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped"
    )
    known = {name: _field(*rest) for name, *rest in rows}
    missing = [name for name in target.columns if name not in known]
    if missing:
        raise QueryError(f"the table {target.table} has no column {', '.join(map(repr, missing))}", code="42703")
    return [known[name] for name in target.columns]


def _field(oid: int, name: str, kind: str, element: int, base: int) -> Field:
    own = base if kind == "d" else oid
    if own in ARRAYS:
        return Field(oid, name, WIRES[ARRAYS[own]] if WIRES[ARRAYS[own]] in ENCODERS else "", ARRAYS[own])
    wire = "text" if kind == "e" else WIRES.get(own, "")
    return Field(oid, name, wire if wire in ENCODERS and not element else "")


def encode_rows(fields: Sequence[Field], columns: Sequence[Array[Any]]) -> Iterator[bytes]:
    """Yield the bytes of COPY's binary format for columns that `fit` has made what their targets hold."""
    yield SIGNATURE + bytes(8)
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    count = len(columns[0]) if columns else 0
    size = sum(column.nbytes for column in columns) // max(count, 1) + 16 * len(columns)
    step = max(1, min(_ROWS, _MOST // max(size, 1)))
    head = pa.scalar(len(columns).to_bytes(2, "big"), pa.binary())
    for begin in range(0, count, step):
        pieces: list[Array[Any]] = []
        for each, column in zip(fields, columns, strict=True):
            part = column.slice(begin, step)
            pieces += encode_array(part, each.wire, each.element) if each.element else ENCODERS[each.wire](part)
        joined = pc.binary_join_element_wise(head, *pieces, pa.scalar(b"", pa.binary()))
        yield _contents(joined)
    yield b"\xff\xff"


def _contents(joined: Any) -> bytes:
    np: Any = require("numpy", extra="arrow", purpose="writing frames")
    _, offsets, data = joined.buffers()
    places = np.frombuffer(offsets, "i4")[joined.offset : joined.offset + len(joined) + 1]
    whole: bytes = memoryview(data)[int(places[0]) : int(places[-1])].tobytes()
    return whole


def _csv(columns: Sequence[Array[Any]]) -> bytes:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    csv = require("pyarrow.csv", extra="arrow", purpose="writing frames")
    table = pa.table(list(columns), names=[f"c{place}" for place in range(len(columns))])
    out = BytesIO()
    csv.write_csv(table, out, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return out.getvalue()
