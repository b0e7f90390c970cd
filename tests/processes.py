"""Work done by other processes, as dask's and multiprocessing's workers do it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

__all__ = ("read_elsewhere",)


def _read(part: Any) -> list[Any]:
    values: list[Any] = part.read_to_arrow().column(0).to_pylist()
    return values


def read_elsewhere(parts: Sequence[Any]) -> list[list[Any]]:
    """Read partitions in a fresh process that knows nothing of this one, and return their first columns."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(_read, parts)
