"""One FTP download: what is missing is fetched until all is there, verified, and only then shown under its name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .._concurrency import AsyncBehind, AsyncOutcome, async_anyway, async_in_thread, async_sleep, monotonic
from .._core.errors import ConnectionFailedError, FtpNotFoundError, FtpReplyError, TimeoutExceededError, TransferError
from .._core.ftp.checksums import Verify, Way, digest_in, way_to_ask
from .._core.ftp.transfer_values import Pace, Progress, broken, up_to_date, validator_of
from .._core.retry import Resilience

if TYPE_CHECKING:
    from .._drivers.ftp_protocol import AsyncFtpData
    from .._drivers.transfer_ends import Sink
    from .ftp_connections import AsyncFtpConnections
    from .ftp_session import AsyncFtpSession

__all__ = ("AsyncDownload", "AsyncLocalWork", "Facts", "async_digest_of", "async_facts_of", "way_of")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells one version of a file on the server from another, as far as the server tells it.

    Attributes:
        size: its bytes.
        modified: when it was changed last.
    """

    size: int | None = None
    modified: dt.datetime | None = None


async def async_facts_of(session: AsyncFtpSession, path: str) -> Facts:
    """Return what the server tells of a file.

    Raises:
        FtpNotFoundError: there's none.
        FtpReplyError: it's a folder.
    """
    there = await session.stat(path)
    if there is None:
        raise FtpNotFoundError(f"{path!r} is not there", code=550)
    if there.is_dir:
        raise FtpReplyError(f"{path!r} is a folder: name a file, or use mirror()", code=550)
    size = there.size if there.size is not None else await session.size(path)
    return Facts(size, there.modified if there.modified is not None else await session.modified(path))


def way_of(session: AsyncFtpSession, path: str, verify: Verify) -> Way | None:
    """Return how a file's digest is asked for; None where it isn't.

    Raises:
        TransferError: `verify="hash"`, and the server can't be asked.
    """
    way = None if verify == "size" else way_to_ask(session.features.commands, session.path(path))
    if way is None and verify == "hash":
        raise TransferError(f'verify="hash" needs a checksum of {path!r}, and the server doesn\'t offer any')
    return way


async def async_digest_of(session: AsyncFtpSession, path: str, verify: Verify, size: int) -> tuple[Way, str] | None:
    """Ask for a file's digest; None where `verify` doesn't need one and the server gives none.

    Raises:
        TransferError: `verify="hash"`, and it gives none.
    """
    place = session.path(path)
    way = way_of(session, path, verify)
    why = ""
    if way is not None:
        try:
            if way.first is not None:
                await session.ask(way.first)
            reply = await session.ask(f"{way.command} {place}")
        except FtpReplyError as error:
            if session.dead:
                raise
            why = f"refused it: {error.args[0]}"
        else:
            digest = digest_in(way, reply.lines, size)
            if digest is not None:
                return way, digest
            why = f"answered what is none: {reply}"
    if verify == "hash":
        raise TransferError(f'verify="hash" needs a checksum of {path!r}, and the server {why}')
    return None


class _LocalFault(Exception):  # noqa: N818 - it is no error of its own
    """What went wrong here and not at the server's, which no other attempt would mend; it's the `__cause__`."""


