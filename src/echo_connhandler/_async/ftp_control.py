"""The control connection of an FTP session: commands and their replies, the login, and the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from .._concurrency import AsyncOutcome, async_shielded, monotonic
from .._core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FtpReplyError,
    InvalidRequestError,
    TimeoutExceededError,
)
from .._core.ftp.features import Features
from .._core.ftp.judge import UNKNOWN_COMMAND
from .._core.ftp.paths import absolute
from .._core.ftp.replies import ProtocolFault, Reply, UnaskedError, quoted_path
from .._core.redaction import MASK, Redactor
from .._core.retry import Kind

if TYPE_CHECKING:
    from .._drivers.ftp_protocol import AsyncFtpConnection, AsyncFtpData
    from .._drivers.registry import FtpSettings

__all__ = ("AsyncFtpControl",)

logger = logging.getLogger("echo_connhandler.ftp")

T = TypeVar("T")

FAREWELL = 1.0  # seconds for the reply to QUIT
_SECRET_COMMANDS = ("PASS", "ACCT")
_ANONYMOUS = ("anonymous", "anonymous@")


class AsyncFtpControl:
    """One connection that is logged in, by the session's `start`.

    Attributes:
        features: what the server says that it can do.
        home: the folder that the login led to, as the server writes it.
        unanswered: the last command, without its arguments, while no reply to it has come; else None.
    """

    def __init__(self, connection: AsyncFtpConnection, settings: FtpSettings) -> None:
        self.features = Features()
        self.home = ""
        self.unanswered: str | None = None
        self._connection = connection
        self._props = settings.props
        self._redact = Redactor(settings.props.secrets())
        self._ends: float | None = None  # of the time given by `limit`
        self._data: AsyncFtpData | None = None  # while its last reply is still to come
        self._unknown: set[str] = set()  # commands that the server doesn't know
        self._lent = False  # `raw` was given away: what state it leaves, nobody knows
        self._is_binary = False
        self._ends_are_told: bool | None = None  # by TLS; an end that isn't is a lost connection then
        connection.encoding = settings.props.encoding

    @property
    def raw(self) -> object:
        """The library's client. From now on nothing is taken for granted that it may change."""
        self._lent = True
        return self._connection.raw

    @property
    def dead(self) -> bool:
        """Whether it can't be used for another call: lost, closed, out of step, or in the midst of a transfer."""
        return self._connection.dead or self._data is not None

    def limit(self, seconds: float | None) -> None:
        """Let what still waits for the network when so many seconds have passed raise `TimeoutExceededError`."""
        self._ends = None if seconds is None else monotonic() + seconds
        self._connection.limit(seconds)

    async def _within(self, seconds: float, work: Callable[[], AsyncOutcome[T]]) -> T:
        """Wait for something no longer than so many seconds, and no longer than the call may take."""
        left = None if self._ends is None else max(self._ends - monotonic(), 0.001)
        self._connection.limit(seconds if left is None else min(seconds, left))
        try:
            return await work()
        finally:
            self._connection.limit(left)

    def path(self, path: str) -> str:
        """Return a path as it's sent: from the root, so that the current folder doesn't matter."""
        return absolute(path, self.home)

    async def ask(self, line: str, *good: int) -> Reply:
        """Send a command and return its reply.

        Args:
            line: the command, in one line.
            good: the codes, or their first digits, that it may have; without any, 2xx will do.

        Raises:
            FtpReplyError: it has another code.
            ConnectionFailedError, TimeoutExceededError: no whole reply came; the session is dead then.
            InvalidRequestError: it has a line end or NUL in it, or can't be encoded; nothing was sent.
        """
        await self._send(line)
        return self._checked(line, await self._receive(line.partition(" ")[0]), good or (2,))

    async def _send(self, line: str) -> None:
        verb = line.partition(" ")[0]
        logger.debug("%s: > %s", self._connection.peer, self._shown(line))
        self.unanswered = verb
        try:
            await self._connection.send(line)
        except UnaskedError:
            self.unanswered = None
            raise
        except ValueError:  # its own text, and what it holds, may have a password
            self.unanswered = None
            why = f"a line end or NUL is in it, or it can't be written in {self._props.encoding}"
            raise InvalidRequestError(f"{self._shown(line)} can't be sent: {why}") from None

    async def _receive(self, verb: str) -> Reply:
        """Return the next reply, which is to answer the command `verb`."""
        reply = await self._connection.receive()
        shown = self._redact(str(reply))
        logger.debug("%s: < %s", self._connection.peer, shown)
        if reply.code == 221 and verb != "QUIT":  # the answer to another thread that closes the session, not to this
            self.unanswered = verb
            await self.abandon()
            raise ConnectionFailedError(f"{verb} was not answered, the server said goodbye: {shown}")
        self.unanswered = None
        if reply.code == 421:  # it closes the connection, whatever was asked
            await self.abandon()
        return reply

    def _shown(self, line: str) -> str:
        verb = line.partition(" ")[0]
        return f"{verb} {MASK}" if verb in _SECRET_COMMANDS else self._redact(line)

    def _checked(self, line: str, reply: Reply, good: tuple[int, ...]) -> Reply:
        if reply.code in good or reply.kind in good:
            return reply
        verb = line.partition(" ")[0]
        if reply.code in UNKNOWN_COMMAND:
            self._unknown.add(verb)
        raise FtpReplyError(f"{self._shown(line)} was answered {self._redact(str(reply))}", code=reply.code)

    def knows(self, verb: str) -> bool:
        """Tell whether a command may be known to the server: it has not said that it isn't."""
        return verb not in self._unknown

    async def try_to(self, line: str, *good: int) -> Reply | None:
        """Send a command that need not be known or granted; None where it's refused for good."""
        verb = line.partition(" ")[0]
        if verb in self._unknown:
            return None
        try:
            return await self.ask(line, *good)
        except FtpReplyError as error:
            if error.code < 500:
                raise
            return None

    # Beginning and end

    async def start(self) -> None:
        """Log in.

        Raises:
            AuthenticationError: the login was refused.
            ConnectionFailedError: the server can't be used, or not now.
        """
        try:
            await self._within(self._props.conn_timeout, self._log_in)
            await self._look_around()
        except (FtpReplyError, ProtocolFault) as error:
            temporary = isinstance(error, FtpReplyError) and 400 <= error.code < 500
            kind = Kind.TEMPORARY if temporary else Kind.WRONG
            refused = ConnectionFailedError(f"the server can't be used: {error.args[0]}")
            raise refused.told(attempts=1, elapsed=0.0, kind=kind) from error

    async def _log_in(self) -> None:
        greeting = await self._receive("connecting")
        while greeting.code == 120:  # ready in some minutes; it says so when it is
            greeting = await self._receive("connecting")
        self._checked("connecting", greeting, (220, 230))
        if self._props.tls == "explicit":
            await self.ask("AUTH TLS", 234, 334)
            await self._connection.secure()
        if greeting.code != 230:
            await self._identify()
        if self._props.tls != "none":
            await self.ask("PBSZ 0")
            await self.ask("PROT P")  # refused: then nothing is sent, rather than in the clear
            self._connection.private = True

    async def _identify(self) -> None:
        user, password = self._props.user, self._props.password
        if user is None:
            user, password = _ANONYMOUS
        try:
            reply = await self.ask(f"USER {user}", 230, 232, 331, 332)
            if reply.code == 331:
                reply = await self.ask(f"PASS {password or ''}", 230, 202, 232, 332)
            if reply.code == 332:
                if self._props.account is None:
                    raise FtpReplyError("the server asks for an account, which account= is for", code=332)
                await self.ask(f"ACCT {self._props.account}", 230, 202)
        except FtpReplyError as error:
            if 400 <= error.code < 500:
                raise
            raise AuthenticationError(f"the login was refused: {error.args[0]}") from error

    async def _look_around(self) -> None:
        await self._send("FEAT")
        reply = await self._receive("FEAT")
        if reply.code == 421:
            self._checked("FEAT", reply, (2,))
        self.features = Features.of(reply)
        if self._props.encoding.lower().replace("-", "").replace("_", "") == "utf8" and self.features.utf8:
            await self.try_to("OPTS UTF8 ON")  # most have it on, and some of them refuse to be asked
        if self.features.facts_to_ask_for:
            await self.try_to(f"OPTS MLST {''.join(f'{fact};' for fact in self.features.facts_to_ask_for)}")
        await self.binary()
        self.home = quoted_path(await self.ask("PWD", 257))

    async def binary(self) -> None:
        """Have files come as they are, and their size be told in bytes."""
        if self._lent or not self._is_binary:
            await self.ask("TYPE I")
            self._is_binary = True

    async def ping(self) -> None:
        """Ask the server for a sign of life; raise if there's none."""
        await self.ask("NOOP", 2, 5)  # a refusal is a sign as well

    async def abandon(self) -> None:
        """Close the connection without a word."""
        await self._connection.aclose()

    async def aclose(self) -> None:
        """Say goodbye, unless it's in the midst of something, and close the connection."""
        data, self._data = self._data, None
        try:
            if data is not None:
                data.drop()
            elif self.unanswered is None and not self._connection.dead:
                await self._within(FAREWELL, self._say_goodbye)
        except (ConnectionFailedError, TimeoutExceededError, FtpReplyError) as error:
            logger.debug("%s: no goodbye: %s", self._connection.peer, error)
        finally:
            with async_shielded():
                await self._connection.aclose()

    async def _say_goodbye(self) -> None:
        await self.ask("QUIT", 2, 4, 5)
