"""One interface to SQL servers, HTTP APIs and FTP that connects, logs in, retries, and never loses or doubles data."""

from ._version import __version__
from .errors import EchoConnError
from .http import HttpConnProperties, HttpHandler, HttpSession, LoginFlow
from .instrumentation import RetryDetails
from .resilience import Resilience

__all__ = (
    "EchoConnError",
    "HttpConnProperties",
    "HttpHandler",
    "HttpSession",
    "LoginFlow",
    "Resilience",
    "RetryDetails",
    "__version__",
)
