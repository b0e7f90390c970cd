"""Carrying out what the retry decisions say: tries again, waits in between, and raises the error that tells it all."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState
from tenacity.stop import stop_never

from .._concurrency import AsyncOutcome, async_sleep, monotonic
from .._core.errors import EchoConnError, OutcomeUnknownError
from .._core.retry import Again, Failure, Resilience, RetryDetails, Stop, decide, judge_own

__all__ = ("async_persist",)

logger = logging.getLogger("echo_connhandler.retry")

T = TypeVar("T")


async def async_persist(
    attempt: Callable[[], AsyncOutcome[T]],
    policy: Resilience,
    judge: Callable[[Exception], Failure | None],
    *,
    named: Callable[[], str],
    started: float | None = None,
    progress: Callable[[], int] | None = None,
) -> T:
    """Return what `attempt` returns, trying again as `policy` has it.

    Args:
        attempt: makes one attempt.
        policy: how hard to try.
        judge: tells what an exception means; None for one that is not the server's doing, which is raised as it is.
        named: names the call in messages, without secrets.
        started: when the call began, if before now.
        progress: tells how far the call has come; attempts are counted from the one that last came further.
    """
    # A first attempt that succeeds pays for nothing but this.
    began = monotonic() if started is None else started
    course = None if progress is None else _Course(policy, judge, named, began, progress)
    try:
        return await attempt()
    except Exception as error:  # noqa: BLE001 - what it means is for `judge` to say
        first = [error]
    course = course or _Course(policy, judge, named, began)

    async def again() -> T:
        if first:
            raise first.pop()
        return await attempt()

    retrying = AsyncRetrying(
        sleep=async_sleep,
        stop=stop_never,
        retry=course.goes_on,
        wait=course.wait,
        before_sleep=course.announce,
        reraise=True,
    )
    try:
        return await retrying(again)
    except Exception as error:
        last = course.last_error(error)
        if last is error:
            raise
        raise last from error


class _Course:
    """One call's failures and what was decided about them, in the shapes that tenacity asks for."""

    def __init__(
        self,
        policy: Resilience,
        judge: Callable[[Exception], Failure | None],
        named: Callable[[], str],
        began: float,
        progress: Callable[[], int] = int,
    ) -> None:
        self._policy = policy
        self._judge = judge
        self._named = named
        self._began = began
        self._progress = progress
        self._furthest = progress()
        self._attempts = self._counted_from = 0
        self._failure: Failure | None = None
        self._decision: Again | Stop = Stop()

    def goes_on(self, state: RetryCallState) -> bool:
        """Decide about the attempt that has just ended."""
        self._attempts = state.attempt_number
        if (furthest := self._progress()) > self._furthest:
            self._furthest, self._counted_from = furthest, self._attempts - 1
        error = state.outcome.exception() if state.outcome is not None else None
        self._failure, self._decision = None, Stop()
        if not isinstance(error, Exception):
            return False
        self._failure = judge_own(error) if isinstance(error, EchoConnError) else None
        self._failure = self._judge(error) or self._failure
        if self._failure is not None:
            self._decision = decide(
                self._policy,
                self._failure,
                attempts=self._attempts - self._counted_from,
                elapsed=monotonic() - self._began,
                jitter=random.uniform(*self._policy.jitter),  # noqa: S311
            )
        return isinstance(self._decision, Again)

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt."""
        return self._decision.delay if isinstance(self._decision, Again) else 0.0

    def announce(self, state: RetryCallState) -> None:
        """Log the retry and tell the hooks."""
        if self._failure is None or not isinstance(self._decision, Again):
            return
        details = RetryDetails(
            call=self._named(),
            attempt=self._attempts,
            delay=self._decision.delay,
            elapsed=monotonic() - self._began,
            error=self._failure.error,
        )
        logger.warning(
            "%s: attempt %d failed (%s); trying again in %.2f s",
            details.call,
            details.attempt,
            details.error,
            details.delay,
        )
        for hook in self._policy.before_retry:
            hook(details)

    def last_error(self, error: Exception) -> Exception:
        """Return the error to raise for the call."""
        failure = self._failure
        if failure is None:
            return error
        final = failure.error
        if isinstance(self._decision, Stop) and self._decision.unknown:
            final = OutcomeUnknownError(
                f"{self._named()}: the answer was lost after sending, and the call is not one to be repeated; "
                f"it may have taken effect or not ({failure.error})"
            )
        return final.told(
            attempts=self._attempts,
            elapsed=monotonic() - self._began,
            kind=failure.kind,
            retry_after=failure.retry_after,
        )
