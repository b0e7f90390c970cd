"""Paths on an FTP server: checking what callers give, joining, matching, and names that may become local ones."""

from __future__ import annotations

import os
import re
from functools import lru_cache

from ..errors import TransferError

__all__ = (
    "absolute",
    "check_text",
    "is_name",
    "join",
    "local_name",
    "matches",
    "parent",
    "remote_path",
    "split_pattern",
)

_WILD = re.compile(r"[*?]")
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(?:\..*)?", re.IGNORECASE | re.DOTALL)


def check_text(value: str, name: str) -> str:
    """Return an argument that may be sent.

    Raises:
        ValueError: it has control characters, which would end the command and begin another one, or confuse servers.
        TypeError: it's no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {type(value).__name__}")
    for place, ch in enumerate(value):
        if ord(ch) < 32 or ord(ch) == 127:
            raise ValueError(f"{name} has a control character ({ch!r}) at position {place}, which FTP has no place for")
    return value


def remote_path(path: str | os.PathLike[str], name: str = "path") -> str:
    """Return a path as it's used from here on: without `.`, doubled slashes or one at its end; "" for the home folder.

    Raises:
        ValueError, TypeError: see `check_text`.
    """
    text = check_text(os.fspath(path), name)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ("/" if text.startswith("/") else "") + "/".join(parts)


def absolute(path: str, home: str) -> str:
    """Return a path from the root: what is relative begins at the folder that the login led to.

    Where that has no path as Unix has it, relative paths stay what they are.
    """
    if path.startswith("/") or not home.startswith("/"):
        return path or "."
    return join(home, path) if path else home


def join(folder: str, name: str) -> str:
    """Return the path of what is in a folder."""
    if not folder:
        return name
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"


def parent(path: str) -> str:
    """Return the path of the folder that something is in; "" for what has no slash, "/" stays as it is."""
    folder, slash, _ = path.rpartition("/")
    return folder or slash


def is_name(name: str) -> bool:
    """Tell whether something in a folder can have this name."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def local_name(name: str, *, windows: bool = os.name == "nt") -> str:
    """Return a server's name for something, if it's safe as a local one.

    Raises:
        TransferError: a file of this name would not, or not surely, be in the folder that it's meant for.
    """
    why = None
    if not is_name(name):
        why = "it's no name of a file"
    elif "\\" in name or _DRIVE.match(name):
        why = "on Windows it would lead out of its folder"
    elif any(ord(ch) < 32 or ord(ch) == 127 for ch in name):
        why = "it has control characters"
    elif windows and (_DEVICE.fullmatch(name) or name[-1] in ". " or re.search(r'[<>:"|?*]', name)):
        why = "Windows has no such names"
    if why is not None:
        raise TransferError(f"the server's name {name!r} can't be used here: {why}")
    return name


def split_pattern(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Return the folder that a pattern begins with, without wildcards, and the parts that follow it.

    Raises:
        ValueError: it names nothing in a folder, or see `check_text`.
    """
    pattern = remote_path(pattern, "pattern")
    if not pattern.strip("/"):
        raise ValueError("pattern must name something, such as '*.csv'")
    root, parts = ("/" if pattern.startswith("/") else ""), pattern.strip("/").split("/")
    count = next((place for place, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    return root + "/".join(parts[:count]), tuple(parts[count:])


@lru_cache(256)
def _compiled(part: str) -> re.Pattern[str]:
    spelled = {"*": ".*", "?": "."}
    return re.compile("".join(spelled.get(ch) or re.escape(ch) for ch in part), re.DOTALL)


def matches(path: str, pattern: str) -> bool:
    """Tell whether a relative path, all of it, is of a pattern.

    `*` stands for any characters but `/`, also for none; `?` for one; `**`, as a whole part of the path, for any
    number of folders, also for none. Capitals count.
    """
    return _matches(tuple(path.split("/")), tuple(pattern.split("/")))


def _matches(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    # Where each part may end: a set of places, so that many `**` don't take exponential time.
    places = {0}
    for part in parts:
        if part == "**":
            places = set(range(min(places), len(names) + 1)) if places else places
        else:
            found = _compiled(part)
            places = {place + 1 for place in places if place < len(names) and found.fullmatch(names[place])}
    return len(names) in places
