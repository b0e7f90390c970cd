"""Reading what servers say about their limits, and what follows from it."""

from __future__ import annotations

import datetime as dt

import httpx
import pytest

from echo_connhandler._core.rate_limits import Allowance, Gate, Hold, admit, allowance, speaks_of_limits, without_body
from echo_connhandler._core.retry import Resilience

NOW = dt.datetime(2025, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
UNIX = int(NOW.timestamp())
PLAIN = httpx.Response(200, request=httpx.Request("GET", "http://h/"))


def answer(headers: dict[str, str], status: int = 200) -> httpx.Response:
    return httpx.Response(status, headers=headers, request=httpx.Request("GET", "http://h/"))


@pytest.mark.parametrize(
    ("headers", "left", "reset"),
    [
        ({"RateLimit-Remaining": "3", "RateLimit-Reset": "20"}, 3, 20),
        ({"RateLimit-Limit": "10, 10;w=60", "RateLimit-Remaining": "3", "RateLimit-Reset": "20"}, 3, 20),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, 50, 5),
        ({"RateLimit": "limit=100,remaining=0 , reset=5.5"}, 0, 5.5),
        ({"RateLimit": '"default";r=50;t=30'}, 50, 30),
        ({"RateLimit": '"burst";r=0;t=5, "daily";r=900;t=40000'}, 0, 5),
        ({"RateLimit": '"a, b; r=1";r=7;t=5'}, 7, 5),
        ({"RateLimit": '"burst";r=0;t=5, "daily";r=0;t=40000'}, 0, 40000),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(UNIX + 40)}, 0, 40),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str((UNIX + 40) * 1000)}, 0, 40),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(UNIX - 40)}, 0, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2025-01-01T12:00:09Z"}, 0, 9),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "Wed, 01 Jan 2025 12:00:09 GMT"}, 0, 9),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99", "X-RateLimit-Reset-After": "1.5"}, 0, 1.5),
        ({"X-Rate-Limit-Remaining": "2", "X-Rate-Limit-Reset": "9"}, 2, 9),
        # The server's own clock counts, where it tells the time.
        (
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": str(UNIX + 40),
                "Date": "Wed, 01 Jan 2025 12:00:30 GMT",
            },
            0,
            10,
        ),
    ],
)
def test_headers_that_tell_what_is_left(headers: dict[str, str], left: int, reset: float) -> None:
    assert speaks_of_limits(answer(headers))
    assert allowance(answer(headers), NOW) == Allowance(left, reset)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit-Remaining": "0"},
        {"RateLimit-Reset": "5"},
        {"RateLimit-Remaining": "none", "RateLimit-Reset": "5"},
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "soon"},
        {"RateLimit": "garbage"},
        {"RateLimit": '"default";r=50'},
        {"Retry-After": "5"},  # with a 200 it is no refusal
    ],
)
def test_headers_that_tell_nothing_of_use(headers: dict[str, str]) -> None:
    assert allowance(answer(headers), NOW) is None


def test_a_refusal_tells_until_when() -> None:
    assert allowance(answer({"Retry-After": "5"}, 429), NOW) == Allowance(0, 5)
    assert allowance(answer({"Retry-After": "5", "RateLimit": "remaining=9, reset=60"}, 429), NOW) == Allowance(0, 5)
    assert allowance(answer({"Retry-After": "Wed, 01 Jan 2025 12:00:09 GMT"}, 429), NOW) == Allowance(0, 9)
    assert allowance(answer({"RateLimit-Remaining": "1", "RateLimit-Reset": "6"}, 429), NOW) == Allowance(0, 6)
    assert allowance(answer({"Retry-After": "whenever"}, 429), NOW) is None


def test_a_service_that_is_out_of_order_is_not_the_whole_origin() -> None:
    assert allowance(answer({"Retry-After": "5"}, 503), NOW) is None
    assert allowance(answer({"Retry-After": "5", "RateLimit": "remaining=9, reset=60"}, 503), NOW) == Allowance(9, 60)


def test_most_answers_are_not_looked_at() -> None:
    assert not speaks_of_limits(answer({"Content-Type": "text/plain", "Server": "x"}))


def gate(left: int, until: float, told: float = 0.0) -> Gate:
    return Gate(left, until, told, PLAIN)


@pytest.mark.parametrize(
    ("before", "said", "at", "left", "until"),
    [
        (None, Allowance(3, 10), 100, 3, 110),
        (gate(3, 110), Allowance(5, 9), 101, 3, 110),  # overtaken: what is under way is counted already
        (gate(3, 110), Allowance(1, 9), 101, 1, 110),  # others use it too
        (gate(0, 110), Allowance(9, 60), 111, 9, 171),  # another window
        (gate(3, 110), Allowance(9, 60), 101, 9, 161),
        (gate(0, 900), Allowance(9, 10), 101, 0, 900),  # the burst has room, the day has not
    ],
)
def test_what_is_known_after_an_answer(
    before: Gate | None, said: Allowance, at: float, left: int, until: float
) -> None:
    after = Gate.after(before, said, at, PLAIN)
    assert (after.left, after.until) == (left, until)


@pytest.mark.parametrize(
    ("known", "policy", "now", "elapsed", "hold"),
    [
        (gate(0, 110, 100), Resilience(), 111, 0, Hold(0)),
        (gate(2, 110, 100), Resilience(), 101, 0, Hold(0)),
        (gate(0, 110, 100), Resilience(), 104, 0, Hold(6, 6)),
        (gate(0, 150, 100), Resilience(retry_wait_time=30), 104, 0, Hold(26, 46)),
        (gate(0, 150, 100), Resilience(retry_wait_time=30), 130, 0, Hold(0)),
        (gate(0, 150, 100), Resilience(retry_wait_time=0), 104, 0, Hold(0)),
        (gate(0, 110, 100), Resilience(deadline=10), 104, 3, Hold(6, 6)),
        (gate(0, 110, 100), Resilience(deadline=10), 104, 4, Hold(0, 6, refused=True)),
        (gate(0, 341, 100), Resilience(), 100, 0, Hold(0, 241, refused=True)),
        (gate(0, 340, 100), Resilience(), 100, 0, Hold(30, 240)),
        (gate(0, 131, 100), Resilience(max_retries=0), 100, 0, Hold(0, 31, refused=True)),
        (gate(0, 130, 100), Resilience(max_retries=0), 100, 0, Hold(30, 30)),
    ],
)
def test_what_a_request_has_to_do(known: Gate, policy: Resilience, now: float, elapsed: float, hold: Hold) -> None:
    assert admit(known, policy, now=now, elapsed=elapsed)[1] == hold


def test_a_request_that_goes_out_is_counted() -> None:
    known, hold = admit(gate(1, 110, 100), Resilience(), now=101, elapsed=0)
    assert (known.left, hold.delay) == (0, 0)
    assert admit(known, Resilience(), now=101, elapsed=0)[1].delay == 9


def test_what_is_kept_of_an_answer_is_small_and_has_no_secrets() -> None:
    request = httpx.Request("POST", "http://h/x", headers={"Authorization": "planted"}, content=b"planted")
    full = httpx.Response(
        429, headers={"Retry-After": "5", "Set-Cookie": "a=planted"}, content=b"planted", request=request
    )
    kept = without_body(full)
    assert (kept.status_code, kept.headers["retry-after"], kept.content) == (429, "5", b"")
    assert (kept.request.method, str(kept.request.url)) == ("POST", "http://h/x")
    assert "planted" not in repr((kept.headers, kept.request.headers))
