"""Rows and messages of COPY, made for tests."""

from __future__ import annotations

import struct

from hypothesis import settings

from echo_connhandler._core.postgres.copy_rows import SIGNATURE

__all__ = (
    "FEW",
    "HEAD",
    "HEADER",
    "MARK",
    "TRAILER",
    "message",
)

FEW = settings(max_examples=20)
HEADER = SIGNATURE + bytes(8)
TRAILER = b"\xff\xff"
MARK = b"\x12\x34\x56\x78\x9a\xbc\xde\xf0"
HEAD = struct.pack(">hi", 2, 8) + MARK


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body
