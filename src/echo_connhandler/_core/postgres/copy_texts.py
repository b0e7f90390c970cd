"""Values that frames can't hold as what they are, as the text that PostgreSQL shows for them (ISO dates, UTC)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..extras import require

if TYPE_CHECKING:
    from pyarrow import Array

    from .copy_rows import Buffer, Fields

__all__ = ("TEXTS", "as_texts")

_DAY = 86_400_000_000  # microseconds
_EPOCH = 2_451_545  # the Julian day of 2000-01-01, where PostgreSQL counts from
_INFINITE = {
    4: (-(2**31), 2**31 - 1),
    8: (-(2**63), 2**63 - 1),
}


def as_texts(buffer: Buffer, fields: Fields, wire: str) -> Array[Any]:
    """Return values as text."""
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    data, show = memoryview(buffer.bytes), TEXTS[wire]
    pairs = zip(fields.places.tolist(), fields.lengths.tolist(), strict=True)
    found = [None if length < 0 else show(bytes(data[place : place + length])) for place, length in pairs]
    array: Array[Any] = pa.array(found, pa.string())
    return array


def _date(raw: bytes) -> str:
    days = int.from_bytes(raw, "big", signed=True)
    if days in _INFINITE[4]:
        return "infinity" if days > 0 else "-infinity"
    text, era = _day(days)
    return text + era


def _day(days: int) -> tuple[str, str]:
    """Return a day of the Gregorian calendar, without end in both directions, and the era behind it."""
    # The usual reckoning by years that begin in March and eras of 400 of them.
    shifted = days + _EPOCH - 1_721_120
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = year_of_era + era * 400 + (month <= 2)
    if year > 0:
        return f"{year:04d}-{month:02d}-{day:02d}", ""
    return f"{1 - year:04d}-{month:02d}-{day:02d}", " BC"


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text


def _time(raw: bytes) -> str:
    return _clock(int.from_bytes(raw, "big", signed=True))


def _moment(zone: str) -> Callable[[bytes], str]:
    def show(raw: bytes) -> str:
        micros = int.from_bytes(raw, "big", signed=True)
        if micros in _INFINITE[8]:
            return "infinity" if micros > 0 else "-infinity"
        days, rest = divmod(micros, _DAY)
        day, era = _day(days)
        return f"{day} {_clock(rest)}{zone}{era}"

    return show


def _interval(raw: bytes) -> str:
    micros, days, months = struct.unpack(">qii", raw)
    if (micros, days, months) in ((-(2**63), -(2**31), -(2**31)), (2**63 - 1, 2**31 - 1, 2**31 - 1)):
        return "infinity" if micros > 0 else "-infinity"
    parts, negative_before = [], False
    years, months = (
        abs(months) // 12 * (1 if months > 0 else -1),
        months - abs(months) // 12 * 12 * (1 if months > 0 else -1),
    )
    for number, unit in ((years, "year"), (months, "mon"), (days, "day")):
        if number:
            sign = "+" if negative_before and number > 0 else ""
            parts.append(f"{sign}{number} {unit}{'' if number == 1 else 's'}")
            negative_before = number < 0
    if micros or not parts:
        sign = "-" if micros < 0 else "+" if negative_before else ""
        parts.append(sign + _clock(abs(micros)))
    return " ".join(parts)


def _numeric(raw: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">hhHH", raw)
    if sign > 0x4000:
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    number = 0
    for digits in struct.unpack_from(f">{count}h", raw, 8):
        number = number * 10_000 + digits
    shift = 4 * (weight - count + 1) + scale
    number = number * 10**shift if shift >= 0 else number // 10**-shift
    return f"{Decimal(((1 if sign else 0), tuple(map(int, str(number))), -scale)):f}"


TEXTS: dict[str, Callable[[bytes], str]] = {
    "date": _date,
    "interval": _interval,
    "numeric": _numeric,
    "numeric text": bytes.decode,
    "time": _time,
    "timestamp": _moment(""),
    "timestamptz": _moment("+00"),
}
