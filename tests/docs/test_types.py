"""The tables of docs/types.md, compared with what the servers' columns really become."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echo_connhandler import MySqlHandler, PgSqlHandler, SqlConnProperties
from echo_connhandler.sql import SqlHandler
from tests.postgres_types import SETUP, VALUES
from tests.servers.daemon import Database

PAGE = (Path(__file__).parents[2] / "docs" / "types.md").read_text(encoding="utf-8")
# A value of each type, as SQL text.
POSTGRES = {value.sql: value.literal for value in reversed(VALUES) if value.text is not None}
MYSQL = {
    "TINYINT": "-1",
    "TINYINT(1)": "1",
    "BOOLEAN": "TRUE",
    "SMALLINT": "-1",
    "MEDIUMINT": "-1",
    "INT": "-1",
    "BIGINT": "-1",
    "TINYINT UNSIGNED": "255",
    "SMALLINT UNSIGNED": "65535",
    "MEDIUMINT UNSIGNED": "1",
    "INT UNSIGNED": "4294967295",
    "BIGINT UNSIGNED": "18446744073709551615",
    "YEAR": "2026",
    "BIT(8)": "b'101'",
    "DECIMAL(10,2)": "1.50",
    "DECIMAL(65,30)": "1.5",
    "FLOAT": "0.1",
    "DOUBLE": "0.1",
    "DATE": "'2026-01-31'",
    "DATETIME(6)": "'2026-01-31 12:30:00.5'",
    "TIMESTAMP(6)": "'2026-01-31 12:30:00.5'",
    "TIME(6)": "'-25:00:00.5'",
    "CHAR(3)": "'abc'",
    "VARCHAR(10)": "'abc'",
    "LONGTEXT": "'abc'",
    "ENUM('a','b')": "'a'",
    "SET('a','b')": "'a,b'",
    "JSON": "'[1]'",
    "BINARY(3)": "'abc'",
    "VARBINARY(10)": "'abc'",
    "LONGBLOB": "'abc'",
    "GEOMETRY": "POINT(1, 2)",
}
NOT_TAKEN = "not taken: CAST it"

Cells = tuple[str, ...]


def told(heading: str) -> dict[str, Cells]:
    """Return the other cells of each type that the table below this heading names."""
    text = PAGE[PAGE.index(f"## {heading}\n") :]
    lines = text[text.index("| SQL |") :].split("\n\n")[0].splitlines()[2:]
    found: dict[str, Cells] = {}
    for line in lines:
        types, *cells = line.strip("| ").split(" | ")
        plain = tuple([cell.replace("`", "").strip() for cell in cells])
        found |= dict.fromkeys(re.findall("`([^`]+)`", types), plain)
    return found


def found(handler: SqlHandler, examples: dict[str, str], *, empty: bool) -> dict[str, Cells]:
    """Return what a column of each type is: in rows, Arrow, pandas, polars."""
    columns = {f"c{n}": declared for n, declared in enumerate(examples)}
    handler.execute("CREATE TABLE t ({})".format(", ".join(f"{name} {kind} NULL" for name, kind in columns.items())))
    if not empty:
        handler.execute("INSERT INTO t VALUES ({})".format(", ".join(examples.values())))
    row = handler.fetch_one("SELECT * FROM t") or {}
    arrow = handler.read_to_arrow("SELECT * FROM t").schema
    pandas = handler.read_to_pandas("SELECT * FROM t").dtypes
    return {
        kind: (
            named(row.get(name), kind),
            str(arrow.field(name).type),
            str(pandas[name]),
            in_polars(handler, name, kind),
        )
        for name, kind in columns.items()
    }


def in_polars(handler: SqlHandler, name: str, kind: str) -> str:
    if kind == "interval":  # polars panics
        return NOT_TAKEN
    return str(handler.read_to_polars(f"SELECT {name} FROM t").schema[name])


def named(value: Any, kind: str) -> str:
    if kind in ("json", "jsonb") and isinstance(value, dict | list):
        return "what it holds"
    zone = value.tzinfo if isinstance(value, dt.datetime | dt.time) else None
    return type(value).__name__ + ("" if zone is None else ", UTC" if zone is dt.UTC else " with an offset")


def compare(documented: dict[str, Cells], handler: SqlHandler, examples: dict[str, str], *, empty: bool) -> None:
    assert set(documented) == set(examples)
    for kind, cells in found(handler, examples, empty=empty).items():
        python, arrow, pandas, polars = documented[kind]
        if pandas == "str" and pd.__version__ < "3":
            pandas = "object"
        assert cells == ("NoneType" if empty else python, arrow, pandas, polars), kind


@pytest.mark.parametrize("empty", [False, True])
def test_postgres(postgres_database: Database, empty: bool) -> None:
    with PgSqlHandler(SqlConnProperties.from_url(postgres_database.url("postgresql"))) as handler:
        handler.execute_script(SETUP)
        compare(told("PostgreSQL"), handler, POSTGRES, empty=empty)


@pytest.mark.parametrize("empty", [False, True])
def test_mysql(mariadb_database: Database, empty: bool) -> None:
    with MySqlHandler(SqlConnProperties.from_url(mariadb_database.url("mysql"))) as handler:
        compare(told("MySQL and MariaDB"), handler, MYSQL, empty=empty)
