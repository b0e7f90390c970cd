"""One interface to SQL servers, HTTP APIs and FTP that connects, logs in, retries, and never loses or doubles data.

The names below are imported when they are first used, so that nobody waits for what he doesn't need.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .clients import (
        AsyncAPIClient,
        HTTPAuthenticatedClient,
        HTTPClient,
        api_key_auth,
        basic_auth,
        bearer_token_auth,
        oauth_token_auth,
        sign_request,
    )
    from .energy import BazeHttpHandler, CceeHttpHandler, OnsHttpConnProperties, OnsHttpHandler
    from .errors import (
        AuthenticationError,
        BlockedByWafError,
        ConnectionFailedError,
        ConnectTimeoutError,
        ConstraintError,
        EchoConnError,
        FtpNotFoundError,
        FtpReplyError,
        HandlerClosedError,
        InvalidRequestError,
        MirrorError,
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
    from .ftp import FtpConnProperties, FtpEntry, FtpHandler, MirrorResult
    from .http import (
        Cursor,
        HttpConnProperties,
        HttpHandler,
        HttpSession,
        InsecureTlsWarning,
        LinkHeader,
        LoginFlow,
        NextLink,
        OAuth2,
        OAuth2Session,
        Offset,
        Page,
        PageNumber,
        PageStyle,
    )
    from .instrumentation import RetryDetails
    from .resilience import Resilience
    from .sql import ColumnInfo, MySqlHandler, PgSqlHandler, SqlConnProperties, SqlLiteConnProperties, SqlLiteHandler

_HOMES = {
    "clients": (
        "AsyncAPIClient",
        "HTTPAuthenticatedClient",
        "HTTPClient",
        "api_key_auth",
        "basic_auth",
        "bearer_token_auth",
        "oauth_token_auth",
        "sign_request",
    ),
    "energy": ("BazeHttpHandler", "CceeHttpHandler", "OnsHttpConnProperties", "OnsHttpHandler"),
    "errors": (
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
        "TimeoutExceededError",
        "TransferError",
        "UnexpectedContentError",
        "UnexpectedStatusError",
    ),
    "factory": ("connect",),
    "ftp": ("FtpConnProperties", "FtpEntry", "FtpHandler", "MirrorResult"),
    "http": (
        "Cursor",
        "HttpConnProperties",
        "HttpHandler",
        "HttpSession",
        "InsecureTlsWarning",
        "LinkHeader",
        "LoginFlow",
        "NextLink",
        "OAuth2",
        "OAuth2Session",
        "Offset",
        "Page",
        "PageNumber",
        "PageStyle",
    ),
    "instrumentation": ("RetryDetails",),
    "resilience": ("Resilience",),
    "sql": (
        "ColumnInfo",
        "MySqlHandler",
        "PgSqlHandler",
        "SqlConnProperties",
        "SqlLiteConnProperties",
        "SqlLiteHandler",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = (
    "AsyncAPIClient",
    "AuthenticationError",
    "BazeHttpHandler",
    "BlockedByWafError",
    "CceeHttpHandler",
    "ColumnInfo",
    "ConnectTimeoutError",
    "ConnectionFailedError",
    "ConstraintError",
    "Cursor",
    "EchoConnError",
    "FtpConnProperties",
    "FtpEntry",
    "FtpHandler",
    "FtpNotFoundError",
    "FtpReplyError",
    "HTTPAuthenticatedClient",
    "HTTPClient",
    "HandlerClosedError",
    "HttpConnProperties",
    "HttpHandler",
    "HttpSession",
    "InsecureTlsWarning",
    "InvalidRequestError",
    "LinkHeader",
    "LoginFlow",
    "MirrorError",
    "MirrorResult",
    "MissingExtraError",
    "MySqlHandler",
    "NextLink",
    "OAuth2",
    "OAuth2Session",
    "Offset",
    "OnsHttpConnProperties",
    "OnsHttpHandler",
    "OutcomeUnknownError",
    "Page",
    "PageNumber",
    "PageStyle",
    "ParameterError",
    "PgSqlHandler",
    "QueryError",
    "RateLimitedError",
    "Resilience",
    "RetryDetails",
    "SqlConnProperties",
    "SqlLiteConnProperties",
    "SqlLiteHandler",
    "TimeoutExceededError",
    "TransferError",
    "UnexpectedContentError",
    "UnexpectedStatusError",
    "__version__",
    "api_key_auth",
    "basic_auth",
    "bearer_token_auth",
    "connect",
    "oauth_token_auth",
    "sign_request",
)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
