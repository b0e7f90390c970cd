"""What a download is given, checked: how to verify it, and what stands for where it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import httpx

from .http_calls import HttpCall

__all__ = ("Checksum", "source_of")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest that a file must have, in lower-case hexadecimal digits."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Read `"sha256:9f86d08..."`.

        Raises:
            ValueError: the algorithm is unknown, or the digest isn't one of it.
        """
        algorithm, _, digest = text.partition(":")
        known = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
        name = algorithm.strip().lower().replace("sha-", "sha")
        if name not in known:
            raise ValueError(f"checksum must be '<algorithm>:<hex digits>', the algorithm one of {', '.join(known)}")
        digest = digest.strip().lower()
        size = hashlib.new(name, usedforsecurity=False).digest_size * 2
        if len(digest) != size or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"checksum: a {name} digest has {size} hexadecimal digits, got {len(digest)} characters")
        return cls(name, digest)


def source_of(call: HttpCall) -> str:
    """Return what stands for a call's URL in the notes beside a file: a URL may hold secrets, so it's a digest."""
    params = httpx.QueryParams(call.body.params)
    return hashlib.sha256(f"{call.url}\n{params}".encode()).hexdigest()
