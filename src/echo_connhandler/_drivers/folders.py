"""Folders of this machine, for mirrors: what is in them, made and deleted without ever leaving them.

All of it blocks: event loops call it in a worker thread. A link is seen as a link and never gone through.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .._core.errors import TransferError
from .._core.ftp.mirror_plan import Node

__all__ = ("Tree", "fold_of", "leftovers_of", "make_folder", "remove", "safe_path", "scan")

_LEFTOVERS = (".part", ".part.json")  # of downloads that are not whole: they belong to their file


@dataclass(slots=True)
class Tree:
    """What is in a folder.

    Attributes:
        nodes: files and folders, and links to files with the size and time of these.
        links: links to folders, which aren't gone through.
        excluded: what takes no part.
        problems: what can't be read, by path, and why.
    """

    nodes: list[Node] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def scan(root: Path, excludes: Callable[[str], bool]) -> Tree:
    """Return what is in a folder and its folders, but for what is excluded; nothing where there's no such folder."""
    found = Tree()
    todo = [""] if root.exists() else []
    while todo:
        folder = todo.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise
            found.problems[folder] = f"the folder can't be read: {error.strerror}"
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if excludes(path):
                found.excluded.append(path)
            else:
                todo += _enter(entry, path, found)
    return found


def _enter(entry: os.DirEntry[str], path: str, found: Tree) -> Iterator[str]:
    """Take note of one entry; yield it if it's a folder to go into."""
    linked = entry.is_symlink() or entry.is_junction() if hasattr(entry, "is_junction") else entry.is_symlink()
    try:
        status = entry.stat()
    except OSError as error:
        found.nodes.append(Node(path, strays=True))
        found.problems[path] = f"it can't be read: {error.strerror}"
        return
    if stat.S_ISDIR(status.st_mode):
        if linked:
            found.links.append(path)
            found.nodes.append(Node(path, strays=True))
        else:
            found.nodes.append(Node(path, is_dir=True))
            yield path
    elif stat.S_ISREG(status.st_mode):
        modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
        found.nodes.append(Node(path, size=status.st_size, modified=modified, strays=linked))
    else:
        found.problems[path] = "it is neither a file nor a folder"


def leftovers_of(path: str) -> Iterator[str]:
    """Yield the paths under which a download of `path` that isn't whole is kept."""
    for ending in _LEFTOVERS:
        yield f"{path}{ending}"


def safe_path(root: Path, path: str) -> Path:
    """Return the path of something in a folder.

    Raises:
        TransferError: a link stands on the way to it.
    """
    place = root
    names = path.split("/")
    for name in names[:-1]:
        place /= name
        if place.is_symlink():
            raise TransferError(f"{place} is a link, which might lead out of {root}: nothing is written through it")
    place /= names[-1]
    for beside in (place.with_name(each) for each in leftovers_of(place.name)):
        if beside.is_symlink():
            raise TransferError(f"{beside} is a link, which might lead out of {root}: nothing is written through it")
    return place


def make_folder(root: Path, path: str) -> None:
    """Make a folder in a folder; one that is there already is fine."""
    safe_path(root, path).mkdir(exist_ok=True)


def remove(root: Path, node: Node) -> None:
    """Delete a file, a link or an empty folder."""
    place = safe_path(root, node.path)
    if node.is_dir:
        place.rmdir()
    else:
        place.unlink()


def fold_of(root: Path) -> Callable[[str], str]:
    """Return what makes of a path what it's the same as on the file system that `root` is or will be on.

    It's found out by looking for an existing folder under its name in other letters; nothing is written.
    """
    place = root.absolute()
    while not (place.exists() and place.name.swapcase() != place.name):
        if place == place.parent:
            return str
        place = place.parent
    try:
        same = os.path.samefile(place, place.with_name(place.name.swapcase()))
    except OSError:
        return str
    return (lambda path: unicodedata.normalize("NFC", path).casefold()) if same else str
