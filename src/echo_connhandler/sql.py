"""SQL handlers."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, ClassVar, Self

from ._async.frames import AsyncFrameCalls
from ._async.sql_connections import AsyncHeld
from ._concurrency import PoolStats
from ._core.dialects import Dialect
from ._core.errors import ConnectionFailedError
from ._core.properties import ConnProperties, SqlLiteConnProperties
from ._core.retry import Resilience
from ._core.sqlite.dialect import SQLITE
from ._core.sqlvalues import ColumnInfo
from ._drivers.registry import SqlSettings
from ._sync.frames import FrameCalls
from ._sync.sql_connections import Held
from .core import ConnHandler

__all__ = ("ColumnInfo", "PoolStats", "SqlHandler", "SqlLiteConnProperties", "SqlLiteHandler")


class SqlHandler(FrameCalls, AsyncFrameCalls, ConnHandler):
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
