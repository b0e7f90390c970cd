"""Whole tables at once: queries read to DataFrames, DataFrames written to tables. Arrow is what passes in between."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from .._concurrency import async_in_thread
from .._core.batches import combined, joined, lazy_rows, length_of
from .._core.errors import EchoConnError, InvalidRequestError, QueryError
from .._core.frames import (
    arrow_reader,
    check_columns,
    check_keys,
    find_duplicate_key,
    is_rereadable,
    iter_slices,
    to_pandas,
    to_polars,
)
from .._core.retry import NO_RETRIES, Resilience
from .._core.sqlvalues import Params, WriteMode
from .._drivers.protocol import AsyncSqlConnection
from .sql import AsyncSqlCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncFrameCalls",)

MODES = ("create", "append", "replace", "truncate", "upsert", "ignore")
BATCH_ROWS = 50_000


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
        table = combined(
            [batch async for batch in self._async_batches("read", sql, params, BATCH_ROWS, retry, settled=False)]
        )
        if table is not None:
            return table
        # Batches of different types: only all values together tell a column's type.
        whole = [batch async for batch in self._async_batches("read", sql, params, None, retry, settled=False)]
        return combined(whole) or whole[0]

    async def async_read_to_pandas(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> pd.DataFrame:
        """Execute a query and return its result as a `pandas.DataFrame`; see `async_read_to_arrow`.

        Integers with NULLs are `Int64`, booleans with NULLs `boolean`, decimals exact, timestamps with a zone aware.
        """
        return to_pandas(await self.async_read_to_arrow(sql, params, retry=retry))

    async def async_read_to_polars(
        self, sql: str, params: Params = None, *, retry: Resilience | int | None = None
    ) -> pl.DataFrame:
        """Execute a query and return its result as a `polars.DataFrame`; see `async_read_to_arrow`."""
        return to_polars(await self.async_read_to_arrow(sql, params, retry=retry))

    async def async_iter_arrow(
        self,
        sql: str,
        params: Params = None,
        *,
        batch_rows: int = BATCH_ROWS,
        retry: Resilience | int | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """Execute a query and yield its result in batches of one schema, in constant memory.

        An empty result is one batch without rows. The schema is told by the table or, where it doesn't tell, by the
        first batch.

        Args:
            sql: a query.
            params: see `async_execute`.
            batch_rows: rows in a batch, at most.
            retry: see `async_execute`; after the first batch nothing is retried.

        Raises:
            QueryError: a later batch has a value that does not fit; the message says how to CAST it.
        """
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        async for batch in self._async_batches("iter_arrow", sql, params, batch_rows, retry, settled=True):
            yield batch

    async def _async_batches(
        self,
        what: str,
        sql: str,
        params: Params,
        count: int | None,
        retry: Resilience | int | None,
        *,
        settled: bool,
    ) -> AsyncIterator[pa.RecordBatch]:
        """Yield the result in batches of `count` rows; with `settled`, all of the first one's schema."""
        engine = self._async_engines.get()
        size = count or 2**31 - 1
        async with self._async_hold(what, engine, None) as held:
            declared = await self._async_declared(held.connection, sql, params)
            async with self._async_cursor(what, sql, params, size, retry) as (cursor, rows):
                names = self._unique(cursor.columns)
                types = declared if len(declared) == len(names) else [""] * len(names)
                schema = None
                while True:
                    batch = await async_in_thread(self._dialect.to_batch, names, types, rows, schema)
                    schema = batch.schema if settled else None
                    yield batch
                    rows = await self._async_fetch_more(what, cursor, size)
                    if not rows:
                        return

    async def _async_declared(self, connection: AsyncSqlConnection, sql: str, params: Params) -> list[str]:
        """Return the declared types of a query's columns, none where the database can't tell them before it runs."""
        probe = self._dialect.type_probe(sql, params, f"echo_types_{uuid.uuid4().hex}")
        if probe is None:
            return []
        create, query, drop = probe
        try:
            await connection.run(create, ())
        except Exception as error:
            # What is wrong with the query, if anything, is told when it runs.
            if self._dialect.judge(error, "") is None and not isinstance(error, EchoConnError):
                raise
            return []
        try:
            return [row[0] for row in (await connection.run(query, ())).rows]
        finally:
            await connection.run(drop, ())

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
            retry: the number of retries for this call, or a `Resilience`.

        Raises:
            InvalidRequestError: the table lacks a column of the frame, or a column has no SQL type, or keys are
                missing, NULL or not unique within the frame.
            QueryError: there is no such table, or there is one already (`create`).
            MissingExtraError: pyarrow is not installed.
        """
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        if isinstance(keys, str):
            raise TypeError(f"keys must be a sequence of column names: ({keys!r},)")
        keys = tuple(keys)
        if mode in ("upsert", "ignore") and not keys:
            raise InvalidRequestError(f"mode={mode!r} needs keys=: the columns that tell a row from others")
        if keys and mode in ("append", "truncate"):
            raise InvalidRequestError(f"mode={mode!r} does not use keys=: leave them out, or use mode='upsert'")
        rereadable, total, readers = is_rereadable(frame), length_of(frame), 0

        async def write(_: Self) -> int:
            nonlocal readers
            if readers and not rereadable:
                raise InvalidRequestError(
                    "the database undid the write for a passing reason, and the frame is a stream that can be read "
                    "only once: nothing was written; give a table, or call again with a new stream"
                )
            readers += 1
            slices = iter_slices(reader := arrow_reader(frame), batch_rows)
            names = list(reader.schema.names)
            if keys:
                check_keys(keys, names)
            dialect = self._dialect
            if mode in ("create", "replace"):
                if mode == "replace":
                    await self._async_do(dialect.drop_table_sql(table, schema))
                await self._async_do(dialect.create_table_sql(table, schema, reader.schema, keys))
            else:
                known = await self._async_columns_of(table, schema)
                check_columns(names, known, table, fold_case=dialect.fold_case)
                for field in reader.schema:
                    dialect.column_type(field.name, field.type)
            if mode == "truncate":
                await self._async_do(dialect.clear_table_sql(table, schema))
            if mode in ("upsert", "ignore"):
                return await self._async_merge(slices, names, table, schema, mode, keys, progress, total)
            insert = dialect.insert_sql(table, schema, names)
            return await self._async_load(insert, slices, keys, progress, total)

        return await self.async_run_in_transaction(write, retry=retry)

    async def _async_columns_of(self, table: str, schema: str | None) -> list[str]:
        try:
            return [column.name for column in await self.async_describe_table(table, schema)]
        except QueryError as error:
            raise QueryError(f"{error}; mode='create' makes it", code=error.code) from error

    async def _async_merge(
        self,
        slices: Iterable[pa.RecordBatch],
        names: list[str],
        table: str,
        schema: str | None,
        mode: str,
        keys: tuple[str, ...],
        progress: Callable[[int, int | None], object] | None,
        total: int | None,
    ) -> int:
        """Load the rows to a table of this session, then move them over in one statement or two."""
        dialect = self._dialect
        staging = f"echo_staging_{uuid.uuid4().hex}"
        await self._async_do(dialect.staging_table_sql(staging, table, schema, names))
        insert = dialect.insert_sql(staging, dialect.staging_schema, names)
        loaded = await self._async_load(insert, slices, keys, progress, total)
        if mode == "upsert":
            for statement in dialect.upsert_sql(staging, table, schema, names, keys):
                await self._async_do(statement)
            written = loaded
        else:
            written = await self._async_do(dialect.insert_missing_sql(staging, table, schema, names, keys))
        await self._async_do(dialect.drop_table_sql(staging, dialect.staging_schema))
        return written

    async def _async_load(
        self,
        insert: str,
        slices: Iterable[pa.RecordBatch],
        keys: tuple[str, ...],
        progress: Callable[[int, int | None], object] | None,
        total: int | None,
    ) -> int:
        done, seen = 0, []
        for batch in slices:

            async def work(connection: AsyncSqlConnection, batch: pa.RecordBatch = batch) -> int:
                # Made into rows where they are written, which for tasks is another thread.
                return await connection.run_many(insert, lazy_rows(self._dialect, batch))

            await self._async_with_connection("write_frame", work, NO_RETRIES)
            done += batch.num_rows
            if keys:
                seen.append(batch.select(list(keys)))
            if progress is not None:
                progress(done, total)
        if seen and (key := find_duplicate_key(joined(seen), keys)) is not None:
            raise InvalidRequestError(f"several rows of the frame have the key {key}: nothing was written")
        return done

    async def _async_do(self, sql: str) -> int:
        async def work(connection: AsyncSqlConnection) -> int:
            return (await connection.run(sql, ())).affected

        return await self._async_with_connection("write_frame", work, NO_RETRIES)
