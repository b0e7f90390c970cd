"""A query's rows split into parts by the values of one column. No I/O."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from .errors import InvalidRequestError
from .sqltext import Family, quote_identifier, split_script
from .sqlvalues import Params

__all__ = ("bounds_sql", "split_points", "split_query")

_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)
_MICROSECOND = dt.timedelta(microseconds=1)


def bounds_sql(sql: str, column: str, family: Family) -> str:
    """Return the query for the smallest and the largest value of a query's column."""
    name = quote_identifier(column, family)
    return f"SELECT min(q.{name}) AS low, max(q.{name}) AS high FROM (\n{_single(sql, family)}\n) q"


def split_points(low: Any, high: Any, partitions: int) -> list[Any]:
    """Return the values, rising, at which parts after the first begin: fewer where there are fewer values.

    Args:
        low: the smallest value, None where there is none.
        high: the largest one, of the same type: a number, a date, a datetime, or a date's or datetime's ISO text.
        partitions: how many parts are wanted.

    Raises:
        InvalidRequestError: the values are no numbers, dates or datetimes.
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, got {partitions}")
    if low is None or high is None or partitions == 1:
        return []
    if isinstance(low, str) and isinstance(high, str):
        return _split_texts(low, high, partitions)
    if isinstance(low, bool) or not isinstance(low, int | float | Decimal | dt.date):
        raise InvalidRequestError(
            f"partition_on must be a column of numbers, dates or datetimes, not of {type(low).__name__}"
        )
    if isinstance(low, dt.date):
        if not isinstance(high, type(low)):
            return []  # infinity, which comes as text
        return _split_days(low, high, partitions)
    if isinstance(low, float) and isinstance(high, Decimal | int):
        high = float(high)
    if not math.isfinite(low) or not math.isfinite(high):
        return []
    if isinstance(low, int) and isinstance(high, int):
        return _rising(low, high, [low + (high - low) * part // partitions for part in range(1, partitions)])
    steps = range(1, partitions)
    if isinstance(low, float):
        # Halves first: the distance of two floats may be no float.
        return _rising(low, high, [low * (1 - part / partitions) + high * (part / partitions) for part in steps])
    low, high = Decimal(low), Decimal(high)
    return _rising(low, high, [low + (high - low) * part / partitions for part in steps])


def _split_days(low: Any, high: Any, partitions: int) -> list[Any]:
    if not isinstance(low, dt.datetime):
        days = [low.toordinal() + (high - low).days * part // partitions for part in range(1, partitions)]
        return _rising(low, high, list(map(dt.date.fromordinal, days)))
    epoch = _EPOCH if low.tzinfo is None else _EPOCH_UTC
    begin, end = (low - epoch) // _MICROSECOND, (high - epoch) // _MICROSECOND
    counts = [begin + (end - begin) * part // partitions for part in range(1, partitions)]
    return _rising(low, high, [epoch + dt.timedelta(microseconds=count) for count in counts])


def _split_texts(low: str, high: str, partitions: int) -> list[Any]:
    """Split dates that a database keeps as text, where text sorts as they do."""
    try:
        first, last = dt.datetime.fromisoformat(low), dt.datetime.fromisoformat(high)
        zone = first.tzinfo
        if (zone is None) != (last.tzinfo is None):
            raise ValueError("one has a zone")
    except ValueError as error:
        raise InvalidRequestError(
            f"partition_on must be a column of numbers, dates or datetimes, not of text such as {low[:40]!r}"
        ) from error
    separator = "T" if "T" in low else " "
    width = len(low) if len(low) == 10 else None
    points = [point.astimezone(zone) if zone else point for point in _split_days(first, last, partitions)]
    return _rising(low, high, [point.isoformat(separator)[:width] for point in points])


def _rising(low: Any, high: Any, points: Sequence[Any]) -> list[Any]:
    """Return the points that rise, from beyond the smallest value up to the largest: rounded ones may do neither."""
    kept: list[Any] = []
    for point in points:
        if (kept[-1] if kept else low) < point <= high:
            kept.append(point)
    return kept


def split_query(
    sql: str, params: Params, column: str, points: Sequence[Any], family: Family
) -> list[tuple[str, dict[str, Any]]]:
    """Return the queries of the parts with their parameters: each row of the query is in exactly one.

    A part begins at its first point and ends before the next one. The first has no beginning, the last no end, so
    that rows that are new since the points were chosen are in one too; rows without a value are in the first.

    Raises:
        InvalidRequestError: `params` are not a mapping.
    """
    if params is not None and not isinstance(params, Mapping):
        raise InvalidRequestError("read_partitioned takes parameters by name: write :name and give a mapping")
    given: dict[str, Any] = dict(params or {})
    inner = f"SELECT q.* FROM (\n{_single(sql, family)}\n) q"
    if not points:
        return [(inner, given)]
    name = f"q.{quote_identifier(column, family)}"
    low, high = _free(given, "part_from"), _free(given, "part_to")
    ends = [*points, None]
    parts = []
    for begin, end in zip([None, *points], ends, strict=True):
        own = {**given, **({} if begin is None else {low: begin}), **({} if end is None else {high: end})}
        if begin is None:
            where = f"{name} < :{high} OR {name} IS NULL"
        else:
            where = f"{name} >= :{low}" + ("" if end is None else f" AND {name} < :{high}")
        parts.append((f"{inner} WHERE {where}", own))
    return parts


def _free(given: Mapping[str, Any], name: str) -> str:
    while name in given:
        name += "_"
    return name


def _single(sql: str, family: Family) -> str:
    statements = split_script(sql, family)
    if len(statements) != 1:
        raise InvalidRequestError(f"read_partitioned takes one query, not {len(statements)}")
    return statements[0]
