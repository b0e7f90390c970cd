"""The handler for ONS, against the emulator that is shipped with it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from echo_connhandler import OnsHttpConnProperties, OnsHttpHandler
from echo_connhandler._concurrency import async_sleep
from echo_connhandler.errors import AuthenticationError, UnexpectedContentError, UnexpectedStatusError
from echo_connhandler.testing import SAGER_REPORT, SINAPSE_REPORT, OnsEmulator, no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply, Request

TOKEN = "/ons.pop.federation/oauth2/token"
QUERY = {"dia": "2025-01-01"}


@pytest.fixture
def ons() -> Iterator[OnsEmulator]:
    with OnsEmulator() as running:
        yield running


def make(ons: OnsEmulator, target: Any = "SAGER", **more: Any) -> OnsHttpHandler:
    return OnsHttpHandler(ons.props(target, **more), skip_connect=True)


async def report(handler: OnsHttpHandler) -> int:
    target = handler.props.login_target
    table = await handler.async_read_to_arrow(SAGER_REPORT if target == "SAGER" else SINAPSE_REPORT, json=QUERY)
    return table.num_rows


@pytest.mark.parametrize("target", ["SAGER", "SINAPSE"])
@pytest.mark.parametrize("way", [{}, {"redirects": 0}, {"meta_refresh": False}, {"login_form": True}], ids=str)
async def test_it_logs_in_whatever_the_federation_asks_for(target: str, way: dict[str, Any]) -> None:
    with OnsEmulator(**way) as ons:
        async with make(ons, target) as handler:
            assert await report(handler) == 3
            assert await report(handler) == 3
        assert (ons.logins, ons.refused) == (1, [])


async def test_the_steps_are_those_of_a_browser(ons: OnsEmulator) -> None:
    ons.login_form = True
    async with make(ons, "SINAPSE") as handler:
        await report(handler)
    home = "/ons.pop.federation"
    assert [(asked.method, asked.path) for asked in ons.log] == [
        ("GET", f"{home}/"),
        ("GET", f"{home}/step/1"),
        ("GET", f"{home}/step/2"),
        ("GET", f"{home}/home"),
        ("POST", f"{home}/login"),
        ("GET", f"{home}/home"),
        ("POST", TOKEN),
        ("GET", "/api/perfil"),
        ("POST", f"/{SINAPSE_REPORT}"),
    ]
    token = ons.log[6]
    assert token.form == {"grant_type": "password", "client_id": "SINAPSE", "username": "user", "password": "password"}
    assert token.headers["origin"] == "https://pops.ons.org.br"


async def test_password_and_token_go_where_they_belong_only(ons: OnsEmulator) -> None:
    ons.login_form = True
    async with make(ons, "SINAPSE") as handler:
        await report(handler)
    for asked in ons.log:
        knows_password = "password=" in asked.body.decode()
        assert knows_password is (asked.path in ("/ons.pop.federation/login", TOKEN))
        assert ("authorization" in asked.headers) is (asked.origin == "api")


async def test_a_refused_password_is_tried_once(ons: OnsEmulator) -> None:
    for form in (False, True):
        ons.reset()
        ons.login_form = form
        handler = make(ons, password="planted-wrong")
        with no_waits() as waits:
            async with AsyncTasks() as tasks:
                for _ in range(8):
                    tasks.start(report, handler)
        assert {type(result) for result in tasks.results} == {AuthenticationError}
        assert waits == []
        for result in tasks.results:
            assert "planted" not in str(result)
            assert ("Credenciais inv" in str(result)) is form
            assert ("invalid_grant" in str(result)) is not form
        await handler.async_close()


async def test_properties_can_be_others() -> None:
    with OnsEmulator() as ons:
        for more in ({"origin": "https://elsewhere.example.com"}, {"client_id": "OTHER"}):
            handler = make(ons, **more)
            with pytest.raises(AuthenticationError, match="login refused"):
                await handler.async_connect()
            await handler.async_close()
        assert ons.refused[0].endswith("Origin 'https://elsewhere.example.com'")
        assert ons.refused[1].endswith("client_id 'OTHER'")
        assert ons.logins == 0


async def test_the_profile_may_be_the_first_of_a_list(ons: OnsEmulator) -> None:
    ons.profile_list = True
    async with make(ons, "SINAPSE") as handler:
        assert await report(handler) == 3
    assert ons.log[-1].headers["perfil-selecionado"] == "Apurador%20Agente%2FAGENTES%2F1%2FAGENTE"


class OtherProfile(OnsHttpHandler):
    def profile_value(self, response: httpx.Response) -> str:
        return str(response.json()["perfilSelecionado"]).upper()


async def test_how_the_profile_is_read_can_be_overridden(ons: OnsEmulator) -> None:
    async with OtherProfile(ons.props("SINAPSE"), skip_connect=True) as handler:
        with pytest.raises(UnexpectedStatusError, match="403"):
            await report(handler)
    assert ons.log[-1].headers["perfil-selecionado"] == "APURADOR%20AGENTE%2FAGENTES%2F1%2FAGENTE"


async def test_without_a_profile_s_address_sinapse_says_so(ons: OnsEmulator) -> None:
    handler = make(ons, "SINAPSE", profile_url=None)
    with pytest.raises(AuthenticationError, match="profile_url="):
        await handler.async_connect()
    await handler.async_close()


@pytest.mark.parametrize("tells", ["expires_in", "exp"])
async def test_the_token_is_renewed_before_it_expires(ons: OnsEmulator, tells: Any) -> None:
    ons.tells, ons.token_seconds = tells, 100
    async with make(ons) as handler:
        await report(handler)
        with no_waits():
            await async_sleep(80)
            await report(handler)
            assert ons.logins == 1
            await async_sleep(11)
            await report(handler)
            assert ons.logins == 2
    assert ons.refused == []


@pytest.mark.parametrize("expired_as", ["401", "login page"])
@pytest.mark.parametrize("login_form", [False, True])
async def test_a_token_that_nobody_knew_would_expire_is_renewed(
    ons: OnsEmulator, expired_as: Any, login_form: bool
) -> None:
    ons.tells, ons.token_requests, ons.expired_as, ons.login_form = "nothing", 2, expired_as, login_form
    async with make(ons) as handler:
        assert [await report(handler) for _ in range(6)] == [3] * 6
    assert ons.logins == 3
    assert len(ons.refused) == 2


@pytest.mark.parametrize("expired_as", ["401", "login page"])
async def test_all_whose_token_has_expired_share_one_login(ons: OnsEmulator, expired_as: Any) -> None:
    ons.expired_as = expired_as
    async with make(ons) as handler:
        await report(handler)
        ons.end_sessions()
        async with AsyncTasks() as tasks:
            for _ in range(200):
                tasks.start(report, handler)
    assert tasks.results == [3] * 200
    assert ons.logins == 2


@pytest.mark.parametrize(("expired_as", "said"), [("401", "401 Unauthorized"), ("login page", "after a fresh login")])
async def test_who_is_sent_back_to_the_login_for_ever_is_told(ons: OnsEmulator, expired_as: Any, said: str) -> None:
    ons.expired_as, ons.token_requests = expired_as, 0
    async with make(ons) as handler:
        with pytest.raises(UnexpectedStatusError, match=said):
            await report(handler)
    assert ons.logins == 2


async def test_a_session_that_ends_with_a_redirect_to_the_login_is_renewed(server: HttpServer) -> None:
    server.route("GET", "/login")(lambda _: Reply(200, {"Content-Type": "text/html"}, b"<title>Login</title>"))
    server.route("POST", "/token")(lambda _: Reply.json({"access_token": f"planted-{server.hits('/token')}"}))

    def data(request: Request) -> Reply:
        fresh = request.header("authorization") == "Bearer planted-2"
        return Reply.json([1]) if fresh else Reply(302, {"Location": "/login"})

    server.route("GET", "/data")(data)
    props = OnsHttpConnProperties(
        host=server.url,
        user="me",
        password="planted-password",
        login_target="SAGER",
        federation_url=f"{server.url}/login",
        token_url=f"{server.url}/token",
    )
    async with OnsHttpHandler(props, skip_connect=True) as handler:
        assert await handler.async_get_json("data") == [1]
    assert server.hits("/token") == 2


async def test_a_form_of_another_host_gets_no_password(server: HttpServer, other_server: HttpServer) -> None:
    form = f'<form action="{other_server.url}/steal"><input type="password" name="password"></form>'
    server.route("GET", "/login")(lambda _: Reply(200, {"Content-Type": "text/html"}, form))
    server.route("GET", "/again")(
        lambda _: Reply(200, {"Content-Type": "text/html"}, b"<meta http-equiv='refresh' content='0; URL=/again'>")
    )
    known: dict[str, Any] = {"host": server.url, "login_target": "SAGER", "token_url": f"{server.url}/token"}
    for path, said in (("login", "not the federation's host"), ("again", "more than 5 pages")):
        props = OnsHttpConnProperties(user="me", password="x", federation_url=f"{server.url}/{path}", **known)
        handler = OnsHttpHandler(props, skip_connect=True)
        with pytest.raises(AuthenticationError, match=said):
            await handler.async_connect()
        await handler.async_close()
    assert other_server.requests == []
    handler = OnsHttpHandler(OnsHttpConnProperties(**known), skip_connect=True)
    with pytest.raises(AuthenticationError, match="user and password"):
        await handler.async_connect()
    await handler.async_close()


async def test_an_xlsx_report_becomes_a_frame(ons: OnsEmulator) -> None:
    async with make(ons) as handler:
        table = await handler.async_read_to_arrow(SAGER_REPORT, json=QUERY)
        assert (await handler.async_read_to_pandas(SAGER_REPORT, json=QUERY))["Energia (MWh)"].sum() == 25.75
        assert (await handler.async_read_to_polars(SAGER_REPORT, json=QUERY)).shape == (3, 4)
        below = await handler.async_read_to_arrow(SAGER_REPORT, json=QUERY, sheet="Relatorio", skip_rows=1)
        with pytest.raises(UnexpectedContentError, match="no sheet 'Nada'"):
            await handler.async_read_to_arrow(SAGER_REPORT, json=QUERY, sheet="Nada")
    assert [str(kind) for kind in table.schema.types] == ["string", "timestamp[us]", "double", "bool"]
    assert table.to_pylist()[0] == {
        "Usina": "Usina A",
        "Data": dt.datetime(2025, 1, 1, 0, 30),
        "Energia (MWh)": 12.5,
        "Apurado": True,
    }
    assert table["Energia (MWh)"].null_count == 1
    assert below.column_names[0] == "Usina A"


@pytest.mark.parametrize("which", [SINAPSE_REPORT, f"{SINAPSE_REPORT}-analitico"])
async def test_a_csv_report_becomes_a_frame(ons: OnsEmulator, which: str) -> None:
    async with make(ons, "SINAPSE") as handler:
        table = await handler.async_read_to_arrow(which, json=QUERY)
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "decimal128(38, 2)", "string"]
    assert table["Energia (MWh)"].to_pylist() == [Decimal("12.50"), Decimal("13.25"), None]
    assert table["Apurado"].to_pylist() == ["Sim", "Sim", "Não"]


@pytest.mark.parametrize("target", ["SAGER", "SINAPSE"])
async def test_an_empty_answer_is_an_empty_frame(ons: OnsEmulator, target: str) -> None:
    ons.no_data = True
    which = SAGER_REPORT if target == "SAGER" else SINAPSE_REPORT
    async with make(ons, target) as handler:
        assert (await handler.async_read_to_arrow(which, json=QUERY)).shape == (0, 0)
        assert (await handler.async_read_to_pandas(which, json=QUERY)).empty
        assert (await handler.async_read_to_polars(which, json=QUERY)).shape == (0, 0)


async def test_a_report_that_is_broken_is_told(server: HttpServer) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1}).encode()).decode()
    server.route("GET", "/login")(lambda _: Reply(200, body="in"))
    server.route("POST", "/token")(lambda _: Reply.json({"access_token": f"a.{claims}.c", "expires_in": "600"}))
    server.route("POST", "/broken")(lambda _: Reply(200, {}, b"PK\x03\x04 and no more"))
    server.route("POST", "/ragged")(lambda _: Reply(200, {}, b"a;b\n1;2;3\n"))
    props = OnsHttpConnProperties(
        host=server.url,
        user="me",
        password="planted-password",
        login_target="SAGER",
        federation_url=f"{server.url}/login",
        token_url=f"{server.url}/token",
    )
    async with OnsHttpHandler(props, skip_connect=True) as handler:
        with pytest.raises(UnexpectedContentError, match="not a whole XLSX file"):
            await handler.async_read_to_arrow("broken", json={})
        with pytest.raises(UnexpectedContentError, match="not a CSV file with 2 columns"):
            await handler.async_read_to_arrow("ragged", json={})
    assert server.hits("/token") == 1


async def test_a_login_survives_what_passes(ons: OnsEmulator) -> None:
    ons.fail_next("503", "reset", "429")
    with no_waits() as waits:
        async with make(ons) as handler:
            assert await report(handler) == 3
    assert len(waits) == 3
