"""The aioftp client that users get as `async_connection`: its calls run over our sockets, with our strict replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aioftp
from aioftp.client import DataConnectionThrottleStreamIO
from aioftp.common import Code, StreamIO, async_enterable

if TYPE_CHECKING:
    from .ftp_talks import Control
    from .ftp_tasks import AsyncConnection, AsyncData

__all__ = ("OurClient",)


class OurClient(aioftp.Client):
    """aioftp's client on a connection of ours.

    aioftp shakes hands on a data connection before it sends the command, which hangs on servers that answer only after.
    Its own `context`, `connect` and `upgrade_to_tls(context)` have no use here.
    """

    def __init__(self, connection: AsyncConnection, control: Control) -> None:
        props = control.settings.props
        super().__init__(encoding=props.encoding)
        self._ours = connection
        self._control = control
        self.server_host, self.server_port = props.address
        self._stream: Any = StreamIO(None, _Writer(self._put, control.kill))  # type: ignore[arg-type] # what is used of them

    async def _put(self, data: bytes) -> None:
        await self._ours.send(data.decode(self.encoding, "surrogateescape").removesuffix("\r\n"))

    async def connect(self, host: str, port: int = 21) -> list[str]:  # type: ignore[override] # never returns
        """Refuse to connect elsewhere."""
        raise ValueError("this client is connected: handler.async_reconnect() makes a new connection")

    async def parse_response(self) -> tuple[Code, list[str]]:
        """Return a reply's code and its lines, as the library has them."""
        reply = await self._ours.receive()
        *others, last = reply.lines
        lines = [f"-{others[0]}", *others[1:]] if others else []
        return Code(str(reply.code)), [*lines, f" {last}"]

    async def upgrade_to_tls(self, sslcontext: Any = None) -> None:
        """Encrypt the control connection as the handler's properties have it, and the data connections."""
        await self.command("AUTH TLS", "234")
        await self._ours.secure()
        await self.command("PBSZ 0", "200")
        await self.command("PROT P", "200")
        self._ours.private = True

    async def _open_connection(self, host: str, port: int) -> tuple[Any, Any]:
        data = await self._ours.open_data(port)
        return _Reader(data), _Writer(data.write, data.drop)

    async def get_passive_connection(self, *args: Any, **options: Any) -> tuple[_Reader, _Writer]:  # type: ignore[override] # as said
        """Return what the library uses in place of asyncio's streams."""
        pair: Any = await super().get_passive_connection(*args, **options)
        reader, writer = pair
        return reader, writer

    async def _open_stream(
        self,
        command: str | None = None,
        expected_codes: str | tuple[str, ...] = (),
        wait_codes: str | tuple[str, ...] = (),
        censor_after: int | None = None,
        conn_type: Any = "I",
        offset: int = 0,
    ) -> _DataStream:
        reader, writer = await self.get_passive_connection(conn_type)
        data: AsyncData = reader.data
        try:
            if offset:
                await self.command(f"REST {offset}", "350")
            await self.command(command, expected_codes, wait_codes, censor_after)
            if self._ours.private:
                await data.secure()
        except BaseException:
            data.drop()
            raise
        return _DataStream(self, reader, writer, {"_": self.throttle}, data)

    def get_stream(self, *args: Any, **options: Any) -> Any:
        """Begin a transfer; awaited or entered it gives its stream."""
        return async_enterable(self._open_stream)(*args, **options)


class _DataStream(DataConnectionThrottleStreamIO):
    """A data connection as the library has it."""

    def __init__(self, client: OurClient, reader: Any, writer: Any, throttles: Any, data: AsyncData) -> None:
        super().__init__(client, reader, writer, throttles)
        self._data = data
        self._writer: _Writer = writer

    async def finish(self, expected_codes: Any = "2xx", wait_codes: Any = "1xx") -> None:
        """End the transfer and read the server's last reply."""
        if self._writer.used and not self._data.closed:
            await self._data.finish()
        await super().finish(expected_codes, wait_codes)


class _Reader:
    """As much of `asyncio.StreamReader` as the library uses."""

    def __init__(self, data: AsyncData) -> None:
        self.data = data
        self._kept = bytearray()
        self._ended = False

    async def _more(self) -> bool:
        piece = b"" if self._ended else await self.data.read()
        self._kept += piece
        self._ended = not piece
        return bool(piece)

    def _cut(self, count: int) -> bytes:
        data = bytes(self._kept[:count])
        del self._kept[:count]
        return data

    async def read(self, count: int = -1) -> bytes:
        """Return at most `count` bytes, at least one before the end; all with -1."""
        if count < 0:
            while await self._more():
                pass
            return self._cut(len(self._kept))
        if count and not self._kept:
            await self._more()
        return self._cut(count)

    async def readexactly(self, count: int) -> bytes:
        """Return so many bytes."""
        while len(self._kept) < count:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._cut(count), count)
        return self._cut(count)

    async def readline(self) -> bytes:
        """Return a line, or what is left."""
        searched = 0
        while (end := self._kept.find(b"\n", searched)) < 0:
            searched = len(self._kept)
            if not await self._more():
                return self._cut(searched)
        return self._cut(end + 1)


class _Writer:
    """As much of `asyncio.StreamWriter` as the library uses."""

    def __init__(self, put: Callable[[bytes], Awaitable[None]], close: Callable[[], None]) -> None:
        self._put = put
        self.close = close
        self._pieces: list[bytes] = []
        self.used = False

    def write(self, data: bytes) -> None:
        """Keep it until `drain`."""
        self.used = True
        self._pieces.append(data)

    async def drain(self) -> None:
        """Send it."""
        data, self._pieces = b"".join(self._pieces), []
        await self._put(data)
