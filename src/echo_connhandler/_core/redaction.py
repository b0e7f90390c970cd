"""Keeping secrets out of whatever is shown: URLs, messages, log records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("MASK", "SAFE_HEADERS", "SHOWN_HEADERS", "Redactor", "redact_url", "sounds_secret")

MASK = "***"

# Request headers that say nothing about who asks. All others count as credentials: they go to the host's origin only.
SAFE_HEADERS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "pragma",
        "range",
        "user-agent",
    }
)

# These go to the host's origin only too, but say no more than a URL does: hidden, they would make messages unreadable.
SHOWN_HEADERS = SAFE_HEADERS | {"host", "origin", "referer"}

_SECRET_NAME = re.compile(
    r"token|key|secret|passw|passphrase|pwd|senha|auth|sign|^sig$|session|credential|jwt|bearer|cookie", re.IGNORECASE
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>\\)\]}]*[^\s'\"<>\\)\]}.,:;]", re.IGNORECASE)
_SHORTEST = 3  # shorter values stand in ordinary words: masking them would only make the text unreadable


def sounds_secret(name: str) -> bool:
    """Tell whether the value that goes by this name is one to hide."""
    return _SECRET_NAME.search(name) is not None


def redact_url(url: str) -> str:
    """Return `url` without user info and fragment, the values of query keys that name a secret masked."""
    head, separator, rest = url.partition("://")
    if not separator:
        head, rest = "", url
    rest = rest.partition("#")[0]
    path, question, query = rest.partition("?")
    authority, slash, path = path.partition("/")
    authority = authority.rpartition("@")[2]
    if question:
        query = "&".join(_redact_pair(pair) for pair in query.split("&"))
    return f"{head}{separator}{authority}{slash}{path}{question}{query}"


def _redact_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={MASK}" if equals and value and sounds_secret(name) else pair


class Redactor:
    """Masks known secrets, in the spellings in which they travel, and the secrets of any URL in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Learn more secrets, for example a token that a login brought."""
        found = set(self._spellings)
        for secret in secrets:
            # A header's value is often "<scheme> <token>": the token alone is a secret too.
            for part in {secret, secret.rpartition(" ")[2]}:
                found.update(s for s in (part, quote(part, safe=""), quote_plus(part)) if len(s) >= _SHORTEST)
        if found != self._spellings:
            self._spellings = frozenset(found)
            self._pattern = re.compile("|".join(re.escape(s) for s in sorted(found, key=len, reverse=True)))

    def with_secrets(self, secrets: Iterable[str]) -> Redactor:
        """Return a redactor that knows more."""
        return Redactor([*self._spellings, *secrets])

    def text(self, text: str) -> str:
        """Return `text` with all that is secret masked."""
        if "://" in text:
            text = _URL.sub(lambda match: redact_url(match[0]), text)
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    __call__ = text
