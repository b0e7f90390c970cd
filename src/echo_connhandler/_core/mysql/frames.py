"""A query whose result becomes record batches: how it is begun, and how its parts are received and decoded. No I/O."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ParameterError, QueryError
from ..extras import require
from .binary_params import encode_params
from .binary_read import Piece, check_names, decode, take_piece, unfit
from .literals import with_values
from .reading import Reading
from .text import check_statement
from .types import arrow_type
from .values import has_floats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import RecordBatch, Schema

    from .session import Session
    from .wire import Column, Talk

__all__ = ("Frames", "Part", "begun", "question_marks")

_UNPREPARABLE = ((1295,), (1461,))  # no such statement can be prepared, or no more of any
_MOST = 64 << 20  # bytes of a part, after which fewer rows than asked for will do
_ALL = 2**31 - 1  # rows that stand for all of them in one batch


def question_marks(sql: str, params: Sequence[Any]) -> str:
    """Return SQL of the style "format" with `?` for each `%s`; without parameters it is left as it is.

    Raises:
        ParameterError: there are more or fewer values than places.
    """
    if not params:
        return sql
    pieces = sql.split("%%")
    _check_count(sum(piece.count("%s") for piece in pieces), params)
    return "%".join([piece.replace("%s", "?") for piece in pieces])


def _check_count(places: int, params: Sequence[Any]) -> None:
    if places != len(params):
        raise ParameterError(f"the statement takes {places} values, {len(params)} were given")


def begun(session: Session, sql: str, params: Sequence[Any]) -> Talk[Reading | None]:
    """Execute a statement with bound parameters; return its result, None where it has none.

    A statement that can't be prepared is executed as text.

    Raises:
        ParameterError: more or fewer values than the statement takes.
        QueryError: two columns have the same name; a SELECT was not executed then.
    """
    check_statement(sql)
    values = encode_params(params)
    try:
        number, columns, places = yield from session.prepare(question_marks(sql, params).encode())
    except Exception as error:
        if error.args[:1] not in _UNPREPARABLE:
            raise
        answer = yield from session.query(with_values(sql, params, backslashes=session.backslashes))
    else:
        session.forget(number)
        _check_count(places, params)  # fewer where one stood in a string or a comment
        check_names(columns)
        answer = yield from session.execute(number, values)
    if not isinstance(answer, Reading):
        return None
    yield from _check(answer)
    return answer


def _check(reading: Reading) -> Talk[None]:
    """Raise what speaks against a result, when its rows are passed over."""
    try:
        check_names(reading.fields)
        if not reading.binary and has_floats(reading.fields):
            raise QueryError(
                "the server prepares no more statements, and would round FLOATs: see max_prepared_stmt_count"
            )
    except QueryError:
        yield from reading.pass_over()
        raise


class Part(NamedTuple):
    """Some rows of a result, not decoded yet.

    Attributes:
        rows: how many.
        size: bytes.
        last: whether none follow.
        content: as they came by the binary protocol, or values, where it was the text protocol.
    """

    rows: int
    size: int
    last: bool
    content: Piece | list[tuple[Any, ...]]


class Frames:
    """What makes record batches of a result."""

    def __init__(self, reading: Reading | None, rows: int, *, settled: bool) -> None:
        """Take the result, None where the statement has none, and the most rows of a batch."""
        self._columns: tuple[Column, ...] = () if reading is None else reading.fields
        self._rows = rows
        self._most = float("inf") if rows >= _ALL else _MOST
        self._settled = settled
        self._schema: Schema | None = None

    def part(self, reading: Reading) -> Talk[Part]:
        """Take the rows of the next batch out of the result."""
        if not reading.binary:
            values = yield from reading.take(self._rows)
            return Part(len(values), 0, reading.ended, values)
        piece = yield from take_piece(reading.inbox, self._rows, self._most)
        if piece.last is not None:
            yield from reading.end(piece.last)
        return Part(len(piece.starts), len(piece.data), piece.last is not None, piece)

    def decode(self, part: Part | None) -> RecordBatch:
        """Return the rows of a part as a batch; called for one part after the other, from any thread."""
        if part is None:
            pa = require("pyarrow", extra="arrow", purpose="reading frames")
            batch: RecordBatch = pa.RecordBatch.from_arrays([], names=[])
        elif isinstance(part.content, Piece):
            batch = decode(self._columns, part.content, self._schema)
        else:
            batch = _batch_of_values(self._columns, part.content, self._schema)
        if self._settled:
            self._schema = batch.schema
        return batch


def _batch_of_values(columns: Sequence[Column], rows: list[tuple[Any, ...]], schema: Schema | None) -> RecordBatch:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    arrays = []
    for place, column in enumerate(columns):
        values = [row[place] for row in rows]
        try:
            array = pa.array(values, arrow_type(column))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            array = pa.array([value if value is None else _text(value) for value in values], pa.string())
        if schema is not None and array.type != schema.field(place).type:
            raise unfit(column, schema.field(place).type)
        arrays.append(array)
    batch: RecordBatch = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
    return batch


def _text(value: Any) -> str:
    return value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)
