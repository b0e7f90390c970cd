"""Errors: picklable, telling, and without secrets."""

from __future__ import annotations

import pickle

import httpx
import pytest

from echo_connhandler import errors
from echo_connhandler._core.errors import Kind
from echo_connhandler._core.redaction import Redactor

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_a_pickle_whole(cls: type[errors.EchoConnError]) -> None:
    error = cls("what, where, and what to do").told(attempts=3, elapsed=1.5, kind=Kind.TEMPORARY, retry_after=7)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (
        str(copy)
        == str(error)
        == ("what, where, and what to do (after 3 attempts in 1.50 s) (the server asked to wait 7 s)")
    )
    assert (copy.attempts, copy.elapsed, copy.retry_after) == (3, 1.5, 7)
    assert isinstance(copy, errors.EchoConnError)
    again = error.again()
    assert again is not error
    assert (type(again), str(again)) == (cls, str(error))


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.UnexpectedStatusError, RuntimeError),
        (errors.RateLimitedError, errors.UnexpectedStatusError),
        (errors.BlockedByWafError, errors.UnexpectedStatusError),
        (errors.ConnectionFailedError, ConnectionError),
        (errors.TimeoutExceededError, TimeoutError),
        (errors.ConnectTimeoutError, errors.ConnectionFailedError),
        (errors.ConnectTimeoutError, errors.TimeoutExceededError),
        (errors.MissingExtraError, ImportError),
        (errors.ConstraintError, errors.QueryError),
        (errors.InvalidRequestError, ValueError),
        (errors.UnexpectedContentError, ValueError),
    ],
)
def test_the_tree(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)


def test_a_pickled_response_error_keeps_the_response_but_no_secret() -> None:
    request = httpx.Request(
        "POST",
        "https://h.example/x?token=planted-1&page=2",
        headers={"Authorization": "Bearer planted-2", "X-Key": "planted-3", "Accept": "text/x"},
        content=b"planted-4",
    )
    response = httpx.Response(
        403,
        headers={"Set-Cookie": "sid=planted-5", "Content-Type": "text/plain"},
        text="no: planted-6",
        request=request,
    )
    error = errors.UnexpectedStatusError("refused", response, scrub=Redactor(["planted-6"]))
    data = pickle.dumps(error)
    assert b"planted" not in data
    copy = pickle.loads(data)
    assert copy.response.status_code == 403
    assert copy.response.text == "no: ***"
    assert str(copy.response.request.url) == "https://h.example/x?token=***&page=2"
    assert copy.response.request.headers["accept"] == "text/x"
    assert error.response.text == "no: planted-6"


def test_codes_of_query_errors_survive() -> None:
    copy = pickle.loads(pickle.dumps(errors.ConstraintError("twice", code="SQLITE_CONSTRAINT_UNIQUE")))
    assert copy.code == "SQLITE_CONSTRAINT_UNIQUE"
