"""What servers say about how many requests they take, and what follows for all callers. It decides; it never waits.

Sources: RFC 9110, 10.2.3 (`Retry-After`); draft-ietf-httpapi-ratelimit-headers in its versions up to 06 (three fields),
07 (one field of three words) and since 08 (one structured field); and the `X-RateLimit-*` fields that came before.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import re
from dataclasses import dataclass

import httpx

from .retry import Resilience, parse_retry_after

__all__ = ("Allowance", "Gate", "Hold", "admit", "allowance", "speaks_of_limits", "without_body")

_FAMILIES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_NAMES = (b"retry-after", b"ratelimit", b"x-ratelimit", b"x-rate-limit")
_SAME_WINDOW = 2.0  # seconds: resets are told in whole seconds, and answers overtake each other
_EPOCH = 1e9  # a reset of more seconds than that is a date: Unix time; beyond the next, in milliseconds
_EPOCH_MS = 1e11


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one answer says.

    Attributes:
        left: how many more requests the server takes until `reset`; 0 when it refused this one.
        reset: seconds from now.
    """

    left: int
    reset: float


def speaks_of_limits(response: httpx.Response) -> bool:
    """Tell, quickly, whether an answer is worth a closer look."""
    return any(name.lower().startswith(_NAMES) for name, _ in response.headers.raw)


def allowance(response: httpx.Response, now: dt.datetime) -> Allowance | None:
    """Return what an answer says about further requests; None if it says nothing that can be used.

    Args:
        response: the answer.
        now: the time here, used where the answer has no `Date`.
    """
    headers = response.headers
    now = _date(headers.get("date")) or now
    found = _structured(headers.get("ratelimit", ""))
    for family in _FAMILIES:
        found += _three_fields(headers, family, now)
    # Not a 503: one of the services behind an origin is out of order, and the others may well take requests.
    if response.status_code == 429:
        asked = parse_retry_after(headers.get("retry-after"), now)
        if asked is not None:
            return Allowance(0, asked)
        if found:
            found = [dataclasses.replace(found[0], left=0), *found[1:]]
    # Of several limits the one that holds longest, when any is used up; else the one that is used up soonest.
    return min(found, key=lambda a: (a.left, -a.reset), default=None)


def _structured(value: str) -> list[Allowance]:
    """Read `"burst";r=0;t=5, "daily";r=900;t=40000`, or the older `limit=100, remaining=50, reset=5`."""
    if "remaining" in value.lower():
        words = {k.lower(): float(v) for k, v in re.findall(r"(\w+)\s*=\s*(\d+(?:\.\d+)?)", value)}
        return _known(words.get("remaining"), words.get("reset"))
    found = []
    for item in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', value):
        words = {k.lower(): float(v) for k, v in re.findall(r";\s*(\w+)\s*=\s*(\d+(?:\.\d+)?)", item)}
        found += _known(words.get("r"), words.get("t"))
    return found


def _three_fields(headers: httpx.Headers, family: str, now: dt.datetime) -> list[Allowance]:
    left = _number(headers.get(f"{family}-remaining"))
    after = _number(headers.get(f"{family}-reset-after"))
    reset = after if after is not None else _seconds_until(headers.get(f"{family}-reset"), now)
    return _known(left, reset)


def _known(left: float | None, reset: float | None) -> list[Allowance]:
    return [] if left is None or reset is None else [Allowance(int(left), max(reset, 0.0))]


def _number(value: str | None) -> float | None:
    """Read the number that a field begins with: `100, 100;w=60` is 100."""
    found = re.match(r"\s*(\d+(?:\.\d+)?)", value or "")
    return float(found[1]) if found else None


def _seconds_until(value: str | None, now: dt.datetime) -> float | None:
    """Read a reset: seconds from now, Unix time in seconds or milliseconds, or a date."""
    number = _number(value) if re.fullmatch(r"[\s\d.]+(,.*)?", value or "") else None
    if number is not None:
        if number >= _EPOCH_MS:
            number /= 1000
        return number - now.timestamp() if number >= _EPOCH else number
    moment = _date(value)
    return None if moment is None else (moment - now).total_seconds()


def _date(value: str | None) -> dt.datetime | None:
    for read in (email.utils.parsedate_to_datetime, dt.datetime.fromisoformat):
        try:
            found = read(value or "")
        except ValueError:
            continue
        return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
    return None


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known about one server's limit: a value, each answer and each request makes the next one.

    Attributes:
        left: how many more requests go out until `until`.
        until: when the server takes more, by the clock `monotonic`.
        told: when it last said so.
        answer: the answer that said so, without its body.
    """

    left: int
    until: float
    told: float
    answer: httpx.Response

    @classmethod
    def after(cls, gate: Gate | None, said: Allowance, at: float, answer: httpx.Response) -> Gate:
        """Return what is known once an answer came in.

        Within one window the smaller number counts: answers overtake each other, and requests are under way.
        """
        left, until = said.left, at + said.reset
        if gate is not None and at < gate.until:
            if abs(until - gate.until) <= _SAME_WINDOW:
                left = min(left, gate.left)
            elif gate.left == 0 < left and until < gate.until:
                return gate  # one of several limits is used up; an answer that was under way told of another
        return cls(left, until, at, answer)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a request has to do: wait `delay` seconds, then ask again; or give up, as `refused` says."""

    delay: float
    needed: float = 0.0
    refused: bool = False


GO = Hold(0.0)


def admit(gate: Gate, policy: Resilience, *, now: float, elapsed: float) -> tuple[Gate, Hold]:
    """Decide about a request that wants to go out.

    It waits until the server takes more, but no longer than `retry_wait_time` after the server last said so. It's
    refused where its deadline is nearer, or the wait is longer than all of its retries together would wait.

    Args:
        gate: what is known about the server's limit.
        policy: the call's.
        now: the time by the clock `monotonic`.
        elapsed: seconds since the call began.
    """
    if now >= gate.until:
        return gate, GO
    if gate.left > 0:
        return dataclasses.replace(gate, left=gate.left - 1), GO
    needed = gate.until - now
    delay = min(needed, gate.told + policy.retry_wait_time - now)
    if delay <= 0:
        return gate, GO
    too_late = policy.deadline is not None and elapsed + needed >= policy.deadline
    if too_late or needed > max(policy.max_retries, 1) * policy.retry_wait_time:
        return gate, Hold(0.0, needed, refused=True)
    return gate, Hold(delay, needed)


def without_body(response: httpx.Response) -> httpx.Response:
    """Return a copy of an answer that keeps nothing alive: no body, and of its request method and URL only."""
    left_out = ("content-encoding", "content-length", "transfer-encoding", "set-cookie")
    headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in left_out]
    request = httpx.Request(response.request.method, response.request.url)
    return httpx.Response(response.status_code, headers=headers, request=request)
