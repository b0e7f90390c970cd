"""Queries split into parts that other processes read."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._core.errors import InvalidRequestError
from .._core.partitions import bounds_sql, split_points, split_query
from .._core.retry import Resilience
from .._core.sqlvalues import Params
from .frames import AsyncFrameCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncPartitionCalls", "AsyncPartitionReads")

P = TypeVar("P")


class AsyncPartitionReads:
    """What one half of a partition reads, each time with a connection of its own."""

    handler: Any
    sql: str
    params: dict[str, Any]

    async def async_read_to_arrow(self) -> pa.Table:
        """Connect, and return the part's rows as a `pyarrow.Table`."""
        async with self.handler.with_resilience(self.handler.resilience) as own:
            table: pa.Table = await own.async_read_to_arrow(self.sql, self.params)
            return table

    async def async_read_to_pandas(self) -> pd.DataFrame:
        """Connect, and return the part's rows as a `pandas.DataFrame`."""
        async with self.handler.with_resilience(self.handler.resilience) as own:
            frame: pd.DataFrame = await own.async_read_to_pandas(self.sql, self.params)
            return frame

    async def async_read_to_polars(self) -> pl.DataFrame:
        """Connect, and return the part's rows as a `polars.DataFrame`."""
        async with self.handler.with_resilience(self.handler.resilience) as own:
            frame: pl.DataFrame = await own.async_read_to_polars(self.sql, self.params)
            return frame


class AsyncPartitionCalls(AsyncFrameCalls, Generic[P]):
    """The calls of one half of a handler that split queries; `P` is a partition, which has two halves too."""

    @abstractmethod
    def _partition(self, sql: str, params: dict[str, Any]) -> P:
        """Make a partition."""

    async def async_read_partitioned(
        self,
        sql: str,
        partition_on: str,
        partitions: int,
        params: Params = None,
        *,
        retry: Resilience | int | None = None,
    ) -> list[P]:
        """Split a query's rows by the values of one column, for processes or dask workers to read.

        Each row is in exactly one partition, so long as the table is not written to meanwhile: partitions are read one
        by one. Rows whose `partition_on` is NULL are in the first. Pickled partitions hold the password, as pickled
        handlers do.

        Args:
            sql: a query, values as `:name`.
            partition_on: the name of a column of its result that holds numbers, dates or datetimes.
            partitions: how many to make; fewer come where the column has fewer values.
            params: a mapping for the names.
            retry: see `async_execute`; it holds for this call, not for the reading.

        Raises:
            InvalidRequestError: the column holds something else, or `params` are a sequence.
            QueryError: the query is wrong, or has no such column.
        """
        if partitions < 1:
            raise ValueError(f"partitions must be at least 1, got {partitions}")
        family = self._dialect.family
        if self._async_known(sql).changes:
            raise InvalidRequestError("read_partitioned reads: a statement that changes rows can't be split")
        row = await self.async_fetch_one(bounds_sql(sql, partition_on, family), params, retry=retry)
        low, high = (None, None) if row is None else (row["low"], row["high"])
        points = split_points(low, high, partitions)
        parts = split_query(sql, params, partition_on, points, family)
        return [self._partition(*part) for part in parts]
