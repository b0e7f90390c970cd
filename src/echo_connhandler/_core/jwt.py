"""How long a token lasts, as a login's answer or the token itself says. Nothing is verified: that is the server's."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

__all__ = ("claims_of", "token_lifetime")


def claims_of(token: str) -> dict[str, Any]:
    """Return what a JSON Web Token (RFC 7519) claims; empty if it isn't one."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(text)
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def token_lifetime(answer: Mapping[str, Any], token: str, now: float) -> float | None:
    """Return the seconds that a fresh token lasts: by `expires_in` (RFC 6749, 5.1), else by its own claims, else None.

    Where the token says when it was issued, this machine's clock, which may be wrong, is not asked.

    Args:
        answer: the JSON object that came with the token.
        token: the token.
        now: seconds since the epoch.
    """
    told = _number(answer.get("expires_in"))
    if told is not None:
        return told
    claims = claims_of(token)
    ends, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    if ends is None:
        return None
    return max(0.0, ends - (now if issued is None else issued))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1e12 else None
