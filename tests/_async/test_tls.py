"""TLS: verified by default, trusted by a file or folder of CAs, or not at all where that is asked for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from echo_connhandler import HttpConnProperties, HttpHandler, InsecureTlsWarning
from echo_connhandler.errors import ConnectionFailedError
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer


@pytest.fixture(scope="module")
def secure() -> Iterator[HttpServer]:
    with HttpServer(trustme.CA()) as running:
        yield running


def make(secure: HttpServer, verify: bool | str | ssl.SSLContext) -> HttpHandler:
    return HttpHandler(HttpConnProperties(host=secure.url, verify_ssl=verify), skip_connect=True)


async def test_an_unknown_authority_is_refused_at_once(secure: HttpServer) -> None:
    async with make(secure, True) as handler:
        with no_waits() as waits, pytest.raises(ConnectionFailedError, match="certificate not trusted"):
            await handler.async_get("echo")
    assert waits == []


async def test_a_private_authority_is_trusted_by_its_file(secure: HttpServer) -> None:
    async with make(secure, secure.ca_pem) as handler:
        assert (await handler.async_get("echo")).status_code == 200


async def test_a_context_of_the_users_own(secure: HttpServer) -> None:
    async with make(secure, ssl.create_default_context(cafile=secure.ca_pem)) as handler:
        assert (await handler.async_get("echo")).status_code == 200


async def test_verification_can_be_switched_off_with_a_warning_that_names_the_host(secure: HttpServer) -> None:
    with pytest.warns(InsecureTlsWarning, match=rf"verify_ssl=False.*{secure.host}:{secure.port}") as said:
        handler = make(secure, False)
    assert said[0].filename == __file__
    async with handler:  # and no other warning, which would be an error here
        assert (await handler.async_get("echo")).status_code == 200
        async with handler.with_headers({"X-One": "1"}) as other:
            assert (await other.async_get("echo")).status_code == 200


async def test_a_file_that_is_not_there_is_said(secure: HttpServer) -> None:
    handler = make(secure, "/nowhere/ca.pem")
    with pytest.raises(ValueError, match="verify_ssl: there is no file or folder '/nowhere/ca.pem'"):
        await handler.async_get("echo")
