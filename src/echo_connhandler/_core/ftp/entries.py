"""What there is in a folder of an FTP server."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from .paths import join

__all__ = ("FtpEntry", "Listed")


@dataclass(frozen=True, slots=True)
class FtpEntry:
    """A file or folder on an FTP server.

    Attributes:
        name: the last part of its path.
        path: the path to give to other calls: that of the folder, as it was given, and the name.
        is_dir: whether it's a folder, or a link to one.
        size: bytes of a file, or of the one that a link leads to; None for folders and where the server doesn't tell.
        modified: when a file was last changed, in UTC; None where the server doesn't tell it exactly.
        is_link: whether it's a symbolic link, as far as the server tells.
    """

    name: str
    path: str
    is_dir: bool
    size: int | None
    modified: dt.datetime | None
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a listing.

    Attributes:
        name: the last part of the path.
        is_dir: whether it's a folder.
        size: bytes of a file; None where the line doesn't tell, and for a link, whose line tells its own size.
        modified: when it was last changed, in UTC; None where the line doesn't tell it exactly.
        is_link: whether it's a symbolic link: what it leads to isn't told.
        unique: what the server tells this file or folder from all others by, whatever path leads to it; None if it
            doesn't.
    """

    name: str
    is_dir: bool
    size: int | None = None
    modified: dt.datetime | None = None
    is_link: bool = False
    unique: str | None = None

    def entry(self, folder: str) -> FtpEntry:
        """Return it as what users get, in the folder listed."""
        path = join(folder, self.name)
        return FtpEntry(self.name, path, self.is_dir, self.size, self.modified, self.is_link)
