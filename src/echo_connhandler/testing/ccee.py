"""CCEE's open-data portal (CKAN behind a firewall), emulated. Never compared with the live one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import operator
import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, Unpack
from urllib.parse import urlencode

from .._core.http_properties import HttpConnProperties
from .server import Answer, Asked, Emulator, Refused, ServerOptions, only

__all__ = ("CceeEmulator",)

Source: TypeAlias = str | bytes | Path

ACTION = "/api/3/action/"
COOKIE = "portal_session"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


class CceeEmulator(Emulator):
    """The portal, with one dataset and its resources.

    All attributes may be changed at any time; those with a name of an argument begin with its value.

    Attributes:
        waf: whether a firewall is in front: it lets in who looks like a browser, and to the API who also has the
            cookie of the dataset's page and names that page as `Referer`.
        block_status: the status of its block page, 403 or 200.
        blocked: whether everybody gets the block page.
        maintenance: whether everybody gets the maintenance page.
        session_requests: after so many requests to the API the cookie has expired; None: it doesn't.
        max_limit: most rows that `datastore_search` gives at once, whatever it is asked for, without a word.
        csv_encoding, csv_decimal, csv_gzip: what the files look like.
        stale_links: so many of the next download links are dead when they are given out.
        errors_with_200: whether CKAN's errors have status 200.
        rows: the rows of each resource, by its name, as lists that begin with `_id`. Change one, before it's asked for
            or with a `reset`, to see what your checks are worth.
    """

    origins = ("api", "downloads")

    def __init__(
        self,
        resources: Mapping[str, Source] | None = None,
        *,
        dataset: str = "pld_horario",
        waf: bool = True,
        block_status: int = 403,
        session_requests: int | None = None,
        max_limit: int = 32_000,
        csv_encoding: str = "utf-8-sig",
        csv_decimal: str = ".",
        csv_gzip: bool = False,
        errors_with_200: bool = False,
        **options: Unpack[ServerOptions],
    ) -> None:
        """Make the portal.

        Args:
            resources: CSV texts or files (`;`, a header line, decimal point; gzip or not) by name; if not given,
                made-up prices of two days in `pld_horario_2024` and `pld_horario_2025`.
            dataset: the name of the dataset that holds them.
            waf: see above, as for the others.
            block_status: 403 or 200.
            session_requests: requests that a cookie is good for.
            max_limit: rows.
            csv_encoding: a codec of Python: "utf-8-sig" is UTF-8 with BOM.
            csv_decimal: "." or ",".
            csv_gzip: compress files, without saying so.
            errors_with_200: answer CKAN's errors with 200.
            options: see `ServerOptions`.
        """
        super().__init__(**options)
        self.dataset, self.waf, self.block_status = dataset, waf, block_status
        self.session_requests, self.max_limit, self.errors_with_200 = session_requests, max_limit, errors_with_200
        self.csv_encoding, self.csv_decimal, self.csv_gzip = csv_encoding, csv_decimal, csv_gzip
        self.blocked = self.maintenance = False
        self.stale_links = 0
        self.rows: dict[str, list[list[Any]]] = {}
        self._columns: dict[str, dict[str, str]] = {}
        for name, source in (resources or _MADE_UP).items():
            self._columns[name], self.rows[name] = _read(source)
        self._sessions: dict[str, int] = {}
        self._links: dict[str, str] = {}
        self._rendered: dict[tuple[str, str, str], list[str]] = {}

    def props(self, **more: Any) -> HttpConnProperties:
        """Return properties for a handler of this portal."""
        return HttpConnProperties(host=self.url, **more)

    def resource_id(self, name: str | None = None) -> str:
        """Return CKAN's id of a resource; the last one if none is named."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, name or list(self.rows)[-1]))

    def end_sessions(self) -> None:
        """Let all cookies expire now."""
        with self._lock:
            self._sessions.clear()

    def expire_links(self) -> None:
        """Let all download links rotate now: those given out so far are dead."""
        with self._lock:
            self._links.clear()

    def reset(self) -> None:
        """Forget what was asked and counted, and all cookies and links."""
        super().reset()
        self.end_sessions()
        self.expire_links()
        self._rendered.clear()

    def fault_key(self, asked: Asked) -> str | None:
        """Name a page of `datastore_search`, whatever its limit: by resource, filters and offset."""
        if asked.path != f"{ACTION}datastore_search":
            return None
        return "/".join(asked.query.get(name, "") for name in ("resource_id", "filters", "offset"))

    def answer(self, asked: Asked) -> Answer:
        """Answer as firewall, then as page, CKAN or download host."""
        self._guard(asked)
        if asked.method != "GET":
            raise Refused("only GET is known here", Answer.json({"message": "Method Not Allowed"}, 405))
        if asked.origin == "downloads":
            return self._download(asked)
        if asked.path == f"/dataset/{self.dataset}":
            cookie = secrets.token_hex(16)
            self.logins += 1
            self._sessions[cookie] = 0
            return Answer.html(
                f"{self.dataset} - Dados Abertos", "", 200, ("Set-Cookie", f"{COOKIE}={cookie}; Path=/; HttpOnly")
            )
        actions = {
            "package_show": self._package_show,
            "package_search": self._package_search,
            "resource_show": self._resource_show,
            "datastore_search": self._datastore_search,
        }
        if asked.path.startswith("/datastore/dump/"):
            return self._dump(asked)
        if not asked.path.startswith(ACTION):
            raise Refused("no such page", Answer.html("404 Not Found", status=404))
        action = actions.get(asked.path.removeprefix(ACTION))
        if action is None:
            raise self._error(400, "Bad Request", message=f"Action name not known: {asked.path}")
        return Answer(body=f'{{"help": "{self.url}/help", "success": true, "result": {action(asked.query)}}}')

    # The firewall

    def _guard(self, asked: Asked) -> None:
        if self.maintenance:
            raise Refused("maintenance", _page(self.block_status, "Bloqueio Manutenção", "Voltamos em breve."))
        if self.blocked:
            raise self._block("everybody is blocked")
        if not self.waf:
            return
        headers = asked.headers
        if not headers.get("user-agent", "").startswith("Mozilla/5.0") or "accept-language" not in headers:
            raise self._block("it does not look like a browser: User-Agent, Accept-Language")
        if asked.origin == "downloads":
            return
        if asked.path.startswith("/dataset/"):
            if "text/html" not in headers.get("accept", ""):
                raise self._block("a browser would accept text/html here")
            return
        if not headers.get("referer", "").startswith(f"{self.url}/dataset/"):
            raise self._block("no Referer of a dataset's page")
        cookie = asked.cookies.get(COOKIE, "")
        if cookie not in self._sessions:
            raise self._block("no cookie that is good")
        self._sessions[cookie] += 1
        if self.session_requests is not None and self._sessions[cookie] > self.session_requests:
            del self._sessions[cookie]
            raise self._block("the cookie has expired")

    def _block(self, reason: str) -> Refused:
        return Refused(reason, _page(self.block_status, "Acesso bloqueado", "Sua solicitação foi bloqueada."))

    # CKAN

    def _error(self, status: int, kind: str, **error: object) -> Refused:
        body = {"help": f"{self.url}/help", "success": False, "error": {"__type": kind, **error}}
        return Refused(f"{kind}: {error}", Answer.json(body, 200 if self.errors_with_200 else status))

    def _known(self, query: Mapping[str, str], *names: str) -> None:
        if unknown := only(query, *names):
            raise self._error(409, "Validation Error", **{name: ["this portal does not know it"] for name in unknown})
        if names[0] not in query:
            raise self._error(409, "Validation Error", **{names[0]: ["Missing value"]})

    def _named(self, resource_id: str) -> str:
        for name in self.rows:
            if self.resource_id(name) == resource_id:
                return name
        raise self._error(404, "Not Found Error", message="Not found: Resource was not found.")

    def _resource(self, name: str) -> dict[str, Any]:
        token = secrets.token_hex(8)
        if self.stale_links:
            self.stale_links -= 1
        else:
            self._links[token] = name
        url = f"{self.urls['downloads']}/{token}/content"
        return {"id": self.resource_id(name), "name": name, "format": "CSV", "datastore_active": True, "url": url}

    def _package(self) -> dict[str, Any]:
        listed = [self._resource(name) for name in self.rows]
        return {"name": self.dataset, "num_resources": len(listed), "resources": listed}

    def _package_show(self, query: Mapping[str, str]) -> str:
        self._known(query, "id")
        if query["id"] != self.dataset:
            raise self._error(404, "Not Found Error", message="Not found: Dataset was not found.")
        return json.dumps(self._package())

    def _package_search(self, query: Mapping[str, str]) -> str:
        if unknown := only(query, "q", "rows", "start"):
            raise self._error(409, "Validation Error", **{name: ["this portal does not know it"] for name in unknown})
        found = [self._package()] if query.get("q", "") in ("", "*:*", self.dataset) else []
        return json.dumps({"count": len(found), "results": found})

    def _resource_show(self, query: Mapping[str, str]) -> str:
        self._known(query, "id")
        return json.dumps(self._resource(self._named(query["id"])))

    def _datastore_search(self, query: Mapping[str, str]) -> str:
        self._known(query, "resource_id", "limit", "offset", "sort", "filters")
        name = self._named(query["resource_id"])
        limit, offset = min(self._natural(query, "limit", 100), self.max_limit), self._natural(query, "offset", 0)
        found = self._found(name, query.get("sort", "_id"), query.get("filters", "{}"))
        links = {"start": {**query, "offset": 0}, "next": {**query, "offset": offset + limit}}
        page: dict[str, Any] = {"resource_id": query["resource_id"], "limit": limit, "total": self.total(name, found)}
        page["fields"] = [{"id": column, "type": kind} for column, kind in self._columns[name].items()]
        page["_links"] = {to: f"{ACTION}datastore_search?{urlencode(how)}" for to, how in links.items()}
        return f'{json.dumps(page)[:-1]}, "records": [{", ".join(found[offset : offset + limit])}]}}'

    def total(self, name: str, found: Sequence[str]) -> int:
        """Return the total that the portal claims, given the rows that it has; for a subclass that lies."""
        return len(found)

    def _natural(self, query: Mapping[str, str], name: str, default: int) -> int:
        text = query.get(name, str(default))
        if not text.isdecimal():
            raise self._error(409, "Validation Error", **{name: ["Must be a natural number"]})
        return int(text)

    def _found(self, name: str, sort: str, filters: str) -> list[str]:
        """Return the rows as JSON texts, rendered once for each order and filter."""
        key = (name, sort, filters)
        if key not in self._rendered:
            columns = list(self._columns[name])
            rows = self.rows[name]
            for column, wanted in self._filters(columns, filters).items():
                place, numeric = columns.index(column), self._columns[name][column] != "text"
                values = {_compared(value, numeric=numeric) for value in wanted}
                rows = [row for row in rows if row[place] in values]
            rows = list(rows)
            for part in reversed(sort.split(",")):
                column, _, way = part.strip().partition(" ")
                if column not in columns or way.lower() not in ("", "asc", "desc"):
                    raise self._error(409, "Validation Error", sort=[f'field "{part.strip()}" not in table'])
                rows.sort(key=operator.itemgetter(columns.index(column)), reverse=way.lower() == "desc")
            self._rendered[key] = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        return self._rendered[key]

    def _filters(self, columns: Sequence[str], text: str) -> dict[str, list[Any]]:
        try:
            filters = json.loads(text)
        except ValueError:
            filters = None
        if not isinstance(filters, dict):
            raise self._error(409, "Validation Error", filters=["Cannot parse JSON"])
        if unknown := only(filters, *columns):
            raise self._error(409, "Validation Error", filters=[f'field "{unknown[0]}" not in table'])
        return {name: value if isinstance(value, list) else [value] for name, value in filters.items()}

    # Files

    def _dump(self, asked: Asked) -> Answer:
        if unknown := only(asked.query, "bom"):
            raise Refused(f"a dump takes no {unknown}", Answer.html("400 Bad Request", status=400))
        name = self._named(asked.path.rpartition("/")[2])
        encoding = "utf-8-sig" if asked.query.get("bom", "").lower() == "true" else "utf-8"
        text = _write([list(self._columns[name]), *self.rows[name]], ",", ".")
        return Answer(200, text.encode(encoding), "text/csv; charset=utf-8")

    def _download(self, asked: Asked) -> Answer:
        _, token, *rest = asked.path.split("/")
        name = self._links.get(token)
        if rest != ["content"] or name is None:
            raise Refused("no such link, or no longer", Answer.html("404 Not Found", status=404))
        table = [row[1:] for row in self.rows[name]]
        data = _write([list(self._columns[name])[1:], *table], ";", self.csv_decimal).encode(self.csv_encoding)
        return Answer(200, gzip.compress(data) if self.csv_gzip else data, "application/octet-stream")


