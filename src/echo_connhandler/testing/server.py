"""What the emulators have in common: servers in threads, faults on demand, and a record of what was asked."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, get_args
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ("FAULTS", "Answer", "Asked", "Emulator", "Fault", "Refused", "ServerOptions", "fault_for")

Fault: TypeAlias = Literal["503", "429", "429 Retry-After", "cut", "reset", "slow"]

FAULTS: tuple[Fault, ...] = get_args(Fault)
FAULTY_TRIES = 3  # after so many a request is healthy


class ServerOptions(TypedDict, total=False):
    """What every emulator takes.

    Attributes:
        port: where to listen on loopback; 0, as it is if not given, takes a free port.
        seed: decides which requests go wrong, and how.
        fault_rate: the share of data requests that go wrong, 0 (if not given) to 1. Each is healthy at its fourth try.
        retry_after: seconds that a "429 Retry-After" asks to wait; 1 if not given.
        slow_seconds: how long a "slow" answer takes; 0.2 if not given.
    """

    port: int
    seed: int
    fault_rate: float
    retry_after: int
    slow_seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; the names of headers in lower case."""

    origin: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it carries."""
        return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}

    @property
    def form(self) -> dict[str, str]:
        """The form that it carries."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The JSON that it carries; None if that is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: status, body, content type, further headers."""

    status: int = 200
    body: bytes | str = b""
    kind: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def json(cls, value: object, status: int = 200, *headers: tuple[str, str]) -> Answer:
        """Return a value as JSON."""
        return cls(status, json.dumps(value), headers=headers)

    @classmethod
    def html(cls, title: str, body: str = "", status: int = 200, *headers: tuple[str, str], head: str = "") -> Answer:
        """Return a page."""
        page = f"<!DOCTYPE html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>"
        return cls(status, page, "text/html; charset=utf-8", headers)


class Refused(Exception):  # noqa: N818 - it is no error of the emulator
    """The emulator refuses a request: with this answer and, for its record, this reason."""

    def __init__(self, reason: str, answer: Answer) -> None:
        super().__init__(reason)
        self.reason, self.answer = reason, answer


def fault_for(seed: int, rate: float, key: str, attempt: int) -> Fault | None:
    """Return how try number `attempt` (from 0) of a request goes: it depends on nothing else, so runs repeat."""
    dice = random.Random(f"{seed}/{key}/{attempt}")  # noqa: S311 - to be repeatable, not secret
    return dice.choice(FAULTS) if attempt < FAULTY_TRIES and dice.random() < rate else None


