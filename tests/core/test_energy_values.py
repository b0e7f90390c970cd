"""What the energy handlers read: pages, tokens, CSV files, spreadsheets, records, time series."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from echo_connhandler._core.ckan import Paging, error_text, is_block_page, records_table, resource_url
from echo_connhandler._core.columns import column, unique_names
from echo_connhandler._core.csv_frames import read_csv, unzipped
from echo_connhandler._core.errors import InvalidRequestError, TransferError
from echo_connhandler._core.html import read_page
from echo_connhandler._core.jwt import token_lifetime
from echo_connhandler._core.servicestack import moment, series_table
from echo_connhandler._core.xlsx_frames import read_xlsx
from echo_connhandler.testing.xlsx import write_xlsx


def test_a_page_tells_title_text_refresh_and_forms() -> None:
    page = read_page(
        "<title> Acesso\nbloqueado </title><style>p {}</style>"
        "<META HTTP-EQUIV=Refresh CONTENT='0; url=\"/in?a=1&amp;b=2\"'>"
        "<p>Sua  solicita&ccedil;&atilde;o</p><form action=/a><input name=q></form>"
        "<form><input type=hidden name=t value=1><input type=PASSWORD name=pw>"
    )
    assert page.said == "Acesso bloqueado | Sua solicitação"
    assert page.refresh == "/in?a=1&b=2"
    assert [form.action for form in page.forms] == ["/a", ""]
    assert page.login_form is not None
    assert (page.login_form.fields, page.login_form.password) == ({"t": "1"}, "pw")
    assert read_page("<meta http-equiv=refresh content=5>no title").refresh is None


def jwt(**claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.sig"


@pytest.mark.parametrize(
    ("answer", "token", "expected"),
    [
        ({"expires_in": 1199}, jwt(exp=5000), 1199),
        ({"expires_in": "600"}, "opaque", 600),
        ({}, jwt(exp=5000), 4000),
        ({}, jwt(exp=500), 0),
        ({}, jwt(exp=90_000, iat=88_200), 1800),  # by the server's clock, which is not ours
        ({"expires_in": None}, "a.b.c", None),
        ({"expires_in": True}, jwt(sub="me"), None),
        ({"expires_in": -5}, "a.W10.c", None),
    ],
)
def test_a_token_lasts_as_it_is_told(answer: dict[str, Any], token: str, expected: float | None) -> None:
    assert token_lifetime(answer, token, now=1000) == expected


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("1|2|", "int64"),
        ("12345678901234567890|1", "decimal128(38, 0)"),
        ("1|2,5", "decimal128(38, 1)"),
        ("1.234.567,89|-0,5", "decimal128(38, 2)"),
        ("1,234,567.89|2", "decimal128(38, 2)"),
        ("1.5e3|2", "double"),
        ("01|2", "string"),
        ("1,5|1.5", "string"),
        ("2025-01-01|", "string"),
        ("1" * 39 + "|2", "string"),
        ("|", "null"),
    ],
)
def test_the_type_of_a_csv_column(values: str, kind: str) -> None:
    lines = "".join(f"x;{value}\n" for value in values.split("|"))
    table = read_csv(f"A;B\n{lines}".encode())
    assert str(table.schema.field("B").type) == kind
    assert table.num_rows == values.count("|") + 1


def test_numbers_of_a_csv_are_exact_whatever_parts_them() -> None:
    comma = read_csv(b"A;B\n1.234,50;1,421\n-2;7\n")
    assert comma.to_pylist() == [
        {"A": Decimal("1234.50"), "B": Decimal("1.421")},
        {"A": Decimal("-2.00"), "B": Decimal("7.000")},
    ]
    assert read_csv(b"B\n1,421\n", decimal=".")["B"].to_pylist() == [Decimal(1421)]
    assert read_csv(b"B\n1.421\n")["B"].to_pylist() == [Decimal("1.421")]
    assert read_csv(b"B\n1.421\n", decimal=",")["B"].to_pylist() == [Decimal(1421)]


def test_the_shape_of_a_csv() -> None:
    assert read_csv(b"").shape == (0, 0)
    assert read_csv(b"\n\nA;B\r\n").column_names == ["A", "B"]
    assert read_csv(b"A;A;;B;\n1;2;3;4;\n").column_names == ["A", "A_2", "column_3", "B"]
    assert read_csv(b'A;B\n"x;y";"a\nb"\n')["A"].to_pylist() == ["x;y"]
    assert read_csv(b"A,B\n1,2\n", separator=",").num_columns == 2
    with pytest.raises(ValueError, match="not a CSV file with 2 columns"):
        read_csv(b"A;B\n1;2\n3\n")


def test_gzip_is_unpacked_up_to_a_limit() -> None:
    packed = gzip.compress(b"A;B\n") + gzip.compress(b"1;2\n")
    assert read_csv(packed).to_pylist() == [{"A": 1, "B": 2}]
    with pytest.raises(TransferError, match="larger than max_response_bytes=7"):
        unzipped(packed, 7)
    assert unzipped(packed, 8) == b"A;B\n1;2\n"
    for broken in (packed[:-3], packed[:30] + b"\x00\xff" * 9):
        with pytest.raises(TransferError, match="broken"):
            unzipped(broken)


def test_cells_of_a_spreadsheet_have_types() -> None:
    day, time = dt.date(2025, 1, 31), dt.datetime(2025, 1, 31, 12, 30)
    rows: list[list[Any]] = [
        ["N", "T", "D", "M", "B", "X", "E"],
        [1, "a", day, time, True, 1, None],
        [2.5, None, day, time, False, "b<", None],
    ]
    table = read_xlsx(write_xlsx(rows))
    assert [str(kind) for kind in table.schema.types] == [
        "double",
        "string",
        "date32[day]",
        "timestamp[us]",
        "bool",
        "string",
        "null",
    ]
    assert table["X"].to_pylist() == ["1", "b<"]
    assert table["D"].to_pylist() == [day, day]
    assert read_xlsx(write_xlsx([["A", "B"]])).shape == (0, 2)
    assert read_xlsx(write_xlsx([])).shape == (0, 0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], "int64"),
        ([2**70, 1], "decimal128(38, 0)"),
        ([1, Decimal("0.25")], "decimal128(38, 2)"),
        ([Decimal("1e40"), Decimal("0.5")], "decimal256(76, 1)"),
        ([Decimal("1e80")], "string"),
        ([1, 0.5], "double"),
        ([dt.date(2025, 1, 1), dt.datetime(2025, 1, 1, 5)], "timestamp[us]"),
        ([dt.time(5)], "time64[us]"),
        ([None], "null"),
        ([1, "a", Decimal("1.50"), {"b": 1}, 2.0, 0.5, True, dt.date(2025, 1, 1)], "string"),
    ],
)
def test_the_type_of_a_column(values: list[Any], kind: str) -> None:
    assert str(column(values).type) == kind


def test_names_are_made_unique() -> None:
    assert unique_names(["A", " A ", "", "A_2"]) == ["A", "A_2", "column_3", "A_2_2"]


def test_records_have_the_types_that_ckan_says() -> None:
    kinds = ["int4", "numeric", "numeric", "float8", "bool", "timestamp", "date", "text", "int", "timestamp"]
    values = [1, 2, Decimal("2.5"), Decimal("0.5"), True, "2025-01-01T00:30:00", "2025-01-02", "x", "odd", "never"]
    fields = [{"id": str(place), "type": kind} for place, kind in enumerate(kinds)]
    record = {str(place): value for place, value in enumerate(values)}
    expected = "int64 int64 decimal128(38, 1) double bool timestamp[us] date32[day] string string string"
    assert " ".join(str(kind) for kind in records_table([record], fields).schema.types) == expected
    assert str(records_table([], fields).schema.field(1).type) == "decimal128(38, 0)"
    assert str(records_table([{"a": 1, "b": Decimal("1.5")}], []).schema.field("b").type) == "decimal128(38, 1)"


def answer(body: bytes, kind: str = "text/html", status: int = 200, path: str = "/") -> httpx.Response:
    request = httpx.Request("GET", f"https://portal.example.com{path}")
    return httpx.Response(status, content=body, headers={"content-type": kind} if kind else {}, request=request)


@pytest.mark.parametrize(
    ("response", "blocked"),
    [
        (answer(b"<p>x", status=403), True),
        (answer(b" <p>x", kind="", status=403), True),
        (answer(b"{}", kind="application/json", status=403), False),
        (answer(b"<p>x", path="/api/3/action/package_show"), True),
        (answer(b"<p>x"), False),
        (answer("<h1>Bloqueio Manutenção</h1>".encode()), True),
        (answer(b"<title>Access Denied</title>", status=503), True),
        (answer(b"<title>Access Denied</title>", status=404), False),
    ],
)
def test_a_block_page_is_known(response: httpx.Response, blocked: bool) -> None:
    assert is_block_page(response) is blocked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"success": false, "error": {"__type": "X", "message": "no", "id": ["a"]}}', 'X: no: {"id": ["a"]}'),
        ('{"success" :false, "error": "no"}', '"no"'),
        ('{"success": false}', "success is false"),
        ('{"success": true, "result": {"success": false}}', None),
        ('{"success": false', None),
    ],
)
def test_what_ckan_says_went_wrong(text: str, said: str | None) -> None:
    assert error_text(answer(text.encode(), kind="application/json")) == said


def test_paging_ends_where_the_portal_has_no_more() -> None:
    paging = Paging("r", page_size=2, sort="x", filters={})
    paging.take({"records": [{"_id": 9}, {"_id": 3}]})
    assert (paging.done, paging.params()["offset"]) == (False, 2)
    paging.take({"records": []})
    assert paging.done
    guessed = Paging("r", page_size=2, sort="_id", filters={})
    guessed.take({"records": [{"_id": 1}], "total": 500, "total_was_estimated": True})
    guessed.take({"records": [], "total": 400, "total_was_estimated": True})
    assert guessed.done


def test_a_resource_is_found_by_a_year_that_stands_alone() -> None:
    listed = [{"name": f"pld_{year}", "id": str(year * 7), "url": f"u{year}"} for year in (2024, 2025, 20250)]
    assert resource_url({"resources": listed}, 2025) == "u2025"
    with pytest.raises(InvalidRequestError, match="2 resources"):
        resource_url({"resources": [listed[0], listed[0]]}, "pld_2024")
    with pytest.raises(InvalidRequestError, match="no link for"):
        resource_url({"resources": [{"name": "a"}]}, "a")


@pytest.mark.parametrize(
    "value",
    [
        1735689600500,
        "2025-01-01T00:00:00.5000000Z",
        "2024-12-31T21:00:00.5-03:00",
        "2025-01-01T00:00:00.5",
        "/Date(1735689600500-0300)/",
    ],
)
def test_times_of_all_spellings(value: Any) -> None:
    assert moment(value) == dt.datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=dt.UTC)


def test_values_of_all_kinds() -> None:
    series = [{"t": 0, "v": v, "q": q} for v, q in ((1.5, 192), ("2.5", 192), ("Running", 0), (None, None), (True, 1))]
    odd = [{"t": None, "t_local": 0, "v": "Infinity", "q": "Bad"}, "not a value"]
    table = series_table({"objects": {"7": {"points": {"P": [{"timeSeries": series}]}}}})
    assert table["value"].to_pylist() == [1.5, 2.5, None, None, 1.0]
    assert table["text"].to_pylist() == [None, None, "Running", None, None]
    assert table["quality"].to_pylist() == [192, 192, 0, None, 1]
    assert table["object"].to_pylist() == ["7"] * 5
    other = series_table([{"tag": {"timeSeries": odd}}])
    assert other.to_pylist() == [
        {
            "object": None,
            "point": "tag",
            "time": None,
            "time_local": dt.datetime(1970, 1, 1),
            "value": None,
            "text": "Infinity",
            "quality": "Bad",
        }
    ]
    assert series_table([]).num_rows == 0
    with pytest.raises(ValueError, match="not a time"):
        series_table([{"timeSeries": [{"t": {}}]}])
