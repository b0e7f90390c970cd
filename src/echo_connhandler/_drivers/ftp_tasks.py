"""FTP for tasks, on asyncio and trio: `ftp_talks.py` run by having the event loop wait for its sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

from .._core.errors import ConnectTimeoutError
from .._core.extras import require
from .ftp_data import Data, Listener, listening, opening
from .ftp_ftplib import FtplibConnection
from .ftp_talks import Control, Need, Talk

if TYPE_CHECKING:
    from .._core.ftp.replies import Reply
    from .registry import FtpSettings

__all__ = ("AsyncConnection", "AsyncData", "AsyncListener", "connect")

T = TypeVar("T")

# Windows' usual event loop can't wait for sockets by itself; anyio has a thread do it.
_PROACTOR: Any = getattr(asyncio, "ProactorEventLoop", ())


async def connect(settings: FtpSettings) -> AsyncConnection:
    """Connect, and read nothing yet; see `ftp_protocol.AsyncFtpConnection`."""
    control = Control(settings)
    with control.told("no connection", late=ConnectTimeoutError):
        with anyio.fail_after(settings.props.conn_timeout):
            addresses = await _addresses(*settings.props.address)
    runner = _Runner(control)
    await runner.run(control.connecting(addresses))
    return AsyncConnection(runner)


async def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:  # a name: to be looked up in a thread
        return await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _on_asyncio() -> bool:
    return hasattr(current_token().native_token, "call_soon_threadsafe")


def _waiting() -> Callable[[Need], Awaitable[None]]:
    """Return how this event loop waits for sockets."""
    if _on_asyncio() and not isinstance(asyncio.get_running_loop(), _PROACTOR):
        return _wait_on_asyncio
    return _wait


async def _wait(need: Need) -> None:
    with anyio.fail_after(need.until - time.monotonic()):
        await (anyio.wait_writable if need.write else anyio.wait_readable)(need.fileno)


async def _wait_on_asyncio(need: Need) -> None:
    # Half the time that anyio's way takes, and large transfers wait thousands of times.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if need.write else (loop.add_reader, loop.remove_reader)
    add(need.fileno, _happened, future)
    timer = loop.call_later(max(need.until - time.monotonic(), 0), _late, future)
    try:
        await future
    finally:
        timer.cancel()
        remove(need.fileno)


def _happened(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _late(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("timed out"))


class _Runner:
    """Goes through the talks of one connection."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._wait = _waiting()
        self._hurried = False  # the last talk never waited

    async def run(self, talk: Talk[T]) -> T:
        """Go through a talk."""
        self.control.enter()
        self._hurried = True
        try:
            need = next(talk)
            self._hurried = False
            while True:
                try:
                    await self._wait(need)
                except BaseException as error:  # noqa: BLE001 - the talk judges it
                    need = talk.throw(error)
                else:
                    need = talk.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            self.control.leave()

    async def carry(self, talk: Talk[T]) -> T:
        """Go through a talk of a transfer. Other tasks run between two: a fast server would have us never wait."""
        if self._hurried:
            try:
                await checkpoint()
            except BaseException:
                self.control.kill()
                raise
        return await self.run(talk)


class AsyncConnection:
    """See `ftp_protocol.AsyncFtpConnection`."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner
        self._control = runner.control
        self._raw: Any = None

    @property
    def encoding(self) -> str:
        """Of text that is not ASCII."""
        return self._control.reader.encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        self._control.reader.encoding = name

    @property
    def private(self) -> bool:
        """Whether the library's own data connections are encrypted."""
        return self._control.private

    @private.setter
    def private(self, value: bool) -> None:
        self._control.private = value

    @property
    def raw(self) -> Any:
        """A library's client on this connection: aioftp's; on trio ftplib's, for use in a thread: its calls block."""
        if self._raw is None:
            self._raw = self._aioftp_client() if _on_asyncio() else FtplibConnection(self._control).raw
        return self._raw

    def _aioftp_client(self) -> Any:
        require("aioftp", extra="ftp", purpose="FTP's live connection on asyncio")
        from .ftp_raw_aioftp import OurClient

        return OurClient(self, self._control)

    @property
    def dead(self) -> bool:
        """Whether it's closed, lost or out of step."""
        return self._control.dead

    @property
    def peer(self) -> str:
        """The server's address."""
        return self._control.peer

    @property
    def local(self) -> str:
        """Our own address."""
        return self._control.local

    @property
    def tls(self) -> bool:
        """Whether it's encrypted."""
        return self._control.tls

    async def send(self, line: str) -> None:
        """Send one command."""
        data = self._control.encoded(line)
        await self._runner.run(self._control.sending(data))

    async def receive(self) -> Reply:
        """Return the next reply."""
        return await self._runner.run(self._control.receiving())

    async def secure(self) -> None:
        """Encrypt the connection."""
        await self._runner.run(self._control.securing())

    async def open_data(self, port: int) -> AsyncData:
        """Connect to the server's own address."""
        return AsyncData(self._runner, await self._runner.run(opening(self._control, port)))

    async def listen_data(self) -> AsyncListener:
        """Listen on our own address."""
        return AsyncListener(self._runner, listening(self._control))

    def limit(self, seconds: float | None) -> None:
        """Let nothing wait beyond so many seconds from now."""
        self._control.limit(seconds)

    async def aclose(self) -> None:
        """Close it and its data connections."""
        self._control.kill()


class AsyncData:
    """See `ftp_protocol.AsyncFtpData`."""

    def __init__(self, runner: _Runner, data: Data) -> None:
        self._runner = runner
        self._data = data

    @property
    def clean(self) -> bool:
        """Whether its end was told."""
        return self._data.clean

    @property
    def closed(self) -> bool:
        """Whether it's over."""
        return self._data.closed

    async def secure(self) -> None:
        """Shake hands."""
        await self._runner.run(self._data.securing())

    async def read(self) -> bytes:
        """Return what comes next."""
        return await self._runner.carry(self._data.reading())

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        await self._runner.carry(self._data.writing(data))

    async def finish(self) -> None:
        """Tell the end and close."""
        await self._runner.run(self._data.finishing())

    def drop(self) -> None:
        """Close it now."""
        self._data.drop()


class AsyncListener:
    """See `ftp_protocol.AsyncFtpListener`."""

    def __init__(self, runner: _Runner, listener: Listener) -> None:
        self._runner = runner
        self._listener = listener

    @property
    def host(self) -> str:
        """Our address."""
        return self._listener.host

    @property
    def port(self) -> int:
        """Where we listen."""
        return self._listener.port

    async def accept(self) -> AsyncData:
        """Return the server's connection."""
        return AsyncData(self._runner, await self._runner.run(self._listener.accepting()))

    async def aclose(self) -> None:
        """Stop listening."""
        self._listener.drop()
