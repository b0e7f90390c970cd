"""What SQLite's result codes mean. Source: https://www.sqlite.org/rescode.html, and the sqlite3 module's exceptions."""

from __future__ import annotations

import sqlite3

from ..errors import ConnectionFailedError, ConstraintError, EchoConnError, Kind, ParameterError, QueryError
from ..retry import Failure

__all__ = ("judge_sqlite",)

# BUSY: another connection has the lock. PROTOCOL: a race for the WAL's locks. The statement has done nothing.
_TEMPORARY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})
_NO_DATABASE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "is it a file in a folder that exists, and may it be written?",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_READONLY: "the file or its folder can't be written, or only reading was asked for",
    sqlite3.SQLITE_BUSY: "another connection holds the lock",
    # LOCKED is about the same connection, as no two share a cache here: waiting would not help.
    sqlite3.SQLITE_LOCKED: "a query on this connection is still being read; finish or close it first",
    sqlite3.SQLITE_BUSY_SNAPSHOT: (
        "another connection has written since this one began to read; begin anew, "
        "or read and write inside of transaction()"
    ),
}


def judge_sqlite(error: Exception, call: str) -> Failure | None:
    """Judge an exception of the sqlite3 module; None for one that isn't."""
    if not isinstance(error, sqlite3.Error | sqlite3.Warning):
        return None
    code: int | None = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None)
    primary = None if code is None else code & 0xFF  # extended codes hold the primary one in their low byte
    advice = _ADVICE.get(code or 0) or _ADVICE.get(primary or 0)
    text = f"{call}: {error}{f' [{name}]' if name else ''}{f': {advice}' if advice else ''}"
    made: EchoConnError
    if primary in _NO_DATABASE:
        made = ConnectionFailedError(text)
    elif primary == sqlite3.SQLITE_CONSTRAINT or (code is None and isinstance(error, sqlite3.IntegrityError)):
        made = ConstraintError(text, code=name)
    elif isinstance(error, sqlite3.ProgrammingError) and "binding" in str(error):
        made = ParameterError(text)
    else:
        made = QueryError(text, code=name)
    # The old state that was begun to be read stays old: the statement can't be repeated, its transaction can.
    repeatable = code != sqlite3.SQLITE_BUSY_SNAPSHOT
    return Failure(Kind.TEMPORARY if primary in _TEMPORARY else Kind.WRONG, made, repeatable=repeatable)
