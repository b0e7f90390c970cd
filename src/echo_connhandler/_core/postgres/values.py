"""What PostgreSQL's text of a value becomes in Python. Both drivers read values through here, so both give the same.

A value that Python's type can't hold stays the server's own text: infinity and years beyond 1 to 9999 of dates and
timestamps, 24:00:00 of times.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from .literals import split_items

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ("SCALARS", "TYPES_SQL", "Interval", "Loader", "Range", "Types", "load_row", "load_rows")


Loader: TypeAlias = Callable[[str], Any]


class Interval(NamedTuple):
    """PostgreSQL's interval: a month has no fixed number of days, nor a day of hours."""

    months: int = 0
    days: int = 0
    microseconds: int = 0

    def __str__(self) -> str:
        """Return text that PostgreSQL reads as this interval."""
        return f"{self.months} mons {self.days} days {self.microseconds} microseconds"


@dataclass(frozen=True, slots=True)
class Range:
    """PostgreSQL's range of values.

    Attributes:
        lower: its lower end; None has none.
        upper: its upper end; None has none.
        bounds: "[)", "[]", "(]" or "()": which ends belong to it.
        empty: whether it holds nothing; the others say nothing then.
    """

    lower: Any = None
    upper: Any = None
    bounds: str = "[)"
    empty: bool = False

    def __post_init__(self) -> None:
        if self.bounds not in ("[)", "[]", "(]", "()"):
            raise ValueError(f'bounds must be "[)", "[]", "(]" or "()", got {self.bounds!r}')


def _date(text: str) -> Any:
    if text[4] == "-" and len(text) == 10:
        return dt.date.fromisoformat(text)
    return text


def _timestamp(text: str) -> Any:
    if text[4] == "-" and text[-1] != "C":  # BC
        return dt.datetime.fromisoformat(text)
    return text


def _timestamptz(text: str) -> Any:
    if text[4] != "-" or text[-1] == "C":
        return text
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is dt.UTC:
        return moment
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        return text


def _time(text: str) -> Any:
    return text if text.startswith("24") else dt.time.fromisoformat(text)


_INTERVAL = re.compile(
    r"(?:(?P<years>[+-]?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-])?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d+))?)?"
)


def _interval(text: str) -> Any:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        return text  # infinity, from PostgreSQL 17 on
    years, months, days, sign, hours, minutes, seconds, fraction = match.groups(default="0")
    clock = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int(fraction.ljust(6, "0"))
    return Interval(int(years) * 12 + int(months), int(days), -clock if sign == "-" else clock)


def _float4(text: str) -> float:
    return float(struct.unpack("f", struct.pack("f", float(text)))[0])


def _inet(text: str) -> Any:
    return ipaddress.ip_interface(text) if "/" in text else ipaddress.ip_address(text)


