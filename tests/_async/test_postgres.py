"""What is PostgreSQL's own: its statements, errors and catalogue, alike through both libraries."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from typing import Any

import pytest

from echo_connhandler import PgSqlHandler, Resilience
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConstraintError,
    InvalidRequestError,
    ParameterError,
    QueryError,
)
from echo_connhandler.testing import no_waits

from .postgres_handlers import Make, handler, make, watcher  # noqa: F401 - some are fixtures

# Statements


async def test_rows_affected(handler: PgSqlHandler) -> None:
    assert await handler.async_execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n") == 0
    assert await handler.async_execute("UPDATE t SET n = n + :d WHERE n > :m", {"d": 1, "m": 3}) == 2
    assert await handler.async_execute("DELETE FROM t WHERE n = 1") == 1
    assert await handler.async_execute("SELECT * FROM t") == 0
    assert await handler.async_fetch_all("INSERT INTO t VALUES (9) RETURNING n") == [{"n": 9}]
    assert await handler.async_execute_many("INSERT INTO t VALUES (:n);", [{"n": n} for n in range(1100)]) == 1100
    assert await handler.async_execute_many("DELETE FROM t WHERE n = :n -- gone", [{"n": 1099}, {"n": 77777}]) == 1
    assert await handler.async_execute_many("INSERT INTO t VALUES (:n);; -- added", [{"n": 1}, {"n": 2}]) == 2
    assert await handler.async_execute("COMMENT ON TABLE t IS 'x'") == 0


async def test_rows_that_go_through_a_view_are_counted(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(
        "CREATE TABLE t (n int); CREATE VIEW plain AS SELECT n FROM t;"
        "CREATE VIEW triggers AS SELECT n + 1 AS n FROM t; CREATE VIEW rules AS SELECT n + 1 AS n FROM t;"
        "CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO t VALUES (NEW.n); RETURN NEW; END $$;"
        "CREATE TRIGGER put INSTEAD OF INSERT ON triggers FOR EACH ROW EXECUTE FUNCTION put();"
        "CREATE RULE put AS ON INSERT TO rules DO INSTEAD INSERT INTO t VALUES (NEW.n) RETURNING n"
    )
    for view in ("plain", "triggers", "rules"):
        assert await handler.async_execute_many(f"INSERT INTO {view} VALUES (:n)", [{"n": 1}, {"n": 2}]) == 2, view
    assert await handler.async_fetch_value("SELECT count(*) FROM t") == 6


async def test_the_first_row_of_many_is_fetched_alone(handler: PgSqlHandler) -> None:
    endless = "SELECT generate_series(1, 100000000) AS n, repeat('x', 1000)"
    assert (await handler.async_fetch_one(endless) or {})["n"] == 1
    assert await handler.async_fetch_value("SELECT 7") == 7
    async with handler.async_transaction():
        assert await handler.async_fetch_value("SELECT n FROM generate_series(3, 5000) n") == 3
        assert await handler.async_fetch_value("SELECT 8") == 8


@pytest.mark.parametrize("text", ["SELECT 1; DROP TABLE t", "SELECT :n; DROP TABLE t"])
async def test_one_call_is_one_statement(handler: PgSqlHandler, text: str) -> None:
    await handler.async_execute("CREATE TABLE t (n int)")
    for _ in range(3):  # also when prepared
        with pytest.raises(QueryError, match="multiple commands"):
            await handler.async_execute(text, {"n": 1})
    assert await handler.async_table_exists("t")


async def test_values_are_never_sql(handler: PgSqlHandler) -> None:
    await handler.async_execute("CREATE TABLE t (v text, a text[], j jsonb)")
    nasty = ["'; DROP TABLE t; --", "\\'; DROP TABLE t; --", "$1", "{a,b}", '","', "$$x$$", ":v", "%s", "E'\\''"]
    for text in nasty:
        given = {"v": text, "a": [text, [text][0]], "j": {text: [text]}}
        await handler.async_execute("INSERT INTO t VALUES (:v, :a, :j)", given)
        row = await handler.async_fetch_one("SELECT * FROM t WHERE v = :v AND a = :a AND j = :j", given)
        assert row == given


@pytest.mark.parametrize("text", ["COPY t FROM STDIN", "COPY t TO STDOUT"])
async def test_copy_by_hand_is_refused(handler: PgSqlHandler, text: str) -> None:
    await handler.async_execute("CREATE TABLE t (n int)")
    with pytest.raises(QueryError, match="COPY"):
        await handler.async_execute(text)
    assert await handler.async_fetch_value("SELECT 1") == 1


async def test_a_table_may_change_under_its_statements(make: Make, watcher: PgSqlHandler) -> None:
    async with make(pool_size=1) as handler:
        await handler.async_execute("CREATE TABLE t (n int)")
        for _ in range(3):
            await handler.async_execute("INSERT INTO t VALUES (:n)", {"n": "1"})
            await handler.async_fetch_all("SELECT * FROM t")
        await watcher.async_execute("ALTER TABLE t ADD COLUMN v text DEFAULT 'x', ALTER COLUMN n TYPE text")
        assert (await handler.async_fetch_one("SELECT * FROM t") or {}) == {"n": "1", "v": "x"}
        await handler.async_execute("INSERT INTO t VALUES (:n)", {"n": "word"})
        await watcher.async_execute("ALTER TABLE t DROP COLUMN v")

        async def work(inner: PgSqlHandler) -> int:
            return len(await inner.async_fetch_all("SELECT * FROM t"))

        with contextlib.suppress(QueryError):  # "cached plan": in a transaction no statement can be tried again
            await handler.async_run_in_transaction(work)
        assert await handler.async_run_in_transaction(work) == 4
        await handler.async_execute("DROP TABLE t")
        await handler.async_execute("CREATE TABLE t (n date)")
        await handler.async_execute("INSERT INTO t VALUES (:n)", {"n": "2026-01-01"})


async def test_statements_that_a_pooler_lost_are_prepared_no_more(make: Make) -> None:
    async with make(pool_size=1) as handler:
        for _ in range(3):
            assert await handler.async_fetch_value("SELECT n FROM generate_series(1, :m) n", {"m": 3}) == 1
        await handler.async_execute("DEALLOCATE ALL")
        for _ in range(3):
            assert await handler.async_fetch_value("SELECT n FROM generate_series(1, :m) n", {"m": 3}) == 1
        assert await handler.async_fetch_value("SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql") <= 2


async def test_a_session_is_set_up_as_values_need_it(make: Make) -> None:
    settings = {"application_name": "mine here", "server_settings": {"search_path": "pg_catalog, public", "jit": "off"}}
    async with make(properties=settings) as handler:
        shown = [await handler.async_fetch_value(f"SHOW {name}") for name in ("TimeZone", "DateStyle", "jit")]
        assert shown == ["UTC", "ISO, MDY", "off"]
        assert await handler.async_fetch_value("SHOW application_name") == "mine here"
        assert await handler.async_fetch_value("SHOW search_path") == "pg_catalog, public"
    async with make(properties={"server_settings": {"timezone": "America/Sao_Paulo"}}) as handler:
        assert await handler.async_fetch_value("SHOW TimeZone") == "America/Sao_Paulo"


@pytest.mark.parametrize(
    "name",
    [
        "datestyle",
        "IntervalStyle",
        "extra_float_digits",
        "bytea_output",
        "client_encoding",
        "standard_conforming_strings",
    ],
)
async def test_settings_on_which_values_depend_are_refused(make: Make, name: str) -> None:
    handler = make(properties={"server_settings": {name: "other", "jit": "off"}})
    with no_waits() as waits, pytest.raises(InvalidRequestError, match=f"can't have {name}:"):
        await handler.async_connect()
    await handler.async_close()
    assert not waits


# Errors


@pytest.mark.parametrize(
    ("sql", "kind", "code", "says"),
    [
        ("SELEC 1", QueryError, "42601", "syntax error"),
        ("SELECT * FROM nowhere", QueryError, "42P01", "nowhere"),
        ("SELECT 1 / 0", QueryError, "22012", "division by zero"),
        ("INSERT INTO t VALUES (1)", ConstraintError, "23505", r"Key \(n\)=\(1\) already exists"),
        ("INSERT INTO t VALUES (NULL)", ConstraintError, "23502", "null value"),
        ("INSERT INTO t VALUES (-1)", ConstraintError, "23514", "check constraint"),
        ("SELECT pg_catalog.lower(1, 2)", QueryError, "42883", "No function matches"),
    ],
)
async def test_errors_tell_what_the_server_says(
    handler: PgSqlHandler, sql: str, kind: type[QueryError], code: str, says: str
) -> None:
    await handler.async_execute("CREATE TABLE t (n int PRIMARY KEY CHECK (n > 0))")
    await handler.async_execute("INSERT INTO t VALUES (1)")
    with pytest.raises(kind, match=says) as caught:
        await handler.async_execute(sql)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.attempts == 1
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.code) == (str(caught.value), code)
    assert str(handler.props.password) not in str(caught.value)


async def test_a_wrong_number_of_values_is_told(handler: PgSqlHandler) -> None:
    for values in ((), (1, 2)):
        with pytest.raises((ParameterError, QueryError)):
            await handler.async_fetch_value("SELECT $1::int", values)
    assert await handler.async_fetch_value("SELECT $1::int", (3,)) == 3


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"password": "wrong-secret"}, AuthenticationError),
        ({"user": "nobody-here"}, AuthenticationError),
        ({"database": "nowhere"}, ConnectionFailedError),
    ],
)
async def test_a_refused_login_is_not_repeated(make: Make, properties: dict[str, Any], kind: type[Exception]) -> None:
    props = dataclasses.replace(make().props, **properties)
    handler = PgSqlHandler(props, skip_connect=True)
    with no_waits() as waits, pytest.raises(kind) as caught:
        await handler.async_connect()
    assert list(waits) == []
    assert "wrong-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await handler.async_close()


async def test_too_many_connections_are_waited_for(make: Make, handler: PgSqlHandler) -> None:
    name = handler.props.database
    await handler.async_execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 1')
    other = make(resilience=Resilience(max_retries=0, max_conn_retries=2))
    with no_waits() as waits, pytest.raises(ConnectionFailedError, match="too many connections"):
        await other.async_connect()
    assert len(list(waits)) == 2
    await handler.async_execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 9')
    await other.async_connect()
    await other.async_close()


# Catalogue


async def test_the_catalogue(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(
        """
        CREATE SCHEMA "Other s";
        CREATE TABLE "T 1" (
            id bigint GENERATED ALWAYS AS IDENTITY, "B" varchar(20) NOT NULL DEFAULT 'x''y', c numeric(10, 2)[],
            d timestamptz DEFAULT now(), e int GENERATED ALWAYS AS (2) STORED, gone int, PRIMARY KEY ("B", id)
        );
        ALTER TABLE "T 1" DROP COLUMN gone;
        CREATE VIEW v AS SELECT 1 AS one;
        CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
        CREATE TABLE parts (n int) PARTITION BY RANGE (n);
        CREATE TABLE "Other s".t (n int);
        CREATE INDEX i ON "T 1" (d);
        """
    )
    assert await handler.async_list_tables() == ["T 1", "m", "parts", "v"]
    assert await handler.async_list_tables("Other s") == ["t"]
    assert await handler.async_list_tables("nowhere") == []
    exists = handler.async_table_exists
    assert [await exists("T 1"), await exists("t 1"), await exists("v"), await exists("i")] == [
        True,
        False,
        True,
        False,
    ]
    assert [await exists("t"), await exists("t", "Other s"), await exists("v", "Other s")] == [False, True, False]
    columns = await handler.async_describe_table("T 1")
    assert [(c.name, c.type, c.nullable, c.default, c.primary_key) for c in columns] == [
        ("id", "bigint", False, "GENERATED ALWAYS AS IDENTITY", 2),
        ("B", "character varying(20)", False, "'x''y'::character varying", 1),
        ("c", "numeric(10,2)[]", True, None, 0),
        ("d", "timestamp with time zone", True, "now()", 0),
        ("e", "integer", True, "GENERATED ALWAYS AS (2) STORED", 0),
    ]
    assert [c.name for c in await handler.async_describe_table("m")] == ["one"]
    with pytest.raises(QueryError, match="no table"):
        await handler.async_describe_table("nowhere")


async def test_which_keys_are_unique(handler: PgSqlHandler) -> None:
    await handler.async_execute_script(
        """
        CREATE TABLE t (a int, b int, c int, d int, e int, f text, PRIMARY KEY (b, a), UNIQUE (c) INCLUDE (d),
            UNIQUE (d) DEFERRABLE);
        CREATE UNIQUE INDEX ON t (e) WHERE a > 0;
        CREATE UNIQUE INDEX ON t (lower(f));
        CREATE SCHEMA s;
        CREATE TABLE s.t (a int UNIQUE);
        """
    )
    unique = handler._dialect.unique
    assert unique is not None

    async def told(*keys: str, schema: str | None = None) -> int:
        sql, params = unique("t", schema, keys)
        value: int = await handler.async_fetch_value(sql, params)
        return value

    assert [await told("a", "b"), await told("b", "a"), await told("c")] == [1, 1, 1]
    assert [await told("a"), await told("d"), await told("e"), await told("f"), await told("c", "d")] == [0, 0, 0, 0, 0]
    assert [await told("a", schema="s"), await told("a", "b", schema="s")] == [1, 0]
