"""How psycopg's connections send a COPY and receive its bytes: generators of psycopg's kind, which wait by yielding."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import errors, generators, pq
from psycopg.waiting import Wait

if TYPE_CHECKING:
    from .._core.postgres.copy_rows import MessageRows

__all__ = ("LibpqWire", "SocketWire", "Steps", "checked")

T = TypeVar("T")
Steps = Generator[Any, Any, T]

_AT_ONCE = 1 << 18  # bytes
_COPY_BEGINS, _READY = b"H\0\0\0\4", b"Z\0\0\0\5I"


def checked(pgconn: Any) -> Steps[list[Any]]:
    """Send what is to be sent, and return the answers; raise if one is an error."""
    answers: list[Any] = yield from generators.execute(pgconn)
    for answer in answers:
        if answer.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(answer, encoding="utf-8")
    return answers


class SocketWire:
    """The bytes of an answer straight from the connection's socket, past libpq, which never sees the statement.

    libpq hands out COPY's rows one at a time, each a piece of memory of its own: that takes three times as long as
    all else. Between two statements libpq waits for nothing and has nothing read ahead; at the end the session is
    between two statements again. Not where libpq encrypts, nor on Windows.
    """

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn

    def send(self, sql: str) -> Steps[None]:
        body = sql.encode() + b"\0"
        message = memoryview(b"Q" + (len(body) + 4).to_bytes(4, "big") + body)
        while message:
            try:
                message = message[os.write(self._pgconn.socket, message) :]
            except BlockingIOError:
                while not (yield Wait.W):
                    continue
            except OSError as error:
                raise errors.OperationalError(f"the connection was lost: {error}") from error

    def receive(self, rows: MessageRows) -> Steps[None]:
        while True:
            try:
                count = os.readv(self._pgconn.socket, [rows.room()])
            except BlockingIOError:
                while not (yield Wait.R):
                    continue
                continue
            except OSError as error:
                raise errors.OperationalError(f"the connection was lost: {error}") from error
            if not count:
                raise errors.OperationalError("server closed the connection unexpectedly")
            rows.filled(count)
            return

    def end(self) -> Steps[None]:
        """Have libpq learn what the answer told about the transaction."""
        self._pgconn.send_query(b"")
        yield from checked(self._pgconn)


class LibpqWire:
    """The same through libpq, put back into messages."""

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn
        self._begun = False

    def send(self, sql: str) -> Steps[None]:
        self._pgconn.send_query(sql.encode())
        yield from checked(self._pgconn)

    def receive(self, rows: MessageRows) -> Steps[None]:
        parts: list[Any] = []
        size = 0
        get = self._pgconn.get_copy_data
        if not self._begun:
            self._begun = True
            parts.append(_COPY_BEGINS)
        while size < _AT_ONCE:
            count, data = get(1)
            if count > 0:
                parts += (b"d" + (count + 4).to_bytes(4, "big"), data)
                size += count + 5
            elif count == 0:
                if size:
                    break
                while not (yield Wait.R):
                    continue
                self._pgconn.consume_input()
            else:
                try:
                    yield from checked(self._pgconn)
                except errors.Error:
                    rows.done = True
                    raise
                parts.append(_READY)
                break
        rows.put(b"".join(parts))

    def end(self) -> Steps[None]:
        yield from ()
