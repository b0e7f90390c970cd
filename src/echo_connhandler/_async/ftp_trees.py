"""What is in a folder of an FTP server and in all folders below, for mirrors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from .._concurrency import AsyncOutcome
from .._core.errors import FtpNotFoundError, FtpReplyError, TransferError
from .._core.ftp.entries import Listed
from .._core.ftp.mirror_plan import Node, Selection
from .._core.ftp.paths import join, local_name
from .._core.retry import Resilience
from .._drivers.folders import Tree

if TYPE_CHECKING:
    import datetime as dt

    from .ftp_connections import AsyncFtpConnections
    from .ftp_session import AsyncFtpSession

__all__ = ("AsyncFtpTree",)

T = TypeVar("T")

_DEEPEST = 100  # folders in folders; a server that shows links as folders may have no end


class AsyncFtpTree:
    """A folder of the server, as a mirror sees it."""

    def __init__(self, calls: AsyncFtpConnections, top: str, selection: Selection, retry: Resilience) -> None:
        self._calls = calls
        self._top = top
        self._selection = selection
        self._retry = retry

    async def times(self, paths: list[str]) -> dict[str, dt.datetime | None]:
        """Ask for the times of files on the server that its listing doesn't tell."""

        async def work(session: AsyncFtpSession) -> dict[str, dt.datetime | None]:
            return {path: await session.modified(join(self._top, path)) for path in paths}

        return await self._with_session(work) if paths else {}

    async def _with_session(self, work: Callable[[AsyncFtpSession], AsyncOutcome[T]]) -> T:
        return await self._calls._async_with_session("mirror", work, policy=self._retry)  # noqa: SLF001 - a part of it

    async def look(self, *, down: bool) -> Tree:
        """Return what is there; nothing if the target of an upload isn't there yet."""
        found = Tree()

        async def look(session: AsyncFtpSession) -> Listed | None:
            return await session.stat(self._top)

        top = await self._with_session(look)
        if top is None and not down:
            return found
        if top is not None and not top.is_dir:
            raise NotADirectoryError(f"{self._top!r} is not a folder on the server")
        todo: list[tuple[str, tuple[str | None, ...]]] = [("", (top.unique if top is not None else None,))]
        while todo:
            folder, around = todo.pop()
            try:
                listed = await self._one_folder(folder, found, down=down)
            except FtpReplyError as error:
                if not folder:
                    raise
                if not isinstance(error, FtpNotFoundError):  # else it vanished meanwhile
                    found.problems[folder] = f"the folder can't be read: {error.args[0]}"
                continue
            for one, node in listed:
                if node.is_dir and one.unique is not None and one.unique in around:
                    found.links.append(node.path)  # to a folder that it is in
                elif node.is_dir and len(around) >= _DEEPEST:
                    found.problems[node.path] = f"it's more than {_DEEPEST} folders deep: links that lead in a circle?"
                elif not self._take(one, node, found, down=down):
                    continue
                elif node.is_dir:
                    todo.append((node.path, (*around, one.unique)))
        return found

    def _take(self, listed: Listed, node: Node, found: Tree, *, down: bool) -> bool:
        """Take note of what a listing has; False where it can't be copied."""
        if down:
            try:
                local_name(listed.name)
            except TransferError as error:
                found.problems[node.path] = str(error)
                return False
            if node.strays:
                found.links.append(node.path)
        found.nodes.append(node)
        return True

    async def _one_folder(self, folder: str, into: Tree, *, down: bool) -> list[tuple[Listed, Node]]:
        path = join(self._top, folder) if folder else self._top

        async def work(session: AsyncFtpSession) -> list[tuple[Listed, Node]]:
            listed, _ = await session.listing(path)
            found = []
            excluded.clear()
            for one in listed:
                place = join(folder, one.name)
                if self._selection.excludes(place):
                    excluded.append(place)
                else:
                    found.append((one, await self._node(session, path, place, one, down=down)))
            return found

        excluded: list[str] = []
        try:
            return await self._with_session(work)
        finally:
            into.excluded += excluded

    async def _node(self, session: AsyncFtpSession, folder: str, place: str, listed: Listed, *, down: bool) -> Node:
        """Return what is listed; of a link in the source what it leads to, if that is a file."""
        if not listed.is_link:
            return Node(place, listed.is_dir, listed.size, listed.modified)
        there = await session.stat(join(folder, listed.name)) if down else None
        if there is None or there.is_dir:
            return Node(place, strays=True)
        return Node(place, size=there.size, modified=there.modified)
