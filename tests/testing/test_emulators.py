"""The emulators themselves, asked by a plain client: complete under faults, repeatable, and strict."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from echo_connhandler.testing import FAULTS, SAGER_REPORT, Asked, BazeEmulator, CceeEmulator, Emulator, OnsEmulator
from echo_connhandler.testing.server import Answer, fault_for

API = "/api/3/action/"
SEARCH = f"{API}datastore_search"
TOKEN = "/ons.pop.federation/oauth2/token"
ROWS = 192
BROWSER = {"user-agent": "Mozilla/5.0 (test)", "accept-language": "pt-BR", "accept": "text/html"}


@pytest.fixture
def portal() -> Iterator[CceeEmulator]:
    with CceeEmulator(waf=False) as running:
        yield running


@pytest.fixture
def client(portal: CceeEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=portal.url) as made:
        yield made


def search(client: httpx.Client, portal: CceeEmulator, **query: Any) -> dict[str, Any]:
    """One page, asked for up to four times."""
    for _ in range(4):
        try:
            response = client.get(SEARCH, params={"resource_id": portal.resource_id(), **query})
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            return dict(response.json()["result"])
    raise AssertionError(f"no answer for {query}")


def everything(portal: CceeEmulator, threads: int = 1) -> list[int]:
    with httpx.Client(base_url=portal.url) as client, ThreadPoolExecutor(threads) as pool:
        pages = pool.map(lambda offset: search(client, portal, limit=8, offset=offset), range(0, ROWS, 8))
        return [record["_id"] for page in pages for record in page["records"]]


def test_the_same_seed_brings_the_same_faults_in_any_order_and_loses_nothing() -> None:
    options: Any = {"waf": False, "fault_rate": 0.5, "slow_seconds": 0.001, "retry_after": 0}
    with CceeEmulator(seed=5, **options) as portal:
        assert everything(portal) == list(range(1, ROWS + 1))
        first = Counter(portal.faults)
        assert first.keys() == set(FAULTS)
        portal.reset()
        assert everything(portal, threads=8) == list(range(1, ROWS + 1))
        assert portal.faults == first
        assert portal.hits(SEARCH) == ROWS // 8 + first.total() - first["slow"]
    with CceeEmulator(seed=6, **options) as portal:
        everything(portal)
        assert portal.faults != first


def test_a_request_is_healthy_at_the_fourth_try() -> None:
    assert all(fault_for(1, 1.0, str(key), 2) for key in range(100))
    assert not any(fault_for(1, 1.0, str(key), 3) for key in range(100))


def test_no_thread_is_left_and_clients_that_stay_are_cut_off() -> None:
    before = threading.active_count()
    with httpx.Client() as client:
        with OnsEmulator() as ons:
            for url in ons.urls.values():
                client.get(url)
        assert threading.active_count() == before


def test_faults_can_be_ordered(portal: CceeEmulator, client: httpx.Client) -> None:
    portal.fail_next("503", "429", "429 Retry-After")
    statuses = [client.get(f"{API}package_search") for _ in range(4)]
    assert [answer.status_code for answer in statuses] == [503, 429, 429, 200]
    assert [answer.headers.get("retry-after") for answer in statuses] == [None, None, "1", None]
    for fault, error in (("reset", httpx.NetworkError), ("cut", httpx.RemoteProtocolError)):
        portal.fail_next(fault)
        with pytest.raises(error):
            client.get(f"{API}package_search")
    with pytest.raises(ValueError, match="unknown faults"):
        portal.fail_next("flood")
    assert portal.faults.total() == 5


def test_a_mistake_of_an_emulator_is_raised_when_it_ends() -> None:
    class Broken(Emulator):
        def answer(self, asked: Asked) -> Answer:
            raise KeyError(asked.path)

    with pytest.raises(KeyError, match="/x"), Broken() as broken:
        assert httpx.get(f"{broken.url}/x").status_code == 500


# CCEE


def test_a_page_looks_as_ckan_gives_it(portal: CceeEmulator, client: httpx.Client) -> None:
    page = search(client, portal)
    assert (len(page["records"]), page["total"], page["limit"]) == (100, ROWS, 100)
    assert [field["id"] for field in page["fields"]] == list(page["records"][0])
    assert {field["type"] for field in page["fields"]} == {"int", "numeric", "text"}
    following = client.get(page["_links"]["next"]).json()["result"]
    assert following["records"][0]["_id"] == 101
    assert search(client, portal, offset=ROWS)["records"] == []
    dearest = search(client, portal, sort="PLD_HORA desc, _id", limit=3)["records"]
    assert [r["PLD_HORA"] for r in dearest] == sorted((r["PLD_HORA"] for r in dearest), reverse=True)
    portal.max_limit = 10
    assert len(search(client, portal, limit=32_000)["records"]) == 10


def test_other_ways_to_the_same_resource(portal: CceeEmulator, client: httpx.Client) -> None:
    found = client.get(f"{API}package_search", params={"q": "pld_horario"}).json()["result"]
    shown = client.get(f"{API}resource_show", params={"id": portal.resource_id()}).json()["result"]
    assert found["results"][0]["resources"][1]["id"] == shown["id"]
    dump = client.get(f"/datastore/dump/{portal.resource_id()}", params={"bom": "True"})
    assert dump.content.startswith(b"\xef\xbb\xbf_id,MES_REFERENCIA,")
    assert client.get(shown["url"]).content.startswith(b"\xef\xbb\xbfMES_REFERENCIA;")
    portal.expire_links()
    assert client.get(shown["url"]).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (SEARCH, 409, "Missing value"),
        (f"{SEARCH}?resource_id=none", 404, "was not found"),
        (f"{SEARCH}?resource_id=ID&limit=many", 409, "Must be a natural number"),
        (f"{SEARCH}?resource_id=ID&offset=-1", 409, "Must be a natural number"),
        (f"{SEARCH}?resource_id=ID&sort=WIND", 409, "not in table"),
        (f"{SEARCH}?resource_id=ID&sort=DIA+up", 409, "DIA up"),
        (f"{SEARCH}?resource_id=ID&filters=[]", 409, "Cannot parse JSON"),
        (f'{SEARCH}?resource_id=ID&filters={{"WIND":1}}', 409, "not in table"),
        (f"{SEARCH}?resource_id=ID&q=SUL", 409, "does not know it"),
        (f"{API}package_show", 409, "Missing value"),
        (f"{API}package_show?id=wind", 404, "was not found"),
        (f"{API}package_search?fq=x", 409, "does not know it"),
        (f"{API}package_delete", 400, "Action name not known: "),
        ("/datastore/dump/ID?format=xml", 400, "400 Bad Request"),
        ("/datastore_search", 404, "404 Not Found"),
    ],
)
def test_what_the_portal_does_not_know_is_refused_and_recorded(
    portal: CceeEmulator, client: httpx.Client, path: str, status: int, text: str
) -> None:
    response = client.get(path.replace("ID", portal.resource_id()))
    assert (response.status_code, text in response.text) == (status, True)
    assert len(portal.refused) == 1
    assert client.post(f"{API}package_show").status_code == 405


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "does not look like a browser"),
        ({**BROWSER, "referer": "URL/dataset/pld_horario"}, "no cookie"),
        ({**BROWSER, "cookie": "portal_session=x"}, "no Referer"),
    ],
)
def test_the_firewall_lets_in_who_came_by_the_page(headers: dict[str, str], reason: str) -> None:
    with CceeEmulator() as portal, httpx.Client(base_url=portal.url) as client:
        sent = {name: value.replace("URL", portal.url) for name, value in headers.items()}
        answer = client.get(f"{API}package_search", headers=sent)
        assert (answer.status_code, "Acesso bloqueado" in answer.text) == (403, True)
        assert reason in portal.refused[0]
        assert client.get("/dataset/pld_horario", headers={**BROWSER, "accept": "*/*"}).status_code == 403
        assert client.get("/dataset/pld_horario", headers=BROWSER).status_code == 200
        known = {**BROWSER, "referer": f"{portal.url}/dataset/pld_horario"}
        assert client.get(f"{API}package_search", headers=known).json()["success"] is True


# ONS


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"origin": None}, 403, "Origin None"),
        ({"password": "wrong"}, 400, "invalid_grant"),
        ({"client_id": "OTHER"}, 400, "invalid_client"),
        ({"grant_type": "code"}, 400, "invalid_request"),
        ({"more": "x"}, 400, "invalid_request"),
        ({"visited": None}, 400, "no cookie"),
    ],
)
def test_the_token_endpoint_is_strict(change: dict[str, str | None], status: int, reason: str) -> None:
    form = {"grant_type": "password", "client_id": "SAGER", "username": "user", "password": "password"}
    with OnsEmulator() as ons, httpx.Client(follow_redirects=True) as client:
        if "visited" not in change:
            client.get(str(ons.props().federation_url))
        form |= {k: v for k, v in change.items() if k not in ("origin", "visited") and v is not None}
        headers = {} if "origin" in change else {"origin": "https://apps18.ons.org.br"}
        answer = client.post(ons.urls["federation"] + TOKEN, data=form, headers=headers)
        assert answer.status_code == status
        assert reason in ons.refused[0]


def test_ons_refuses_what_it_does_not_know() -> None:
    with OnsEmulator(tells="nothing") as ons, httpx.Client() as client:
        federation = ons.urls["federation"] + "/ons.pop.federation"
        for method, path, status in (
            ("GET", "/", 400),
            ("GET", "/home", 400),
            ("PUT", "/", 405),
            ("POST", "/login", 400),
        ):
            assert client.request(method, federation + path).status_code == status
        client.get(f"{federation}/?ReturnUrl=x")
        assert client.get(f"{federation}/other").status_code == 404
        assert client.post(f"{federation}/login", data={"username": "user"}).status_code == 400
        form = {"grant_type": "password", "client_id": "SAGER", "username": "user", "password": "password"}
        headers = {"origin": "https://apps18.ons.org.br"}
        token = client.post(ons.urls["federation"] + TOKEN, data=form, headers=headers).json()
        assert token.keys() == {"access_token", "token_type"}
        bearer = {"authorization": f"Bearer {token['access_token']}"}
        assert client.post(f"{ons.url}/other", json={}, headers=bearer).status_code == 404
        assert client.post(f"{ons.url}/{SAGER_REPORT}", headers=bearer).status_code == 400
        assert client.post(f"{ons.url}/{SAGER_REPORT}", json={}).status_code == 401
        assert len(ons.refused) == 9


# Bazefield


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/other", 404, "NotFound"),
        ("/BazeField.Services/api/other", 404, "NotFound"),
        ("/BazeField.Services/api/objects/timeseries/aggregated", 400, "ArgumentNullException"),
        ("/BazeField.Services/api/objects/timeseries/aggregated?Wrong=1", 400, "ArgumentException"),
        ("/BazeField.Services/api/measurements/x/from/never/to/2025-01-01", 400, "FormatException"),
        ("/BazeField.Services/api/measurements/x/from/1990-01-01/to/2025-01-01", 400, "ArgumentException"),
        ("/auth/credentials", 405, "MethodNotAllowed"),
    ],
)
def test_bazefield_refuses_what_it_does_not_know(path: str, status: int, code: str) -> None:
    headers = {"authorization": "Bearer an-api-key", "accept": "application/json"}
    with BazeEmulator() as bazefield, httpx.Client(headers=headers) as client:
        answer = client.get(bazefield.url + path)
        assert (answer.status_code, answer.json()["responseStatus"]["errorCode"]) == (status, code)
        assert code in bazefield.refused[0]
        series = f"{bazefield.url}/BazeField.Services/api/objects/timeseries/aggregated"
        asked = {"ObjectIds": "T1", "From": "2025-01-01", "To": "2025-01-02"}
        assert client.get(series, params={**asked, "Points": "No"}).status_code == 404
        assert client.get(series, params={**asked, "Interval": "1s"}).status_code == 400
        assert client.delete(series).status_code == 405
        assert client.post(f"{bazefield.url}/auth/credentials", json={"other": 1}).status_code == 400
        assert client.get(series, params=asked, headers={"accept": "*/*"}).text.startswith("<!DOCTYPE html>")
