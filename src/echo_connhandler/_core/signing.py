"""Signing requests with a shared secret (HMAC, RFC 2104), and the headers of the usual ways to say who asks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx

__all__ = ("Signer", "Signing", "basic_credentials", "signature", "signed_text")

Signer: TypeAlias = Callable[[httpx.Request, str, str], Mapping[str, str] | None]
"""Given a request, the API key and the secret: returns headers to send, or sets them on the request itself."""


_SIGNED = "echo_connhandler.signed"


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs, and with what."""

    signer: Signer
    api_key: str
    secret: str = field(repr=False)

    def sign(self, request: httpx.Request) -> None:
        """Set the headers that the signer gives; again where it was signed before, as time has passed."""
        before = dict(request.headers)
        request.headers.update(self.signer(request, self.api_key, self.secret) or {})
        names = {name for name, value in request.headers.items() if before.get(name) != value}
        names |= request.extensions.get(_SIGNED, set())
        request.extensions = {**request.extensions, _SIGNED: names}

    def remove(self, request: httpx.Request) -> None:
        """Drop what was signed for another origin: httpx takes it along when it follows a redirect."""
        for name in request.extensions.get(_SIGNED, ()):
            request.headers.pop(name, None)


def signed_text(request: httpx.Request, timestamp: str) -> bytes:
    """Return what a signature is about: timestamp, method, path with query, body; a line break after all but the body.

    The line breaks keep apart what would else read the same: none of the first three can have one.
    """
    head = "\n".join((timestamp, request.method, request.url.raw_path.decode("ascii"), ""))
    return head.encode("ascii") + request.content


def signature(secret: str, text: bytes) -> str:
    """Return the HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def basic_credentials(user: str, password: str) -> str:
    """Return the value of an `Authorization` header (RFC 7617).

    Raises:
        ValueError: the user has a colon, which would move the border to the password.
    """
    if ":" in user:
        raise ValueError("a user for basic authentication can't have a colon in it")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
