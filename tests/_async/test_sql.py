"""SQL calls on SQLite: statements, rows, the catalogue."""

from __future__ import annotations

import datetime as dt
import pickle
import sqlite3
import tracemalloc
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from echo_connhandler.errors import (
    ConstraintError,
    ParameterError,
    QueryError,
)
from echo_connhandler.testing import no_waits

from .sqlite_tables import count, file, make, path, read, with_table, write_elsewhere  # noqa: F401 - some are fixtures

MANY = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {}) SELECT n, 'row ' || n AS text FROM r"


# Statements and rows


async def test_execute_tells_the_rows_affected(path: str) -> None:
    async with make(path) as handler:
        assert await handler.async_execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)") == 0
        assert await handler.async_execute("INSERT INTO t VALUES (1, :v), (2, :v)", {"v": "x"}) == 2
        assert await handler.async_execute("UPDATE t SET v = :v", {"v": "y"}) == 2
        assert (
            await handler.async_execute("WITH k AS (SELECT 1 AS id) DELETE FROM t WHERE id IN (SELECT id FROM k)") == 1
        )
        assert await handler.async_execute("SELECT * FROM t") == 0
        assert await handler.async_execute("DELETE FROM t WHERE id = 99") == 0
        assert await handler.async_fetch_all("SELECT * FROM t") == [{"id": 2, "v": "y"}]


async def test_rows_one_row_and_one_value(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler, 3)
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 3}]
        assert await handler.async_fetch_all("SELECT id FROM t WHERE 0") == []
        assert await handler.async_fetch_one("SELECT * FROM t ORDER BY id") == {"id": 1, "v": "v1"}
        assert await handler.async_fetch_one("SELECT * FROM t WHERE 0") is None
        assert await handler.async_fetch_value("SELECT max(id) FROM t") == 3
        assert await handler.async_fetch_value("SELECT id FROM t WHERE 0") is None


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, 1),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (float("inf"), float("inf")),
        ("välue \U0001f32c", "välue \U0001f32c"),
        ("with \x00 NUL", "with \x00 NUL"),
        ("", ""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (Decimal("0.10"), "0.10"),
        (Decimal("1E+3"), "1000"),
        (dt.date(2025, 1, 2), "2025-01-02"),
        (dt.time(1, 2, 3), "01:02:03"),
        (dt.datetime(2025, 1, 2, 3, 4, 5, 678), "2025-01-02 03:04:05.000678"),
        (dt.datetime(2025, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-3))), "2025-01-02 03:00:00+00:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ([1, 2], "[1, 2]"),
        (Colour.RED, "red"),
    ],
)
async def test_every_type_of_value_is_bound(value: object, stored: object) -> None:
    async with make() as handler:
        await handler.async_execute("CREATE TABLE x (v)")
        await handler.async_execute("INSERT INTO x VALUES (:v)", {"v": value})
        await handler.async_execute_many("INSERT INTO x VALUES (?)", [(value,)])
        assert await handler.async_fetch_all("SELECT v FROM x WHERE v IS :v", {"v": value}) == [{"v": stored}] * 2


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("nan"), "\ud800", object(), 1j])
async def test_values_that_sqlite_cannot_hold_are_refused(value: object) -> None:
    async with make() as handler:
        await handler.async_execute("CREATE TABLE x (v)")
        with pytest.raises(ParameterError):
            await handler.async_execute("INSERT INTO x VALUES (:v)", {"v": value})
        with pytest.raises(ParameterError):
            await handler.async_execute_many("INSERT INTO x VALUES (:v)", [{"v": 1}, {"v": value}])
        assert await handler.async_fetch_value("SELECT count(*) FROM x") == 0


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT :a + :b", {"a": 1}),
        ("SELECT :a", None),
        ("SELECT :a", {}),
        ("SELECT ?", (1, 2)),
        ("SELECT ?", None),
        ("SELECT ?, :a", {"a": 1}),
        ("SELECT :a", "text"),
        ("SELECT :a", 7),
        ("SELECT 1 \x00 + 1", None),
        ("SELECT '\ud800'", None),
    ],
)
async def test_parameters_that_do_not_fit_are_refused(sql: str, params: Any) -> None:
    async with make() as handler:
        with pytest.raises(ParameterError):
            await handler.async_fetch_all(sql, params)


async def test_names_that_the_text_does_not_have_are_ignored() -> None:
    async with make() as handler:
        assert await handler.async_fetch_value("SELECT :a || ':b'", {"a": "x", "b": "y"}) == "x:b"
        assert await handler.async_fetch_value("SELECT ? + ?", [1, 2]) == 3


async def test_values_are_never_sql(path: str) -> None:
    evil = "x'); DROP TABLE t; --"
    async with make(path) as handler:
        await with_table(handler)
        await handler.async_execute("INSERT INTO t (v) VALUES (:v)", {"v": evil})
        assert await handler.async_fetch_all("SELECT v FROM t") == [{"v": evil}]
        with pytest.raises(QueryError, match="one statement"):
            await handler.async_execute("DELETE FROM t; DROP TABLE t")
        assert await count(handler) == 1


