"""Record batches as LOAD DATA and as INSERT statements of many rows, and whether the server took all of it.

LOAD DATA LOCAL behaves as with IGNORE: what an INSERT would refuse it changes or leaves out, with a warning ("LOAD
DATA Statement" in both manuals). So warnings and rows are counted, and what was not taken as it is is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from ..extras import require
from ..sqltext import quote_identifier
from .load_text import Form, Texts, column_texts, form_of, holds
from .reading import Reading
from .values import Flag, Kind
from .wire import refusal

if TYPE_CHECKING:
    import pyarrow as pa

    from ..sqlvalues import Target
    from .session import Session
    from .wire import Column, Ok, Talk

__all__ = ("NOT_ALLOWED", "insert_statements", "inserted", "load_pieces", "loaded")

# ER_NOT_ALLOWED_COMMAND; MySQL's ER_CLIENT_LOCAL_FILES_DISABLED; MariaDB's ER_LOAD_INFILE_CAPABILITY_DISABLED
NOT_ALLOWED = frozenset({(1148,), (3948,), (4166,)})

_PIECE = 1 << 20  # bytes of a file sent in one packet
_STATEMENT = 1 << 20  # bytes of an INSERT, where the rows are not longer
_ESCAPES = ((b"\\", "\\", "\\\\"), (b"\t", "\t", "\\t"), (b"\n", "\n", "\\n"), (b"\0", "\0", "\\0"))


def load_pieces(batch: pa.RecordBatch) -> list[bytes]:
    r"""Return a batch as the file that `loaded` loads, in pieces.

    A line a row, tabs between columns, backslashes before what is special, `\N` for NULL, bytes in hexadecimal digits.

    Raises:
        InvalidRequestError: a column holds what MySQL can't.
    """
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    columns = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        values, form = column_texts(field.name, array)
        if form is Form.TEXT:
            found = holds(values, b"\\\t\n\0")
            for character, sign, escaped in _ESCAPES:  # the backslash first
                if character in found:
                    values = pc.replace_substring(values, sign, escaped)
        columns.append(values.fill_null("\\N"))
    view = memoryview(_joined(_lines(columns, "\t"), "\n"))
    return [*(bytes(view[start : start + _PIECE]) for start in range(0, len(view), _PIECE)), b"\n"]


def _lines(columns: Sequence[Any], separator: str) -> Any:
    return columns[0] if len(columns) == 1 else _glued(*columns, separator)


def _glued(*parts: Any) -> Any:
    """Return texts put together row by row, the last part between them; parts are arrays or text."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    scalars = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*scalars)


def _joined(lines: Any, separator: str) -> Any:
    """Return all values of an array with a separator between as one buffer."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    return pc.binary_join(whole, pa.scalar(separator, pa.large_string()))[0].as_buffer()


def loaded(session: Session, target: Target, schema: pa.Schema, pieces: Sequence[bytes], rows: int) -> Talk[int]:
    """Load a batch's file and return its rows.

    Raises:
        QueryError: or the library's own error: what an INSERT would have said. The caller undoes the transaction.
    """
    columns = yield from _target_columns(session, target)
    text = _load_text(target, schema, columns).encode()
    return (yield from _checked(session, session.load(text, pieces), rows))


def _target_columns(session: Session, target: Target) -> Talk[tuple[Column, ...]]:
    """Ask what the columns are that the rows go to; nothing is executed for that."""
    names = ", ".join(_quoted(name) for name in target.columns)
    number, columns, _ = yield from session.prepare(f"SELECT {names} FROM {target.table}".encode())
    session.forget(number)
    return columns


def _quoted(name: str) -> str:
    return quote_identifier(name, "mysql")


def _load_text(target: Target, schema: pa.Schema, columns: Sequence[Column]) -> str:
    """Return the statement. Numbers stand for its signs: in strings a mode of the session has a say."""
    fields, sets = [], []
    for place, (name, field, column) in enumerate(zip(target.columns, schema, columns, strict=True)):
        made = _expression(f"@echo_{place}", field, column)
        fields.append(f"@echo_{place}" if made else _quoted(name))
        if made:
            sets.append(f"{_quoted(name)} = {made}")
    return (
        f"LOAD DATA LOCAL INFILE 'echo' INTO TABLE {target.table} CHARACTER SET utf8mb4 "
        f"FIELDS TERMINATED BY 0x09 ENCLOSED BY '' ESCAPED BY 0x5C LINES TERMINATED BY 0x0A ({', '.join(fields)})"
        + (f" SET {', '.join(sets)}" if sets else "")
    )


def _expression(variable: str, field: Any, column: Column) -> str | None:
    """Return what makes a column's value of a text that is not taken as it is, else None."""
    form = form_of(field.type)
    if form is Form.HEX:
        return f"UNHEX({variable})"
    # As text, 5 is the sign "5" to a BIT, and a label to an ENUM.
    if form is Form.NUMBER and (column.kind == Kind.BIT or column.flags & (Flag.ENUM | Flag.SET)):
        return f"CAST({variable} AS UNSIGNED)"
    return None


