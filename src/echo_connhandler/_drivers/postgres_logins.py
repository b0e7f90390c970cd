"""Logging in to PostgreSQL with psycopg, and what values it reads by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, generators, waiting
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader

from .._core.errors import AuthenticationError, ConnectTimeoutError, EchoConnError
from .._core.postgres.errors import connect_failure
from .postgres_common import (
    KEEPALIVE,
    Attempt,
    attempts,
    ca_file,
    label,
    session_settings,
)
from .sql_tls import sql_tls_context

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = ("NATIVE", "TICK", "Values", "log_in")

TICK = 0.1  # seconds between looks for Ctrl-C


def log_in(props: SqlConnProperties) -> psycopg.Connection[Any]:
    """Return a connection to the first of the hosts that will do, in autocommit."""
    if props.client_cert is not None or isinstance(props.verify_ssl, str):
        sql_tls_context(props)  # for its checks: libpq's own come late and differ
    options = " ".join(f"-c {name}={label(value)}" for name, value in session_settings(props).items())
    failure: EchoConnError | None = None
    for attempt in attempts(props):
        try:
            return _open(attempt, props, options)
        except errors._WaitTimeout as error:  # noqa: SLF001 - it has no other name
            failure = ConnectTimeoutError(f"{attempt.host}:{attempt.port} did not answer in {attempt.seconds:.3g} s")
            failure.__cause__ = error
        except psycopg.Error as error:
            failure = connect_failure(error, f"{attempt.host}:{attempt.port}")
            if isinstance(failure, AuthenticationError):
                break
    raise failure or ConnectTimeoutError(f"no host answered within conn_timeout={props.conn_timeout:g} s")


def _open(attempt: Attempt, props: SqlConnProperties, options: str) -> psycopg.Connection[Any]:
    conninfo = make_conninfo(
        **_tls(props),
        host=attempt.host,
        port=attempt.port,
        user=props.user,
        password=props.password,
        dbname=props.database,
        options=options,
        client_encoding="UTF8",
        target_session_attrs=attempt.wanted,
        gssencmode="disable",
        keepalives_idle=KEEPALIVE[0],
        keepalives_interval=KEEPALIVE[1],
        keepalives_count=KEEPALIVE[2],
    )
    steps = generators.connect(conninfo)
    try:
        raw: psycopg.Connection[Any] = psycopg.Connection(waiting.wait_conn(steps, TICK, attempt.seconds))
    finally:
        steps.close()
    raw.autocommit = True
    return raw


def _tls(props: SqlConnProperties) -> dict[str, Any]:
    mode = props.tls
    found: dict[str, Any] = {"sslmode": mode}
    if mode == "require" and props.verify_ssl is not False:
        found = {"sslmode": "verify-full", "sslrootcert": ca_file(props) or "system"}
    if props.client_cert is not None:
        found |= {"sslcert": props.client_cert, "sslkey": props.client_key or props.client_cert}
        found["sslpassword"] = props.client_key_password
    return found


def _adapters() -> AdaptersMap:
    """Read as text what psycopg's C code doesn't read exactly as we want it."""
    native = {16, 17, 20, 21, 23, 26, 701, 1700, 2950}
    made = AdaptersMap(psycopg.adapters)
    for info in psycopg.adapters.types:
        for oid in (info.oid, info.array_oid):
            if oid and oid not in native:
                made.register_loader(oid, TextLoader)
    return made


NATIVE = frozenset({16, 17, 20, 21, 23, 26, 701, 1700, 2950, 18, 19, 25, 1042, 1043, 705})
_ADAPTERS = _adapters()


class Values:
    """How psycopg reads values of a connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.adapters = _ADAPTERS
