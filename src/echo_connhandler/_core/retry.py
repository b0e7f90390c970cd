"""The one place that decides whether a failed attempt is repeated, and when. It decides; it never sleeps."""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .errors import ConnectionFailedError, EchoConnError, Kind, OutcomeUnknownError

__all__ = (
    "NO_RETRIES",
    "Again",
    "Failure",
    "Kind",
    "Resilience",
    "RetryDetails",
    "Stop",
    "backoff",
    "decide",
    "for_call",
    "judge_own",
    "parse_retry_after",
    "single",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDetails:
    """What a `before_retry` hook is told, before the wait.

    Attributes:
        call: what was tried, without secrets, for example `GET https://api.example.com/prices`.
        attempt: how many attempts have been made.
        delay: seconds until the next one.
        elapsed: seconds since the call began.
        error: why the last attempt failed.
    """

    call: str
    attempt: int
    delay: float
    elapsed: float
    error: Exception


def _check_number(name: str, value: Any, *, lowest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value < math.inf:
        raise ValueError(f"{name} must be a number from {lowest}, got {value!r}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """How hard a handler tries: a value that never changes and may be shared by handlers.

    The wait before retry n (from 0) is `exponential_multiplier * exponential_min_retry_wait_time * 2**n` seconds times
    a jitter, never over `retry_wait_time`. By default about 0.1, 0.2, 0.4 ... 12.8 s.

    Attributes:
        max_retries: further attempts after the first; 0 fails fast.
        max_conn_retries: further attempts to connect or log in.
        retry_wait_time: longest wait, in seconds; also the cap of a server's `Retry-After`.
        exponential_min_retry_wait_time: first wait, in seconds.
        exponential_multiplier: factor on every wait.
        jitter: lowest and highest factor by which a wait is changed at random.
        deadline: seconds that a call may take in all, its waits included; None sets no limit.
        retry_methods: HTTP methods that are repeated when the answer was lost after sending; None stands for all.
            Others raise `OutcomeUnknownError` then.
        idempotency_key: send POST and PATCH with an `Idempotency-Key` header, the same in each attempt of a call.
        obey_rate_limits: hold requests back while the server, by a header of any answer, says that it takes no more.
        before_retry: called with `RetryDetails` before each wait, in order.
    """

    max_retries: int = 8
    max_conn_retries: int = 3
    retry_wait_time: float = 30
    exponential_min_retry_wait_time: float = 0.1
    exponential_multiplier: float = 1
    jitter: tuple[float, float] = (0.75, 1.25)
    deadline: float | None = None
    retry_methods: Iterable[str] | None = None
    idempotency_key: bool = False
    obey_rate_limits: bool = True
    before_retry: tuple[Callable[[RetryDetails], object], ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_retries", "max_conn_retries"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError(f"{name} must be a whole number from 0 (no retries), got {count!r}")
        for name in ("retry_wait_time", "exponential_min_retry_wait_time", "exponential_multiplier"):
            _check_number(name, getattr(self, name), lowest=0)
        if self.deadline is not None and (_check_number("deadline", self.deadline, lowest=0) == 0):
            raise ValueError("deadline must be more than 0 seconds, or None for no limit")
        if len(self.jitter) != 2 or not 0 <= self.jitter[0] <= self.jitter[1]:
            raise ValueError(f"jitter must be two factors, the lower one first, got {self.jitter!r}")
        if self.retry_methods is not None:
            if isinstance(self.retry_methods, str):
                raise TypeError("retry_methods must be a collection of HTTP methods, got a single text")
            object.__setattr__(self, "retry_methods", frozenset(m.upper() for m in self.retry_methods))
        object.__setattr__(self, "before_retry", tuple(self.before_retry))

    def repeats(self, method: str) -> bool:
        """Tell whether an HTTP method is repeated when its answer was lost after sending."""
        return self.retry_methods is None or method in self.retry_methods

    def for_connecting(self) -> Resilience:
        """Return the policy under which connections are made: with its own number of retries, and always repeated."""
        return dataclasses.replace(self, max_retries=self.max_conn_retries, retry_methods=None, idempotency_key=False)


NO_RETRIES = Resilience(max_retries=0, max_conn_retries=0)


def for_call(policy: Resilience, retry: Resilience | int | None) -> Resilience:
    """Return the policy of one call: the handler's, or its own."""
    if retry is None:
        return policy
    if isinstance(retry, Resilience):
        return retry
    if retry is True or not isinstance(retry, int):
        raise TypeError(f"retry must be a number of retries, False, or a Resilience, got {retry!r}")
    return dataclasses.replace(policy, max_retries=int(retry))


def single(policy: Resilience, elapsed: float) -> Resilience:
    """Return the policy of one step of a call that is begun anew as a whole: no retries, what is left of the time."""
    if policy.deadline is None:
        return NO_RETRIES
    return dataclasses.replace(NO_RETRIES, deadline=max(policy.deadline - elapsed, 0.001))


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt, judged: what is known, the error to raise in the end, and what the server asked for.

    Attributes:
        kind: what is known about the attempt.
        error: the error that the caller gets if this was the last attempt.
        retry_after: seconds that the server asked to wait, or None.
        repeatable: the same call can be made again without doubling its effect, or the user accepts that it is.
    """

    kind: Kind
    error: EchoConnError
    retry_after: float | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Give up. `unknown` tells that the call may have taken effect and must not be repeated."""

    unknown: bool = False


Decision: TypeAlias = Again | Stop


def backoff(policy: Resilience, retry: int, jitter: float) -> float:
    """Return the seconds to wait before retry `retry` (from 0), given a jitter factor."""
    doubled = math.ldexp(policy.exponential_multiplier * policy.exponential_min_retry_wait_time, min(retry, 256))
    return min(min(doubled, policy.retry_wait_time) * jitter, policy.retry_wait_time)


def decide(policy: Resilience, failure: Failure, *, attempts: int, elapsed: float, jitter: float) -> Decision:
    """Decide what follows a failed attempt.

    Args:
        policy: how hard to try.
        failure: the attempt, judged.
        attempts: how many attempts have been made.
        elapsed: seconds since the call began.
        jitter: the factor for this wait.
    """
    if failure.kind is Kind.WRONG:
        return Stop()
    if not failure.repeatable and failure.kind is not Kind.NOT_SENT:
        return Stop(unknown=failure.kind is Kind.LOST)
    left = policy.max_retries + 1 - attempts
    if left <= 0:
        return Stop()
    delay = needed = backoff(policy, attempts - 1, jitter)
    if failure.retry_after is not None:
        needed = failure.retry_after
        delay = min(needed, policy.retry_wait_time)
        if needed > left * policy.retry_wait_time:
            return Stop()
    if policy.deadline is not None and elapsed + needed >= policy.deadline:
        return Stop()
    return Again(delay)


def judge_own(error: EchoConnError) -> Failure:
    """Judge an error of our own that left an attempt: a part of it, such as connecting, has done its own retries."""
    kind = error._kind  # noqa: SLF001 - set by the retries of that part
    if isinstance(error, OutcomeUnknownError):
        kind = Kind.WRONG
    elif kind is None:
        kind = Kind.NOT_SENT if isinstance(error, ConnectionFailedError) else Kind.WRONG
    elif kind is Kind.LOST:  # what was lost was a part that is begun anew, not the call itself
        kind = Kind.NOT_SENT
    return Failure(kind, error, retry_after=error.retry_after)


def parse_retry_after(value: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date) asks for, or None."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:12]), 10**9))
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    return max(0.0, (when - now).total_seconds())
