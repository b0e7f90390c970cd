"""Spreadsheets (XLSX) read to Arrow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .columns import column, pyarrow, table, unique_names
from .extras import require

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("is_xlsx", "read_xlsx")


def is_xlsx(data: bytes) -> bool:
    """Tell whether data is a ZIP archive, as an XLSX file is."""
    return data.startswith(b"PK\x03\x04")


def read_xlsx(data: bytes, *, sheet: str | int = 0, skip_rows: int = 0) -> pa.Table:
    """Read a sheet with a header line to Arrow.

    A number is a float64, also a whole one: that is what a spreadsheet holds. Dates are timestamp[us], or date32 where
    no cell of the column has a time. A column of numbers and text is text. Empty cells are NULL.

    Args:
        data: the file.
        sheet: its name, or its place from 0.
        skip_rows: lines above the header, such as titles.

    Raises:
        ValueError: it is no XLSX file, or has no such sheet.
        MissingExtraError: python-calamine or pyarrow is not installed.
    """
    pyarrow()
    calamine: Any = require("python_calamine", extra="xlsx", purpose="reading XLSX files")
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except calamine.CalamineError as error:
        raise ValueError(f"not a whole XLSX file: {error}") from error
    names = book.sheet_names
    if not (sheet in names if isinstance(sheet, str) else 0 <= sheet < len(names)):
        raise ValueError(f"there is no sheet {sheet!r}; there are {names}")
    found = book.get_sheet_by_name(sheet) if isinstance(sheet, str) else book.get_sheet_by_index(sheet)
    rows = found.to_python(skip_empty_area=True)[skip_rows:]
    if not rows:
        return table([], [])
    cells = [[None if cell == "" else cell for cell in place] for place in zip(*rows[1:], strict=True)]
    cells = cells or [[] for _ in rows[0]]
    arrays = [column([float(cell) if type(cell) is int else cell for cell in one]) for one in cells]
    return table(arrays, unique_names([str(name) for name in rows[0]]))
