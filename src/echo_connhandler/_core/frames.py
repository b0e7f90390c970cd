"""Frames on their way to and from a database, with Arrow in the middle: what can be written, what is read.

What the values of one database look like lives in that database's own file, such as `sqlite.values`.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from .errors import InvalidRequestError, QueryError
from .extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pandas import DataFrame
    from polars import DataFrame as PolarsFrame
    from pyarrow import RecordBatch, RecordBatchReader, Table

__all__ = (
    "arrow_reader",
    "check_columns",
    "check_keys",
    "check_write",
    "find_duplicate_key",
    "is_rereadable",
    "iter_slices",
    "to_pandas",
    "to_polars",
)


def arrow_reader(frame: Any) -> RecordBatchReader:
    """Return a reader over the record batches of `frame`; nothing of a stream is consumed before it is read.

    Args:
        frame: a pandas or polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, or any object
            with `__arrow_c_stream__` or `__arrow_c_array__`. The index of a pandas frame is not part of it.

    Raises:
        TypeError: `frame` is something else.
        InvalidRequestError: Arrow has no type for a column.
        MissingExtraError: pyarrow is not installed.
    """
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    if _is_a(frame, "pandas", "DataFrame"):
        return _pandas_to_arrow(frame).to_reader()
    if _is_a(frame, "polars", "DataFrame"):
        objects = [name for name, kind in frame.schema.items() if str(kind) == "Object"]
        if objects:  # polars would hand out their addresses as bytes
            raise InvalidRequestError(f"column {objects[0]!r} holds Python objects: cast it first")
    if hasattr(frame, "__arrow_c_stream__"):
        streamed: RecordBatchReader = _imported(lambda: pa.RecordBatchReader.from_stream(frame), frame)
        return streamed
    if hasattr(frame, "__arrow_c_array__"):
        batch = _imported(lambda: pa.record_batch(frame), frame)
        single: RecordBatchReader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
        return single
    raise TypeError(_not_a_frame(frame))


def _pandas_to_arrow(frame: DataFrame) -> Table:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    names = [name for name in frame.columns if not isinstance(name, str)]
    if names:
        raise InvalidRequestError(f"names of columns are text, not {names[0]!r}: rename them, for example df.columns")
    _refuse_duplicates(list(frame.columns), fold_case=False)
    try:
        table: Table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = ": ".join(str(part) for part in error.args if isinstance(part, str))
        raise InvalidRequestError(f"the frame can't be written: {reason or error}") from error
    return table


def _imported(import_it: Any, frame: Any) -> Any:
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    try:
        return import_it()
    except pa.ArrowInvalid as error:
        if "non-struct" in str(error):
            raise TypeError(_not_a_frame(frame)) from error
        raise InvalidRequestError(f"the frame has a column of a type that Arrow doesn't know: {error}") from error


def _not_a_frame(frame: Any) -> str:
    advice = ""
    if _is_a(frame, "polars", "LazyFrame"):
        advice = ": call .collect() first"
    elif isinstance(frame, (list, dict)):
        advice = ": build one, for example with pyarrow.Table.from_pylist or pandas.DataFrame"
    return (
        "a frame is a pandas or polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, or any "
        f"object with __arrow_c_stream__, not {type(frame).__module__}.{type(frame).__qualname__}{advice}"
    )


def _is_a(value: Any, module: str, *names: str) -> bool:
    """Tell whether `value` is of a library's class, without importing the library."""
    library = sys.modules.get(module)
    return library is not None and isinstance(value, tuple(getattr(library, name) for name in names))


def is_rereadable(frame: Any) -> bool:
    """Tell whether `arrow_reader(frame)` gives all rows again when called again, for a second try."""
    return (
        _is_a(frame, "pandas", "DataFrame")
        or _is_a(frame, "polars", "DataFrame")
        or _is_a(frame, "pyarrow", "Table", "RecordBatch")
        or (hasattr(frame, "__arrow_c_array__") and not hasattr(frame, "__arrow_c_stream__"))
    )


def iter_slices(reader: RecordBatchReader, rows: int) -> Iterator[RecordBatch]:
    """Yield the batches of `reader` cut into pieces of at most `rows` rows, none empty, without copying."""
    for batch in reader:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def check_columns(
    frame_columns: Sequence[str], table_columns: Sequence[str], table: str, *, fold_case: bool = False
) -> None:
    """Raise `InvalidRequestError` if the frame has a column twice, or one that the table hasn't.

    Args:
        frame_columns: the names of the frame's columns.
        table_columns: the names of the table's columns.
        table: the table's name, for the error.
        fold_case: whether the database takes names that differ in case as the same.
    """
    _refuse_duplicates(frame_columns, fold_case=fold_case)
    known = {_folded(name, fold_case) for name in table_columns}
    unknown = [name for name in frame_columns if _folded(name, fold_case) not in known]
    if unknown:
        raise InvalidRequestError(
            f"table {table!r} has no column {_listed(unknown)}; it has {_listed(table_columns)}: "
            "rename or drop it in the frame, or add it with ALTER TABLE"
        )


def _refuse_duplicates(names: Sequence[str], *, fold_case: bool) -> None:
    counts = Counter(_folded(name, fold_case) for name in names)
    twice = [name for name in names if counts[_folded(name, fold_case)] > 1]
    if twice:
        raise InvalidRequestError(f"the frame has columns of the same name: {_listed(twice)}: rename or drop one")


def _folded(name: str, fold_case: bool) -> str:
    # Databases that ignore case do so at least for ASCII; SQLite does so for ASCII only.
    return name.translate(_LOWER) if fold_case else name


