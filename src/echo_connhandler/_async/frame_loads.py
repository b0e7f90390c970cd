"""One frame on its way to a table."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from .._concurrency import AsyncOutcome, async_shielded, monotonic
from .._core.batches import joined, length_of
from .._core.errors import (
    ConnectionFailedError,
    ConstraintError,
    InvalidRequestError,
    OutcomeUnknownError,
    QueryError,
)
from .._core.frames import (
    arrow_reader,
    check_columns,
    check_keys,
    find_duplicate_key,
    is_rereadable,
    iter_slices,
)
from .._core.retry import NO_RETRIES, Kind, Resilience, single
from .._core.sqlvalues import Target, WriteMode
from .retry import async_persist
from .sql import AsyncSqlCalls

if TYPE_CHECKING:
    import pyarrow as pa

    from .._drivers.protocol import AsyncSqlConnection

__all__ = ("AsyncLoad",)

logger = logging.getLogger("echo_connhandler.sql")

T = TypeVar("T")


class AsyncLoad:
    """One frame on its way to a table, within a transaction; begun anew with each attempt."""

    def __init__(
        self,
        calls: AsyncSqlCalls,
        frame: Any,
        table: str,
        schema: str | None,
        keys: tuple[str, ...],
        batch_rows: int,
        progress: Callable[[int, int | None], object] | None,
        policy: Resilience,
    ) -> None:
        self._calls = calls
        self._dialect = calls._dialect  # noqa: SLF001 - one class in two
        self._frame = frame
        self._table, self._schema, self._keys = table, schema, keys
        self._batch_rows = batch_rows
        self._progress = progress
        self._policy, self._since = policy, monotonic()
        self._total = length_of(frame)
        self._told = -1
        self._begun = False

    async def write(self, mode: WriteMode) -> int:
        """Do it and return the number of rows written."""
        reader = self._reader()
        names = list(reader.schema.names)
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
        return await self._insert(self._dialect.target(self._table, self._schema, names), slices)

    async def write_anew(self, mode: WriteMode) -> int:
        """Do it for "create" and "replace" where the database commits as soon as it makes a table.

        The rows go to a table under another name, which gets its own one at the end, at once. Nothing is left of it
        where that fails.
        """
        joined = self._calls._async_joined()  # noqa: SLF001 - one class in two
        if joined is not None and joined.in_transaction:
            raise QueryError(
                f"this database commits when a table is made: call write_frame(mode={mode!r}) outside of transaction()"
            )

        async def attempt() -> int:
            return await self._anew(mode)

        return await async_persist(
            attempt,
            self._policy,
            lambda _: None,
            named=lambda: self._calls._named("write_frame"),  # noqa: SLF001
            started=self._since,
        )

    async def _anew(self, mode: WriteMode) -> int:
        dialect, calls = self._dialect, self._calls
        present = await calls.async_table_exists(self._table, self._schema)
        if present and mode == "create":
            raise QueryError(f"there is a table {self._table!r} already; mode='replace' makes it anew")
        reader = self._reader()
        new = f"echo_new_{uuid.uuid4().hex}"
        target = dialect.target(new, self._schema, reader.schema.names)

        async def fill(_: AsyncSqlCalls) -> int:
            return await self._insert(target, iter_slices(reader, self._batch_rows))

        try:
            await self._do(dialect.create_table_sql(new, self._schema, reader.schema, self._keys))
            done = await calls.async_run_in_transaction(fill, retry=0)
            await self._name(new, present=present)
        except BaseException as error:
            with async_shielded():
                await self._drop(new)
            if isinstance(error, OutcomeUnknownError):  # of a table that nobody knew, and which is gone
                lost = ConnectionFailedError(f"{error}; the table was not made")
                raise lost.told(attempts=1, elapsed=0.0, kind=Kind.NOT_SENT) from error
            raise
        return done

    async def _name(self, new: str, *, present: bool) -> None:
        """Give the new table its name; one that had it is dropped."""
        aside = f"echo_old_{uuid.uuid4().hex}" if present else None
        try:
            await self._end(self._dialect.rename_sql(new, self._table, self._schema, aside), repeatable=False)
        except OutcomeUnknownError:
            # Either this drops the table, and a late renaming finds none, or it had its name by then.
            try:
                await self._end(self._dialect.drop_table_sql(new, self._schema, missing_ok=False))
            except QueryError:
                logger.debug("the answer to the renaming of %s was lost, but it was done", new)
            else:
                raise
        if aside is not None:
            await self._drop(aside)

    async def _drop(self, table: str) -> None:
        try:
            await self._end(self._dialect.drop_table_sql(table, self._schema))
        except Exception as error:  # noqa: BLE001 - what matters has been done or has failed before
            logger.warning("the table %s could not be dropped; it is of no use any more: %s", table, error)

    def _reader(self) -> pa.RecordBatchReader:
        if self._begun and not is_rereadable(self._frame):
            raise InvalidRequestError(
                "the database undid the write for a passing reason, and the frame is a stream that can be read "
                "only once: nothing was written; give a table, or call again with a new stream"
            )
        self._begun = True
        reader = arrow_reader(self._frame)
        if self._keys:
            check_keys(self._keys, reader.schema.names)
        return reader

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
        written = await self._insert(dialect.staging(staging, names), slices)
        if mode == "upsert":
            for statement in await self._upserts(staging, names):
                await self._do(statement)
        else:
            written = await self._do(dialect.insert_missing_sql(staging, table, schema, names, keys))
        await self._do(dialect.clear_table_sql(staging, dialect.staging_schema))
        return written

    async def _upserts(self, staging: str, names: list[str]) -> list[str]:
        dialect, table, schema, keys = self._dialect, self._table, self._schema, self._keys
        single = dialect.conflict_sql(staging, table, schema, names, keys)
        if single is not None and dialect.unique is not None:
            query, values = dialect.unique(table, schema, keys)
            if await self._ask(query, values):
                return [single]
        return dialect.upsert_sql(staging, table, schema, names, keys)

    async def _insert(self, target: Target, slices: Iterable[pa.RecordBatch]) -> int:
        done = 0
        seen: list[pa.RecordBatch] = []  # the keys
        for batch in slices:
            if self._keys:
                seen.append(batch.select(list(self._keys)))
            try:
                await self._load(target, batch)
            except ConstraintError:
                self._check_unique(seen)
                raise
            done += batch.num_rows
            self._tell(done)
        self._check_unique(seen)
        if not done:
            self._tell(done)
        return done

    async def _load(self, target: Target, batch: pa.RecordBatch) -> None:
        async def work(connection: AsyncSqlConnection) -> int:
            return await connection.load(target, batch)

        await self._work(work)

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

        return await self._work(work)

    async def _ask(self, sql: str, values: tuple[Any, ...]) -> Any:
        async def work(connection: AsyncSqlConnection) -> Any:
            return (await connection.run(sql, values)).rows[0][0]

        return await self._work(work)

    async def _work(self, work: Callable[[AsyncSqlConnection], AsyncOutcome[T]]) -> T:
        """Do one step, in what is left of the call's time; it is begun anew with the whole, never by itself."""
        once = single(self._policy, monotonic() - self._since)
        return await self._calls._async_with_connection("write_frame", work, once)  # noqa: SLF001

    async def _end(self, sql: str, *, repeatable: bool = True) -> None:
        """Execute a statement that brings the write to its end, or undoes it: no deadline cuts it short."""

        async def work(connection: AsyncSqlConnection) -> None:
            await connection.run(sql, ())

        await self._calls._async_with_connection("write_frame", work, NO_RETRIES, repeatable=repeatable)  # noqa: SLF001