def _bytea(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _bool(text: str) -> bool:
    return text == "t"


# By the type's oid (pg_type.dat of PostgreSQL's source). A type that isn't here stays text.
SCALARS: dict[int, Loader] = {
    16: _bool,
    17: _bytea,
    20: int,
    21: int,
    23: int,
    26: int,
    114: json.loads,
    3802: json.loads,
    700: _float4,
    701: float,
    1700: Decimal,
    1082: _date,
    1083: _time,
    1266: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1186: _interval,
    2950: UUID,
    869: _inet,
    650: ipaddress.ip_network,
}

_ARRAYS = {
    1000: 16, 1001: 17, 1016: 20, 1005: 21, 1007: 23, 1028: 26, 199: 114, 3807: 3802, 1021: 700, 1022: 701,
    1231: 1700, 1182: 1082, 1183: 1083, 1270: 1266, 1115: 1114, 1185: 1184, 1187: 1186, 2951: 2950, 1041: 869,
    651: 650, 1002: 18, 1003: 19, 1009: 25, 1014: 1042, 1015: 1043, 1040: 829, 143: 142, 1561: 1560, 1563: 1562,
}  # fmt: skip
_RANGES = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
_MULTIRANGES = {4451: 3904, 4532: 3906, 4533: 3908, 4534: 3910, 4535: 3912, 4536: 3926}
# Types of the server's own that stay text: character types, oid's relatives, geometric types, bits, and such.
_TEXTS = frozenset({18, 19, 25, 27, 28, 29, 142, 600, 601, 602, 603, 604, 628, 705, 718, 774, 790, 829, 1042, 1043})
_MORE_TEXTS = frozenset({22, 30, 1560, 1562, 1790, 2205, 2206, 2249, 2275, 2278, 2970, 3220, 3614, 3615, 3642, 5069})

# What is not known by heart is asked of the server: array elements, domains' bases, ranges, composites' columns.
# to_jsonb: PostgreSQL 13 has no multiranges and no such column.
TYPES_SQL = """
SELECT t.oid::int8, t.typname::text, t.typtype::text, t.typcategory::text, t.typdelim::text, t.typelem::int8,
  t.typbasetype::int8, coalesce(r.rngsubtype, 0)::int8,
  coalesce((SELECT (to_jsonb(m) ->> 'rngtypid')::int8 FROM pg_catalog.pg_range m
    WHERE to_jsonb(m) ->> 'rngmultitypid' = t.oid::text), 0),
  coalesce((SELECT json_agg(json_build_array(a.attname, a.atttypid::int8) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '[]')::text
FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
WHERE t.oid = ANY (string_to_array($1::text, ',')::oid[])
"""


def _same(text: str) -> str:
    return text


class Types:
    """What is known of the server's types: how the text of each becomes a value. One for a connection."""

    def __init__(self) -> None:
        self._loaders: dict[int, Loader] = dict(_KNOWN)
        self._rows: dict[int, Sequence[Any]] = {}
        self.hstore: set[int] = set()
        self.known = frozenset(_KNOWN)

    def missing(self, oids: Iterable[int]) -> list[int]:
        """Return those types that must be asked for with TYPES_SQL before `loader` knows them."""
        todo, wanted = [oid for oid in oids if oid not in self._loaders], []
        seen = set(todo)
        while todo:
            oid = todo.pop()
            row = self._rows.get(oid)
            if row is None:
                wanted.append(oid)
                continue
            for inner in _inner(row):
                if inner not in self._loaders and inner not in seen:
                    seen.add(inner)
                    todo.append(inner)
        return wanted

    def learn(self, asked: Iterable[int], rows: Iterable[Sequence[Any]]) -> None:
        """Take what the server answered; a type that it doesn't know (any more) stays text."""
        for row in rows:
            self._rows[row[0]] = row
            if row[1] == "hstore":
                self.hstore.add(row[0])
        for oid in asked:
            if oid not in self._rows:
                self._loaders[oid] = _same

    def loader(self, oid: int) -> Loader:
        """Return what makes a value of the type's text."""
        found = self._loaders.get(oid)
        if found is None:
            found = self._loaders[oid] = self._made(self._rows[oid])
        return found

    def plain(self, oid: int) -> bool:
        """Tell whether the type's text is its value."""
        return self.loader(oid) is _same

    def _made(self, row: Sequence[Any]) -> Loader:
        _, name, kind, category, delimiter, element, base, subtype, ranges, columns = row
        if category == "A" and element:
            return _array(self.loader(element), delimiter)
        if kind == "d":
            return self.loader(base)
        if kind == "r":
            return _range(self.loader(subtype))
        if kind == "m":
            return _multirange(self.loader(ranges))
        if kind == "c":
            return _composite([(str(column), self.loader(inner)) for column, inner in json.loads(columns)])
        return _hstore if name == "hstore" else _same


def _inner(row: Sequence[Any]) -> list[int]:
    _, _, kind, category, _, element, base, subtype, ranges, columns = row
    if category == "A" and element:
        return [element]
    return {
        "d": lambda: [base],
        "r": lambda: [subtype],
        "m": lambda: [ranges],
        "c": lambda: [inner for _, inner in json.loads(columns)],
    }.get(kind, list)()


def _array(load: Loader, delimiter: str = ",") -> Loader:
    def read(text: str) -> Any:
        if text[0] == "[":  # bounds that don't begin at 1, as in [0:1]={7,8}
            text = text[text.index("=") + 1 :]
        if text == "{}":
            return []
        if '"' not in text and "{" not in text[1:]:
            return [None if item == "NULL" else load(item) for item in text[1:-1].split(delimiter)]
        return _nested(split_items(text, delimiter))

    def _nested(items: list[Any]) -> list[Any]:
        return [_nested(item) if type(item) is list else None if item is None else load(item) for item in items]

    return read


_END = re.compile(r'"((?:[^"\\]|""|\\.)*+)"|([^,"\\()\[\]]*+)', re.DOTALL)
_UNQUOTED = re.compile(r'""|\\(.)', re.DOTALL)


def _unquoted(text: str) -> str:
    return _UNQUOTED.sub(lambda match: match[1] or '"', text)


def _range(load: Loader) -> Loader:
    def end(match: re.Match[str]) -> Any:
        if match[1] is not None:
            return load(_unquoted(match[1]))
        return load(match[2]) if match[2] else None

    def read(text: str) -> Any:
        if text == "empty":
            return Range(empty=True)
        lower = _END.match(text, 1)
        upper = lower and _END.match(text, lower.end() + 1)
        if not lower or not upper or upper.end() != len(text) - 1:
            return text
        return Range(end(lower), end(upper), text[0] + text[-1])

    return read


_ONE_RANGE = re.compile(r'[\[(](?:"(?:[^"\\]|""|\\.)*+"|[^"\])])*+[\])]', re.DOTALL)


def _multirange(load: Loader) -> Loader:
    return lambda text: [load(match[0]) for match in _ONE_RANGE.finditer(text)]


_FIELD = re.compile(r'((?:[^,"\\()]|"(?:[^"\\]|""|\\.)*+"|\\.)*+)([,)])', re.DOTALL)
_PIECE = re.compile(r'"((?:[^"\\]|""|\\.)*+)"|\\(.)', re.DOTALL)


def _composite(columns: Sequence[tuple[str, Loader]]) -> Loader:
    def read(text: str) -> Any:
        fields = [match[1] for match in _FIELD.finditer(text, 1)]
        if not columns or len(fields) != len(columns):  # the type has changed since it was asked for
            return text
        return {
            name: load(_PIECE.sub(lambda match: match[2] or _unquoted(match[1]), field)) if field else None
            for (name, load), field in zip(columns, fields, strict=True)
        }

    return read


_PAIR = re.compile(r'"((?:[^"\\]|\\.)*+)"=>(?:"((?:[^"\\]|\\.)*+)"|NULL)', re.DOTALL)


def _hstore(text: str) -> dict[str, str | None]:
    return {_unquoted(key): None if value is None else _unquoted(value) for key, value in _pairs(text)}


def _pairs(text: str) -> list[tuple[str, str | None]]:
    return [(match[1], match[2]) for match in _PAIR.finditer(text)]


_KNOWN: Mapping[int, Loader] = {
    **dict.fromkeys(_TEXTS | _MORE_TEXTS, _same),
    **SCALARS,
    **{oid: _array(SCALARS.get(element, _same)) for oid, element in _ARRAYS.items()},
    **{oid: _range(SCALARS[subtype]) for oid, subtype in _RANGES.items()},
    **{oid: _multirange(_range(SCALARS[_RANGES[each]])) for oid, each in _MULTIRANGES.items()},
}


def load_row(row: Sequence[Any], loaders: Sequence[tuple[int, Loader]]) -> tuple[Any, ...]:
    """Return the row with the values at these places made of their text."""
    values = list(row)
    for place, load in loaders:
        if values[place] is not None:
            values[place] = load(values[place])
    return tuple(values)


def load_rows(rows: Iterable[Sequence[Any]], loaders: Sequence[tuple[int, Loader]]) -> list[tuple[Any, ...]]:
    """Return the rows so."""
    return [load_row(row, loaders) for row in rows]
