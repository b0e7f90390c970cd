"""MySqlHandler beside what reads and writes MariaDB's frames elsewhere: connectorx, polars, pandas, pymysql.

A server of the tests' kind is started. Each round runs all contenders one after the other, in an order that turns, each
in a fresh process for its memory. Printed are the medians of the rounds' ratios and their spread, and the greatest
growth of memory during a call. Run: `python -m benchmarks.sql_mysql [rounds] [rows]`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

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


def child(name: str, address: dict[str, Any]) -> None:
    """Do one thing and print its seconds and the greatest growth of memory in MB; libraries are imported before."""
    for library in ("numpy", "pandas", "polars", "pyarrow.compute"):
        importlib.import_module(library)
    work = ALL[name](address)
    process = psutil.Process()
    before = most = process.memory_info().rss
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    del result
    print(json.dumps([seconds, (most - before) / 1e6]), flush=True)


def measured(name: str, address: dict[str, Any]) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.sql_mysql", "--child", name, json.dumps(address)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def compare(title: str, names: list[str], base: str, rounds: int, address: dict[str, Any]) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(measured(name, address))
    print(f"\n{title}: seconds, x {base} (from, to), MB")
    for name, runs in found.items():
        ratios = [mine[0] / theirs[0] for mine, theirs in zip(runs, found[base], strict=True)]
        seconds = statistics.median([run[0] for run in runs])
        memory = statistics.median([run[1] for run in runs])
        spread = f"({min(ratios):.2f}, {max(ratios):.2f})"
        print(f"{name:20} {seconds:7.2f} {statistics.median(ratios):6.2f} {spread:16} {memory:6.0f}", flush=True)


def main(rounds: int, rows: int) -> None:
    from tests.servers.mariadb import MariaDbServer

    settings = {"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "256M"}
    with MariaDbServer(local_infile=True, settings=settings) as server:
        made = server.new_database()
        address = {name: getattr(made, name) for name in ("host", "port", "user", "password", "database")}
        with handler(address) as opened:
            opened.write_frame(frame(rows), "readings", mode="create")
        compare(f"{rows} rows to Arrow", [each.__name__ for each in READERS], "read_connectorx", rounds, address)
        compare(f"{rows} rows to pandas", [each.__name__ for each in TO_PANDAS], "read_pandas", rounds, address)
        compare(f"{WRITTEN} rows written", [each.__name__ for each in WRITERS], "write_pandas", rounds, address)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
