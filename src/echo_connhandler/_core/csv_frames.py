"""CSV files as Brazilian portals publish them, read to Arrow: encodings, decimal commas, and gzip without a word."""

from __future__ import annotations

import csv
import io
import zlib
from typing import TYPE_CHECKING, Any, Literal

from .columns import pyarrow, table, unique_names
from .errors import TransferError
from .extras import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("read_csv", "unzipped")

_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_LEADING_ZERO = r"^-?0[0-9]"
_EXPONENT = r"^-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]+$"
# A number by its decimal mark; the other mark may part thousands.
_NUMBER = {
    ",": r"^-?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]+)?$",
    ".": r"^-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?$",
}


def read_csv(
    data: bytes, *, separator: str = ";", decimal: Literal[",", "."] | None = None, limit: int | None = None
) -> pa.Table:
    """Read a CSV file with a header line to Arrow.

    Encoding: UTF-8 with or without BOM, else latin-1. Compressed with gzip or not. Types, decided column by column:

    ================================  ==============================================================
    every value (empty ones aside)    Arrow type
    ================================  ==============================================================
    a whole number                    int64
    with a decimal mark somewhere     decimal128(38, most decimal places), exact; thousands are parted
    with an exponent somewhere        float64
    one has a leading zero (`09`)     string: it may be a code
    anything else, dates too          string
    none                              null
    ================================  ==============================================================

    Args:
        data: the file.
        separator: between fields.
        decimal: the decimal mark; None finds it: a comma where some column can be read so. `1,421` alone in all
            columns is ambiguous, and read as 1.421.
        limit: bytes that it may have when it's unpacked; None for any number.

    Raises:
        ValueError: it is no such file; the text says where.
        TransferError: it is larger than `limit`, or broken off.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow()
    text = _decoded(unzipped(data, limit))
    header, _, rest = text.lstrip("\r\n").partition("\n")
    if not header.strip():
        return table([], [])
    names = unique_names(next(csv.reader([header.rstrip("\r")], delimiter=separator)))
    texts = _columns(rest, names, separator)
    if len(names) > 1 and header.rstrip("\r").endswith(separator) and texts[-1].null_count == len(texts[-1]):
        names, texts = names[:-1], texts[:-1]  # a separator ends each line
    mark = decimal or _mark_of(texts)
    return table([_typed(one, mark, fixed=decimal is not None) for one in texts], names)


def unzipped(data: bytes, limit: int | None = None) -> bytes:
    """Return data without its gzip compression, if it has one.

    Raises:
        TransferError: it is larger than `limit` bytes, or broken off.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    found = io.BytesIO()
    try:
        while data:
            unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found.write(unpacker.decompress(data, 0 if limit is None else limit + 1 - found.tell()))
            if limit is not None and found.tell() > limit:
                raise TransferError(f"the unpacked file is larger than max_response_bytes={limit}")
            if not unpacker.eof:
                raise TransferError("the gzip file is broken off")
            data = unpacker.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise TransferError(f"the gzip file is broken: {error}") from error
    return found.getvalue()


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _columns(text: str, names: list[str], separator: str) -> list[Any]:
    """Return each column as an Arrow array of trimmed text, empty ones as NULL."""
    pa = pyarrow()
    arrow_csv = require("pyarrow.csv", extra="arrow", purpose="reading CSV")
    pc = require("pyarrow.compute", extra="arrow", purpose="reading CSV")
    keys = [str(place) for place in range(len(names))]
    if not text.strip():
        return [pa.array([], pa.string()) for _ in keys]
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            read_options=arrow_csv.ReadOptions(column_names=keys),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(f"not a CSV file with {len(names)} columns ({', '.join(names)[:200]}): {error}") from error
    trimmed = [pc.utf8_trim_whitespace(table[key].combine_chunks()) for key in keys]
    return [pc.if_else(pc.equal(one, ""), pa.scalar(None, pa.string()), one) for one in trimmed]


def _mark_of(columns: list[Any]) -> Literal[",", "."]:
    commas = (one for one in columns if _all(one, _NUMBER[","]) and _any(one, ","))
    return "," if next(commas, None) is not None else "."


def _typed(texts: Any, mark: Literal[",", "."], *, fixed: bool) -> Any:
    pa = pyarrow()
    if texts.null_count == len(texts):
        return pa.nulls(len(texts))
    if _any(texts, _LEADING_ZERO):
        return texts
    if _all(texts, _INTEGER):
        try:
            return texts.cast(pa.int64())
        except pa.ArrowInvalid:
            return _decimals(texts)
    others: tuple[Literal[",", "."], ...] = () if fixed else ("," if mark == "." else ".",)
    for tried in (mark, *others):
        if _all(texts, _NUMBER[tried]):
            return _decimals(_plain(texts, tried))
    return texts.cast(pa.float64()) if _all(texts, f"{_NUMBER['.']}|{_EXPONENT}") else texts


def _plain(texts: Any, mark: str) -> Any:
    """Return numbers with a decimal point and unparted thousands."""
    pc = require("pyarrow.compute", extra="arrow", purpose="reading CSV")
    together = pc.replace_substring(texts, "." if mark == "," else ",", "")
    return pc.replace_substring(together, ",", ".") if mark == "," else together


def _decimals(texts: Any) -> Any:
    pa = pyarrow()
    pc = require("pyarrow.compute", extra="arrow", purpose="reading CSV")
    scale = pc.max(pc.utf8_length(pc.replace_substring_regex(texts, r"^[^.]*\.?", ""))).as_py() or 0
    try:
        return texts.cast(pa.decimal128(38, scale))
    except (pa.ArrowInvalid, ValueError):  # too many digits: text is exact too
        return texts


def _all(texts: Any, pattern: str) -> bool:
    pc = require("pyarrow.compute", extra="arrow", purpose="reading CSV")
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=1).as_py())


def _any(texts: Any, pattern: str) -> bool:
    pc = require("pyarrow.compute", extra="arrow", purpose="reading CSV")
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())
