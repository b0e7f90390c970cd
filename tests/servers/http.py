"""A real HTTP/1.1 server for tests: honest routes, scripted answers and broken ones, and a record of it all.

Answers that no server should ever give live in `hostile.py`.
"""

from __future__ import annotations

import gzip
import json as jsonlib
import re
import ssl
import tempfile
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.servers.tcp import TcpServer, pause, reset_on_close

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

    import trustme

HeaderPairs = list[tuple[str, str]]
HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """What came over the wire; header names as they were sent."""

    method: str
    target: str
    headers: HeaderPairs
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def cookies(self) -> dict[str, str]:
        jar = SimpleCookie("; ".join(value for name, value in self.headers if name.lower() == "cookie"))
        return {name: morsel.value for name, morsel in jar.items()}

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def header(self, name: str) -> str | None:
        """The first header of this name, in any case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        return jsonlib.loads(self.body)

    @property
    def keep_alive(self) -> bool:
        return (self.header("connection") or "").lower() != "close"


def _pairs(headers: HeadersLike) -> HeaderPairs:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


class Reply:
    """An answer, or the lack of one: `Reply.drop()`, `.reset()`, `.cut()`, `.stall()`."""

    def __init__(
        self, status: int = 200, headers: HeadersLike = (), body: bytes | str = b"", *, delay: float = 0.0
    ) -> None:
        self.status = status
        self.headers = _pairs(headers)
        self.body = body.encode() if isinstance(body, str) else body
        self.delay = delay
        self.fault: Literal["drop", "reset", "cut"] | None = None
        self.after = 0
        if isinstance(body, str) and "content-type" not in self._names():
            self.headers.append(("Content-Type", "text/plain; charset=utf-8"))

    @classmethod
    def json(cls, value: object, status: int = 200, headers: HeadersLike = ()) -> Self:
        """Answer with this value as JSON."""
        pairs = [("Content-Type", "application/json"), *_pairs(headers)]
        return cls(status, pairs, jsonlib.dumps(value).encode())

    @classmethod
    def drop(cls) -> Self:
        """Read the request, then close without a word."""
        return cls()._broken("drop")

    @classmethod
    def reset(cls) -> Self:
        """Read the request, then send RST."""
        return cls()._broken("reset")

    @classmethod
    def cut(cls, body: bytes | str, after: int, status: int = 200, headers: HeadersLike = ()) -> Self:
        """Announce the whole body, send its first `after` bytes, then close."""
        return cls(status, headers, body)._broken("cut", after)

    @classmethod
    def stall(cls, seconds: float) -> Self:
        """Say nothing for so long, then close without an answer."""
        return cls(delay=seconds)._broken("drop")

    def head(self) -> bytes:
        """The status line and headers as they go out."""
        phrase = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in self.headers)]
        if self.has_body("GET") and not self._names() & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def has_body(self, method: str) -> bool:
        return method != "HEAD" and self.status >= 200 and self.status not in (204, 304)

    @property
    def keep_alive(self) -> bool:
        return ("connection", "close") not in {(name.lower(), value.lower()) for name, value in self.headers}

    def _names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    def _broken(self, fault: Literal["drop", "reset", "cut"], after: int = 0) -> Self:
        self.fault, self.after = fault, after
        return self


Route = Callable[[Request], Reply]


class HttpServer(TcpServer):
    """HTTP/1.1 with keep-alive on a free port, one thread a connection; HTTPS when given a `trustme.CA`.

    Looks for an answer in the scripts, then the routes of the test, then the built-in ones. An exception in
    a route answers 500 and is raised again when the context ends. Change `ssl_context` before entering for
    other TLS rules, such as `verify_mode = ssl.CERT_REQUIRED` for client certificates of the same CA.
    """

    def __init__(self, ca: trustme.CA | None = None) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self.ssl_context: ssl.SSLContext | None = None
        self._ca = ca
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._requests: list[Request] = []
        self._routes: dict[tuple[str, str], Route] = {}
        self._scripts: dict[str, deque[Reply]] = {}
        if ca is not None:
            self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ca.issue_cert("127.0.0.1", "localhost").configure_cert(self.ssl_context)
            ca.configure_trust(self.ssl_context)

    @property
    def url(self) -> str:
        return f"{'http' if self._ca is None else 'https'}://{self.host}:{self.port}"

    @property
    def ca_pem(self) -> str:
        """The path of the CA certificate that clients must trust; there while the server runs."""
        assert self._folder is not None, "only a running HTTPS server has one"
        return str(Path(self._folder.name, "ca.pem"))

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of arrival."""
        with self._changed:
            return list(self._requests)

    def hits(self, path: str) -> int:
        """How many requests this path has had."""
        return sum(request.path == path for request in self.requests)

    def route(self, method: str, path: str) -> Callable[[Route], Route]:
        """Register a function for a method ("*": any) and a path (one that ends in "*" is a prefix)."""

        def register(function: Route) -> Route:
            with self._changed:
                self._routes[method, path] = function
            return function

        return register

    def script(self, path: str, replies: Iterable[Reply]) -> None:
        """Answer this path, any method, with one reply after the other; then with 500 "script over"."""
        with self._changed:
            self._scripts[path] = deque(replies)

    def script_left(self, path: str) -> int:
        """How many replies of the script are still to be given."""
        with self._changed:
            return len(self._scripts[path])

    def start(self) -> Self:
        if self._ca is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="http-server-")
            self._ca.cert_pem.write_to_path(self.ca_pem)
        return super().start()

    def close(self) -> None:
        super().close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None and self.errors:
            raise self.errors[0]

    def wrap(self, connection: socket.socket) -> socket.socket:
        if self.ssl_context is None:
            return connection
        return self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def handle(self, connection: socket.socket) -> None:
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
        with connection.makefile("rb") as reader:
            try:
                while (request := _read_request(reader, connection)) is not None:
                    with self._changed:
                        self._requests.append(request)
                    if not _send(connection, request, self._answer(request)):
                        return
            except ValueError as error:
                reply = Reply(400, {"Connection": "close"}, f"bad request: {error}")
                connection.sendall(reply.head() + reply.body)

    def _answer(self, request: Request) -> Reply:
        with self._changed:
            script = self._scripts.get(request.path)
            if script is not None:
                return script.popleft() if script else Reply(500, body=f"script over: {request.path}")
            route = _find(self._routes, request) or _find(_BUILT_IN, request)
        if route is None:
            return Reply.json({"error": f"no route for {request.method} {request.path}"}, 404)
        try:
            return route(request)
        except Exception as error:
            with self._changed:
                self.errors.append(error)
            return Reply(500, body=f"the route failed: {error!r}")


