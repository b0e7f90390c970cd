"""Calls about the files and folders of an FTP server; what is in files is moved elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable

from .._concurrency import AsyncOutcome, async_releasing, monotonic
from .._core.errors import (
    ConnectionFailedError,
    EchoConnError,
    FtpNotFoundError,
    FtpReplyError,
    OutcomeUnknownError,
    TimeoutExceededError,
    TransferError,
)
from .._core.ftp.entries import FtpEntry, Listed
from .._core.ftp.paths import join, matches, remote_path, split_pattern
from .._core.retry import NO_RETRIES, Resilience, for_call
from .ftp_connections import AsyncFtpConnections
from .ftp_session import AsyncFtpSession

__all__ = ("AsyncFtpFileCalls",)

logger = logging.getLogger("echo_connhandler.ftp")

_DEEPEST = 100  # folders in folders; a server that shows links as folders may have no end


class AsyncFtpFileCalls(AsyncFtpConnections):
    """The calls of one half of a handler that look at files and folders, or change them as a whole.

    Paths are relative to the folder that the login leads to, or begin with `/`. In all calls `retry` is the number of
    retries for this call (0 or False: none), or a `Resilience`. All raise:

    - ValueError where a path has a control character;
    - FtpNotFoundError where there is no such file or folder;
    - FtpReplyError where the server refuses for another reason, `.code` is its reply's;
    - ConnectionFailedError, TimeoutExceededError and AuthenticationError, as everywhere.
    """

    async def async_list_dir(
        self, path: str | os.PathLike[str] = "", *, retry: Resilience | int | None = None
    ) -> list[FtpEntry]:
        """Return what is in a folder, hidden files included, sorted by name; see `FtpEntry`.

        It takes one command where the server has MLSD. Where it has not, the listing that is meant for people is read,
        and each file's time is asked for besides.
        """
        folder = remote_path(path)

        async def work(session: AsyncFtpSession) -> list[FtpEntry]:
            return await session.entries(folder)

        return await self._async_with_session("list_dir", work, policy=for_call(self.resilience, retry))

    def async_walk(
        self, path: str | os.PathLike[str] = "", *, retry: Resilience | int | None = None
    ) -> AsyncIterator[FtpEntry]:
        """Yield what is in a folder and in all folders below: a folder first, then what is in it.

        Links are yielded and not followed. Where the server shows a link to a folder as a folder it is followed, but
        never into a folder that it is in. Folders that vanish meanwhile are passed over. It may be left early.
        """
        return async_releasing(self._async_tree(remote_path(path), for_call(self.resilience, retry)))

    async def _async_tree(self, top: str, policy: Resilience) -> AsyncIterator[FtpEntry]:
        async def look(session: AsyncFtpSession) -> str | None:
            there = await session.stat(top)
            return None if there is None else there.unique

        unique = await self._async_with_session("walk", look, policy=policy)
        todo: list[tuple[str, tuple[str | None, ...]]] = [(top, (unique,))]  # folders, each with those it is in
        while todo:
            folder, around = todo.pop()
            try:
                found = await self._async_one_folder(folder, policy)
            except FtpNotFoundError:
                if len(around) == 1:
                    raise
                continue
            if len(around) > _DEEPEST:
                raise TransferError(
                    f"walk: {folder!r} is more than {_DEEPEST} folders deep: links that lead in a circle?"
                )
            inner = []
            for listed, entry in found:
                yield entry
                if listed.is_dir and (listed.unique is None or listed.unique not in around):
                    inner.append((entry.path, (*around, listed.unique)))
            todo += reversed(inner)

    async def _async_one_folder(self, folder: str, policy: Resilience) -> list[tuple[Listed, FtpEntry]]:
        async def work(session: AsyncFtpSession) -> list[tuple[Listed, FtpEntry]]:
            found, _ = await session.listing(folder)
            return [(each, await session.exact(folder, each)) for each in found]

        return await self._async_with_session("walk", work, policy=policy)

    async def async_glob(self, pattern: str, *, retry: Resilience | int | None = None) -> list[FtpEntry]:
        """Return the files and folders whose paths are of a pattern, sorted by path; none is no error.

        Args:
            pattern: `*` stands for any characters of a name, `?` for one, `**` for any number of folders, also none.
                Capitals count. `**` does not follow links, see `async_walk`.
            retry: see `async_list_dir`.
        """
        top, parts = split_pattern(pattern)
        policy = for_call(self.resilience, retry)
        if "**" in parts:
            return await self._async_glob_tree(top, "/".join(parts), policy)

        async def work(session: AsyncFtpSession) -> list[FtpEntry]:
            folders = [top]
            found: list[FtpEntry] = []
            for depth, part in enumerate(parts, 1):
                found = [each for folder in folders for each in await self._async_matching(session, folder, part)]
                if depth < len(parts):
                    folders = [each.path for each in found if each.is_dir]
            return found

        found = await self._async_with_session("glob", work, policy=policy)
        return sorted(found, key=lambda entry: entry.path)

    async def _async_matching(self, session: AsyncFtpSession, folder: str, part: str) -> list[FtpEntry]:
        try:
            found, _ = await session.listing(folder)
        except FtpReplyError as error:
            if isinstance(error, FtpNotFoundError) or not await self._async_is_folder(session, folder):
                return []
            raise
        return [await session.exact(folder, each) for each in found if matches(each.name, part)]

    async def _async_is_folder(self, session: AsyncFtpSession, path: str) -> bool:
        if session.dead:
            return True
        there = await session.stat(path)
        return there is not None and there.is_dir

    async def _async_glob_tree(self, top: str, pattern: str, policy: Resilience) -> list[FtpEntry]:
        start = len(join(top, "")) if top else 0
        try:
            found = [
                entry async for entry in self.async_walk(top, retry=policy) if matches(entry.path[start:], pattern)
            ]
        except FtpNotFoundError:
            return []
        return sorted(found, key=lambda entry: entry.path)

    async def async_exists(self, path: str | os.PathLike[str], *, retry: Resilience | int | None = None) -> bool:
        """Tell whether there is a file or folder; a link that leads nowhere is none."""
        checked = remote_path(path)

        async def work(session: AsyncFtpSession) -> bool:
            return await session.stat(checked) is not None

        return await self._async_with_session("exists", work, policy=for_call(self.resilience, retry))

    async def async_info(self, path: str | os.PathLike[str], *, retry: Resilience | int | None = None) -> FtpEntry:
        """Return what the server tells of one path; of a link, what it leads to.

        Raises:
            FtpNotFoundError: there is nothing.
        """
        checked = remote_path(path)

        async def work(session: AsyncFtpSession) -> FtpEntry:
            return await session.entry(checked)

        return await self._async_with_session("info", work, policy=for_call(self.resilience, retry))

    # Changes

    async def async_delete(self, path: str | os.PathLike[str], *, retry: Resilience | int | None = None) -> None:
        """Delete a file, or a link.

        Raises:
            OutcomeUnknownError: the connection was lost, and nothing could be found out afterwards.
        """
        checked = remote_path(path)

        async def change(session: AsyncFtpSession) -> None:
            await self._async_asked(session, f"DELE {session.path(checked)}", checked)

        async def is_done(session: AsyncFtpSession) -> bool:
            return await session.lacks(checked)

        await self._async_changed("delete", "DELE", change, is_done, for_call(self.resilience, retry))

    async def async_rename(
        self,
        old: str | os.PathLike[str],
        new: str | os.PathLike[str],
        *,
        retry: Resilience | int | None = None,
    ) -> None:
        """Give a file or folder another path; most servers replace a file that is there already.

        Raises:
            OutcomeUnknownError: the connection was lost, and nothing could be found out afterwards, or neither path is
                there any more.
        """
        source, target = remote_path(old, "old"), remote_path(new, "new")
        seen = False

        async def change(session: AsyncFtpSession) -> None:
            nonlocal seen
            try:
                await self._async_asked(session, f"RNFR {session.path(source)}", source, 350)
            except FtpNotFoundError as error:
                if seen and await session.lacks(target):  # a server may obey a command that was cut in its name
                    text = f"rename: {source!r} was there, and now neither it nor {target!r} is: look for another name"
                    raise OutcomeUnknownError(text) from error
                raise
            seen = True
            await session.ask(f"RNTO {session.path(target)}")

        async def is_done(session: AsyncFtpSession) -> bool:
            return await session.lacks(source) and not await session.lacks(target)

        await self._async_changed("rename", "RNTO", change, is_done, for_call(self.resilience, retry))

    async def async_make_dirs(self, path: str | os.PathLike[str], *, retry: Resilience | int | None = None) -> None:
        """Make a folder and those that it's in, as far as they are missing.

        Raises:
            FtpReplyError: something that is no folder has that name, or the server refuses.
            OutcomeUnknownError: the connection was lost, and nothing could be found out afterwards.
        """
        checked = remote_path(path)

        async def change(session: AsyncFtpSession) -> None:
            await session.make_dirs(checked)

        async def is_done(session: AsyncFtpSession) -> bool:
            return await session.enters(checked)

        await self._async_changed("make_dirs", "MKD", change, is_done, for_call(self.resilience, retry))

    async def async_remove_dir(
        self, path: str | os.PathLike[str], *, recursive: bool = False, retry: Resilience | int | None = None
    ) -> None:
        """Remove a folder.

        Args:
            path: the folder; not a link to one, where all that is in it is to go.
            recursive: with all that is in it. Links in it are removed, never what they lead to.
            retry: see `async_list_dir`.

        Raises:
            FtpReplyError: the folder isn't empty, it's no folder, or the server refuses.
            OutcomeUnknownError: the connection was lost, and nothing could be found out afterwards.
        """
        checked = remote_path(path)

        async def change(session: AsyncFtpSession) -> None:
            if recursive:
                await session.empty(checked)
            await self._async_asked(session, f"RMD {session.path(checked)}", checked)

        async def is_done(session: AsyncFtpSession) -> bool:
            return await session.lacks(checked)

        await self._async_changed("remove_dir", "RMD", change, is_done, for_call(self.resilience, retry))

    async def _async_asked(self, session: AsyncFtpSession, line: str, path: str, *good: int) -> None:
        try:
            await session.ask(line, *good)
        except FtpReplyError as error:
            explained = await session.explain(error, path)
            if explained is error:
                raise
            raise explained from error

    async def _async_changed(
        self,
        what: str,
        verb: str,
        change: Callable[[AsyncFtpSession], AsyncOutcome[None]],
        is_done: Callable[[AsyncFtpSession], AsyncOutcome[bool]],
        policy: Resilience,
    ) -> None:
        """Change something on the server, once: where the reply was lost, look before it's done again.

        Args:
            what: names the call.
            verb: the command whose effect counts.
            change: does it.
            is_done: tells whether it's done.
            policy: the call's.
        """
        began = monotonic()
        lost: list[Exception] = []  # not empty: it may have been done already

        async def work(session: AsyncFtpSession) -> None:
            if lost and await is_done(session):
                return
            try:
                await change(session)
            except FtpReplyError:
                if lost and not session.dead:
                    if await is_done(session):  # by what was sent before, and arrived late
                        return
                    lost.clear()
                raise
            except (ConnectionFailedError, TimeoutExceededError) as error:
                if session.unanswered == verb:
                    lost.append(error)
                raise

        try:
            await self._async_with_session(what, work, policy=policy)
        except EchoConnError as error:
            if not lost:
                raise
            if not await self._async_found_done(what, is_done, policy, began, error):
                raise

    async def _async_found_done(
        self,
        what: str,
        is_done: Callable[[AsyncFtpSession], AsyncOutcome[bool]],
        policy: Resilience,
        began: float,
        error: EchoConnError,
    ) -> bool:
        """Look for the last time whether a change whose reply was lost has been made.

        Raises:
            OutcomeUnknownError: it can't be found out.
        """
        try:
            if policy.deadline is None or monotonic() - began < policy.deadline:
                return await self._async_with_session(what, is_done, policy=NO_RETRIES)
        except EchoConnError as again:
            logger.debug("%s: it can't be found out whether it took effect: %s", self._named(what), again)
        raise OutcomeUnknownError(
            f"{self._named(what)}: the reply was lost after sending, and no other connection could be had to look "
            f"whether it took effect ({error})"
        ) from error