def _compared(value: Any, *, numeric: bool) -> Any:
    """Return a filter's value as the column's rows have it."""
    text = str(value)
    return json.loads(text) if numeric and _NUMBER.fullmatch(text) else text


def _page(status: int, title: str, text: str) -> Answer:
    return Answer.html(title, f"<h1>{title}</h1><p>{text}</p>", status)


def _read(source: Source) -> tuple[dict[str, str], list[list[Any]]]:
    """Return the columns of a CSV with their CKAN types, and its rows; both begin with `_id`."""
    data = source.read_bytes() if isinstance(source, Path) else source
    if isinstance(data, bytes):
        data = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(data), delimiter=";")
    numeric = [all(_NUMBER.fullmatch(row[place]) for row in rows) for place in range(len(header))]
    kinds = {"_id": "int", **{n: "numeric" if number else "text" for n, number in zip(header, numeric, strict=True)}}
    readers = [json.loads if number else str for number in numeric]
    return kinds, [
        [number, *(read(text) for read, text in zip(readers, row, strict=True))] for number, row in enumerate(rows, 1)
    ]


def _write(rows: Sequence[Sequence[Any]], separator: str, decimal: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    for row in rows:
        writer.writerow([str(v).replace(".", decimal) if isinstance(v, float) else v for v in row])
    return text.getvalue()


def _made_up(year: int) -> str:
    """Return prices that nobody paid: two days, four submarkets."""
    lines = ["MES_REFERENCIA;SUBMERCADO;DIA;HORA;PLD_HORA"]
    for hour in range(48):
        for place, submarket in enumerate(("NORDESTE", "NORTE", "SUDESTE", "SUL")):
            price = f"{100 + hour + place}.{(hour * 7 + place * 25) % 100:02}"
            lines.append(f"{year}01;{submarket};{hour // 24 + 1:02};{hour % 24};{price}")
    return "\n".join([*lines, ""])


_MADE_UP = {f"pld_horario_{year}": _made_up(year) for year in (2024, 2025)}
