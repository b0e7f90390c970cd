"""Splitting a query's rows by one column: every row in exactly one part."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_connhandler._core.partitions import bounds_sql, split_points, split_query
from echo_connhandler.errors import InvalidRequestError

ORDERED: list[st.SearchStrategy[Any]] = [
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.dates().map(dt.date.isoformat),
    st.datetimes(min_value=dt.datetime(1000, 1, 1)).map(lambda moment: moment.isoformat(" ")),
]
VALUES = st.one_of([st.lists(values, min_size=1, max_size=30) for values in ORDERED])


@settings(max_examples=200)
@given(VALUES, st.integers(1, 12))
def test_each_value_is_in_one_part(values: list[Any], partitions: int) -> None:
    points = split_points(min(values), max(values), partitions)
    assert len(points) < partitions
    assert points == sorted(set(points))
    assert all(min(values) < point <= max(values) for point in points)
    ends = [*points, None]
    parts = [
        [value for value in values if (begin is None or value >= begin) and (end is None or value < end)]
        for begin, end in zip([None, *points], ends, strict=True)
    ]
    assert sorted(value for part in parts for value in part) == sorted(values)
    assert parts[0]
    assert parts[-1]


@pytest.mark.parametrize(
    ("low", "high", "partitions", "points"),
    [
        (0, 100, 4, [25, 50, 75]),
        (1, 3, 10, [2]),
        (5, 5, 3, []),
        (None, None, 3, []),
        (0, 100, 1, []),
        (0.0, 1.0, 2, [0.5]),
        (-1.7e308, 1.7e308, 2, [0.0]),
        (0.0, float("inf"), 3, []),
        (Decimal("0.0"), Decimal("1.0"), 4, [Decimal("0.25"), Decimal("0.5"), Decimal("0.75")]),
        (Decimal(1), Decimal("NaN"), 4, []),
        (dt.date(2024, 1, 1), dt.date(2024, 1, 3), 2, [dt.date(2024, 1, 2)]),
        (dt.date(2024, 1, 1), "infinity", 2, []),
        ("2024-01-01", "2024-01-03", 2, ["2024-01-02"]),
        ("2024-01-01T00:00:00", "2024-01-02T00:00:00", 2, ["2024-01-01T12:00:00"]),
    ],
)
def test_points_split_evenly(low: Any, high: Any, partitions: int, points: list[Any]) -> None:
    assert split_points(low, high, partitions) == points


@pytest.mark.parametrize("low", ["abc", b"x", True, dt.time(1)])
def test_other_columns_are_refused(low: Any) -> None:
    with pytest.raises(InvalidRequestError, match="numbers, dates or datetimes"):
        split_points(low, low, 2)


def test_no_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        split_points(1, 2, 0)


def test_queries_keep_rows_without_a_value_and_those_beyond_the_bounds() -> None:
    parts = split_query("SELECT * FROM t -- all\n;", {"part_from": 7}, 'a"b', [10, 20], "postgres")
    head = 'SELECT q.* FROM (\nSELECT * FROM t -- all\n) q WHERE q."a""b" '
    assert parts == [
        (head + '< :part_to OR q."a""b" IS NULL', {"part_from": 7, "part_to": 10}),
        (head + '>= :part_from_ AND q."a""b" < :part_to', {"part_from": 7, "part_from_": 10, "part_to": 20}),
        (head + ">= :part_from_", {"part_from": 7, "part_from_": 20}),
    ]
    assert split_query("SELECT 1", None, "a", [], "sqlite") == [("SELECT q.* FROM (\nSELECT 1\n) q", {})]
    assert "min(q.`a`)" in bounds_sql("SELECT 1 AS a", "a", "mysql")


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="by name"):
        split_query("SELECT 1", (1,), "a", [], "sqlite")
    with pytest.raises(InvalidRequestError, match="one query, not 2"):
        bounds_sql("SELECT 1; SELECT 2", "a", "sqlite")