def _find(routes: Mapping[tuple[str, str], Route], request: Request) -> Route | None:
    for (method, path), route in routes.items():
        fits = request.path.startswith(path[:-1]) if path.endswith("*") else request.path == path
        if fits and method in ("*", request.method):
            return route
    return None


def _read_request(reader: BinaryIO, connection: socket.socket) -> Request | None:
    """The next request; None when the client hung up; ValueError when it isn't HTTP/1.1."""
    line = reader.readline()
    if not line:
        return None
    method, target, version = line.decode("latin-1").split()
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers: HeaderPairs = []
    while (line := reader.readline()) not in (b"\r\n", b"\n"):
        if not line:
            return None
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ValueError(f"header without a colon: {line!r}")
        headers.append((name, value.strip()))
    request = Request(method, target, headers)
    if (request.header("expect") or "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = _read_body(reader, request)
    return None if body is None else replace(request, body=body)


def _read_body(reader: BinaryIO, request: Request) -> bytes | None:
    if (request.header("transfer-encoding") or "").lower() != "chunked":
        length = int(request.header("content-length") or 0)
        body = reader.read(length)
        return body if len(body) == length else None
    chunks: list[bytes] = []
    while True:
        line = reader.readline()
        size = int(line.split(b";")[0], 16)
        chunk = reader.read(size + 2)
        if len(chunk) < size + 2:
            return None
        if not size:
            return b"".join(chunks)
        chunks.append(chunk[:-2])


def _send(connection: socket.socket, request: Request, reply: Reply) -> bool:
    """Answer; False when the connection is to be closed."""
    if reply.delay and not pause(connection, reply.delay):
        return False
    if reply.fault == "reset":
        reset_on_close(connection)
    if reply.fault in ("drop", "reset"):
        return False
    body = reply.body if reply.has_body(request.method) else b""
    connection.sendall(reply.head() + (body[: reply.after] if reply.fault else body))
    return reply.fault is None and reply.keep_alive and request.keep_alive


def _echo(request: Request) -> Reply:
    try:
        parsed = request.json()
    except ValueError:
        parsed = None
    return Reply.json(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "cookies": request.cookies,
            "body": request.text,
            "json": parsed,
        }
    )


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _redirect(request: Request) -> Reply:
    left = int(_last(request))
    return Reply(302, {"Location": f"/redirect/{left - 1}"}) if left else _echo(request)


def _redirect_to(request: Request) -> Reply:
    query = dict(request.query)
    return Reply(int(query.get("status", "302")), {"Location": query["url"]})


def _bytes(request: Request) -> Reply:
    size = int(_last(request))
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{size}"',
        "Content-Type": "application/octet-stream",
    }
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("range") or "")
    if wanted is None or (request.header("if-range") or headers["ETag"]) != headers["ETag"]:
        return Reply(200, headers, body)
    first, last = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
    if first >= size:
        return Reply(416, {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Reply(206, headers, body[first : last + 1])


def _packed(request: Request) -> Reply:
    name = _last(request)
    body = jsonlib.dumps({"encoding": name}).encode()
    packed = gzip.compress(body) if name == "gzip" else zlib.compress(body)
    return Reply(200, {"Content-Encoding": name, "Content-Type": "application/json"}, packed)


def _start_session(request: Request) -> Reply:
    session = uuid.uuid4().hex
    return Reply.json({"session": session}, headers={"Set-Cookie": f"session={session}; Path=/; HttpOnly"})


_BUILT_IN: dict[tuple[str, str], Route] = {
    ("*", "/echo"): _echo,
    # The query becomes headers: /status/429?Retry-After=1
    ("*", "/status/*"): lambda request: Reply(int(_last(request)), request.query, f"status {_last(request)}"),
    ("*", "/json"): lambda request: Reply.json({"hello": "world", "items": [1, 2, 3], "none": None}),
    ("*", "/set-cookie"): lambda request: Reply(
        200, [("Set-Cookie", f"{name}={value}; Path=/") for name, value in request.query], "set"
    ),
    ("*", "/cookies"): lambda request: Reply.json(request.cookies),
    ("*", "/redirect/*"): _redirect,
    ("*", "/redirect-to"): _redirect_to,
    ("*", "/delay/*"): lambda request: Reply(200, body="late", delay=float(_last(request))),
    ("*", "/bytes/*"): _bytes,
    ("*", "/gzip"): _packed,
    ("*", "/deflate"): _packed,
    ("*", "/session/start"): _start_session,
}
