"""How a query becomes what COPY is given: literals, columns, types."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from echo_connhandler._core.postgres.copy_plan import (
    CopyPlan,
    Described,
    Question,
    literal,
    plan,
    row_description,
)
from echo_connhandler._core.postgres.types import Column, Kind, TypeInfo, kind_of
from echo_connhandler.errors import ParameterError, QueryError
from tests.core.postgres_copy import message


def planned(sql: str, columns: Sequence[Column], values: Sequence[Any] = (), mark: int | None = None) -> CopyPlan:
    steps = plan(sql, values, Described((25,) * len(values), tuple(columns)), {}, mark)
    try:
        raise AssertionError(f"asked {next(steps)}")
    except StopIteration as end:
        made: CopyPlan = end.value
        return made


INT, JSON_PATH = Column("a", 23, -1), Column("b", 4072, -1)


@pytest.mark.parametrize(
    ("sql", "mark", "query"),
    [
        ("SELECT 1 AS a;", None, "SELECT 1 AS a"),
        ("TABLE t -- all", 7, "SELECT '7'::pg_catalog.int8, c0 FROM (\nTABLE t -- all\n) AS q(c0)"),
        ("INSERT INTO t VALUES (1) RETURNING a", None, "INSERT INTO t VALUES (1) RETURNING a"),
        (
            "DELETE FROM t RETURNING a",
            7,
            "WITH q(c0) AS (\nDELETE FROM t RETURNING a\n) SELECT '7'::pg_catalog.int8, c0 FROM q",
        ),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", 7, ""),
        ("SHOW work_mem", None, ""),
        ("SELECT 1; SELECT 2", None, ""),
    ],
)
def test_queries_are_given_to_copy(sql: str, mark: int | None, query: str) -> None:
    assert planned(sql, [INT], mark=mark).query == query


def test_parameters_become_literals_outside_of_strings_only() -> None:
    made = planned("SELECT $1 AS a, '$1', \"$1\" /* $1 */, $2", [INT], ["it's", "\\"])
    assert made.query == "SELECT (E'it''s'::text) AS a, '$1', \"$1\" /* $1 */, (E'\\\\'::text)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "'t'"),
        (-5, "E'-5'"),
        (1e300, "E'1e+300'"),
        (float("nan"), "E'nan'"),
        (b"\0'", r"E'\\x0027'"),
        ("'; DROP TABLE t; --", "E'''; DROP TABLE t; --'"),
        ("\\'", "E'\\\\'''"),
    ],
)
def test_literals_hold_any_value(value: Any, text: str) -> None:
    assert literal(value) == text


def test_a_literal_holds_no_nul() -> None:
    with pytest.raises(ParameterError, match="NUL"):
        literal("a\0")


def test_columns_of_one_name_are_refused() -> None:
    with pytest.raises(QueryError, match="columns of the same name: 'a'"):
        planned("SELECT 1 AS a, 2 AS a", [INT, INT])


def test_types_that_users_make_are_asked_for() -> None:
    steps: Iterator[Any] = plan("SELECT a", (), Described((), (Column("a", 99999, -1),)), {}, None)
    asked: Question = next(steps)
    assert "IN (99999)" in asked.sql


@pytest.mark.parametrize(
    ("column", "known", "kind"),
    [
        (Column("a", 1700, -1), {}, Kind("text", pa.string(), "text")),
        (Column("a", 1700, ((10 << 16) | 2) + 4), {}, Kind("numeric", pa.decimal128(10, 2), scale=2)),
        (Column("a", 1700, ((2 << 16) | 0x7FD) + 4), {}, Kind("numeric", pa.decimal128(5, 0), scale=0)),
        (Column("a", 1700, ((3 << 16) | 5) + 4), {}, Kind("numeric", pa.decimal128(5, 5), scale=5)),
        (Column("a", 1700, ((38 << 16) | 3) + 4), {}, Kind("numeric text", pa.decimal128(38, 3), "text", scale=3)),
        (Column("a", 1700, ((76 << 16) | 3) + 4), {}, Kind("numeric text", pa.decimal256(76, 3), "text", scale=3)),
        (Column("a", 1700, ((77 << 16) | 3) + 4), {}, Kind("text", pa.string(), "text")),
        (Column("a", 1007, -1), {}, Kind("int4", pa.int32(), is_array=True)),
        (Column("a", 869, -1), {869: TypeInfo("b", 0, 0)}, Kind("inet", pa.string(), "text")),
        (Column("a", 1041, -1), {1041: TypeInfo("b", 869, 0)}, Kind("inet", pa.string(), "text[]", is_array=True)),
        (Column("a", 9, -1), {9: TypeInfo("e", 0, 0)}, Kind("text", pa.string())),
        (
            Column("a", 9, -1),
            {9: TypeInfo("b", 8, 0), 8: TypeInfo("d", 0, 20)},
            Kind("int8", pa.int64(), is_array=True),
        ),
    ],
)
def test_columns_have_the_documented_types(column: Column, known: dict[int, TypeInfo], kind: Kind) -> None:
    assert kind_of(column, known) == kind


def test_columns_are_read_from_the_servers_description() -> None:
    described = struct.pack(">h", 1) + "prix €".encode() + b"\0" + struct.pack(">IhIhih", 0, 0, 1700, -1, 655366, 0)
    heard = message(b"1") + message(b"t", b"\0\0") + message(b"T", described) + message(b"Z", b"I")
    assert row_description(heard) == (Column("prix €", 1700, 655366),)
    assert row_description(message(b"1") + message(b"n") + message(b"Z", b"I")) == ()
