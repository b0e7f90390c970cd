"""Calls of ONS's APIs: reports, read to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from .._concurrency import async_in_thread
from .._core.columns import pyarrow
from .._core.errors import UnexpectedContentError
from .._core.extras import require
from .._core.frames import to_pandas, to_polars
from .._core.http_requests import RequestOptions
from .._core.ons import OnsHttpConnProperties, ReportOptions, report_table
from .http import AsyncHttpCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncOnsCalls",)


class AsyncOnsCalls(AsyncHttpCalls):
    """The calls of one half of an ONS handler."""

    props: OnsHttpConnProperties

    async def async_read_to_arrow(
        self,
        endpoint: str,
        *,
        method: str = "POST",
        sheet: str | int = 0,
        skip_rows: int = 0,
        separator: str = ";",
        decimal: Literal[",", "."] | None = None,
        **options: Unpack[RequestOptions],
    ) -> pa.Table:
        """Ask for a report and return it as a `pyarrow.Table`; one without rows and columns where there's no data.

        An answer without a body, which is ONS's way to say that there's no data, is told from an XLSX and a CSV file
        by its content. Numbers of an XLSX are float64, dates date32 or timestamp[us]. Whole numbers of a CSV are
        int64, those with a decimal mark exact decimals; all else is text.

        Args:
            endpoint: relative to the host, or a full URL.
            method: an HTTP method.
            sheet: XLSX: the sheet's name, or its place from 0.
            skip_rows: XLSX: lines above the header.
            separator: CSV: between the fields of a line.
            decimal: CSV: the decimal mark; None finds it.
            options: see `RequestOptions`; the report's own parameters are `json` most of the time.

        Raises:
            UnexpectedContentError: the answer is neither.
            MissingExtraError: pyarrow or, for XLSX, python-calamine is not installed.
            UnexpectedStatusError: see `async_request`.
        """
        pyarrow()
        response = await self.async_request(method, endpoint, **options)
        try:
            return await async_in_thread(
                report_table,
                response.content,
                sheet=sheet,
                skip_rows=skip_rows,
                separator=separator,
                decimal=decimal,
                limit=self.props.max_response_bytes,
            )
        except ValueError as error:
            text = self._redactor(f"{method} {response.request.url}: {error}")
            raise UnexpectedContentError(text, response, scrub=self._redactor) from error

    async def async_read_to_pandas(self, endpoint: str, **options: Unpack[ReportOptions]) -> pd.DataFrame:
        """Ask for a report and return it as a `pandas.DataFrame`; see `async_read_to_arrow`."""
        require("pandas", extra="pandas", purpose="reading pandas frames")
        return await async_in_thread(to_pandas, await self.async_read_to_arrow(endpoint, **options))

    async def async_read_to_polars(self, endpoint: str, **options: Unpack[ReportOptions]) -> pl.DataFrame:
        """Ask for a report and return it as a `polars.DataFrame`; see `async_read_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        return await async_in_thread(to_polars, await self.async_read_to_arrow(endpoint, **options))
