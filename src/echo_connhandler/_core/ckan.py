"""CKAN, the software of CCEE's open-data portal, and the firewall in front of it: what answers mean, and paging."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx

from .columns import column, decimal_column, pyarrow, table
from .errors import InvalidRequestError, TransferError, UnexpectedContentError
from .html import is_html, read_page

if TYPE_CHECKING:
    import pyarrow as pa

    from .redaction import Redactor

__all__ = ("Paging", "error_text", "is_block_page", "records_table", "resource_url", "result_of", "warms_up_again")

_BLOCKED = re.compile(
    r"bloque(?:io|ad[oa])|manuten[cç][aã]o|acesso negado|access denied|request (?:blocked|rejected)", re.IGNORECASE
)
_FAILED = re.compile(rb'"success"\s*:\s*false')


def is_block_page(response: httpx.Response) -> bool:
    """Tell whether an answer is a page of the firewall: HTML with 403, in place of JSON, or that says so itself."""
    if not is_html(response):
        return False
    if response.status_code == 403 or (response.status_code == 200 and "/api/" in response.url.path):
        return True
    return response.status_code in (200, 503) and _BLOCKED.search(read_page(response.text).said) is not None


def warms_up_again(response: httpx.Response) -> bool:
    """Tell whether a new warm-up may help: not where the server says 503, which passes by itself."""
    return response.status_code in (200, 403) and is_block_page(response)


def error_text(response: httpx.Response) -> str | None:
    """Return what CKAN says went wrong, whatever the status; None if it does not say so."""
    if "json" not in response.headers.get("content-type", "") or not _FAILED.search(response.content):
        return None
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    if not isinstance(answer, dict) or answer.get("success") is not False:
        return None
    error = answer.get("error")
    if not isinstance(error, dict):
        return json.dumps(error, ensure_ascii=False) if error else "success is false"
    kind, message = error.get("__type"), error.get("message")
    rest = {k: v for k, v in error.items() if k not in ("__type", "message")}
    parts = [kind, message, json.dumps(rest, ensure_ascii=False) if rest else None]
    return ": ".join(str(part) for part in parts if part) or "success is false"


def result_of(response: httpx.Response, redactor: Redactor) -> dict[str, Any]:
    """Return the `result` of an action's answer; numbers with a decimal point in it are exact Decimals.

    Raises:
        UnexpectedContentError: there's none.
    """
    try:
        answer = json.loads(response.content, parse_float=Decimal)
    except ValueError:
        answer = None
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        kind = response.headers.get("content-type", "no content type")
        text = redactor(f"{response.request.method} {response.request.url}: no result of CKAN in it, but {kind}")
        raise UnexpectedContentError(text, response, scrub=redactor)
    return result


class Paging:
    """Pages of `datastore_search`: counts what came, and finds out when that can't be the whole.

    The portal gives fewer rows at once than asked for without a word, so the next offset follows from what came. Rows
    that are added or removed meanwhile shift the others: seen by a changed total, or by an `_id` that does not rise
    where that is the order.
    """

    def __init__(self, resource_id: str, *, page_size: int, sort: str, filters: Mapping[str, Any]) -> None:
        if not isinstance(page_size, int) or isinstance(page_size, bool) or page_size < 1:
            raise InvalidRequestError(f"page_size must be a whole number from 1, got {page_size!r}")
        self._resource_id, self._page_size, self._sort, self._filters = resource_id, page_size, sort, dict(filters)
        self._came = 0
        self._total: int | None = None
        self._last_id: int | None = None
        self.done = False
        self.fields: list[dict[str, Any]] = []

    def params(self) -> dict[str, str | int]:
        """Return the query of the next page."""
        params: dict[str, str | int] = {"resource_id": self._resource_id, "limit": self._page_size}
        params |= {"offset": self._came, "sort": self._sort}
        if self._filters:
            params["filters"] = json.dumps(self._filters, ensure_ascii=False, default=str)
        return params

    def take(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the records of a page.

        Raises:
            TransferError: what came is not the whole, or rows shifted while they were read.
        """
        records: list[dict[str, Any]] = result.get("records") or []
        self.fields = result.get("fields") or self.fields
        total = result.get("total")
        if total is not None and not result.get("total_was_estimated"):
            if self._total is not None and total != self._total:
                raise self._broken(f"there were {self._total:,} rows when reading began and there are {total:,} now")
            self._total = int(total)
        if self._sort == "_id":
            self._check_order(records)
        self._came += len(records)
        if not records or self._came == self._total:
            self.done = True
        if self._total is not None and (self._came > self._total or (self.done and self._came < self._total)):
            raise self._broken(f"{self._came:,} rows came, the portal says there are {self._total:,}")
        return records

    def _check_order(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            number = record.get("_id")
            if not isinstance(number, int):
                continue
            if self._last_id is not None and number <= self._last_id:
                raise self._broken(f"row {number} came after row {self._last_id}")
            self._last_id = number

    def _broken(self, why: str) -> TransferError:
        return TransferError(f"resource {self._resource_id}: {why}: rows are missing or came twice, read it again")


def records_table(records: Sequence[Mapping[str, Any]], fields: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return records as an Arrow table with the types of CKAN's fields.

    ==============================  ======================================================================
    CKAN's (PostgreSQL's) type      Arrow type
    ==============================  ======================================================================
    int, int2, int4, int8, serial   int64
    numeric                         int64 where all are whole, else decimal128(38, most decimal places)
    float4, float8                  float64
    bool                            bool
    timestamp                       timestamp[us]
    date                            date32
    text and any other              string
    ==============================  ======================================================================

    A field whose values are not what its type says, or that has no type, gets the type of its values.
    """
    kinds = {str(field.get("id")): str(field.get("type", "")) for field in fields}
    names = list(kinds) or list(dict.fromkeys(name for record in records for name in record))
    arrays = [_typed([record.get(name) for record in records], kinds.get(name, "")) for name in names]
    return table(arrays, names)


def _typed(values: list[Any], kind: str) -> Any:
    pa = pyarrow()
    found = {type(value) for value in values if value is not None}
    if kind == "numeric" and found <= {int, Decimal}:
        return column(values) if found else pa.nulls(len(values), pa.decimal128(38, 0))
    if kind in ("int", "int2", "int4", "int8", "serial", "bigserial") and found <= {int}:
        return pa.array(values, pa.int64())
    if kind in ("float4", "float8", "float", "double precision") and found <= {int, float, Decimal}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kind == "bool" and found <= {bool}:
        return pa.array(values, pa.bool_())
    if kind in ("timestamp", "date") and found <= {str}:
        return _dated(values, kind)
    if kind and found <= {str}:
        return pa.array(values, pa.string())
    if Decimal in found and found <= {int, Decimal}:
        return decimal_column(values)
    return column(values)


def _dated(values: list[str | None], kind: str) -> Any:
    pa = pyarrow()
    try:
        read = [None if value is None else dt.datetime.fromisoformat(value) for value in values]
        moments = pa.array(read, pa.timestamp("us"))
        return moments.cast(pa.date32()) if kind == "date" else moments
    except (ValueError, TypeError, pa.ArrowInvalid):
        return pa.array(values, pa.string())


def resource_url(package: Mapping[str, Any], resource: str | int) -> str:
    """Return the link of a package's resource, given its name or id, or a year that only one name holds.

    Raises:
        InvalidRequestError: there is no such resource, or more than one.
    """
    listed: list[Mapping[str, Any]] = package.get("resources") or []
    wanted = str(resource)
    found = [one for one in listed if wanted in (one.get("id"), one.get("name"))]
    if not found and re.fullmatch(r"[0-9]{4}", wanted):
        found = [one for one in listed if re.search(rf"(?<![0-9]){wanted}(?![0-9])", str(one.get("name")))]
    if len(found) != 1 or not found[0].get("url"):
        names = ", ".join(str(one.get("name")) for one in listed) or "none"
        count = "no resource" if not found else "no link for" if len(found) == 1 else f"{len(found)} resources"
        raise InvalidRequestError(f"package {package.get('name')!r} has {count} {wanted!r}; its resources are: {names}")
    return str(found[0]["url"])
