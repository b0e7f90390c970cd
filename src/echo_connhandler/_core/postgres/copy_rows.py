"""Where the rows and fields of COPY's binary format are in a buffer; nothing is decoded here.

The format: PostgreSQL's documentation of COPY, "Binary Format". The protocol: "Message Formats", where it says that a
server's CopyData message is one row.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConnectionFailedError
from ..extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy import ndarray

    Positions = ndarray[Any, Any]

__all__ = (
    "SIGNATURE",
    "SLACK",
    "Buffer",
    "Fields",
    "MarkedRows",
    "MessageRows",
    "Rows",
    "fields_of",
    "rows_of_messages",
    "walk_rows",
)

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
SLACK = bytes(32)  # behind each buffer, so that a value's place may be read where a NULL has none
_INT2 = struct.Struct(">h").unpack_from
_INT4 = struct.Struct(">i").unpack_from
_END = b"\xff\xff"
_ROOM = 1 << 18  # bytes that a read from the network may bring
_NOT_COPY = "the server's answer to COPY can't be understood"
_ROW, _COPIES, _ERROR, _READY = b"dHEZ"
_ANY_TIME = b"NSA"  # a notice, a setting that changed, a notification


class Buffer:
    """Bytes, and numbers of any type at any place in them. The last `SLACK` bytes are no data."""

    def __init__(self, data: Any) -> None:
        self._numpy: Any = require("numpy", extra="arrow", purpose="reading frames")
        self.data = data
        self.bytes = self._numpy.frombuffer(data, "u1")

    def at(self, dtype: str, places: Positions) -> Positions:
        """Return the numbers of a numpy type that begin at `places`."""
        count = len(self.bytes) - self._numpy.dtype(dtype).itemsize + 1
        view = self._numpy.ndarray((count,), dtype, self.data, 0, (1,))
        found: Positions = view[places]
        return found


class Fields(NamedTuple):
    """One column's values: where each begins, and how many bytes it has, -1 for NULL."""

    places: Positions
    lengths: Positions


class Rows(NamedTuple):
    """Rows in a buffer: where each one's first field begins, with its length, and where the row ends.

    `fields` are those of all columns where they were looked up already.
    """

    buffer: Buffer
    begins: Positions
    ends: Positions
    fields: list[Fields] | None = None


def fields_of(rows: Rows, columns: int) -> list[Fields] | None:
    """Return where the values of all columns are; None if they don't end where the rows do."""
    if rows.fields is not None:
        return rows.fields
    found = []
    place = rows.begins
    try:
        for _ in range(columns):
            lengths = rows.buffer.at(">i4", place).astype("i4")
            place = place + 4
            found.append(Fields(place, lengths))
            place = place + lengths.clip(0)
    except IndexError:
        return None
    return found if bool((place == rows.ends).all()) else None


def header_length(data: Any) -> int:
    """Return the length of the header with which a COPY begins."""
    if bytes(data[: len(SIGNATURE)]) != SIGNATURE:
        raise ConnectionFailedError("the server's COPY does not begin as PostgreSQL's binary format does")
    return len(SIGNATURE) + 8 + int(_INT4(data, len(SIGNATURE) + 4)[0])


def rows_of_messages(buffer: Buffer, begins: Sequence[int], ends: Sequence[int], columns: int) -> Rows:
    """Return the rows that lie in pieces of a buffer, one in each; the pieces of the header and the end are no rows."""
    numpy: Any = require("numpy", extra="arrow", purpose="reading frames")
    first, last = numpy.array(begins, "i8"), numpy.array(ends, "i8")
    counts = buffer.at(">i2", first)
    rows = (counts == columns) & (first < last)
    if not rows.all():
        wrong = counts[~rows & (first < last)]
        if not bool((wrong == -1).all()):
            raise ConnectionFailedError(f"the server's COPY has a row of {int(wrong[0])} fields instead of {columns}")
        first, last = first[rows], last[rows]
    return Rows(buffer, first + 2, last)


def walk_rows(data: Any, begin: int, end: int, columns: int) -> list[int]:
    """Return where rows begin from `begin` to `end`, and where the last ends, by walking from field to field."""
    found = [begin]
    while begin < end:
        if begin == end - 2 and data[begin:end] == _END:
            return found
        if _INT2(data, begin)[0] != columns:
            raise ConnectionFailedError("the server's COPY has a row of another number of fields")
        begin += 2
        for _ in range(columns):
            begin += 4 + max(_INT4(data, begin)[0], 0)
        found.append(begin)
    if begin != end:
        raise ConnectionFailedError("the server's COPY ends within a row")
    return found


