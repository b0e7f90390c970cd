"""What the pages on the client classes promise by name. What each does is in the tests of the clients."""

from __future__ import annotations

import inspect

import httpx
import pytest

from echo_connhandler import HTTPAuthenticatedClient, HTTPClient, Resilience
from tests.servers.http import HttpServer

ARGUMENTS = {"base_url", "cookies", "headers", "timeout", "verify_ssl", "follow_redirects", "httpx_args"}
METHODS = {
    "with_headers": ["headers"],
    "with_cookies": ["cookies"],
    "with_timeout": ["timeout"],
    "with_resilience": ["resilience"],
    "set_httpx_client": ["client"],
    "get_or_create_httpx_client": [],
    "set_async_httpx_client": ["async_client"],
    "get_or_create_async_httpx_client": [],
}


def test_arguments_are_those_of_the_page() -> None:
    parameters = inspect.signature(HTTPClient).parameters
    assert set(parameters) >= ARGUMENTS | {"raise_on_unexpected_status"}
    assert parameters["follow_redirects"].default is False
    assert parameters["verify_ssl"].default is True
    assert issubclass(HTTPAuthenticatedClient, HTTPClient)
    own = inspect.signature(HTTPAuthenticatedClient).parameters
    assert {"api_key", "api_secret"} <= set(own)
    assert own["auth_header_name"].default == "API-Key"


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_those_of_the_page(name: str) -> None:
    assert list(inspect.signature(getattr(HTTPClient, name)).parameters)[1:] == METHODS[name]
    assert inspect.getdoc(getattr(HTTPAuthenticatedClient, name))


def test_new_clients_leave_the_old_one_as_it_is(server: HttpServer) -> None:
    client = HTTPAuthenticatedClient(base_url=server.url, api_key="k", api_secret="s")
    for twin in (
        client.with_headers({"a": "b"}),
        client.with_cookies({"a": "b"}),
        client.with_timeout(5),
        client.with_resilience(Resilience()),
    ):
        assert type(twin) is HTTPAuthenticatedClient
        assert twin is not client
        assert (twin.api_key, twin.api_secret, twin.auth_header_name) == ("k", "s", "API-Key")


async def test_both_underlying_clients_are_made_once_and_can_be_set(server: HttpServer) -> None:
    client = HTTPClient(base_url=server.url)
    with client, httpx.Client(base_url=server.url) as own:
        made = client.get_or_create_httpx_client()
        assert made is client.get_or_create_httpx_client()
        assert made.get("/echo").status_code == 200
        other = HTTPClient(base_url=server.url).set_httpx_client(own)
        assert other.get_or_create_httpx_client() is own
    async with client, httpx.AsyncClient(base_url=server.url) as async_own:
        assert (await client.get_or_create_async_httpx_client().get("/echo")).status_code == 200
        assert other.set_async_httpx_client(async_own).get_or_create_async_httpx_client() is async_own


def test_the_attributes_can_be_read(server: HttpServer) -> None:
    client = HTTPAuthenticatedClient(server.url, api_key="k", raise_on_unexpected_status=True)
    assert (client.api_key, client.api_secret, client.raise_on_unexpected_status) == ("k", None, True)