async def test_execute_many_is_all_or_nothing(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        sql = "INSERT INTO t VALUES (:id, :v)"
        assert await handler.async_execute_many(sql, ({"id": n, "v": "x"} for n in range(5))) == 5
        assert await handler.async_execute_many(sql, []) == 0
        with pytest.raises(ConstraintError) as caught:
            await handler.async_execute_many(sql, [{"id": 10, "v": "x"}, {"id": 11, "v": None}])
        assert caught.value.code == "SQLITE_CONSTRAINT_NOTNULL"
        with pytest.raises(ConstraintError):
            await handler.async_execute_many(sql, [{"id": 10, "v": "x"}, {"id": 1, "v": "x"}])
        with pytest.raises(QueryError, match="either mappings or sequences"):
            await handler.async_execute_many("INSERT INTO t VALUES (:id, :v)", [{"id": 20, "v": "x"}, (21, "x")])
        assert await count(handler) == 5


async def test_execute_many_takes_a_with_statement() -> None:
    async with make() as handler:
        await with_table(handler)
        sql = "WITH k AS (SELECT :id AS id) INSERT INTO t SELECT id, 'x' FROM k"
        assert await handler.async_execute_many(sql, [{"id": 1}, {"id": 2}]) == 2
        assert await count(handler) == 2


async def test_a_script_takes_effect_whole_or_not_at_all(path: str) -> None:
    async with make(path) as handler:
        script = """
            CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL); -- a comment; with a semicolon
            CREATE TABLE log (v);
            CREATE TRIGGER tr AFTER INSERT ON t BEGIN
                INSERT INTO log VALUES (new.v); INSERT INTO log VALUES ('2;');
            END;
            INSERT INTO t VALUES (1, 'a;b'), (2, 'c')
        """
        assert await handler.async_execute_script(script) == 2
        assert await handler.async_fetch_value("SELECT count(*) FROM log") == 4
        with pytest.raises(ConstraintError):
            await handler.async_execute_script(
                "CREATE TABLE n (a); INSERT INTO t VALUES (3, 'x'), (1, 'y'); DELETE FROM t"
            )
        assert not await handler.async_table_exists("n")
        assert await count(handler) == 2
        assert await handler.async_execute_script(" ; -- nothing") == 0


async def test_a_script_may_have_its_own_transactions(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        await handler.async_execute_script("BEGIN; INSERT INTO t VALUES (1, 'x'); COMMIT; PRAGMA user_version = 7")
        assert await handler.async_fetch_value("PRAGMA user_version") == 7
        with pytest.raises(ConstraintError):
            await handler.async_execute_script("BEGIN; INSERT INTO t VALUES (2, 'x'), (3, NULL); COMMIT")
        with pytest.raises(QueryError, match="does not end it"):
            await handler.async_execute_script("BEGIN; INSERT INTO t VALUES (4, 'x')")
        async for _ in handler.async_iterate("SELECT * FROM t"):  # also on a connection that is being read
            with pytest.raises(ConstraintError):
                await handler.async_execute_script("BEGIN; INSERT INTO t VALUES (5, 'x'); INSERT INTO t VALUES (1, '')")
            await handler.async_execute("INSERT INTO t VALUES (6, 'kept')")
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 6}]
        await handler.async_execute_script("VACUUM")


async def test_a_change_that_answers_with_rows(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        sql = "INSERT INTO t VALUES (1, 'a'), (2, 'b') RETURNING id"
        assert await handler.async_fetch_one(sql) == {"id": 1}
        assert await count(handler) == 2
        with pytest.raises(QueryError, match="several columns"):  # and what fails has not taken effect
            await handler.async_fetch_all("DELETE FROM t RETURNING id, id")
        assert await count(handler) == 2
        async for row in handler.async_iterate("DELETE FROM t RETURNING id"):
            assert row == {"id": 1}
            break
        assert await count(handler) == 0


async def test_a_late_constraint_is_not_missed_by_fetch_one() -> None:
    async with make() as handler:
        await handler.async_execute_script(
            "CREATE TABLE p (id INTEGER PRIMARY KEY);"
            "CREATE TABLE c (p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        with pytest.raises(ConstraintError):
            await handler.async_fetch_one("INSERT INTO c VALUES (1), (2) RETURNING p")
        with pytest.raises(ConstraintError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO c VALUES (1)")
        assert await handler.async_fetch_value("SELECT count(*) FROM c") == 0


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1 AS a, 2 AS a", "SELECT t.id, u.id FROM t JOIN t AS u ON 1", "WITH x AS (SELECT 1) SELECT 1 a, 2 a"],
)
async def test_columns_of_the_same_name_are_refused(sql: str) -> None:
    async with make() as handler:
        await with_table(handler, 1)
        for call in (handler.async_fetch_all, handler.async_fetch_one):
            with pytest.raises(QueryError, match="give them aliases"):
                await call(sql)
        with pytest.raises(QueryError, match="give them aliases"):
            await read(handler.async_iterate(sql))


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", "SQLITE_ERROR"),
        ("SELECT * FROM missing", "SQLITE_ERROR"),
        ("SELECT nothing()", "SQLITE_ERROR"),
        ("SELECT 1; SELECT 2", None),
    ],
)
async def test_what_the_database_refuses_is_not_retried(sql: str, code: str | None) -> None:
    async with make() as handler:
        with no_waits() as waits:
            with pytest.raises(QueryError) as caught:
                await handler.async_execute(sql)
        assert caught.value.code == code
        assert caught.value.attempts == 1
        assert isinstance(caught.value.__cause__, sqlite3.Error | sqlite3.Warning)
        assert "SQLite :memory:" in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert waits == []


