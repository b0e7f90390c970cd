"""Which Arrow type a PostgreSQL column has, and how its values travel in COPY's binary format.

Numbers of types (OIDs) are those of pg_type.dat, the same in every server; types that users make are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..extras import require

if TYPE_CHECKING:
    from pyarrow import DataType

__all__ = ("ARRAYS", "WIRES", "Column", "Kind", "TypeInfo", "kind_of", "wire_type")

# Those whose binary form is decoded here; of all others the server gives the text.
WIRES = {
    16: "bool",
    17: "bytea",
    19: "text",  # name
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    26: "oid",
    114: "text",  # json
    700: "float4",
    701: "float8",
    705: "text",  # unknown
    1042: "text",  # bpchar
    1043: "text",  # varchar
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1700: "numeric",
    2278: "text",  # void
    2950: "uuid",
    3802: "jsonb",
}
ARRAYS = {
    199: 114,
    1000: 16,
    1001: 17,
    1003: 19,
    1005: 21,
    1007: 23,
    1009: 25,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1021: 700,
    1022: 701,
    1028: 26,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    2951: 2950,
    3807: 3802,
}
_NUMERIC = 1700
_INET = 869
_INT64_DIGITS = 18


class Column(NamedTuple):
    """A result's column: `modifier` is PostgreSQL's atttypmod, -1 for none."""

    name: str
    oid: int
    modifier: int


class TypeInfo(NamedTuple):
    """What pg_type says of a type that users made: its typtype, its element's OID if it is an array, its base's OID."""

    kind: str
    element: int
    base: int


@dataclass(frozen=True, slots=True)
class Kind:
    """How a column is read.

    Attributes:
        wire: the binary form of a value, or of an array's element.
        type: the Arrow type of a value, or of an array's element.
        cast: what the query casts the column to, "" where it comes as it is.
        is_array: whether the column is an array.
        scale: of a numeric: digits after the point, also negative.
    """

    wire: str
    type: DataType
    cast: str = ""
    is_array: bool = False
    scale: int = 0

    @property
    def arrow(self) -> DataType:
        """The Arrow type of the column."""
        pa = require("pyarrow", extra="arrow", purpose="reading frames")
        return pa.list_(self.type) if self.is_array else self.type


def wire_type(wire: str) -> DataType:
    """Return the Arrow type of the values of a binary form; numeric has none by itself."""
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    made: DataType = {
        "bool": pa.bool_,
        "bytea": pa.binary,
        "date": pa.date32,
        "float4": pa.float32,
        "float8": pa.float64,
        "int2": pa.int16,
        "int4": pa.int32,
        "int8": pa.int64,
        "interval": pa.month_day_nano_interval,
        "oid": pa.uint32,
        "time": lambda: pa.time64("us"),
        "timestamp": lambda: pa.timestamp("us"),
        "timestamptz": lambda: pa.timestamp("us", "UTC"),
    }.get(wire, pa.string)()
    return made


def kind_of(column: Column, known: Mapping[int, TypeInfo]) -> Kind:
    """Return how `column` is read; `known` tells about types that are not in the tables here.

    numeric(p, s) is decimal128 up to 38 digits and decimal256 up to 76. Beyond, and without a scale, it's exact text.
    """
    element = ARRAYS.get(column.oid)
    info = known.get(column.oid)
    if info is not None and info.element:
        element = info.element
    oid = column.oid if element is None else element
    info = known.get(oid)
    if info is not None and info.kind == "d":
        oid = info.base
        info = known.get(oid)
    is_array = element is not None
    if oid == _NUMERIC:
        return _numeric(column.modifier, is_array)
    wire = "text" if info is not None and info.kind == "e" else WIRES.get(oid)
    if wire is None:
        return Kind("inet" if oid == _INET else "text", wire_type("text"), "text[]" if is_array else "text", is_array)
    return Kind(wire, wire_type(wire), "", is_array)


def _numeric(modifier: int, is_array: bool) -> Kind:
    pa: Any = require("pyarrow", extra="arrow", purpose="reading frames")
    cast = "text[]" if is_array else "text"
    if modifier < 4:
        return Kind("text", pa.string(), cast, is_array)
    precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
    if scale >= 0x400:  # 11 bits with a sign, from PostgreSQL 15 on
        scale -= 0x800
    # Arrow's decimals have 0 <= scale <= precision here: numeric(2, -3) holds 5 digits, numeric(3, 5) at most 5.
    digits, places = max(precision - min(scale, 0), scale), max(scale, 0)
    if digits > 76:
        return Kind("text", pa.string(), cast, is_array)
    kind = pa.decimal128(digits, places) if digits <= 38 else pa.decimal256(digits, places)
    if digits > _INT64_DIGITS:
        return Kind("numeric text", kind, cast, is_array, places)
    return Kind("numeric", kind, "", is_array, places)
