"""Calls of CCEE's open-data portal: packages, records of resources, and CSV files, read to frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .._concurrency import async_in_thread, async_releasing
from .._core.ckan import Paging, records_table, resource_url, result_of
from .._core.columns import pyarrow
from .._core.csv_frames import read_csv
from .._core.errors import UnexpectedContentError, UnexpectedStatusError
from .._core.extras import require
from .._core.frames import to_pandas, to_polars
from .._core.http_properties import HttpConnProperties
from .http import AsyncHttpCalls

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ("AsyncCceeCalls",)

_GONE = (403, 404, 410)


class AsyncCceeCalls(AsyncHttpCalls):
    """The calls of one half of a CCEE handler."""

    props: HttpConnProperties
    browser_headers: ClassVar[Mapping[str, str]]

    async def async_package_show(self, name: str) -> dict[str, Any]:
        """Return what CKAN knows of a package (a dataset), such as its `resources`.

        The links in there change: ask anew before each download, or use `async_read_csv_to_arrow`.

        Raises:
            UnexpectedStatusError: there's no such package.
            BlockedByWafError: the portal's firewall is in the way, after another warm-up too.
            UnexpectedContentError: the answer is not CKAN's.
        """
        return await self._async_action("package_show", {"id": name})

    def async_iter_records(
        self, resource_id: str, /, *, page_size: int = 1000, sort: str = "_id", **filters: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the records of a resource, page by page; it may be left early.

        Whole numbers are `int`, numbers with a decimal point exact `Decimal`s, texts and dates `str`.

        Args:
            resource_id: CKAN's id of the resource, as in `async_package_show(...)["resources"]`.
            page_size: rows asked for at once. The portal may give fewer; more than 1000 may be refused.
            sort: the order, in CKAN's words: `"MES_REFERENCIA desc, _id"`. Without an order of its own for each row,
                pages may overlap.
            filters: columns and what they must be: a value, or a list of values.

        Raises:
            TransferError: the rows that came are not as many as the portal says, or they shifted while they were
                read. It comes at the end or in the middle: what was yielded until then is not the whole.
            UnexpectedStatusError, BlockedByWafError, UnexpectedContentError: see `async_package_show`.
        """
        paging = Paging(resource_id, page_size=page_size, sort=sort, filters=filters)
        return async_releasing(self._async_records(paging))

    async def _async_records(self, paging: Paging) -> AsyncIterator[dict[str, Any]]:
        while not paging.done:
            for record in paging.take(await self._async_action("datastore_search", paging.params())):
                yield record

    async def async_read_to_arrow(
        self, resource_id: str, /, *, page_size: int = 1000, sort: str = "_id", **filters: Any
    ) -> pa.Table:
        """Return all records of a resource as a `pyarrow.Table`; arguments and errors as for `async_iter_records`.

        Types follow from CKAN's: numeric is int64 where all numbers are whole, else an exact decimal; text is string.
        """
        pyarrow()
        paging = Paging(resource_id, page_size=page_size, sort=sort, filters=filters)
        records: list[dict[str, Any]] = []
        while not paging.done:
            records += paging.take(await self._async_action("datastore_search", paging.params()))
        return await async_in_thread(records_table, records, paging.fields)

    async def async_read_to_pandas(
        self, resource_id: str, /, *, page_size: int = 1000, sort: str = "_id", **filters: Any
    ) -> pd.DataFrame:
        """Return all records of a resource as a `pandas.DataFrame`; see `async_read_to_arrow`."""
        require("pandas", extra="pandas", purpose="reading pandas frames")
        table = await self.async_read_to_arrow(resource_id, page_size=page_size, sort=sort, **filters)
        return await async_in_thread(to_pandas, table)

    async def async_read_to_polars(
        self, resource_id: str, /, *, page_size: int = 1000, sort: str = "_id", **filters: Any
    ) -> pl.DataFrame:
        """Return all records of a resource as a `polars.DataFrame`; see `async_read_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        table = await self.async_read_to_arrow(resource_id, page_size=page_size, sort=sort, **filters)
        return await async_in_thread(to_polars, table)

    async def async_read_csv_to_arrow(
        self, package: str, resource: str | int, *, separator: str = ";", decimal: Literal[",", "."] | None = None
    ) -> pa.Table:
        """Download a package's CSV file and return it as a `pyarrow.Table`.

        The link is asked for anew each time, once more where it has changed meanwhile, and never kept. Read are
        UTF-8 with or without BOM and latin-1, compressed with gzip or not. Whole numbers are int64, numbers with a
        decimal mark exact decimals; all else, also dates and codes like `09`, is text.

        Args:
            package: the package's name, for example `"pld_horario"`.
            resource: the resource's name or id, or a year that the name of one resource holds.
            separator: between the fields of a line.
            decimal: the decimal mark; None finds it.

        Raises:
            InvalidRequestError: the package has no such resource; the message lists those that it has.
            UnexpectedContentError: the file is no such CSV.
            UnexpectedStatusError, BlockedByWafError: see `async_package_show`.
        """
        pyarrow()
        headers = {name: value for name, value in self.browser_headers.items() if name.lower() != "accept"}
        url = resource_url(await self.async_package_show(package), resource)
        try:
            response = await self.async_request("GET", url, headers=headers)
        except UnexpectedStatusError as error:
            if error.response.status_code not in _GONE:
                raise
            url = resource_url(await self.async_package_show(package), resource)
            response = await self.async_request("GET", url, headers=headers)
        limit = self.props.max_response_bytes
        try:
            return await async_in_thread(read_csv, response.content, separator=separator, decimal=decimal, limit=limit)
        except ValueError as error:
            text = self._redactor(f"GET {response.request.url}: {error}")
            raise UnexpectedContentError(text, response, scrub=self._redactor) from error

    async def async_read_csv_to_pandas(
        self, package: str, resource: str | int, *, separator: str = ";", decimal: Literal[",", "."] | None = None
    ) -> pd.DataFrame:
        """Download a package's CSV file and return it as a `pandas.DataFrame`; see `async_read_csv_to_arrow`."""
        require("pandas", extra="pandas", purpose="reading pandas frames")
        table = await self.async_read_csv_to_arrow(package, resource, separator=separator, decimal=decimal)
        return await async_in_thread(to_pandas, table)

    async def async_read_csv_to_polars(
        self, package: str, resource: str | int, *, separator: str = ";", decimal: Literal[",", "."] | None = None
    ) -> pl.DataFrame:
        """Download a package's CSV file and return it as a `polars.DataFrame`; see `async_read_csv_to_arrow`."""
        require("polars", extra="polars", purpose="reading polars frames")
        table = await self.async_read_csv_to_arrow(package, resource, separator=separator, decimal=decimal)
        return await async_in_thread(to_polars, table)

    async def _async_action(self, action: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        headers = {"accept": "application/json"}
        response = await self.async_request("GET", f"/api/3/action/{action}", params=params, headers=headers)
        return result_of(response, self._redactor)
