"""SQL calls on SQLite: statements, rows, transactions, locks, time limits."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from echo_connhandler import Resilience, RetryDetails, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.errors import (
    ConnectionFailedError,
    ConstraintError,
    HandlerClosedError,
    ParameterError,
    QueryError,
    TimeoutExceededError,
)
from echo_connhandler.testing import no_waits
from tests.concurrency import AsyncTasks

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
MANY = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {}) SELECT n, 'row ' || n AS text FROM r"


def make(path: str | Path = ":memory:", **options: Any) -> SqlLiteHandler:
    names = ("conn_timeout", "query_timeout", "busy_timeout", "journal_mode", "foreign_keys", "read_only")
    properties = {name: options.pop(name) for name in names if name in options}
    return SqlLiteHandler(SqlLiteConnProperties(path=path, **properties), skip_connect=True, **options)


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ":memory:" if request.param == "memory" else str(tmp_path / "a b?#%.db")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


async def with_table(handler: SqlLiteHandler, rows: int = 0) -> None:
    await handler.async_execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)")
    await handler.async_execute_many(
        "INSERT INTO t VALUES (:id, :v)", [{"id": n, "v": f"v{n}"} for n in range(1, rows + 1)]
    )


async def count(handler: SqlLiteHandler) -> int:
    number: int = await handler.async_fetch_value("SELECT count(*) FROM t")
    return number


@contextmanager
def locked(file: str) -> Iterator[sqlite3.Connection]:
    """Hold the write lock; `rollback()` of what is given releases it."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


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


async def read(rows: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row async for row in rows]


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


async def write_elsewhere(other: SqlLiteHandler) -> None:
    async with AsyncTasks() as tasks:
        tasks.start(other.async_execute, "INSERT INTO t (v) VALUES ('new')")
    assert tasks.results == [1]


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


# Transactions


async def test_a_transaction_is_committed_or_undone(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        async with handler.async_transaction() as inside:
            assert inside is handler
            await handler.async_execute("INSERT INTO t VALUES (1, 'kept')")
            assert await count(handler) == 1
        with pytest.raises(ZeroDivisionError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'undone')")
                1 / 0
        with pytest.raises(ConstraintError):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (3, 'undone')")
                await handler.async_execute("INSERT INTO t VALUES (1, 'again')")
        async with handler.async_transaction():  # a statement that failed undoes only itself
            with pytest.raises(ConstraintError):
                await handler.async_execute("INSERT INTO t VALUES (9, 'x'), (1, 'again')")
            await handler.async_execute("INSERT INTO t VALUES (4, 'kept')")
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 4}]