class Emulator:
    """A server on loopback that plays a service while its context is entered; for sync and async clients alike.

    What it does not know, it refuses and keeps the reason of. A service with several hosts has several origins.

    Attributes:
        urls: the URL of each of its origins, by name.
        log: every request, in the order of arrival.
        refused: the reason of every refusal: what the service would not have understood, or not allowed.
        faults: the faults it has made, by kind.
        logins: how often it was logged in at, refused passwords included; with CCEE, how often it was warmed up.
    """

    origins: ClassVar[tuple[str, ...]] = ("api",)

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 1,
        fault_rate: float = 0.0,
        retry_after: int = 1,
        slow_seconds: float = 0.2,
    ) -> None:
        """Make it; see `ServerOptions`."""
        self.seed, self.fault_rate, self.retry_after, self.slow_seconds = seed, fault_rate, retry_after, slow_seconds
        self.urls: dict[str, str] = {}
        self.log: list[Asked] = []
        self.refused: list[str] = []
        self.faults: Counter[str] = Counter()
        self.logins = 0
        self._port = port
        self._next: deque[Fault] = deque()
        self._tries: Counter[str] = Counter()
        self._errors: list[Exception] = []
        self._servers: list[tuple[_Server, threading.Thread]] = []
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """The URL to give to a handler as `host`."""
        return self.urls[self.origins[0]]

    @property
    def requests(self) -> int:
        """How many requests have come."""
        return len(self.log)

    def hits(self, path: str) -> int:
        """Return how many requests this path has had."""
        with self._lock:
            return sum(asked.path == path for asked in self.log)

    def fail_next(self, *faults: str) -> None:
        """Let the next requests, one for each fault, go wrong in this way, whatever they ask for.

        "503" and "429" answer so, "429 Retry-After" also says how long to wait; "reset" breaks the connection off
        before, "cut" in the middle of the answer; "slow" answers late.
        """
        known = [fault for name in faults for fault in FAULTS if fault == name]
        if len(known) < len(faults):
            raise ValueError(f"unknown faults {sorted(set(faults) - set(FAULTS))}; known are {FAULTS}")
        with self._lock:
            self._next.extend(known)

    def reset(self) -> None:
        """Forget what was asked, refused and counted: the next client meets the same faults as the first."""
        with self._lock:
            self.log.clear()
            self.refused.clear()
            self.faults.clear()
            self._tries.clear()
            self._next.clear()
            self.logins = 0

    def answer(self, asked: Asked) -> Answer:
        """Answer a request; raise `Refused` where it's not one that the service would take."""
        raise NotImplementedError

    def fault_key(self, asked: Asked) -> str | None:
        """Name a data request, for the dice that decide whether it goes wrong; None for others."""
        return None

    def start(self) -> Self:
        """Start it, as entering its context does; `close` it in the end."""
        for place, name in enumerate(self.origins):
            server = _Server(("127.0.0.1", self._port if place == 0 else 0), _Handler)
            server.emulator, server.origin = self, name
            self.urls[name] = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), name=f"{type(self).__name__} {name}")
            thread.start()
            self._servers.append((server, thread))
        return self

    def close(self) -> None:
        """Hang up on all clients and stop; a second time does nothing."""
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.hang_up()
            server.server_close()
        self._servers.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._errors:
            raise self._errors[0]

    def _reply(self, asked: Asked) -> tuple[Answer, Fault | None]:
        """Return what to answer, and what goes wrong with it."""
        with self._lock:
            self.log.append(asked)
            fault = self._next.popleft() if self._next else None
            if fault in (None, "cut", "slow"):
                answer = self._routed(asked)
                key = self.fault_key(asked) if fault is None and answer.status == 200 else None
                if key is not None:
                    fault = fault_for(self.seed, self.fault_rate, key, self._tries[key])
                    self._tries[key] += 1
            self.faults.update([fault] if fault else [])
            if fault == "503":
                answer = Answer.html("Service Unavailable", status=503)
            elif fault == "429":
                answer = Answer.json({"message": "Too Many Requests"}, 429)
            elif fault == "429 Retry-After":
                wait = ("Retry-After", str(self.retry_after))
                answer = Answer.json({"message": "Too Many Requests"}, 429, wait)
            elif fault == "reset":
                answer = Answer()
            return answer, fault

    def _routed(self, asked: Asked) -> Answer:
        if asked.method == "HEAD" and asked.path in ("", "/"):
            return Answer()  # a sign of life
        try:
            return self.answer(asked)
        except Refused as refusal:
            self.refused.append(f"{asked.method} {asked.path}: {refusal.reason}")
            return refusal.answer
        except Exception as error:  # noqa: BLE001 - raised again when the context ends
            self._errors.append(error)
            return Answer.json({"emulator": repr(error)}, 500)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 256
    emulator: Emulator
    origin: str

    def __init__(self, *args: Any) -> None:
        self.connections: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # No shutdown() before close(), as the base class has it: that would send FIN where RST is wanted.
        self.connections.discard(request)
        request.close()

    def hang_up(self) -> None:
        """Break off the connections that clients have left open: their threads wait for a next request."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients may leave at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def serve(self) -> None:
        url = urlsplit(self.path)
        asked = Asked(
            self.server.origin,
            self.command,
            url.path,
            dict(parse_qsl(url.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        answer, fault = self.server.emulator._reply(asked)  # noqa: SLF001 - the emulator's own server
        if fault == "reset":
            # Lingering for zero seconds makes close() send RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if fault == "slow":
            time.sleep(self.server.emulator.slow_seconds)
        self.write(answer, cut=fault == "cut")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815 - http.server's names

    def write(self, answer: Answer, *, cut: bool) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        self.send_response(answer.status)
        headers: list[tuple[str, str]] = [("Content-Type", answer.kind)] if body else []
        for name, value in (*headers, *answer.headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the terminal for the one who uses it."""


def only(query: Mapping[str, Any], *known: str) -> list[str]:
    """Return the names in `query` that are not known."""
    return sorted(set(query) - set(known))
