"""Dates, moments and spans of time of the binary protocol, decoded with numpy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..extras import require
from .values import Kind, moment_text

if TYPE_CHECKING:
    from .binary_columns import Rows
    from .wire import Column

__all__ = ("dates_and_moments", "spans")

_DAY = 86_400_000_000  # microseconds


@functools.cache
def _months() -> tuple[Any, Any]:
    """Return, for month m of year y at y * 16 + m: the day before its first, from 1970 on, and its days; 0 for none."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    first, days = np.zeros((2, 65536 * 16), np.int32)
    firsts = np.arange("0001-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int32)
    places = (np.arange(1, 10000)[:, None] * 16 + np.arange(1, 13)).ravel()
    first[places] = firsts[:-1] - 1
    days[places] = np.diff(firsts)
    return first, days


def dates_and_moments(rows: Rows, column: Column, kind: Any) -> Any:
    """Return the next column, dates or moments, as the type `kind`; as text where a date is none of the calendar's."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    sizes = rows.bytes[rows.at].astype(np.int64)
    present = sizes if rows.nulls is None else np.where(rows.nulls, 0, sizes)
    at = rows.at
    rows.move(sizes + 1)
    day = rows.get("u4", at + 1)
    month = (day & np.uint32(0xFFFF)) * np.uint32(16) + np.minimum(day >> np.uint32(16) & np.uint32(0xFF), 15)
    first, days = _months()
    number = day >> np.uint32(24)
    known = (number >= 1) & (number <= days[month]) & (present >= 4)
    if rows.nulls is not None:
        known |= rows.nulls
    if pa.types.is_string(kind) or not known.all():
        return _as_text(rows, column, at, present)
    whole = first[month] + number.astype(np.int32)
    if column.kind == Kind.DATE:
        return rows.array(kind, whole)
    micros = whole.astype(np.int64) * _DAY + _clock(rows, at, present)
    return rows.array(kind, micros)


def _clock(rows: Rows, at: Any, sizes: Any) -> Any:
    """Return the microseconds since midnight."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    widest = int(sizes.max(initial=0))
    if widest <= 4:
        return np.int64(0)
    clock = rows.get("u4", at + 5)
    hour, minute, second = (clock >> np.uint32(shift) & np.uint32(0xFF) for shift in (0, 8, 16))
    seconds = (hour * np.uint32(3600) + minute * np.uint32(60) + second).astype(np.int64)
    seconds *= 1_000_000
    if int(sizes.min()) < 7:
        seconds[sizes < 7] = 0
    if widest > 7:
        fraction = rows.get("u4", at + 8).astype(np.int64)
        fraction[sizes < 11] = 0
        seconds += fraction
    return seconds


def _as_text(rows: Rows, column: Column, at: Any, sizes: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    nulls = [False] * len(rows) if rows.nulls is None else rows.nulls.tolist()
    texts = [
        None if null else moment_text(bytes(rows.buffer[place + 1 : place + 1 + size]), column).decode()
        for place, size, null in zip(at.tolist(), sizes.tolist(), nulls, strict=True)
    ]
    return pa.array(texts, pa.string())


def spans(rows: Rows) -> Any:
    """Return the next column, of the type TIME, in microseconds."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    sizes = rows.bytes[rows.at].astype(np.int64)
    at = rows.at
    rows.move(sizes + 1)
    days = rows.get("u4", at + 2).astype(np.int64)
    clock = rows.get("u4", at + 6)
    hour, minute, second = ((clock >> np.uint32(shift) & np.uint32(0xFF)).astype(np.int64) for shift in (0, 8, 16))
    micros = ((days * 24 + hour) * 60 + minute) * 60 + second
    micros *= 1_000_000
    fraction = rows.get("u4", at + 9).astype(np.int64)
    fraction[sizes < 12] = 0
    micros += fraction
    micros = np.where(rows.bytes[at + 1] == 1, -micros, micros)
    if rows.nulls is not None:
        sizes = np.where(rows.nulls, 0, sizes)
    return np.where(sizes == 0, 0, micros)
