"""What a failed FTP call means for its retry."""

from __future__ import annotations

import ssl

from ..errors import (
    AuthenticationError,
    ConnectionFailedError,
    EchoConnError,
    FtpNotFoundError,
    FtpReplyError,
    TimeoutExceededError,
)
from ..retry import Failure, Kind
from .replies import UnaskedError

__all__ = ("NOT_THERE", "TEMPORARY", "UNKNOWN_COMMAND", "judge")

TEMPORARY = frozenset({421, 425, 426, 450, 451, 452})
# "not understood" and "not implemented": another command may do.
UNKNOWN_COMMAND = frozenset({500, 502, 504})
# How servers answer for a path that isn't there, among others of their reasons.
NOT_THERE = frozenset({501, 550, 553})


def judge(error: Exception, call: str) -> Failure | None:
    """Judge an exception of a call; None for one that has been judged already, or is none of FTP's.

    What is lost may be done again: calls that change something look first whether it has been done.

    Args:
        error: the exception.
        call: names the call and, at its end, the server in messages.
    """
    if not isinstance(error, EchoConnError) or error._kind is not None:  # noqa: SLF001 - set by the retries of a part
        return None
    if isinstance(error, FtpReplyError):
        # A server may answer with 450 that there's no such file: no time will bring it.
        temporary = error.code in TEMPORARY and not isinstance(error, FtpNotFoundError)
        return Failure(Kind.TEMPORARY if temporary else Kind.WRONG, _named(error, call))
    if isinstance(error, AuthenticationError):
        return Failure(Kind.WRONG, _named(error, call))
    if isinstance(error, UnaskedError):
        return Failure(Kind.NOT_SENT, _named(error, call))
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):  # no time will make it the right one
        return Failure(Kind.WRONG, _named(error, call))
    if isinstance(error, ConnectionFailedError | TimeoutExceededError):
        return Failure(Kind.LOST, _named(error, call))
    return None


def _named(error: EchoConnError, call: str) -> EchoConnError:
    text = str(error.args[0]) if error.args else ""
    server = call[max(call.find("FTP "), 0) :]  # a driver's message begins with it, as the call's name ends with it
    named = error.again()
    named.args = (f"{call}: {text.removeprefix(f'{server}: ')}",)
    return named
