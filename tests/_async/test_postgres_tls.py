"""TLS to PostgreSQL and its socket: who is believed, what is refused, and what is told about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler import PgSqlHandler, SqlConnProperties
from echo_connhandler.errors import AuthenticationError, ConnectionFailedError, InvalidRequestError
from echo_connhandler.testing import no_waits
from tests.databases import POSTGRES_URL, start_ours
from tests.servers.postgres import PostgresServer
from tests.servers.tls import TlsFiles

ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def offering() -> Iterator[PostgresServer]:
    """Offers TLS, and has a socket in its data folder."""
    with ExitStack() as stack:
        server = PostgresServer(tls="offered", settings={"unix_socket_directories": "."})
        yield stack.enter_context(start_ours(server, POSTGRES_URL))


@pytest.fixture(scope="module")
def demanding() -> Iterator[PostgresServer]:
    """Wants TLS and a client's certificate."""
    with ExitStack() as stack:
        yield stack.enter_context(start_ours(PostgresServer(tls="mutual"), POSTGRES_URL))


def make(server: PostgresServer, **properties: Any) -> PgSqlHandler:
    values: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": "postgres",
    }
    return PgSqlHandler(SqlConnProperties(**values | properties), skip_connect=True)


async def encrypts(server: PostgresServer, **properties: Any) -> bool:
    async with make(server, **properties) as handler:
        return bool(await handler.async_fetch_value(ENCRYPTED))


async def refused(
    server: PostgresServer, match: str, kind: type[Exception] = ConnectionFailedError, **properties: Any
) -> None:
    """Connecting fails at once, without secrets in what is told."""
    handler = make(server, **properties)
    with no_waits() as waits, pytest.raises(kind, match=match) as caught:
        await handler.async_connect()
    await handler.async_close()
    assert not waits
    error: BaseException | None = caught.value
    while error is not None:
        assert server.password not in repr(error)
        error = error.__cause__ or error.__context__


def client(files: TlsFiles) -> dict[str, str]:
    return {"client_cert": files.client_certificate, "client_key": files.client_key}


async def test_tls_is_used_where_the_server_has_it(offering: PostgresServer, own_postgres: PostgresServer) -> None:
    assert await encrypts(offering)
    assert not await encrypts(own_postgres)
    assert not await encrypts(offering, tls="disable")
    # A certificate that the server doesn't want does no harm.
    assert await encrypts(offering, **client(offering.files))
    assert not await encrypts(own_postgres, **client(offering.files))


async def test_require_believes_only_whom_an_authority_vouches_for(
    offering: PostgresServer, own_postgres: PostgresServer
) -> None:
    assert await encrypts(offering, tls="require", verify_ssl=offering.files.ca)
    assert await encrypts(offering, tls="require", verify_ssl=offering.files.ca, host="localhost")
    assert await encrypts(offering, tls="require", verify_ssl=False)
    await refused(offering, "certificate", tls="require")
    await refused(own_postgres, "SSL", tls="require", verify_ssl=False)


async def test_a_certificate_of_another_name_is_refused(offering: PostgresServer) -> None:
    files = offering.files
    settings = dict(offering.settings)
    try:
        offering.stop()
        offering.settings |= {"ssl_cert_file": files.client_certificate, "ssl_key_file": files.client_key}
        offering.start()
        await refused(offering, "127.0.0.1", tls="require", verify_ssl=files.ca)
        assert await encrypts(offering, tls="require", verify_ssl=False)
    finally:
        offering.stop()
        offering.settings = settings
        offering.start()


async def test_a_client_shows_its_certificate(
    demanding: PostgresServer, offering: PostgresServer, tmp_path: Path
) -> None:
    files = demanding.files
    both = tmp_path / "both.pem"
    both.touch(mode=0o600)
    both.write_text(Path(files.client_certificate).read_text() + Path(files.client_key).read_text())
    known: dict[str, Any] = {"tls": "require", "verify_ssl": files.ca}
    assert await encrypts(demanding, **known, **client(files))
    assert await encrypts(demanding, **known, client_cert=str(both))
    assert await encrypts(demanding, **client(files))
    await refused(demanding, "valid client certificate", AuthenticationError, **known)
    await refused(demanding, "no encryption", AuthenticationError, tls="disable")
    strange = make(demanding, **known, **client(offering.files))
    with no_waits(), pytest.raises(ConnectionFailedError):  # how it's told depends on when the server hangs up
        await strange.async_connect()
    await strange.async_close()


async def test_files_that_are_none_are_told_before_anything_is_sent(offering: PostgresServer, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for properties in (
        {"tls": "require", "verify_ssl": missing},
        {"tls": "require", "verify_ssl": str(broken)},
        {"tls": "require", "verify_ssl": False, "client_cert": missing},
        {"client_cert": offering.files.client_certificate, "client_key": offering.files.server_key},
    ):
        await refused(offering, "pem", InvalidRequestError, **properties)


async def test_a_unix_socket(offering: PostgresServer) -> None:
    data = offering.folder / "data"
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("local all all scram-sha-256\n")
    with offering.admin() as admin:
        before = admin.execute("SELECT pg_conf_load_time()").fetchone()
        admin.execute("SELECT pg_reload_conf()")
        while admin.execute("SELECT pg_conf_load_time()").fetchone() == before:
            pass
    async with make(offering, host=str(data)) as handler:
        assert await handler.async_fetch_value("SELECT inet_server_addr() IS NULL")
    await refused(offering, "authentication failed", AuthenticationError, host=str(data), password="wrong")
