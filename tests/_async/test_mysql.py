"""What is MySQL's and MariaDB's own: sessions, logins, results, the catalogue."""

from __future__ import annotations

import logging
import tracemalloc
from functools import partial
from typing import Any

import pytest

from echo_connhandler import MySqlHandler, connect
from echo_connhandler.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectTimeoutError,
    InvalidRequestError,
    QueryError,
)
from echo_connhandler.testing import no_waits
from tests.databases import MYSQL_URL, start_ours
from tests.servers.daemon import Database
from tests.servers.mariadb import MariaDbServer
from tests.servers.proxy import TcpProxy

from .mysql_handlers import MANY, handler, make, proxy, running, until  # noqa: F401 - some are fixtures

# Sessions


async def test_sessions_are_set_up(mariadb_database: Database) -> None:
    settings = {"sql_mode": "ANSI_QUOTES", "lock_wait_timeout": "77", "tx_isolation": "READ-COMMITTED"}
    async with make(mariadb_database, properties={"server_settings": settings}) as handler:
        row = await handler.async_fetch_one(
            "SELECT @@character_set_client AS cs, @@time_zone AS tz, @@autocommit AS ac, @@lock_wait_timeout AS lw, "
            "@@tx_isolation AS iso, @@sql_mode AS mode"
        )
        assert row == {
            "cs": "utf8mb4", "tz": "+00:00", "ac": 1, "lw": 77, "iso": "READ-COMMITTED", "mode": "ANSI_QUOTES",
        }  # fmt: skip
    async with make(mariadb_database) as handler:
        assert "STRICT_TRANS_TABLES" in await handler.async_fetch_value("SELECT @@sql_mode")


@pytest.mark.parametrize("name", ["character_set_client", "NAMES", "time_zone", "autocommit", "x = 1, y", "a b", ""])
async def test_settings_that_values_depend_on_are_refused(mariadb_database: Database, name: str) -> None:
    handler = make(mariadb_database, properties={"server_settings": {name: "gbk"}})
    with pytest.raises(InvalidRequestError, match="server_settings"):
        await handler.async_connect()


@pytest.mark.parametrize(
    "sql",
    [
        "SET NAMES gbk",
        "set /* */ names gbk",
        "SET CHARACTER SET gbk",
        "SET SESSION character_set_client = gbk",
        "SET @@time_zone = '+03:00'",
        "SET @@autocommit = 0",
        "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
    ],
)
async def test_statements_that_change_what_values_mean_are_refused(handler: MySqlHandler, sql: str) -> None:
    async with handler:
        with pytest.raises(QueryError, match="transactions are begun|to set"):
            await handler.async_execute(sql)
        await handler.async_execute("SET @a = 'b'")


async def test_a_statement_is_one(handler: MySqlHandler) -> None:
    async with handler:
        with pytest.raises(QueryError) as caught:
            await handler.async_execute("SELECT 1; SELECT 2")
        assert caught.value.code == "1064"
        assert await handler.async_fetch_value("SELECT ';'") == ";"


async def test_no_file_is_sent_to_a_server_that_asks_for_one(handler: MySqlHandler, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    async with handler:
        await handler.async_execute("CREATE TABLE t (v VARCHAR(20))")
        with pytest.raises(QueryError, match="asked for a file"):
            await handler.async_execute("LOAD DATA LOCAL INFILE :path INTO TABLE t", {"path": str(secret)})
        assert await handler.async_fetch_value("SELECT count(*) FROM t") == 0


async def test_rows_that_stay_as_they_are_count(handler: MySqlHandler) -> None:
    async with handler:
        await handler.async_execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER)")
        await handler.async_execute("INSERT INTO t VALUES (1, 1), (2, 2)")
        assert await handler.async_execute("UPDATE t SET v = 1") == 2
        assert await handler.async_execute("UPDATE t SET v = 1") == 2


