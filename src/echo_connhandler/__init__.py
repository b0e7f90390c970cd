"""One interface to SQL servers, HTTP APIs and FTP that connects, logs in, retries, and never loses or doubles data.

The names below are imported when they are first used, so that nobody waits for what he doesn't need.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import (
        AuthenticationError,
        BlockedByWafError,
        ConnectionFailedError,
        ConnectTimeoutError,
        ConstraintError,
        EchoConnError,
        HandlerClosedError,
        InvalidRequestError,
        MissingExtraError,
        OutcomeUnknownError,
        ParameterError,
        QueryError,
        RateLimitedError,
        TimeoutExceededError,
        TransferError,
        UnexpectedContentError,
        UnexpectedStatusError,
    )
    from .factory import connect
    from .http import HttpConnProperties, HttpHandler, HttpSession, LoginFlow
    from .instrumentation import RetryDetails
    from .resilience import Resilience
    from .sql import ColumnInfo, SqlLiteConnProperties, SqlLiteHandler

_HOMES = {
    "errors": (
        "AuthenticationError",
        "BlockedByWafError",
        "ConnectTimeoutError",
        "ConnectionFailedError",
        "ConstraintError",
        "EchoConnError",
        "HandlerClosedError",
        "InvalidRequestError",
        "MissingExtraError",
        "OutcomeUnknownError",
        "ParameterError",
        "QueryError",
        "RateLimitedError",
        "TimeoutExceededError",
        "TransferError",
        "UnexpectedContentError",
        "UnexpectedStatusError",
    ),
    "factory": ("connect",),
    "http": ("HttpConnProperties", "HttpHandler", "HttpSession", "LoginFlow"),
    "instrumentation": ("RetryDetails",),
    "resilience": ("Resilience",),
    "sql": ("ColumnInfo", "SqlLiteConnProperties", "SqlLiteHandler"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = (
    "AuthenticationError",
    "BlockedByWafError",
    "ColumnInfo",
    "ConnectTimeoutError",
    "ConnectionFailedError",
    "ConstraintError",
    "EchoConnError",
    "HandlerClosedError",
    "HttpConnProperties",
    "HttpHandler",
    "HttpSession",
    "InvalidRequestError",
    "LoginFlow",
    "MissingExtraError",
    "OutcomeUnknownError",
    "ParameterError",
    "QueryError",
    "RateLimitedError",
    "Resilience",
    "RetryDetails",
    "SqlLiteConnProperties",
    "SqlLiteHandler",
    "TimeoutExceededError",
    "TransferError",
    "UnexpectedContentError",
    "UnexpectedStatusError",
    "__version__",
    "connect",
)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
