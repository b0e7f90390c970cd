"""SQLite on asyncio, through aiosqlite's thread. What is done there is what the blocking driver does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiosqlite
import anyio
from anyio import to_thread

from .sqlite import SqliteConnection, open_arguments
from .threaded import ThreadedConnection

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .registry import SqlSettings

    T = TypeVar("T")

__all__ = ("connect",)


async def connect(settings: SqlSettings) -> ThreadedConnection:
    """Open a connection."""
    path, arguments = open_arguments(settings)
    opening = aiosqlite.connect(path, **arguments)
    # As it comes the thread is not a daemon: a connection left open would keep the interpreter from ending.
    opening._thread.daemon = True  # noqa: SLF001
    with anyio.CancelScope(shield=True):  # cut short, aiosqlite would lose a connection just opened, unclosed
        try:
            connection = await opening
        except BaseException:
            # Its thread reports its end to the event loop, which must not end before.
            await to_thread.run_sync(opening._thread.join)  # noqa: SLF001
            raise
    blocking = SqliteConnection(connection._conn, settings.props)  # noqa: SLF001

    async def hop(job: Callable[[], T], /) -> T:
        # aiosqlite has no public call that runs a function in its thread. One hop for a statement and its rows
        # is twice as fast as execute and fetchall, and what it runs is written once.
        result: T = await connection._execute(job)  # type: ignore[no-untyped-call]  # noqa: SLF001 - as said
        return result

    def abandon() -> None:
        blocking.close()
        connection.stop()

    made = ThreadedConnection(blocking, hop, close=connection.close, abandon=abandon)
    try:
        await hop(blocking.prepare)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await made.aclose()
        raise
    return made
