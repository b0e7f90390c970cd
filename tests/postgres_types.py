"""PostgreSQL's types, a literal of each, and what it is as a value in Python and in a frame: docs/types.md as a table.

Rows of all three worlds and frames are tested by it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from echo_connhandler.sql import Interval, Range

__all__ = ("SETUP", "VALUES", "Value", "same")

# What the types of the user's own need.
SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy');
CREATE DOMAIN positive AS numeric(8, 2) CHECK (VALUE > 0);
CREATE TYPE place AS (name text, at timestamptz, "two words" int[]);
CREATE TYPE inner_place AS (where_ place, mood mood);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE DOMAIN several AS int[];
"""

_TEXT = object()  # in a frame it is the literal's text
_SAME = object()  # in a frame it is the same value
UTC = dt.UTC


@dataclass(frozen=True)
class Value:
    """One value.

    Attributes:
        sql: its type.
        text: its literal, without quotes; None for NULL.
        python: what `fetch_value` gives.
        arrow: the type of its column in a frame.
        frame: what `to_pylist` gives there.
    """

    sql: str
    text: str | None
    python: Any
    arrow: pa.DataType
    frame: Any = _SAME

    @property
    def expected(self) -> Any:
        """What a frame's `to_pylist` gives."""
        if self.frame is _SAME:
            return self.python
        return self.text if self.frame is _TEXT else self.frame

    @property
    def literal(self) -> str:
        """SQL text of the value."""
        quoted = "NULL" if self.text is None else "'" + self.text.replace("'", "''") + "'"
        return f"CAST({quoted} AS {self.sql})"


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of one type throughout, NaN being equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, Range):
        return (one.bounds, one.empty) == (other.bounds, other.empty) and same(
            [one.lower, one.upper], [other.lower, other.upper]
        )
    if isinstance(one, float | Decimal):
        return str(one) == str(other)  # -0.0, NaN and a decimal's scale count
    if isinstance(one, dt.datetime | dt.time):
        return bool(one == other and one.utcoffset() == other.utcoffset())
    return bool(one == other)


