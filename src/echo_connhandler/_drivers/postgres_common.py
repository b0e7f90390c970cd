"""What both PostgreSQL drivers share: where to connect and in what order, and what every session is set to."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.errors import ConnectionFailedError, InvalidRequestError, Kind, QueryError
from .._core.postgres.errors import server_text
from .._core.statements import statement

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = (
    "AT_ONCE",
    "NO_CURSOR",
    "OUTDATED",
    "POOLED",
    "CANCEL_GRACE",
    "GUARD",
    "KEEPALIVE",
    "Attempt",
    "Clock",
    "affected",
    "attempts",
    "ca_file",
    "can_declare",
    "check_copy",
    "in_slices",
    "label",
    "not_committed",
    "read_only_server",
    "session_settings",
    "unsent",
)

T = TypeVar("T")

PORT = 5432
KEEPALIVE = (30, 10, 3)  # seconds of silence, seconds between the questions then, how many without an answer
GUARD = 5.0  # seconds beyond query_timeout that the server has to stop a statement by itself
CANCEL_GRACE = 5.0  # seconds that it has to stop one that was cancelled; after that the connection is given up
# invalid_sql_statement_name, duplicate_prepared_statement: a pooler between us and the server changed the session.
POOLED = ("26000", "42P05")
# Classes of what goes wrong when a table was changed after its statement was prepared: another type of a column
# ("cached plan must not change result type") or of a parameter. Such a statement is prepared anew, once.
OUTDATED = ("0A", "22", "42")
# feature_not_supported, invalid_cursor_definition, syntax_error
NO_CURSOR = ("0A000", "42P11", "42601")
AT_ONCE = 500  # rows of an execute_many that are bound together

# What values are read and written by: fixed, so that text of values is the same whatever the server's defaults are.
_FIXED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/cert.pem",  # macOS, BSD
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One host to try: which of the servers will do is in `wanted`, and `seconds` are the longest to wait."""

    host: str
    port: int
    wanted: str
    seconds: float


def attempts(props: SqlConnProperties) -> Iterator[Attempt]:
    """Yield the hosts in order, each with its share of `conn_timeout`, until that has passed."""
    ends = time.monotonic() + props.conn_timeout
    wanted = props.target_session_attrs
    rounds = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    hosts = [(host, port or PORT, each) for each in rounds for host, port in props.hosts]
    for place, (host, port, each) in enumerate(hosts):
        left = ends - time.monotonic()
        if place and left <= 0:
            return
        yield Attempt(host, port, each, max(left, 0.001) / (len(hosts) - place))


def session_settings(props: SqlConnProperties) -> dict[str, str]:
    """Return the session's settings.

    Raises:
        InvalidRequestError: `server_settings` has one on which reading and writing values depends.
    """
    fixed = {name.lower() for name in _FIXED}
    wrong = sorted(name for name in props.server_settings if name.lower() in fixed)
    if wrong:
        raise InvalidRequestError(f"server_settings can't have {', '.join(wrong)}: values are read and written by it")
    settings = {"TimeZone": "UTC", "application_name": props.application_name}
    if props.query_timeout is not None:
        settings["statement_timeout"] = str(max(1, round(props.query_timeout * 1000)))
    own = {name.lower() for name in props.server_settings}
    settings = {name: value for name, value in settings.items() if name.lower() not in own}
    return {**settings, **{name: str(value) for name, value in props.server_settings.items()}, **_FIXED}


def ca_file(props: SqlConnProperties) -> str | None:
    """Return the file of the certificate authorities to trust; None where the system's own isn't found."""
    if isinstance(props.verify_ssl, str):
        return props.verify_ssl
    known = ssl.get_default_verify_paths().cafile
    return next((path for path in (known, *_CERTIFICATES) if path and Path(path).is_file()), None)


def can_declare(sql: str) -> bool:
    """Tell whether a statement's rows can be read through a cursor that the server keeps."""
    known = statement(sql, "postgres")
    return known.first in ("SELECT", "WITH", "VALUES", "TABLE") and not known.changes


def affected(status: str) -> int:
    """Return the rows that a statement changed, by what the server says of it: `INSERT 0 3`, `SELECT 3`, `BEGIN`."""
    word, _, rest = status.partition(" ")
    if word in ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY"):
        return int(rest.rpartition(" ")[2])
    return 0


def check_copy(sql: str) -> None:
    """Refuse a COPY from or to the client, which has no place in `run`."""
    if statement(sql, "postgres").first == "COPY":
        words = sql.upper()
        if "STDIN" in words or "STDOUT" in words:
            raise QueryError("COPY with STDIN or STDOUT is what write_frame and the reading of frames do by themselves")


def not_committed() -> QueryError:
    """Return the error for a COMMIT that the server answered with ROLLBACK."""
    return QueryError(
        "the database has undone this transaction, as one of its statements failed: nothing was committed", code="25P02"
    )


def unsent(error: Exception) -> ConnectionFailedError:
    """Return the error for a connection that was lost while a statement was prepared, not executed yet.

    Within a transaction that is no better to know than that it was lost.
    """
    return ConnectionFailedError(f"the connection was lost before the statement was executed: {server_text(error)}")


def read_only_server(error: Exception) -> QueryError:
    """Return the error for a write to a standby though another server is wanted: connecting again may find it."""
    made = QueryError(f"this server became a standby: {server_text(error)}", code="25006")
    return made.told(attempts=1, elapsed=0.0, kind=Kind.TEMPORARY)


class Clock:
    """How long statements may run: `query_timeout` for each, and a call's deadline for all."""

    def __init__(self, props: SqlConnProperties) -> None:
        self._longest: float | None = props.query_timeout
        self._deadline: float | None = None
        self._began = 0.0

    def limit(self, seconds: float | None) -> None:
        """Set or lift the deadline."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def start(self) -> float | None:
        """Note that a statement begins, and return the seconds after which the client stops it itself."""
        if self._longest is None and self._deadline is None:
            return None
        now = self._began = time.monotonic()
        ends = [] if self._longest is None else [self._longest + GUARD]
        if self._deadline is not None:
            ends.append(self._deadline - now)
        return max(min(ends), 0.001)

    def over(self, said: str = "") -> str | None:
        """Tell why the statement that was stopped, as the server said, had run too long, None if it had not."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            return "at the call's deadline"
        # A server that speaks another language is known by the time; its clock and ours don't run alike.
        late = now - self._began >= 0.9 * (self._longest or 0)
        if self._longest is not None and (late or "statement timeout" in said):
            return f"after query_timeout={self._longest:g} s"
        return None


def label(value: Any) -> str:
    """Return a setting as libpq's options take it."""
    return str(value).replace("\\", "\\\\").replace(" ", "\\ ")


def in_slices(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of at most `size`."""
    some: list[T] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
