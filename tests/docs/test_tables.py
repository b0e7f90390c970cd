"""Tables of the documentation that tell facts about the code, compared with the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from echo_connhandler import FtpConnProperties, HttpConnProperties, SqlLiteConnProperties, SqlLiteHandler, errors
from echo_connhandler._core.ftp.judge import TEMPORARY as FTP_TEMPORARY
from echo_connhandler._core.http_answers import TEMPORARY
from echo_connhandler._core.sqlvalues import WriteMode

DOCS = Path(__file__).parents[2] / "docs"
STORED: dict[str, Any] = {
    "INTEGER": 1,
    "BOOLEAN": 1,
    "REAL": 1.5,
    "TEXT": "text",
    "BLOB": b"bytes",
    "DECIMAL_TEXT(10,2)": "1.10",
    "DECIMAL_TEXT(50,2)": "1.10",
    "DATE": "2025-01-31",
    "TIME": "12:30:00",
    "TIMESTAMP": "2025-01-31 12:30:00",
    "TIMESTAMPTZ": "2025-01-31 12:30:00+00:00",
}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading is this, without backticks."""
    lines = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("row", table(page("sql.md"), "declared"), ids=lambda row: row[0])
@pytest.mark.parametrize("rows", ["a value and NULL", "none"])
def test_sql_types(row: list[str], rows: str) -> None:
    declared, python, arrow, pandas, polars = row
    if pandas == "str" and pd.__version__ < "3":
        pandas = "object"
    with SqlLiteHandler(SqlLiteConnProperties(path=":memory:")) as db:
        db.execute(f"CREATE TABLE t (c {declared})")
        if rows != "none":
            db.execute_many("INSERT INTO t VALUES (:c)", [{"c": STORED[declared]}, {"c": None}])
            assert type(db.fetch_value("SELECT c FROM t")).__name__ == python
        assert str(db.read_to_arrow("SELECT c FROM t").schema.field("c").type) == arrow
        assert str(db.read_to_pandas("SELECT c FROM t").dtypes["c"]) == pandas
        assert str(db.read_to_polars("SELECT c FROM t").schema["c"]) == polars


def test_sql_types_are_what_write_frame_declares() -> None:
    documented = {re.sub(r"\(.*", "", row[0]) for row in table(page("sql.md"), "declared")}
    with SqlLiteHandler(SqlLiteConnProperties(path=":memory:")) as db:
        for name, value in STORED.items():
            db.execute(f'CREATE TABLE "{name}" (c {name})')
            db.execute(f'INSERT INTO "{name}" VALUES (:c)', {"c": value})
            frame = db.read_to_arrow(f'SELECT c FROM "{name}"')
            db.write_frame(frame, f"again {name}", mode="create")
            assert re.sub(r"\(.*", "", db.describe_table(f"again {name}")[0].type) in documented
            assert db.read_to_arrow(f'SELECT c FROM "again {name}"').equals(frame)


def test_write_modes() -> None:
    assert [row[0] for row in table(page("sql.md"), "mode")] == list(get_args(WriteMode))


def test_errors_are_all_told_in_the_tree_and_in_the_table() -> None:
    text = page("errors.md")
    listed = [row[0] for row in table(text, "error")]
    assert sorted(listed) == sorted(set(errors.__all__) - {"EchoConnError"})
    for name in errors.__all__:
        line = re.search(rf"^[│├└─ ]*{name}\b(.*)$", text, re.MULTILINE)
        assert line is not None, name
        for base in re.findall(r"(\w+Error)", line[1]):
            assert base in [parent.__name__ for parent in getattr(errors, name).__mro__]


@pytest.mark.parametrize(
    ("properties", "after"),
    [(HttpConnProperties, "`HttpConn"), (SqlLiteConnProperties, "`SqlLite"), (FtpConnProperties, "`FtpConn")],
)
def test_properties_and_their_defaults(properties: type[Any], after: str) -> None:
    text = page("configuration.md")
    rows = table(text[text.index(f"{after}") :], "property")
    told = {name: row[1] for row in rows for name in row[0].split(", ")}
    assert list(told) == [field.name for field in dataclasses.fields(properties)]
    for field in dataclasses.fields(properties):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is dataclasses.MISSING:
            shown = "required"
        elif default in (None, {}):
            shown = "none"
        else:
            shown = f'"{default}"' if isinstance(default, str) else str(default)
        assert told[field.name] == shown, field.name


def test_temporary_statuses() -> None:
    row = next(row for row in table(page("retries.md"), "kind") if row[0] == "answered as temporary")
    http, ftp = (next(part for part in row[1].split(";") if name in part) for name in ("HTTP", "FTP"))
    assert {int(status) for status in re.findall(r"\b\d{3}\b", http)} == TEMPORARY
    assert {int(code) for code in re.findall(r"\b\d{3}\b", ftp)} == FTP_TEMPORARY
