"""HTTP answers without I/O: reading bodies, what a call takes, and what a failed attempt means."""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import ssl
from collections.abc import Collection

import httpx

from .errors import (
    ConnectionFailedError,
    ConnectTimeoutError,
    EchoConnError,
    InvalidRequestError,
    RateLimitedError,
    TimeoutExceededError,
    TransferError,
    UnexpectedStatusError,
)
from .http_requests import ResponseOk
from .redaction import SHOWN_HEADERS, Redactor, sounds_secret
from .retry import Failure, Kind, Resilience, parse_retry_after

__all__ = (
    "TEMPORARY",
    "BodyReader",
    "Judge",
    "accepts",
    "body_hint",
    "is_about",
    "may_tell",
    "takes_redirect",
    "unexpected",
)

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class BodyReader:
    """Puts a body together from what came over the wire, decompressed and counted.

    httpx reads a body whole or not at all: hence its inner names, which `Response.read` uses in the same way.
    """

    def __init__(self, response: httpx.Response, limit: int | None) -> None:
        self._response = response
        self._decoder = response._get_content_decoder()  # noqa: SLF001
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            TransferError: the body is larger than the limit.
            httpx.DecodingError: it is not compressed as its headers say.
        """
        self._add(self._decoder.decode(chunk))

    def finish(self) -> None:
        """Give the response its body."""
        self._add(self._decoder.flush())
        self._response._content = b"".join(self._pieces)  # noqa: SLF001

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            raise TransferError(f"the answer is larger than max_response_bytes={self._limit}")
        self._pieces.append(piece)


def accepts(response_ok: ResponseOk, response: httpx.Response) -> bool:
    """Tell whether a call takes this response."""
    if response_ok is None:
        return True
    if isinstance(response_ok, int):
        return response.status_code == response_ok
    if callable(response_ok):
        return bool(response_ok(response))
    return response.status_code in response_ok


def is_about(error: httpx.HTTPError, response: httpx.Response) -> bool:
    """Tell whether an error is about this response: what a user does meanwhile may fail as well."""
    try:
        return error.request is response.request
    except RuntimeError:  # httpx's word for: no request is known
        return False


def may_tell(response: httpx.Response) -> bool:
    """Tell whether an answer may be a page or object that tells of an error, rather than data."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/json") or kind.endswith("+json")


def takes_redirect(response_ok: ResponseOk, status: int) -> bool:
    """Tell whether a call names this redirect status as one that it wants to see itself."""
    if response_ok is None or callable(response_ok):
        return False
    return status == response_ok if isinstance(response_ok, int) else status in response_ok


def _secrets_in(request: httpx.Request) -> list[str]:
    """Return what an answer must not repeat: a call's own credentials and what its names say is secret."""
    found = [v for k, v in request.headers.items() if k not in SHOWN_HEADERS and k != "content-length"]
    found += [v for cookie in request.headers.get("cookie", "").split("; ") if (v := cookie.partition("=")[2])]
    found += [v for k, v in request.url.params.multi_items() if sounds_secret(k)]
    try:
        text = request.content.decode()
    except (httpx.RequestNotRead, UnicodeDecodeError):
        return found
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/x-www-form-urlencoded"):
        found += [v for k, v in httpx.QueryParams(text).multi_items() if sounds_secret(k)]
    elif kind.startswith("application/json") and isinstance(sent := jsonlib.loads(text), dict):
        found += [str(v) for k, v in sent.items() if sounds_secret(k)]
    return found


def body_hint(response: httpx.Response, redactor: Redactor) -> str:
    """Return how a body begins, for messages. Masked before it is cut: half a secret would not be known as one."""
    try:
        text = redactor(response.text[:10_000])
    except (httpx.ResponseNotRead, httpx.StreamError, LookupError):
        return ""
    return " ".join(text.split())[:200]


