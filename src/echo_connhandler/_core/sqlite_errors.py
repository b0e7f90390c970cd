"""What SQLite's result codes mean. Source: https://www.sqlite.org/rescode.html, and the sqlite3 module's exceptions."""

from __future__ import annotations

import sqlite3

from .errors import ConnectionFailedError, ConstraintError, EchoConnError, Kind, QueryError
from .retry import Failure

__all__ = ("judge_sqlite",)

# BUSY and LOCKED: another connection has the lock. PROTOCOL: a race for the WAL's locks. In all three the statement
# has done nothing.
_TEMPORARY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_NO_DATABASE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "does its folder exist, and may it be written?",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_READONLY: "the file or its folder can't be written, or the handler is read_only",
    sqlite3.SQLITE_BUSY: "another connection holds the lock",
    sqlite3.SQLITE_LOCKED: "another statement holds the lock",
}


def judge_sqlite(error: Exception, call: str) -> Failure | None:
    """Judge an exception of the sqlite3 module; None for one that isn't."""
    if not isinstance(error, sqlite3.Error | sqlite3.Warning):
        return None
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None)
    primary = None if code is None else code & 0xFF  # extended codes hold the primary one in their low byte
    advice = _ADVICE.get(primary, "") if primary is not None else ""
    text = f"{call}: {error}{f' [{name}]' if name else ''}{f': {advice}' if advice else ''}"
    made: EchoConnError
    if primary in _NO_DATABASE:
        made = ConnectionFailedError(text)
    elif primary == sqlite3.SQLITE_CONSTRAINT or (code is None and isinstance(error, sqlite3.IntegrityError)):
        made = ConstraintError(text, code=name)
    else:
        made = QueryError(text, code=name)
    return Failure(Kind.TEMPORARY if primary in _TEMPORARY else Kind.WRONG, made)
