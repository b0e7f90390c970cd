"""ServiceStack, which Bazefield is built on: errors inside of answers, its dates, and Bazefield's time series."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from .columns import pyarrow, table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("ServiceError", "moment", "series_table", "service_error")

ServiceError: TypeAlias = tuple[str, str]
Place: TypeAlias = tuple[str | None, str | None]

_STATUS = re.compile(rb'"responseStatus"', re.IGNORECASE)
_DATE = re.compile(r"/Date\((-?[0-9]+)(?:[+-][0-9]{4})?\)/")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def service_error(response: httpx.Response) -> ServiceError | None:
    """Return the code and the text of the error that an answer tells of, whatever its status; None if it tells none."""
    if "json" not in response.headers.get("content-type", "") or not _STATUS.search(response.content):
        return None
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    status = _lowered(_lowered(answer).get("responsestatus"))
    code = status.get("errorcode")
    if not code:
        return None
    parts = [str(status.get("message") or "")]
    for error in status.get("errors") or ():
        detail = _lowered(error)
        parts.append(f"{detail.get('fieldname') or ''}: {detail.get('message') or detail.get('errorcode') or ''}")
    return str(code), "; ".join(part.strip(": ") for part in parts if part.strip(": "))


def _lowered(value: Any) -> dict[str, Any]:
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def series_table(answer: Any) -> pa.Table:
    """Return all time series of an answer as one Arrow table, a row for each value.

    =============  ========================  =====================================================================
    column         Arrow type                what it is
    =============  ========================  =====================================================================
    object         string                    the key below `objects`; NULL where there's none
    point          string                    the key below `points`, or else the one nearest to the series
    time           timestamp[ms, tz=UTC]     `t`: milliseconds since the epoch, or ISO text (UTC if it has no zone)
    time_local     timestamp[ms]             `t_local`, without a zone; NULL where there's none
    value          float64                   `v`, also where it came as text (`"12.5"`); NULL for null and other text
    text           string                    `v` where it is text that is no number
    quality        int64                     `q`; a string column where a code is no whole number
    =============  ========================  =====================================================================

    Raises:
        ValueError: a time can't be read.
        MissingExtraError: pyarrow is not installed.
    """
    pa = pyarrow()
    rows = [
        (*place, moment(one.get("t")), _local(one.get("t_local")), *_value(one.get("v")), one.get("q"))
        for place, series in _series(answer, ())
        for one in series
    ]
    columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in range(7)]
    whole = all(value is None or type(value) is int for value in columns[6])
    quality = pa.array(columns[6] if whole else [None if value is None else str(value) for value in columns[6]])
    types = [pa.string(), pa.string(), pa.timestamp("ms", "UTC"), pa.timestamp("ms"), pa.float64(), pa.string()]
    arrays = [pa.array(values, kind) for values, kind in zip(columns[:6], types, strict=True)]
    arrays.append(quality.cast(pa.int64() if whole else pa.string()))
    return table(arrays, ["object", "point", "time", "time_local", "value", "text", "quality"])


def _series(node: Any, path: tuple[str, ...]) -> Iterator[tuple[Place, list[Mapping[str, Any]]]]:
    """Yield each time series of an answer with the names of its object and point, in the order of the answer."""
    if isinstance(node, list):
        for item in node:
            yield from _series(item, path)
    elif isinstance(node, Mapping):
        if isinstance(found := node.get("timeSeries"), list):
            place = _below("objects", path), _below("points", path) or (path[-1] if path else None)
            yield place, [one for one in found if isinstance(one, Mapping)]
        for name, item in node.items():
            if name != "timeSeries":
                yield from _series(item, (*path, str(name)))


def _below(name: str, path: tuple[str, ...]) -> str | None:
    return path[path.index(name) + 1] if name in path[:-1] else None


def moment(value: Any) -> dt.datetime | None:
    """Return a time in UTC: milliseconds since the epoch, ISO text, or `/Date(milliseconds)/`.

    Raises:
        ValueError: it's nothing of the kind.
    """
    if value is None:
        return None
    if isinstance(value, str) and (found := _DATE.fullmatch(value)):
        value = int(found[1])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + dt.timedelta(milliseconds=value)
    if not isinstance(value, str):
        raise ValueError(f"not a time: {value!r}")
    read = dt.datetime.fromisoformat(value)
    return read.replace(tzinfo=dt.UTC) if read.tzinfo is None else read.astimezone(dt.UTC)


def _local(value: Any) -> dt.datetime | None:
    if isinstance(value, str) and not _DATE.fullmatch(value):
        return dt.datetime.fromisoformat(value).replace(tzinfo=None)
    read = moment(value)
    return None if read is None else read.replace(tzinfo=None)


def _value(value: Any) -> tuple[float | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, bool):
        return float(value), None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, str(value)
    return (None, value) if isinstance(value, str) and math.isinf(number) else (number, None)
