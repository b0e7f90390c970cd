"""What the handlers for the energy sector do beyond one half: turns in an event loop, both halves, copies, pickles."""

from __future__ import annotations

import pickle
import threading

import anyio
import anyio.lowlevel
import pytest

from echo_connhandler import BazeHttpHandler, CceeHttpHandler, OnsHttpConnProperties, OnsHttpHandler, connect
from echo_connhandler._concurrency import AsyncLimiter
from echo_connhandler.testing import SAGER_REPORT, BazeEmulator, CceeEmulator, OnsEmulator
from tests.concurrency import AsyncTasks

ALLOCATIONS = "BazeField.Services/api/allocationTypes"


@pytest.mark.parametrize("pool_size", [2, 8])
async def test_sessions_that_end_while_callers_wait_for_their_turn_fail_no_call(pool_size: int) -> None:
    with BazeEmulator(session_requests=30) as bazefield:
        props = bazefield.props(user="user", password="password")
        handler = BazeHttpHandler(props, skip_connect=True, pool_size=pool_size, max_retries=0)
        async with AsyncTasks() as tasks:
            for _ in range(80):
                tasks.start(handler.async_get_json, ALLOCATIONS)
        assert [result for result in tasks.results if not isinstance(result, list)] == []
        assert bazefield.logins >= 3
        assert len(bazefield.refused) <= bazefield.logins * pool_size  # who waited did not ask with a dead session
        await handler.async_close()


async def test_who_is_to_be_let_in_first_is_and_who_is_cancelled_gives_up_the_place() -> None:
    limiter = AsyncLimiter(1)
    await limiter.acquire()
    entered: list[str] = []

    async def enter(name: str, first: bool) -> None:
        await limiter.acquire(first=first)
        entered.append(name)
        limiter.release()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as given_up:
            given_up.cancel()
            await limiter.acquire()
        for name, first in (("other", False), ("another", False), ("first", True)):
            tasks.start_soon(enter, name, first)
            await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
        limiter.release()
    assert entered[0] == "first"
    assert sorted(entered[1:]) == ["another", "other"]
    with anyio.fail_after(5):
        await limiter.acquire()  # all places are free again


def test_threads_share_one_login_whatever_connection_they_have() -> None:
    with OnsEmulator() as ons, OnsHttpHandler(ons.props()) as handler:
        ons.end_sessions()
        together = threading.Barrier(16)
        rows: list[int] = []

        def work() -> None:
            together.wait(30)
            rows.append(handler.read_to_arrow(SAGER_REPORT, json={}).num_rows)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rows == [3] * 16
        assert ons.logins == 2


async def test_both_halves_and_copies_share_the_session() -> None:
    with CceeEmulator() as portal:
        with CceeHttpHandler(portal.props()) as handler:
            assert handler.is_connected
            assert handler.package_show("pld_horario")["num_resources"] == 2
            assert (await handler.async_package_show("pld_horario"))["num_resources"] == 2
            await handler.async_close()
            with handler.with_timeout(5) as patient:
                assert patient.warmup_path == "/dataset/pld_horario"
                assert len(list(patient.iter_records(portal.resource_id(), HORA=3))) == 8
        assert portal.logins == 1


def test_they_travel_and_connect_where_they_land() -> None:
    with OnsEmulator() as ons, BazeEmulator() as bazefield:
        for handler, endpoint in (
            (OnsHttpHandler(ons.props("SINAPSE"), skip_connect=True), "api/perfil"),
            (BazeHttpHandler(bazefield.props(), skip_connect=True), ALLOCATIONS),
        ):
            with pickle.loads(pickle.dumps(handler)) as landed:
                assert landed.get(endpoint).status_code == 200


def test_what_ons_needs_follows_from_the_target() -> None:
    sager = OnsHttpConnProperties(
        host="https://integra.ons.org.br/api/sager", user="my.user", password="planted-password", login_target="SAGER"
    )
    assert (sager.client_id, sager.origin, sager.profile_url) == ("SAGER", "https://apps18.ons.org.br", None)
    assert sager.token_url == "https://pops.ons.org.br/ons.pop.federation/oauth2/token"
    assert "planted" not in repr(sager)
    mine = sager.replace(token_url="https://mine.example.com/token")
    sinapse = mine.replace(login_target="SINAPSE", profile_url="https://integra.ons.org.br/profile")
    assert (sinapse.client_id, sinapse.origin) == ("SINAPSE", "https://pops.ons.org.br")
    assert sinapse.token_url == "https://mine.example.com/token"
    assert sinapse.federation_url is not None
    assert sinapse.federation_url.endswith("ReturnUrl=https%3A%2F%2Fpops.ons.org.br%2F")
    assert sager.replace(conn_timeout=5).origin == sager.origin
    from_env = OnsHttpConnProperties.from_env(
        environ={"ECHO_HOST": "https://x.example.com", "ECHO_LOGIN_TARGET": "SAGER"}
    )
    assert from_env.client_id == "SAGER"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"login_target": "OTHER"}, "login_target must be 'SAGER' or 'SINAPSE'"),
        ({"token_url": "pops.ons.org.br"}, "token_url must begin with"),
        ({"profile_url": "https://elsewhere.example.com/profile"}, "profile_url must have host's scheme"),
    ],
)
def test_properties_that_can_t_be_are_refused(more: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OnsHttpConnProperties(**{"host": "https://x.example.com", "login_target": "SINAPSE", **more})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="OnsHttpHandler takes OnsHttpConnProperties"):
        OnsHttpHandler(BazeEmulator.__new__(BazeEmulator))  # type: ignore[arg-type]


def test_a_url_still_gives_the_plain_handler() -> None:
    with connect("https://x.example.com", skip_connect=True) as handler:
        assert type(handler).__name__ == "HttpHandler"
