"""The FTP handler."""

from __future__ import annotations

from typing import Any, ClassVar

from ._async.ftp_frames import AsyncFtpFrameCalls
from ._async.ftp_reader import AsyncFtpReader
from ._core.errors import ConnectionFailedError
from ._core.ftp.entries import FtpEntry
from ._core.ftp.mirror_plan import MirrorResult
from ._core.ftp.properties import FtpConnProperties
from ._core.properties import ConnProperties
from ._core.retry import Resilience
from ._drivers.registry import FtpSettings
from ._sync.ftp_frames import FtpFrameCalls
from ._sync.ftp_reader import FtpReader
from .core import ConnHandler

__all__ = ("AsyncFtpReader", "FtpConnProperties", "FtpEntry", "FtpHandler", "FtpReader", "MirrorResult")


class FtpHandler(FtpFrameCalls, AsyncFtpFrameCalls, ConnHandler):
    """FTP, and FTPS in both ways: through ftplib in threads and on trio, through aioftp on asyncio.

    What one thread does in the midst of reading a file (`open_read`) has a session of its own.
    """

    properties_class: ClassVar[type[ConnProperties]] = FtpConnProperties
    props: FtpConnProperties

    def _set_up(self, props: ConnProperties, resilience: Resilience, pool_size: int) -> None:
        super()._set_up(props, resilience, pool_size)
        self._settings = FtpSettings(self.props, self._target())

    def _left_behind(self) -> frozenset[str]:
        return super()._left_behind() | {"_settings"}

    def _target(self) -> str:
        """Name the server in messages."""
        host, port = self.props.address
        return f"FTP {f'[{host}]' if ':' in host else host}:{port}"

    @property
    def connection(self) -> Any:
        """This thread's live `ftplib.FTP`, logged in; connects if need be."""
        pool = self._sync_engines.get().pool
        session = pool.acquire()
        pool.release(session)
        return session.raw

    @property
    def async_connection(self) -> Any:
        """A live client of this event loop's pool that nobody uses now; no I/O. On asyncio it's an `aioftp.Client`.

        Raises:
            ConnectionFailedError: none is open; `await handler.async_connect()` opens one.
        """
        session = self._async_engines.get().pool.peek()
        if session is None:
            raise ConnectionFailedError("no connection is open and idle: await async_connect() first")
        return session.raw
