"""PostgreSQL through psycopg 3, blocking. Below its cursors: libpq's own calls, with our values and statements."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, pq
from psycopg.adapt import Transformer

from .._core.errors import ConnectionFailedError, QueryError, TimeoutExceededError
from .._core.postgres.binding import OPEN, Kinds, bind, bind_many, settle, typed
from .._core.postgres.values import TYPES_SQL, Loader, Types, load_rows
from .._core.sqltext import first_keyword
from .._core.sqlvalues import Result, Target
from . import postgres_talks as talks
from .postgres_common import (
    AT_ONCE,
    CANCEL_GRACE,
    NO_CURSOR,
    OUTDATED,
    POOLED,
    affected,
    can_declare,
    check_copy,
    in_slices,
    not_committed,
    read_only_server,
    unsent,
)
from .postgres_cursors import Fetched, PsycopgCursor
from .postgres_logins import NATIVE, Values, log_in
from .postgres_sessions import PsycopgSession

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sql_properties import SqlConnProperties
    from .postgres_frames import Stream
    from .protocol import Batches
    from .registry import SqlSettings

__all__ = ("PsycopgConnection", "connect")

_STATEMENTS = 100  # prepared at a time in a session
_IDLE = pq.TransactionStatus.IDLE
_ROWS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.TUPLES_CHUNK)
_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


def connect(settings: SqlSettings) -> PsycopgConnection:
    """Open a connection to the first of the hosts that will do."""
    return PsycopgConnection(log_in(settings.props), settings.props)


class _Plan:
    """A statement that was executed before: when it's seen again it is prepared. `loaders` are of its columns."""

    __slots__ = ("columns", "loaders", "name", "query", "types")

    def __init__(self, sql: str) -> None:
        self.query = sql.encode()
        self.name: bytes | None = None
        self.types: tuple[int, ...] = ()
        self.columns: tuple[str, ...] = ()
        self.loaders: list[tuple[int, Loader]] = []


