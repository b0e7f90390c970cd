"""Frames in files: CSV, also compressed with gzip, and Parquet; read to Arrow, and written from it in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from gzip import GzipFile
from typing import TYPE_CHECKING, Any, BinaryIO

from ..csv_frames import read_csv
from ..errors import InvalidRequestError, TransferError
from ..extras import require
from ..frames import arrow_reader

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("check_options", "kind_of", "read_frame", "write_frame")

_KINDS = {".csv": "csv", ".csv.gz": "csv.gz", ".parquet": "parquet"}
_LEVEL = 6  # of compression: gzip's own default
_PORTAL_OPTIONS = ("separator", "decimal")
_ALIAS = {"sep": "delimiter"}  # pandas' name
_PARQUET_OPTIONS = ("columns", "filters", "schema")
_CSV_OPTIONS = {
    "ReadOptions": (
        "autogenerate_column_names",
        "block_size",
        "column_names",
        "encoding",
        "skip_rows",
        "skip_rows_after_names",
        "use_threads",
    ),
    "ParseOptions": (
        "delimiter",
        "double_quote",
        "escape_char",
        "ignore_empty_lines",
        "invalid_row_handler",
        "newlines_in_values",
        "quote_char",
    ),
    "ConvertOptions": (
        "auto_dict_encode",
        "auto_dict_max_cardinality",
        "check_utf8",
        "column_types",
        "decimal_point",
        "default_column_type",
        "false_values",
        "include_columns",
        "include_missing_columns",
        "null_values",
        "quoted_strings_can_be_null",
        "strings_can_be_null",
        "timestamp_parsers",
        "true_values",
    ),
}
# An empty field is NULL, in texts too, but a quoted one is not, and no word is: `NA` may be a code.
_CSV_DEFAULTS = {"null_values": [""], "strings_can_be_null": True, "quoted_strings_can_be_null": False}


def kind_of(path: str) -> str:
    """Return what a file is by its name: "csv", "csv.gz" or "parquet".

    Raises:
        InvalidRequestError: its name says none of these.
    """
    name = path.rpartition("/")[2].lower()
    for ending, kind in _KINDS.items():
        if name.endswith(ending):
            return kind
    raise InvalidRequestError(f"{path!r}: the name of a file with a frame ends in {', '.join(_KINDS)}")


def _arrow(module: str) -> Any:
    return require(module, extra="arrow", purpose="reading and writing files with frames")


def _is_portal_csv(options: Mapping[str, Any]) -> bool:
    return any(name in options for name in _PORTAL_OPTIONS)


def _csv_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return pyarrow's objects for the options, by the name of `pyarrow.csv.read_csv`'s argument."""
    csv = _arrow("pyarrow.csv")
    given = {**_CSV_DEFAULTS, **{_ALIAS.get(name, name): value for name, value in options.items()}}
    return {
        f"{kind.removesuffix('Options').lower()}_options": getattr(csv, kind)(
            **{name: given[name] for name in names if name in given}
        )
        for kind, names in _CSV_OPTIONS.items()
    }


def check_options(path: str, options: Mapping[str, Any]) -> None:
    """Raise TypeError for options that a file of this name doesn't have, ValueError for values that they can't have."""
    known: tuple[str, ...] = _PARQUET_OPTIONS
    if kind_of(path) != "parquet":
        known = _PORTAL_OPTIONS if _is_portal_csv(options) else sum(_CSV_OPTIONS.values(), tuple(_ALIAS))
    for name in options:
        if name not in known:
            raise TypeError(f"reading {path!r} has no option {name!r} here; known are {', '.join(sorted(known))}")
        if _ALIAS.get(name) in options:
            raise TypeError(f"{name} and {_ALIAS[name]} are the same: give one of them")
    if kind_of(path) != "parquet" and not _is_portal_csv(options):
        _csv_options(options)


def read_frame(file: BinaryIO, path: str, options: Mapping[str, Any]) -> pa.Table:
    """Read a file to Arrow.

    Args:
        file: the file, from its beginning.
        path: its name, which tells what it is, for errors too.
        options: see `check_options`.

    Raises:
        TransferError: it's empty, or no such file.
    """
    arrow = _arrow("pyarrow")
    kind = kind_of(path)
    if not file.read(1):
        raise TransferError(f"{path!r} is empty: there's no frame in it, not even the names of columns")
    file.seek(0)
    try:
        table: pa.Table = _read(file, kind, options)
        names = table.column_names
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (arrow.ArrowException, EOFError, OSError, ValueError, KeyError) as error:
        raise TransferError(f"{path!r} can't be read as {kind}: {error}") from error
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TransferError(f"{path!r} has more than one column of the name {twice[0]!r}: give column_names=")
    found_out = kind != "parquet" and "column_types" not in options
    if found_out and any(arrow.types.is_binary(one) for one in table.schema.types):
        raise _not_utf8(path)
    return table


def _not_utf8(path: str) -> TransferError:
    return TransferError(f'{path!r} is not written in UTF-8: give encoding=, for example "latin-1"')


def _read(file: BinaryIO, kind: str, options: Mapping[str, Any]) -> Any:
    if kind == "parquet":
        return _arrow("pyarrow.parquet").read_table(file, **options)
    if _is_portal_csv(options):
        return read_csv(file.read(), **options)
    with ExitStack() as stack:
        unpacked = _arrow("pyarrow").CompressedInputStream(file, "gzip") if kind == "csv.gz" else None
        stream = file if unpacked is None else stack.enter_context(unpacked)
        return _arrow("pyarrow.csv").read_csv(stream, **_csv_options(options))


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose texts are in the form that pyarrow can write to CSV."""
    arrow = _arrow("pyarrow")
    plain = {arrow.string_view(): arrow.large_string(), arrow.binary_view(): arrow.large_binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in schema]
    found: pa.Schema = arrow.schema(fields)
    return found


def write_frame(frame: Any, file: BinaryIO, path: str) -> int:
    """Write a frame to a file, and return its rows.

    Args:
        frame: what speaks the Arrow C stream.
        file: the file, empty.
        path: its name, which tells what it is to be.

    Raises:
        TypeError, InvalidRequestError: it's no frame, or a column can't be written to such a file.
    """
    arrow = _arrow("pyarrow")
    kind = kind_of(path)
    reader = arrow_reader(frame)
    rows = 0
    try:
        with ExitStack() as stack:
            if kind == "parquet":
                writer = stack.enter_context(_arrow("pyarrow.parquet").ParquetWriter(file, reader.schema))
            else:
                out = file if kind == "csv" else stack.enter_context(GzipFile("", "wb", _LEVEL, file, mtime=0))
                reader = reader.cast(_without_views(reader.schema))
                writer = stack.enter_context(_arrow("pyarrow.csv").CSVWriter(out, reader.schema))
            for batch in reader:
                if kind != "parquet" and batch.num_columns == 1 and batch.column(0).null_count:
                    raise InvalidRequestError(
                        f"{path!r}: a NULL in a frame of one column is an empty line, which readers of CSV pass over: "
                        "write Parquet, or fill it"
                    )
                writer.write_batch(batch)
                rows += batch.num_rows
    except (arrow.ArrowException, arrow.ArrowTypeError) as error:
        raise InvalidRequestError(f"the frame can't be written to {path!r}: {error}") from error
    return rows