async def test_foreign_keys_are_enforced_unless_told_not_to(tmp_path: Path) -> None:
    script = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)"
    async with make(tmp_path / "on.db") as handler:
        await handler.async_execute_script(script)
        with pytest.raises(ConstraintError) as caught:
            await handler.async_execute("INSERT INTO c VALUES (1)")
        assert caught.value.code == "SQLITE_CONSTRAINT_FOREIGNKEY"
    async with make(tmp_path / "off.db", foreign_keys=False) as handler:
        await handler.async_execute_script(script)
        assert await handler.async_execute("INSERT INTO c VALUES (1)") == 1


# Iterating


async def test_iterate_needs_constant_memory() -> None:
    async with make() as handler:
        tracemalloc.start()
        try:
            total = 0
            async for row in handler.async_iterate(MANY.format(40_000), batch_size=500):
                total += row["n"]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert total == 40_000 * 40_001 // 2
    assert peak < 2_000_000  # all rows at once need twenty


async def test_an_iteration_may_be_left_early(path: str) -> None:
    async with make(path, pool_size=1, conn_timeout=5) as handler:
        await with_table(handler, 50)
        for _ in range(5):
            async for row in handler.async_iterate("SELECT * FROM t", batch_size=2):
                if row["id"] == 3:
                    break
            assert await count(handler) == 50
        with pytest.raises(ZeroDivisionError):
            async for row in handler.async_iterate("SELECT * FROM t"):
                1 / (row["id"] - 1)
        await handler.async_execute("DROP TABLE t")  # refused while a query is being read
    with pytest.raises(ValueError, match="batch_size"):
        handler.async_iterate("SELECT 1", batch_size=0)


async def test_calls_within_an_iteration(path: str) -> None:
    async with make(path, pool_size=1, conn_timeout=5) as handler:
        await with_table(handler, 20)
        await handler.async_execute("CREATE TABLE copy (id INTEGER PRIMARY KEY, v)")
        async for row in handler.async_iterate("SELECT * FROM t", batch_size=3):
            await handler.async_execute("INSERT INTO copy VALUES (:id, :v)", row)
            async for _ in handler.async_iterate("SELECT * FROM t", batch_size=1):
                break
            async with handler.async_transaction():
                await handler.async_execute("UPDATE copy SET v = 'second' WHERE id = :id", row)
        assert await handler.async_fetch_value("SELECT count(*) FROM copy WHERE v = 'second'") == 20


async def test_a_table_that_is_being_read_is_not_dropped() -> None:
    async with make() as handler:
        await with_table(handler, 3)
        with no_waits() as waits:
            async for _ in handler.async_iterate("SELECT * FROM t", batch_size=1):
                with pytest.raises(QueryError, match="still being read"):
                    await handler.async_execute("DROP TABLE t")
                break
        assert waits == []


async def test_a_write_to_an_old_state_within_an_iteration_fails_at_once(file: str) -> None:
    async with make(file, busy_timeout=0.001) as handler, make(file) as other:
        await with_table(handler, 3)
        with no_waits() as waits:
            async for _ in handler.async_iterate("SELECT * FROM t", batch_size=1):
                await write_elsewhere(other)
                with pytest.raises(QueryError, match="begin anew") as caught:
                    await handler.async_execute("DELETE FROM t")
                assert caught.value.code == "SQLITE_BUSY_SNAPSHOT"
                break
        assert waits == []
        assert await count(handler) == 4


# The catalogue


async def test_the_catalogue(path: str) -> None:
    name = 'we"ird; DROP TABLE t; --'
    async with make(path) as handler:
        await with_table(handler)
        await handler.async_execute_script(
            'CREATE VIEW a_view AS SELECT * FROM t; CREATE TABLE "we""ird; DROP TABLE t; --" (a)'
        )
        assert await handler.async_list_tables() == ["a_view", "t", name]
        assert await handler.async_table_exists("t")
        assert await handler.async_table_exists(name)
        assert await handler.async_table_exists("t", schema="main")
        assert not await handler.async_table_exists("T2")
        columns = await handler.async_describe_table("t")
        assert [(c.name, c.type, c.nullable, c.primary_key) for c in columns] == [
            ("id", "INTEGER", True, 1),
            ("v", "TEXT", False, 0),
        ]
        with pytest.raises(QueryError, match="no table 'missing'"):
            await handler.async_describe_table("missing")