# Notes aren't counted, as with an INSERT they are no errors, and all the rest is told.
_TELL_ALL = (
    b"SET @echo_notes = @@SESSION.sql_notes, @echo_told = @@SESSION.max_error_count, "
    b"SESSION sql_notes = 0, SESSION max_error_count = 65535"
)
_AS_BEFORE = b"SET SESSION sql_notes = @echo_notes, SESSION max_error_count = @echo_told"


def _checked(session: Session, work: Talk[Ok], rows: int) -> Talk[int]:
    """Do what inserts so many rows, and make an error of whatever the server let pass with a warning."""
    yield from session.query(_TELL_ALL)
    failed: Exception | None = None
    try:
        ok = yield from work
        if ok.warnings or ok.affected != rows:
            failed = yield from _trouble(session, ok, rows)
    except Exception as error:  # noqa: BLE001 - raised below, when the session is as it was
        failed = error
    if not session.busy:
        yield from session.query(_AS_BEFORE)
    if failed is not None:
        raise failed
    return rows


_PASSING = frozenset({1642})  # ER_SIGNAL_WARN: a trigger's own words
_MEANT = {1263: 1048}  # NULL in a column without: as an INSERT says it


def _trouble(session: Session, ok: Ok, rows: int) -> Talk[Exception | None]:
    """Return the error for what was not inserted as it is, None if all was."""
    answer = yield from session.query(b"SHOW WARNINGS")
    told = (yield from answer.take(float("inf"))) if isinstance(answer, Reading) else []
    for _level, code, message in told:
        if code not in _PASSING:
            return refusal(_error_packet(_MEANT.get(int(code), int(code)), str(message)))
    if ok.affected == rows and len(told) == ok.warnings:
        return None
    return QueryError(
        f"of {rows} rows the server took {ok.affected}, and of {ok.warnings} warnings it told {len(told)}: "
        "write fewer rows at once"
    )


def _error_packet(code: int, message: str) -> bytes:
    return b"\xff" + code.to_bytes(2, "little") + b"#HY000" + message.encode()


def insert_statements(target: Target, batch: pa.RecordBatch, *, backslashes: bool) -> Iterator[tuple[bytes, int]]:
    """Yield a batch as INSERT statements, each with its number of rows.

    Args:
        target: where the rows go.
        batch: the rows.
        backslashes: whether the session takes a backslash in strings as an escape.
    """
    np = require("numpy", extra="arrow", purpose="writing frames")
    columns = [
        _literals(column_texts(field.name, array), backslashes=backslashes)
        for field, array in zip(batch.schema, batch.columns, strict=True)
    ]
    lines = _lines(columns, ",")
    ends = np.cumsum(require("pyarrow.compute", extra="arrow", purpose="writing frames").binary_length(lines))
    names = ", ".join(_quoted(name) for name in target.columns)
    head = f"INSERT INTO {target.table} ({names}) VALUES (".encode()
    start, done = 0, 0
    while start < len(lines):
        stop = max(int(np.searchsorted(ends, done + _STATEMENT, side="right")), start + 1)
        yield b"".join((head, memoryview(_joined(lines.slice(start, stop - start), "),(")), b")")), stop - start
        start, done = stop, int(ends[stop - 1])


def _literals(texts: Texts, *, backslashes: bool) -> Any:
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    values = texts.values
    if texts.form is Form.HEX:
        values = _glued("_binary X'", values, "'", "")
    elif texts.form is not Form.NUMBER:
        found = holds(values, b"\\'") if texts.form is Form.TEXT else b""
        if b"\\" in found and backslashes:
            values = pc.replace_substring(values, "\\", "\\\\")
        if b"'" in found:
            values = pc.replace_substring(values, "'", "''")
        values = _glued("'", values, "'", "")
    return values.fill_null("NULL")


def inserted(session: Session, statements: Iterable[tuple[bytes, int]]) -> Talk[int]:
    """Execute INSERT statements and return the rows; errors as with `loaded`."""
    done = 0
    for text, rows in statements:
        done += yield from _checked(session, _one(session, text), rows)
    return done


def _one(session: Session, text: bytes) -> Talk[Ok]:
    answer: Any = yield from session.query(text)
    ok: Ok = answer
    return ok
