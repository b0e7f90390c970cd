"""What the drivers of both libraries share: how to log in, what a session is set to, how a statement is stopped."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import socket
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.err import MySQLError, OperationalError

from .._core.errors import EchoConnError, InvalidRequestError, TimeoutExceededError
from .._core.mysql.literals import quoted
from .sql_tls import sql_tls_context

if TYPE_CHECKING:
    import ssl

    from .._core.sql_properties import SqlConnProperties
    from .._core.sqlvalues import Result

__all__ = (
    "CHUNK",
    "FLAGS",
    "GRACE",
    "OUT_OF_TIME",
    "PROBE",
    "SERVER",
    "SMALL",
    "Connection",
    "Deadlines",
    "address",
    "check_tls",
    "explained",
    "kill",
    "log_in",
    "log_warnings",
    "lost",
    "refuse_clear_password",
    "session_settings",
    "time_limits",
    "tls_context",
    "well_formed",
    "with_tls",
)

logger = logging.getLogger("echo_connhandler.sql")

CHUNK = 1 << 18  # bytes received at once
GRACE = 5.0  # seconds that a stopped statement has to end; after that its connection is given up
FLAGS = CLIENT.FOUND_ROWS | CLIENT.LOCAL_FILES
OUT_OF_TIME = ((1969,), (3024,))  # MariaDB's and MySQL's own limit
SMALL = 1 << 20  # bytes of a result that are read to its end rather than stopped
PROBE = "DO 0"
# What tells one server from another behind the same address, and what else is to know of it.
SERVER = "SELECT CONCAT_WS('/', @@hostname, @@port, @@server_id), @@max_allowed_packet"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_OURS = re.compile(r"(?:character_set_\w+|names|time_zone|autocommit)", re.IGNORECASE)
_PATIENCE = 3600  # seconds that the server waits for who reads or writes a result slowly; as it comes 60 and 30
# What the libraries let out where an answer is cut short or is none of a MySQL server.
_MALFORMED = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error)
_ATTRIBUTE = 64  # bytes of the application's name that are told


def lost(why: object) -> OperationalError:
    """Return the library's error for a connection that broke after something was sent."""
    return OperationalError(2013, f"Lost connection to the server during query ({why})")


def explained(error: BaseException) -> BaseException:
    """Return the error to raise for what interrupted a talk: malformed answers count as a lost connection."""
    if isinstance(error, MySQLError | EchoConnError):
        return error
    if isinstance(error, (OSError, EOFError, *_MALFORMED)):
        return lost(_told(error))
    return error


@contextlib.contextmanager
def well_formed(where: str) -> Iterator[None]:
    """Make malformed answers to a login the same error as a connection that broke."""
    try:
        yield
    except MySQLError as error:
        why = getattr(error, "original_exception", None) or error.__cause__
        if error.args[:1] == (2003,) and why is not None:
            raise OperationalError(2003, f"Can't connect to {where} ({_told(why)})") from why
        if error.args and isinstance(error.args[0], int):
            raise
        raise OperationalError(2013, f"Lost connection to {where} during the login ({error})") from error
    except (OSError, EOFError) as error:
        raise OperationalError(2003, f"Can't connect to {where} ({_told(error)})") from error
    except RuntimeError as error:  # a password that needs the package cryptography
        raise OperationalError(2059, f"The login to {where} failed: {error}; or use TLS, which needs none") from error
    except _MALFORMED as error:
        raise OperationalError(2013, f"Lost connection to {where} during the login ({_told(error)})") from error


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    return f"{type(error).__name__}: {error}"


