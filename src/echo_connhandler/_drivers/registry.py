"""Which library serves which database in which world. Libraries are imported when first needed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from anyio.lowlevel import current_token

from .._core.errors import MissingExtraError
from .threaded import ThreadedConnection, worker_hop

if TYPE_CHECKING:
    from .._core.ftp.properties import FtpConnProperties
    from .ftp_protocol import AsyncFtpConnection, FtpConnection
    from .protocol import AsyncSqlConnection, SqlConnection

__all__ = ("FtpSettings", "SqlSettings")


@dataclass(frozen=True, slots=True)
class SqlSettings:
    """What connections are made from.

    Attributes:
        driver: the name of the driver pair in this folder.
        props: the handler's properties.
        label: what all connections of a handler share: the file, or the name of a database in memory.
        target: the database, as messages name it.
    """

    driver: str
    props: Any
    label: str
    target: str

    async def async_open_connection(self) -> AsyncSqlConnection:
        """Open a connection for tasks: by the native library on asyncio, by the blocking one in threads on trio."""
        pair = _PAIRS[self.driver]
        on_asyncio = hasattr(current_token().native_token, "call_soon_threadsafe")
        if on_asyncio and pair.native is not None:
            native: AsyncSqlConnection = await _load(self, pair.native).connect(self)
            return native
        # Not to be abandoned when cancelled: nobody would close the connection that comes after.
        return ThreadedConnection(await to_thread.run_sync(self.open_connection), worker_hop())

    def open_connection(self) -> SqlConnection:
        """Open a connection for a thread."""
        connection: SqlConnection = _load(self, _PAIRS[self.driver].blocking).connect(self)
        return connection


@dataclass(frozen=True, slots=True)
class FtpSettings:
    """What connections to an FTP server are made from.

    Attributes:
        props: the handler's properties.
        target: the server, as messages name it.
    """

    props: FtpConnProperties
    target: str

    async def async_open_connection(self) -> AsyncFtpConnection:
        """Open a connection for tasks."""
        from .ftp_tasks import connect

        return await connect(self)

    def open_connection(self) -> FtpConnection:
        """Open a connection for a thread."""
        from .ftp_ftplib import connect

        return connect(self)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The modules of one database: blocking, and native to asyncio if there's one; and the extra that installs them."""

    blocking: str
    native: str | None
    extra: str | None


_PAIRS = {
    "sqlite": _Pair("sqlite", "aiosqlite_asyncio", None),
    "postgres": _Pair("postgres_psycopg", "postgres_asyncpg", "postgres"),
    "mysql": _Pair("mysql_pymysql", "mysql_aiomysql", "mysql"),
}


def _load(settings: SqlSettings, module: str) -> Any:
    try:
        return import_module(f".{module}", __package__)
    except ModuleNotFoundError as error:
        pair = _PAIRS[settings.driver]
        if pair.extra is None or (error.name or "").startswith("echo_connhandler"):
            raise
        install = f'pip install "echo-connhandler[{pair.extra}]"'
        raise MissingExtraError(f"{settings.driver} needs {error.name}, which is not installed: {install}") from error
