"""What values of MySQL and MariaDB become in Python: one table for both libraries and both protocols.

Sources: "Binary Protocol Resultset" (dev.mysql.com/doc/dev/mysql-server/latest), "Data Types" of both manuals.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Any, TypeAlias

from .wire import Column, read_number

__all__ = ("BINARY", "Flag", "Kind", "has_floats", "is_bytes", "moment_text", "read_binary_row", "text_decoders")

BINARY = 63  # the number of the collation "binary"

Decoder: TypeAlias = Callable[[bytes], Any]


class Kind(IntEnum):
    """Types of columns, as the server numbers them."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    VARCHAR = 15
    BIT = 16
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


class Flag(IntEnum):
    """Flags of columns."""

    NOT_NULL = 1
    UNSIGNED = 32
    BINARY = 128
    ENUM = 256
    SET = 2048


_INTEGERS = frozenset({Kind.TINY, Kind.SHORT, Kind.LONG, Kind.LONGLONG, Kind.INT24, Kind.YEAR})


def is_bytes(column: Column) -> bool:
    """Tell whether a column that is neither number nor time holds bytes, not text."""
    return column.charset == BINARY and column.kind != Kind.JSON


def has_floats(columns: Sequence[Column]) -> bool:
    """Tell whether a column is FLOAT, which the text protocol rounds to six digits."""
    return any(column.kind == Kind.FLOAT for column in columns)


def _same(data: bytes) -> bytes:
    return data


def _decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _bits(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _date(data: bytes) -> dt.date | str:
    text = data.decode("ascii")
    try:
        return dt.date.fromisoformat(text)
    except ValueError:  # 0000-00-00, 2024-02-00
        return text


def _moment(data: bytes) -> dt.datetime | str:
    text = data.decode("ascii")
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return text


def _instant(data: bytes) -> dt.datetime | str:
    moment = _moment(data)
    return moment if isinstance(moment, str) else moment.replace(tzinfo=dt.UTC)


def _time(data: bytes) -> dt.timedelta | str:
    """Read `-838:59:59.000000`."""
    text = data.decode("ascii")
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    length = dt.timedelta(
        hours=abs(int(hours)), minutes=int(minutes), seconds=int(whole), microseconds=int(fraction.ljust(6, "0"))
    )
    return -length if text[0] == "-" else length


def _json(data: bytes) -> Any:
    return json.loads(data)


_TEXT: dict[int, Decoder] = {
    **dict.fromkeys(_INTEGERS, int),
    Kind.FLOAT: float,
    Kind.DOUBLE: float,
    Kind.DECIMAL: _decimal,
    Kind.NEWDECIMAL: _decimal,
    Kind.TIMESTAMP: _instant,
    Kind.DATETIME: _moment,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.BIT: _bits,
    Kind.JSON: _json,
}


def text_decoders(columns: Sequence[Column]) -> list[Decoder]:
    """Return what makes values of the bytes that the text protocol sends, one for each column."""
    return [_TEXT.get(column.kind) or (_same if is_bytes(column) else bytes.decode) for column in columns]


_NUMBERS = {  # kind: (bytes, signed, unsigned)
    Kind.TINY: (1, struct.Struct("<b"), struct.Struct("<B")),
    Kind.SHORT: (2, struct.Struct("<h"), struct.Struct("<H")),
    Kind.YEAR: (2, struct.Struct("<h"), struct.Struct("<H")),
    Kind.INT24: (4, struct.Struct("<i"), struct.Struct("<I")),
    Kind.LONG: (4, struct.Struct("<i"), struct.Struct("<I")),
    Kind.LONGLONG: (8, struct.Struct("<q"), struct.Struct("<Q")),
    Kind.FLOAT: (4, struct.Struct("<f"), struct.Struct("<f")),
    Kind.DOUBLE: (8, struct.Struct("<d"), struct.Struct("<d")),
}
_MOMENT = struct.Struct("<HBBBBBI")
_SPAN = struct.Struct("<?IBBBI")


def read_binary_row(row: bytes, columns: Sequence[Column], decoders: Sequence[Decoder]) -> tuple[Any, ...]:
    """Read a row of the binary protocol; `decoders` are those of `text_decoders`, which serve for text and decimals."""
    at = 1 + (len(columns) + 9) // 8
    values: list[Any] = []
    for place, column in enumerate(columns):
        if row[1 + (place + 2) // 8] >> (place + 2) % 8 & 1:
            values.append(None)
        elif (number := _NUMBERS.get(Kind(column.kind) if column.kind in _NUMBERS else Kind.NULL)) is not None:
            size, signed, unsigned = number
            form = unsigned if column.flags & Flag.UNSIGNED else signed
            values.append(form.unpack_from(row, at)[0])
            at += size
        else:
            size, at = read_number(row, at)
            data = row[at : at + size]
            at += size
            if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP):
                data = moment_text(data, column)
            elif column.kind == Kind.TIME:
                data = _span_text(data)
            values.append(decoders[place](data))
    return tuple(values)


def moment_text(data: bytes, column: Column) -> bytes:
    """Return a date or moment as the text protocol sends it."""
    year, month, day, hour, minute, second, micros = _MOMENT.unpack(data.ljust(11, b"\0"))
    text = f"{year:04}-{month:02}-{day:02}"
    if column.kind != Kind.DATE:
        text += f" {hour:02}:{minute:02}:{second:02}" + _fraction(micros, column)
    return text.encode()


def _fraction(micros: int, column: Column) -> str:
    digits = column.scale if column.scale <= 6 else 6 if micros else 0
    return f".{micros:06}"[: digits + 1] if digits else ""


def _span_text(data: bytes) -> bytes:
    negative, days, hours, minutes, seconds, micros = _SPAN.unpack(data.ljust(12, b"\0"))
    return f"{'-' if negative else ''}{days * 24 + hours:02}:{minutes:02}:{seconds:02}.{micros:06}".encode()
