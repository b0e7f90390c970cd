"""What MySQL's error numbers mean for a call."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from pymysql.err import DataError, IntegrityError, InternalError, OperationalError, ProgrammingError

from echo_connhandler._core.errors import Kind
from echo_connhandler._core.mysql.errors import ends_session, judge_mysql
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectTimeoutError,
    ConstraintError,
    QueryError,
    TimeoutExceededError,
)


@pytest.mark.parametrize(
    ("error", "kind", "made"),
    [
        (OperationalError(1213, "Deadlock found"), Kind.TEMPORARY, QueryError),
        (OperationalError(1205, "Lock wait timeout exceeded"), Kind.TEMPORARY, QueryError),
        (OperationalError(1020, "Record has changed since last read"), Kind.TEMPORARY, QueryError),
        (OperationalError(1614, "XA_RBDEADLOCK"), Kind.TEMPORARY, QueryError),
        (OperationalError(3572, "NOWAIT is set"), Kind.TEMPORARY, QueryError),
        (OperationalError(1290, "running with the --read-only option"), Kind.TEMPORARY, QueryError),
        (OperationalError(1836, "Running in read-only mode"), Kind.TEMPORARY, QueryError),
        (OperationalError(1290, "running with the --secure-file-priv option"), Kind.WRONG, QueryError),
        (OperationalError(1792, "Cannot execute statement in a READ ONLY transaction"), Kind.WRONG, QueryError),
        (OperationalError(1040, "Too many connections"), Kind.TEMPORARY, ConnectionFailedError),
        (OperationalError(1203, "User has exceeded the limit"), Kind.TEMPORARY, ConnectionFailedError),
        (OperationalError(1053, "Server shutdown in progress"), Kind.TEMPORARY, ConnectionFailedError),
        (OperationalError(1927, "Connection was killed"), Kind.TEMPORARY, ConnectionFailedError),
        (OperationalError(1317, "Query execution was interrupted"), Kind.WRONG, QueryError),
        (OperationalError(2003, "Can't connect"), Kind.NOT_SENT, ConnectionFailedError),
        (OperationalError(2006, "gone away"), Kind.NOT_SENT, ConnectionFailedError),
        (
            OperationalError(4031, "disconnected because of inactivity"),
            Kind.NOT_SENT,
            ConnectionFailedError,
        ),
        (OperationalError(2013, "Lost connection"), Kind.LOST, ConnectionFailedError),
        (OperationalError(1158, "Got an error reading communication packets"), Kind.LOST, ConnectionFailedError),
        (OperationalError(2026, "no TLS"), Kind.WRONG, ConnectionFailedError),
        (OperationalError(1969, "max_statement_time exceeded"), Kind.WRONG, TimeoutExceededError),
        (OperationalError(3024, "maximum statement execution time exceeded"), Kind.WRONG, TimeoutExceededError),
        (OperationalError(1045, "Access denied"), Kind.WRONG, AuthenticationError),
        (OperationalError(1698, "Access denied"), Kind.WRONG, AuthenticationError),
        (IntegrityError(1062, "Duplicate entry"), Kind.WRONG, ConstraintError),
        (IntegrityError(1048, "cannot be null"), Kind.WRONG, ConstraintError),
        (IntegrityError(1452, "foreign key"), Kind.WRONG, ConstraintError),
        (DataError(1364, "doesn't have a default value"), Kind.WRONG, ConstraintError),
        (OperationalError(4025, "CONSTRAINT failed"), Kind.WRONG, ConstraintError),
        (OperationalError(3819, "Check constraint is violated"), Kind.WRONG, ConstraintError),
        (OperationalError(1153, "Got a packet bigger"), Kind.WRONG, QueryError),
        (ProgrammingError(1064, "syntax"), Kind.WRONG, QueryError),
        (InternalError("something without a number"), Kind.WRONG, QueryError),
    ],
)
def test_numbers_have_meanings(error: Exception, kind: Kind, made: type[Exception]) -> None:
    failure = judge_mysql(error, "execute on MySQL")
    assert failure is not None
    assert (failure.kind, type(failure.error)) == (kind, made)
    assert str(failure.error).startswith("execute on MySQL: ")
    if isinstance(failure.error, QueryError):
        assert failure.error.code == (str(error.args[0]) if isinstance(error.args[0], int) else None)


def judged(error: Exception, call: str = "execute") -> Any:
    failure = judge_mysql(error, call)
    assert failure is not None
    return failure


@pytest.mark.parametrize("number", [1044, 1049])
def test_a_database_that_is_not_to_be_had_is_a_refused_login_only_at_the_login(number: int) -> None:
    error = OperationalError(number, "database 'x'")
    assert type(judged(error, "connecting to x").error) is AuthenticationError
    assert type(judged(error, "execute on x").error) is QueryError


def test_causes_tell_what_a_number_does_not() -> None:
    error = OperationalError(2003, "Can't connect")
    error.__cause__ = TimeoutError("timed out")
    assert type(judged(error).error) is ConnectTimeoutError
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    assert judged(error).kind is Kind.WRONG
    alert = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca")
    alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
    error.__cause__ = alert
    assert judged(error).kind is Kind.WRONG
    alert.reason = "UNEXPECTED_EOF_WHILE_READING"
    assert judged(error).kind is Kind.NOT_SENT
    cause = OSError()
    error.__cause__, cause.__context__ = cause, error  # a ring
    assert judged(error).kind is Kind.NOT_SENT


def test_packets_too_large_come_with_advice() -> None:
    assert "raise max_allowed_packet" in str(judged(OperationalError(1153, "Got a packet bigger")).error)


def test_what_is_not_the_librarys_is_left_to_others() -> None:
    assert judge_mysql(ValueError("x"), "execute") is None


@pytest.mark.parametrize(("number", "ends"), [(1053, True), (1927, True), (2013, True), (4031, True), (1213, False)])
def test_some_errors_end_the_session(number: int, ends: bool) -> None:
    assert ends_session(OperationalError(number, "text")) is ends
    assert ends_session(OperationalError(1290, "the --read-only option"))
    assert not ends_session(OperationalError(1290, "the --secure-file-priv option"))
