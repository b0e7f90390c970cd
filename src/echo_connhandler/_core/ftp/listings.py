"""Listings of folders: the facts of MLSD and MLST (RFC 3659, 7), and the lines of LIST as Unix and Windows have them.

Times are taken from facts only. Those in lines of LIST are in nobody knows whose time zone, have no seconds, and either
no year or no time of day: they are recognised, so that the name is found, and left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import TransferError
from .entries import Listed
from .paths import is_name
from .replies import parse_moment

__all__ = ("parse_facts", "parse_list", "parse_mlsd")

_MONTH = r"[^\W\d_]{3,}\.?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?"
_DATE = rf"(?:{_MONTH} +\d{{1,2}}|\d{{1,2}}\.? +{_MONTH}) +(?:\d{{4}}|{_CLOCK})|\d{{4}}-\d{{2}}-\d{{2}} +{_CLOCK}"
# Owners and groups may be several words, or be left out: what is sure is the size before the date, and one blank after.
_UNIX = re.compile(
    rf"(?P<kind>[-a-zA-Z])[-rwxsStTlL]{{9}}\S* +(?:.*? )?(?P<size>\d+) +(?:{_DATE}) (?P<name>.+)", re.DOTALL | re.ASCII
)
_UNIX_WIDE = re.compile(_UNIX.pattern, re.DOTALL)  # months of other alphabets
_WINDOWS = re.compile(
    r"(?P<when>\d{2,4}[-/.]\d{2}[-/.]\d{2,4} +\d{1,2}:\d{2} ?(?:[AaPp][Mm])?) +"
    r"(?:<(?P<mark>[A-Z]+)>|(?P<size>\d[\d.,]*)) (?P<name>.+)",
    re.DOTALL,
)
_WINDOWS_NAMES = 22  # characters from the end of the time to the name, where the line is as IIS has it
_NOT_LISTED = re.compile(r"total:? \d+.*|\s*", re.IGNORECASE | re.ASCII)
_TARGET = re.compile(r" \[[^\]]*\]$")
_LINKS_MODE = re.compile(r";UNIX\.mode=0?777;", re.IGNORECASE)
_SHOWN = 200
_LONGEST = 16 * 1024  # characters of a line; a path has 4096 bytes at most


def _lines(data: bytes, encoding: str) -> Iterator[str]:
    # Not splitlines(): names may have what Unicode takes for line ends.
    for line in data.split(b"\n"):
        text = line.removesuffix(b"\r").decode(encoding, "surrogateescape")
        if len(text) > _LONGEST:
            raise _not_understood(text)
        if text:
            yield text


def parse_mlsd(data: bytes, encoding: str) -> tuple[list[Listed], Listed | None]:
    """Return what is in a folder, and the folder itself if the listing has it.

    Raises:
        TransferError: a line is none of facts.
    """
    found: list[Listed] = []
    itself: Listed | None = None
    for line in _lines(data, encoding):
        kind, entry = _fact_line(line)
        if kind == "cdir":
            itself = entry
        elif kind != "pdir" and entry.name not in (".", ".."):
            found.append(_checked(entry))
    return found, itself


def parse_facts(line: str) -> tuple[Listed, bool]:
    """Return what MLST's line says, its name being whatever the server calls it by, and whether it's to be doubted.

    ProFTPD tells of a link the type of what it leads to, but its own size and time; its own mode, too, and that is
    always 0777.
    """
    _, entry = _fact_line(line)
    return entry, entry.is_link or _LINKS_MODE.search(line.partition(" ")[0]) is not None


def _fact_line(line: str) -> tuple[str, Listed]:
    facts, space, name = line.partition(" ")
    if not space or (facts and not facts.endswith(";")):
        raise _not_understood(line)
    values: dict[str, str] = {}
    for fact in facts.split(";")[:-1]:
        key, equals, value = fact.partition("=")
        if not equals:
            raise _not_understood(line)
        values[key.lower()] = value
    kind = values.get("type", "").lower()
    is_dir = kind in ("dir", "cdir", "pdir")
    is_link = kind.startswith(("os.unix=symlink", "os.unix=slink"))
    told = values.get("size", "")
    return kind, Listed(
        name,
        is_dir,
        int(told) if told.isascii() and told.isdigit() and not is_dir and not is_link else None,
        None if is_link else parse_moment(values.get("modify", "")),
        is_link,
        values.get("unique") or None,
    )


def parse_list(data: bytes, encoding: str) -> tuple[list[Listed], bool]:
    """Return what is in a folder, and whether the listing has the folder itself too, as `.`.

    Raises:
        TransferError: a line is neither as Unix nor as Windows has them.
    """
    found: list[Listed] = []
    itself = False
    for line in _lines(data, encoding):
        if _NOT_LISTED.fullmatch(line):
            continue
        entry = _unix(line, encoding) or _windows(line)
        if entry is None:
            raise _not_understood(line)
        itself = itself or entry.name == "."
        if entry.name not in (".", ".."):
            found.append(_checked(entry))
    return found, itself


def _unix(line: str, encoding: str) -> Listed | None:
    fields = _UNIX.fullmatch(line) or _UNIX_WIDE.fullmatch(line)
    if fields is None:
        return None
    kind, size, name = fields["kind"], int(fields["size"]), fields["name"]
    if kind == "l":
        return Listed(_without_target(name, size, encoding), is_dir=False, is_link=True)
    return Listed(name, kind == "d", size if kind == "-" else None)


def _without_target(text: str, size: int, encoding: str) -> str:
    """Return a link's name: an arrow may also stand in it, or in its target; the link's size is its target's length."""
    parts = text.split(" -> ")
    for count in range(1, len(parts)):
        if len(" -> ".join(parts[count:]).encode(encoding, "surrogateescape")) == size:
            return " -> ".join(parts[:count])
    return parts[0]


def _windows(line: str) -> Listed | None:
    fields = _WINDOWS.fullmatch(line)
    if fields is None:
        return None
    name, mark = fields["name"], fields["mark"]
    if mark is None:
        return Listed(name, is_dir=False, size=int(re.sub("[.,]", "", fields["size"])))
    column = fields.end("when") + _WINDOWS_NAMES
    in_columns = len(line) > column and not line[fields.start("name") : column].strip()
    name = line[column:] if in_columns else name.lstrip(" ")
    if mark == "DIR":
        return Listed(name, is_dir=True)
    return Listed(_TARGET.sub("", name), is_dir=False, is_link=True)


def _checked(entry: Listed) -> Listed:
    if not is_name(entry.name):
        raise TransferError(f"the server lists {entry.name!r}, which is no name of something in a folder")
    return entry


def _not_understood(line: str) -> TransferError:
    return TransferError(f"the server's listing has a line that can't be understood: {line[:_SHOWN]!r}")
