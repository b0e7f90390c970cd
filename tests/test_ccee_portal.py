"""The portal of the demo: complete under faults, and the same faults for the same seed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from examples.ccee_portal import KINDS, RESOURCE_ID, CceePortal, fault_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCH = "/api/3/action/datastore_search"
ROWS = 35_040


def search(client: httpx.Client, **query: str | int) -> dict[str, Any]:
    """One page, asked for up to four times."""
    for _ in range(4):
        try:
            response = client.get(SEARCH, params={"resource_id": RESOURCE_ID, **query})
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            return dict(response.json(parse_float=Decimal)["result"])
    raise AssertionError(f"no answer for {query}")


def prices(portal: CceePortal, *, threads: int = 1, limit: int = 1000) -> list[Decimal]:
    with httpx.Client(base_url=portal.url) as client, ThreadPoolExecutor(threads) as pool:
        pages = pool.map(lambda offset: search(client, limit=limit, offset=offset), range(0, ROWS, limit))
        return [Decimal(record["PLD_HORA"]) for page in pages for record in page["records"]]


@pytest.fixture(scope="module")
def calm_portal() -> Iterator[CceePortal]:
    with CceePortal(fault_rate=0) as portal:
        yield portal


@pytest.fixture
def calm(calm_portal: CceePortal) -> Iterator[httpx.Client]:
    # Closed after each test, so that no thread of the portal outlives the test that woke it.
    with httpx.Client(base_url=calm_portal.url) as client:
        yield client


def test_all_rows_arrive_in_spite_of_the_faults() -> None:
    with CceePortal(seed=1) as portal:
        got = prices(portal)
        assert (len(got), sum(got)) == (ROWS, portal.sum)
        assert portal.count == ROWS
        assert portal.sum == Decimal("7105438.19")
        assert portal.faults.keys() == set(KINDS)
        assert portal.tries.total() == -(-ROWS // 1000) + portal.faults.total() - portal.faults["slow"]


def test_the_same_seed_brings_the_same_faults_in_any_order_of_requests() -> None:
    with CceePortal(seed=5) as portal:
        prices(portal)
        first = Counter(portal.faults)
        portal.reset()
        assert prices(portal, threads=8)
        assert portal.faults == first
    with CceePortal(seed=6) as portal:
        prices(portal)
        assert portal.faults != first


def test_a_page_is_healthy_at_the_fourth_try() -> None:
    assert all(fault_for(1, 1.0, offset, 2) for offset in range(100))
    assert not any(fault_for(1, 1.0, offset, 3) for offset in range(100))


def test_no_thread_is_left_and_clients_that_stay_are_cut_off() -> None:
    before = threading.active_count()
    with httpx.Client() as client:
        with CceePortal(fault_rate=0) as portal:
            client.get(f"{portal.url}/dataset/pld_horario").raise_for_status()
        assert threading.active_count() == before


def test_the_dataset_names_its_resource(calm: httpx.Client) -> None:
    answer = calm.get("/api/3/action/package_show", params={"id": "pld_horario"}).json()
    resource = answer["result"]["resources"][0]
    assert answer["success"] is True
    assert (resource["id"], resource["datastore_active"]) == (RESOURCE_ID, True)


def test_a_page_looks_as_ckan_gives_it(calm: httpx.Client) -> None:
    page = search(calm)
    assert (len(page["records"]), page["total"], page["limit"]) == (100, ROWS, 100)
    assert page["records"][0] == {
        "_id": 1,
        "MES_REFERENCIA": 202512,
        "SUBMERCADO": "NORDESTE",
        "PERIODO_COMERCIALIZACAO": 721,
        "DIA": "31",
        "HORA": 0,
        "PLD_HORA": Decimal("205.25"),
    }
    assert [field["id"] for field in page["fields"]] == list(page["records"][0])
    following = calm.get(page["_links"]["next"]).json()["result"]
    assert following["records"][0]["_id"] == 101


def test_the_limit_is_clamped_and_the_end_is_an_empty_page(calm: httpx.Client) -> None:
    assert len(search(calm, limit=32_000)["records"]) == 1000
    assert len(search(calm, limit=1000, offset=35_000)["records"]) == 40
    assert search(calm, offset=ROWS)["records"] == []


def test_sort(calm: httpx.Client) -> None:
    dearest = search(calm, sort="PLD_HORA desc, _id", limit=3)["records"]
    assert dearest[0]["PLD_HORA"] == Decimal("1421.87")
    assert [r["PLD_HORA"] for r in dearest] == sorted((r["PLD_HORA"] for r in dearest), reverse=True)
    assert search(calm, sort="SUBMERCADO,_id desc", limit=1)["records"][0]["SUBMERCADO"] == "NORDESTE"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (SEARCH, 409, "Missing value"),
        (f"{SEARCH}?resource_id=none", 404, "was not found"),
        (f"{SEARCH}?resource_id={RESOURCE_ID}&limit=many", 409, "Must be a natural number"),
        (f"{SEARCH}?resource_id={RESOURCE_ID}&offset=-1", 409, "Must be a natural number"),
        (f"{SEARCH}?resource_id={RESOURCE_ID}&sort=WIND", 409, "not in table"),
        (f"{SEARCH}?resource_id={RESOURCE_ID}&sort=DIA+up", 409, "DIA up"),
        (f"{SEARCH}?resource_id={RESOURCE_ID}&q=SUL", 400, "does not know 'q'"),
        ("/api/3/action/package_show", 409, "Missing value"),
        ("/api/3/action/package_show?id=wind", 404, "was not found"),
        ("/api/3/action/package_delete", 400, "Action name not known: "),
        ("/datastore_search", 404, "Not found"),
    ],
)
def test_what_is_wrong_or_unknown_is_refused(calm: httpx.Client, path: str, status: int, text: str) -> None:
    response = calm.get(path)
    assert (response.status_code, text in response.text) == (status, True)


def test_it_runs_by_itself() -> None:
    command = [sys.executable, "-u", "-m", "examples.ccee_portal", "--port", "0", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip().replace("limit=5", "limit=5&offset=35000")
            with httpx.Client(base_url=url.partition("/api")[0]) as client:
                assert len(search(client, limit=5)["records"]) == 5
        finally:
            process.terminate()  # not SIGINT, which what runs in the background may be told to ignore
    assert process.returncode == -signal.SIGTERM
