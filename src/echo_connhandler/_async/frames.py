"""Whole tables at once: queries read to DataFrames, DataFrames written to tables. Arrow is what passes in between."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from .._concurrency import async_in_thread, async_releasing, async_shielded
from .._core.batches import combined, joined, lazy_rows, length_of
from .._core.errors import ConstraintError, InvalidRequestError, QueryError
from .._core.extras import require
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
from .._core.retry import NO_RETRIES, Resilience, for_call
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

        async def read(batch_rows: int) -> list[pa.RecordBatch]:
            batches = self._async_batches("read", sql, params, batch_rows, retry, settled=False)
            return [batch async for batch in batches]

        if self._known(sql).changes:  # not to be executed twice, and all or nothing

            async def change(_: Self) -> list[pa.RecordBatch]:
                return await read(ALL_ROWS)

            return joined(await self.async_run_in_transaction(change, retry=retry))
        table = combined(await read(BATCH_ROWS))
        # Batches of different types: only all values together tell a column's type.
        return table if table is not None else joined(await read(ALL_ROWS))

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
        first batch.

        Args:
            sql: a query.
            params: see `async_execute`.
            batch_rows: rows in a batch, at most.
            retry: see `async_execute`; after the first batch nothing is retried.

        Raises:
            QueryError: a later batch has a value that does not fit; the message says how to CAST it.
                Or `sql` changes rows: `async_read_to_arrow` is for that.
        """
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        require("pyarrow", extra="arrow", purpose="reading frames")
        if self._known(sql).changes:
            raise QueryError("iter_arrow reads; a statement that changes rows is for read_to_arrow or fetch_all")
        return async_releasing(self._async_batches("iter_arrow", sql, params, batch_rows, retry, settled=True))

    async def _async_batches(
        self,
        what: str,
        sql: str,
        params: Params,
        count: int,
        retry: Resilience | int | None,
        *,
        settled: bool,
    ) -> AsyncIterator[pa.RecordBatch]:
        """Yield the result in batches of `count` rows; with `settled`, all of the first one's schema."""
        policy = for_call(self.resilience, retry)
        held = await self._async_hold(what, policy)  # for the probe and the query together
        try:
            declared = await self._async_declared(what, sql, params, policy)
            reading = await self._async_open(what, sql, params, count, retry)
        finally:
            with async_shielded():
                await self._async_let_go(held)
        try:
            names, rows, schema = reading.columns, reading.rows, None
            types = declared if len(declared) == len(names) else [""] * len(names)
            while True:
                batch = await async_in_thread(self._dialect.to_batch, names, types, rows, schema)
                schema = batch.schema if settled else None
                yield batch
                rows = await self._async_more(what, reading, count)
                if not rows:
                    return
        finally:
            await self._async_end(reading)

    async def _async_declared(self, what: str, sql: str, params: Params, policy: Resilience) -> list[str]:
        """Return the declared types of a query's columns, none where the database can't tell them before it runs."""
        probe = self._dialect.type_probe(sql, params, f"echo_types_{uuid.uuid4().hex}")
        if probe is None:
            return []
        create, query, drop = probe

        async def work(connection: AsyncSqlConnection) -> list[str]:
            with async_shielded():
                await connection.run(create, ())
                try:
                    return [row[0] for row in (await connection.run(query, ())).rows]
                finally:
                    await connection.run(drop, ())

        try:
            return await self._async_with_connection(what, work, policy)
        except QueryError:
            return []  # what is wrong with the query, if anything, is told when it runs

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
        load = AsyncLoad(self, frame, table, schema, keys, batch_rows, progress)

        async def write(_: Self) -> int:
            return await load.write(mode)

        return await self.async_run_in_transaction(write, retry=retry)