async def test_nothing_is_cut_to_fit(handler: MySqlHandler) -> None:
    async with handler:
        await handler.async_execute("CREATE TABLE t (v VARCHAR(3), n TINYINT)")
        for values in ("('abcd', 1)", "('a', 300)", "('a', 'x')"):
            with pytest.raises(QueryError):
                await handler.async_execute(f"INSERT INTO t VALUES {values}")
        assert await handler.async_fetch_all("SELECT * FROM t") == []


async def test_warnings_are_told_to_the_log(handler: MySqlHandler, caplog: pytest.LogCaptureFixture) -> None:
    async with handler:
        with caplog.at_level(logging.DEBUG, "echo_connhandler.sql"):
            await handler.async_fetch_all("SELECT CAST('x1' AS INTEGER) + :n AS n", {"n": 1})
        assert "Truncated incorrect INTEGER value" in caplog.text


async def test_urls_and_a_socket(mariadb: Any, mariadb_database: Database) -> None:
    for scheme in ("mysql", "mariadb"):
        made = connect(mariadb_database.url(scheme), skip_connect=True)
        async with made:
            assert await made.async_fetch_value("SELECT DATABASE()") == mariadb_database.database
        assert mariadb_database.password not in repr(made)
    if isinstance(mariadb, MariaDbServer):
        async with make(mariadb_database, properties={"host": str(mariadb.folder / "socket")}) as made:
            assert await made.async_fetch_value("SELECT 1") == 1


# Logins


async def test_a_refused_login_is_not_repeated(mariadb_database: Database) -> None:
    for wrong in ({"password": "s3cret"}, {"user": "nobody"}, {"database": "no_such"}):
        handler = make(mariadb_database, properties=wrong)
        with no_waits() as waits, pytest.raises(AuthenticationError) as caught:
            await handler.async_connect()
        await handler.async_close()
        assert not waits
        assert "s3cret" not in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up_in_time(mariadb_database: Database, proxy: TcpProxy) -> None:
    proxy.accept()
    proxy.cut("down", after=0, how="stall", times=None)
    properties = {"port": proxy.port, "conn_timeout": 0.3}
    with pytest.raises(ConnectTimeoutError):
        await make(mariadb_database, properties=properties, max_conn_retries=0).async_connect()


async def test_too_many_connections_are_waited_for() -> None:
    with start_ours(MariaDbServer(settings={"max_user_connections": 2}), MYSQL_URL) as server:
        database = server.new_database()
        third = make(database, max_conn_retries=1)
        async with make(database), make(database):
            with no_waits() as waits, pytest.raises(ConnectionFailedError, match="1203|1226"):
                await third.async_connect()
            assert len(waits) == 1
        await until(partial(connects, third))
        await third.async_close()


async def connects(handler: MySqlHandler) -> bool:
    try:
        await handler.async_connect()
    except ConnectionFailedError:
        return False
    return True


# Results read in batches


async def test_results_take_no_memory_however_long_they_are(handler: MySqlHandler) -> None:
    async with handler:
        await handler.async_fetch_value("SELECT 1")
        tracemalloc.start()
        try:
            count = 0
            async for _ in handler.async_iterate(MANY.format(50_000), batch_size=500):
                count += 1
                if count == 1000:  # the rest, 5 MB of it, moves out of the way
                    assert await handler.async_fetch_value("SELECT 2") == 2
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == 50_000
        assert peak < 3_000_000


async def test_many_results_are_read_side_by_side(handler: MySqlHandler) -> None:
    async with handler, handler.async_transaction():
        rows: list[int] = []
        async for outer in handler.async_iterate(MANY.format(40), batch_size=3):
            async for inner in handler.async_iterate("SELECT seq FROM seq_1_to_30", batch_size=7):
                rows.append(inner["seq"])
                if inner["seq"] == outer["seq"]:
                    break
        assert len(rows) == sum(min(n, 30) for n in range(1, 41))


