"""A server that misbehaves: each behaviour a small function, in a table that tests can walk.

A behaviour gets the accepted socket with the request still unread, and the connection is closed after it.
"""

from __future__ import annotations

import functools
import re
import socket
import zlib
from collections.abc import Callable

from tests.servers.tcp import TcpServer, pause, reset_on_close

Behaviour = Callable[[socket.socket], None]

BEHAVIOURS: dict[str, Behaviour] = {}
DRIP_SECONDS = 0.05
BOMB_BYTES = 200 * 1024 * 1024
_CHUNK = 65536

#: The behaviours that keep silent with the connection open: only the client's own timeout ends them.
SILENT = frozenset({"never_answers", "headers_without_end", "continue_then_nothing"})


def _behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__] = function
    return function


def _read_request(connection: socket.socket) -> bytes:
    """Read one request, head and announced body, and give its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionAbortedError("the client left")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
            while len(body) < length and (chunk := connection.recv(_CHUNK)):
                body += chunk
    return head


def _wait_for_hang_up(connection: socket.socket) -> None:
    while connection.recv(_CHUNK):
        pass


def _answer(connection: socket.socket, head: str | bytes, body: bytes = b"") -> None:
    """Read the request and send this; the lines of a text head end as HTTP wants them."""
    _read_request(connection)
    raw = head if isinstance(head, bytes) else head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n"
    connection.sendall(raw + body)


def _ok(connection: socket.socket, headers: str, body: bytes) -> None:
    """A 200 with an honest length and these header lines."""
    _answer(connection, f"HTTP/1.1 200 OK\n{headers}\nContent-Length: {len(body)}\nConnection: close", body)


def _redirect(connection: socket.socket, location: str) -> None:
    _answer(connection, f"HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0\nConnection: close", b"")


@_behaviour
def malformed_status_line(connection: socket.socket) -> None:
    """A status line whose status is a word."""
    _answer(connection, "HTTP/1.1 fine OK\nContent-Length: 2", b"ok")


@_behaviour
def garbage(connection: socket.socket) -> None:
    """Bytes that are no protocol at all."""
    _answer(connection, bytes(range(128, 256)) * 8)


@_behaviour
def headers_without_end(connection: socket.socket) -> None:
    """Headers, whole lines, but never the empty line; then silence."""
    _answer(connection, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n")
    _wait_for_hang_up(connection)


@_behaviour
def truncated_headers(connection: socket.socket) -> None:
    """Closes in the middle of a header line."""
    _answer(connection, b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")


@_behaviour
def truncated_body(connection: socket.socket) -> None:
    """Announces 1,000 bytes, sends 10, closes."""
    _answer(connection, "HTTP/1.1 200 OK\nContent-Length: 1000", b"0123456789")


@_behaviour
def content_length_too_short(connection: socket.socket) -> None:
    """Announces 2 bytes and sends what looks like a second answer behind them, keep-alive."""
    while True:
        stray = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        _answer(connection, "HTTP/1.1 200 OK\nContent-Length: 2", b"ok" + stray)


@_behaviour
def negative_content_length(connection: socket.socket) -> None:
    """Content-Length: -5."""
    _answer(connection, "HTTP/1.1 200 OK\nContent-Length: -5", b"hello")


@_behaviour
def conflicting_content_lengths(connection: socket.socket) -> None:
    """Two different Content-Length headers."""
    _answer(connection, "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 5", b"hello")


@_behaviour
def bad_chunk_size(connection: socket.socket) -> None:
    """Chunked, and the size of the second chunk is no number."""
    _answer(connection, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\nhello\r\nxyz\r\nworld\r\n")


@_behaviour
def chunked_cut(connection: socket.socket) -> None:
    """Chunked, closed before the last chunk."""
    _answer(connection, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\nhello\r\n")


@_behaviour
def huge_header(connection: socket.socket) -> None:
    """One header line of 1 MB."""
    _ok(connection, "X-Huge: " + "x" * 1024 * 1024, b"ok")


@_behaviour
def many_headers(connection: socket.socket) -> None:
    """10,000 headers."""
    _ok(connection, "\n".join(f"X-Header-{number}: {number}" for number in range(10_000)), b"ok")


@_behaviour
def slow_drip(connection: socket.socket) -> None:
    """A body of 40 bytes, one every DRIP_SECONDS: each read is quick, the whole isn't."""
    _answer(connection, "HTTP/1.1 200 OK\nContent-Length: 40\nConnection: close")
    for _ in range(40):
        if not pause(connection, DRIP_SECONDS):
            return
        connection.sendall(b".")


@_behaviour
def never_answers(connection: socket.socket) -> None:
    """Reads for ever and says nothing."""
    _wait_for_hang_up(connection)


@_behaviour
def accepts_and_closes(connection: socket.socket) -> None:
    """Closes at once (FIN) without looking at the request."""
    connection.shutdown(socket.SHUT_WR)
    # What is unread at close() would turn the FIN into RST.
    _wait_for_hang_up(connection)


@_behaviour
def reset_before_reading(connection: socket.socket) -> None:
    """RST without looking at the request."""
    reset_on_close(connection)


@_behaviour
def reset_after_reading(connection: socket.socket) -> None:
    """Reads the whole request, then RST."""
    _read_request(connection)
    reset_on_close(connection)