class MessageRows:
    """Rows in a server's messages as they come off the wire, in a buffer that is used again and again."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._data = bytearray(_ROOM * 4)
        self._filled = 0
        self._walked = 0
        self._begins: list[int] = []  # of the messages since the answer began, up to `_walked`
        self._begun = self._headed = False
        self.error: dict[int, bytes] | None = None  # the server's, by the letters of its fields
        self.done = False  # the server is ready for another statement

    @property
    def waiting(self) -> int:
        """How many rows are there; at the end, one or two too many."""
        return len(self._begins)

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self._filled

    def room(self) -> memoryview:
        """Return where the next bytes go."""
        if len(self._data) - len(SLACK) - self._filled < _ROOM:
            grown = bytearray(2 * len(self._data))
            grown[: self._filled] = memoryview(self._data)[: self._filled]
            self._data = grown
        return memoryview(self._data)[self._filled : -len(SLACK)]

    def filled(self, count: int) -> None:
        """Note that so many bytes were put there."""
        self._filled += count
        data, end, place, begins = self._data, self._filled, self._walked, self._begins
        last = end - 5
        known = len(begins)
        add = begins.append
        while place <= last:
            add(place)
            place += _INT4(data, place + 1)[0] + 1
        if place > end:  # the last message is not all there
            place = begins.pop()
        self._walked = place
        if not self._begun:
            known = 0
            if place <= last and _INT4(data, place + 1)[0] > _ROOM:
                raise ConnectionFailedError(_NOT_COPY)
            self._begin()
        if len(begins) > known and data[begins[-1]] == _READY:
            self._end()

    def put(self, data: bytes) -> None:
        """Take bytes from elsewhere."""
        view = memoryview(data)
        while view:
            room = self.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.filled(count)
            view = view[count:]

    def _begin(self) -> None:
        """Drop what comes before the first row."""
        for place, begin in enumerate(self._begins):
            if self._data[begin] in (_COPIES, _ERROR):
                self._begun = True
                self._begins[:] = self._begins[place + (self._data[begin] == _COPIES) :]
                return
            if self._data[begin] not in _ANY_TIME:
                raise ConnectionFailedError(_NOT_COPY)

    def _end(self) -> None:
        """Drop what comes after the last row."""
        self.done = True
        while self._begins and self._data[self._begins[-1]] != _ROW:
            begin = self._begins.pop()
            if self._data[begin] == _ERROR:
                self.error = _error_fields(bytes(self._data[begin + 5 : begin + 1 + _INT4(self._data, begin + 1)[0]]))

    def forget(self) -> None:
        """Forget all whole messages."""
        self._move(len(self._begins), self._walked)

    def whole(self) -> bytes:
        """Return the messages with rows that are there, and forget them."""
        begins, self._begins = self._begins, []
        kept = b""
        if begins:
            last = begins[-1]
            kept = bytes(self._data[begins[0] : last + 1 + _INT4(self._data, last + 1)[0]])
        self._move(0, self._walked)
        return kept

    def _move(self, count: int, place: int) -> None:
        rest = self._filled - place
        self._data[:rest] = memoryview(self._data)[place : self._filled].tobytes()
        self._begins = [begin - place for begin in self._begins[count:]]
        self._filled, self._walked = rest, max(self._walked - place, 0)

    def take(self, rows: int) -> tuple[Rows, int]:
        """Return the next rows, at most `rows`, and how many messages they take: for `drop` when they were read."""
        numpy: Any = require("numpy", extra="arrow", purpose="reading frames")
        count = min(rows, len(self._begins))
        begins = numpy.array(self._begins[:count], "i8")
        buffer = Buffer(self._data)
        if not count:
            return Rows(buffer, begins, begins), 0
        ends = begins + 1 + buffer.at(">i4", begins + 1)
        kinds = buffer.bytes[begins]
        plain = kinds == _ROW
        if not plain.all():
            begins, ends = begins[plain], ends[plain]
        begins = begins + 5
        if not self._headed and len(begins):
            self._headed = True
            begins[0] += header_length(memoryview(self._data)[int(begins[0]) : int(ends[0])])
        return rows_of_messages(buffer, begins, ends, self._columns), count

    def drop(self, count: int) -> None:
        """Forget so many messages."""
        place = self._begins[count] if count < len(self._begins) else self._walked
        self._move(count, place)


def _error_fields(body: bytes) -> dict[int, bytes]:
    return {part[0]: part[1:] for part in body.split(b"\0") if part}


class MarkedRows:
    """Rows that come in pieces without telling where each begins. The query gives each a first field to know it by.

    Data may hold the same bytes: whether rows are what they seem is checked, and if not they are walked through.

    Args:
        mark: the eight random bytes of the first field, an int8.
        columns: the number of fields after it.
    """

    def __init__(self, mark: bytes, columns: int) -> None:
        self._columns = columns
        self._head = struct.pack(">hi", columns + 1, 8) + mark
        self._parts: deque[tuple[bytes, int]] = deque()  # whole rows, and about how many
        self._begun = False
        self.waiting = 0  # rows, at least about
        self.size = 0  # bytes

    def feed(self, piece: bytes) -> None:
        """Take a piece: whole rows, before them the header where it is the first, after them the end."""
        if not self._begun:
            self._begun = True
            piece = piece[header_length(piece) :]
        if piece:
            self._add(self._parts.append, piece, piece.count(self._head))

    def _add(self, put: Callable[[tuple[bytes, int]], None], piece: bytes, rows: int) -> None:
        put((piece, rows))
        self.waiting += rows
        self.size += len(piece)

    def gather(self, rows: int) -> list[bytes]:
        """Return pieces with at least so many rows, or all, and forget them."""
        parts = []
        while self._parts and rows > 0:
            piece, count = self._parts.popleft()
            parts.append(piece)
            self.waiting -= count
            self.size -= len(piece)
            rows -= count
        if not self.waiting:  # the end of the COPY goes with the last row
            parts += [piece for piece, _ in self._parts]
            self._parts.clear()
            self.size = 0
        return parts

    def restore(self, rest: bytes, rows: int) -> None:
        """Put back what is left of what was gathered, before what came meanwhile."""
        if rest:
            self._add(self._parts.appendleft, rest, rows)

    def split(self, parts: list[bytes], rows: int) -> tuple[Rows, bytes, int]:
        """Return the first rows of what was gathered, at most `rows`, and the rest with the number of its rows."""
        numpy: Any = require("numpy", extra="arrow", purpose="reading frames")
        data = b"".join([*parts, SLACK])
        end = len(data) - len(SLACK)
        if data.endswith(_END + SLACK) and self._ends_with_trailer(data, end):
            end -= len(_END)
        begins = self._find(data, end)
        taken = Rows(Buffer(data), begins[:-1] + len(self._head), begins[1:])
        fields = fields_of(taken, self._columns)
        if begins[0] != 0 or fields is None:
            begins = numpy.array(walk_rows(data, 0, len(data) - len(SLACK), self._columns + 1), "i8")
            taken = Rows(taken.buffer, begins[:-1] + len(self._head), begins[1:])
            fields = fields_of(taken, self._columns)
        if fields is not None:
            taken = taken._replace(fields=[Fields(each.places[:rows], each.lengths[:rows]) for each in fields])
        left = max(len(begins) - 1 - rows, 0)
        if not left:
            return taken, b"", 0
        kept = taken._replace(begins=taken.begins[:rows], ends=taken.ends[:rows])
        return kept, data[int(begins[rows]) : -len(SLACK)], left

    def _find(self, data: bytes, end: int) -> Positions:
        """Return where rows seem to begin, and where the last one ends."""
        numpy: Any = require("numpy", extra="arrow", purpose="reading frames")
        lengths = numpy.fromiter(map(len, data[:end].split(self._head)), "i8")
        begins: Positions = numpy.cumsum(lengths + len(self._head)) - len(self._head)
        return begins

    def _ends_with_trailer(self, data: bytes, end: int) -> bool:
        """Tell whether the last two bytes are the end of the COPY, not of a row."""
        begin = data.rfind(self._head, 0, end)
        try:
            walk_rows(data, max(begin, 0), end - 2, self._columns + 1)
        except (ConnectionFailedError, struct.error):
            return False
        return True
