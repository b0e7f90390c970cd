"""PgSqlHandler beside what reads and writes PostgreSQL's frames elsewhere, in one run. MariaDB: `sql_mysql.py`.

A server of the tests' kind is started. Each round runs all candidates one after the other, in an order that turns, each
in a fresh process for its memory. Printed are the medians of the rounds' ratios and their spread, and the greatest
growth of memory during a call. Run: `python -m benchmarks.sql [rounds] [rows]`.

Another database is another table of candidates: functions that take its address and return the call to be timed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.rounds import compare, did_one
from benchmarks.sql_mysql import WRITTEN, frame, names

Address = dict[str, Any]
QUERY = "SELECT * FROM readings"


def url(address: Address, scheme: str = "postgresql") -> str:
    where = f"{address['host']}:{address['port']}/{address['database']}"
    return f"{scheme}://{address['user']}:{address['password']}@{where}"


def handler(address: Address) -> Any:
    from echo_connhandler import PgSqlHandler, SqlConnProperties

    return PgSqlHandler(SqlConnProperties(**address), skip_connect=True)


# Candidates: what is done before the call is not timed, connecting too where the peer allows


def read_ours(address: Address) -> Callable[[], object]:
    opened = handler(address)
    opened.read_to_arrow("SELECT 1 AS a")
    return lambda: opened.read_to_arrow(QUERY)


def read_ours_asyncio(address: Address) -> Callable[[], object]:
    opened = handler(address)

    async def read() -> float:
        async with opened:
            await opened.async_read_to_arrow("SELECT 1 AS a")
            began = time.perf_counter()
            await opened.async_read_to_arrow(QUERY)
            return time.perf_counter() - began

    return lambda: asyncio.run(read())


def read_psql(address: Address) -> Callable[[], object]:
    """The limit: the server's bytes, thrown away by C."""
    command = ["psql", url(address), "-c", f"COPY ({QUERY}) TO STDOUT (FORMAT binary)"]
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def read_connectorx(address: Address) -> Callable[[], object]:
    import connectorx

    return lambda: connectorx.read_sql(url(address), QUERY, return_type="arrow")


def read_adbc(address: Address) -> Callable[[], object]:
    from adbc_driver_postgresql import dbapi

    cursor = dbapi.connect(url(address)).cursor()

    def read() -> object:
        cursor.execute(QUERY)
        return cursor.fetch_arrow_table()

    return read


def read_polars(address: Address) -> Callable[[], object]:
    import polars as pl

    return lambda: pl.read_database_uri(QUERY, url(address))


def read_ours_pandas(address: Address) -> Callable[[], object]:
    opened = handler(address)
    opened.read_to_pandas("SELECT 1 AS a")
    return lambda: opened.read_to_pandas(QUERY)


def read_connectorx_pandas(address: Address) -> Callable[[], object]:
    import connectorx

    return lambda: connectorx.read_sql(url(address), QUERY)


def read_pandas(address: Address) -> Callable[[], object]:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(url(address, "postgresql+psycopg"))
    return lambda: pd.read_sql(QUERY, engine)


def read_psycopg(address: Address) -> Callable[[], object]:
    import psycopg

    connection = psycopg.connect(url(address))
    return lambda: connection.execute(QUERY).fetchall()


def read_asyncpg(address: Address) -> Callable[[], object]:
    import asyncpg

    async def read() -> float:
        connection = await asyncpg.connect(url(address))
        began = time.perf_counter()
        await connection.fetch(QUERY)
        ended = time.perf_counter()
        await connection.close()
        return ended - began

    return lambda: asyncio.run(read())


def write_ours(address: Address) -> Callable[[], object]:
    opened = handler(address)
    opened.connect()
    table = frame(WRITTEN)
    return lambda: opened.write_frame(table, "written", mode="replace")


def write_ours_asyncio(address: Address) -> Callable[[], object]:
    opened = handler(address)
    table = frame(WRITTEN)

    async def write() -> float:
        async with opened:
            began = time.perf_counter()
            await opened.async_write_frame(table, "written", mode="replace")
            return time.perf_counter() - began

    return lambda: asyncio.run(write())


def write_adbc(address: Address) -> Callable[[], object]:
    from adbc_driver_postgresql import dbapi

    connection = dbapi.connect(url(address))
    table = frame(WRITTEN)

    def write() -> None:
        connection.cursor().adbc_ingest("written", table, mode="replace")
        connection.commit()

    return write


def write_pandas(address: Address) -> Callable[[], object]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url(address, "postgresql+psycopg"))
    data = frame(WRITTEN).to_pandas()
    return lambda: data.to_sql("written", engine, if_exists="replace", index=False)


READERS = (read_ours, read_ours_asyncio, read_psql, read_connectorx, read_adbc, read_polars)
TO_PANDAS = (read_ours_pandas, read_connectorx_pandas, read_pandas)
ROWS = (read_ours, read_psycopg, read_asyncpg)
WRITERS = (write_ours, write_ours_asyncio, write_adbc, write_pandas)
ALL = {each.__name__: each for each in (*READERS, *TO_PANDAS, *ROWS, *WRITERS)}


def main(rounds: int, rows: int) -> None:
    from tests.servers.postgres import PostgresServer

    with PostgresServer(settings={"shared_buffers": "512MB"}) as server:
        made = server.new_database()
        address = {name: getattr(made, name) for name in ("host", "port", "user", "password", "database")}
        with handler(address) as opened:
            opened.write_frame(frame(rows), "readings", mode="create")
            opened.execute("VACUUM ANALYZE readings")
        few = max(rounds // 2, 1)
        compare("benchmarks.sql", f"{rows} rows to Arrow", names(READERS), ["read_connectorx"], rounds, address)
        compare("benchmarks.sql", f"{rows} rows to pandas", names(TO_PANDAS), ["read_pandas"], few, address)
        compare("benchmarks.sql", f"{rows} rows as Python's rows", names(ROWS), ["read_psycopg"], few, address)
        compare("benchmarks.sql", f"{WRITTEN} rows written", names(WRITERS), ["write_pandas"], rounds, address)


if __name__ == "__main__":
    if not did_one(ALL, ("numpy", "pandas", "polars", "pyarrow.compute")):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
