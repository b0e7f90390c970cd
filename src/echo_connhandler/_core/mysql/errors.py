"""What the error numbers of MySQL and MariaDB mean.

Sources: "Server Error Message Reference" and "Client Error Message Reference" (dev.mysql.com/doc/mysql-errors),
"MariaDB Error Code Reference" (mariadb.com/kb). Numbers below 2000 and from 3000 on are the server's, those between
are the client's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from ..errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectTimeoutError,
    ConstraintError,
    EchoConnError,
    Kind,
    QueryError,
    TimeoutExceededError,
)
from ..retry import Failure

__all__ = ("ends_session", "judge_mysql")

# The statement, or its whole transaction, was undone and may succeed when begun anew.
_TEMPORARY = frozenset(
    {
        1020,  # the row was changed since it was read (MariaDB's snapshot isolation)
        1205,  # a lock was not had in time
        1213,  # deadlock
        1613,  # a branch of an XA transaction was undone, it took too long
        1614,  # the same, for a deadlock
        1637,  # too many transactions at once
        3101,  # the group of servers undid it
        3572,  # a lock was not to be had without waiting
    }
)
# The server takes no more, or no longer: answered, and the session is over or never began.
_FULL = frozenset({1040, 1135, 1203, 1226})
_ENDED = frozenset({1053, 1927, 3169})  # shutting down; killed; killed
_READ_ONLY = frozenset({1290, 1836})
_NOT_SENT = frozenset({2001, 2002, 2003, 2004, 2005, 2006, 4031})
_LOST = frozenset({1152, 1158, 1159, 1160, 1161, 2012, 2013, 2014, 2027, 2055})
_TIME_IS_UP = frozenset({1969, 3024})
_LOGIN = frozenset({1045, 1130, 1131, 1251, 1275, 1524, 1698, 1820, 1862, 1873, 2049, 2054, 2059, 2061, 3118, 4151})
_LOGIN_ONLY = frozenset({1044, 1049})  # in statements the same numbers speak of other databases
_NO_CONNECTION = frozenset({1129, 2026, 3159})
_CONSTRAINTS = frozenset({1022, 1048, 1062, 1169, 1216, 1217, 1364, 1451, 1452, 1557, 1586, 1761, 1762, 3819, 4025})
_ADVICE = {
    1045: "wrong user or password, or the account demands TLS or a client certificate (tls, client_cert)",
    1049: "there is no such database",
    1129: "the server blocks this machine after many failed logins: FLUSH HOSTS on the server lifts it",
    1153: "raise max_allowed_packet on the server, or write fewer rows or shorter values at once",
    1227: "the account lacks a privilege",
    1242: "if that is from write_frame: the table's collation takes keys of several rows of the frame for the same",
    1290: "the server only reads",
    1317: "somebody stopped the statement",
    1836: "the server only reads",
    2020: "raise max_allowed_packet, or read shorter values",
    3159: 'the server insists on TLS: tls="require"',
}


def ends_session(error: BaseException) -> bool:
    """Tell whether the session that got this error is over, or better replaced: the next may get one that writes."""
    number = _number(error)
    return number in _ENDED or number in _LOST or number == 4031 or _only_reads(number, error)


def judge_mysql(error: Exception, call: str) -> Failure | None:
    """Judge an exception of pymysql, which aiomysql shares; None for one that isn't."""
    from pymysql.err import MySQLError

    if not isinstance(error, MySQLError):
        return None
    number = _number(error)
    login = number in _LOGIN or (number in _LOGIN_ONLY and call.startswith("connecting"))
    told = error.args[1] if len(error.args) > 1 else str(error)
    advice = _ADVICE.get(number)
    text = f"{call}: {told} [{number}]{f': {advice}' if advice else ''}"
    kind, made = _meaning(number, text, error) if not login else (Kind.WRONG, AuthenticationError(text))
    return Failure(kind, made)


def _number(error: BaseException) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _only_reads(number: int, error: BaseException) -> bool:
    # 1290 names the option that forbids the statement; there are others.
    return number in _READ_ONLY and "read" in str(error.args[1:]).lower()


def _meaning(number: int, text: str, error: Exception) -> tuple[Kind, EchoConnError]:
    code = str(number) if number else None
    if number in _NO_CONNECTION:
        return Kind.WRONG, ConnectionFailedError(text)
    if number in _NOT_SENT or number in _LOST:
        kind = Kind.NOT_SENT if number in _NOT_SENT else Kind.LOST
        if _caused_by(error, lambda cause: isinstance(cause, ssl.SSLError) and _refuses(cause)):
            return Kind.WRONG, ConnectionFailedError(text)
        return kind, (ConnectTimeoutError if _timed_out(error) else ConnectionFailedError)(text)
    if number in _FULL or number in _ENDED:
        return Kind.TEMPORARY, ConnectionFailedError(text)
    if number in _TIME_IS_UP:
        return Kind.WRONG, TimeoutExceededError(text)
    if number in _CONSTRAINTS:
        return Kind.WRONG, ConstraintError(text, code=code)
    temporary = number in _TEMPORARY or _only_reads(number, error)
    return Kind.TEMPORARY if temporary else Kind.WRONG, QueryError(text, code=code)


def _refuses(error: ssl.SSLError) -> bool:
    """Tell whether one side doesn't believe the other, or has no cipher in common with it: trying again won't help."""
    return isinstance(error, ssl.SSLCertVerificationError) or "ALERT" in (error.reason or "")


def _timed_out(error: BaseException) -> bool:
    return _caused_by(error, lambda cause: isinstance(cause, TimeoutError))


def _caused_by(error: BaseException | None, meant: Callable[[BaseException], bool]) -> bool:
    seen: set[int] = set()  # one exception may be raised again and again, and become a cause of its own
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        original: Any = getattr(error, "original_exception", None)  # pymysql's own way of telling
        if meant(error) or (original is not None and meant(original)):
            return True
        error = error.__cause__ or error.__context__
    return False