async def test_a_long_result_left_early_is_stopped(mariadb_database: Database) -> None:
    async with make(mariadb_database) as beside, make(mariadb_database, pool_size=1) as handler:
        session = await handler.async_fetch_value("SELECT CONNECTION_ID()")
        for most in (10, 50_000_000):
            async for _ in handler.async_iterate(MANY.format(most), batch_size=5):
                break
            assert await handler.async_fetch_one(MANY.format(most)) == {"seq": 1, "text": "x" * 100}
            assert not await running(beside, "REPEAT")
        assert await handler.async_fetch_value("SELECT CONNECTION_ID()") == session


async def test_a_query_that_fails_after_its_first_rows(handler: MySqlHandler) -> None:
    query = "SELECT IF(seq < 90000, seq, (SELECT 1 UNION ALL SELECT 2)) AS n FROM seq_1_to_90000"
    async with handler:
        for between in (False, True):
            count = 0
            with pytest.raises(QueryError, match="more than 1 row"):
                async for _ in handler.async_iterate(query, batch_size=100):
                    count += 1
                    if between and count == 100:
                        assert await handler.async_fetch_value("SELECT 2") == 2
            assert await handler.async_fetch_value("SELECT 3") == 3


# The catalogue


async def test_the_catalogue(mariadb_database: Database, mariadb: Any) -> None:
    async with make(mariadb_database) as handler:
        await handler.async_execute(
            "CREATE TABLE `b t` (`k%` VARCHAR(5) NOT NULL, n INTEGER UNSIGNED DEFAULT 7, s VARCHAR(9) DEFAULT 'a''b', "
            "at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (n, `k%`))"
        )
        await handler.async_execute("CREATE VIEW a AS SELECT 1 AS x")
        await handler.async_execute("CREATE SEQUENCE s")
        assert await handler.async_list_tables() == ["a", "b t"]
        assert await handler.async_list_tables(mariadb_database.database) == ["a", "b t"]
        assert await handler.async_list_tables("no such") == []
        assert await handler.async_table_exists("a")
        assert not await handler.async_table_exists("s")
        assert not await handler.async_table_exists("a", "information_schema")
        columns = await handler.async_describe_table("b t")
        assert [(c.name, c.nullable, c.default, c.primary_key) for c in columns] == [
            ("k%", False, None, 2),
            ("n", False, "7", 1),
            ("s", True, "'a''b'", 0),
            ("at", False, "current_timestamp()", 0),
        ]
        assert columns[1].type == "int(10) unsigned"
        with pytest.raises(QueryError, match="no table"):
            await handler.async_describe_table("c")


# Frames


async def test_keys_that_a_collation_takes_for_the_same_are_refused(handler: MySqlHandler) -> None:
    pa = pytest.importorskip("pyarrow")
    async with handler:
        await handler.async_execute("CREATE TABLE t (k VARCHAR(9) PRIMARY KEY, v INTEGER) COLLATE utf8mb4_general_ci")
        await handler.async_execute("INSERT INTO t VALUES ('A', 1)")
        with pytest.raises(QueryError, match="collation"):
            await handler.async_write_frame(pa.table({"k": ["a", "A"], "v": [2, 3]}), "t", mode="upsert", keys=["k"])
        assert await handler.async_fetch_all("SELECT * FROM t") == [{"k": "A", "v": 1}]
        await handler.async_write_frame(pa.table({"k": ["a", "b"], "v": [2, 3]}), "t", mode="upsert", keys=["k"])
        assert await handler.async_fetch_all("SELECT * FROM t ORDER BY k") == [{"k": "A", "v": 2}, {"k": "b", "v": 3}]


async def test_tables_made_from_frames_tell_keys_apart(handler: MySqlHandler) -> None:
    pa = pytest.importorskip("pyarrow")
    async with handler:
        frame = pa.table({"k": ["a", "A", "ä", "ae"], "b": [b"1"] * 4, "v": [1, 2, 3, 4]})
        assert await handler.async_write_frame(frame, "t", mode="create", keys=["k", "b"]) == 4
        assert [c.primary_key for c in await handler.async_describe_table("t")] == [1, 2, 0]
        assert await handler.async_list_tables() == ["t"]
