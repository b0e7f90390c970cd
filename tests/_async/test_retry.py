"""Retries against a real server: what is repeated, how long is waited, and what the error tells in the end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, Resilience, RetryDetails
from echo_connhandler.errors import (
    ConnectionFailedError,
    OutcomeUnknownError,
    RateLimitedError,
    TimeoutExceededError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply


def make(server: HttpServer, **options: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=server.url), skip_connect=True, **options)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_temporary_statuses_are_retried_until_they_pass(server: HttpServer, status: int) -> None:
    server.script("/x", [Reply(status), Reply(status), Reply(200, {}, b"done")])
    async with make(server) as handler:
        with no_waits() as waits:
            assert (await handler.async_get("x")).text == "done"
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 501])
async def test_other_errors_are_raised_at_once(server: HttpServer, status: int) -> None:
    server.script("/x", [Reply(status)])
    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(UnexpectedStatusError):
            await handler.async_get("x")
    assert waits == []
    assert len(server.requests) == 1


async def test_nine_attempts_by_default_with_doubling_waits(server: HttpServer) -> None:
    server.script("/x", [Reply(503)] * 20)
    async with make(server) as handler:
        with (
            no_waits() as waits,
            pytest.raises(UnexpectedStatusError, match=r"after 9 attempts in \d+\.\d\d s") as caught,
        ):
            await handler.async_get("x")
    assert len(server.requests) == caught.value.attempts == 9
    assert len(waits) == 8
    for n, wait in enumerate(waits):
        assert 0.75 * 0.1 * 2**n <= wait <= min(30, 1.25 * 0.1 * 2**n)
    assert caught.value.elapsed >= sum(waits)


@pytest.mark.parametrize("trouble", ["drop", "reset", "cut"])
@pytest.mark.parametrize("verb", ["get", "post"])
async def test_a_lost_answer_is_asked_for_again(server: HttpServer, trouble: str, verb: str) -> None:
    broken = {"drop": Reply.drop(), "reset": Reply.reset(), "cut": Reply.cut(b"x" * 100, after=50)}[trouble]
    server.script("/x", [broken, broken, Reply(200, {}, b"done")])
    async with make(server) as handler:
        with no_waits():
            assert (await handler.async_request(verb, "x")).text == "done"
    assert len(server.requests) == 3
    server.wait_open(0)


async def test_a_lost_answer_of_a_method_not_to_be_repeated_is_an_unknown_outcome(server: HttpServer) -> None:
    server.script("/x", [Reply.drop()] * 20)
    async with make(server, resilience=Resilience(retry_methods=("GET",))) as handler:
        with no_waits(), pytest.raises(OutcomeUnknownError, match="POST .*/x") as caught:
            await handler.async_post("x")
        assert caught.value.attempts == 1
        assert len(server.requests) == 1
        with no_waits(), pytest.raises(ConnectionFailedError):
            await handler.async_get("x")
    assert len(server.requests) == 10


async def test_temporary_answers_are_retried_for_every_method(server: HttpServer) -> None:
    server.script("/x", [Reply(503), Reply(200)])
    async with make(server, resilience=Resilience(retry_methods=())) as handler:
        with no_waits():
            assert (await handler.async_post("x")).status_code == 200


async def test_an_idempotency_key_is_the_same_in_each_attempt(server: HttpServer) -> None:
    server.script("/x", [Reply(503), Reply.drop(), Reply(200)])
    policy = Resilience(idempotency_key=True, retry_methods=("GET",))
    async with make(server, resilience=policy) as handler:
        with no_waits():
            await handler.async_post("x")
            await handler.async_post("echo")
            await handler.async_post("echo", headers={"idempotency-key": "mine"})
            await handler.async_get("echo")
    keys = [request.header("Idempotency-Key") for request in server.requests]
    assert keys[0] is not None
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] not in (None, keys[0])
    assert keys[4:] == ["mine", None]


async def test_refused_connections_are_retried(server: HttpServer) -> None:
    server.close()
    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match="after 9 attempts"):
            await handler.async_post("x")
    assert len(waits) == 8


async def test_retry_after_wins_and_is_capped(server: HttpServer) -> None:
    server.script("/x", [Reply(429, {"Retry-After": "3"}), Reply(503, {"Retry-After": "45"}), Reply(200)])
    async with make(server) as handler:
        with no_waits() as waits:
            await handler.async_get("x")
    assert waits == [3, 30]


async def test_a_retry_after_out_of_reach_fails_at_once(server: HttpServer) -> None:
    server.script("/x", [Reply(429, {"Retry-After": "100"})])
    async with make(server, max_retries=3) as handler:
        with no_waits() as waits, pytest.raises(RateLimitedError, match="asked to wait 100 s") as caught:
            await handler.async_get("x")
    assert waits == []
    assert caught.value.retry_after == 100
    assert caught.value.attempts == 1


async def test_a_deadline_ends_the_retries(server: HttpServer) -> None:
    server.script("/x", [Reply(503)] * 20)
    async with make(server, resilience=Resilience(deadline=1.0)) as handler:
        with no_waits() as waits, pytest.raises(UnexpectedStatusError):
            await handler.async_get("x")
    assert 0 < sum(waits) < 1.0
    assert len(waits) < 8


async def test_a_deadline_ends_a_slow_attempt(server: HttpServer) -> None:
    async with make(server, resilience=Resilience(deadline=0.1)) as handler:
        with pytest.raises(TimeoutExceededError) as caught:
            await handler.async_get("delay/3")
    assert caught.value.elapsed < 2


async def test_a_call_may_have_its_own_retries(server: HttpServer) -> None:
    server.script("/x", [Reply(503)] * 20)
    async with make(server) as handler:
        for retry, requests in ((0, 1), (False, 1), (2, 3), (Resilience(max_retries=1), 2)):
            seen = len(server.requests)
            with no_waits(), pytest.raises(UnexpectedStatusError):
                await handler.async_get("x", retry=retry)
            assert len(server.requests) - seen == requests
        with pytest.raises(TypeError, match="retry must be"):
            await handler.async_get("x", retry=True)


async def test_hooks_and_log_tell_of_each_retry(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    told: list[RetryDetails] = []
    server.script("/x", [Reply(503), Reply.drop(), Reply(200)])
    caplog.set_level(logging.INFO, "echo_connhandler")
    async with make(server, resilience=Resilience(before_retry=(told.append,))) as handler:
        with no_waits() as waits:
            await handler.async_get("x", params={"token": "planted"})
    assert [details.attempt for details in told] == [1, 2]
    assert [details.delay for details in told] == waits
    assert isinstance(told[0].error, UnexpectedStatusError)
    assert isinstance(told[1].error, ConnectionFailedError)
    assert told[0].call == f"GET {server.url}/x"
    assert len([record for record in caplog.records if "trying again" in record.getMessage()]) == 2


async def test_a_body_that_can_be_read_once_is_not_sent_twice(server: HttpServer) -> None:
    server.script("/x", [Reply(503), Reply(200)])
    async with make(server) as handler:
        stream = _Once([b"a", b"b"])
        with no_waits(), pytest.raises(UnexpectedStatusError):
            await handler.async_post("x", content=stream)
    assert [request.body for request in server.requests] == [b"ab"]


class _Once:
    """A body whose parts come one after the other, once."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> Any:
        while self._parts:
            yield self._parts.pop(0)


async def test_errors_of_the_callers_own_predicate_are_not_touched(server: HttpServer) -> None:
    def broken(response: object) -> bool:
        raise ZeroDivisionError

    async with make(server) as handler:
        with no_waits() as waits, pytest.raises(ZeroDivisionError):
            await handler.async_get("echo", response_ok=broken)
    assert waits == []