async def test_a_block_in_a_block_is_a_savepoint(path: str) -> None:
    async with make(path) as handler:
        await with_table(handler)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
            with pytest.raises(ZeroDivisionError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                    async with handler.async_transaction():
                        await handler.async_execute("INSERT INTO t VALUES (3, 'x')")
                    1 / 0
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (4, 'x')")
            with pytest.raises(ConstraintError):
                await handler.async_execute_many("INSERT INTO t VALUES (?, 'x')", [(5,), (1,)])
            with pytest.raises(ConstraintError):
                await handler.async_execute_script("INSERT INTO t VALUES (6, 'x'); INSERT INTO t VALUES (1, 'x')")
        assert await handler.async_fetch_all("SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 4}]


async def test_others_never_join_a_transaction(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler)

        async def see() -> int:
            return await count(handler)

        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
            async with AsyncTasks() as tasks:  # children of this task, or threads
                for _ in range(5):
                    tasks.start(see)
            assert await count(handler) == 1
        assert tasks.results == [0] * 5


async def test_transactions_of_many_at_once_do_not_mix(file: str) -> None:
    async with make(file, busy_timeout=5) as handler:
        await with_table(handler)

        async def one(number: int) -> None:
            async with handler.async_transaction():
                for part in range(3):
                    sql = "INSERT INTO t VALUES (:id, :v)"
                    await handler.async_execute(sql, {"id": number * 10 + part, "v": "x"})
                seen = await handler.async_fetch_value("SELECT count(*) FROM t WHERE id / 10 = :n", {"n": number})
                assert seen == 3
                if number % 2:
                    raise ZeroDivisionError

        async with AsyncTasks() as tasks:
            for number in range(16):
                tasks.start(one, number)
        assert [type(result) for result in tasks.results] == [type(None), ZeroDivisionError] * 8
        assert await count(handler) == 24


@pytest.mark.parametrize(
    "sql", ["BEGIN", "COMMIT", "/* x */ rollback", "SAVEPOINT a", "RELEASE a", "END", "begin immediate"]
)
async def test_transaction_control_is_refused(sql: str) -> None:
    async with make() as handler:
        await with_table(handler)
        for call in (handler.async_execute, handler.async_fetch_all):
            with pytest.raises(QueryError, match=r"transaction\(\)"):
                await call(sql)
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            await handler.async_execute_many(sql, [()])
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            await read(handler.async_iterate(sql))
        with pytest.raises(QueryError, match=r"transaction\(\)"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                await handler.async_execute_script(
                    f"INSERT INTO t VALUES (2, 'x'); {sql}; INSERT INTO t VALUES (3, 'x')"
                )
        assert await count(handler) == 0


async def test_nothing_follows_a_transaction_that_the_database_has_undone() -> None:
    async with make() as handler:
        await with_table(handler, 1)
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                with pytest.raises(ConstraintError):
                    await handler.async_execute("INSERT OR ROLLBACK INTO t VALUES (1, 'again')")
                await handler.async_execute("INSERT INTO t VALUES (3, 'would be outside')")
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
                with pytest.raises(ConstraintError):
                    async with handler.async_transaction():
                        await handler.async_execute("INSERT OR ROLLBACK INTO t VALUES (1, 'again')")
        assert await count(handler) == 1


async def test_a_read_only_transaction_sees_one_state(file: str) -> None:
    async with make(file) as handler, make(file) as other:
        await with_table(handler, 1)
        async with handler.async_transaction(read_only=True):
            assert await count(handler) == 1
            await write_elsewhere(other)
            assert await count(handler) == 1
        assert await count(handler) == 2


async def test_run_in_transaction_gives_what_the_function_gives() -> None:
    async with make() as handler:
        await with_table(handler)

        async def add(inside: SqlLiteHandler) -> int:
            await inside.async_execute("INSERT INTO t (v) VALUES ('x')")
            return await count(inside)

        async def fail(inside: SqlLiteHandler) -> None:
            await add(inside)
            raise KeyError("mine")

        assert await handler.async_run_in_transaction(add) == 1
        with pytest.raises(KeyError, match="mine"):
            await handler.async_run_in_transaction(fail)
        async with handler.async_transaction():
            assert await handler.async_run_in_transaction(add) == 2
            with pytest.raises(KeyError):
                await handler.async_run_in_transaction(fail)
        assert await count(handler) == 2


async def test_closing_inside_a_transaction_undoes_it(path: str) -> None:
    keeper = make(path)
    handler = keeper.with_resilience(Resilience(max_retries=0))
    async with keeper:
        await with_table(keeper)
        for leave in (handler.async_close, handler.async_reconnect):
            await handler.async_connect()
            with pytest.raises(HandlerClosedError):
                async with handler.async_transaction():
                    await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                    await leave()
            with pytest.raises(HandlerClosedError):
                await handler.async_connect()
                async with handler.async_transaction():
                    await leave()
                    await handler.async_execute("INSERT INTO t VALUES (1, 'would be outside')")
        await handler.async_close()
        assert await count(keeper) == 0


# The lifecycle


async def test_after_close_calls_are_refused_until_it_is_opened(file: str) -> None:
    handler = make(file)
    assert not handler.async_is_connected
    await handler.async_connect()
    assert handler.async_is_connected
    await with_table(handler)
    await handler.async_close()
    assert not handler.async_is_connected
    for call in (handler.async_execute, handler.async_fetch_all, handler.async_execute_script):
        with pytest.raises(HandlerClosedError):
            await call("SELECT 1")
    with pytest.raises(HandlerClosedError):
        await read(handler.async_iterate("SELECT 1"))
    with pytest.raises(HandlerClosedError):
        await handler.async_ping()
    await handler.async_reconnect()
    assert await count(handler) == 0
    assert await handler.async_ping()
    await handler.async_close()
    async with handler:
        assert await count(handler) == 0


async def test_ping_tells_whether_the_database_is_there(tmp_path: Path) -> None:
    async with make(tmp_path / "x.db") as handler:
        assert await handler.async_ping()
        with locked(str(tmp_path / "x.db")):
            assert await handler.async_ping()
    gone = make(tmp_path / "missing" / "x.db")
    assert not await gone.async_ping()
    await gone.async_close()


async def test_the_librarys_own_connection(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler, 1)
        raw = handler.async_connection
        assert isinstance(raw, sqlite3.Connection)
        async with handler.async_transaction():
            await handler.async_execute("INSERT INTO t VALUES (2, 'x')")
            assert handler.async_connection.in_transaction


async def test_a_database_in_memory_is_shared_by_both_halves_and_handlers_made_from_it() -> None:
    handler = make()
    async with handler:
        await with_table(handler, 2)
        twin = handler.with_resilience(Resilience(max_retries=1))
        assert await count(twin) == 2
        assert handler.fetch_value("SELECT count(*) FROM t") == 2
        async with AsyncTasks() as tasks:
            for _ in range(4):
                tasks.start(count, handler)
        assert tasks.results == [2] * 4
        await twin.async_close()
        handler.close()
        async with make() as other:
            assert await other.async_list_tables() == []


async def test_a_pickled_handler_opens_the_same_file(file: str) -> None:
    async with make(file, max_retries=3) as handler:
        await with_table(handler, 2)
        copy = pickle.loads(pickle.dumps(handler))
        assert copy.resilience.max_retries == 3
        async with copy:
            assert await count(copy) == 2


async def test_the_file_stays_the_same_when_the_process_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = make("here.db", pool_size=2)
    async with handler:
        await with_table(handler, 1)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        async with AsyncTasks() as tasks:
            for _ in range(3):
                tasks.start(count, handler)
    assert tasks.results == [1] * 3
    assert os.listdir(elsewhere) == []


async def test_files_have_a_write_ahead_log_unless_told_otherwise(tmp_path: Path) -> None:
    for options, mode in (({}, "wal"), ({"journal_mode": "delete"}, "delete"), ({"journal_mode": None}, "delete")):
        async with make(tmp_path / f"{len(options)}{mode}.db", **options) as handler:
            assert await handler.async_fetch_value("PRAGMA journal_mode") == mode
    async with make(tmp_path / "0wal.db", journal_mode="delete") as handler:
        assert await handler.async_fetch_value("PRAGMA journal_mode") == "delete"


async def test_a_file_may_be_opened_for_reading_only(file: str) -> None:
    async with make(file) as handler:
        await with_table(handler, 1)
    with no_waits() as waits:
        async with make(file, read_only=True) as handler:
            assert await count(handler) == 1
            with pytest.raises(QueryError) as caught:
                await handler.async_execute("DELETE FROM t")
            assert caught.value.code == "SQLITE_READONLY"
        with pytest.raises(ConnectionFailedError):
            await make(file + "x", read_only=True).async_connect()
    assert waits == []


async def test_a_path_that_is_no_database_fails_at_once(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, though it is long enough to be one" * 100)
    for path, advice in ((tmp_path / "no" / "x.db", "folder"), (tmp_path, "file"), (text, "not an SQLite database")):
        handler = make(path)
        with no_waits() as waits:
            with pytest.raises(ConnectionFailedError, match=advice) as caught:
                await handler.async_execute("CREATE TABLE t (a)")
        assert caught.value.attempts == 1
        assert str(path) in str(caught.value)
        assert waits == []
        await handler.async_close()
    assert text.read_text().startswith("this is no database")


# Locks


def release_after(attempts: int, lock: sqlite3.Connection, **options: Any) -> Resilience:
    def hook(details: RetryDetails) -> None:
        if details.attempt == attempts:
            lock.rollback()

    return Resilience(before_retry=(hook,), **options)


async def insert(handler: SqlLiteHandler) -> object:
    return await handler.async_execute("INSERT INTO t (v) VALUES (:v)", {"v": "x"})


async def insert_many(handler: SqlLiteHandler) -> object:
    return await handler.async_execute_many("INSERT INTO t (v) VALUES (:v)", [{"v": "x"}])


async def insert_by_script(handler: SqlLiteHandler) -> object:
    return await handler.async_execute_script("INSERT INTO t (v) VALUES ('x')")


async def insert_and_return(handler: SqlLiteHandler) -> object:
    return await handler.async_fetch_all("INSERT INTO t (v) VALUES ('x') RETURNING v")


async def insert_in_a_block(handler: SqlLiteHandler) -> object:
    async with handler.async_transaction():
        return await insert(handler)


async def insert_in_a_transaction(handler: SqlLiteHandler) -> object:
    return await handler.async_run_in_transaction(insert)


WRITES = [insert, insert_many, insert_by_script, insert_and_return, insert_in_a_block, insert_in_a_transaction]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_waits_for_the_lock_and_takes_effect_once(file: str, write: Callable[..., Any]) -> None:
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file) as lock, no_waits() as waits:
            patient = handler.with_resilience(release_after(3, lock, jitter=(1, 1)))
            async with patient:
                await write(patient)
        assert waits == [0.1, 0.2, 0.4]
        assert await count(handler) == 1


@pytest.mark.parametrize("write", WRITES)
async def test_a_lock_that_stays_is_told_after_the_retries(file: str, write: Callable[..., Any]) -> None:
    async with make(file, busy_timeout=0.001, max_retries=2) as handler:
        await with_table(handler)
        with locked(file), no_waits() as waits:
            with pytest.raises(QueryError, match=r"another connection holds the lock.*after 3 attempts") as caught:
                await write(handler)
        assert caught.value.code == "SQLITE_BUSY"
        assert caught.value.attempts == 3
        assert len(waits) == 2
        assert await count(handler) == 0


async def test_no_retries_means_none(file: str) -> None:
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file), no_waits() as waits:
            calls: list[Callable[[], Any]] = [
                lambda: handler.async_execute("DELETE FROM t", retry=0),
                lambda: handler.async_execute_many("DELETE FROM t WHERE id = ?", [(1,)], retry=0),
                lambda: handler.async_execute_script("DELETE FROM t", retry=False),
                lambda: handler.async_run_in_transaction(insert, retry=0),
            ]
            for work in calls:
                with pytest.raises(QueryError) as caught:
                    await work()
                assert caught.value.attempts == 1
        assert waits == []


async def test_a_transaction_is_begun_anew_as_a_whole(file: str) -> None:
    calls = 0
    async with make(file, busy_timeout=0.001) as handler:
        await with_table(handler)
        with locked(file) as lock, no_waits():

            async def read_then_write(inside: SqlLiteHandler) -> int:
                nonlocal calls
                calls += 1
                before = await count(inside)
                await insert(inside)
                return before

            patient = handler.with_resilience(release_after(2, lock))
            async with patient:
                # A deferred transaction meets the lock at its first write, not at its beginning.
                assert await patient.async_run_in_transaction(read_then_write, read_only=True) == 0
        assert calls == 3
        assert await count(handler) == 1


async def test_a_commit_that_meets_a_reader_is_tried_again(file: str) -> None:
    async with make(file, busy_timeout=0.001, journal_mode="delete") as handler:
        await with_table(handler, 1)
        reader = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        try:
            with no_waits() as waits:
                patient = handler.with_resilience(release_after(2, reader))
                async with patient:
                    await insert_in_a_block(patient)
            assert len(waits) == 2
        finally:
            reader.close()
        assert await count(handler) == 2


async def test_connecting_does_not_wait_for_a_writer(file: str) -> None:
    with sqlite3.connect(file) as plain:
        plain.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    plain.close()
    with locked(file), no_waits() as waits:
        async with make(file, busy_timeout=0.001) as handler:
            assert await count(handler) == 0
    assert waits == []
    async with make(file) as handler:
        assert await handler.async_fetch_value("PRAGMA journal_mode") == "wal"


async def test_many_writers_lose_and_double_nothing(file: str) -> None:
    async with make(file, busy_timeout=2) as handler:

        async def write(number: int) -> None:
            for part in range(20):
                await handler.async_execute("INSERT INTO t VALUES (:id, :v)", {"id": number * 100 + part, "v": "x"})

        await with_table(handler)
        async with AsyncTasks() as tasks:
            for number in range(16):
                tasks.start(write, number)
        assert tasks.results == [None] * 16
        assert await count(handler) == 320


async def test_many_first_connections_at_once(file: str) -> None:
    handler = make(file, pool_size=16)

    async def first() -> object:
        return await handler.async_execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v)")

    async with AsyncTasks() as tasks:
        for _ in range(16):
            tasks.start(first)
    assert tasks.results == [0] * 16
    assert await handler.async_fetch_value("PRAGMA journal_mode") == "wal"
    await handler.async_close()


async def test_closing_while_others_write_ends_them_with_an_error(file: str) -> None:
    handler = make(file)
    await handler.async_connect()
    await with_table(handler)

    async def write() -> None:
        while True:
            await handler.async_execute("INSERT INTO t (v) VALUES ('x')")

    async def close() -> None:
        while await count(handler) < 50:
            pass
        await handler.async_close()

    async with AsyncTasks() as tasks:
        for _ in range(4):
            tasks.start(write)
        tasks.start(close)
    assert [type(result) for result in tasks.results] == [HandlerClosedError] * 4 + [type(None)]


# Time limits


async def test_query_timeout_stops_a_statement_and_is_not_retried(path: str) -> None:
    async with make(path, query_timeout=0.1, pool_size=1) as handler:
        await with_table(handler, 3)
        with no_waits() as waits:
            for call in (handler.async_execute, handler.async_fetch_all, handler.async_fetch_value):
                with pytest.raises(TimeoutExceededError, match=r"query_timeout=0\.1 s") as caught:
                    await call(ENDLESS)
                assert 0.1 <= caught.value.elapsed < 0.6
                assert caught.value.attempts == 1
            with pytest.raises(TimeoutExceededError):
                await read(handler.async_iterate(ENDLESS))
        assert waits == []
        assert await count(handler) == 3


async def test_a_timeout_in_a_transaction_lets_nothing_follow(path: str) -> None:
    slow = ENDLESS.replace("WITH", "INSERT INTO t (id, v) WITH").replace(
        "SELECT max(n) FROM r", "SELECT n + 9, n FROM r"
    )
    async with make(path, query_timeout=0.1) as handler:
        await with_table(handler)
        with pytest.raises(QueryError, match="has undone this transaction"):
            async with handler.async_transaction():
                await handler.async_execute("INSERT INTO t VALUES (1, 'x')")
                with pytest.raises(TimeoutExceededError):
                    await handler.async_execute(slow)
                await handler.async_execute("INSERT INTO t VALUES (2, 'would be outside')")
        with pytest.raises(TimeoutExceededError):
            await handler.async_execute(slow)
        assert await count(handler) == 0


async def test_a_deadline_stops_a_statement_once(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    props = SqlLiteConnProperties(path=tmp_path / "a.db", busy_timeout=0)
    async with SqlLiteHandler(props, skip_connect=True, resilience=Resilience(deadline=0.2)) as handler:
        for _ in range(2):
            with pytest.raises(TimeoutExceededError, match="stopped at the call's deadline") as caught:
                await handler.async_fetch_value(endless)
            assert caught.value.attempts == 1
            assert 0.2 <= caught.value.elapsed < 3
        with pytest.raises(TimeoutExceededError, match="deadline"):
            await handler.async_execute_script(f"CREATE TABLE t (a); INSERT INTO t {endless}")
        assert await handler.async_list_tables() == []
        assert await handler.async_fetch_value("SELECT 1") == 1
