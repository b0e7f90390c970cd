"""The retry decisions, which are pure: tables and properties."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler import Resilience
from echo_connhandler._core.errors import Kind
from echo_connhandler._core.retry import Again, Failure, Stop, backoff, decide, judge_own, parse_retry_after
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    EchoConnError,
    OutcomeUnknownError,
    TimeoutExceededError,
)

policies = st.builds(
    Resilience,
    max_retries=st.integers(0, 10_000),
    retry_wait_time=st.floats(0, 1e6),
    exponential_min_retry_wait_time=st.floats(0, 1e6),
    exponential_multiplier=st.floats(0, 1e6),
)


def failure(kind: Kind, retry_after: float | None = None, *, repeatable: bool = True) -> Failure:
    return Failure(kind, EchoConnError("x"), retry_after, repeatable=repeatable)


def test_the_default_sequence() -> None:
    waits = [backoff(Resilience(), n, 1.0) for n in range(10)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30])


@given(policies, st.integers(0, 10_000), st.floats(0.75, 1.25))
def test_a_wait_is_never_negative_nor_over_the_cap(policy: Resilience, retry: int, jitter: float) -> None:
    assert 0 <= backoff(policy, retry, jitter) <= policy.retry_wait_time


@given(policies, st.floats(0.75, 1.25), st.integers(0, 100))
def test_waits_never_fall_but_by_jitter(policy: Resilience, jitter: float, retry: int) -> None:
    assert backoff(policy, retry, jitter) <= backoff(policy, retry + 1, jitter)


@pytest.mark.parametrize(
    ("kind", "repeatable", "expected"),
    [
        (Kind.NOT_SENT, True, Again),
        (Kind.NOT_SENT, False, Again),
        (Kind.TEMPORARY, True, Again),
        (Kind.TEMPORARY, False, Stop),
        (Kind.LOST, True, Again),
        (Kind.LOST, False, Stop),
        (Kind.WRONG, True, Stop),
    ],
)
def test_what_is_repeated(kind: Kind, repeatable: bool, expected: type) -> None:
    decision = decide(Resilience(), failure(kind, repeatable=repeatable), attempts=1, elapsed=0, jitter=1)
    assert type(decision) is expected
    if isinstance(decision, Stop):
        assert decision.unknown == (kind is Kind.LOST)


@given(st.integers(0, 50), st.integers(1, 100))
def test_one_attempt_and_up_to_max_retries_more(max_retries: int, attempts: int) -> None:
    policy = Resilience(max_retries=max_retries)
    decision = decide(policy, failure(Kind.NOT_SENT), attempts=attempts, elapsed=0, jitter=1)
    assert isinstance(decision, Again) == (attempts <= max_retries)


@pytest.mark.parametrize(
    ("asked", "attempts", "delay"),
    [(0, 1, 0), (5, 1, 5), (30, 1, 30), (45, 1, 30), (240, 1, 30), (241, 1, None), (31, 8, None), (30, 8, 30)],
)
def test_retry_after_is_capped_and_must_be_in_reach(asked: float, attempts: int, delay: float | None) -> None:
    decision = decide(Resilience(), failure(Kind.TEMPORARY, asked), attempts=attempts, elapsed=0, jitter=1)
    assert decision == (Stop() if delay is None else Again(delay))


@pytest.mark.parametrize(
    ("elapsed", "asked", "goes_on"), [(0, None, True), (9.95, None, False), (0, 9, True), (0, 10, False), (2, 9, False)]
)
def test_a_deadline_that_a_wait_would_pass_ends_the_call(elapsed: float, asked: float | None, goes_on: bool) -> None:
    policy = Resilience(deadline=10)
    decision = decide(policy, failure(Kind.TEMPORARY, asked), attempts=1, elapsed=elapsed, jitter=1)
    assert isinstance(decision, Again) == goes_on


def test_parts_of_an_attempt_that_failed_for_good_are_judged_by_what_they_were() -> None:
    def told(error: EchoConnError, kind: Kind) -> EchoConnError:
        return error.told(attempts=4, elapsed=1, kind=kind)

    assert judge_own(ConnectionFailedError()).kind is Kind.NOT_SENT
    assert judge_own(told(ConnectionFailedError(), Kind.WRONG)).kind is Kind.WRONG
    assert judge_own(told(TimeoutExceededError(), Kind.LOST)).kind is Kind.NOT_SENT
    assert judge_own(told(OutcomeUnknownError(), Kind.LOST)).kind is Kind.WRONG
    assert judge_own(AuthenticationError()).kind is Kind.WRONG
    assert judge_own(told(EchoConnError(), Kind.TEMPORARY)).kind is Kind.TEMPORARY


NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\uff19", None),
        ("9" * 40, 1e9),
        (format_datetime(NOW + dt.timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - dt.timedelta(seconds=90), usegmt=True), 0),
    ],
)
def test_retry_after_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_any_text_is_a_number_of_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number from 0"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"max_conn_retries": -1}, "max_conn_retries"),
        ({"retry_wait_time": -1}, "retry_wait_time"),
        ({"retry_wait_time": float("nan")}, "retry_wait_time"),
        ({"exponential_min_retry_wait_time": float("inf")}, "exponential_min"),
        ({"exponential_multiplier": "2"}, "exponential_multiplier"),
        ({"deadline": 0}, "deadline"),
        ({"jitter": (2, 1)}, "jitter"),
    ],
)
def test_wrong_numbers_are_said(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Resilience(**wrong)  # type: ignore[arg-type]


def test_a_single_text_is_no_collection_of_methods() -> None:
    with pytest.raises(TypeError, match="collection of HTTP methods"):
        Resilience(retry_methods="GET")
    assert Resilience(retry_methods=["get"]).repeats("GET")
