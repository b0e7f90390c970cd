"""What PostgreSQL's SQLSTATEs mean. Source: the manual's appendix A, "PostgreSQL Error Codes"."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConstraintError,
    EchoConnError,
    Kind,
    ParameterError,
    QueryError,
)
from ..retry import Failure

__all__ = ("connect_failure", "judge_postgres", "server_text")

# The server has undone the statement, or never began it, and the same may succeed later.
_TEMPORARY = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available: lock_timeout has passed, or NOWAIT found a lock
        "53300",  # too_many_connections
        "57P03",  # cannot_connect_now: starting up, shutting down, or in recovery
        # admin_shutdown ends a session where it stands and undoes its transaction. One that is committing already is
        # not ended before it has answered; where it waits for a standby that is a broken connection, not this error.
        "57P01",
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
        "25P03",  # idle_in_transaction_session_timeout
    }
)
_CONNECTING = frozenset({"53300", "57P03", "57P01", "57P04", "57P05"})
# The session ended and nothing tells whether what was sent took effect: crash_shutdown,
# statement_completion_unknown, transaction_resolution_unknown.
_LOST = frozenset({"57P02", "40003", "08007"})
_ADVICE = {
    "42P18": "write CAST(:name AS type) where a parameter's type can't be told",
    "42725": "write CAST(:name AS type) where a parameter's type can't be told",
    "25006": "the server or the transaction only reads; target_session_attrs finds the host that takes writes",
    "25P02": "a statement before it failed, nothing was committed: leave the block and begin anew",
    "53300": "the server has no connection left",
    "25P03": "the transaction was idle for longer than the server allows, and undone",
}


def judge_postgres(error: Exception, call: str) -> Failure | None:
    """Judge an exception of psycopg or asyncpg, or of the socket below it; None for one that is none of theirs."""
    psycopg: Any = sys.modules.get("psycopg")
    asyncpg: Any = sys.modules.get("asyncpg")
    ours = (psycopg.Error,) if psycopg is not None else ()
    if asyncpg is not None:
        ours += (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    if not isinstance(error, (*ours, OSError)) or isinstance(error, EchoConnError):
        return None
    code: str | None = getattr(error, "sqlstate", None)
    advice = _ADVICE.get(code or "")
    text = f"{call}: {server_text(error)}{f': {advice}' if advice else ''}"
    if asyncpg is not None and isinstance(error, asyncpg.DataError) and isinstance(error, asyncpg.InterfaceError):
        return Failure(Kind.WRONG, ParameterError(text))
    return _judged(code, text, connection=_is_connection(error, psycopg, asyncpg))


def _judged(code: str | None, text: str, *, connection: bool) -> Failure:
    if code is None:
        return Failure(Kind.LOST, ConnectionFailedError(text)) if connection else Failure(Kind.WRONG, QueryError(text))
    if code == "08P01":  # protocol_violation: so the server answers to a wrong number of parameters
        return Failure(Kind.WRONG, ParameterError(text))
    if code in _LOST or code.startswith("08"):
        return Failure(Kind.LOST, ConnectionFailedError(text))
    if code in _TEMPORARY:
        made = ConnectionFailedError(text) if code in _CONNECTING else QueryError(text, code=code)
        return Failure(Kind.TEMPORARY, made)
    if code.startswith("28"):
        return Failure(Kind.WRONG, AuthenticationError(text))
    if code == "3D000":
        return Failure(Kind.WRONG, ConnectionFailedError(text))
    if code.startswith("23"):
        return Failure(Kind.WRONG, ConstraintError(text, code=code))
    return Failure(Kind.WRONG, QueryError(text, code=code))


def _is_connection(error: Exception, psycopg: Any, asyncpg: Any) -> bool:
    """Tell whether an exception without SQLSTATE speaks of the connection."""
    if isinstance(error, OSError):
        return True
    if psycopg is not None and isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.OperationalError)
    return asyncpg is not None and isinstance(error, asyncpg.InterfaceError) and "connection" in str(error)


def server_text(error: Exception) -> str:
    """Return what the server says, its detail and hint too."""
    diagnostics = getattr(error, "diag", error)
    names = ("message_primary", "message_detail", "message_hint") if diagnostics is not error else _ASYNCPG
    parts = [getattr(diagnostics, name, None) for name in names]
    primary, detail, hint = parts
    text = primary or str(error).strip() or type(error).__name__
    code = getattr(error, "sqlstate", None)
    return f"{text}{f' [{code}]' if code else ''}" + "".join(f"; {part}" for part in (detail, hint) if part)


_ASYNCPG = ("message", "detail", "hint")


# libpq tells no SQLSTATE of a failure to connect, only the server's text: src/backend/libpq/auth.c, hba.c and
# utils/init/postinit.c of PostgreSQL's source.
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "is not permitted to log in",
    "permission denied for database",
    "requires a valid client certificate",
    "password is wrong",
)
_BUSY = (
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "is starting up",
    "is shutting down",
    "recovery mode",
    "not yet accepting connections",
    "terminating connection due to administrator command",
)
_HOPELESS = (
    "certificate verify failed",
    "does not match host name",
    "root certificate",
    "does not support SSL",
    "private key file",
    "certificate file",
)


def connect_failure(error: Exception, where: str) -> EchoConnError:
    """Return our error for one of psycopg's about connecting, which knows whether to try again."""
    said = str(error).strip()
    text = f"{where}: {said}"
    made: EchoConnError
    if any(each in said for each in _REFUSED) or ("role" in said and "does not exist" in said):
        made, kind = AuthenticationError(text), Kind.WRONG
    elif any(each in said for each in _BUSY):
        made, kind = ConnectionFailedError(text), Kind.TEMPORARY
    elif any(each in said for each in _HOPELESS) or ("database" in said and "does not exist" in said):
        made, kind = ConnectionFailedError(text), Kind.WRONG
    else:
        made, kind = ConnectionFailedError(text), Kind.NOT_SENT
    made.__cause__ = error
    return made.told(attempts=1, elapsed=0.0, kind=kind)
