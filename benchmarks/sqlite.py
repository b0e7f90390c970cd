"""SqlLiteHandler beside what it stands on: sqlite3, aiosqlite, and pandas over sqlite3.

Each round runs all contenders one after the other, so that a slow moment of the machine meets them alike. Printed are
the medians of the rounds' ratios and their spread. Run: `python benchmarks/sqlite.py [rounds]`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pandas as pd
import pyarrow as pa

from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler

ROWS = 200_000
BY_KEY = "SELECT id, name, price FROM item WHERE id = ?"
BY_NAME = "SELECT id, name, price FROM item WHERE id = :id"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(title: str, rounds: int, ours: Callable[[], object], theirs: Callable[[], object], *, per: int = 1) -> None:
    ratios, mine, other = [], [], []
    for number in range(rounds + 1):
        pair = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {work: timed(work) for work in pair}
        if number:  # the first round warms up
            ratios.append(seconds[ours] / seconds[theirs])
            mine.append(seconds[ours] / per)
            other.append(seconds[theirs] / per)
    scale, unit = (1e6, "us") if per > 1 else (1, "s")
    show(title, statistics.median(mine) * scale, statistics.median(other) * scale, unit, ratios)


def show(title: str, ours: float, theirs: float, unit: str, ratios: list[float]) -> None:
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(
        f"{title:58s} {ours:8.2f} {unit} to {theirs:8.2f} {unit}: {middle:5.2f} ({low:.2f} to {high:.2f})", flush=True
    )


def frame() -> pa.Table:
    start = dt.datetime(2025, 1, 1)
    columns: dict[str, Any] = {
        "id": pa.array(range(ROWS), pa.int64()),
        "at": pa.array([start + dt.timedelta(minutes=n) for n in range(ROWS)], pa.timestamp("us")),
        "name": pa.array([f"turbine {n % 97}" for n in range(ROWS)]),
    }
    for n in range(8):
        columns[f"value{n}"] = pa.array([(i * (n + 3) % 1000) / 7 for i in range(ROWS)], pa.float64())
    return pa.table(columns)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        handler = SqlLiteHandler(SqlLiteConnProperties(path=path))
        handler.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL)")
        handler.execute_many("INSERT INTO item VALUES (?, ?, ?)", [(n, f"item {n}", n / 7) for n in range(10_000)])
        plain = sqlite3.connect(path, isolation_level=None)
        point_reads(handler, plain, rounds)
        asyncio.run(async_point_reads(handler, path, rounds))
        plain.close()
        plain = sqlite3.connect(path)  # as pandas' users have it: to_sql is one transaction
        frames(handler, plain, rounds)
        plain.close()
        handler.close()


def point_reads(handler: SqlLiteHandler, plain: sqlite3.Connection, rounds: int) -> None:
    count = 5000

    def ours() -> None:
        for n in range(count):
            handler.fetch_one(BY_NAME, {"id": n})

    def ours_positional() -> None:
        for n in range(count):
            handler.fetch_one(BY_KEY, (n,))

    def tuples() -> None:
        for n in range(count):
            plain.execute(BY_KEY, (n,)).fetchone()

    def dicts() -> None:
        for n in range(count):
            cursor = plain.execute(BY_NAME, {"id": n})
            dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))

    compare("fetch_one by key, sync (theirs: sqlite3, tuple)", rounds, ours_positional, tuples, per=count)
    compare("fetch_one by :name, sync (theirs: sqlite3, dict)", rounds, ours, dicts, per=count)


async def async_point_reads(handler: SqlLiteHandler, path: Path, rounds: int) -> None:
    count = 2000
    await handler.async_connect()
    async with aiosqlite.connect(path) as plain:

        async def ours() -> float:
            began = time.perf_counter()
            for n in range(count):
                await handler.async_fetch_one(BY_KEY, (n,))
            return time.perf_counter() - began

        async def theirs() -> float:
            began = time.perf_counter()
            for n in range(count):
                async with plain.execute(BY_KEY, (n,)) as cursor:
                    await cursor.fetchone()
            return time.perf_counter() - began

        ratios = []
        for _ in range(rounds):
            mine, other = await ours(), await theirs()
            ratios.append(mine / other)
        title = "fetch_one by key, asyncio (theirs: aiosqlite)"
        show(title, mine / count * 1e6, other / count * 1e6, "us", ratios)
    await handler.async_close()


def frames(handler: SqlLiteHandler, plain: sqlite3.Connection, rounds: int) -> None:
    table = frame()
    data = table.to_pandas()
    rounds = max(rounds // 3, 2)
    title = f"{ROWS} rows x {table.num_columns}"
    compare(
        f"write_frame {title} (theirs: pandas to_sql)",
        rounds,
        lambda: handler.write_frame(data, "ours", mode="replace"),
        lambda: data.to_sql("theirs", plain, if_exists="replace", index=False),
    )
    upsert = lambda: handler.write_frame(data, "keyed", mode="upsert", keys=["id"])  # noqa: E731
    handler.write_frame(data, "keyed", mode="create", keys=["id"])
    compare(
        f"write_frame upsert {title} (theirs: to_sql)",
        rounds,
        upsert,
        lambda: data.to_sql("theirs", plain, if_exists="replace", index=False),
    )
    query = "SELECT * FROM ours"
    read = lambda: pd.read_sql(query, plain, parse_dates=["at"])  # noqa: E731
    compare(f"read_to_arrow {title} (theirs: pandas read_sql)", rounds, lambda: handler.read_to_arrow(query), read)
    compare(f"read_to_pandas {title} (theirs: pandas read_sql)", rounds, lambda: handler.read_to_pandas(query), read)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
