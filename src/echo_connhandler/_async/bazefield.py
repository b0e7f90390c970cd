"""Calls of Bazefield's API: time series, read to frames."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Unpack

from .._concurrency import async_in_thread
from .._core.columns import pyarrow
from .._core.errors import UnexpectedContentError
from .._core.extras import require
from .._core.frames import to_pandas, to_polars
from .._core.http_answers import body_hint
from .._core.http_requests import RequestOptions
from .._core.servicestack import series_table
from .http import AsyncHttpCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncBazeCalls",)


class AsyncBazeCalls(AsyncHttpCalls):
    """The calls of one half of a Bazefield handler."""

    async def async_read_to_arrow(
        self, endpoint: str, *, method: str = "GET", **options: Unpack[RequestOptions]
    ) -> pa.Table:
        """Ask for time series and return all their values as one `pyarrow.Table`, a row each.

        Its columns are `object`, `point` (text), `time` (UTC), `time_local` (without a zone), `value` (float64; also
        of a number that came as text), `text` (what came instead of a number) and `quality`. It reads every answer
        that has `timeSeries` with `t`, `t_local`, `v`, `q` somewhere inside; one that has none is a table without rows.

        Args:
            endpoint: for example `"BazeField.Services/api/objects/timeseries/aggregated"`.
            method: an HTTP method.
            options: see `RequestOptions`; what to ask for is `params` with GET, `json` with POST.

        Raises:
            UnexpectedContentError: the answer is not JSON, or has a time in it that can't be read.
            UnexpectedStatusError: see `async_request`; also where the answer tells of an error with status 200.
        """
        pyarrow()
        response = await self.async_request(method, endpoint, **options)
        try:
            return await async_in_thread(lambda: series_table(jsonlib.loads(response.content)))
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            hint = body_hint(response, self._redactor) or "empty"
            text = self._redactor(f"{method} {response.request.url}: no time series in JSON ({error}) but {kind}")
            raise UnexpectedContentError(f"{text}: {hint}", response, scrub=self._redactor) from error

    async def async_read_to_pandas(
        self, endpoint: str, *, method: str = "GET", **options: Unpack[RequestOptions]
    ) -> pd.DataFrame:
        """Ask for time series and return all their values as one `pandas.DataFrame`; see `async_read_to_arrow`."""
        require("pandas", extra="pandas", purpose="reading pandas frames")
        return await async_in_thread(to_pandas, await self.async_read_to_arrow(endpoint, method=method, **options))

    async def async_read_to_polars(
        self, endpoint: str, *, method: str = "GET", **options: Unpack[RequestOptions]
    ) -> pl.DataFrame:
        """Ask for time series and return all their values as one `polars.DataFrame`; see `async_read_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        return await async_in_thread(to_polars, await self.async_read_to_arrow(endpoint, method=method, **options))