def _moment(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def _interval(months: int, days: int, nanoseconds: int) -> Any:
    make: Any = pa.MonthDayNano
    return make([months, days, nanoseconds])


_TZ = pa.timestamp("us", tz="UTC")
_TS = pa.timestamp("us")
_STRING = pa.string()
_LONG = "9" * 500 + "." + "1" * 499 + "7"

VALUES = [
    Value("smallint", "-32768", -32768, pa.int16()),
    Value("integer", "2147483647", 2147483647, pa.int32()),
    Value("bigint", "-9223372036854775808", -(2**63), pa.int64()),
    Value("bigint", None, None, pa.int64()),
    Value("oid", "4294967295", 4294967295, pa.uint32()),
    Value("numeric(10,2)", "1.50", Decimal("1.50"), pa.decimal128(10, 2)),
    Value("numeric(38,0)", "9" * 38, Decimal("9" * 38), pa.decimal128(38, 0)),
    Value(
        "numeric(76,10)", "-" + "9" * 66 + ".0123456789", Decimal("-" + "9" * 66 + ".0123456789"), pa.decimal256(76, 10)
    ),
    Value("numeric", "0.000", Decimal("0.000"), _STRING, _TEXT),
    Value("numeric", _LONG, Decimal(_LONG), _STRING, _TEXT),
    Value("numeric", "NaN", Decimal("NaN"), _STRING, _TEXT),
    Value("numeric(10,2)", "NaN", Decimal("NaN"), _STRING, _TEXT),
    Value("real", "1.1", 1.100000023841858, pa.float32()),
    Value("real", "3.4028235e+38", 3.4028234663852886e38, pa.float32()),
    Value("real", "NaN", math.nan, pa.float32()),
    Value("double precision", "0.1", 0.1, pa.float64()),
    Value("double precision", "5e-324", 5e-324, pa.float64()),
    Value("double precision", "-0", -0.0, pa.float64()),
    Value("double precision", "-Infinity", -math.inf, pa.float64()),
    Value("double precision", "NaN", math.nan, pa.float64()),
    Value("boolean", "true", True, pa.bool_()),
    Value("boolean", None, None, pa.bool_()),
    Value("text", "", "", _STRING),
    Value("text", "naïve Ω \U0001f600 \u200b\t\n\\ \"'{}", "naïve Ω \U0001f600 \u200b\t\n\\ \"'{}", _STRING),
    Value("varchar(5)", "abc", "abc", _STRING),
    Value("char(4)", "ab  ", "ab  ", _STRING),
    Value('"char"', "x", "x", _STRING),
    Value("name", "a b", "a b", _STRING),
    Value("bytea", r"\x", b"", pa.binary()),
    Value("bytea", r"\x00ff5c27", b"\x00\xff\\'", pa.binary()),
    Value("date", "2026-11-20", dt.date(2026, 11, 20), pa.date32()),
    Value("date", "0001-01-01", dt.date(1, 1, 1), pa.date32()),
    Value("date", "9999-12-31", dt.date(9999, 12, 31), pa.date32()),
    Value("date", "10000-01-01", "10000-01-01", _STRING, _TEXT),
    Value("date", "0044-03-15 BC", "0044-03-15 BC", _STRING, _TEXT),
    Value("date", "infinity", "infinity", _STRING, _TEXT),
    Value("date", "-infinity", "-infinity", _STRING, _TEXT),
    Value("time", "23:59:59.999999", dt.time(23, 59, 59, 999999), pa.time64("us")),
    Value("time", "24:00:00", "24:00:00", _STRING, _TEXT),
    Value(
        "timetz", "10:00:00.5+02", dt.time(10, 0, 0, 500000, tzinfo=dt.timezone(dt.timedelta(hours=2))), _STRING, _TEXT
    ),
    Value("timestamp", "2026-11-20 10:00:00.000001", dt.datetime(2026, 11, 20, 10, 0, 0, 1), _TS),
    Value("timestamp", "0001-01-01 00:00:00", dt.datetime(1, 1, 1), _TS),
    Value("timestamp", "9999-12-31 23:59:59.999999", dt.datetime.max, _TS),
    Value("timestamp", "12026-11-20 10:00:00", "12026-11-20 10:00:00", _STRING, _TEXT),
    Value("timestamp", "0001-12-31 23:59:59 BC", "0001-12-31 23:59:59 BC", _STRING, _TEXT),
    Value("timestamp", "infinity", "infinity", _STRING, _TEXT),
    Value("timestamptz", "2026-11-20 10:00:00+02", _moment(2026, 11, 20, 8), _TZ),
    Value("timestamptz", "9999-12-31 23:59:59.999999+00", _moment(9999, 12, 31, 23, 59, 59, 999999), _TZ),
    Value("timestamptz", "-infinity", "-infinity", _STRING, _TEXT),
    Value("timestamptz", "10000-01-01 00:00:00+00", "10000-01-01 00:00:00+00", _STRING, _TEXT),
    Value(
        "interval",
        "1 year 2 mons -3 days 04:05:06.000007",
        Interval(14, -3, 14_706_000_007),
        pa.month_day_nano_interval(),
        _interval(14, -3, 14_706_000_007_000),
    ),
    Value(
        "interval",
        "-00:00:00.5",
        Interval(0, 0, -500_000),
        pa.month_day_nano_interval(),
        _interval(0, 0, -500_000_000),
    ),
    Value("interval", "00:00:00", Interval(), pa.month_day_nano_interval(), _interval(0, 0, 0)),
    Value("json", '{"b": [1, 2.5, null], "a": "\\u00e9"}', {"b": [1, 2.5, None], "a": "é"}, _STRING, _TEXT),
    Value("jsonb", '[true, "x"]', [True, "x"], _STRING, _TEXT),
    Value("jsonb", "null", None, _STRING, _TEXT),
    Value("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), _STRING, _TEXT),
    Value("inet", "192.168.0.1", ipaddress.ip_address("192.168.0.1"), _STRING, _TEXT),
    Value("inet", "192.168.0.1/24", ipaddress.ip_interface("192.168.0.1/24"), _STRING, _TEXT),
    Value("inet", "fe80::1", ipaddress.ip_address("fe80::1"), _STRING, _TEXT),
    Value("cidr", "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8"), _STRING, _TEXT),
    Value("mood", "so so", "so so", _STRING),
    Value("positive", "1.50", Decimal("1.50"), pa.decimal128(8, 2)),
    Value("int[]", "{1,NULL,-3}", [1, None, -3], pa.list_(pa.int32())),
    Value("int[]", "{}", [], pa.list_(pa.int32())),
    Value("int[]", None, None, pa.list_(pa.int32())),
    Value("int[]", "{{1,2},{3,NULL}}", [[1, 2], [3, None]], _STRING, _TEXT),
    Value("int[]", "[0:1]={7,8}", [7, 8], _STRING, _TEXT),
    Value("several", "{1,2}", [1, 2], pa.list_(pa.int32())),
    Value(
        "text[]",
        r'{"a,b","NULL",NULL,"","\"x\"","\\y","{z}",é}',
        ["a,b", "NULL", None, "", '"x"', r"\y", "{z}", "é"],
        pa.list_(_STRING),
    ),
    Value("bool[]", "{t,f,NULL}", [True, False, None], pa.list_(pa.bool_())),
    Value("bytea[]", r'{"\\x00ff"}', [b"\x00\xff"], pa.list_(pa.binary())),
    Value("numeric[]", "{1.50,NaN}", [Decimal("1.50"), Decimal("NaN")], pa.list_(_STRING), ["1.50", "NaN"]),
    Value("float4[]", "{1.1}", [1.100000023841858], pa.list_(pa.float32())),
    Value("timestamptz[]", '{"2026-11-20 10:00:00+00"}', [_moment(2026, 11, 20, 10)], pa.list_(_TZ)),
    Value("jsonb[]", r'{"{\"a\": 1}"}', [{"a": 1}], pa.list_(_STRING), ['{"a": 1}']),
    Value("mood[]", '{sad,"so so"}', ["sad", "so so"], pa.list_(_STRING)),
    Value("int4range", "[1,5)", Range(1, 5), _STRING, _TEXT),
    Value("int4range", "empty", Range(empty=True), _STRING, _TEXT),
    Value("numrange", "[1.50,)", Range(Decimal("1.50"), None), _STRING, _TEXT),
    Value("daterange", "(,)", Range(None, None, "()"), _STRING, _TEXT),
    Value("tstzrange", '(,"2026-11-20 10:00:00+00"]', Range(None, _moment(2026, 11, 20, 10), "(]"), _STRING, _TEXT),
    Value("floats", "(0.5,1.5]", Range(0.5, 1.5, "(]"), _STRING, _TEXT),
    Value("int4multirange", "{[1,3),[5,7)}", [Range(1, 3), Range(5, 7)], _STRING, _TEXT),
    Value("int4multirange", "{}", [], _STRING, _TEXT),
    Value(
        "place",
        r'("a ""b"" \\ (c), d","2026-11-20 10:00:00+00","{1,NULL}")',
        {"name": 'a "b" \\ (c), d', "at": _moment(2026, 11, 20, 10), "two words": [1, None]},
        _STRING,
        _TEXT,
    ),
    Value("place", '("",,)', {"name": "", "at": None, "two words": None}, _STRING, _TEXT),
    Value(
        "inner_place",
        '("(x,,)",happy)',
        {"where_": {"name": "x", "at": None, "two words": None}, "mood": "happy"},
        _STRING,
        _TEXT,
    ),
    Value(
        "place[]",
        '{"(x,,)",NULL}',
        [{"name": "x", "at": None, "two words": None}, None],
        pa.list_(_STRING),
        ["(x,,)", None],
    ),
    Value("bit(3)", "101", "101", _STRING),
    Value("varbit", "0101", "0101", _STRING),
    Value("money", "$12.34", "$12.34", _STRING),
    Value("point", "(1,2)", "(1,2)", _STRING),
    Value("box[]", "{(1,1),(0,0);NULL}", ["(1,1),(0,0)", None], pa.list_(_STRING)),
    Value("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03", _STRING),
    Value("xml", "<a/>", "<a/>", _STRING),
    Value("tsvector", "'b':2", "'b':2", _STRING),
    Value("regclass", "pg_class", "pg_class", _STRING),
]
