"""What makes record batches of a result, one after the other, of the bytes of COPY or of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .copy_plan import CopyPlan
from .copy_read import decode
from .copy_rows import Rows
from .row_frames import rows_to_arrow

if TYPE_CHECKING:
    from pyarrow import RecordBatch

__all__ = ("Frames",)


class Frames:
    """The batches of one result: there's always a first one; with `settled` the others have its schema."""

    def __init__(self, plan: CopyPlan, *, settled: bool) -> None:
        self._plan = plan
        self._settled = settled
        self._schema: Any = None
        self._begun = False

    def of_copy(self, rows: Rows) -> RecordBatch | None:
        """Return what COPY sent as a batch; None at the end."""
        return self._next(decode, rows, len(rows.begins))

    def of_values(self, rows: Sequence[tuple[Any, ...]]) -> RecordBatch | None:
        """Return rows of values as a batch; None at the end."""
        return self._next(rows_to_arrow, rows, len(rows))

    def _next(self, made: Any, rows: Any, count: int) -> RecordBatch | None:
        if not count and self._begun:
            return None
        self._begun = True
        batch: RecordBatch = made(rows, self._plan.names, self._plan.kinds, self._schema)
        if self._settled:
            self._schema = batch.schema
        return batch