class AsyncLoad:
    """One frame on its way to a table, within a transaction; begun anew with each attempt."""

    def __init__(
        self,
        calls: AsyncFrameCalls,
        frame: Any,
        table: str,
        schema: str | None,
        keys: tuple[str, ...],
        batch_rows: int,
        progress: Callable[[int, int | None], object] | None,
    ) -> None:
        self._calls = calls
        self._dialect = calls._dialect  # noqa: SLF001 - one class in two
        self._frame = frame
        self._table, self._schema, self._keys = table, schema, keys
        self._batch_rows = batch_rows
        self._progress = progress
        self._total = length_of(frame)
        self._told = -1
        self._begun = False

    async def write(self, mode: WriteMode) -> int:
        """Do it and return the number of rows written."""
        if self._begun and not is_rereadable(self._frame):
            raise InvalidRequestError(
                "the database undid the write for a passing reason, and the frame is a stream that can be read "
                "only once: nothing was written; give a table, or call again with a new stream"
            )
        self._begun = True
        reader = arrow_reader(self._frame)
        names = list(reader.schema.names)
        if self._keys:
            check_keys(self._keys, names)
        if mode in ("create", "replace"):
            if mode == "replace":
                await self._do(self._dialect.drop_table_sql(self._table, self._schema))
            await self._do(self._dialect.create_table_sql(self._table, self._schema, reader.schema, self._keys))
        else:
            await self._check_table(reader.schema)
        if mode == "truncate":
            await self._do(self._dialect.clear_table_sql(self._table, self._schema))
        slices = iter_slices(reader, self._batch_rows)
        if mode == "upsert" or mode == "ignore":
            return await self._merge(mode, slices, names)
        return await self._insert(self._table, self._schema, names, slices)

    async def _check_table(self, schema: pa.Schema) -> None:
        try:
            columns = await self._calls.async_describe_table(self._table, self._schema)
        except QueryError as error:
            raise QueryError(f"{error}; mode='create' makes it", code=error.code) from error
        known = [column.name for column in columns]
        check_columns(schema.names, known, self._table, fold_case=self._dialect.fold_case)
        for field in schema:
            self._dialect.column_type(field.name, field.type)

    async def _merge(self, mode: WriteMode, slices: Iterable[pa.RecordBatch], names: list[str]) -> int:
        """Load the rows to a table of this session, then move them over in one statement or two."""
        dialect, table, schema, keys = self._dialect, self._table, self._schema, self._keys
        staging = f"echo_staging_{uuid.uuid4().hex}"
        await self._do(dialect.staging_table_sql(staging, table, schema, names))
        # Dropped at the end: SQLite drops no table while a query on the same connection is being read.
        self._calls._async_afterwards(dialect.drop_table_sql(staging, dialect.staging_schema))  # noqa: SLF001
        written = await self._insert(staging, dialect.staging_schema, names, slices)
        if mode == "upsert":
            for statement in dialect.upsert_sql(staging, table, schema, names, keys):
                await self._do(statement)
        else:
            written = await self._do(dialect.insert_missing_sql(staging, table, schema, names, keys))
        await self._do(dialect.clear_table_sql(staging, dialect.staging_schema))
        return written

    async def _insert(self, table: str, schema: str | None, names: list[str], slices: Iterable[pa.RecordBatch]) -> int:
        at_once = self._dialect.rows_at_once(len(names))
        several = self._dialect.insert_sql(table, schema, names, at_once)
        single = self._dialect.insert_sql(table, schema, names)
        done = 0
        seen: list[pa.RecordBatch] = []  # the keys
        for batch in slices:
            if self._keys:
                seen.append(batch.select(list(self._keys)))
            try:
                even = batch.num_rows // at_once * at_once
                await self._insert_batch(several, batch.slice(0, even), at_once)
                await self._insert_batch(single, batch.slice(even), 1)
            except ConstraintError:
                self._check_unique(seen)
                raise
            done += batch.num_rows
            self._tell(done)
        self._check_unique(seen)
        if not done:
            self._tell(done)
        return done

    async def _insert_batch(self, insert: str, batch: pa.RecordBatch, at_once: int) -> None:
        if not batch.num_rows:
            return

        async def work(connection: AsyncSqlConnection) -> int:
            # Made into rows where they are written, which for tasks is another thread.
            return await connection.run_many(insert, lazy_rows(self._dialect, batch, at_once), adapted=True)

        await self._calls._async_with_connection("write_frame", work, NO_RETRIES)  # noqa: SLF001

    def _check_unique(self, seen: list[pa.RecordBatch]) -> None:
        if seen and (key := find_duplicate_key(joined(seen), self._keys)) is not None:
            raise InvalidRequestError(f"several rows of the frame have the key {key}: nothing was written")

    def _tell(self, done: int) -> None:
        # An attempt begun anew counts from 0 again; those who watch don't see it.
        if self._progress is not None and done > self._told:
            self._told = done
            self._progress(done, self._total)

    async def _do(self, sql: str) -> int:
        async def work(connection: AsyncSqlConnection) -> int:
            return (await connection.run(sql, ())).affected

        return await self._calls._async_with_connection("write_frame", work, NO_RETRIES)  # noqa: SLF001
