"""What failures of FTP calls mean for their retry."""

from __future__ import annotations

import pickle
import ssl

import pytest

from echo_connhandler._core.errors import EchoConnError, Kind
from echo_connhandler._core.ftp.judge import judge
from echo_connhandler._core.ftp.replies import UnaskedError
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectTimeoutError,
    FtpNotFoundError,
    FtpReplyError,
    OutcomeUnknownError,
    TimeoutExceededError,
    TransferError,
)


@pytest.mark.parametrize("code", [421, 425, 426, 450, 451, 452])
def test_temporary_replies(code: int) -> None:
    failure = judge(FtpReplyError("RETR a was answered", code=code), "download")
    assert failure is not None
    assert failure.kind is Kind.TEMPORARY
    assert isinstance(failure.error, FtpReplyError)
    assert (failure.error.code, str(failure.error)) == (code, "download: RETR a was answered")


@pytest.mark.parametrize("code", [0, 430, 434, 500, 501, 502, 503, 504, 522, 530, 532, 550, 551, 552, 553])
def test_replies_that_are_for_good(code: int) -> None:
    failure = judge(FtpReplyError("no", code=code), "delete")
    assert failure is not None
    assert failure.kind is Kind.WRONG


def test_what_is_missing_is_not_waited_for_whatever_the_code() -> None:
    failure = judge(FtpNotFoundError("no", code=450), "list_dir")
    assert failure is not None
    assert failure.kind is Kind.WRONG
    assert isinstance(failure.error, FileNotFoundError)
    assert failure.error.code == 450  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [ConnectionFailedError, TimeoutExceededError, ConnectTimeoutError])
def test_a_lost_connection(kind: type[EchoConnError]) -> None:
    failure = judge(kind("x"), "c")
    assert failure is not None
    assert (failure.kind, failure.repeatable) == (Kind.LOST, True)
    assert type(failure.error) is kind


def test_what_was_not_sent() -> None:
    failure = judge(UnaskedError("it hung up"), "c")
    assert failure is not None
    assert failure.kind is Kind.NOT_SENT


def test_no_time_brings_the_right_certificate() -> None:
    error = ConnectionFailedError("x")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    failure = judge(error, "c")
    assert failure is not None
    assert failure.kind is Kind.WRONG


def test_a_refused_login_stays_refused() -> None:
    failure = judge(AuthenticationError("the login was refused"), "connecting to FTP h:21")
    assert failure is not None
    assert failure.kind is Kind.WRONG
    assert str(failure.error) == "connecting to FTP h:21: the login was refused"
    assert type(failure.error) is AuthenticationError


def test_the_server_is_named_once() -> None:
    failure = judge(ConnectionFailedError("FTP h:21: no connection"), "exists on FTP h:21")
    assert failure is not None
    assert str(failure.error) == "exists on FTP h:21: no connection"


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        ValueError("x"),
        OutcomeUnknownError("x"),
        TransferError("x"),
        ConnectionFailedError("x").told(attempts=4, elapsed=1.0, kind=Kind.WRONG),
    ],
)
def test_what_is_judged_elsewhere(error: Exception) -> None:
    assert judge(error, "c") is None


@pytest.mark.parametrize("kind", [FtpReplyError, FtpNotFoundError])
def test_the_errors_travel(kind: type[FtpReplyError]) -> None:
    error = kind("delete: DELE a was answered 550 No", code=550).told(attempts=2, elapsed=1.5, kind=Kind.WRONG)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.code, copy.attempts) == (kind, str(error), 550, 2)
    assert str(copy) == "delete: DELE a was answered 550 No (after 2 attempts in 1.50 s)"
    assert isinstance(copy, TransferError)
