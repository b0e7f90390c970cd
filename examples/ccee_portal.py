"""A local server that plays CCEE's open-data portal (CKAN) with real prices of 2025, and misbehaves as told.

Only what the demo needs of CKAN is here; anything else is refused. Never compared with the live portal.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import operator
import random
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from typing import Self

Fault = Literal["503", "429", "cut", "reset", "slow"]

DATA = Path(__file__).parent / "data" / "ccee_pld_horario_2025.csv.gz"
DATASET = "pld_horario"
RESOURCE_ID = "3f279d6b-1069-42f7-9b0a-217b084729c4"
TEXT_FIELDS = {"SUBMERCADO", "DIA"}  # the source writes some days as 09
ACTION = "/api/3/action/"
KINDS: tuple[Fault, ...] = ("503", "429", "cut", "reset", "slow")
FAULTY_TRIES = 3  # after so many a page is healthy


def fault_for(seed: int, rate: float, offset: int, attempt: int) -> Fault | None:
    """How try number `attempt` (from 0) of a page goes: depends on nothing else, so runs repeat."""
    dice = random.Random(f"{seed}/{RESOURCE_ID}/{offset}/{attempt}")
    return dice.choice(KINDS) if attempt < FAULTY_TRIES and dice.random() < rate else None


class CkanError(Exception):
    """Status and error object that CKAN gives in place of a result."""

    def __init__(self, status: int, kind: str, **error: object) -> None:
        super().__init__(status, {"__type": kind, **error})


def invalid(field: str, message: str) -> CkanError:
    return CkanError(409, "Validation Error", **{field: [message]})


def not_found(what: str) -> CkanError:
    return CkanError(404, "Not Found Error", message=f"Not found: {what}")


class CceePortal:
    """The portal, running while its `with` block does; `url` is the host to give to a client.

    A share `fault_rate` of the first three tries of a page fails, as `seed` and offset decide. `faults`
    counts by kind, `tries` by offset; `count` and `sum` (exact, R$/MWh) come from the file, not from pages.
    """

    def __init__(self, *, seed: int = 1, fault_rate: float = 0.35, max_limit: int = 1000, port: int = 0) -> None:
        self.seed, self.fault_rate, self.max_limit, self.port = seed, fault_rate, max_limit, port
        self.faults: Counter[str] = Counter()
        self.tries: Counter[int] = Counter()
        self._lock = threading.Lock()
        header, *lines = gzip.decompress(DATA.read_bytes()).decode("ascii").splitlines()
        self.count = len(lines)
        self.sum = sum((Decimal(line.rsplit(";", 1)[1]) for line in lines), Decimal("0.00"))
        self._names = ["_id", *header.split(";")]
        readers = [int, *(str if name in TEXT_FIELDS else json.loads for name in self._names[1:])]
        rows = (f"{number};{line}".split(";") for number, line in enumerate(lines, 1))
        self._rows = [[read(text) for read, text in zip(readers, row, strict=True)] for row in rows]
        self._orders: dict[str, list[str]] = {}

    def reset(self) -> None:
        """Begin anew: the next reader meets the same faults as the first."""
        with self._lock:
            self.tries.clear()
            self.faults.clear()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.portal, self._server.connections = self, set()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def package_show(self, query: dict[str, str]) -> str:
        _only(query, "id")
        if query.get("id") != DATASET:
            raise not_found("Dataset was not found.") if "id" in query else invalid("id", "Missing value")
        resource = {"id": RESOURCE_ID, "name": "pld_horario_2025", "format": "CSV", "datastore_active": True}
        return json.dumps({"name": DATASET, "num_resources": 1, "resources": [resource]})

    def datastore_search(self, query: dict[str, str]) -> tuple[int, str]:
        """The offset and the result as JSON text, put together from rows that were rendered once."""
        _only(query, "resource_id", "limit", "offset", "sort")
        if "resource_id" not in query:
            raise invalid("resource_id", "Missing value")
        if query["resource_id"] != RESOURCE_ID:
            raise not_found("Resource was not found.")
        limit, offset = min(_natural(query, "limit", 100), self.max_limit), _natural(query, "offset", 0)
        records = self._in_order(query.get("sort", "_id"))[offset : offset + limit]
        kinds = {name: "text" if name in TEXT_FIELDS else "numeric" for name in self._names} | {"_id": "int"}
        links = {"start": {**query, "offset": 0}, "next": {**query, "offset": offset + limit}}
        page: dict[str, Any] = {"resource_id": RESOURCE_ID, "limit": limit, "total": self.count}
        page["fields"] = [{"id": name, "type": kind} for name, kind in kinds.items()]
        page["_links"] = {name: f"{ACTION}datastore_search?{urlencode(to)}" for name, to in links.items()}
        return offset, f'{json.dumps(page)[:-1]}, "records": [{", ".join(records)}]}}'

    def next_fault(self, offset: int) -> Fault | None:
        """Count one more try of this page and say how it goes."""
        with self._lock:
            fault = fault_for(self.seed, self.fault_rate, offset, self.tries[offset])
            self.tries[offset] += 1
            self.faults.update([fault] if fault else [])
            return fault

    def _in_order(self, sort: str) -> list[str]:
        with self._lock:
            if sort not in self._orders:
                rows = list(self._rows)
                for part in reversed(sort.split(",")):
                    name, _, way = part.strip().partition(" ")
                    if name not in self._names or way.lower() not in ("", "asc", "desc"):
                        raise invalid("sort", f'field "{part.strip()}" not in table')
                    rows.sort(key=operator.itemgetter(self._names.index(name)), reverse=way.lower() == "desc")
                self._orders[sort] = [json.dumps(dict(zip(self._names, row, strict=True))) for row in rows]
            return self._orders[sort]


def _only(query: dict[str, str], *known: str) -> None:
    for name in query.keys() - set(known):
        raise CkanError(400, "Bad Request", message=f"this portal does not know {name!r}")


def _natural(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise invalid(name, "Must be a natural number")
    return int(text)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    portal: CceePortal
    connections: set[Any]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # No shutdown() before close(), as the base class has it: that would send FIN where RST is wanted.
        self.connections.discard(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients may leave at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        portal, offset, fault = self.server.portal, 0, None
        try:
            if url.path == f"/dataset/{DATASET}":
                self.answer(200, "<title>PLD_HORARIO</title>", ("Set-Cookie", "visitor=1; Path=/"))
                return
            if url.path == f"{ACTION}package_show":
                result = portal.package_show(query)
            elif url.path == f"{ACTION}datastore_search":
                offset, result = portal.datastore_search(query)
                fault = portal.next_fault(offset)
            elif url.path.startswith(ACTION):
                raise CkanError(400, "Bad Request", message=f"Action name not known: {url.path}")
            else:
                raise not_found(url.path)
        except CkanError as error:
            self.answer(error.args[0], json.dumps({"success": False, "error": error.args[1]}))
            return
        self.serve(f'{{"help": "", "success": true, "result": {result}}}', fault, offset)

    def serve(self, text: str, fault: Fault | None, offset: int) -> None:
        if fault == "503":
            self.answer(503, "<title>Manutenção</title>")
        elif fault == "429":
            seconds = int(random.Random(offset).random() < 0.2)  # mostly none, sometimes one
            self.answer(429, '{"success": false}', ("Retry-After", str(seconds)))
        elif fault == "reset":
            # Lingering for zero seconds makes close() send RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        else:
            time.sleep(0.2 if fault == "slow" else 0)
            self.answer(200, text, cut=fault == "cut")

    def answer(self, status: int, text: str, *headers: tuple[str, str], cut: bool = False) -> None:
        body = text.encode()
        kind = "text/html" if text.startswith("<") else "application/json"
        self.send_response(status)
        for name, value in (("Content-Type", f"{kind}; charset=utf-8"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the terminal for the demo."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with CceePortal(seed=options.seed, port=options.port) as portal, contextlib.suppress(KeyboardInterrupt):
        print(f"{portal.url}{ACTION}datastore_search?resource_id={RESOURCE_ID}&limit=5")
        threading.Event().wait()


if __name__ == "__main__":
    main()