@_behaviour
def reset_mid_body(connection: socket.socket) -> None:
    """Announces 1,000 bytes, sends 500, then RST."""
    _answer(connection, "HTTP/1.1 200 OK\nContent-Length: 1000", b"x" * 500)
    reset_on_close(connection)


@_behaviour
def redirect_loop(connection: socket.socket) -> None:
    """Redirects to /redirect_loop, that is to itself."""
    _redirect(connection, "/redirect_loop")


@_behaviour
def redirect_to_file(connection: socket.socket) -> None:
    """Redirects to file:///etc/passwd."""
    _redirect(connection, "file:///etc/passwd")


@_behaviour
def redirect_to_unknown_scheme(connection: socket.socket) -> None:
    """Redirects to gopher://127.0.0.1/."""
    _redirect(connection, "gopher://127.0.0.1/")


@_behaviour
def redirect_with_encoded_injection(connection: socket.socket) -> None:
    """Redirects once, to a path with an encoded CR LF and a header behind it; answers 200 there."""
    if b"/injected" in connection.recv(_CHUNK, socket.MSG_PEEK):
        _ok(connection, "Content-Type: text/plain", b"followed")
    else:
        _redirect(connection, "/redirect_with_encoded_injection/injected%0d%0aX-Injected:%20yes")


@_behaviour
def redirect_with_bare_cr(connection: socket.socket) -> None:
    """Redirects once, to a path with a bare CR and a header behind it; answers 200 there."""
    if b"/injected" in connection.recv(_CHUNK, socket.MSG_PEEK):
        _ok(connection, "Content-Type: text/plain", b"followed")
    else:
        _redirect(connection, "/redirect_with_bare_cr/injected\rX-Injected: yes")


@_behaviour
def wrong_gzip(connection: socket.socket) -> None:
    """Says gzip and sends plain text."""
    _ok(connection, "Content-Encoding: gzip", b"this is no gzip")


@_behaviour
def gzip_bomb(connection: socket.socket) -> None:
    """BOMB_BYTES of zeros in a few hundred KB of gzip."""
    _answer(connection, f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {len(_bomb())}", _bomb())


@functools.cache
def _bomb() -> bytes:
    # One deflated block can be repeated as it stands when it ends with a full flush.
    block = bytes(1024 * 1024)
    repeats = BOMB_BYTES // len(block)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = functools.reduce(lambda crc, _: zlib.crc32(block, crc), range(repeats), 0)
    trailer = checksum.to_bytes(4, "little") + BOMB_BYTES.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + packed * repeats + packer.flush() + trailer


@_behaviour
def continue_then_nothing(connection: socket.socket) -> None:
    """100 Continue, then silence."""
    _answer(connection, "HTTP/1.1 100 Continue")
    _wait_for_hang_up(connection)


@_behaviour
def http_09(connection: socket.socket) -> None:
    """A body without status line or headers."""
    _answer(connection, b"<html>hello</html>")


@_behaviour
def invalid_json(connection: socket.socket) -> None:
    """Content-Type JSON, and a body that stops in the middle."""
    _ok(connection, "Content-Type: application/json", b'{"records": [1, 2,')


@_behaviour
def latin1_json(connection: socket.socket) -> None:
    """JSON in latin-1 that doesn't say so."""
    _ok(connection, "Content-Type: application/json", '{"name": "São Paulo"}'.encode("latin-1"))


@_behaviour
def non_utf8_headers(connection: socket.socket) -> None:
    """Header values with bytes that are not UTF-8."""
    _ok(connection, "Content-Type: text/plain\nX-Name: S\xe3o Paulo \xff\xfe", b"ok")


@_behaviour
def foreign_cookie(connection: socket.socket) -> None:
    """Sets a cookie for another domain beside one of its own."""
    _ok(connection, "Set-Cookie: stolen=1; Domain=example.com; Path=/\nSet-Cookie: own=1; Path=/", b"ok")


class HostileServer(TcpServer):
    """Misbehaves by path (`/garbage`), or always in one way: `HostileServer("garbage")`.

    An unknown path gets an honest 404. `heads` records what the requests began with (at most 64 KB each);
    in the one-way form nothing is read ahead, so nothing is recorded.
    """

    def __init__(self, behaviour: str | None = None) -> None:
        super().__init__()
        self.behaviour = BEHAVIOURS[behaviour] if behaviour is not None else None
        self._heads: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def heads(self) -> list[bytes]:
        with self._changed:
            return list(self._heads)

    def handle(self, connection: socket.socket) -> None:
        if self.behaviour is not None:
            self.behaviour(connection)
            return
        head = _peek(connection)
        with self._changed:
            self._heads.append(head)
        target = head.split(b"\r\n")[0].partition(b" ")[2].decode("latin-1")
        BEHAVIOURS.get(re.split(r"[/? ]", target.lstrip("/"))[0], _not_found)(connection)


def _not_found(connection: socket.socket) -> None:
    _answer(connection, "HTTP/1.1 404 Not Found\nContent-Length: 0\nConnection: close")


def _peek(connection: socket.socket) -> bytes:
    """The request's first bytes up to the end of its first line at least, left unread."""
    while b"\r\n" not in (head := connection.recv(_CHUNK, socket.MSG_PEEK)):
        # A peek can't wait for more than is there; a line in two parts is rare.
        if not head or not pause(connection, 0.001):
            raise ConnectionAbortedError("the client left")
    return head
