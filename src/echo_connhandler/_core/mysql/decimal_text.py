"""Decimals as the server sends them, digits with a point, made into 128-bit integers with numpy, 8 digits at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..extras import require

if TYPE_CHECKING:
    from .binary_columns import Rows

__all__ = ("decimals",)

_MOST = 18  # digits that 64 bits hold in any case
_MINUS, _POINT = 0x2D, 0x2E


def decimals(rows: Rows, begin: Any, sizes: Any, scale: int) -> Any:
    """Return the values times 10**scale as an array of shape (rows, 2), low and high half; or None.

    None, for another way, where a value has more than 18 digits or not `scale` digits after its point.

    Args:
        rows: where the bytes are.
        begin: where each value begins.
        sizes: their bytes, 0 for NULL.
        scale: digits after the point.
    """
    np = require("numpy", extra="arrow", purpose="reading frames")
    there = sizes > 0
    negative = (rows.bytes[begin] == _MINUS) & there
    end = begin + sizes
    point = int(scale > 0)
    whole = sizes - negative - point - scale  # digits before the point
    whole_end = end - scale - point
    if scale > _MOST or int(whole.max(initial=0)) + scale > _MOST or bool((whole[there] < 1).any()):
        return None
    if point and not bool((rows.bytes[whole_end][there] == _POINT).all()):
        return None
    whole = np.where(there, whole, 0)
    total = _digits(rows, whole_end, whole) * np.uint64(10**scale)
    if scale:
        total += _digits(rows, end, np.where(there, scale, 0))
    signed = total.astype(np.int64)
    signed = np.where(negative, -signed, signed)
    pairs = np.empty((len(signed), 2), np.int64)
    pairs[:, 0] = signed
    pairs[:, 1] = signed >> 63
    return pairs


def _digits(rows: Rows, end: Any, count: Any) -> Any:
    """Return the numbers whose `count` digits, at most 18, stand before the places `end`."""
    np = require("numpy", extra="arrow", purpose="reading frames")
    total = _eight(rows, end, count)
    most = int(count.max(initial=0))
    for done, worth in ((8, 10**8), (16, 10**16)):
        if most > done:
            total += _eight(rows, end - done, np.maximum(count - done, 0)) * np.uint64(worth)
    return total


def _eight(rows: Rows, end: Any, count: Any) -> Any:
    """Return the numbers of the last `count` digits, at most 8, before the places: eight bytes read as one integer.

    The first digit is the lowest byte. Neighbours are joined, two to a number, then four, then eight.
    """
    np = require("numpy", extra="arrow", purpose="reading frames")
    unused = (8 * (8 - np.minimum(count, 8))).astype(np.uint64)
    word = rows.get("u8", end - 8) & np.uint64(0x0F0F0F0F0F0F0F0F)
    # In two steps: a shift by 64 would be one by 0.
    half = unused >> np.uint64(1)
    rest = unused - half
    word = word >> half >> rest << half << rest
    word = (word * np.uint64(2561) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(6553601) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return word * np.uint64(42949672960001) >> np.uint64(32)
