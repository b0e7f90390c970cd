"""Values of parameters as COM_STMT_EXECUTE takes them: bound at the server, never part of the text.

Source: "COM_STMT_EXECUTE" and "Binary Protocol Value" (dev.mysql.com/doc/dev/mysql-server/latest).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from ..errors import ParameterError
from .literals import literal, simpler
from .values import Kind

__all__ = ("encode_params",)

_UNSIGNED = 0x80


def encode_params(params: Sequence[Any]) -> bytes:
    """Return the values as they stand at the end of the command.

    What the types become is what `literals.literal` writes for them: times are sent as text, as literals are.

    Raises:
        ParameterError: a value's type has no place in a statement.
    """
    if not params:
        return b""
    nulls = bytearray((len(params) + 7) // 8)
    kinds, values = bytearray(), []
    for place, value in enumerate(params):
        kind, sign, data = _encoded(value)
        if kind == Kind.NULL:
            nulls[place // 8] |= 1 << place % 8
        kinds += bytes((kind, sign))
        values.append(data)
    return b"".join((bytes(nulls), b"\1", bytes(kinds), *values))


def _encoded(value: Any) -> tuple[int, int, bytes]:
    """Return type, sign and bytes of a value."""
    if isinstance(value, Enum):
        return _encoded(value.value)
    if value is None:
        return Kind.NULL, 0, b""
    if isinstance(value, str):
        return Kind.VAR_STRING, 0, _text(value)
    if isinstance(value, int):  # bool too
        return _int(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            literal(value, backslashes=False)  # says what is wrong
        return Kind.DOUBLE, 0, struct.pack("<d", value)
    if isinstance(value, Decimal):
        return Kind.NEWDECIMAL, 0, _lengthy(literal(value, backslashes=False).encode())
    if isinstance(value, bytes | bytearray | memoryview):
        return Kind.BLOB, 0, _lengthy(bytes(value))
    return _encoded(simpler(value))


def _int(value: int) -> tuple[int, int, bytes]:
    if -(2**63) <= value < 2**63:
        return Kind.LONGLONG, 0, value.to_bytes(8, "little", signed=True)
    if 0 <= value < 2**64:
        return Kind.LONGLONG, _UNSIGNED, value.to_bytes(8, "little")
    return Kind.NEWDECIMAL, 0, _lengthy(literal(value, backslashes=False).encode())


def _text(value: str) -> bytes:
    try:
        return _lengthy(value.encode())
    except UnicodeEncodeError as error:
        raise ParameterError(f"text with a lone surrogate at position {error.start} can't be stored") from error


def _lengthy(data: bytes) -> bytes:
    size = len(data)
    if size < 251:
        return bytes([size]) + data
    for first, width in ((252, 2), (253, 3), (254, 8)):
        if size < 1 << 8 * width:
            return bytes([first]) + size.to_bytes(width, "little") + data
    raise ParameterError("a value of more than 16 EiB")  # pragma: no cover - no machine has the memory to try it
