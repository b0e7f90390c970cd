"""The conversation of one session with its server: statements, results, what is known of the transaction. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import QueryError
from ..sqlvalues import Result
from ..statements import statement
from .literals import with_values
from .reading import Reading
from .text import answers_rows, check_statement
from .values import has_floats
from .wire import Column, Inbox, Ok, Onward, Talk, framed, read_column, read_eof, read_number, read_ok, refusal

__all__ = ("Session",)

_QUERY, _PING, _PREPARE, _EXECUTE, _FORGET = 0x03, 0x0E, 0x16, 0x17, 0x19
_LOCAL = 0xFB  # the server asks for a file
_IN_TRANSACTION, _MORE_RESULTS, _NO_BACKSLASHES = 0x0001, 0x0008, 0x0200
_UNPREPARABLE = (1295, 1461)  # no such statement can be prepared, or no more of any
_TEXTS = 1024  # whose columns are remembered
_ALL = float("inf")


class Session:
    """One session. Each talk is driven to its end before the next one begins.

    Attributes:
        inbox: what was received and not yet read.
        status: the flags that the server told at last.
        warnings: how many warnings the last statement left.
        busy: whether an answer has not been read to its end.
        largest: bytes of a statement that the server takes.
    """

    def __init__(self, status: int) -> None:
        self.inbox = Inbox()
        self.status = status
        self.warnings = 0
        self.busy = False
        self.largest = 2**30
        self._plain: set[str] = set()  # texts known to have no FLOAT
        self._pending = b""  # sent along with the next command, as it has no answer of its own

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.status & _IN_TRANSACTION)

    @property
    def backslashes(self) -> bool:
        """Whether strings have escapes."""
        return not self.status & _NO_BACKSLASHES

    def run(self, sql: str, params: Sequence[Any] = ()) -> Talk[Result]:
        """Execute a statement and return all that it answers."""
        answer = yield from self.begin(sql, params)
        if isinstance(answer, Ok):
            return Result((), [], answer.affected)
        rows = yield from answer.take(_ALL)
        changes = statement(sql, "mysql").first in ("INSERT", "REPLACE", "DELETE", "UPDATE")
        return Result(answer.columns, rows, len(rows) if changes else 0)

    def first(self, sql: str, params: Sequence[Any], most: int, spare: float) -> Talk[tuple[Result, Reading | None]]:
        """Execute a statement and return at most `most` rows; and the reading if, `spare` bytes on, there are more."""
        answer = yield from self.begin(sql, params)
        if isinstance(answer, Ok):
            return Result((), [], answer.affected), None
        rows = yield from answer.take(most)
        over = yield from answer.pass_over(spare)
        return Result(answer.columns, rows, 0), None if over else answer

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Talk[int]:
        """Execute a statement for each row and return the rows affected."""
        affected = 0
        for row in rows:
            affected += (yield from self.run(sql, row)).affected
        return affected

    def ping(self) -> Talk[None]:
        """Ask for a sign of life, which also tells whether a transaction is open."""
        yield from self._command(_PING, b"")
        self._note(read_ok((yield from self._answer())))

    def begin(self, sql: str, params: Sequence[Any] = ()) -> Talk[Ok | Reading]:
        """Execute a statement and return what its answer begins with."""
        check_statement(sql)
        text = with_values(sql, params, backslashes=self.backslashes)
        if not answers_rows(sql):
            return (yield from self.query(text))
        if sql in self._plain:
            answer = yield from self.query(text)
            if isinstance(answer, Ok) or not has_floats(answer.fields):
                return answer
            # The table was changed since. The rows are read anew: these are rounded.
            self._plain.discard(sql)
            yield from answer.pass_over()
        return (yield from self._explored(sql, text))

    def _explored(self, sql: str, text: bytes) -> Talk[Ok | Reading]:
        """Execute a statement whose columns are not known: by the binary protocol if there are FLOATs among them."""
        try:
            number, columns, places = yield from self.prepare(text)
        except Exception as error:
            if error.args and error.args[0] in _UNPREPARABLE:
                return (yield from self.query(text))
            raise
        self.forget(number)
        if not places and (has_floats(columns) or not columns):  # of CALL and RETURNING none are told
            return (yield from self.execute(number))
        if len(self._plain) >= _TEXTS:
            self._plain.clear()
        self._plain.add(sql)
        return (yield from self.query(text))

    # Steps, which readers of frames use too

    def query(self, text: bytes) -> Talk[Ok | Reading]:
        """Execute a statement by the text protocol."""
        yield from self._command(_QUERY, text)
        return (yield from self._result(binary=False))

    def prepare(self, text: bytes) -> Talk[tuple[int, tuple[Column, ...], int]]:
        """Prepare a statement; return its number, its columns, none where they aren't known yet, and its `?`."""
        yield from self._command(_PREPARE, text)
        first = yield from self._answer()
        number = int.from_bytes(first[1:5], "little")
        width, places = first[5] | first[6] << 8, first[7] | first[8] << 8
        if places:
            yield from self._columns(places)
        columns = (yield from self._columns(width)) if width else ()
        self.busy = False
        return number, columns, places

    def execute(self, number: int, values: bytes = b"") -> Talk[Ok | Reading]:
        """Execute a prepared statement; `values` are those of its `?`. Its rows come by the binary protocol."""
        yield from self._command(_EXECUTE, number.to_bytes(4, "little") + b"\0\1\0\0\0" + values)
        return (yield from self._result(binary=True))

    def forget(self, number: int) -> None:
        """Have a prepared statement closed after the next command."""
        self._pending = framed(bytes([_FORGET]) + number.to_bytes(4, "little"))

    def load(self, text: bytes, pieces: Iterable[bytes]) -> Talk[Ok]:
        """Execute LOAD DATA LOCAL INFILE; `pieces`, each of less than 16 MiB, are what is in the file."""
        yield from self._command(_QUERY, text)
        packet = yield from self._answer()
        if packet[0] != _LOCAL:
            raise QueryError("LOAD DATA LOCAL was answered without asking for the data")
        number, failed = 2, None
        try:
            for piece in pieces:
                if piece:
                    yield Onward(framed(piece, number))
                    number += 1
        except Exception as error:  # noqa: BLE001 - raised below, when the server has ended the statement
            failed = error
        yield Onward(framed(b"", number))
        ok = read_ok((yield from self._answer()))
        self._note(ok)
        if failed is not None:
            raise failed
        return ok

    def _command(self, command: int, argument: bytes) -> Talk[None]:
        if len(argument) >= self.largest:
            raise QueryError(
                f"the statement has {len(argument):,} bytes, and the server takes max_allowed_packet="
                f"{self.largest:,}: raise that, or write fewer rows or shorter values at once",
                code="1153",
            )
        self.busy = True
        pending, self._pending = self._pending, b""
        inbox = self.inbox
        # One closes the statement that an EXECUTE names: it goes behind.
        inbox.data = yield framed(bytes([command]) + argument) + pending
        inbox.at = 0

    def _answer(self) -> Talk[bytes]:
        """Return the first packet of an answer, or raise what it refuses with."""
        packet = self.inbox.ready()
        if packet is None:
            packet = yield from self.inbox.packet()
        if packet[0] == 0xFF:
            self.busy = False
            raise refusal(packet)
        return packet

    def _result(self, *, binary: bool) -> Talk[Ok | Reading]:
        packet = yield from self._answer()
        if packet[0] == 0:
            ok = read_ok(packet)
            yield from self._finish(ok)
            return ok
        if packet[0] == _LOCAL:  # send none: the server names it, and might name any
            yield Onward(framed(b"", 2))
            self._note(read_ok((yield from self._answer())))
            raise QueryError("the server asked for a file of this machine and got none: frames are for write_frame")
        columns = yield from self._columns(read_number(packet, 0)[0])
        return Reading(self.inbox, columns, self._at_end, binary=binary)

    def _columns(self, count: int) -> Talk[tuple[Column, ...]]:
        columns = []
        for number in range(count + 1):  # and the EOF behind them
            packet = self.inbox.ready()
            if packet is None:
                packet = yield from self.inbox.packet()
            if number < count:
                columns.append(read_column(packet))
        return tuple(columns)

    def _at_end(self, last: bytes) -> Talk[None]:
        """Take note of the packet that ended a result's rows, and pass over results that follow it."""
        if last[0] == 0xFF:
            self.busy = False
        else:
            yield from self._finish(read_eof(last))

    def _finish(self, ok: Ok) -> Talk[None]:
        self._note(ok)
        while ok.status & _MORE_RESULTS:  # of a procedure; the first is what it answers
            packet = yield from self._answer()
            if packet[0] == 0:
                ok = read_ok(packet)
            else:
                yield from self._columns(read_number(packet, 0)[0])
                last = yield from self.inbox.skim(lambda data: None, _ALL)
                if last is None or last[0] == 0xFF:
                    self.busy = False
                    raise refusal(last or b"")
                ok = read_eof(last)
            self._note(ok)

    def _note(self, ok: Ok) -> None:
        self.status, self.warnings = ok.status, ok.warnings
        self.busy = bool(ok.status & _MORE_RESULTS)
