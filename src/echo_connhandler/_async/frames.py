"""Whole tables at once: queries read to DataFrames, DataFrames written to tables. Arrow is what passes in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from .._concurrency import async_in_thread, async_releasing, async_shielded
from .._core.batches import combined, joined
from .._core.errors import QueryError
from .._core.extras import require
from .._core.frames import check_write, to_pandas, to_polars
from .._core.retry import Resilience, for_call
from .._core.sqltext import native
from .._core.sqlvalues import Params, WriteMode
from .frame_loads import AsyncLoad
from .sql import AsyncSqlCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from .._drivers.protocol import AsyncBatches, AsyncSqlConnection

__all__ = ("AsyncFrameCalls",)

BATCH_ROWS = 50_000
ALL_ROWS = 2**31 - 1


class AsyncFrameCalls(AsyncSqlCalls):
    """The frame calls of one half of a handler."""

    async def async_read_to_arrow(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> pa.Table:
        """Execute a query and return its result as a `pyarrow.Table`, each column of one type.

        Which SQL type becomes which Arrow type is in the documentation's type table. An empty result has the types
        that a full one has, as far as the database tells them.

        Raises:
            QueryError: two columns have the same name, or a column's values have no type in common; and what
                `async_fetch_all` raises.
            MissingExtraError: pyarrow is not installed.
        """
        require("pyarrow", extra="arrow", purpose="reading frames")
        known = self._async_known(sql)
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def read(connection: AsyncSqlConnection, rows: int) -> list[pa.RecordBatch]:
            batches = await connection.open_batches(text, values, rows, settled=False)
            found = []
            try:
                while (batch := await batches.fetch()) is not None:
                    found.append(batch)
            finally:
                with async_shielded():
                    await batches.aclose()
            return found

        async def everything(connection: AsyncSqlConnection) -> pa.Table:
            return joined(await read(connection, ALL_ROWS))

        async def work(connection: AsyncSqlConnection) -> pa.Table:
            table = combined(await read(connection, BATCH_ROWS))
            # Batches of different types: only all values together tell a column's type.
            return await everything(connection) if table is None else table

        if known.changes:  # not to be executed twice, and all or nothing
            return await self._async_atomically("read", everything, retry)
        policy = for_call(self.resilience, retry)
        return await self._async_with_connection("read", work, policy, repeatable=known.reads)

    async def async_read_to_pandas(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> pd.DataFrame:
        """Execute a query and return its result as a `pandas.DataFrame`; see `async_read_to_arrow`.

        Integers with NULLs are `Int64`, booleans with NULLs `boolean`, decimals exact, timestamps with a zone aware.
        """
        require("pandas", extra="pandas", purpose="reading pandas frames")
        return await async_in_thread(to_pandas, await self.async_read_to_arrow(sql, params, retry=retry))

    async def async_read_to_polars(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> pl.DataFrame:
        """Execute a query and return its result as a `polars.DataFrame`; see `async_read_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        return await async_in_thread(to_polars, await self.async_read_to_arrow(sql, params, retry=retry))

    def async_iter_arrow(
        self,
        sql: str,
        params: Params = None,
        *,
        batch_rows: int = BATCH_ROWS,
        retry: Resilience | int | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """Execute a query and yield its result in batches of one schema, in constant memory; it may be left early.

        An empty result is one batch without rows. The schema is told by the table or, where it doesn't tell, by the
        first batch. Other calls may be made meanwhile.

        Args:
            sql: a query.
            params: see `async_execute`.
            batch_rows: rows in a batch, at most.
            retry: see `async_execute`; after the first batch nothing is retried, and no deadline holds.

        Raises:
            QueryError: a later batch has a value that does not fit; the message says how to CAST it.
                Or `sql` changes rows: `async_read_to_arrow` is for that.
        """
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        require("pyarrow", extra="arrow", purpose="reading frames")
        if self._async_known(sql).changes:
            raise QueryError("iter_arrow reads; a statement that changes rows is for read_to_arrow or fetch_all")
        return async_releasing(self._async_batches(sql, params, batch_rows, retry))

    async def _async_batches(
        self, sql: str, params: Params, rows: int, retry: Resilience | int | None
    ) -> AsyncIterator[pa.RecordBatch]:
        text, values = native(sql, params, self._dialect.family, self._dialect.style)

        async def opening(connection: AsyncSqlConnection) -> tuple[AsyncBatches, pa.RecordBatch | None]:
            batches = await connection.open_batches(text, values, rows, settled=True)
            try:
                return batches, await batches.fetch()
            except BaseException:
                with async_shielded():
                    await batches.aclose()
                raise

        held, (batches, batch) = await self._async_opened("iter_arrow", opening, retry)
        try:
            while batch is not None:
                yield batch
                batch = await self._async_going_on("iter_arrow", held, batches.fetch)
        finally:
            await self._async_end(held, batches)

    async def async_write_frame(
        self,
        frame: Any,
        table: str,
        *,
        schema: str | None = None,
        mode: WriteMode = "append",
        keys: Sequence[str] = (),
        batch_rows: int = BATCH_ROWS,
        progress: Callable[[int, int | None], object] | None = None,
        idempotent: bool = False,
        retry: Resilience | int | None = None,
    ) -> int:
        """Write a frame's rows to a table, all or none, and return the number of rows written.

        Args:
            frame: what speaks the Arrow C stream: pandas (without its index), polars, pyarrow and others.
            table: the table's name; it is quoted.
            schema: the schema's name, if not the default one.
            mode: `create` makes the table, which must not exist; `append` adds the rows; `replace` makes the table
                anew; `truncate` deletes its rows first; `upsert` overwrites rows of the same `keys` and adds the
                others; `ignore` adds only rows whose `keys` aren't there.
            keys: the columns that tell a row from others. For `create` and `replace` they become the primary key.
            batch_rows: rows handed to the database at once.
            progress: called with the rows done and the rows in all (None if the frame does not tell).
            idempotent: writing it twice is as good as once; see `async_run_in_transaction`.
            retry: the number of retries for this call, or a `Resilience`.

        Raises:
            InvalidRequestError: the table lacks a column of the frame, or a column has no SQL type, or keys are
                missing, NULL or not unique within the frame.
            QueryError: there is no such table, or there is one already (`create`).
            OutcomeUnknownError: the connection was lost while committing, and nobody can tell whether it was committed.
            MissingExtraError: pyarrow is not installed.
        """
        keys = check_write(mode, keys, batch_rows)
        load = AsyncLoad(self, frame, table, schema, keys, batch_rows, progress, for_call(self.resilience, retry))

        if self._dialect.swap_text is not None and mode in ("create", "replace"):
            return await load.write_anew(mode)

        async def write(_: Self) -> int:
            return await load.write(mode)

        return await self.async_run_in_transaction(write, idempotent=idempotent, retry=retry)
