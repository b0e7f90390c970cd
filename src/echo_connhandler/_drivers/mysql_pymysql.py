"""MySQL and MariaDB through pymysql, blocking: it connects and logs in. What is said then is in `_core/mysql`."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.errors import ConnectionFailedError, TimeoutExceededError
from .._core.mysql.errors import ends_session
from .._core.mysql.reading import Reading
from .._core.mysql.session import Session
from .._core.mysql.wire import Onward, Talk
from .._core.sqlvalues import Result, Target
from . import mysql_frames
from .mysql_common import (
    CHUNK,
    OUT_OF_TIME,
    PROBE,
    SERVER,
    SMALL,
    Deadlines,
    explained,
    kill,
    log_in,
    log_warnings,
    lost,
    session_settings,
    time_limits,
)
from .mysql_cursors import MySqlCursor
from .sockets import readable

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core.sql_properties import SqlConnProperties
    from .mysql_common import Connection
    from .protocol import Batches
    from .registry import SqlSettings

__all__ = ("PyMySqlConnection", "connect")

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


def connect(settings: SqlSettings) -> PyMySqlConnection:
    """Open a connection."""
    props: SqlConnProperties = settings.props
    raw = log_in(props, props.conn_timeout)
    made = PyMySqlConnection(raw, props)
    try:
        made.prepare()
    except BaseException:
        made.close()
        raise
    return made


class PyMySqlConnection:
    """One pymysql connection. One thread at a time uses it; `cancel` and `close` may come from any.

    Attributes:
        raw: pymysql's connection.
        session: the server's number of the session.
        stream: the result that is being read off the connection, which is spooled before anything else is sent.
        local_infile: whether LOAD DATA LOCAL is worth a try.
    """

    def __init__(self, raw: Connection, props: SqlConnProperties) -> None:
        self.raw = raw
        self.session: int = raw.thread_id()
        self.stream: Any = None
        self.local_infile = props.local_infile
        self._props = props
        self._sock: Any = raw._sock  # noqa: SLF001 - where pymysql itself reads, byte for byte, too slowly
        self.talking = Session(raw.server_status)
        self._deadlines = Deadlines(props.query_timeout)
        self._limits = time_limits(props.query_timeout, raw.server_version)
        self._timed = False  # whether the server itself limits the time of statements
        self._server = ""
        self._dead = False
        self._timeout: float | None = -1.0
        self.turn = threading.RLock()
        self._killing = threading.Lock()
        self._statement = 0  # the number of the one that runs, negative when none does
        self._killed = False

    def prepare(self) -> None:
        """Set up the session."""
        self._deadlines.limit(self._props.conn_timeout)
        self.drive(self.talking.query(session_settings(self._props)))
        self._server, self.talking.largest = self.run(SERVER, ()).rows[0]
        self._deadlines.limit(None)

    @property
    def dead(self) -> bool:
        """Whether the connection must not be used again."""
        if self._dead or not self.turn.acquire(blocking=False):
            return self._dead
        try:
            if self.stream is None and not self._dead and _was_ended(self._sock):
                self._dead = True
            self._timeout = -1.0 if isinstance(self._sock, ssl.SSLSocket) else self._timeout
            return self._dead
        finally:
            self.turn.release()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return not self._dead and self.talking.in_transaction

    def run(self, sql: str, params: tuple[Any, ...], most: int | None = None) -> Result:
        """Execute one statement and fetch what it answers, at most `most` rows."""
        with self.turn:
            if most is None:
                result = self._do(self.talking.run(sql, params))
                if self.talking.warnings and logger.isEnabledFor(logging.DEBUG):
                    log_warnings(self._do(self.talking.run("SHOW WARNINGS")))
                return result
            result, rest = self._do(self.talking.first(sql, params, most, SMALL))
            if rest is not None and not self._dead:
                self.stop(rest.pass_over())
            return result

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]], *, adapted: bool = False) -> int:
        """Execute one statement for each row and return the rows affected."""
        return self._do(self.talking.run_many(sql, rows))

    def open(self, sql: str, params: tuple[Any, ...]) -> MySqlCursor:
        """Execute a query whose rows are read in batches."""
        with self.turn:
            answer = self._do(self.talking.begin(sql, params), timed=False)
            return self.follow(answer) if isinstance(answer, Reading) else MySqlCursor(self, None)

    def follow(self, reading: Reading) -> MySqlCursor:
        """Return a cursor over the result whose rows are what the server sends next."""
        self.stream = cursor = MySqlCursor(self, reading)
        return cursor

    def open_batches(self, sql: str, params: tuple[Any, ...], rows: int, *, settled: bool) -> Batches:
        """Execute a query whose result is read as record batches of at most `rows` rows."""
        with self.turn:
            self.make_way(timed=False)
            return mysql_frames.open_batches(self, sql, params, rows, settled=settled)

    def load(self, target: Target, batch: pa.RecordBatch) -> int:
        """Insert a record batch and return the number of its rows."""
        with self.turn:
            self.make_way()
            return mysql_frames.load(self, target, batch)

    def limit(self, seconds: float | None) -> None:
        """Stop statements that still run when so many seconds have passed from now."""
        self._deadlines.limit(seconds)

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._do(self.talking.ping())

    def cancel(self) -> None:
        """Stop the statement that runs now. The server is told by another thread: this one may not wait."""
        statement = self._statement
        if statement > 0 and not self._dead and not self._killing.locked():
            threading.Thread(target=self._cancel, args=(statement,), daemon=True, name="echo-connhandler-kill").start()

    def _cancel(self, statement: int) -> None:
        with self._killing:
            if self._statement == statement and not self._dead:
                self._kill("QUERY")

    def close(self) -> None:
        """Close the connection, at the end of the statement that runs; what it had not committed is undone."""
        self._dead = True
        if self.turn.acquire(blocking=False):
            try:
                self._close()
            finally:
                self.turn.release()

    def _close(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.forget()
        if self.raw.open:
            with suppress(OSError):
                self._sock.settimeout(0.5)  # for the word of farewell
            self.raw.close()

    # What calls are made of

    def make_way(self, *, timed: bool = True) -> None:
        """Spool the result that is being read, so that something else can be said; have the server limit its time."""
        if self._dead:
            raise ConnectionFailedError("the connection was closed")
        if self.stream is not None:
            self.stream.spool()
        if self._limits is not None and timed != self._timed:
            self.drive(self.talking.query(self._limits[timed]))
            self._timed = timed

    def _do(self, talk: Talk[T], *, timed: bool = True) -> T:
        try:
            with self.turn:
                self.make_way(timed=timed)
                return self.drive(talk)
        finally:
            if self._dead:  # closed meanwhile by another thread, which left it to this one
                self.close()

    def drive(self, talk: Talk[T]) -> T:
        """Drive a talk to its end, within the time that a statement has."""
        self._deadlines.begin()
        self._statement = abs(self._statement) + 1
        try:
            return self._driven(talk)
        except Exception as error:
            if error.args[:1] in OUT_OF_TIME or (self._deadlines.stopped and error.args[:1] == (1317,)):
                raise TimeoutExceededError(self._deadlines.why()) from error
            raise
        finally:
            with self._killing:  # one that is on its way must not hit what comes next
                self._statement = -self._statement
                killed, self._killed = self._killed, False
            if killed and not self._dead and not self.talking.busy:
                self._calm()

    def _driven(self, talk: Talk[T]) -> T:
        resumed = False
        try:
            out = next(talk)
            while True:
                resumed = False
                if out:
                    self._send(out)
                data = b"" if type(out) is Onward else self._receive()
                resumed = True
                out = talk.send(data)
        except StopIteration as end:
            result: T = end.value
            return result
        except Exception as error:
            meant = explained(error)
            if resumed and (meant is not error or self.talking.busy or ends_session(error)):
                self._give_up()
            elif resumed and self.talking.in_transaction and not self.talking.busy:
                self._refresh()
            if meant is error:
                raise
            raise meant from error
        except BaseException:  # KeyboardInterrupt: what comes next would read the rest of this answer
            self._kill("QUERY")
            self._give_up()
            raise
        finally:
            self.raw.server_status = self.talking.status
            talk.close()

    def _refresh(self) -> None:
        """Ask whether the transaction is still open: errors don't tell, and some undo it."""
        with suppress(Exception):
            self._driven(self.talking.ping())

    def _calm(self) -> None:
        """Make sure that a KILL that came too late hits nothing that matters."""
        for _ in range(3):
            try:
                self._driven(self.talking.run(PROBE))
            except Exception as error:  # noqa: BLE001 - asked again, and given up if that is of no use
                logger.debug("a late KILL was taken: %s", error)
            else:
                return
        self._give_up()

    def _send(self, data: bytes) -> None:
        self._set_timeout(self._deadlines.left())
        view, sent = memoryview(data), 0
        try:
            while sent < len(view):
                sent += self._sock.send(view[sent:])
        except (OSError, ValueError) as error:
            self._give_up()
            if isinstance(error, TimeoutError):
                raise TimeoutExceededError("the connection stalled; it was given up") from error
            if sent:
                raise lost(error) from error
            raise ConnectionFailedError(f"the connection had broken: {error}") from error

    def _receive(self) -> bytes:
        while True:
            left = self._deadlines.left()
            if left == 0.0:
                self._out_of_time()
                continue
            self._set_timeout(left)
            try:
                data: bytes = self._sock.recv(CHUNK)
            except TimeoutError:
                continue
            except (OSError, ValueError) as error:
                self._give_up()
                raise lost(error) from error
            if not data:
                self._give_up()
                raise lost("it was closed")
            return data

    def _out_of_time(self) -> None:
        if self._deadlines.stopped:
            self._give_up()
            raise TimeoutExceededError(f"{self._deadlines.why()}, and its connection given up, as it did not end")
        self._deadlines.stop()
        with self._killing:
            self._kill("QUERY")

    def _kill(self, what: str) -> None:
        self._killed = True
        with suppress(OSError, ValueError):
            kill(self._props, self._sock.getpeername(), self._server, self.session, what)

    def stop(self, talk: Talk[Any]) -> None:
        """Have the statement stopped whose answer is being read, and read its end."""
        with self._killing:
            self._kill("QUERY")
        with suppress(Exception):  # what it says about having been stopped
            self._driven(talk)
        self._killed = False
        if not self._dead:
            self._calm()

    def _give_up(self) -> None:
        self._dead = True
        with suppress(OSError, ValueError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _set_timeout(self, seconds: float | None) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._sock.settimeout(seconds if seconds is None else max(seconds, 0.001))
            self.raw._current_timeout = seconds  # noqa: SLF001 - pymysql sets its own where it differs


def _was_ended(sock: Any) -> bool:
    """Tell whether the server has said something unasked: that it ended the session."""
    try:
        if not readable(sock.fileno()):
            return False
        if not isinstance(sock, ssl.SSLSocket):
            return True
        sock.settimeout(0)
        sock.recv(1)
    except ssl.SSLWantReadError:  # TLS speaking for itself
        return False
    except (OSError, ValueError):
        pass
    return True
