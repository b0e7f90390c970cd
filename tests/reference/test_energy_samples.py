"""The samples of the HTTP guide and the overview that name Bazefield, CCEE and ONS, against their emulators."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from echo_connhandler import (
    BazeHttpHandler,
    CceeHttpHandler,
    HttpConnProperties,
    HttpHandler,
    OnsHttpConnProperties,
    OnsHttpHandler,
)
from echo_connhandler.testing import SAGER_REPORT, BazeEmulator, CceeEmulator, Fault, OnsEmulator, no_waits

ENDPOINT = "BazeField.Services/api/allocationTypes"


@pytest.fixture
def bazefield() -> Iterator[BazeEmulator]:
    with BazeEmulator(api_key="my-api-key", user="my.user", password="my-password") as running:
        yield running


@pytest.fixture
def props(bazefield: BazeEmulator) -> HttpConnProperties:
    return HttpConnProperties(host=bazefield.url, api_key="my-api-key")


@pytest.mark.parametrize("handler", [BazeHttpHandler, CceeHttpHandler, OnsHttpHandler])
def test_choosing_the_right_handler(handler: type[HttpHandler]) -> None:
    assert issubclass(handler, HttpHandler)
    properties = OnsHttpConnProperties if handler is OnsHttpHandler else HttpConnProperties
    assert handler.properties_class is properties


def test_basic_requests(props: HttpConnProperties) -> None:
    handler = BazeHttpHandler(props)
    response = handler.get("BazeField.Services/api/allocationTypes")
    data = response.json()
    assert data[0] == {"id": 1, "name": "Wind"}
    handler.close()


def test_context_manager(props: HttpConnProperties) -> None:
    with BazeHttpHandler(props) as handler:
        data = handler.get(ENDPOINT).json()
    assert data
    assert not handler.is_connected


def test_basic_async_requests(props: HttpConnProperties) -> None:
    async def main() -> Any:
        async with BazeHttpHandler(props, skip_connect=True) as handler:
            response = await handler.async_get("BazeField.Services/api/allocationTypes")
            return response.json()

    assert asyncio.run(main())[0]["name"] == "Wind"


async def test_async_context_manager(props: HttpConnProperties) -> None:
    async with BazeHttpHandler(props, skip_connect=True) as handler:
        data = (await handler.async_get(ENDPOINT)).json()
    assert data
    assert not handler.async_is_connected


async def test_explicit_async_lifecycle(props: HttpConnProperties) -> None:
    handler = BazeHttpHandler(props, skip_connect=True)
    await handler.async_reconnect()
    data = (await handler.async_get(ENDPOINT)).json()
    await handler.async_close()
    assert data


async def test_the_live_clients(props: HttpConnProperties) -> None:
    with BazeHttpHandler(props) as handler:
        handler.get(ENDPOINT)
        assert isinstance(handler.connection, httpx.Client)
        await handler.async_get(ENDPOINT)
        assert isinstance(handler.async_connection, httpx.AsyncClient)
        await handler.async_close()


async def test_mixed_use_of_one_instance(props: HttpConnProperties) -> None:
    handler = BazeHttpHandler(props)
    sync_data = handler.get(ENDPOINT).json()
    async_data = (await handler.async_get(ENDPOINT)).json()
    assert sync_data == async_data
    handler.close()
    await handler.async_close()


async def test_an_api_key_is_set_on_every_request(bazefield: BazeEmulator) -> None:
    props = HttpConnProperties(host=bazefield.url, api_key="my-api-key")
    with BazeHttpHandler(props) as handler:
        handler.get(ENDPOINT)
        await handler.async_get(ENDPOINT)
        await handler.async_close()
    assert {asked.headers["authorization"] for asked in bazefield.log} == {"Bearer my-api-key"}


async def test_user_and_password_log_in_when_connecting(bazefield: BazeEmulator) -> None:
    props = HttpConnProperties(host=bazefield.url, user="my.user", password="my-password")
    handler = BazeHttpHandler(props)
    assert bazefield.logins == 1
    assert handler.get(ENDPOINT).status_code == 200
    assert (await handler.async_get(ENDPOINT)).status_code == 200
    assert bazefield.logins == 1
    handler.close()
    await handler.async_close()


@pytest.mark.parametrize("login_target", ["SAGER", "SINAPSE"])
async def test_ons_logs_in_by_itself(login_target: Any) -> None:
    with OnsEmulator(user="my.user", password="my-password") as ons:
        props = ons.props(login_target)
        assert isinstance(props, OnsHttpConnProperties)
        assert (props.user, props.login_target) == ("my.user", login_target)
        with OnsHttpHandler(props) as handler:
            assert handler.is_connected
            assert ons.logins == 1
            assert await handler.async_ping()
            await handler.async_close()
        assert ons.logins == 1


async def test_ons_gives_a_report() -> None:
    with OnsEmulator() as ons, OnsHttpHandler(ons.props()) as handler:
        assert handler.read_to_arrow(SAGER_REPORT, json={}).num_rows == 3
        assert (await handler.async_read_to_arrow(SAGER_REPORT, json={})).num_rows == 3
        await handler.async_close()


async def test_ccee_warms_up_by_itself() -> None:
    with CceeEmulator() as portal, CceeHttpHandler(portal.props()) as handler:
        assert handler.package_show("pld_horario")["num_resources"] == 2
        assert (await handler.async_package_show("pld_horario"))["num_resources"] == 2
        await handler.async_close()
        assert portal.logins == 1


def test_fail_fast_and_keep_retrying(bazefield: BazeEmulator, props: HttpConnProperties) -> None:
    with BazeHttpHandler(props, max_retries=0) as quick, no_waits() as waits:
        bazefield.fail_next("503")
        with pytest.raises(RuntimeError):
            quick.get(ENDPOINT)
        assert waits == []
    with BazeHttpHandler(props, max_retries=12, retry_wait_time=60) as patient, no_waits() as waits:
        faults: list[Fault] = ["503"] * 12
        bazefield.fail_next(*faults)
        assert patient.get(ENDPOINT).status_code == 200
        assert len(waits) == 12