class PsycopgConnection(PsycopgSession):
    """One connection, with what is said over it."""

    def __init__(self, raw: psycopg.Connection[Any], props: SqlConnProperties) -> None:
        super().__init__(raw, props)
        self.stream: Stream | None = None
        self.catalog: dict[Any, Any] = {}
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        self._numbered = 0
        self._prepares = True
        self._stale: list[bytes | None] = []
        self._types = Types()
        self._values = Transformer(Values(raw))
        self._reading: PsycopgCursor | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, one of a cursor of ours not counted."""
        if self._closed or self._reading is not None or self._pg.status != pq.ConnStatus.OK:
            return False
        return self._pg.transaction_status != _IDLE

    # Statements

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        kinds, values = bind(sql, params)
        with self._using():
            return self._answer(sql, kinds, values, most)

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        changed = 0
        with self._using():
            for some in in_slices(rows, AT_ONCE):
                kinds, bound = bind_many(sql, some)
                for values in bound:
                    changed += self._answer(sql, kinds, values).affected
        return changed

    def open(self, sql: str, params: tuple[Any, ...]) -> PsycopgCursor | Fetched:
        """Execute a query whose rows are read in batches."""
        kinds, values = bind(sql, params)
        with self._using():
            if not can_declare(sql):
                return Fetched(self._answer(sql, kinds, values))
            return self._declared(sql, kinds, values)

    def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> Batches:
        """Execute a query whose result is read as record batches of at most `rows` rows."""
        from . import postgres_frames as frames  # numpy and pyarrow: only who reads frames needs them

        with self._using():
            return frames.open_batches(self, sql, params, rows, settled=settled)

    def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        from . import postgres_frames as frames

        with self._using():
            return frames.load(self, target, batch)

    def ping(self) -> None:
        """Ask the server for an empty statement's answer."""
        with self._using():
            self._answer("", once=True)

    # What the above is made of

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Hold the connection for the reading of a stream."""
        return self._using(spooling=False)

    @contextlib.contextmanager
    def _using(self, keep: PsycopgCursor | None = None, *, spooling: bool = True) -> Generator[None]:
        try:
            with self._in_use:
                if self._closed:
                    raise ConnectionFailedError("the connection was closed")
                unread = self._pg.transaction_status == pq.TransactionStatus.ACTIVE and self.stream is None
                if self._pg.status != pq.ConnStatus.OK or unread or self._hung_up():
                    self._closed = True
                    raise ConnectionFailedError("the server has closed the connection")
                if spooling and self.stream is not None:
                    self.stream.spool()
                if self._reading is not None and self._reading is not keep:
                    self._keep_reading()
                yield
        finally:
            if self._closed:  # by another thread, which left it to this one; or it was lost
                self.close()

    def _answer(
        self,
        sql: str,
        kinds: Kinds = (),
        values: list[Any] | None = None,
        most: int | None = None,
        *,
        once: bool = False,
    ) -> Result:
        """Execute one statement, which will not be seen again if `once`; `_using` is in force."""
        check_copy(sql)
        text = typed(sql, kinds)
        free = self._pg.transaction_status == _IDLE
        try:
            return self._result(sql, text, kinds, values or [], most, once=once)
        except psycopg.Error as error:
            if error.sqlstate == "25006" and self._expects_writes():
                self._closed = True
                raise read_only_server(error) from error
            plan = self._plans.get(text)
            code = error.sqlstate or ""
            if plan is None or plan.name is None or not (code in POOLED or code[:2] in OUTDATED):
                raise
            self._forget(pooled=code in POOLED)
            if not free:
                raise
        return self._result(sql, text, kinds, values or [], most, once=once)

    def _result(self, sql: str, text: str, kinds: Kinds, values: list[Any], most: int | None, *, once: bool) -> Result:
        plan = self._plan(text, once=once, prepared=OPEN in kinds)
        if OPEN in kinds:
            values = settle(kinds, values, plan.types, self._types.hstore)
        answers = self.drive(self._sending(plan, values, most))
        answer = answers[-1]
        if answer.status in _ROWS:
            return self._rows(plan, answers, most)
        status = (answer.command_status or b"").decode()
        if answer.status in _COPYING:
            self._closed = True
            raise QueryError("COPY with STDIN or STDOUT can't be executed as a statement")
        if status.startswith(("DROP", "ALTER")):
            self._forget(pooled=False)
        if status == "ROLLBACK" and first_keyword(sql, "postgres") in ("COMMIT", "END"):
            raise not_committed()
        return Result((), [], affected(status))

    def _rows(self, plan: _Plan, answers: list[Any], most: int | None) -> Result:
        first = answers[0]
        if plan.name is None or not plan.columns:
            self._learn(plan, first)
        rows: list[tuple[Any, ...]] = []
        for answer in answers:
            if answer.ntuples:
                self._values.set_pgresult(answer)
                rows += self._values.load_rows(0, answer.ntuples, tuple)
        if most is not None:
            del rows[most:]
        if plan.loaders:
            rows = load_rows(rows, plan.loaders)
        return Result(plan.columns, rows, affected((answers[-1].command_status or b"").decode()))

    def _learn(self, plan: _Plan, answer: Any) -> None:
        """Note the columns of a result, and how to read them."""
        places = range(answer.nfields)
        plan.columns = tuple([answer.fname(place).decode() for place in places])
        oids = [(place, answer.ftype(place)) for place in places]
        wanted = [(place, oid) for place, oid in oids if oid not in NATIVE]
        self._ask_types([oid for _, oid in wanted])
        plan.loaders = [(place, self._types.loader(oid)) for place, oid in wanted if not self._types.plain(oid)]

    def _ask_types(self, oids: list[int]) -> None:
        while missing := self._types.missing(oids):
            text = ",".join(map(str, missing))
            answer = self.drive(talks.executing(self._pg, TYPES_SQL.encode(), [text.encode()]))[-1]
            self._values.set_pgresult(answer)
            self._types.learn(missing, self._values.load_rows(0, answer.ntuples, tuple))

    # Statements that were seen before

    def _plan(self, text: str, *, once: bool, prepared: bool) -> _Plan:
        """Return how a statement is executed; `prepared` asks for the types of its parameters."""
        plan = None if once else self._plans.get(text)
        if plan is None:
            plan = _Plan(text)
            if not once:
                self._plans[text] = plan
                if len(self._plans) > _STATEMENTS:
                    self._stale.append(self._plans.popitem(last=False)[1].name)
            if not prepared:
                return plan
        elif plan.name is not None:
            self._plans.move_to_end(text)
            return plan
        if self._prepares or prepared:
            self._prepare(plan, named=self._prepares and not once)
        return plan

    def _prepare(self, plan: _Plan, *, named: bool) -> None:
        free = self._pg.transaction_status == _IDLE
        try:
            self._clear_away()
            self._numbered += 1
            name = f"_echo_{self._numbered}".encode() if named else b""
            self.drive(talks.preparing(self._pg, name, plan.query))
            described = self.drive(talks.describing(self._pg, name))[-1]
            plan.types = tuple([described.param_type(n) for n in range(described.nparams)])
            self._ask_types(list(plan.types))
        except (psycopg.Error, TimeoutExceededError) as error:
            if free and self._closed:
                raise unsent(error) from error
            raise
        plan.name = name or None
        plan.columns = ()

    def _clear_away(self) -> None:
        """Have the server forget prepared statements; it refuses within a transaction that has failed."""
        while self._stale and self._pg.transaction_status != pq.TransactionStatus.INERROR:
            if name := self._stale.pop():
                self.drive(talks.executing(self._pg, b"DEALLOCATE " + name))

    def _forget(self, *, pooled: bool) -> None:
        """Prepare everything anew; and nothing any more, where a pooler between us and the server loses it."""
        if pooled:
            self._prepares = False
        else:
            self._stale += [plan.name for plan in self._plans.values()]
        self._plans.clear()

    def _sending(self, plan: _Plan, values: list[Any], most: int | None) -> Generator[Any, Any, list[Any]]:
        free = self._pg.transaction_status == _IDLE  # within a transaction a request to stop would undo it
        talks.send(self._pg, plan.query, plan.name, values)
        if most is None:
            return (yield from talks.results(self._pg))
        return (yield from talks.first(self._pg, most, self._stop_rest if free else None))

    def _stop_rest(self) -> None:
        self.raw.cancel_safe(timeout=CANCEL_GRACE)

    # Cursors

    def _declared(self, sql: str, kinds: Kinds, values: list[Any]) -> PsycopgCursor | Fetched:
        self._numbered += 1
        name = f"_echo_cursor_{self._numbered}"
        own = self._pg.transaction_status == _IDLE
        hold = "WITH HOLD " if own else ""
        try:
            if own:
                self._answer("BEGIN")
            self._answer(f"DECLARE {name} NO SCROLL CURSOR {hold}FOR {sql}", kinds, values, once=True)
            columns = self._answer(f"FETCH 0 FROM {name}", once=True).columns
        except BaseException as error:
            if not own or self._closed:
                raise
            self._roll_back()
            # What no cursor takes that outlives its transaction: FOR UPDATE.
            if getattr(error, "sqlstate", None) not in NO_CURSOR:
                raise
            return Fetched(self._answer(sql, kinds, values))
        cursor = PsycopgCursor(self, name, columns)
        if own:
            self._reading = cursor
        return cursor

    def read(self, cursor: PsycopgCursor, name: str, count: int) -> list[tuple[Any, ...]]:
        """Return the next rows of a cursor."""
        with self._using(keep=cursor):
            try:
                return self._answer(f"FETCH {count} FROM {name}", once=True).rows
            except BaseException:
                self._end_reading(cursor)
                raise

    def end(self, cursor: PsycopgCursor, name: str) -> None:
        """Close a cursor."""
        with self._using(keep=cursor):
            if self._reading is cursor:
                self._end_reading(cursor)
            elif self._pg.transaction_status != pq.TransactionStatus.INERROR:
                with contextlib.suppress(errors.InvalidCursorName):  # its transaction has ended, and it with it
                    self._answer(f"CLOSE {name}", once=True)

    def _end_reading(self, cursor: PsycopgCursor) -> None:
        """End the transaction that was begun for a cursor."""
        if self._reading is cursor:
            self._reading = None
            self._roll_back()

    def _roll_back(self) -> None:
        for last in (False, True):
            if self._closed or self._pg.transaction_status == _IDLE:
                return
            try:
                self._answer("ROLLBACK")
            except errors.QueryCanceled:  # who cancels asks until all has ended, and may hit this one too
                self._closed = last

    def _keep_reading(self) -> None:
        """Have the server keep the rest of the rows, so that other statements have transactions of their own."""
        self._reading = None
        try:
            self._answer("COMMIT")
        except BaseException:
            self._roll_back()
            raise