def unexpected(
    response: httpx.Response,
    expected: ResponseOk,
    redactor: Redactor,
    *,
    why: str = "",
    said: str | None = None,
    kind: type[UnexpectedStatusError] | None = None,
) -> UnexpectedStatusError:
    """Return the error for a response that the call does not take.

    Args:
        response: the response.
        expected: what the call takes.
        redactor: knows the secrets.
        why: goes after the status.
        said: what the answer says, instead of how its body begins.
        kind: the error's class, if it does not follow from the status.
    """
    kind = kind or (RateLimitedError if response.status_code == 429 else UnexpectedStatusError)
    request = response.request
    redactor = redactor.with_secrets(_secrets_in(request))
    wanted = f" (expected {expected})" if isinstance(expected, int | Collection) and expected != 200 else ""
    text = redactor(f"{request.method} {request.url}: {response.status_code} {response.reason_phrase}{wanted}{why}")
    hint = body_hint(response, redactor) if said is None else redactor(said)
    return kind(f"{text}: {hint}" if hint else text, response, scrub=redactor)


class Judge:
    """Tells what a failed attempt of one call means. Sources: httpx's exceptions, and what httpcore raises when."""

    def __init__(
        self,
        method: str,
        url: httpx.URL,
        policy: Resilience,
        redactor: Redactor,
        *,
        replayable: bool,
        temporary: Collection[int] = TEMPORARY,
    ) -> None:
        self._method, self._url, self._redactor, self._temporary = method, url, redactor, temporary
        self._keyed = policy.idempotency_key and method in ("POST", "PATCH")
        self._repeatable = policy.repeats(method) or self._keyed
        self._replayable = replayable

    def call(self) -> str:
        """Name the call, without secrets."""
        return self._redactor(f"{self._method} {self._url}")

    def __call__(self, error: Exception) -> Failure | None:
        if isinstance(error, UnexpectedStatusError) and error._kind is None:  # noqa: SLF001 - else it's judged already
            return self._status(error)
        if isinstance(error, EchoConnError):
            return None
        for kinds, kind, cls, text in _MEANINGS:
            if isinstance(error, kinds):
                if kind is Kind.NOT_SENT and _is_certificate_refusal(error):
                    return Failure(Kind.WRONG, self._error(ConnectionFailedError, "certificate not trusted", error))
                if cls is TransferError and str(error).startswith("Server disconnected"):
                    cls, text = ConnectionFailedError, "connection lost"
                repeatable = self._replayable and (self._repeatable or kind is not Kind.LOST)
                return Failure(kind, self._error(cls, text, error), repeatable=repeatable)
        return None

    def _status(self, error: UnexpectedStatusError) -> Failure:
        status = error.response.status_code
        if status not in self._temporary:
            return Failure(Kind.WRONG, error)
        asked = parse_retry_after(error.response.headers.get("retry-after"), dt.datetime.now(dt.UTC))
        return Failure(Kind.TEMPORARY, error, retry_after=asked, repeatable=self._replayable)

    def _error(self, cls: type[EchoConnError], text: str, error: Exception) -> EchoConnError:
        detail = self._redactor(str(error))[:200]
        return cls(f"{self.call()}: {text} ({detail})" if detail else f"{self.call()}: {text}")


_MEANINGS: tuple[tuple[tuple[type[Exception], ...], Kind, type[EchoConnError], str], ...] = (
    ((httpx.ConnectTimeout,), Kind.NOT_SENT, ConnectTimeoutError, "no connection within conn_timeout"),
    ((httpx.PoolTimeout,), Kind.NOT_SENT, ConnectTimeoutError, "no connection became free in time"),
    ((httpx.ConnectError, httpx.ProxyError), Kind.NOT_SENT, ConnectionFailedError, "no connection"),
    ((httpx.ReadTimeout,), Kind.LOST, TimeoutExceededError, "no answer within the timeout"),
    ((httpx.WriteTimeout,), Kind.LOST, TimeoutExceededError, "the request could not be sent within the timeout"),
    ((TimeoutError,), Kind.LOST, TimeoutExceededError, "not done before the deadline"),
    ((httpx.RemoteProtocolError,), Kind.LOST, TransferError, "the answer broke off or is no valid HTTP"),
    ((httpx.DecodingError,), Kind.LOST, TransferError, "the answer's compression is broken"),
    ((httpx.NetworkError, OSError), Kind.LOST, ConnectionFailedError, "connection lost"),
    (
        (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.StreamError),
        Kind.WRONG,
        InvalidRequestError,
        "the request can't be sent",
    ),
)


def _is_certificate_refusal(error: BaseException | None) -> bool:
    """Tell whether it was the certificate; on trio only what lies beneath the exception says so."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