class AsyncLocalWork:
    """What an attempt does with our end of the transfer, and with the caller's functions.

    Their errors are of many kinds, also of those that else would tell of a lost connection. So they are taken through
    the attempt as `_LocalFault`, and raised as they are when it has come to its end.
    """

    def __init__(self, calls: AsyncFtpConnections, *, in_memory: bool, progress: Progress, rate: float | None) -> None:
        self.calls = calls
        self.furthest = 0  # what attempts are counted by
        self.watched = progress.watched or rate is not None
        self._in_memory = in_memory
        self._progress = progress
        self._pace = Pace(rate, monotonic())
        self._named = ""  # the call, in messages
        self._ends: float | None = None  # by the deadline

    async def locally(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what concerns our end."""
        try:
            if self._in_memory:
                return work(*args, **kwargs)
            return await async_in_thread(work, *args, **kwargs)
        except Exception as error:
            raise _LocalFault from error

    async def moved(self, count: int, done: int, total: int | None) -> None:
        """Take note that `count` bytes more have passed: tell it, and wait if they passed too fast."""
        try:
            self._progress.report(done, total)
        except Exception as error:
            raise _LocalFault from error
        now = monotonic()
        wait = self._pace.wait(count, now)
        if wait <= 0:
            return
        left = wait if self._ends is None else max(self._ends - now, 0)
        await async_sleep(min(wait, left))
        if left < wait:
            raise _LocalFault from TimeoutExceededError(f"{self._named}: at this rate it takes longer than it may")

    async def persist(
        self, what: str, work: Callable[[AsyncFtpSession], AsyncOutcome[bool]], policy: Resilience
    ) -> bool:
        """Do the work until it is done, as the policy has it, and return what it returns."""
        faults: list[BaseException | None] = []
        self._named = self.calls._named(what)  # noqa: SLF001 - a part of the handler
        self._ends = None if policy.deadline is None else monotonic() + policy.deadline

        async def attempt(session: AsyncFtpSession) -> bool:
            try:
                return await work(session)
            except _LocalFault as fault:
                faults.append(fault.__cause__)
                return False

        done = await self.calls._async_with_session(  # noqa: SLF001 - a part of the handler
            what, attempt, progress=lambda: self.furthest, policy=policy
        )
        if faults and (fault := faults[0]) is not None:
            raise fault
        return done


class AsyncDownload(AsyncLocalWork):
    """One download."""

    def __init__(
        self,
        calls: AsyncFtpConnections,
        path: str,
        sink: Sink,
        *,
        progress: Progress,
        rate: float | None,
        verify: Verify,
        unless: Facts | None = None,
    ) -> None:
        """Take what is to be downloaded.

        Args:
            calls: the handler.
            path: the file on the server.
            sink: where it goes.
            progress: whom to tell.
            rate: bytes per second at most.
            verify: how it's verified.
            unless: what is there already; nothing is done if it's as new as the server's.
        """
        super().__init__(calls, in_memory=sink.in_memory, progress=progress, rate=rate)
        self._path = path
        self._sink = sink
        self._verify = verify
        self._unless = unless
        self._facts: Facts | None = None  # of the version that is being fetched
        self._begun: Facts | None = None  # of the version that the sink has the beginning of
        self._changed = False
        self._mismatched = False

    async def run(self, policy: Resilience) -> bool:
        """Bring the file in, and return True; False if it was as new already."""
        sink = self._sink
        try:
            await self._plainly(sink.open)
            if not await self.persist(f"downloading {self._path!r}", self._attempt, policy):
                return False
            facts = self._facts or Facts()
            await self._plainly(sink.finish, None if facts.modified is None else facts.modified.timestamp())
            size = sink.there.size
        finally:
            if not self._in_memory:
                await async_anyway(sink.close)
        self._progress.end(size)
        return True

    async def _plainly(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs) if self._in_memory else await async_in_thread(work, *args, **kwargs)

    async def _attempt(self, session: AsyncFtpSession) -> bool:
        facts = self._facts = await async_facts_of(session, self._path)
        if self._unless is not None and up_to_date(
            self._unless.size, self._unless.modified, than_size=facts.size, than_modified=facts.modified
        ):
            return False
        way = way_of(session, self._path, self._verify)
        if self._begun is None:
            await self.locally(self._sink.watch, None if way is None else way.algorithm)
        if not self._goes_on(facts):
            await self._begin(facts)
        if self._sink.there.size != facts.size or not facts.size:
            await self._fetch(session, facts)
        await self._check(session, facts)
        return True

    def _goes_on(self, facts: Facts) -> bool:
        """Tell whether what is there is the beginning of what the server has now."""
        there = self._sink.there
        if not there.size or facts.size is None or there.size > facts.size:
            return False
        return self._begun == facts if self._begun is not None else there.validator == _validator(facts)

    async def _begin(self, facts: Facts) -> None:
        if self._begun is not None and self._begun != facts:
            self._changed = True
        self._begun = facts
        await self.locally(self._sink.begin, _validator(facts), facts.size)

    async def _fetch(self, session: AsyncFtpSession, facts: Facts) -> None:
        """Fetch what is missing; what came stays, also where it breaks."""
        while True:
            offset = self._sink.there.size
            data = await self._open(session, facts)
            try:
                await self._receive(data, facts)
            except (ConnectionFailedError, TimeoutExceededError) as error:
                explained = await session.failed_data(data, error)
                if explained is error:
                    raise
                raise explained from error
            except Exception:
                await session.break_data(data)
                raise
            await session.end_data(data)
            size = self._sink.there.size
            if facts.size is None:
                if not data.clean:
                    raise broken(f"{self._path!r}: TLS had no farewell, and the size is unknown: there may be more")
                return
            if size == facts.size:
                return
            if size > facts.size:
                await self._start_over("it has become longer")
            if size <= offset:
                raise broken(f"{self._path!r} ended at byte {size} of {facts.size}")

    async def _open(self, session: AsyncFtpSession, facts: Facts) -> AsyncFtpData:
        command = f"RETR {session.path(self._path)}"
        offset = self._sink.there.size
        try:
            return await session.open_data(command, rest=offset)
        except FtpReplyError as error:
            if not offset or error.code < 500 or session.dead:
                raise await session.explain(error, self._path) from error.__cause__
        # It may be REST that was refused.
        await self._begin(facts)
        return await session.open_data(command)

    async def _receive(self, data: AsyncFtpData, facts: Facts) -> None:
        """Write what comes, a block while the next one comes in; where it breaks, what came until then."""
        place = self._sink.there.size
        self._came_further(place)
        try:
            async with AsyncBehind() as behind:
                pieces: list[bytes] = []
                held = 0
                try:
                    while piece := await data.read():
                        pieces.append(piece)
                        held += len(piece)
                        place += len(piece)
                        if held >= behind.worthwhile:
                            whole, pieces, held = pieces, [], 0
                            await self._keep(behind, whole)
                        if self.watched:
                            await self.moved(len(piece), place, facts.size)
                except Exception:
                    await self._keep(behind, pieces)
                    raise
                await self._keep(behind, pieces)
                await self._kept(behind)
        finally:
            self._came_further(self._sink.there.size)

    async def _keep(self, behind: AsyncBehind, pieces: list[bytes]) -> None:
        if self._in_memory:
            await self.locally(self._sink.append, pieces)
            return
        await self._kept(behind)
        await behind.do(self._sink.append, pieces)

    async def _kept(self, behind: AsyncBehind) -> None:
        try:
            await behind.join()
        except Exception as error:
            raise _LocalFault from error

    def _came_further(self, size: int) -> None:
        if not self._changed:  # else a file that grows would be fetched again and again, each time with progress
            self.furthest = max(self.furthest, size)

    async def _check(self, session: AsyncFtpSession, facts: Facts) -> None:
        """Raise unless what is there is one version of the file."""
        size = self._sink.there.size
        if size and not await self._is_still(session, facts):
            return
        told = await async_digest_of(session, self._path, self._verify, size)
        if told is None:
            return
        way, theirs = told
        ours = await self.locally(self._sink.digest, way.algorithm)
        if ours is None:
            if self._verify == "hash":
                raise TransferError(f"{self._path!r}: the server changed the kind of its checksums meanwhile")
        elif ours != theirs:
            await self._differs(session, way)

    async def _is_still(self, session: AsyncFtpSession, facts: Facts) -> bool:
        """Tell whether the file is still there, and the same; there are servers that delete what was fetched whole."""
        try:
            now = await async_facts_of(session, self._path)
        except FtpNotFoundError:
            if self._verify == "hash" or facts.size is None:
                raise
            return False
        if now != facts:
            await self._start_over("it was changed")
        return True

    async def _differs(self, session: AsyncFtpSession, way: Way) -> None:
        again = not self._mismatched
        self._mismatched = True
        await session.aclose()  # servers remember digests for as long as a session lasts, and may be wrong by then
        await self.locally(self._sink.begin, None, None)
        text = f"{self._path!r}: what came has another {way.algorithm} digest than the server's file"
        raise broken(text) if again else TransferError(text)

    async def _start_over(self, why: str) -> None:
        self._changed = True
        await self.locally(self._sink.begin, None, None)
        raise broken(f"{self._path!r}: {why} on the server while it was downloaded")


def _validator(facts: Facts) -> str | None:
    return validator_of(facts.size, facts.modified)
