"""Folders made alike: here like on the server, or there like here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from .._concurrency import AsyncOutcome, async_each, async_in_thread
from .._core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    EchoConnError,
    HandlerClosedError,
    MirrorError,
    TransferError,
)
from .._core.ftp.checksums import Verify, check_verify
from .._core.ftp.mirror_plan import (
    MirrorResult,
    Node,
    Plan,
    Selection,
    parents,
    plan_mirror,
    taken_by_parts,
    undecided,
    with_times,
)
from .._core.ftp.paths import check_text, join, remote_path
from .._core.retry import Resilience, for_call
from .._drivers.folders import fold_of, leftovers_of, make_folder, remove, safe_path, scan
from .ftp_transfers import AsyncFtpTransferCalls
from .ftp_trees import AsyncFtpTree

__all__ = ("AsyncFtpMirrorCalls",)

W = TypeVar("W")

_SHOWN = 5  # failures in the error's text
# After one of these there's no use in trying the next file: each would wait for all its retries.
_HOPELESS = (AuthenticationError, ConnectionFailedError, HandlerClosedError)


class AsyncFtpMirrorCalls(AsyncFtpTransferCalls):
    """The mirrors of one half of a handler."""

    async def async_mirror(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        direction: Literal["down", "up"] = "down",
        newer_only: bool = False,
        delete: bool = False,
        dry_run: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        concurrency: int = 4,
        verify: Verify = "auto",
        retry: Resilience | int | None = None,
    ) -> MirrorResult:
        """Make a folder like another one, with all folders in it; return what was done.

        What can't be done doesn't stop the rest; all of it is raised together at the end. But where the server can't
        be reached any more, what is left isn't tried.

        Nothing leaves the target: names that would lead out of it, or that fall on the same file here, are refused. A
        link in the place of a folder of the target isn't gone through. Links of the source to files are taken as the
        files; those to folders aren't followed, and are told in the result. A server that shows links as folders has
        them followed, but never in a circle.

        Args:
            source: the folder to copy: on the server, with direction="up" here.
            target: the folder that is to become like it; it's made if need be.
            direction: "down" from the server, "up" to it.
            newer_only: leave files that have the same size and aren't older.
            delete: delete what the source doesn't have, also what stands in the way of something of another kind.
            dry_run: do nothing, and return what would be done.
            include: patterns of the files that take part, all without any. A pattern without a slash is for names, at
                any depth; one with a slash for the path from the folder on: `*` stands for any characters of a name,
                `?` for one, `**` for any number of folders. All that is in a folder of such a name is meant too.
            exclude: patterns of files and folders that take no part, and are never deleted. They win.
            concurrency: how many transfers at once; each has a connection of its own. Tasks are limited by
                `pool_size` besides.
            verify: see `async_download`.
            retry: the number of retries for each step, or a `Resilience`.

        Raises:
            MirrorError: some files or folders failed; it has `.failures` by path, and `.result`.
            FtpNotFoundError, FileNotFoundError, NotADirectoryError: the source isn't there, or no folder.
        """
        if direction not in ("down", "up"):
            raise ValueError(f'direction must be "down" or "up", got {direction!r}')
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency must be a whole number from 1, got {concurrency!r}")
        check_verify(verify)
        local, remote = (target, source) if direction == "down" else (source, target)
        mirror = _AsyncMirror(
            self,
            Path(local),
            remote_path(remote, "source" if direction == "down" else "target"),
            Selection(include, exclude),
            verify=verify,
            retry=for_call(self.resilience, retry),
        )
        plan = await mirror.plan(down=direction == "down", newer_only=newer_only, delete=delete)
        if not dry_run:
            return await mirror.carry_out(plan, concurrency, down=direction == "down")
        would = MirrorResult(
            transferred=[node.path for node in plan.transfer],
            skipped=list(plan.skip),
            deleted=[node.path for node in (*plan.clear, *plan.delete)],
            made=list(plan.make),
            links=sorted(mirror.links),
            bytes=sum(node.size or 0 for node in plan.transfer),
            dry_run=True,
        )
        _raise_failures({path: TransferError(f"{path!r}: {why}") for path, why in plan.problems.items()}, would)
        return would


@dataclass(slots=True)
class _Done:
    """What a mirror has done so far."""

    transferred: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    bytes: int = 0
    failures: dict[str, Exception] = field(default_factory=dict)
    hopeless: Exception | None = None


class _AsyncMirror:
    """One mirror."""

    def __init__(
        self,
        calls: AsyncFtpMirrorCalls,
        local: Path,
        remote: str,
        selection: Selection,
        *,
        verify: Verify,
        retry: Resilience,
    ) -> None:
        self.links: list[str] = []
        self._calls = calls
        self._local = local
        self._remote = remote
        self._selection = selection
        self._verify = verify
        self._retry = retry
        self._tree = AsyncFtpTree(calls, remote, selection, retry)
        self._done = _Done()

    # What is to be done

    async def plan(self, *, down: bool, newer_only: bool, delete: bool) -> Plan:
        """Look at both sides, and say what makes the target like the source."""
        if not down and not self._local.is_dir():
            reason = NotADirectoryError if self._local.exists() else FileNotFoundError
            raise reason(f"{self._local} is not a folder that could be copied")
        if down and self._local.exists() and not self._local.is_dir():
            raise NotADirectoryError(f"{self._local} is not a folder that could be copied to")
        there = await self._tree.look(down=down)
        here = await async_in_thread(scan, self._local, self._selection.excludes)
        source, target = (there, here) if down else (here, there)
        problems = {**target.problems, **source.problems}
        self.links = source.links
        files = [node for node in source.nodes if node.is_dir or self._selection.takes(node.path)]
        if down:
            problems |= taken_by_parts(files)
        else:
            problems |= _unfit_for_commands(files)
        theirs = files if down else target.nodes
        if newer_only:
            times = await self._tree.times(undecided(files, target.nodes))
            theirs = with_times(theirs, times)
        leftovers = {name for node in files if down for name in leftovers_of(node.path)}
        plan = plan_mirror(
            theirs if down else files,
            target.nodes if down else theirs,
            newer_only=newer_only,
            delete=delete,
            takes=lambda path: self._selection.takes(path) and path not in leftovers,
            everything=self._selection.everything,
            fold=await async_in_thread(fold_of, self._local) if down else str,
            problems=problems,
            left_alone=(*source.links, *source.excluded, *target.excluded),
        )
        return replace(plan, delete=await self._surely_gone(plan.delete)) if down and plan.delete else plan

    async def _surely_gone(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Return those that a second look at the server doesn't find either.

        On a plain data connection, a listing that a network ended in order at the end of a line looks whole.
        """
        fold = await async_in_thread(fold_of, self._local)
        again = await self._tree.look(down=True)
        doubtful = {fold(path) for path in (*again.problems, *again.links)}
        there = doubtful | {fold(node.path) for node in again.nodes}
        kept = there | {folder for path in there for folder in parents(path)}
        return tuple(
            node for node in nodes if fold(node.path) not in kept and doubtful.isdisjoint(parents(fold(node.path)))
        )

    # Doing it

    async def carry_out(self, plan: Plan, concurrency: int, *, down: bool) -> MirrorResult:
        """Do what is planned, as far as it can be done."""
        done = self._done
        done.failures.update({path: TransferError(f"{path!r}: {why}") for path, why in plan.problems.items()})
        if down:
            await async_in_thread(self._local.mkdir, parents=True, exist_ok=True)
        elif self._remote:
            await self._calls.async_make_dirs(self._remote, retry=self._retry)
        for node in plan.clear:
            await self._step(node.path, done.deleted, self._remove_here if down else self._remove_there, node)
        for path in plan.make:
            await self._step(path, done.made, self._make_here if down else self._make_there, path)
        await self._transfer(plan.transfer, concurrency, self._bring_here if down else self._bring_there)
        for node in plan.delete:
            await self._step(node.path, done.deleted, self._remove_here if down else self._remove_there, node)
        result = MirrorResult(
            transferred=sorted(done.transferred),
            skipped=list(plan.skip),
            deleted=done.deleted,
            made=done.made,
            links=sorted(self.links),
            bytes=done.bytes,
        )
        _raise_failures(done.failures, result)
        return result

    async def _step(self, path: str, into: list[str], work: Callable[[W], AsyncOutcome[None]], what: W) -> None:
        if any(folder in self._done.failures for folder in parents(path)) or path in self._done.failures:
            return
        try:
            self._check_hope()
            await work(what)
        except (EchoConnError, OSError) as error:
            self._failed(path, error)
        else:
            into.append(path)

    async def _transfer(
        self, nodes: Sequence[Node], concurrency: int, bring: Callable[[Node], AsyncOutcome[None]]
    ) -> None:
        done = self._done
        todo = [
            node
            for node in nodes
            if node.path not in done.failures and not any(folder in done.failures for folder in parents(node.path))
        ]

        async def one(node: Node) -> None:
            try:
                self._check_hope()
                await bring(node)
            except _HOPELESS as error:
                done.hopeless = done.hopeless or error
                raise

        # One at a time is done here: a thread of its own would open a connection of its own.
        if min(concurrency, len(todo)) > 1:
            outcomes = await async_each(one, todo, concurrency, collect=True)
        else:
            outcomes = [await _async_outcome(one, node) for node in todo]
        for node, outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome, EchoConnError | OSError):
                self._failed(node.path, outcome)
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                done.transferred.append(node.path)
                done.bytes += node.size or 0

    def _failed(self, path: str, error: Exception) -> None:
        self._done.failures[path] = error
        if isinstance(error, _HOPELESS):
            self._done.hopeless = self._done.hopeless or error

    def _check_hope(self) -> None:
        if self._done.hopeless is not None:
            raise TransferError(f"not tried, after {type(self._done.hopeless).__name__}: {self._done.hopeless}")

    async def _bring_here(self, node: Node) -> None:
        place = await async_in_thread(safe_path, self._local, node.path)
        await self._calls.async_download(join(self._remote, node.path), place, verify=self._verify, retry=self._retry)

    async def _bring_there(self, node: Node) -> None:
        await self._calls.async_upload(
            self._local / node.path, join(self._remote, node.path), verify=self._verify, retry=self._retry
        )

    async def _make_here(self, path: str) -> None:
        await async_in_thread(make_folder, self._local, path)

    async def _make_there(self, path: str) -> None:
        await self._calls.async_make_dirs(join(self._remote, path), retry=self._retry)

    async def _remove_here(self, node: Node) -> None:
        await async_in_thread(remove, self._local, node)

    async def _remove_there(self, node: Node) -> None:
        path = join(self._remote, node.path)
        if node.is_dir:
            await self._calls.async_remove_dir(path, retry=self._retry)
        else:
            await self._calls.async_delete(path, retry=self._retry)


async def _async_outcome(work: Callable[[Node], AsyncOutcome[None]], node: Node) -> Exception | None:
    try:
        await work(node)
    except Exception as error:  # noqa: BLE001 - in the place of the result, as with several at once
        return error
    return None


def _unfit_for_commands(nodes: Sequence[Node]) -> dict[str, str]:
    """Return the local names that no FTP command can have in it, and why."""
    found = {}
    for node in nodes:
        try:
            check_text(node.path, "its name")
        except ValueError as error:
            found[node.path] = str(error)
    return found


def _raise_failures(failures: dict[str, Exception], result: MirrorResult) -> None:
    if not failures:
        return
    shown = [f"{path!r}: {error}" for path, error in sorted(failures.items())[:_SHOWN]]
    more = f"; and {len(failures) - _SHOWN} more (see .failures)" if len(failures) > _SHOWN else ""
    error = MirrorError(f"mirror: {len(failures)} could not be done: {'; '.join(shown)}{more}", failures, result)
    raise error from next(iter(failures.values()))
