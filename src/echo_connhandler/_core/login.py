"""What a login gives: the session, a plain value that a login flow returns."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx

from .redaction import SHOWN_HEADERS

__all__ = ("HttpSession", "LoginFlow", "SessionReplaced", "lifetime")


@dataclass(frozen=True, kw_only=True, eq=False)
class HttpSession:
    """What a login flow returns: what to send with every request to the host from now on.

    Attributes:
        headers: request headers, for example `{"Authorization": "Bearer ..."}`.
        params: query parameters, for APIs that take their token there.
        expires_in: seconds until the session ends; a little before that the handler logs in again. None: unknown.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires_in: float | None = None

    def secrets(self) -> list[str]:
        """Return the secret texts in here."""
        headers = [value for name, value in self.headers.items() if name.lower() not in SHOWN_HEADERS]
        return [*headers, *self.params.values()]


class SessionReplaced(Exception):  # noqa: N818 - nothing failed
    """A request waited for its turn so long that the session it was made with is no longer the one in force."""


LoginFlow: TypeAlias = Generator[httpx.Request, httpx.Response, HttpSession]


def lifetime(expires_in: float) -> float:
    """Return the seconds after which to log in again: before the end, by a tenth, at least 1 s and at most 30 s."""
    return max(0.0, expires_in - min(30.0, max(1.0, expires_in / 10)))
