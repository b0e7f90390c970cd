"""Logging in to PostgreSQL with asyncpg, and what values it reads by itself."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from .._core.errors import AuthenticationError, ConnectionFailedError, ConnectTimeoutError, EchoConnError, Kind
from .._core.postgres.values import TYPES_SQL, Types
from .postgres_common import KEEPALIVE, Attempt, attempts, session_settings
from .sockets import keep_alive
from .sql_tls import sql_tls_context

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = ("NATIVE", "Connection", "log_in")

# What asyncpg reads exactly as we want it, in binary, and what it takes a parameter of such a type for.
NATIVE = {16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 700: "float4", 701: "float8"}
_BINARY = frozenset({*NATIVE, 19, 25, 1042, 1043})


async def log_in(props: SqlConnProperties) -> Connection:
    """Return a connection to the first of the hosts that will do."""
    session = session_settings(props)
    failure: EchoConnError | None = None
    for attempt in attempts(props):
        where = f"{attempt.host}:{attempt.port}"
        try:
            raw = await _open(attempt, props, session)
            keep_alive(raw._transport.get_extra_info("socket"), *KEEPALIVE)  # noqa: SLF001 - told nowhere else
            return raw
        except TimeoutError as error:
            failure = ConnectTimeoutError(f"{where} did not answer in {attempt.seconds:.3g} s")
            failure.__cause__ = error
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise _failed(AuthenticationError(f"{where}: {error}"), error, Kind.WRONG) from error
        except asyncpg.PostgresError as error:
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, _refusal(error.sqlstate or ""))
        except ssl.SSLError as error:
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, Kind.WRONG)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # TargetServerAttributeNotMatched too: another server may take its place.
            kind = Kind.WRONG if "rejected SSL upgrade" in str(error) else Kind.NOT_SENT
            failure = _failed(ConnectionFailedError(f"{where}: {error}"), error, kind)
    raise failure or ConnectTimeoutError(f"no host answered within conn_timeout={props.conn_timeout:g} s")


def _refusal(code: str) -> Kind:
    """Return whether a server that answered so to a login may be asked again."""
    if code in ("53300", "57P03", "57P01"):
        return Kind.TEMPORARY
    return Kind.NOT_SENT if code.startswith("08") else Kind.WRONG


def _failed(made: EchoConnError, error: Exception, kind: Kind) -> EchoConnError:
    made.__cause__ = error
    return made.told(attempts=1, elapsed=0.0, kind=kind)


async def _open(attempt: Attempt, props: SqlConnProperties, session: dict[str, str]) -> Connection:
    async def attempted(tls: Any) -> Connection:
        made: Connection = await asyncpg.connect(
            host=attempt.host,
            port=attempt.port,
            user=props.user,
            password=props.password,
            database=props.database,
            timeout=attempt.seconds,
            ssl=tls,
            server_settings=session,
            target_session_attrs=attempt.wanted,
            statement_cache_size=0,  # statements are kept here
            connection_class=Connection,
        )
        return made

    if attempt.host.startswith("/") or props.tls == "disable":
        return await attempted(False)
    if props.tls == "require":
        return await attempted(sql_tls_context(props))
    if props.client_cert is None:
        return await attempted("prefer")
    try:
        return await attempted(sql_tls_context(props))
    except ConnectionError:
        return await attempted(False)


class _Introspected(NamedTuple):
    name: str = ""


class Connection(asyncpg.Connection):  # type: ignore[misc] # untyped
    """asyncpg's connection, except that types it doesn't know by heart come as the server's text.

    Its own way can't decode composites that hold such text, nor does its public `set_type_codec` take arrays.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.types = Types()
        self._read_as_text(self.types.known)

    async def _introspect_types(self, typeoids: Any, timeout: float | None) -> tuple[list[Any], _Introspected]:
        while missing := self.types.missing(typeoids):
            rows = await self.fetch(TYPES_SQL, ",".join(map(str, missing)), timeout=timeout)
            self.types.learn(missing, [tuple(row) for row in rows])
        self._read_as_text(typeoids)
        return [], _Introspected()

    def _read_as_text(self, oids: Iterable[int]) -> None:
        settings = self._protocol.get_settings()
        for oid in oids:
            if oid not in _BINARY:
                load = self.types.loader(oid)
                settings.add_python_codec(oid, str(oid), "pg_catalog", [], "scalar", _as_is, load, "text")


def _as_is(value: str) -> str:
    return value
