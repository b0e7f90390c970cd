"""The values of MySQL's and MariaDB's types: the same from both libraries, both protocols, and as parameters."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from echo_connhandler import MySqlHandler, SqlConnProperties
from echo_connhandler.errors import ParameterError
from tests.servers.daemon import Database

ANY_TEXT = "a'b\"c\\d%s`\0\n\x1a ü ß 漢字 🌍 \u202e e\u0301 ''; DROP TABLE t; --"
DAY_TIME = dt.datetime(2024, 2, 29, 23, 59, 59, 999999)


def single(value: float) -> float:
    """Return the float32 value next to a number."""
    narrowed: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return narrowed


def make(database: Database, **properties: Any) -> MySqlHandler:
    props = SqlConnProperties(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        database=database.database,
        **properties,
    )
    return MySqlHandler(props, skip_connect=True)


# The declared type, values as they are written, and as they are read where that is not the same.
TYPES: list[tuple[str, list[Any], list[Any] | None]] = [
    ("TINYINT", [-128, 0, 127, True], [-128, 0, 127, 1]),
    ("TINYINT(1)", [0, 1, 2], None),
    ("BOOLEAN", [True, False], [1, 0]),
    ("TINYINT UNSIGNED", [0, 255], None),
    ("SMALLINT", [-(2**15), 2**15 - 1], None),
    ("SMALLINT UNSIGNED", [2**16 - 1], None),
    ("MEDIUMINT", [-(2**23), 2**23 - 1], None),
    ("MEDIUMINT UNSIGNED", [2**24 - 1], None),
    ("INT", [-(2**31), 2**31 - 1], None),
    ("INT UNSIGNED", [2**32 - 1], None),
    ("INT(8) ZEROFILL", [42], None),
    ("BIGINT", [-(2**63), 2**63 - 1], None),
    ("BIGINT UNSIGNED", [0, 2**64 - 1], None),
    ("YEAR", [1901, 2155, 0], None),
    ("BIT(1)", [0, 1], None),
    ("BIT(64)", [0, 2**64 - 1], None),
    ("DECIMAL(5,2)", [Decimal("-999.99"), Decimal("0.10"), 3], [Decimal("-999.99"), Decimal("0.10"), Decimal("3.00")]),
    ("DECIMAL(65,30)", [Decimal("-" + "9" * 35 + "." + "9" * 30), Decimal("0." + "0" * 29 + "1")], None),
    ("DECIMAL(65,0)", [Decimal(10**65 - 1), 10**65 - 1], [Decimal(10**65 - 1), Decimal(10**65 - 1)]),
    ("FLOAT", [0.0, -1.5, 16777216.0, single(0.1), single(3.4028234e38), single(1e-45)], None),
    ("DOUBLE", [0.0, 0.1, -1.7976931348623157e308, 5e-324, 2**53 + 2.0, 1 / 3], None),
    (
        "DATE",
        [dt.date(1000, 1, 1), dt.date(9999, 12, 31), "2024-02-29"],
        [dt.date(1000, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29)],
    ),
    ("DATETIME", [dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)], None),
    (
        "DATETIME(6)",
        [DAY_TIME, DAY_TIME.replace(tzinfo=dt.timezone(dt.timedelta(hours=-3)))],
        [DAY_TIME, DAY_TIME + dt.timedelta(hours=3)],
    ),
    ("DATETIME(3)", [DAY_TIME.replace(microsecond=999000)], None),
    (
        "TIMESTAMP(6) NULL",
        [dt.datetime(1970, 1, 1, 0, 0, 1, 1, dt.UTC), DAY_TIME],
        [dt.datetime(1970, 1, 1, 0, 0, 1, 1, dt.UTC), DAY_TIME.replace(tzinfo=dt.UTC)],
    ),
    (
        "TIMESTAMP NULL",
        [dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))],
        [dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)],
    ),
    (
        "TIME",
        [dt.timedelta(hours=838, minutes=59, seconds=59), dt.time(1, 2, 3)],
        [dt.timedelta(hours=838, minutes=59, seconds=59), dt.timedelta(hours=1, minutes=2, seconds=3)],
    ),
    (
        "TIME(6)",
        [-dt.timedelta(hours=838, minutes=59, seconds=59), dt.timedelta(microseconds=-1), dt.timedelta(0)],
        None,
    ),
    ("CHAR(5)", ["ü", ""], None),
    ("VARCHAR(200)", [ANY_TEXT, "", "x" * 200], None),
    ("VARCHAR(100) CHARACTER SET latin1", ["déjà vu"], None),
    ("LONGTEXT", [ANY_TEXT, "🌍" * 30_000], None),
    ("ENUM('a','b''c')", ["a", "b'c"], None),
    ("SET('x','y')", ["x,y", "", "y"], None),
    ("BINARY(3)", [b"\0'\xff"], None),
    ("VARBINARY(300)", [bytes(range(256)), b""], None),
    ("LONGBLOB", [b"\0" * 70_000, bytearray(b"a"), memoryview(b"b")], [b"\0" * 70_000, b"a", b"b"]),
    (
        "JSON",
        ['{"a": [1, 2.5, null, "ü"]}', {"a": 1}, [1, "2"]],
        ['{"a": [1, 2.5, null, "ü"]}', '{"a": 1}', '[1, "2"]'],
    ),
    (
        "VARCHAR(40)",
        [UUID(int=7), 5, Decimal("1.50"), dt.date(2024, 1, 1)],
        [str(UUID(int=7)), "5", "1.50", "2024-01-01"],
    ),
]


@pytest.mark.parametrize(("declared", "given", "read"), TYPES, ids=[row[0] for row in TYPES])
async def test_values_go_in_and_come_back(
    mariadb_database: Database, declared: str, given: list[Any], read: list[Any] | None
) -> None:
    wanted = [*(given if read is None else read), None]
    async with make(mariadb_database) as handler:
        await handler.async_execute(f"CREATE TABLE t (n INTEGER PRIMARY KEY, v {declared}, f FLOAT)")
        rows = [{"n": n, "v": value} for n, value in enumerate([*given, None])]
        await handler.async_execute_many("INSERT INTO t (n, v) VALUES (:n, :v)", rows)
        found = [row["v"] for row in await handler.async_fetch_all("SELECT v FROM t ORDER BY n")]
        assert found == wanted
        assert [type(value) for value in found] == [type(value) for value in wanted]
        # With a FLOAT beside it the result comes by the binary protocol, in any of the calls.
        beside = await handler.async_fetch_all("SELECT v, f FROM t ORDER BY n")
        assert [row["v"] for row in beside] == wanted
        batches = [row["v"] async for row in handler.async_iterate("SELECT v, f FROM t ORDER BY n", batch_size=1)]
        assert batches == wanted
        if declared not in ("FLOAT", "JSON"):  # FLOAT compares as a double
            for value in given:
                assert await handler.async_fetch_value("SELECT count(*) FROM t WHERE v = :v", {"v": value}) >= 1


async def test_dates_that_no_calendar_has_come_as_text(mariadb_database: Database) -> None:
    async with make(mariadb_database, server_settings={"sql_mode": "ALLOW_INVALID_DATES"}) as handler:
        await handler.async_execute("CREATE TABLE t (d DATE, m DATETIME(3), s TIMESTAMP NULL, f FLOAT)")
        await handler.async_execute(
            "INSERT INTO t VALUES ('0000-00-00', '2024-02-31 01:02:03.004', '0000-00-00 00:00:00', 1.5)"
        )
        wanted = {"d": "0000-00-00", "m": "2024-02-31 01:02:03.004", "s": "0000-00-00 00:00:00"}
        assert await handler.async_fetch_one("SELECT d, m, s FROM t") == wanted
        assert await handler.async_fetch_one("SELECT d, m, s, f FROM t") == wanted | {"f": 1.5}


async def test_floats_stay_exact_when_a_column_becomes_one(mariadb_database: Database) -> None:
    query = "SELECT v FROM t"
    async with make(mariadb_database) as handler:
        await handler.async_execute("CREATE TABLE t (v DOUBLE)")
        await handler.async_execute("INSERT INTO t VALUES (16777213)")
        assert await handler.async_fetch_all(query) == [{"v": 16777213.0}]
        await handler.async_execute("ALTER TABLE t MODIFY v FLOAT")
        assert await handler.async_fetch_all(query) == [{"v": 16777213.0}]
        await handler.async_execute("ALTER TABLE t MODIFY v VARCHAR(20)")
        assert await handler.async_fetch_all(query) == [{"v": "16777200"}]
        assert await handler.async_fetch_value("SELECT CAST(16777213 AS FLOAT) AS v") == 16777213.0
        assert [row async for row in handler.async_iterate("SELECT CAST(16777213 AS FLOAT) AS v")] == [
            {"v": 16777213.0}
        ]


async def test_what_a_change_gives_back_keeps_its_floats(mariadb_database: Database) -> None:
    async with make(mariadb_database) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER AUTO_INCREMENT PRIMARY KEY, v FLOAT)")
        insert = "INSERT INTO t (v) VALUES (16777213), (1) RETURNING n, v"
        assert await handler.async_fetch_all(insert) == [{"n": 1, "v": 16777213.0}, {"n": 2, "v": 1.0}]
        assert await handler.async_execute("DELETE FROM t RETURNING v") == 2


async def test_a_procedure_gives_its_first_result(mariadb_database: Database) -> None:
    async with make(mariadb_database) as handler:
        await handler.async_execute("CREATE TABLE t (v FLOAT)")
        await handler.async_execute("INSERT INTO t VALUES (16777213)")
        await handler.async_execute("CREATE PROCEDURE p() BEGIN SELECT v FROM t; SELECT 2 AS w; DELETE FROM t; END")
        assert await handler.async_fetch_all("CALL p()") == [{"v": 16777213.0}]
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0


async def test_computed_values_have_types_too(mariadb_database: Database) -> None:
    async with make(mariadb_database) as handler:
        row = await handler.async_fetch_one(
            "SELECT 1 AS i, 1.5 AS d, 1e0 AS f, 'x' AS s, NULL AS n, x'00ff' AS b, TRUE AS t, "
            "CAST('2024-01-01' AS DATE) AS day, CAST('25:00:00' AS TIME) AS span, 18446744073709551615 AS big, "
            "b'101' AS bits, NOW() AS now"
        )
        assert row is not None
        now = row.pop("now")
        assert isinstance(now, dt.datetime)
        assert abs(now - dt.datetime.now(dt.UTC).replace(tzinfo=None)) < dt.timedelta(minutes=5)
        assert row == {
            "i": 1, "d": Decimal("1.5"), "f": 1.0, "s": "x", "n": None, "b": b"\0\xff", "t": 1,
            "day": dt.date(2024, 1, 1), "span": dt.timedelta(hours=25), "big": 2**64 - 1, "bits": b"\5",
        }  # fmt: skip


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), object(), "\ud800", dt.time(1, tzinfo=dt.UTC)]
)
async def test_values_without_a_place_are_refused(mariadb_database: Database, value: Any) -> None:
    async with make(mariadb_database) as handler:
        with pytest.raises(ParameterError):
            await handler.async_fetch_value("SELECT :v", {"v": value})
        assert await handler.async_fetch_value("SELECT :v", {"v": Colour.RED}) == "red"


@pytest.mark.parametrize(
    "mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "ANSI", "TRADITIONAL"]
)
async def test_text_is_safe_in_every_mode(mariadb_database: Database, mode: str) -> None:
    texts = [ANY_TEXT, "\\", "\\' OR 1=1 -- ", "'", "\\\\'", "%", "%s", "¿'", "縗' OR 1=1 -- ", "\x1a\0"]
    async with make(mariadb_database, server_settings={"sql_mode": mode}) as handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER, v LONGTEXT)")
        await handler.async_execute_many(
            "INSERT INTO t VALUES (:n, :v)", [{"n": n, "v": text} for n, text in enumerate(texts)]
        )
        for n, text in enumerate(texts):
            assert await handler.async_fetch_value("SELECT v FROM t WHERE n = :n", {"n": n}) == text
            assert await handler.async_fetch_value("SELECT count(*) FROM t WHERE v = :v", {"v": text}) == 1
