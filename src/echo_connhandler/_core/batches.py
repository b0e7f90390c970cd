"""Record batches of one result put together, and how long a frame is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .extras import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("combined", "joined", "length_of")


def combined(batches: Sequence[pa.RecordBatch]) -> pa.Table | None:
    """Return the batches as one table; None where a column's type differs between them, all-NULL ones left aside."""
    pyarrow = require("pyarrow", extra="arrow", purpose="reading frames")
    fields = []
    for field in batches[0].schema:
        kinds = {kind for batch in batches if not pyarrow.types.is_null(kind := batch.schema.field(field.name).type)}
        if len(kinds) > 1:
            return None
        fields.append(field.with_type(kinds.pop()) if kinds else field)
    schema = pyarrow.schema(fields)
    return _table([batch.cast(schema) for batch in batches])


def joined(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Return batches of one schema as one table."""
    return _table(batches)


def _table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    table: pa.Table = require("pyarrow", extra="arrow", purpose="frames").Table.from_batches(list(batches))
    return table


def length_of(frame: Any) -> int | None:
    """Return how many rows a frame has, None for a stream that does not tell."""
    rows = getattr(frame, "num_rows", None)
    if isinstance(rows, int):
        return rows
    return len(frame) if hasattr(frame, "__len__") else None
