"""Two trees of files, and what makes the one like the other: what to make, transfer, leave and delete."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .paths import check_text, matches
from .transfer_values import is_temporary_name, up_to_date

__all__ = (
    "MirrorResult",
    "Node",
    "Plan",
    "Selection",
    "parents",
    "plan_mirror",
    "taken_by_parts",
    "undecided",
    "with_times",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorResult:
    """What a mirror did, or would do with `dry_run`. Paths are relative to both folders, with `/` between.

    Attributes:
        transferred: files that were transferred.
        skipped: files that `newer_only` left, as the target has them.
        deleted: files and folders that were deleted in the target.
        made: folders that were made in the target.
        links: links to folders in the source, which are not followed.
        bytes: bytes of the files that were transferred.
        dry_run: whether nothing was done.
    """

    transferred: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    bytes: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder of a tree.

    Attributes:
        path: from the tree's root, with `/` between the names.
        is_dir: whether it's a folder.
        size: bytes of a file, if known.
        modified: when it was changed last, if known.
        strays: it's a link that leads out of the tree: it may be deleted or replaced, never gone through.
    """

    path: str
    is_dir: bool = False
    size: int | None = None
    modified: dt.datetime | None = None
    strays: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        clear: what stands in the way of something of another kind, deepest first.
        make: folders to make, outermost first.
        transfer: files to transfer.
        skip: files that the target has already.
        delete: what the source doesn't have, deepest first.
        problems: what can't be done, by path, and why; those known before included.
    """

    clear: tuple[Node, ...] = ()
    make: tuple[str, ...] = ()
    transfer: tuple[Node, ...] = ()
    skip: tuple[str, ...] = ()
    delete: tuple[Node, ...] = ()
    problems: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Selection:
    """Which files and folders take part: by patterns of their relative paths.

    A pattern without a slash is for names, at any depth; one with a slash is for the whole path. What is in a folder
    that a pattern fits is meant as well. Exclusion wins. Uploads of ours that are not whole never take part.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        """Take the patterns, see `paths.matches`; no `include` stands for all.

        Raises:
            TypeError, ValueError: they aren't sequences of texts without control characters.
        """
        self.everything = not include
        self._include = _patterns(include, "include")
        self._exclude = _patterns(exclude, "exclude")

    def excludes(self, path: str) -> bool:
        """Tell whether a file or folder, and so all that is in it, takes no part."""
        return is_temporary_name(path.rpartition("/")[2]) or _fits(path, self._exclude)

    def takes(self, path: str) -> bool:
        """Tell whether a file takes part."""
        return not self.excludes(path) and (self.everything or _fits(path, self._include))


def _patterns(given: Sequence[str], name: str) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"{name} must be a sequence of patterns: ({given!r},)")
    return tuple(check_text(pattern, name).strip("/") for pattern in given)


def _fits(path: str, patterns: tuple[str, ...]) -> bool:
    return any(
        matches(part if "/" in pattern else part.rpartition("/")[2], pattern)
        for pattern in patterns
        for part in (*parents(path), path)
    )


def parents(path: str) -> Iterator[str]:
    """Yield the folders that `path` is in, outermost first, without the root."""
    place = path.find("/")
    while place >= 0:
        yield path[:place]
        place = path.find("/", place + 1)


def undecided(source: Iterable[Node], target: Iterable[Node]) -> list[str]:
    """Return the files of one size in both trees of which one side doesn't know the time: `newer_only` needs it."""
    there = {node.path: node for node in target if not node.is_dir}
    return [
        node.path
        for node in source
        if not node.is_dir
        and (other := there.get(node.path)) is not None
        and (node.modified is None or other.modified is None)
        and (node.size is None or other.size is None or node.size == other.size)
    ]


