"""MySqlHandler beside what reads and writes MariaDB's frames elsewhere: connectorx, polars, pandas, pymysql.

A server of the tests' kind is started. Each round runs all contenders one after the other, in an order that turns, each
in a fresh process for its memory. Printed are the medians of the rounds' ratios and their spread, and the greatest
growth of memory during a call. Run: `python -m benchmarks.sql_mysql [rounds] [rows]`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.rounds import compare, did_one

QUERY = "SELECT * FROM readings"
WRITTEN = 200_000


def frame(rows: int) -> pa.Table:
    """Rows of timestamp, text, six floats with NULLs, a whole number, a flag and a decimal."""
    rng = np.random.default_rng(7)
    columns: dict[str, Any] = {
        "at": pa.array(np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s")),
        "name": pa.array([f"WTG-{n:03}" for n in range(100)]).take(pa.array(rng.integers(0, 100, rows))),
    }
    for n in range(6):
        columns[f"v{n}"] = pa.array(rng.normal(size=rows) * 100, mask=rng.random(rows) < 0.05)
    columns["counter"] = pa.array(rng.integers(-(2**40), 2**40, rows))
    columns["ok"] = pa.array(rng.random(rows) < 0.5)
    prices = [Decimal(int(price)).scaleb(-4) for price in rng.integers(-(10**9), 10**9, rows)]
    columns["price"] = pa.array(prices, pa.decimal128(18, 4))
    return pa.table(columns)


def handler(address: dict[str, Any], **more: Any) -> Any:
    from echo_connhandler import MySqlHandler, SqlConnProperties

    return MySqlHandler(SqlConnProperties(**address, **more), skip_connect=True)


def url(address: dict[str, Any], scheme: str) -> str:
    return (
        f"{scheme}://{address['user']}:{address['password']}@{address['host']}:{address['port']}/{address['database']}"
    )


def read_ours(address: dict[str, Any]) -> Callable[[], object]:
    opened = handler(address)
    opened.read_to_pandas("SELECT 1 AS a")
    return lambda: opened.read_to_arrow(QUERY)


def read_ours_asyncio(address: dict[str, Any]) -> Callable[[], object]:
    opened = handler(address)

    async def read() -> None:
        async with opened:
            await opened.async_read_to_arrow(QUERY)

    handler(address).read_to_arrow("SELECT 1 AS a")
    return lambda: asyncio.run(read())


def read_ours_pandas(address: dict[str, Any]) -> Callable[[], object]:
    opened = handler(address)
    opened.read_to_pandas("SELECT 1 AS a")
    return lambda: opened.read_to_pandas(QUERY)


def drain(address: dict[str, Any]) -> Callable[[], object]:
    """The limit: the binary protocol received and thrown away, in C as far as Python lets."""
    from echo_connhandler._drivers import mysql_pymysql
    from echo_connhandler._drivers.registry import SqlSettings

    opened: Any = mysql_pymysql.connect(SqlSettings("mysql", handler(address).props, "", ""))
    session = opened.talking

    def talk() -> Any:
        number, _, _ = yield from session.prepare(QUERY.encode())
        reading = yield from session.execute(number)
        last = b""
        while not (last[-9:-6] == b"\5\0\0" and last[-5:-4] == b"\xfe"):
            last = (last + (yield b""))[-9:]
        session.inbox.data, session.inbox.at, session.busy = b"", 0, False
        return reading

    return lambda: opened.drive(talk())


def read_connectorx(address: dict[str, Any]) -> Callable[[], object]:
    import connectorx

    return lambda: connectorx.read_sql(url(address, "mysql"), QUERY, return_type="arrow")


def read_polars(address: dict[str, Any]) -> Callable[[], object]:
    import polars as pl

    return lambda: pl.read_database_uri(QUERY, url(address, "mysql"))


def read_pandas(address: dict[str, Any]) -> Callable[[], object]:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(url(address, "mysql+pymysql"))
    return lambda: pd.read_sql(QUERY, engine)


def write_ours(address: dict[str, Any], **more: Any) -> Callable[[], object]:
    opened = handler(address, **more)
    opened.connect()
    table = frame(WRITTEN)
    return lambda: opened.write_frame(table, "written", mode="replace")


def write_inserts(address: dict[str, Any]) -> Callable[[], object]:
    return write_ours(address, local_infile=False)


def write_pandas(address: dict[str, Any]) -> Callable[[], object]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url(address, "mysql+pymysql"))
    data = frame(WRITTEN).to_pandas()
    return lambda: data.to_sql("written", engine, if_exists="replace", index=False)


READERS = (read_ours, read_ours_asyncio, drain, read_connectorx, read_polars)
TO_PANDAS = (read_ours_pandas, read_pandas)
WRITERS = (write_ours, write_inserts, write_pandas)
ALL = {each.__name__: each for each in (*READERS, *TO_PANDAS, *WRITERS)}


def names(candidates: tuple[Any, ...]) -> list[str]:
    return [each.__name__ for each in candidates]


def main(rounds: int, rows: int) -> None:
    from tests.servers.mariadb import MariaDbServer

    settings = {"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "256M"}
    with MariaDbServer(local_infile=True, settings=settings) as server:
        made = server.new_database()
        address = {name: getattr(made, name) for name in ("host", "port", "user", "password", "database")}
        with handler(address) as opened:
            opened.write_frame(frame(rows), "readings", mode="create")
        compare("benchmarks.sql_mysql", f"{rows} rows to Arrow", names(READERS), ["read_connectorx"], rounds, address)
        compare("benchmarks.sql_mysql", f"{rows} rows to pandas", names(TO_PANDAS), ["read_pandas"], rounds, address)
        compare("benchmarks.sql_mysql", f"{WRITTEN} rows written", names(WRITERS), ["write_pandas"], rounds, address)


if __name__ == "__main__":
    if not did_one(ALL, ("numpy", "pandas", "polars", "pyarrow.compute")):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