_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def check_keys(keys: Sequence[str], frame_columns: Sequence[str]) -> None:
    """Raise `InvalidRequestError` unless `keys`, if any, are different columns of the frame."""
    if isinstance(keys, str):
        raise InvalidRequestError(f'keys are a sequence of names of columns, for example keys=["id"], not {keys!r}')
    if len(set(keys)) < len(keys):
        raise InvalidRequestError(f"a key column is named twice: {_listed(keys)}")
    unknown = [key for key in keys if key not in frame_columns]
    if unknown:
        raise InvalidRequestError(f"the frame has no key column {_listed(unknown)}; it has {_listed(frame_columns)}")


MODES = ("create", "append", "replace", "truncate", "upsert", "ignore")


def check_write(mode: str, keys: Sequence[str], batch_rows: int) -> tuple[str, ...]:
    """Return the keys, or raise where these arguments of `write_frame` don't go together."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    if isinstance(keys, str):
        raise TypeError(f"keys must be a sequence of column names: ({keys!r},)")
    if mode in ("upsert", "ignore") and not keys:
        raise InvalidRequestError(f"mode={mode!r} needs keys=: the columns that tell a row from others")
    if keys and mode in ("append", "truncate"):
        raise InvalidRequestError(f"mode={mode!r} does not use keys=: leave them out, or use mode='upsert'")
    return tuple(keys)


def find_duplicate_key(table: Table, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of a key that more than one row has, by name of column, or None where there is none.

    Args:
        table: all rows of the frame; other columns than `keys` may be left out.
        keys: the names of the key columns.

    Raises:
        InvalidRequestError: a key column holds NULL, which is equal to nothing.
    """
    pc = require("pyarrow.compute", extra="arrow", purpose="writing frames")
    columns = []
    for key in keys:
        column = table[key]
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise InvalidRequestError(f"key column {key!r} is NULL in row {row} of the frame: a key needs a value")
        columns.append(_grouped(column))
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    names = [str(place) for place in range(len(keys))]
    counts = pa.table(columns, names=names).group_by(names).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).select(names).to_pylist()
    return {key: twice[0][name] for key, name in zip(keys, names, strict=True)} if twice else None


def _grouped(column: Any) -> Any:
    """Return a column in a type and form by which Arrow groups as a database compares."""
    pa = require("pyarrow", extra="arrow", purpose="writing frames")
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _grouped(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _grouped(column.cast(kind.value_type))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
    if pa.types.is_floating(kind):
        compute = require("pyarrow.compute", extra="arrow", purpose="writing frames")
        return compute.add(column.cast(pa.float64()), 0.0)  # makes -0.0 equal to 0.0
    return column


def to_pandas(table: Table) -> DataFrame:
    """Return a pandas frame whose dtypes follow from the columns' types alone, never from the values.

    =====================  ==========================================  ==================
    Arrow                  pandas                                      NULL
    =====================  ==========================================  ==================
    int8 ... uint64        Int8 ... UInt64 (nullable)                  pd.NA
    bool                   boolean (nullable)                          pd.NA
    float32, float64       float32, float64                            NaN
    string                 str; object before pandas 3                 NaN; None
    timestamp              datetime64[unit], with its time zone        NaT
    decimal, date, time,   ArrowDtype: exact, values are Decimal,      pd.NA
    binary, null           datetime.date, datetime.time, bytes
    others                 object or category, as pyarrow does it      None
    =====================  ==========================================  ==================

    Raises:
        MissingExtraError: pandas or pyarrow is not installed.
    """
    pa = require("pyarrow", extra="pandas", purpose="reading pandas frames")
    pd = require("pandas", extra="pandas", purpose="reading pandas frames")
    nullable = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    nullable[pa.bool_()] = pd.BooleanDtype()
    kinds = pa.types

    def dtype(kind: Any) -> Any:
        exact = (
            kinds.is_decimal(kind)
            or kinds.is_date(kind)
            or kinds.is_time(kind)
            or kinds.is_binary(kind)
            or kinds.is_large_binary(kind)
            or kinds.is_null(kind)
        )
        return pd.ArrowDtype(kind) if exact else nullable.get(kind)

    frame: DataFrame = table.to_pandas(types_mapper=dtype, ignore_metadata=True)
    return frame


def to_polars(table: Table) -> PolarsFrame:
    """Return a polars frame; decimals of more than 38 digits, which polars hasn't, become exact text.

    Raises:
        QueryError: a column is of a type that polars hasn't.
        MissingExtraError: polars or pyarrow is not installed.
    """
    pa = require("pyarrow", extra="polars", purpose="reading polars frames")
    pl = require("polars", extra="polars", purpose="reading polars frames")
    for place, field in enumerate(table.schema):
        if pa.types.is_interval(field.type):  # polars ends in a panic
            raise QueryError(f"column {field.name!r} is an interval, which polars hasn't: CAST it to text in the query")
        if pa.types.is_decimal256(field.type):
            table = table.set_column(place, field.name, decimal_text(table.column(place)))
    frame: PolarsFrame = pl.from_arrow(table)
    return frame


def decimal_text(column: Any) -> Any:
    """Return an Arrow array of decimals as exact text in plain digits: -0.000000010, never -1.0E-8."""
    pa = require("pyarrow", extra="arrow", purpose="reading frames")
    pc = require("pyarrow.compute", extra="arrow", purpose="reading frames")
    if column.type.bit_width < 128:
        column = column.cast(pa.decimal128(column.type.precision, column.type.scale))
    text = column.cast(pa.string())
    if pc.any(pc.match_substring(text, "E")).as_py():
        plain = [None if value is None else format(value, "f") for value in column.to_pylist()]
        text = (
            pa.chunked_array([plain], pa.string())
            if isinstance(text, pa.ChunkedArray)
            else pa.array(plain, pa.string())
        )
    return text
