"""TLS to MariaDB: who is believed, what is refused before the login is sent, and what is told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from echo_connhandler import MySqlHandler, SqlConnProperties
from echo_connhandler._drivers.sql_tls import sql_tls_context
from echo_connhandler.errors import AuthenticationError, ConnectionFailedError, InvalidRequestError
from echo_connhandler.testing import no_waits
from tests.databases import MYSQL_URL, start_ours
from tests.servers.mariadb import MariaDbServer
from tests.servers.proxy import TcpProxy
from tests.servers.tls import Tls, TlsFiles

Start = Callable[[Tls], MariaDbServer]

CIPHER = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
SECRET = "the key's s3cret"


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Gives the server with such TLS, which starts when the first test asks for it."""
    running: dict[Tls, MariaDbServer] = {}
    with ExitStack() as stack:

        def started(tls: Tls) -> MariaDbServer:
            if tls not in running:
                running[tls] = stack.enter_context(start_ours(MariaDbServer(tls=tls), MYSQL_URL))
            return running[tls]

        yield started


def make(server: MariaDbServer, **properties: Any) -> MySqlHandler:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "password": server.password,
    }
    return MySqlHandler(SqlConnProperties(**values | properties), skip_connect=True)


def client(files: TlsFiles) -> dict[str, Any]:
    return {"client_cert": files.client_certificate, "client_key": files.client_key}


async def encrypts(handler: MySqlHandler) -> bool:
    async with handler:
        return bool(await handler.async_fetch_value(CIPHER))


async def refused(
    server: MariaDbServer, match: str, kind: type[Exception] = ConnectionFailedError, **properties: Any
) -> None:
    """Connecting fails at once, without secrets in what is told."""
    handler = make(server, **properties)
    with no_waits() as waits, pytest.raises(kind, match=match) as caught:
        await handler.async_connect()
    await handler.async_close()
    assert not waits
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        assert server.password not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("server", "tls", "encrypted"),
    [
        ("off", "prefer", False),
        ("offered", "prefer", True),
        ("offered", "disable", False),
        ("required", "prefer", True),
    ],
)
async def test_what_is_encrypted(start: Start, server: Tls, tls: Tls, encrypted: bool) -> None:
    assert await encrypts(make(start(server), tls=tls)) is encrypted


async def test_a_server_that_insists_on_tls_says_so(start: Start) -> None:
    await refused(start("required"), "demands TLS", AuthenticationError, tls="disable")


async def test_a_servers_certificate_is_verified(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start("offered")
    assert await encrypts(make(server, tls="require", verify_ssl=server.files.ca))
    assert await encrypts(make(server, tls="require", verify_ssl=False))
    await refused(server, "certificate verify failed", tls="require")
    await refused(server, "certificate verify failed", tls="require", verify_ssl=start("required").files.ca)
    monkeypatch.setenv("SSL_CERT_FILE", server.files.ca)  # what the system trusts, to OpenSSL
    assert await encrypts(make(server, tls="require"))


async def test_a_servers_name_is_verified(start: Start) -> None:
    server = start("offered")
    files = server.files
    assert await encrypts(make(server, host="localhost", tls="require", verify_ssl=files.ca))
    # Another name of 127.0.0.1, which the certificate doesn't have.
    await refused(server, "ostname mismatch.*127.1", host="127.1", tls="require", verify_ssl=files.ca)
    assert await encrypts(make(server, host="127.1", tls="require", verify_ssl=False))
    assert await encrypts(make(server, host="127.1"))


@pytest.mark.parametrize("verify", [True, False])
async def test_no_login_is_sent_to_a_server_without_tls(start: Start, verify: bool) -> None:
    server = start("off")
    with TcpProxy("127.0.0.1", server.port) as proxy:
        await refused(server, "the server offers no TLS", port=proxy.port, tls="require", verify_ssl=verify)
    assert proxy.bytes_down > 0
    assert proxy.bytes_up == 0


@pytest.mark.parametrize("tls", ["prefer", "require"])
async def test_an_account_that_demands_a_certificate(start: Start, tls: str) -> None:
    server = start("mutual")
    trusted = {"tls": tls, "verify_ssl": server.files.ca}
    await refused(server, "demands TLS or a client certificate.*client_cert", AuthenticationError, **trusted)
    assert await encrypts(make(server, **trusted, **client(server.files)))
    foreign = client(start("offered").files)
    with no_waits(), pytest.raises(ConnectionFailedError):  # the server's word may be lost as it hangs up
        async with make(server, **trusted, **foreign):
            pass


async def test_a_key_with_a_password(start: Start, tmp_path: Path) -> None:
    server = start("mutual")
    key = serialization.load_pem_private_key(Path(server.files.client_key).read_bytes(), None)
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(SECRET.encode()),
        )
    )
    cert = {"client_cert": server.files.client_certificate, "client_key": str(path)}
    assert await encrypts(make(server, **cert, client_key_password=SECRET))
    await refused(server, "can't be used", InvalidRequestError, **cert, client_key_password=f"no, {SECRET}")
    await refused(server, "client_key_password is missing", InvalidRequestError, **cert)


async def test_files_that_are_no_certificates(start: Start, tmp_path: Path) -> None:
    server = start("offered")
    text = tmp_path / "text"
    text.write_text("no certificate")
    for given, told in (
        ({"verify_ssl": "/nowhere/ca.pem"}, "verify_ssl: there is no file '/nowhere/ca.pem'"),
        ({"verify_ssl": str(text)}, "verify_ssl: .*has no certificates"),
        ({"client_cert": "/nowhere/cert.pem"}, "client_cert: there is no file"),
        ({"client_cert": server.files.client_certificate, "client_key": "/nowhere"}, "client_key: there is no file"),
        ({"client_cert": str(text)}, "client_cert: .* can't be used"),
    ):
        await refused(server, told, InvalidRequestError, **{"tls": "require"} | given)


async def test_cas_are_read_once_and_for_verifying_only(start: Start, tmp_path: Path) -> None:
    files = start("offered").files
    plain = sql_tls_context(SqlConnProperties(verify_ssl=files.ca))
    assert plain.cert_store_stats()["x509"] == 0
    assert sql_tls_context(SqlConnProperties(host="other")) is plain
    verifying = sql_tls_context(SqlConnProperties(tls="require"))
    assert sql_tls_context(SqlConnProperties(tls="require", user="x")) is verifying
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(files.ca).read_bytes())
    props = SqlConnProperties(tls="require", verify_ssl=str(ca))
    one = sql_tls_context(props)
    assert sql_tls_context(props) is one
    with_cert = SqlConnProperties(tls="require", verify_ssl=str(ca), **client(files))
    assert sql_tls_context(with_cert) is not one
    assert sql_tls_context(with_cert) is sql_tls_context(with_cert)
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    assert sql_tls_context(props) is not one
