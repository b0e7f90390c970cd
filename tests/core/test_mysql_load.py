"""Columns written as text for LOAD DATA and INSERT, and read back by a server: nothing is lost or changed."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_connhandler import SqlConnProperties
from echo_connhandler._core.errors import InvalidRequestError
from echo_connhandler._core.mysql.load_text import Form, column_texts
from echo_connhandler._core.mysql.load_write import insert_statements, load_pieces
from echo_connhandler._core.sqlvalues import Target
from echo_connhandler._drivers import mysql_pymysql
from echo_connhandler._drivers.mysql_pymysql import PyMySqlConnection
from echo_connhandler._drivers.registry import SqlSettings
from tests.servers.daemon import DatabaseServer

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\\\t\n\r\0'\"N\x1a%;"), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | TEXTS,
            "bytes": st.none() | st.binary(max_size=8),
            "double": st.none() | FLOATS,
            "single": st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
            "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
            "moment": st.none() | st.datetimes(),
            "span": st.none() | st.timedeltas(-dt.timedelta(hours=838), dt.timedelta(hours=838)),
            "exact": st.none() | st.integers(1 - 10**38, 10**38 - 1).map(lambda n: Decimal(f"{n}e-19")),
        }
    ),
    min_size=1,
    max_size=5,
)
KINDS: dict[str, Any] = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "double": pa.float64(),
    "single": pa.float32(),
    "whole": pa.int64(),
    "moment": pa.timestamp("us"),
    "span": pa.duration("us"),
    "exact": pa.decimal128(38, 19),
}
SCHEMA: pa.Schema = pa.schema(KINDS)


@pytest.fixture(scope="module")
def connection(mariadb: DatabaseServer) -> Iterator[PyMySqlConnection]:
    made = mariadb.new_database()
    props = SqlConnProperties(
        host=made.host, port=made.port, user=made.user, password=made.password, database=made.database
    )
    opened = mysql_pymysql.connect(SqlSettings("mysql", props, "test", "test"))
    opened.run(
        "CREATE TABLE t (n INT, text TEXT, bytes BLOB, `double` DOUBLE, single FLOAT, whole BIGINT, "
        "moment DATETIME(6), span TIME(6), exact DECIMAL(38,19))",
        (),
    )
    yield opened
    opened.close()
    mariadb.drop_database(made.database)


@pytest.mark.parametrize("local_infile", [True, False], ids=["load data", "insert"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_every_value_comes_back_from_the_server(
    connection: PyMySqlConnection, local_infile: bool, rows: list[dict[str, Any]]
) -> None:
    connection.local_infile = local_infile
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    numbered = batch.append_column("n", pa.array(range(len(rows)), pa.int32()))
    connection.run("BEGIN", ())
    assert connection.load(Target("t", tuple(numbered.schema.names)), numbered) == len(rows)
    reading = connection.open_batches(
        f"SELECT {', '.join(f'`{n}`' for n in SCHEMA.names)} FROM t ORDER BY n", (), 99, settled=False
    )
    read = reading.fetch()
    reading.close()
    connection.run("ROLLBACK", ())
    assert read is not None
    assert read.schema.types == SCHEMA.types
    assert read.to_pylist() == batch.to_pylist()
    assert connection.local_infile == local_infile


@pytest.mark.parametrize(
    ("array", "texts", "form"),
    [
        (pa.array([True, None, False]), ["1", None, "0"], Form.NUMBER),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"], Form.NUMBER),
        (pa.array([0.1], pa.float32()), ["0.10000000149011612"], Form.NUMBER),
        (pa.array(np.array([0.5], np.float16)), ["0.5"], Form.NUMBER),
        (pa.array([Decimal("1E-8")], pa.decimal128(10, 8)), ["0.00000001"], Form.NUMBER),
        (pa.nulls(2), [None, None], Form.NUMBER),
        (pa.array(["a", None]).dictionary_encode(), ["a", None], Form.TEXT),
        (pa.array(["a", "b", None], pa.string_view())[1:], ["b", None], Form.TEXT),
        (pa.array([b"\0\xff", None, b""]), ["00ff", None, ""], Form.HEX),
        (pa.array([b"ab", b"cd", None, b"ef"], pa.binary(2))[1:], ["6364", None, "6566"], Form.HEX),
        (pa.array([0], pa.date64()), ["1970-01-01"], Form.TIME),
        (pa.array([-1], pa.timestamp("ms")), ["1969-12-31 23:59:59.999000"], Form.TIME),
        (pa.array([0], pa.timestamp("us", "+03:00")), ["1970-01-01 00:00:00.000000"], Form.TIME),
        (pa.array([1], pa.time32("s")), ["00:00:01.000000"], Form.TIME),
        (
            pa.array([-90_000_000_001, 1, None], pa.duration("us")),
            ["-25:00:00.000001", "0:00:00.000001", None],
            Form.TIME,
        ),
    ],
)
def test_what_a_column_is_written_as(array: Any, texts: list[str | None], form: Form) -> None:
    made = column_texts("c", array)
    assert (made.values.to_pylist(), made.form) == (texts, form)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pa.array([None, math.nan], pa.float32()), "'c' holds nan in row 1"),
        (pa.array([-math.inf]), "'c' holds -inf in row 0"),
        (pa.array([1001], pa.timestamp("ns", "UTC")), "'c', .* round it first"),
        (pa.array([1], pa.time64("ns")), "'c', .* round it first"),
        (pa.array([1], pa.duration("ns")), "'c', .* round it first"),
        (pa.array([2**62], pa.timestamp("s")), "'c'"),
        (pa.array([[1]]), "'c' is list<.*cast it first"),
    ],
)
def test_what_has_no_place_is_refused_by_name(array: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        column_texts("c", array)


def test_a_file_is_lines_of_tabs_and_escapes() -> None:
    batch = pa.RecordBatch.from_pylist([{"a": "x\ty\\\n\0", "b": None}, {"a": "", "b": 5}])
    assert b"".join(load_pieces(batch)) == b"x\\ty\\\\\\n\\0\t\\N\n\t5\n"
    one = pa.RecordBatch.from_pylist([{"a": "é"}, {"a": None}])
    assert b"".join(load_pieces(one)) == "é\n\\N\n".encode()


def test_statements_hold_as_many_rows_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_connhandler._core.mysql.load_write._STATEMENT", 10)
    batch = pa.RecordBatch.from_pylist([{"a": "'" * size, "b": size} for size in (1, 2, 20, 1, 1)])
    made = list(insert_statements(Target("t", ("a", "b`")), batch, backslashes=True))
    head = "INSERT INTO t (`a`, `b```) VALUES "
    assert [rows for _, rows in made] == [1, 1, 1, 1, 1]
    assert made[0][0].decode() == f"{head}('''',1)"
    monkeypatch.setattr("echo_connhandler._core.mysql.load_write._STATEMENT", 1000)
    ((text, rows),) = insert_statements(Target("t", ("a", "b")), batch.slice(3), backslashes=True)
    assert (text.decode(), rows) == ("INSERT INTO t (`a`, `b`) VALUES ('''',1),('''',1)", 2)
