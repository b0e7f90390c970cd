"""The handler for CCEE's open data, against the emulator that is shipped with it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from echo_connhandler import CceeHttpHandler, HttpConnProperties
from echo_connhandler.errors import (
    BlockedByWafError,
    InvalidRequestError,
    TransferError,
    UnexpectedContentError,
    UnexpectedStatusError,
)
from echo_connhandler.testing import CceeEmulator, no_waits
from tests.concurrency import AsyncTasks
from tests.servers.http import HttpServer, Reply

WARMUP = "/dataset/pld_horario"
SEARCH = "/api/3/action/datastore_search"
ROWS = 192  # of each made-up resource: four submarkets, 48 hours
SUM = sum(
    Decimal(100 + hour + place) + Decimal((hour * 7 + place * 25) % 100) / 100
    for hour in range(48)
    for place in range(4)
)


@pytest.fixture
def portal() -> Iterator[CceeEmulator]:
    with CceeEmulator() as running:
        yield running


def make(portal: CceeEmulator, **options: Any) -> CceeHttpHandler:
    return CceeHttpHandler(portal.props(), skip_connect=True, **options)


async def collect(handler: CceeHttpHandler, resource_id: str, **options: Any) -> list[dict[str, Any]]:
    return [record async for record in handler.async_iter_records(resource_id, **options)]


async def test_connecting_warms_up_as_a_browser_would(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        assert (await handler.async_package_show("pld_horario"))["num_resources"] == 2
    warmup, call = portal.log
    assert warmup.path == WARMUP
    assert "text/html" in warmup.headers["accept"]
    assert call.headers["referer"] == portal.url + WARMUP
    assert call.headers["user-agent"] == warmup.headers["user-agent"]
    assert call.headers["accept"] == "application/json"
    assert call.cookies
    assert (portal.logins, portal.refused) == (1, [])


async def test_the_page_to_warm_up_with_and_the_headers_can_be_others() -> None:
    with CceeEmulator(dataset="other") as portal:
        props = portal.props(headers={"user-agent": "Mozilla/5.0 (mine)"})
        async with CceeHttpHandler(props, warmup_path="dataset/other", skip_connect=True) as handler:
            copy = pickle.loads(pickle.dumps(handler))
            assert copy.warmup_path == "dataset/other"
            await handler.async_package_show("other")
        assert {asked.headers["user-agent"] for asked in portal.log} == {"Mozilla/5.0 (mine)"}


def test_the_portal_s_own_address_is_the_default() -> None:
    handler = CceeHttpHandler(skip_connect=True)
    assert handler.props == HttpConnProperties(host="https://dadosabertos.ccee.org.br")
    assert handler.warmup_path == WARMUP


@pytest.mark.parametrize("page_size", [50, 1000])
async def test_records_are_paged_and_exact(portal: CceeEmulator, page_size: int) -> None:
    portal.max_limit = 70
    async with make(portal) as handler:
        records = await collect(handler, portal.resource_id(), page_size=page_size)
    assert len(records) == ROWS
    assert sum(record["PLD_HORA"] for record in records) == SUM
    assert records[0] == {
        "_id": 1,
        "MES_REFERENCIA": 202501,
        "SUBMERCADO": "NORDESTE",
        "DIA": "01",
        "HORA": 0,
        "PLD_HORA": Decimal("100.0"),
    }
    assert portal.hits(SEARCH) == (4 if page_size == 50 else 3)


async def test_filters_take_a_value_or_several(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        some = await collect(handler, portal.resource_id(), SUBMERCADO="SUL", HORA=[1, 2])
        none = await handler.async_read_to_arrow(portal.resource_id(), SUBMERCADO="OESTE")
    assert [(record["SUBMERCADO"], record["HORA"]) for record in some] == [("SUL", hour) for hour in (1, 2, 1, 2)]
    assert none.num_rows == 0
    assert none.column_names[1:] == ["MES_REFERENCIA", "SUBMERCADO", "DIA", "HORA", "PLD_HORA"]


async def test_reading_may_be_left_early(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        async for record in handler.async_iter_records(portal.resource_id(), page_size=10, sort="_id desc"):
            assert record["_id"] == ROWS
            break
    assert portal.hits(SEARCH) == 1


async def test_frames_have_the_types_of_the_portal_s_fields(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        table = await handler.async_read_to_arrow(portal.resource_id(), page_size=100)
        pandas = await handler.async_read_to_pandas(portal.resource_id())
        polars = await handler.async_read_to_polars(portal.resource_id())
    assert [str(kind) for kind in table.schema.types] == [
        "int64",
        "int64",
        "string",
        "string",
        "int64",
        "decimal128(38, 2)",
    ]
    assert pandas["PLD_HORA"].sum() == SUM
    assert sum(polars["PLD_HORA"]) == SUM
    assert (len(pandas), len(polars)) == (ROWS, ROWS)


class Lying(CceeEmulator):
    """Says that there are other rows than it has, from a certain request on."""

    def __init__(self, *more: int) -> None:
        super().__init__()
        self.more = list(more)

    def total(self, name: str, found: Any) -> int:
        return len(found) + (self.more.pop(0) if len(self.more) > 1 else self.more[0])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((1,), "192 rows came, the portal says there are 193"),
        ((-2,), "192 rows came, the portal says there are 190"),
        ((0, 1), "there were 192 rows when reading began and there are 193 now"),
    ],
)
async def test_rows_that_are_not_as_many_as_the_portal_says_are_an_error(more: tuple[int, ...], said: str) -> None:
    with Lying(*more) as portal:
        async with make(portal) as handler:
            with pytest.raises(TransferError, match=said):
                await handler.async_read_to_arrow(portal.resource_id(), page_size=100)


async def test_rows_that_shift_while_they_are_read_are_an_error(portal: CceeEmulator) -> None:
    rows = portal.rows["pld_horario_2025"]
    rows[100] = [50, *rows[100][1:]]
    rows[49] = [60, *rows[49][1:]]
    portal._rendered[("pld_horario_2025", "_id", "{}")] = portal._found("pld_horario_2025", "HORA", "{}")
    async with make(portal) as handler:
        with pytest.raises(TransferError, match=r"row \d+ came after row \d+"):
            await collect(handler, portal.resource_id(), page_size=50)


@pytest.mark.parametrize("status", [403, 200])
async def test_a_cookie_that_expires_in_the_middle_is_renewed(portal: CceeEmulator, status: int) -> None:
    portal.session_requests, portal.block_status = 3, status
    async with make(portal) as handler:
        records = await collect(handler, portal.resource_id(), page_size=20)
    assert [record["_id"] for record in records] == list(range(1, ROWS + 1))
    assert portal.logins == 4
    assert portal.refused == [f"GET {SEARCH}: the cookie has expired"] * 3


@pytest.mark.parametrize("status", [403, 200])
async def test_who_stays_blocked_is_told_what_the_page_says(portal: CceeEmulator, status: int) -> None:
    portal.block_status = status
    async with make(portal) as handler:
        portal.blocked = True
        with no_waits() as waits, pytest.raises(BlockedByWafError, match=r"Acesso bloqueado.*foi bloqueada") as caught:
            await handler.async_package_show("pld_horario")
        assert caught.value.response.status_code == status
        assert isinstance(caught.value, RuntimeError)
        assert waits == []
        assert portal.hits(WARMUP) == 3  # at first, and then twice in vain
        assert portal.hits("/api/3/action/package_show") == 1
        portal.blocked = False
        assert await handler.async_package_show("pld_horario")


@pytest.mark.parametrize("status", [403, 200, 503])
async def test_a_maintenance_page_is_told_too(portal: CceeEmulator, status: int) -> None:
    async with make(portal) as handler:
        portal.maintenance, portal.block_status = True, status
        with no_waits() as waits, pytest.raises(BlockedByWafError, match="Bloqueio Manutenção"):
            await handler.async_package_show("pld_horario")
        assert len(waits) == (8 if status == 503 else 0)  # a 503 passes by itself


async def test_a_block_that_a_warm_up_does_not_help_against_is_met_once_more(server: HttpServer) -> None:
    page = Reply(403, {"Content-Type": "text/html"}, b"<title>Access Denied</title>")
    server.route("GET", "/dataset/*")(lambda _: Reply(200, {"Content-Type": "text/html"}, b"<title>PLD</title>"))
    server.script("/api/3/action/package_show", [page, page])
    async with CceeHttpHandler(HttpConnProperties(host=server.url), skip_connect=True) as handler:
        with pytest.raises(BlockedByWafError, match="Access Denied"):
            await handler.async_package_show("pld_horario")
    assert server.hits(WARMUP) == 2
    assert server.script_left("/api/3/action/package_show") == 0


async def test_all_who_are_blocked_share_one_warm_up(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        portal.end_sessions()
        async with AsyncTasks() as tasks:
            for _ in range(200):
                tasks.start(handler.async_package_show, "pld_horario")
    assert {type(result) for result in tasks.results} == {dict}
    assert portal.logins == 2


async def test_the_page_itself_is_no_block(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        page = await handler.async_get(WARMUP, headers={"accept": "text/html"})
        assert "Dados Abertos" in page.text
        blocked = await handler.async_get("api/3/action/nothing", response_ok=None)
        assert blocked.status_code == 400


@pytest.mark.parametrize("with_200", [False, True])
async def test_ckan_s_errors_are_told_whatever_their_status(portal: CceeEmulator, with_200: bool) -> None:
    portal.errors_with_200 = with_200
    async with make(portal) as handler:
        with pytest.raises(UnexpectedStatusError, match="Not Found Error: Not found: Dataset was not found.") as caught:
            await handler.async_package_show("wind")
        assert caught.value.response.status_code == (200 if with_200 else 404)
        with pytest.raises(UnexpectedStatusError, match=r'Validation Error: {"sort"'):
            await collect(handler, portal.resource_id(), sort="WIND")
        assert (await handler.async_get(SEARCH, response_ok=None)).json()["success"] is False
    assert portal.logins == 1


async def test_an_answer_that_is_not_ckan_s_is_told(server: HttpServer) -> None:
    server.route("GET", "/dataset/*")(lambda _: Reply(200, {"Content-Type": "text/html"}, b"<title>PLD</title>"))
    server.route("GET", "/api/*")(lambda _: Reply.json([1]))
    async with CceeHttpHandler(HttpConnProperties(host=server.url), skip_connect=True) as handler:
        with pytest.raises(UnexpectedContentError, match="no result of CKAN"):
            await handler.async_package_show("pld_horario")
        with pytest.raises(InvalidRequestError, match="page_size"):
            handler.async_iter_records("x", page_size=0)


@pytest.mark.parametrize("fault", ["503", "429", "429 Retry-After", "cut", "reset"])
async def test_pages_survive_what_passes(portal: CceeEmulator, fault: Any) -> None:
    portal.retry_after = 7
    async with make(portal) as handler:
        await handler.async_package_show("pld_horario")
        portal.fail_next(fault)
        with no_waits() as waits:
            assert len(await collect(handler, portal.resource_id())) == ROWS
    assert len(waits) == 1
    assert (waits[0] == 7) is (fault == "429 Retry-After")


VARIANTS = [
    {},
    {"csv_encoding": "latin-1"},
    {"csv_decimal": ","},
    {"csv_gzip": True},
    {"csv_encoding": "utf-8", "csv_decimal": ",", "csv_gzip": True},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_csv_files_are_read_in_all_their_variants(variant: dict[str, Any]) -> None:
    text = "NOME;VALOR\nÁgua;1.5\nSão João;2.25\n"
    with CceeEmulator({"valores_2025": text}, **variant) as portal:
        async with make(portal) as handler:
            table = await handler.async_read_csv_to_arrow("pld_horario", 2025)
    assert table.to_pylist() == [
        {"NOME": "Água", "VALOR": Decimal("1.50")},
        {"NOME": "São João", "VALOR": Decimal("2.25")},
    ]


async def test_a_csv_file_is_chosen_by_year_name_or_id(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        by_year = await handler.async_read_csv_to_pandas("pld_horario", 2024)
        by_name = await handler.async_read_csv_to_polars("pld_horario", "pld_horario_2024")
        by_id = await handler.async_read_csv_to_arrow("pld_horario", portal.resource_id("pld_horario_2024"))
        assert set(by_year["MES_REFERENCIA"]) == set(by_name["MES_REFERENCIA"]) == {202401}
        assert by_id.num_rows == ROWS
        with pytest.raises(InvalidRequestError, match="no resource '2023'; its resources are: pld_horario_2024, pld"):
            await handler.async_read_csv_to_arrow("pld_horario", 2023)


async def test_a_link_that_has_changed_meanwhile_is_asked_for_again(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        portal.stale_links = 2
        table = await handler.async_read_csv_to_arrow("pld_horario", 2025)
        assert table.num_rows == ROWS
        portal.stale_links = 4
        with pytest.raises(UnexpectedStatusError, match="404"):
            await handler.async_read_csv_to_arrow("pld_horario", 2025)


async def test_no_cookie_and_no_referer_go_to_the_download_host(portal: CceeEmulator) -> None:
    async with make(portal) as handler:
        await handler.async_read_csv_to_arrow("pld_horario", 2025)
    (download,) = [asked for asked in portal.log if asked.origin == "downloads"]
    assert not download.headers.keys() & {"cookie", "referer", "authorization"}
    assert download.headers["user-agent"].startswith("Mozilla/5.0")


async def test_what_is_no_csv_is_told(portal: CceeEmulator) -> None:
    portal.rows["pld_horario_2025"][5] = [6, "too", "few"]
    async with make(portal) as handler:
        with pytest.raises(UnexpectedContentError, match="Expected 5 columns, got 2"):
            await handler.async_read_csv_to_arrow("pld_horario", 2025)
        small = CceeHttpHandler(portal.props(max_response_bytes=2000), skip_connect=True)
        portal.csv_gzip = True
        with pytest.raises(TransferError, match="max_response_bytes=2000"):
            await small.async_read_csv_to_arrow("pld_horario", 2024)
        await small.async_close()
