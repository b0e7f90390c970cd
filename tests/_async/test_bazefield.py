"""The handler for Bazefield, against the emulator that is shipped with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from echo_connhandler import BazeHttpHandler, HttpConnProperties
from echo_connhandler.errors import AuthenticationError, UnexpectedContentError, UnexpectedStatusError
from echo_connhandler.testing import BazeEmulator, no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply

API = "BazeField.Services/api"
SERIES = f"{API}/objects/timeseries/aggregated"
HOUR = {"From": "2025-01-01T00:00:00Z", "To": "2025-01-01T01:00:00Z"}
ASKED = {"ObjectIds": "T1", "Points": "ActivePower", **HOUR}


@pytest.fixture
def bazefield() -> Iterator[BazeEmulator]:
    with BazeEmulator() as running:
        yield running


def by_key(bazefield: BazeEmulator) -> BazeHttpHandler:
    return BazeHttpHandler(bazefield.props(), skip_connect=True)


def by_password(bazefield: BazeEmulator, password: str = "password") -> BazeHttpHandler:
    return BazeHttpHandler(bazefield.props(user="user", password=password), skip_connect=True)


async def test_an_api_key_is_a_bearer_token_and_needs_no_login(bazefield: BazeEmulator) -> None:
    async with by_key(bazefield) as handler:
        assert (await handler.async_get(f"{API}/allocationTypes")).json()[0] == {"id": 1, "name": "Wind"}
    (asked,) = bazefield.log
    assert asked.headers["authorization"] == "Bearer an-api-key"
    assert asked.headers["accept"] == "application/json"


async def test_user_and_password_log_in_once_and_the_cookie_serves_all(bazefield: BazeEmulator) -> None:
    async with by_password(bazefield) as handler:
        for path in ("objects/getschemas", "objects/structure?type=102", "turbines/site"):
            assert await handler.async_get_json(f"{API}/{path}")
    login, *calls = bazefield.log
    assert (login.method, login.path) == ("POST", "/auth/credentials")
    assert login.json == {"userName": "user", "password": "password", "rememberMe": True}
    assert all(asked.cookies.keys() == {"ss-id"} for asked in calls)
    assert bazefield.logins == 1


class OtherSite(BazeHttpHandler):
    login_path = "/other/login"
    ended_codes = frozenset({"Gone"})


async def test_where_to_log_in_and_what_ends_a_session_can_be_others(server: HttpServer) -> None:
    server.route("POST", "/other/login")(lambda _: Reply.json({}))
    gone = {"responseStatus": {"errorCode": "Gone", "message": "no session"}}
    server.script("/data", [Reply.json(gone), Reply.json([1])])
    site = HttpConnProperties(host=server.url, user="me", password="planted-password")
    async with OtherSite(site, skip_connect=True) as handler:
        assert await handler.async_get_json("data") == [1]
    assert server.hits("/other/login") == 2


@pytest.mark.parametrize("mode", [{}, {"empty_401": False}, {"errors_with_200": True}], ids=str)
async def test_a_refused_password_is_an_authentication_error_and_tried_once(
    bazefield: BazeEmulator, mode: dict[str, Any]
) -> None:
    for name, value in mode.items():
        setattr(bazefield, name, value)
    handler = by_password(bazefield, "planted-wrong")
    with no_waits() as waits, pytest.raises(AuthenticationError, match="login refused: POST") as caught:
        await handler.async_get(f"{API}/allocationTypes")
    assert "planted" not in str(caught.value)
    assert (waits, bazefield.logins, bazefield.requests) == ([], 1, 1)
    await handler.async_close()


@pytest.mark.parametrize("mode", [{}, {"empty_401": False}, {"errors_with_200": True}], ids=str)
async def test_a_session_that_has_ended_is_renewed(bazefield: BazeEmulator, mode: dict[str, Any]) -> None:
    for name, value in mode.items():
        setattr(bazefield, name, value)
    bazefield.session_requests = 2
    async with by_password(bazefield) as handler:
        for _ in range(6):
            assert await handler.async_get_json(f"{API}/allocationTypes")
    assert bazefield.logins == 3


@pytest.mark.parametrize("callers", [16, 200])
async def test_all_whose_session_has_ended_share_one_login(bazefield: BazeEmulator, callers: int) -> None:
    async with by_password(bazefield) as handler:
        bazefield.end_sessions()
        async with AsyncTasks() as tasks:
            for _ in range(callers):
                tasks.start(handler.async_get_json, f"{API}/allocationTypes")
    assert len(tasks.results) == callers
    assert all(isinstance(result, list) for result in tasks.results)
    assert bazefield.logins == 2


async def test_a_wrong_key_is_not_tried_again(bazefield: BazeEmulator) -> None:
    handler = BazeHttpHandler(bazefield.props(api_key="planted-wrong"), skip_connect=True)
    with no_waits() as waits, pytest.raises(UnexpectedStatusError, match="401 Unauthorized") as caught:
        await handler.async_get(f"{API}/allocationTypes")
    assert caught.value.response.content == b""
    assert (waits, bazefield.requests) == ([], 1)
    await handler.async_close()


@pytest.mark.parametrize("with_200", [False, True])
async def test_an_error_is_told_whatever_its_status(bazefield: BazeEmulator, with_200: bool) -> None:
    bazefield.errors_with_200 = with_200
    async with by_key(bazefield) as handler:
        with pytest.raises(UnexpectedStatusError, match="ObjectNotFoundException: no object T9") as caught:
            await handler.async_read_to_arrow(SERIES, params={**ASKED, "ObjectIds": "T9"})
        assert caught.value.response.status_code == (200 if with_200 else 404)
        answer = await handler.async_get(f"{API}/nothing", response_ok=None)
    assert answer.json()["responseStatus"]["errorCode"] == "NotFound"


async def test_field_errors_and_other_spellings_are_told(server: HttpServer) -> None:
    errors = [{"ErrorCode": "NotEmpty", "FieldName": "From", "Message": "must not be empty"}]
    status = {"ResponseStatus": {"ErrorCode": "ValidationException", "Message": "invalid", "Errors": errors}}
    server.route("GET", "/data")(lambda _: Reply.json(status))
    server.route("GET", "/fine")(lambda _: Reply.json({"responseStatus": {}}))
    async with BazeHttpHandler(HttpConnProperties(host=server.url), skip_connect=True) as handler:
        with pytest.raises(UnexpectedStatusError, match="ValidationException: invalid; From: must not be empty"):
            await handler.async_get("data")
        assert (await handler.async_get("fine")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("mode", [{}, {"string_values": True}, {"iso_times": True}], ids=str)
async def test_time_series_become_a_frame(bazefield: BazeEmulator, method: str, mode: dict[str, Any]) -> None:
    for name, value in mode.items():
        setattr(bazefield, name, value)
    asked: Any = {"json": {**ASKED, "ObjectIds": ["T1", "T2"], "Points": ["ActivePower"]}}
    if method == "GET":
        asked = {"params": {**ASKED, "ObjectIds": "T1,T2"}}
    async with by_key(bazefield) as handler:
        table = await handler.async_read_to_arrow(SERIES, method=method, **asked)
    assert [f"{field.name} {field.type}" for field in table.schema] == [
        "object string",
        "point string",
        "time timestamp[ms, tz=UTC]",
        "time_local timestamp[ms]",
        "value double",
        "text string",
        "quality int64",
    ]
    assert table.num_rows == 12
    level = sum(b"T1/ActivePower") % 50
    assert table.slice(2, 2).to_pylist() == [
        {
            "object": "T1",
            "point": "ActivePower",
            "time": dt.datetime(2025, 1, 1, 0, 20, tzinfo=dt.UTC),
            "time_local": dt.datetime(2024, 12, 31, 21, 20),
            "value": level + 0.25,
            "text": None,
            "quality": 192,
        },
        {
            "object": "T1",
            "point": "ActivePower",
            "time": dt.datetime(2025, 1, 1, 0, 30, tzinfo=dt.UTC),
            "time_local": dt.datetime(2024, 12, 31, 21, 30),
            "value": None,
            "text": None,
            "quality": 0,
        },
    ]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("measurements/timeseries", {"Tags": "T1.Power", **HOUR}),
        ("measurements/timeseries/aggregated", {"Tags": "T1.Power", **HOUR, "Interval": "10m"}),
        ("measurements/T1.Power/from/2025-01-01T00:00:00Z/to/2025-01-01T01:00:00Z", {}),
    ],
)
async def test_measurements_become_a_frame(bazefield: BazeEmulator, path: str, asked: dict[str, str]) -> None:
    async with by_key(bazefield) as handler:
        frame = await handler.async_read_to_pandas(f"{API}/{path}", params=asked)
        polars = await handler.async_read_to_polars(f"{API}/{path}", params=asked)
    assert list(frame["point"]) == ["T1.Power"] * 6
    assert frame["value"].isna().sum() == 1
    assert polars.height == 6


async def test_a_preview_in_html_is_told(bazefield: BazeEmulator) -> None:
    async with by_key(bazefield) as handler:
        with pytest.raises(UnexpectedContentError, match=r"no time series in JSON .* text/html.*preview"):
            await handler.async_read_to_arrow(SERIES, params=ASKED, headers={"accept": "text/html"})


async def test_basic_authentication_works_too(bazefield: BazeEmulator) -> None:
    with httpx.Client(auth=("an-api-key", ""), headers={"accept": "application/json"}) as client:
        assert client.get(f"{bazefield.url}/{API}/allocationTypes").status_code == 200
