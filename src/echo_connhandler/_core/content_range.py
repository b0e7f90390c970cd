"""Range requests (RFC 9110, 13 and 14) for downloads: what to ask for, and whether an answer goes on with a file."""

from __future__ import annotations

import datetime as dt
import email.utils
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

__all__ = ("Answer", "Beginning", "Verdict", "answer_of", "range_headers", "strong_validator", "verdict")

_CONTENT_RANGE = re.compile(r"bytes +(?:(\d+)-(\d+)|\*)/(\d+|\*)")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Beginning:
    """The part of a file that is there already, and what it is the beginning of.

    Attributes:
        source: stands for the URL, without telling it.
        size: bytes that are there.
        validator: a strong ETag or a Last-Modified date of what it was begun from; None: it can't be continued.
        total: bytes of the whole, if known.
    """

    source: str
    size: int = 0
    validator: str | None = field(default=None, kw_only=True)
    total: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the head of an answer says.

    Attributes:
        status: the status.
        first: position of the body's first byte in the whole; None in a 416.
        total: bytes of the whole, if known.
        validator: strong, or None.
        encoded: whether the body is compressed, so that its bytes are not those of the file.
        delimited: whether the body says where it ends.
        changed: an ETag or date of it differs from the validator that was asked for.
    """

    status: int
    first: int | None
    total: int | None
    validator: str | None
    encoded: bool
    delimited: bool
    changed: bool = False


class Verdict(enum.Enum):
    """What an answer is to a beginning."""

    GO_ON = "go on"
    ALL_THERE = "all there"
    FROM_THE_START = "from the start"
    UNFIT = "unfit"


def range_headers(part: Beginning) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; none if there's nothing to go on with."""
    if not part.size or part.validator is None:
        return {}
    return {"Range": f"bytes={part.size}-", "If-Range": part.validator}


def strong_validator(headers: Mapping[str, str], now: dt.datetime) -> str | None:
    """Return what surely tells this version from any other: a strong ETag, or a date that can't change unnoticed.

    A Last-Modified date is strong if it's at least a second before the answer's Date (RFC 9110, 8.8.2.2): the file
    could have changed twice within one second. `now` stands for a Date that is not there.
    """
    etag = headers.get("etag")
    if etag is not None:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    changed = _date(headers.get("last-modified"))
    sent = _date(headers.get("date")) or now
    if changed is None or (sent - changed).total_seconds() < 1:
        return None
    return headers["last-modified"]


def _date(value: str | None) -> dt.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


def answer_of(response: httpx.Response, part: Beginning, now: dt.datetime) -> Answer:
    """Read the head of an answer to a request for `part` or its rest."""
    headers = response.headers
    encoded = headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
    length = headers.get("content-length", "")
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    first: int | None = 0
    total = int(length) if length.isascii() and length.isdigit() and not encoded and not chunked else None
    if response.status_code in (206, 416):
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        first = int(found[1]) if found is not None and found[1] else None
        total = int(found[3]) if found is not None and found[3] != "*" else None
    given = headers.get("etag") if part.validator is None or part.validator.startswith('"') else None
    if part.validator is not None and not part.validator.startswith('"'):
        given = headers.get("last-modified")
    return Answer(
        status=response.status_code,
        first=first,
        total=total,
        validator=None if encoded else strong_validator(headers, now),
        encoded=encoded,
        delimited=bool(length) or chunked or not response.http_version.startswith("HTTP/1"),
        changed=given is not None and part.validator is not None and given != part.validator,
    )


def verdict(part: Beginning, answer: Answer, *, conditional: bool) -> Verdict:
    """Tell what follows for a beginning whose rest was asked for.

    Args:
        part: what is there.
        answer: what came.
        conditional: whether `If-Range` was still part of the request that was answered, also after redirects.
    """
    if answer.status == 200:
        return Verdict.FROM_THE_START
    known = part.total is None or answer.total is None or part.total == answer.total
    if answer.status == 416:
        complete = part.size > 0 and answer.total == part.size and known
        return Verdict.ALL_THERE if complete and part.validator is not None and not answer.changed else Verdict.UNFIT
    proved = conditional or (answer.validator is not None and answer.validator == part.validator)
    fits = answer.first == part.size and known and proved and not answer.changed and not answer.encoded
    return Verdict.GO_ON if fits else Verdict.UNFIT
