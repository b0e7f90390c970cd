"""SQL handlers."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from ._async.partitions import AsyncPartitionCalls, AsyncPartitionReads
from ._async.sql_connections import AsyncHeld
from ._concurrency import PoolStats
from ._core.dialects import Dialect
from ._core.errors import ConnectionFailedError
from ._core.mysql.dialect import MYSQL
from ._core.mysql.receipts import ledger
from ._core.postgres.dialect import POSTGRES
from ._core.postgres.values import Interval, Range
from ._core.properties import ConnProperties
from ._core.retry import Resilience
from ._core.sql_properties import SqlConnProperties, SqlLiteConnProperties
from ._core.sqlite.dialect import SQLITE
from ._core.sqlvalues import ColumnInfo
from ._drivers.registry import SqlSettings
from ._sync.partitions import PartitionCalls, PartitionReads
from ._sync.sql_connections import Held
from .core import ConnHandler, HandlerOptions, takes_options

__all__ = (
    "ColumnInfo",
    "Interval",
    "Partition",
    "PgSqlHandler",
    "PoolStats",
    "Range",
    "SqlConnProperties",
    "SqlHandler",
    "SqlLiteConnProperties",
    "SqlLiteHandler",
)


@dataclasses.dataclass(frozen=True)
class Partition(PartitionReads, AsyncPartitionReads):
    """One part of a query, as `read_partitioned` gives it. It can be pickled, and connects where it is read."""

    handler: SqlHandler = dataclasses.field(repr=False)
    sql: str
    params: dict[str, Any] = dataclasses.field(repr=False)


class SqlHandler(PartitionCalls[Partition], AsyncPartitionCalls[Partition], ConnHandler):
    """What all SQL handlers are made of; use the one of your database."""

    _dialect: Dialect
    _driver: ClassVar[str]

    def _set_up(self, props: ConnProperties, resilience: Resilience, pool_size: int) -> None:
        super()._set_up(props, resilience, pool_size)
        self._settings = SqlSettings(self._driver, props, self._label(), self._target())
        self._sync_holds: dict[object, Held] = {}
        self._async_holds: dict[object, AsyncHeld] = {}

    def _left_behind(self) -> frozenset[str]:
        return super()._left_behind() | {"_settings", "_sync_holds", "_async_holds"}

    def _label(self) -> str:
        """Name what all connections of the handler, and of those made like it, share."""
        return f"echo-{uuid.uuid4().hex}"

    def _partition(self, sql: str, params: dict[str, Any]) -> Partition:
        return Partition(self, sql, params)

    def _target(self) -> str:
        """Name the database in messages."""
        return type(self).__name__

    def _like(self, **changes: Any) -> Self:
        twin = super()._like(**changes)
        twin._settings = self._settings  # noqa: SLF001 - the same database, also where it lives in memory
        return twin

    @property
    def connection(self) -> Any:
        """This thread's connection, the library's own; connects if need be."""
        pool = self._sync_engines.get().pool
        connection = pool.acquire()
        pool.release(connection)
        return connection.raw

    @property
    def async_connection(self) -> Any:
        """The library's own connection that this task holds, or an idle one of this event loop's pool; no I/O.

        Raises:
            ConnectionFailedError: none is open; `await handler.async_connect()` opens one.
        """
        joined = self._async_joined()
        connection = joined.connection if joined is not None else self._async_engines.get().pool.peek()
        if connection is None:
            raise ConnectionFailedError("no connection is open and idle: await async_connect() first")
        return connection.raw


class SqlLiteHandler(SqlHandler):
    """SQLite: through sqlite3 in threads and on trio, through aiosqlite on asyncio."""

    properties_class: ClassVar[type[ConnProperties]] = SqlLiteConnProperties
    props: SqlLiteConnProperties
    _dialect = SQLITE
    _driver = "sqlite"

    def _label(self) -> str:
        # Once and for all: the process may change its folder before another thread connects.
        return super()._label() if self.props.in_memory else str(Path(self.props.path).absolute())

    def _target(self) -> str:
        return f"SQLite {self.props.path}"


class PgSqlHandler(SqlHandler):
    """PostgreSQL: through psycopg in threads and on trio, through asyncpg on asyncio."""

    properties_class: ClassVar[type[ConnProperties]] = SqlConnProperties
    props: SqlConnProperties
    _dialect = POSTGRES
    _driver = "postgres"

    def _target(self) -> str:
        return f"PostgreSQL {self.props.database or ''}@{self.props.host}"


class MySqlHandler(SqlHandler):
    """MySQL and MariaDB: through pymysql in threads and on trio, through aiomysql on asyncio."""

    properties_class: ClassVar[type[ConnProperties]] = SqlConnProperties
    props: SqlConnProperties
    _driver = "mysql"

    @takes_options
    def __init__(
        self, props: SqlConnProperties, *, commit_ledger: str | None = None, **options: Unpack[HandlerOptions]
    ) -> None:
        """Make the handler.

        Args:
            props: where and how to connect.
            commit_ledger: the name of a table, made where it is missing, by which the outcome of a COMMIT is found
                out whose answer was lost; without it that raises `OutcomeUnknownError`.
            options: see `SqlHandler`.
        """
        self._commit_ledger = commit_ledger
        super().__init__(props, **options)

    def _set_up(self, props: ConnProperties, resilience: Resilience, pool_size: int) -> None:
        receipts = None if self._commit_ledger is None else ledger(self._commit_ledger)
        self._dialect = dataclasses.replace(MYSQL, receipts=receipts)
        super()._set_up(props, resilience, pool_size)

    def _left_behind(self) -> frozenset[str]:
        return super()._left_behind() | {"_dialect"}

    def _target(self) -> str:
        where = self.props.host if self.props.port is None else f"{self.props.host}:{self.props.port}"
        return f"MySQL {where}/{self.props.database or ''}"
