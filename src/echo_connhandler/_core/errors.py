"""The error tree. Every error is picklable, tells attempts and elapsed time, and shows no secret."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .ftp.mirror_plan import MirrorResult

__all__ = (
    "AuthenticationError",
    "BlockedByWafError",
    "ConnectTimeoutError",
    "ConnectionFailedError",
    "ConstraintError",
    "EchoConnError",
    "FtpNotFoundError",
    "FtpReplyError",
    "HandlerClosedError",
    "InvalidRequestError",
    "MirrorError",
    "MissingExtraError",
    "OutcomeUnknownError",
    "ParameterError",
    "QueryError",
    "RateLimitedError",
    "StalledError",
    "TimeoutExceededError",
    "TransferError",
    "UnexpectedContentError",
    "UnexpectedStatusError",
)


class Kind(enum.Enum):
    """What is known about a failed attempt."""

    NOT_SENT = "not sent"
    TEMPORARY = "answered as temporary"
    WRONG = "answered as wrong"
    LOST = "lost after sending"


# Of a pickled request or response only these headers travel: no others are known to be free of secrets.
_PUBLIC_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "allow",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "host",
        "retry-after",
        "server",
        "user-agent",
        "www-authenticate",
    }
)


def _restore(cls: type[EchoConnError], args: tuple[Any, ...], state: dict[str, Any]) -> EchoConnError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class EchoConnError(Exception):
    """Root of all errors that this library raises for what happened outside of it.

    Attributes:
        attempts: how many attempts were made, the first included.
        elapsed: seconds from the start of the call until it failed.
        retry_after: seconds that the server asked to wait, where it did.
    """

    attempts: int = 1
    elapsed: float = 0.0
    retry_after: float | None = None
    _kind: Kind | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        if self.attempts > 1:
            text += f" (after {self.attempts} attempts in {self.elapsed:.2f} s)"
        if self.retry_after is not None:
            text += f" (the server asked to wait {self.retry_after:g} s)"
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def told(self, *, attempts: int, elapsed: float, kind: Kind, retry_after: float | None = None) -> Self:
        """Set what the retries know about the call and return this error."""
        self.attempts, self.elapsed, self._kind = attempts, elapsed, kind
        if retry_after is not None:
            self.retry_after = retry_after
        return self

    def again(self) -> Self:
        """Return a copy, for another caller that met the same failure: one exception can't be raised in two places."""
        copy = type(self).__new__(type(self), *self.args)
        copy.args = self.args
        copy.__dict__.update(self.__dict__)
        return copy

    def _state(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self._state())


class HandlerClosedError(EchoConnError):
    """The handler was closed; `connect()`, `reconnect()` or entering a context opens it again."""


class MissingExtraError(EchoConnError, ImportError):
    """A library that this call needs is not installed; the message names the extra."""


class InvalidRequestError(EchoConnError, ValueError):
    """The call's arguments can't make a valid request; nothing was sent."""


class ConnectionFailedError(EchoConnError, ConnectionError):
    """No connection could be made, or it broke."""


class TimeoutExceededError(EchoConnError, TimeoutError):
    """The server did not answer in time, or a statement ran longer than it may."""


class ConnectTimeoutError(ConnectionFailedError, TimeoutExceededError):
    """No connection could be made within `conn_timeout`."""


class StalledError(Exception):
    """Within the library: a statement took too long, and its connection was given up before it had ended."""


class TransferError(EchoConnError):
    """The answer broke off, is malformed, or is larger than allowed."""


class FtpReplyError(TransferError):
    """An FTP server refused a command.

    Attributes:
        code: the three digits of the server's reply, 0 where the refusal was found out without one.
    """

    code: int = 0

    def __init__(self, message: str = "", *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class FtpNotFoundError(FtpReplyError, FileNotFoundError):
    """There is no file or folder of that path on the FTP server."""


class MirrorError(TransferError):
    """Some files or folders could not be mirrored; everything else was done.

    Attributes:
        failures: what went wrong, by path relative to the two folders.
        result: what was done, a `MirrorResult`.
    """

    failures: Mapping[str, Exception]
    result: MirrorResult

    def __init__(
        self, message: str = "", failures: Mapping[str, Exception] | None = None, result: MirrorResult | None = None
    ) -> None:
        super().__init__(message)
        self.failures = failures or {}
        if result is not None:
            self.result = result


class OutcomeUnknownError(EchoConnError):
    """The answer was lost after sending and the call must not be repeated blindly: it may have taken effect or not."""


class _ResponseError(EchoConnError):
    """An error about one response, which it carries."""

    response: httpx.Response
    _scrub: Callable[[str], str] | None = None

    def __init__(
        self, message: str = "", response: httpx.Response | None = None, *, scrub: Callable[[str], str] | None = None
    ) -> None:
        super().__init__(message)
        if response is not None:
            self.response = response
        if scrub is not None:
            self._scrub = scrub

    def _state(self) -> dict[str, Any]:
        state = super()._state()
        scrub = state.pop("_scrub", None) or str
        if "response" in state:
            state["response"] = _without_secrets(state["response"], scrub)
        return state


class UnexpectedStatusError(_ResponseError, RuntimeError):
    """The response has a status that the call does not accept; it is in `.response`."""


class RateLimitedError(UnexpectedStatusError):
    """The server answered 429 and went on doing so; `.retry_after` tells the seconds it asked to wait."""


class BlockedByWafError(UnexpectedStatusError):
    """A firewall in front of the API answered with its block page instead of the API."""


class UnexpectedContentError(_ResponseError, ValueError):
    """The response's body is not what the call expects, for example not JSON; it is in `.response`."""


class AuthenticationError(_ResponseError):
    """The login was refused. It is not repeated by itself: accounts get locked."""


class ParameterError(EchoConnError, ValueError):
    """The parameters given do not fit the SQL text; nothing was sent."""


class QueryError(EchoConnError):
    """The database refused a statement.

    Attributes:
        code: the server's code: SQLSTATE, error number or, for SQLite, the error's name.
    """

    code: str | None = None

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class ConstraintError(QueryError):
    """A row violates a constraint: unique, foreign key, check or not null."""


def _without_secrets(response: httpx.Response, scrub: Callable[[str], str]) -> httpx.Response:
    """Return a copy of `response` fit to be pickled: public headers, scrubbed URL and body."""
    headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() in _PUBLIC_HEADERS]
    headers = [(k, v) for k, v in headers if k.lower() not in ("content-encoding", "content-length")]
    try:
        body = scrub(response.text).encode(response.encoding or "utf-8", "replace")
    except (httpx.ResponseNotRead, httpx.StreamError):
        body = b""
    copy = httpx.Response(response.status_code, headers=headers, content=body)
    try:
        request = response.request
    except RuntimeError:
        return copy
    kept = [(k, v) for k, v in request.headers.multi_items() if k.lower() in _PUBLIC_HEADERS]
    copy.request = httpx.Request(request.method, scrub(str(request.url)), headers=kept)
    return copy


for _name in __all__:
    globals()[_name].__module__ = "echo_connhandler.errors"
