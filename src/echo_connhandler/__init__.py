"""One interface to SQL servers, HTTP APIs and FTP that connects, logs in, retries, and never loses or doubles data."""

from ._version import __version__
from .errors import EchoConnError
from .factory import connect
from .http import HttpConnProperties, HttpHandler, HttpSession, LoginFlow
from .instrumentation import RetryDetails
from .resilience import Resilience
from .sql import ColumnInfo, SqlLiteConnProperties, SqlLiteHandler

__all__ = (
    "ColumnInfo",
    "EchoConnError",
    "HttpConnProperties",
    "HttpHandler",
    "HttpSession",
    "LoginFlow",
    "Resilience",
    "RetryDetails",
    "SqlLiteConnProperties",
    "SqlLiteHandler",
    "__version__",
    "connect",
)
