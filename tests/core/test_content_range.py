"""What an answer to a range request means for the part of a file that is there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from echo_connhandler._core.content_range import (
    Answer,
    Beginning,
    Verdict,
    answer_of,
    range_headers,
    strong_validator,
    verdict,
)

NOW = dt.datetime(2025, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
NOON = "Wed, 01 Jan 2025 12:00:00 GMT"
BEFORE = "Wed, 01 Jan 2025 11:59:59 GMT"
PART = Beginning("source", 5, validator='"1"', total=10)


def respond(status: int = 200, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=httpx.Request("GET", "http://h/"))


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({}, None),
        ({"ETag": '"a"'}, '"a"'),
        ({"ETag": '"a"', "Last-Modified": BEFORE}, '"a"'),
        ({"ETag": 'W/"a"'}, None),
        ({"ETag": 'W/"a"', "Last-Modified": BEFORE}, None),
        ({"ETag": "a"}, None),
        ({"Last-Modified": BEFORE, "Date": NOON}, BEFORE),
        ({"Last-Modified": NOON, "Date": NOON}, None),
        ({"Last-Modified": BEFORE}, BEFORE),
        ({"Last-Modified": NOON}, None),
        ({"Last-Modified": "yesterday"}, None),
    ],
)
def test_strong_validators(headers: dict[str, str], validator: str | None) -> None:
    assert strong_validator(httpx.Headers(headers), NOW) == validator


def test_only_what_can_be_continued_is_asked_for_in_part() -> None:
    assert range_headers(PART) == {"Range": "bytes=5-", "If-Range": '"1"'}
    assert range_headers(Beginning("source", 5)) == {}
    assert range_headers(Beginning("source", validator='"1"')) == {}


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (respond(content_length="9", etag='"1"'), Answer(200, 0, 9, '"1"', encoded=False, delimited=True)),
        (respond(transfer_encoding="chunked"), Answer(200, 0, None, None, encoded=False, delimited=True)),
        (respond(), Answer(200, 0, None, None, encoded=False, delimited=False)),
        (
            respond(content_length="9", content_encoding="gzip", etag='"1"'),
            Answer(200, 0, None, None, encoded=True, delimited=True),
        ),
        (
            respond(content_length="9", content_encoding="identity"),
            Answer(200, 0, 9, None, encoded=False, delimited=True),
        ),
        (
            respond(206, content_length="5", content_range="bytes 5-9/10", etag='"2"'),
            Answer(206, 5, 10, '"2"', encoded=False, delimited=True, changed=True),
        ),
        (
            respond(206, content_length="5", content_range="bytes 5-9/*"),
            Answer(206, 5, None, None, encoded=False, delimited=True),
        ),
        (
            respond(206, content_length="5", content_range="lines 5-9/10"),
            Answer(206, None, None, None, encoded=False, delimited=True),
        ),
        (
            respond(416, content_length="0", content_range="bytes */10"),
            Answer(416, None, 10, None, encoded=False, delimited=True),
        ),
    ],
)
def test_heads_of_answers(response: httpx.Response, wanted: Answer) -> None:
    assert answer_of(response, PART, NOW) == wanted


def test_a_date_is_compared_with_a_date() -> None:
    dated = Beginning("source", 5, validator=BEFORE)
    assert answer_of(respond(206, last_modified=NOON), dated, NOW).changed
    assert not answer_of(respond(206, last_modified=BEFORE, etag='"1"'), dated, NOW).changed


def answer(status: int = 206, **other: Any) -> Answer:
    values: dict[str, Any] = {"first": 5, "total": 10, "validator": '"1"', "encoded": False, "delimited": True, **other}
    return Answer(status, **values)


@pytest.mark.parametrize(
    ("part", "came", "conditional", "follows"),
    [
        (PART, answer(), True, Verdict.GO_ON),
        (PART, answer(), False, Verdict.GO_ON),
        (PART, answer(validator=None), True, Verdict.GO_ON),
        (PART, answer(validator=None), False, Verdict.UNFIT),  # a redirect lost If-Range: nothing proves it
        (PART, answer(total=None), True, Verdict.GO_ON),
        (PART, answer(total=11), True, Verdict.UNFIT),
        (PART, answer(first=4), True, Verdict.UNFIT),
        (PART, answer(first=None), True, Verdict.UNFIT),
        (PART, answer(changed=True), True, Verdict.UNFIT),
        (PART, answer(encoded=True), True, Verdict.UNFIT),
        (PART, answer(200), True, Verdict.FROM_THE_START),
        (PART, answer(416, first=None), True, Verdict.UNFIT),
        (Beginning("s", 10, validator='"1"', total=10), answer(416, first=None), True, Verdict.ALL_THERE),
        (Beginning("s", 10, validator='"1"'), answer(416, first=None), True, Verdict.ALL_THERE),
        (Beginning("s", 10, validator='"1"'), answer(416, first=None, changed=True), True, Verdict.UNFIT),
        (Beginning("s", 10, validator='"1"'), answer(416, first=None, total=None), True, Verdict.UNFIT),
        (Beginning("s", 10, validator='"1"', total=12), answer(416, first=None), True, Verdict.UNFIT),
    ],
)
def test_what_follows(part: Beginning, came: Answer, conditional: bool, follows: Verdict) -> None:
    assert verdict(part, came, conditional=conditional) is follows
