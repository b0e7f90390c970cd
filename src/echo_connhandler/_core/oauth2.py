"""OAuth 2.0 token requests (RFC 6749) as login flows: generators that yield requests, as `login_flow` does."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote_plus

import httpx

from .errors import AuthenticationError
from .login import HttpSession
from .signing import basic_credentials

__all__ = ("OAuth2", "OAuth2Flow", "OAuth2Session")


@dataclass(frozen=True, kw_only=True, eq=False)
class OAuth2Session(HttpSession):
    """A session with a token from an OAuth 2.0 server.

    Attributes:
        refresh_token: what to ask for the next token with, if the server gave one.
        scope: what the token is for, as the server says it.
    """

    refresh_token: str | None = field(default=None, repr=False)
    scope: str | None = None

    def secrets(self) -> list[str]:
        """Return the secret texts in here."""
        return [*super().secrets(), *([self.refresh_token] if self.refresh_token else [])]


OAuth2Flow: TypeAlias = Generator[httpx.Request, httpx.Response, OAuth2Session]


@dataclass(frozen=True, kw_only=True)
class OAuth2:
    """An OAuth 2.0 server and who asks it; its methods are login flows, one per grant.

    Write `return (yield from OAuth2(...).client_credentials())` in a `login_flow`. The handler then asks for a new
    token a little before the old one ends, or when the API answers 401, once for all its threads and tasks.

    Attributes:
        token_url: the server's token endpoint; nothing of it is sent anywhere else.
        client_id: who asks.
        client_secret: its secret; None for a public client.
        scope: what to ask for; None leaves it to the server.
        secret_in_body: send id and secret in the form, for servers that don't take them as basic authentication.
        more: further form fields, for example `{"audience": "https://api.example.com"}`.
    """

    token_url: str | httpx.URL
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None
    secret_in_body: bool = False
    more: Mapping[str, str] = field(default_factory=dict, repr=False)

    def client_credentials(self) -> OAuth2Flow:
        """Ask for a token for the client itself (section 4.4)."""
        return self._ask({"grant_type": "client_credentials"})

    def password(self, user: str, password: str) -> OAuth2Flow:
        """Ask for a token for a user whose password is known (section 4.3)."""
        return self._ask({"grant_type": "password", "username": user, "password": password})

    def refresh(self, refresh_token: str) -> OAuth2Flow:
        """Ask for the next token (section 6). Keep the session's `refresh_token`: it may be a new one."""
        return self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token}, refresh_token)

    def _ask(self, form: dict[str, str], refresh_token: str | None = None) -> OAuth2Flow:
        if self.scope is not None:
            form["scope"] = self.scope
        headers = {"Accept": "application/json"}
        if self.client_secret is None or self.secret_in_body:
            form["client_id"] = self.client_id
            if self.client_secret is not None:
                form["client_secret"] = self.client_secret
        else:  # both are form-encoded first (section 2.3.1)
            headers["Authorization"] = basic_credentials(quote_plus(self.client_id), quote_plus(self.client_secret))
        response = yield httpx.Request("POST", self.token_url, data={**form, **self.more}, headers=headers)
        return _session(response, refresh_token)


def _session(response: httpx.Response, refresh_token: str | None) -> OAuth2Session:
    try:
        answer: Any = response.json()
    except ValueError:
        answer = None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token:
        said = answer.get("error_description") or answer.get("error") if isinstance(answer, dict) else None
        raise AuthenticationError(f"the token endpoint gave no access_token{f': {said}' if said else ''}", response)
    kind = answer.get("token_type", "Bearer")
    if str(kind).lower() != "bearer":
        raise AuthenticationError(f"the token endpoint gave a token of type {kind!r}, only Bearer is known", response)
    expires = answer.get("expires_in")
    return OAuth2Session(
        headers={"Authorization": f"Bearer {token}"},
        expires_in=None if expires is None else float(expires),
        refresh_token=answer.get("refresh_token") or refresh_token,
        scope=answer.get("scope"),
    )
