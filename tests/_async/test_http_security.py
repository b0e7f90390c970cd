"""Client certificates, old TLS, proxies and HTTP/2, each against a real server; and what may not be combined."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from echo_connhandler import HttpConnProperties, HttpHandler, InsecureTlsWarning, MissingExtraError
from echo_connhandler.errors import ConnectionFailedError
from tests.servers.http import HttpServer
from tests.servers.http2 import http2_server
from tests.servers.relay import ForwardProxy
from tests.servers.tls import TlsFiles


class TlsServer(HttpServer):
    """HTTPS with a context that the test sets up."""

    def __init__(self, files: TlsFiles) -> None:
        super().__init__(trustme.CA())
        self.context = self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.server_certificate, files.server_key)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return TlsFiles.make(tmp_path_factory.mktemp("tls"), "me")


@pytest.fixture
def mutual(files: TlsFiles) -> Iterator[HttpServer]:
    """A server that wants to see a certificate."""
    server = TlsServer(files)
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.load_verify_locations(files.ca)
    with server:
        yield server


@pytest.fixture
def old(files: TlsFiles) -> Iterator[HttpServer]:
    """A server that knows TLS 1.1 only."""
    server = TlsServer(files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        server.context.minimum_version = ssl.TLSVersion.TLSv1_1
        server.context.maximum_version = ssl.TLSVersion.TLSv1_1
    with server:
        yield server


def make(url: str, **properties: Any) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=url, **properties), skip_connect=True, max_retries=0)


def encrypted(files: TlsFiles, folder: Path, password: str) -> str:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(Path(files.client_key).read_bytes(), None)
    kept = key.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.BestAvailableEncryption(password.encode())
    )
    path = folder / "encrypted.pem"
    path.write_bytes(kept)
    return str(path)


async def test_a_client_certificate_is_shown(mutual: HttpServer, files: TlsFiles, tmp_path: Path) -> None:
    trusted = {"verify_ssl": files.ca, "client_cert": files.client_certificate}
    async with make(mutual.url, **trusted, client_key=files.client_key) as handler:
        assert (await handler.async_get("echo")).status_code == 200
        assert (await handler.async_connection.get(f"{mutual.url}/echo")).status_code == 200
    key = encrypted(files, tmp_path, "planted")
    async with make(mutual.url, **trusted, client_key=key, client_key_password="planted") as handler:
        assert (await handler.async_get("echo")).status_code == 200
        assert "planted" not in repr(handler)
    async with make(mutual.url, verify_ssl=files.ca) as handler:
        with pytest.raises(OSError):
            await handler.async_get("echo")
    assert len(mutual.requests) == 3


async def test_a_client_certificate_that_is_no_use_is_said(files: TlsFiles, tmp_path: Path) -> None:
    key = encrypted(files, tmp_path, "planted")
    wrong = {
        "client_cert: there is no file '/nowhere.pem'": {"client_cert": "/nowhere.pem"},
        "client_key: there is no file '/nowhere.pem'": {
            "client_cert": files.client_certificate,
            "client_key": "/nowhere.pem",
        },
        "client_cert: .* can't be used with its key": {"client_cert": files.ca, "client_key": files.client_key},
        "client_key_password is missing": {"client_cert": files.client_certificate, "client_key": key},
    }
    for message, properties in wrong.items():
        with pytest.raises(ValueError, match=message):
            await make("https://127.0.0.1:1", **properties).async_get("echo")


async def test_a_renewed_certificate_is_used_from_the_next_client_on(mutual: HttpServer, tmp_path: Path) -> None:
    own = TlsFiles.make(tmp_path, "me")
    other = TlsFiles.make(tmp_path.parent, "me")
    with TlsServer(own) as server:
        async with make(server.url, verify_ssl=own.ca) as handler:
            assert (await handler.async_get("echo")).status_code == 200
        Path(own.ca).write_bytes(Path(other.ca).read_bytes())
        async with make(server.url, verify_ssl=own.ca) as handler:
            with pytest.raises(ConnectionFailedError, match="certificate not trusted"):
                await handler.async_get("echo")


async def test_old_tls_only_where_it_is_asked_for_and_with_a_warning(old: HttpServer, files: TlsFiles) -> None:
    async with make(old.url, verify_ssl=files.ca) as handler:
        with pytest.raises(ConnectionFailedError):
            await handler.async_get("echo")
    with pytest.warns(InsecureTlsWarning, match=rf"legacy_tls=True: 127.0.0.1:{old.port} may") as said:
        handler = make(old.url, verify_ssl=files.ca, legacy_tls=True)
    assert len(said) == 1
    async with handler:
        assert (await handler.async_get("echo")).status_code == 200
        assert (await handler.async_connection.get(f"{old.url}/echo")).status_code == 200


async def test_a_proxy_serves_plain_and_secure_hosts(server: HttpServer, files: TlsFiles) -> None:
    with ForwardProxy(user="me", password="pl@nted") as proxy, TlsServer(files) as secure:
        url = f"http://me:pl%40nted@{proxy.host}:{proxy.port}"
        for target, verify in ((server, True), (secure, files.ca)):
            async with make(target.url, proxy=url, verify_ssl=verify) as handler:
                assert (await handler.async_get("echo")).status_code == 200
                assert (await handler.async_connection.get(f"{target.url}/echo")).status_code == 200
                assert "nted" not in repr(handler)
        assert proxy.served == [server.url] * 2 + [f"{secure.host}:{secure.port}"]
        async with make(server.url, proxy=f"http://me:wrong@{proxy.host}:{proxy.port}") as handler:
            with pytest.raises(RuntimeError, match="407"):
                await handler.async_get("echo")
        async with make(secure.url, proxy=f"http://{proxy.host}:{proxy.port}", verify_ssl=files.ca) as handler:
            with pytest.raises(ConnectionFailedError, match="407"):
                await handler.async_get("echo")


async def test_http2_with_servers_that_speak_it(files: TlsFiles, tmp_path: Path) -> None:
    with http2_server(files) as url:
        async with make(url, verify_ssl=files.ca, http2=True) as handler:
            response = await handler.async_post("echo", content=b"x" * 100_000)
            assert (response.http_version, response.text) == ("HTTP/2", "100000")
            done = await handler.async_download("file", tmp_path / "f")
            assert done.read_bytes() == b"0"
            async with handler.async_stream("GET", "y") as unread:
                assert await unread.aread() == b"0"
            assert unread.headers["x-connection"] == response.headers["x-connection"]
        async with make(url, verify_ssl=files.ca) as handler:
            assert (await handler.async_get("echo")).http_version == "HTTP/1.1"


async def test_http2_without_its_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"echo-connhandler\[http2\]"):
        await make("https://127.0.0.1:1", http2=True).async_get("echo")