def address(props: SqlConnProperties) -> dict[str, Any]:
    """Return the arguments that both libraries' connections are made with."""
    hosts = props.hosts
    if len(hosts) > 1:
        raise InvalidRequestError("MySQL takes one host: a list with commas is for PostgreSQL")
    host, port = hosts[0]
    arguments: dict[str, Any] = {"host": host, "port": port or 3306}
    if host.startswith("/"):
        arguments = {"host": "localhost", "unix_socket": host}
    name = props.application_name.encode()[:_ATTRIBUTE].decode(errors="ignore")
    return arguments | {
        "user": props.user,
        # Both libraries encode passwords as latin-1; servers compare bytes, and clients commonly send UTF-8.
        "password": (props.password or "").encode().decode("latin-1"),
        "charset": "utf8mb4",
        "client_flag": FLAGS,
        "autocommit": None,
        "program_name": name,
        "connect_timeout": props.conn_timeout,
    }


def tls_context(props: SqlConnProperties) -> ssl.SSLContext | None:
    """Return how to encrypt, None where that is not wanted."""
    return None if props.tls == "disable" or props.host.startswith("/") else sql_tls_context(props)


def session_settings(props: SqlConnProperties) -> bytes:
    """Return the statement that sets up a session."""
    settings = {
        "time_zone": "'+00:00'",
        "autocommit": "1",
        "sql_mode": "CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
        "net_read_timeout": str(_PATIENCE),
        "net_write_timeout": str(_PATIENCE),
    }
    for name, value in props.server_settings.items():
        if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
            raise InvalidRequestError(f"server_settings can't set {name!r}: it is no variable, or not one to change")
        settings[name] = value if _NUMBER.fullmatch(value) else quoted(value, backslashes=False).replace("\\", "\\\\")
    return ("SET NAMES utf8mb4, " + ", ".join(f"SESSION {name} = {value}" for name, value in settings.items())).encode()


def time_limits(seconds: float | None, version: str) -> tuple[bytes, bytes] | None:
    """Return the statements that lift the server's own limit of time, and that set it; None where there is to be none.

    It is lifted for results that are read in batches: MariaDB counts the time until all is read, too.
    """
    if seconds is None:
        return None
    if "mariadb" in version.lower():
        name, limit = "max_statement_time", f"{max(seconds, 0.000001):.6f}"  # 0 would be no limit
    else:
        name, limit = "max_execution_time", str(max(math.ceil(seconds * 1000), 1))  # of reads alone
    return f"SET SESSION {name} = 0".encode(), f"SET SESSION {name} = {limit}".encode()


def log_warnings(warnings: Result) -> None:
    """Tell the log what SHOW WARNINGS answered."""
    for level, number, text in warnings.rows:
        logger.debug("the server warns (%s %s): %s", level, number, text)


class Deadlines:
    """When the statement that runs is to be stopped.

    Attributes:
        ends: when, by the monotonic clock.
        stopped: whether it was.
    """

    def __init__(self, query_timeout: float | None) -> None:
        self._each = query_timeout
        self._limit = math.inf
        self.ends = math.inf
        self.stopped = False

    def limit(self, seconds: float | None) -> None:
        """Let no statement run longer than so many seconds from now."""
        self._limit = math.inf if seconds is None else time.monotonic() + seconds

    def begin(self) -> None:
        """A statement begins.

        Raises:
            TimeoutExceededError: there's no time left for it.
        """
        self.stopped = False
        if self._limit < math.inf and self._limit <= time.monotonic():
            raise TimeoutExceededError("no time was left for the statement before the call's deadline")
        # The server's own limit comes first, with its own words.
        each = math.inf if self._each is None else time.monotonic() + self._each + min(0.5, self._each)
        self.ends = min(each, self._limit)

    def left(self) -> float | None:
        """Return the seconds that are left, None where there's no end; 0 when time is up."""
        return None if self.ends == math.inf else max(self.ends - time.monotonic(), 0.0)

    def stop(self) -> None:
        """Note that the statement is being stopped; from now on it has the time to end."""
        self.stopped = True
        self.ends = time.monotonic() + GRACE

    def why(self) -> str:
        """Say what limit was exceeded."""
        if self._limit < math.inf and self._limit <= time.monotonic():
            return "the statement was stopped at the call's deadline"
        return f"the statement was stopped after query_timeout={self._each or 0:g} s"


_Base: Any = pymysql.connections.Connection  # whose types tell nothing of what is needed here


