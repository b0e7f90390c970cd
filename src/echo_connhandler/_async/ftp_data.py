"""Data connections of an FTP session: how they come about, how they end, and what the server says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._concurrency import async_shielded
from .._core.errors import ConnectionFailedError, EchoConnError, FtpReplyError, TimeoutExceededError
from .._core.ftp.replies import Reply, extended_passive_port, passive_port
from .ftp_control import AsyncFtpControl

if TYPE_CHECKING:
    from .._drivers.ftp_protocol import AsyncFtpData, AsyncFtpListener

__all__ = ("AsyncFtpDataWays",)

PATIENCE = 5.0  # seconds for the reply to what was broken off: some servers never send it


class AsyncFtpDataWays(AsyncFtpControl):
    """A control connection that opens data connections."""

    async def open_data(self, line: str, rest: int = 0) -> AsyncFtpData:
        """Send a command that moves data, and return its data connection; `end_data` or `break_data` must follow.

        Args:
            line: the command.
            rest: where in the file to begin, in bytes.

        Raises:
            FtpReplyError: it's refused; the session can be used on.
            ConnectionFailedError, TimeoutExceededError: no data connection; the session may be dead.
        """
        await self.binary()
        listener = None if self._props.passive else await self._listen()
        data = await self._open_passive() if listener is None else None
        try:
            if rest:
                await self.ask(f"REST {rest}", 350)
            await self.ask(line, 1)
        except BaseException:
            with async_shielded():
                await self._drop(data, listener)
            raise
        self.unanswered = line.partition(" ")[0]
        return await self._ready(data, listener)

    async def _ready(self, data: AsyncFtpData | None, listener: AsyncFtpListener | None) -> AsyncFtpData:
        """Return the data connection after the server has begun; what fails from here on leaves a reply behind."""
        try:
            if data is None:
                assert listener is not None  # noqa: S101 - one of them is there
                data = await listener.accept()
            self._data = data
            if self._connection.tls:
                await data.secure()
        except (ConnectionFailedError, TimeoutExceededError) as error:
            with async_shielded():
                await self._drop(None, listener)
            explained = await self.failed_data(data, error)
            if explained is error:
                raise
            raise explained from error
        except BaseException:
            with async_shielded():
                await self._drop(data, listener)
                await self.abandon()
            raise
        return data

    async def _drop(self, data: AsyncFtpData | None, listener: AsyncFtpListener | None) -> None:
        if data is not None:
            data.drop()
        if listener is not None:
            await listener.aclose()

    async def _open_passive(self) -> AsyncFtpData:
        """Connect to the port that the server names, on the address that we know."""
        extended = await self.try_to("EPSV", 229)
        if extended is None:
            self._unknown.add("EPSV")  # however it is refused: PASV is what is left
            return await self._connection.open_data(passive_port(await self.ask("PASV", 227)))
        try:
            return await self._connection.open_data(extended_passive_port(extended))
        except ConnectionFailedError:
            # There are routers that open the ports named by PASV only.
            named = None if self._connection.dead else await self.try_to("PASV", 227)
            if named is None:
                raise
            data = await self._connection.open_data(passive_port(named))
            self._unknown.add("EPSV")
            return data

    async def _listen(self) -> AsyncFtpListener:
        """Listen, and tell the server where."""
        listener = await self._connection.listen_data()
        try:
            host, port = listener.host, listener.port
            family = 2 if ":" in host else 1
            told = await self.try_to(f"EPRT |{family}|{host}|{port}|", 200)
            if told is None:
                self._unknown.add("EPRT")
                await self.ask(f"PORT {host.replace('.', ',')},{port // 256},{port % 256}")
        except BaseException:
            with async_shielded():
                await listener.aclose()
            raise
        return listener

    async def end_data(self, data: AsyncFtpData) -> Reply:
        """End a transfer at its end, and return the server's last reply to it.

        What was written is brought to its end here; what is read must have been read to its end. A good reply proves
        nothing about what came through.

        Raises:
            FtpReplyError: the server says that it failed.
        """
        if not data.closed:
            await data.finish()
        verb = self.unanswered or ""
        reply = await self._receive(verb)
        self._data = None
        return self._checked(verb, reply, (2,))

    async def break_data(self, data: AsyncFtpData) -> None:
        """End a transfer before its end; where the server doesn't say that it has taken notice, the session is dead."""
        with async_shielded():
            await self._given_up(data)

    async def failed_data(self, data: AsyncFtpData | None, error: EchoConnError) -> EchoConnError:
        """End a transfer whose data connection failed, and return what it means: the server's reply often says why."""
        verb = self.unanswered
        with async_shielded():
            refusal = await self._given_up(data)
        if refusal is None or refusal.kind < 4:
            return error
        text = f"{verb}: the data connection failed ({error.args[0]}), the server says {self._redact(str(refusal))}"
        return FtpReplyError(text, code=refusal.code)

    async def _given_up(self, data: AsyncFtpData | None) -> Reply | None:
        """Return the server's reply to a transfer that was broken off; None, and the session is dead, without one."""
        if data is not None:
            data.drop()
        reply, verb = None, self.unanswered or ""
        try:
            if not self._connection.dead:
                reply = await self._within(PATIENCE, lambda: self._receive(verb))
        except (ConnectionFailedError, TimeoutExceededError):
            await self.abandon()
        self._data = None
        return reply
