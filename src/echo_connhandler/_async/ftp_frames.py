"""Frames in files on an FTP server, by way of a temporary file: half a file is never parsed."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

from .._concurrency import async_anyway, async_in_thread, async_opened
from .._core.extras import require
from .._core.frames import to_pandas, to_polars
from .._core.ftp.frame_files import check_options, kind_of, read_frame, write_frame
from .._core.ftp.transfer_values import ProgressCall
from .._core.retry import Resilience
from .._drivers.transfer_ends import ObjectSink, object_source
from .ftp_mirror import AsyncFtpMirrorCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncFtpFrameCalls",)


class AsyncFtpFrameCalls(AsyncFtpMirrorCalls):
    """The frame calls of one half of a handler."""

    async def async_read_to_arrow(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        retry: Resilience | int | None = None,
        **options: Any,
    ) -> pa.Table:
        """Read a CSV or Parquet file from the server, and return it as a `pyarrow.Table`.

        Its name tells what it is: `.csv`, `.csv.gz` or `.parquet`. It's downloaded to a temporary file first, whole and
        verified as by `async_download`.

        CSV is read by pyarrow, which finds out the types. An empty field is NULL unless it's quoted.

        Args:
            path: the file on the server.
            progress: see `async_download`.
            retry: see `async_download`.
            options: for CSV the fields of pyarrow's `ReadOptions`, `ParseOptions` and `ConvertOptions`, such as
                `delimiter` (or `sep`), `encoding`, `decimal_point`, `column_types`,
                `include_columns`, `skip_rows`. Or instead
                `separator` and `decimal`: then it's read as CSV files of Brazilian portals are, with decimals exact,
                codes with leading zeros as text, dates as text, and UTF-8 or Latin-1 found out. For Parquet `columns`,
                `filters` and `schema` of `pyarrow.parquet.read_table`.

        Raises:
            InvalidRequestError: the name of the file says none of these kinds.
            TransferError: the file is empty, or isn't what its name says; and what `async_download` raises.
            MissingExtraError: pyarrow is not installed.
        """
        name, rate = self._checked(path)
        check_options(name, options)
        file = await async_opened(_temporary)
        try:
            await self._async_fetch(name, ObjectSink(file), progress, "auto", rate, retry)
            return await async_in_thread(_parsed, file, name, options)
        finally:
            await async_anyway(file.close)

    async def async_read_to_pandas(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        retry: Resilience | int | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Read a CSV or Parquet file from the server as a `pandas.DataFrame`; see `async_read_to_arrow`.

        Integers with NULLs are `Int64`, booleans with NULLs `boolean`, decimals exact, timestamps with a zone aware.
        """
        require("pandas", extra="pandas", purpose="reading pandas frames")
        table = await self.async_read_to_arrow(path, progress=progress, retry=retry, **options)
        return await async_in_thread(to_pandas, table)

    async def async_read_to_polars(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        retry: Resilience | int | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Read a CSV or Parquet file from the server as a `polars.DataFrame`; see `async_read_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        table = await self.async_read_to_arrow(path, progress=progress, retry=retry, **options)
        return await async_in_thread(to_polars, table)

    async def async_write_frame(
        self,
        frame: Any,
        path: str | os.PathLike[str],
        *,
        progress: ProgressCall | None = None,
        retry: Resilience | int | None = None,
    ) -> int:
        """Write a frame to a file on the server, and return the number of rows written.

        It's written to a temporary file here, batch by batch, and then uploaded as by `async_upload`. In CSV a NULL is
        an empty field, an empty text is quoted, times with a zone are in UTC.

        Args:
            frame: what speaks the Arrow C stream: pandas (without its index), polars, pyarrow and others.
            path: the file to become; its name tells what it's to be: `.csv`, `.csv.gz` or `.parquet`.
            progress: see `async_download`; of the bytes that are uploaded.
            retry: see `async_download`.

        Raises:
            InvalidRequestError: the name of the file says none of these kinds, or a column has a type that such a file
                hasn't.
            TypeError: it's no frame.
            FtpReplyError, TransferError: as by `async_upload`.
            MissingExtraError: pyarrow is not installed.
        """
        name, rate = self._checked(path)
        kind_of(name)
        file = await async_opened(_temporary)
        try:
            rows = await async_in_thread(_written, frame, file, name)
            source = await async_in_thread(object_source, file)
            await self._async_send(source, name, progress, "auto", rate, retry)
        finally:
            await async_anyway(file.close)
        return rows


def _temporary() -> BinaryIO:
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by those who asked for it
    return file


def _parsed(file: BinaryIO, name: str, options: dict[str, Any]) -> pa.Table:
    file.seek(0)
    return read_frame(file, name, options)


def _written(frame: Any, file: BinaryIO, name: str) -> int:
    rows = write_frame(frame, file, name)
    file.seek(0)
    return rows
