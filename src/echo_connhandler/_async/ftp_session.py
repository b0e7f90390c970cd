"""One logged-in session with an FTP server: what the server tells of its files and folders."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from .._concurrency import async_shielded
from .._core.errors import ConnectionFailedError, FtpNotFoundError, FtpReplyError, TimeoutExceededError, TransferError
from .._core.ftp.entries import FtpEntry, Listed
from .._core.ftp.judge import NOT_THERE, TEMPORARY, UNKNOWN_COMMAND
from .._core.ftp.listings import parse_facts, parse_list, parse_mlsd
from .._core.ftp.paths import join, parent
from .._core.ftp.replies import Reply, facts_line, modified, size
from .ftp_data import AsyncFtpDataWays

if TYPE_CHECKING:
    from .._drivers.registry import FtpSettings

__all__ = ("AsyncFtpSession", "async_open_session")


async def async_open_session(settings: FtpSettings) -> AsyncFtpSession:
    """Connect and log in, once.

    Raises:
        AuthenticationError: the login was refused.
        ConnectionFailedError, TimeoutExceededError: no connection, or the server can't be used.
    """
    session = AsyncFtpSession(await settings.async_open_connection(), settings)
    try:
        await session.start()
    except BaseException:
        with async_shielded():
            await session.abandon()
        raise
    return session


class AsyncFtpSession(AsyncFtpDataWays):
    """One session: what the pool holds, and what calls work with. Paths are as users give them."""

    # What there is

    async def size(self, path: str) -> int | None:
        """Return the bytes of a file; None for a folder, for what isn't there, and where the server doesn't tell."""
        await self.binary()
        reply = await self._told(f"SIZE {self.path(path)}")
        return None if reply is None else size(reply)

    async def modified(self, path: str) -> dt.datetime | None:
        """Return when a file was last changed, in UTC; None in the same cases as `size`."""
        reply = await self._told(f"MDTM {self.path(path)}")
        return None if reply is None else modified(reply)

    async def _told(self, line: str) -> Reply | None:
        if not self.knows(line.partition(" ")[0]):
            return None
        try:
            return await self.ask(line, 213)
        except FtpReplyError as error:
            if error.code in NOT_THERE | UNKNOWN_COMMAND:
                return None
            raise

    async def stat(self, path: str) -> Listed | None:
        """Return what the server tells of a file or folder; None if there is none. A link is what it leads to."""
        if not self.features.mlst:
            return await self._probe(path)
        try:
            reply = await self.ask(f"MLST {self.path(path)}", 250)
        except FtpReplyError as error:
            if error.code in NOT_THERE:
                return None
            raise
        there, doubtful = parse_facts(facts_line(reply))
        if doubtful and (there.is_link or not there.is_dir):
            return await self._probe(path)
        return there

    async def _probe(self, path: str) -> Listed | None:
        """Find out what a path is by trying: a file has a size and a time, a folder can be entered."""
        name = path.rpartition("/")[2]
        length = await self.size(path)
        if length is not None:
            return Listed(name, is_dir=False, size=length, modified=await self.modified(path))
        if await self.enters(path):
            return Listed(name, is_dir=True)
        if self.knows("SIZE"):  # it would answer for whatever is a file
            return None
        changed = await self.modified(path)
        if changed is not None:
            return Listed(name, is_dir=False, modified=changed)
        return await self.listed(path)

    async def enters(self, path: str) -> bool:
        """Tell whether a path is a folder that can be entered; the current folder is afterwards as it was."""
        try:
            await self.ask(f"CWD {self.path(path)}")
        except FtpReplyError as error:
            if error.code in NOT_THERE:
                return False
            raise
        await self._go_home()
        return True

    async def _go_home(self) -> None:
        """Go to where the login led to, for paths that are relative there, and for users of `raw`."""
        await self.ask(f"CWD {self.home}")

    async def explain(self, error: FtpReplyError, path: str) -> FtpReplyError:
        """Return a refusal as what it means for a path: `FtpNotFoundError` where there's no such file or folder.

        Servers answer 550 for whatever they refuse, some 450, and 425 before they have looked.
        """
        if self.dead or error.code not in TEMPORARY | NOT_THERE or not await self.lacks(path):
            return error
        return FtpNotFoundError(f"{path!r} is not there: {error.args[0]}", code=error.code)

    async def lacks(self, path: str) -> bool:
        """Tell whether there's nothing of that path, not even a link that leads nowhere."""
        return await self.stat(path) is None and await self.listed(path) is None

    async def entry(self, path: str) -> FtpEntry:
        """Return what the server tells of one path; of a link, what it leads to.

        Raises:
            FtpNotFoundError: there's nothing.
        """
        there = await self.stat(path)
        if there is None:
            raise FtpNotFoundError(f"{path!r} is not there", code=550)
        return FtpEntry(path.rpartition("/")[2], path, there.is_dir, there.size, there.modified)

    # Folders

    async def make_dirs(self, path: str) -> None:
        """Make a folder and those that it's in, as far as they are missing."""
        missing = []
        while path not in ("", "/") and not await self.enters(path):
            missing.append(path)
            path = parent(path)
        for each in reversed(missing):
            try:
                await self.ask(f"MKD {self.path(each)}")
            except FtpReplyError:  # also where another one has just made it
                if self.dead or not await self.enters(each):
                    raise

    async def empty(self, top: str) -> None:
        """Delete all that is in a folder, and never what is elsewhere and linked to.

        Raises:
            FtpReplyError: it's a link, no folder, or something in it can't be deleted.
        """
        if await self._is_link(top):
            raise FtpReplyError(f"{top!r} is a link: what it leads to is not removed; delete() removes the link")
        todo, folders = [top], []
        while todo:
            folder = todo.pop()
            folders.append(folder)
            for each in (await self.listing(folder))[0]:
                path = join(folder, each.name)
                try:  # as a file, whatever it is: there are servers that show a link to a folder as a folder
                    await self.ask(f"DELE {self.path(path)}")
                except FtpReplyError as error:
                    if not each.is_dir or error.code not in NOT_THERE:
                        raise
                    todo.append(path)
        for folder in reversed(folders[1:]):
            await self.ask(f"RMD {self.path(folder)}")

    async def _is_link(self, path: str) -> bool:
        """Tell whether a path is a symbolic link: by LIST, as MLSD may show what it leads to."""
        folder, name = parent(path), path.rpartition("/")[2]
        if name in ("", ".."):
            return False
        return any(each.is_link for each in await self._list(folder) if each.name == name)

    # Listings

    async def listed(self, path: str) -> Listed | None:
        """Return the line that the listing of its folder has of a path; None without one, or without that folder."""
        folder, name = parent(path), path.rpartition("/")[2]
        if not name or name == "..":
            return None
        try:
            found, _ = await self._listing(folder)
        except FtpReplyError as error:
            if error.code in TEMPORARY and not isinstance(error, FtpNotFoundError):
                raise
            return None
        return next((each for each in found if each.name == name), None)

    async def entries(self, path: str) -> list[FtpEntry]:
        """Return what is in a folder, as exactly as the server tells it, sorted by name.

        Raises:
            FtpNotFoundError: there's no such folder.
            FtpReplyError: it's a file, or it can't be read.
        """
        return [await self.exact(path, each) for each in (await self.listing(path))[0]]

    async def listing(self, path: str) -> tuple[list[Listed], str | None]:
        """Return what the listing of a folder has, sorted by name, and what is unique to the folder itself.

        Raises:
            FtpNotFoundError, FtpReplyError: see `entries`.
        """
        try:
            found, unique = await self._listing(path)
        except FtpReplyError as error:
            explained = await self._no_folder(error, path)
            if explained is error:
                raise
            raise explained from error
        return sorted(found, key=lambda each: each.name), unique

    async def _no_folder(self, error: FtpReplyError, path: str) -> FtpReplyError:
        explained = error if isinstance(error, FtpNotFoundError) else await self.explain(error, path)
        if explained is error and not self.dead:
            there = await self.stat(path)
            if there is not None and not there.is_dir:
                explained = FtpReplyError(f"{path!r} is no folder: {error.args[0]}", code=error.code)
        return explained

    async def _listing(self, path: str) -> tuple[list[Listed], str | None]:
        if self.features.mlst and self.knows("MLSD"):
            try:
                data = await self._read(f"MLSD {self.path(path)}")
            except FtpReplyError as error:
                if error.code not in UNKNOWN_COMMAND:
                    raise
            else:
                found, itself = parse_mlsd(data, self._connection.encoding)
                return found, itself.unique if itself is not None else None
        return await self._list(path), None

    async def _list(self, path: str) -> list[Listed]:
        """List by LIST: from within the folder, as that is sure to be one then, and no character of its path counts."""
        await self.ask(f"CWD {self.path(path)}")
        try:
            return await self._list_here()
        finally:
            if not self.dead:
                await self._go_home()

    async def _list_here(self) -> list[Listed]:
        # Servers that don't know `-a`, which shows hidden files too, take it for a name or leave `.` out.
        if "LIST -a" not in self._unknown:
            try:
                found, itself = parse_list(await self._read("LIST -a"), self._connection.encoding)
            except TransferError as error:
                if isinstance(error, FtpReplyError) and error.code in TEMPORARY - {450}:
                    raise
                itself = False
            if itself:
                return found
            self._unknown.add("LIST -a")
        return parse_list(await self._read("LIST"), self._connection.encoding)[0]

    async def _read(self, line: str) -> bytes:
        """Return all that a command lists.

        No reply tells how much there was to come: what shows that some is missing has to do. TLS tells the end, but
        there are servers that don't use it; a first listing without an end is read once more to find out.

        Raises:
            ConnectionFailedError: some is missing.
        """
        listing, ended = await self._read_once(line)
        if not ended and self._ends_are_told is None:
            before = listing
            listing, ended = await self._read_once(line)
            self._ends_are_told = ended or listing != before
        if (listing and not listing.endswith(b"\n")) or (self._ends_are_told and not ended):
            raise ConnectionFailedError("the data connection was lost in the midst of a listing")
        if ended and self._connection.tls:
            self._ends_are_told = True
        return listing

    async def _read_once(self, line: str) -> tuple[bytes, bool]:
        """Return what came, and whether its end was told, or can't be."""
        data = await self.open_data(line)
        pieces = []
        try:
            while piece := await data.read():
                pieces.append(piece)
        except (ConnectionFailedError, TimeoutExceededError):
            await self.break_data(data)
            raise
        await self.end_data(data)
        return b"".join(pieces), data.clean

    async def exact(self, folder: str, listed: Listed) -> FtpEntry:
        """Return an entry of a listing with what the listing doesn't tell: of times, and of what links lead to."""
        path = join(folder, listed.name)
        if listed.is_link:
            there = await self._probe(path)
            if there is None:  # it leads nowhere
                return listed.entry(folder)
            return FtpEntry(listed.name, path, there.is_dir, there.size, there.modified, is_link=True)
        if listed.is_dir or listed.modified is not None or listed.size is None:
            return listed.entry(folder)
        return FtpEntry(listed.name, path, False, listed.size, await self.modified(path))
