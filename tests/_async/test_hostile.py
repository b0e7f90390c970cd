"""Servers that misbehave in every way we know: the answer is right, or the error says what is known; nothing hangs."""

from __future__ import annotations

import resource

import pytest

from echo_connhandler import EchoConnError, HttpConnProperties, HttpHandler, Resilience
from echo_connhandler.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    TimeoutExceededError,
    TransferError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import no_waits
from tests.servers.hostile import BEHAVIOURS, HostileServer

# What each behaviour is in the end, after two retries. The names are those of the server's table.
MEANINGS: dict[str, type[EchoConnError]] = {
    "malformed_status_line": TransferError,
    "garbage": ConnectionFailedError,
    "headers_without_end": TimeoutExceededError,
    "truncated_headers": ConnectionFailedError,
    "truncated_body": TransferError,
    "negative_content_length": TransferError,
    "conflicting_content_lengths": TransferError,
    "bad_chunk_size": TransferError,
    "chunked_cut": TransferError,
    "huge_header": TransferError,
    "many_headers": TransferError,
    "never_answers": TimeoutExceededError,
    "accepts_and_closes": ConnectionFailedError,
    "reset_before_reading": ConnectionFailedError,
    "reset_after_reading": ConnectionFailedError,
    "reset_mid_body": ConnectionFailedError,
    "redirect_loop": UnexpectedStatusError,
    "redirect_to_file": InvalidRequestError,
    "redirect_to_unknown_scheme": InvalidRequestError,
    "redirect_with_bare_cr": TransferError,
    "wrong_gzip": TransferError,
    "continue_then_nothing": TimeoutExceededError,
    "http_09": ConnectionFailedError,
}
pytestmark = pytest.mark.exhaustive

HARMLESS = sorted(set(BEHAVIOURS) - set(MEANINGS) - {"gzip_bomb", "slow_drip"})


def make(hostile: HostileServer, **more: object) -> HttpHandler:
    props = HttpConnProperties(host=hostile.url, request_timeout=0.3, **more)  # type: ignore[arg-type]
    return HttpHandler(props, skip_connect=True, resilience=Resilience(max_retries=2))


@pytest.mark.parametrize("behaviour", sorted(MEANINGS))
async def test_what_is_wrong_is_said(hostile: HostileServer, behaviour: str) -> None:
    async with make(hostile) as handler:
        with no_waits(), pytest.raises(MEANINGS[behaviour]) as caught:
            await handler.async_get(behaviour)
        assert isinstance(caught.value, MEANINGS[behaviour])
        assert len(str(caught.value)) < 1000
        with no_waits():
            assert (await handler.async_get(HARMLESS[0], response_ok=None)).status_code
    hostile.wait_open(0)


@pytest.mark.parametrize("behaviour", HARMLESS)
async def test_what_is_odd_but_whole_is_taken(hostile: HostileServer, behaviour: str) -> None:
    async with make(hostile) as handler:
        with no_waits():
            response = await handler.async_get(behaviour, response_ok=None)
    assert 200 <= response.status_code < 400
    hostile.wait_open(0)


async def test_a_slow_drip_ends_at_the_deadline(hostile: HostileServer) -> None:
    props = HttpConnProperties(host=hostile.url)
    async with HttpHandler(props, skip_connect=True, resilience=Resilience(deadline=0.2)) as handler:
        with pytest.raises(TimeoutExceededError):
            await handler.async_get("slow_drip")


async def test_a_gzip_bomb_is_refused_in_little_memory(hostile: HostileServer) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with make(hostile, max_response_bytes=1_000_000) as handler:
        with pytest.raises(TransferError, match="max_response_bytes=1000000") as caught:
            await handler.async_get("gzip_bomb", timeout=10)
    assert caught.value.attempts == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
    hostile.wait_open(0)


async def test_invalid_json_is_said(hostile: HostileServer) -> None:
    async with make(hostile) as handler:
        with pytest.raises(UnexpectedContentError, match="not JSON but application/json"):
            await handler.async_get_json("invalid_json")