def plan_mirror(
    source: Iterable[Node],
    target: Iterable[Node],
    *,
    newer_only: bool = False,
    delete: bool = False,
    takes: Callable[[str], bool] = lambda path: True,
    everything: bool = True,
    fold: Callable[[str], str] = str,
    problems: Mapping[str, str] = MappingProxyType({}),
    left_alone: Iterable[str] = (),
) -> Plan:
    """Plan what makes `target` like `source`.

    Args:
        source: the tree to copy, without what is not to be copied.
        target: the tree that is to become like it; what isn't listed in it is neither seen nor deleted.
        newer_only: leave files that have the source's size and aren't older.
        delete: delete what the source doesn't have.
        takes: tells whether a file of the target, by its path, is one that may be deleted.
        everything: make folders also where no file comes into them.
        fold: what the target's file system takes as the same name comes out the same.
        problems: what can't be copied, by path, and why: known before. It, and what is in it, is left alone.
        left_alone: what is left alone without being a problem, be it in the trees or not.
    """
    problems = dict(problems)
    alone = {fold(path) for path in (*problems, *left_alone)}
    wanted = _without_collisions((node for node in source if not _within(fold(node.path), alone)), fold, problems)
    there = {fold(node.path): node for node in target}
    clear: dict[str, Node] = {}
    for key in [key for key, node in wanted.items() if key in there]:
        _settle_kinds(key, wanted, there, clear, delete=delete, problems=problems)
    blocked = alone | {fold(path) for path in problems}
    wanted = {key: node for key, node in wanted.items() if not _within(key, blocked)}
    files = {key: node for key, node in wanted.items() if not node.is_dir}
    needed = {folder for key in files for folder in parents(key)}
    left = {key: node for key, node in there.items() if key not in clear}
    make = [
        node.path for key, node in wanted.items() if node.is_dir and key not in left and (everything or key in needed)
    ]
    same = {key for key, node in files.items() if newer_only and key in left and _unchanged(left[key], node)}
    surplus = _surplus(left, wanted, takes, blocked) if delete else []
    return Plan(
        clear=tuple(sorted(clear.values(), key=_depth, reverse=True)),
        make=tuple(sorted(make)),
        transfer=tuple(sorted((node for key, node in files.items() if key not in same), key=lambda node: node.path)),
        skip=tuple(sorted(files[key].path for key in same)),
        delete=tuple(surplus),
        problems=MappingProxyType(problems),
    )


def _unchanged(there: Node, wanted: Node) -> bool:
    return not there.strays and up_to_date(
        there.size, there.modified, than_size=wanted.size, than_modified=wanted.modified
    )


def _depth(node: Node) -> tuple[int, str]:
    return node.path.count("/"), node.path


def _within(key: str, blocked: set[str]) -> bool:
    return key in blocked or any(folder in blocked for folder in parents(key))


def _without_collisions(
    source: Iterable[Node], fold: Callable[[str], str], problems: dict[str, str]
) -> dict[str, Node]:
    """Return the nodes by folded path; those that fall on one name, and what is in them, are problems."""
    groups: dict[str, list[Node]] = {}
    for node in source:
        groups.setdefault(fold(node.path), []).append(node)
    blocked = {key for key, nodes in groups.items() if len(nodes) > 1}
    for key in sorted(blocked):
        if any(folder in blocked for folder in parents(key)):
            continue
        names = sorted(node.path for node in groups[key])
        for path in names:
            others = ", ".join(repr(other) for other in names if other != path) or "one of the same name"
            problems[path] = f"here it would fall on the same name as {others}: rename or exclude one"
    return {key: nodes[0] for key, nodes in groups.items() if not _within(key, blocked)}


def _settle_kinds(
    key: str,
    wanted: Mapping[str, Node],
    there: Mapping[str, Node],
    clear: dict[str, Node],
    *,
    delete: bool,
    problems: dict[str, str],
) -> None:
    """See to what stands in the target in the place of something of another kind."""
    node, other = wanted[key], there[key]
    if node.is_dir and other.strays:
        problems[node.path] = "in the target this is a link that leads out of it: remove the link"
    elif node.is_dir != other.is_dir:
        if delete:
            clear.update({each: found for each, found in there.items() if each == key or key in parents(each)})
        else:
            kind = "a folder" if other.is_dir else "a file"
            problems[node.path] = f"the target has {kind} of this name: delete it, or use delete=True"


def _surplus(
    there: Mapping[str, Node], wanted: Mapping[str, Node], takes: Callable[[str], bool], blocked: set[str]
) -> list[Node]:
    """Return what the source doesn't have, deepest first; a folder only where nothing of it stays."""
    kept = set(wanted)
    for key in (*wanted, *blocked):
        kept.update(parents(key))
    gone: list[Node] = []
    for key, node in sorted(there.items(), key=lambda item: _depth(item[1]), reverse=True):
        if key in kept or _within(key, blocked) or not (node.is_dir or takes(node.path)):
            kept.update(parents(key))
        else:
            gone.append(node)
    return gone


def taken_by_parts(nodes: Iterable[Node]) -> dict[str, str]:
    """Return the files that can't be downloaded beside others: these bear such names until they are whole; and why."""
    files = {node.path for node in nodes if not node.is_dir}
    return {
        f"{path}{ending}": f"a file that is downloaded to {path!r} has this name meanwhile: exclude one of them"
        for path in files
        for ending in (".part", ".part.json")
        if f"{path}{ending}" in files
    }


def with_times(nodes: Iterable[Node], times: Mapping[str, dt.datetime | None]) -> list[Node]:
    """Return the nodes, those in `times` with the time given there."""
    return [replace(node, modified=times[node.path]) if node.path in times else node for node in nodes]
