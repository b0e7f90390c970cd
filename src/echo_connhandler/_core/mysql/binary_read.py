"""Rows of the binary protocol cut out of what is received, and decoded with numpy into Arrow record batches.

Source: "Binary Protocol Resultset" (dev.mysql.com/doc/dev/mysql-server/latest). The columns' decoders are in
`binary_columns`.
"""

from __future__ import annotations

from collections import Counter
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import QueryError
from ..extras import require
from .binary_columns import PAD, Rows, decoder
from .types import arrow_type
from .wire import ends_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import RecordBatch, Schema

    from .wire import Column, Inbox, Talk

__all__ = ("Piece", "check_names", "decode", "take_piece", "unfit")

_LARGEST = 0xFFFFFF
_HEAD = Struct("<IB").unpack_from  # length and number of a packet, and its first byte


class Piece(NamedTuple):
    """Some rows as they came.

    Attributes:
        data: what was received, `PAD` bytes before and behind it.
        starts: where each row's first packet begins.
        long: which of them came in several packets, with the places of the packets.
        last: the packet that ended the rows, None where more follow.
    """

    data: bytearray
    starts: list[int]
    long: dict[int, list[int]]
    last: bytes | None


def take_piece(inbox: Inbox, rows: int, most: float) -> Talk[Piece]:
    """Take rows out of the inbox, receiving what is missing.

    Args:
        inbox: where the next row begins; afterwards what follows the piece is in it.
        rows: how many, if so many come.
        most: bytes after which fewer rows will do.
    """
    data = bytearray(PAD)
    data += memoryview(inbox.data)[inbox.at :]
    inbox.data, inbox.at = b"", 0
    starts: list[int] = []
    long: dict[int, list[int]] = {}
    at = PAD
    while True:
        at, ended = _cut(data, at, starts, long, rows)
        if ended or len(starts) >= rows or (at > most and starts):
            break
        data += yield b""
    last = None
    end = at
    if ended:
        end = at + 4 + int.from_bytes(data[at : at + 3], "little")
        last = bytes(data[at + 4 : end])
    inbox.data = bytes(memoryview(data)[end:])
    del data[at:]
    data += bytes(PAD)
    return Piece(data, starts, long, last)


def _cut(data: bytearray, at: int, starts: list[int], long: dict[int, list[int]], rows: int) -> tuple[int, bool]:
    """Find the rows that are complete; return the place behind them, and whether the packet there ends all rows."""
    head, found, size = _HEAD, starts.append, len(data)
    last = size - 5
    for _ in range(rows - len(starts)):
        if at > last:
            return at, False
        length, first = head(data, at)
        length &= 0xFFFFFF
        end = at + 4 + length
        if first > 0xFD and ends_rows(first, length):
            return at, end <= size
        if length == _LARGEST:
            parts = _parts(data, at)
            if parts is None:
                return at, False
            long[len(starts)] = parts[:-1]
            end = parts[-1]
        if end > size:
            return at, False
        found(at)
        at = end
    return at, False


def _parts(data: bytearray, at: int) -> list[int] | None:
    """Return where the packets of a row begin, and where it ends; None if it is not complete."""
    parts = [at]
    while len(data) >= at + 4:
        length = int.from_bytes(data[at : at + 3], "little")
        at += 4 + length
        parts.append(at)
        if length < _LARGEST:
            return parts if at <= len(data) else None
    return None


def _joined(piece: Piece) -> tuple[bytearray, list[int]]:
    """Return the piece's data and starts with rows that came in several packets in one."""
    data, starts = piece.data, list(piece.starts)
    made = bytearray()
    done = 0
    for row, parts in piece.long.items():
        for part in parts[1:]:
            made += memoryview(data)[done:part]
            done = part + 4
        cut = 4 * (len(parts) - 1)
        starts[row + 1 :] = [start - cut for start in starts[row + 1 :]]
    made += memoryview(data)[done:]
    return made, starts


def check_names(columns: Sequence[Column]) -> None:
    """Raise `QueryError` where two columns have the same name."""
    twice = [name for name, count in Counter(column.name for column in columns).items() if count > 1]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise QueryError(f"the result has columns of the same name: {listed}: give each its own with AS")


def decode(columns: Sequence[Column], piece: Piece, schema: Schema | None) -> RecordBatch:
    """Return the rows of a piece as a record batch.

    Args:
        columns: those of the result.
        piece: the rows.
        schema: what the batch must have; None takes for a column what holds its values exactly.

    Raises:
        QueryError: a value does not fit `schema`, or a column has more than 2 GiB.
    """
    np = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    data, starts = _joined(piece) if piece.long else (piece.data, piece.starts)
    rows = Rows(data, np.array(starts, np.int64), len(columns))
    arrays = []
    for place, column in enumerate(columns):
        kind = arrow_type(column) if schema is None else schema.field(place).type
        array = decoder(column)(rows, column, kind)
        if schema is not None and array.type != kind:
            raise unfit(column, kind)
        arrays.append(array)
    batch: RecordBatch = (
        pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
        if schema is None
        else pa.RecordBatch.from_arrays(arrays, schema=schema)
    )
    return batch


def unfit(column: Column, kind: Any) -> QueryError:
    """Return the error for a batch whose column does not have the type of those before."""
    return QueryError(
        f"column {column.name!r} holds a value that {kind}, the type of the rows before, can't hold, "
        "like the date 0000-00-00: read it as text with CAST(... AS CHAR) in the query"
    )