class Connection(_Base):  # type: ignore[misc] # untyped, as said
    """pymysql's connection, with an end to the time that a login takes, and no password sent in the clear."""

    deadline = math.inf
    tls_required = False
    ssl: bool
    client_flag: int

    def _request_authentication(self) -> None:
        encrypts = check_tls(self.server_capabilities, wanted=self.ssl, required=self.tls_required)
        self.ssl, self.client_flag = encrypts, with_tls(self.client_flag, encrypts)
        super()._request_authentication()

    def _read_bytes(self, num_bytes: int) -> bytes:
        if self.deadline < math.inf:
            self._sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
        data: bytes = super()._read_bytes(num_bytes)
        return data

    def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        refuse_clear_password(plugin_name, secure=self._secure)
        return super()._process_auth(plugin_name, auth_packet)


def check_tls(capabilities: int, *, wanted: bool, required: bool) -> bool:
    """Tell whether to encrypt; raise if it is required and not to be had, before the login is sent."""
    offered = bool(capabilities & CLIENT.SSL)
    if required and not offered:
        raise OperationalError(2026, 'tls="require", but the server offers no TLS')
    return wanted and offered


def with_tls(flags: int, encrypts: bool) -> int:
    """Return the client's flags with or without the one that says that TLS follows."""
    return flags | CLIENT.SSL if encrypts else flags & ~CLIENT.SSL


def refuse_clear_password(plugin: bytes, *, secure: bool) -> None:
    """Raise if a server asks for the bare password where others can listen."""
    if plugin in (b"mysql_clear_password", b"dialog") and not secure:
        raise OperationalError(2061, f"the server asks for the password in the clear ({plugin.decode()}): use TLS")


def log_in(props: SqlConnProperties, seconds: float, sock: socket.socket | None = None) -> Connection:
    """Return a connection that has logged in, within so many seconds."""
    arguments = address(props)
    where = f"{arguments.get('unix_socket') or arguments['host']}"
    context = tls_context(props)
    made = Connection(
        **arguments, database=props.database, ssl_disabled=context is None, ssl=context, defer_connect=True
    )
    made.tls_required = props.tls == "require" and context is not None
    made._secure = "unix_socket" in arguments  # noqa: SLF001
    made._read_timeout = made._write_timeout = made.connect_timeout = seconds  # noqa: SLF001
    made.deadline = time.monotonic() + seconds
    with well_formed(where):
        made.connect(sock)
    made.deadline = math.inf
    made._read_timeout = made._write_timeout = None  # noqa: SLF001
    made._local_infile = False  # noqa: SLF001 - pymysql reads no file, whatever a server asks for
    return made


def kill(props: SqlConnProperties, peer: Any, server: str, session: int, what: str) -> bool:
    """Stop a session's statement (`QUERY`) or the session (`CONNECTION`) over a connection of its own.

    Args:
        props: how to log in.
        peer: the address that the session is connected to: a name may stand for several servers.
        server: what `SERVER` said there; another server is left alone.
        session: the session's number.
        what: QUERY or CONNECTION.

    Returns:
        Whether the server was told.
    """
    inet = socket.AF_INET6 if len(peer) == 4 else socket.AF_INET
    sock = socket.socket(socket.AF_UNIX if isinstance(peer, str | bytes) else inet)
    try:
        sock.settimeout(GRACE)
        sock.connect(peer)
        with log_in(props, GRACE, sock) as other, other.cursor() as cursor:
            other._read_timeout = other._write_timeout = GRACE  # noqa: SLF001
            cursor.execute(SERVER)
            found = cursor.fetchone()
            if found is None or found[0] != server:
                logger.warning("a statement could not be stopped: behind its address is another server")
                return False
            with contextlib.suppress(OperationalError):  # 1094: it is gone already
                cursor.execute(f"KILL {what} {session:d}")
            return True
    except (MySQLError, OSError) as error:
        logger.warning("a statement could not be stopped: %s", type(error).__name__)
        return False
    finally:
        sock.close()
