"""Pull CCEE's hourly prices of 2025 from an unreliable portal into SQLite, and prove that none is lost or doubled.

The portal is `ccee_portal`, on this machine: real prices, seeded faults. They are pulled twice, by a plain
loop and by many tasks. Needs the extra `arrow` and matplotlib, and for `--backend trio` the extra `trio`.
"""

from __future__ import annotations

import argparse
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pyarrow as pa
import pyarrow.compute as pc

from echo_connhandler import (
    HttpConnProperties,
    HttpHandler,
    Resilience,
    RetryDetails,
    SqlLiteConnProperties,
    SqlLiteHandler,
)
from examples.ccee_portal import KINDS, RESOURCE_ID, CceePortal
from examples.ccee_report import Progress, monthly_means, print_table, save_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx

SEARCH = "/api/3/action/datastore_search"
IN_FLIGHT = 8
KEY = ("MES_REFERENCIA", "SUBMERCADO", "DIA", "HORA")
TYPES: dict[str, pa.DataType] = {
    "MES_REFERENCIA": pa.int32(),
    "SUBMERCADO": pa.string(),
    "PERIODO_COMERCIALIZACAO": pa.int16(),
    "DIA": pa.int8(),
    "HORA": pa.int8(),
    "PLD_HORA": pa.decimal128(8, 2),  # in SQLite DECIMAL_TEXT: never a float
}
SCHEMA = pa.schema(TYPES)


@dataclass
class Run:
    """One pull of all prices into one table, and what became of it."""

    name: str
    table: str
    pages: list[pa.Table] = field(default_factory=list)
    total: int = 0  # rows that the portal says there are
    retries: int = 0

    def __post_init__(self) -> None:
        self.progress = Progress(self.name, lambda: f"{self.retries} retries")

    @property
    def rows(self) -> int:
        return sum(page.num_rows for page in self.pages)

    def count_retry(self, details: RetryDetails) -> None:
        self.retries += 1

    def saved(self, page: pa.Table, total: int) -> None:
        self.pages.append(page)
        self.total = total
        self.progress.show(self.rows, total)


# Asking


def api_for(run: Run, url: str, *, skip_connect: bool = False) -> HttpHandler:
    resilience = Resilience(before_retry=(run.count_retry,))
    props = HttpConnProperties(host=url)
    return HttpHandler(props, resilience=resilience, pool_size=IN_FLIGHT, skip_connect=skip_connect)


def query(offset: int, limit: int) -> dict[str, str | int]:
    return {"resource_id": RESOURCE_ID, "sort": "_id", "offset": offset, "limit": limit}


def read_page(response: httpx.Response) -> tuple[pa.Table, int]:
    """The rows of a page, and how many the portal says there are in all."""
    result: dict[str, Any] = response.json(parse_float=Decimal)["result"]
    rows = [{**record, "DIA": int(record["DIA"])} for record in result["records"]]  # some are "09", some "9"
    return pa.Table.from_pylist(rows, schema=SCHEMA), result["total"]


# Pulling: the next offset follows from the rows that came, as the portal clamps `limit` without a word.
# First one page after the other.


def pull(run: Run, api: HttpHandler, db: SqlLiteHandler, page_size: int) -> None:
    offset, total = 0, 1
    while offset < total:
        page, total = read_page(api.get(SEARCH, params=query(offset, page_size)))
        if not page.num_rows:
            return  # fewer rows than promised: the proof will tell
        db.write_frame(page, run.table, mode="upsert", keys=KEY)
        run.saved(page, total)
        offset += page.num_rows


# Then many at once: of all tasks the handler lets `pool_size` have a request in flight.


async def async_pull(run: Run, api: HttpHandler, db: SqlLiteHandler, page_size: int) -> None:
    first, total = read_page(await api.async_get(SEARCH, params=query(0, page_size)))
    await db.async_write_frame(first, run.table, mode="upsert", keys=KEY)
    run.saved(first, total)
    if not (step := first.num_rows):
        return
    async with anyio.create_task_group() as tasks:
        for offset in range(step, total, step):
            tasks.start_soon(async_pull_part, run, api, db, offset, min(offset + step, total))


async def async_pull_part(run: Run, api: HttpHandler, db: SqlLiteHandler, offset: int, stop: int) -> None:
    while offset < stop:
        page, total = read_page(await api.async_get(SEARCH, params=query(offset, stop - offset)))
        if not page.num_rows:
            return
        await db.async_write_frame(page, run.table, mode="upsert", keys=KEY)
        run.saved(page, total)
        offset += page.num_rows


# Both runs


@contextmanager
def measured(run: Run, portal: CceePortal, db: SqlLiteHandler) -> Iterator[None]:
    """Begin with an empty table and the portal's first faults, and end with a line that sums the run up."""
    db.write_frame(SCHEMA.empty_table(), run.table, mode="replace", keys=KEY)
    portal.reset()
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        run.progress.close()
    kinds = ", ".join(f"{portal.faults[kind]} x {kind}" for kind in KINDS)
    print(f"{run.name:8}{run.rows:,} rows in {seconds:.1f} s, {len(run.pages)} pages, {run.retries} retries")
    print(f"{'':8}survived {portal.faults.total()} faults: {kinds}\n")


def run_sync(portal: CceePortal, db: SqlLiteHandler, page_size: int) -> Run:
    run = Run("sync", "prices_sync")
    with measured(run, portal, db), api_for(run, portal.url) as api:
        pull(run, api, db, page_size)
    return run


def run_async(portal: CceePortal, db: SqlLiteHandler, page_size: int, backend: str) -> Run:
    run = Run(backend, "prices_async")

    async def main() -> None:
        async with api_for(run, portal.url, skip_connect=True) as api, db:
            await async_pull(run, api, db, page_size)

    with measured(run, portal, db):
        anyio.run(main, backend=backend)
    return run


# Proving


def prove(portal: CceePortal, db: SqlLiteHandler, runs: Sequence[Run]) -> bool:
    """Print count and exact sum of the source's file and of each table, and tell whether all are equal."""
    print(f"{'Proof':34}{'rows':>8}{'sum of prices, R$/MWh':>24}")
    print(f"{'CSV file of the source':34}{portal.count:8,}{portal.sum:24,}")
    wrong = []
    for run in runs:
        if run.rows != run.total:
            wrong.append(f"{run.table}: {run.rows:,} rows came, the portal said {run.total:,}")
        wrong += compare(portal, db, run.table)
        for page in run.pages:
            db.write_frame(page, run.table, mode="upsert", keys=KEY)
        wrong += compare(portal, db, run.table, ", upserted again")
    print("NOT PROVED" if wrong else "PROVED: every row of the source is there once, and the sums agree to the cent")
    print(*(f"  {line}\n" for line in wrong), sep="", end="")
    return not wrong


def compare(portal: CceePortal, db: SqlLiteHandler, table: str, when: str = "") -> list[str]:
    """Print a table's count and exact sum, and return in what it differs from the source."""
    prices = db.read_to_arrow(f"SELECT PLD_HORA FROM {table}")["PLD_HORA"]
    count, total = len(prices), pc.sum(prices).as_py() or Decimal(0)
    differences = {"rows": count - portal.count, "R$/MWh in the sum": total - portal.sum}
    wrong = [f"{table}{when}: {by:+,} {unit}" for unit, by in differences.items() if by]
    print(f"{f'table {table}{when}':34}{count:8,}{total:24,}  {'DIFFERENT' if wrong else 'equal'}")
    return wrong


# The demo


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Keep the handlers' log, a line for each retry, in a file and off the terminal."""
    logger = logging.getLogger("echo_connhandler")
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def demo(portal: CceePortal, output: Path, *, backend: str = "asyncio", page_size: int = 1000) -> bool:
    """Pull, show and prove; tell whether the proof held. `portal` is running, files go to `output`."""
    output.mkdir(parents=True, exist_ok=True)
    database, chart = output / "ccee_prices.sqlite", output / "ccee_prices.png"
    print(f"CCEE's hourly prices of 2025, from {portal.url}, where {portal.fault_rate:.0%} of requests go wrong\n")
    # One connection for all tasks: SQLite has one writer, and waiting here is cheaper than waiting for its lock.
    props = SqlLiteConnProperties(path=database)
    with logged_to(output / "demo.log"), SqlLiteHandler(props, pool_size=1) as db:
        runs = [run_sync(portal, db, page_size), run_async(portal, db, page_size, backend)]
        means = monthly_means(db.read_to_arrow(f"SELECT * FROM {runs[-1].table}"))
        print_table(means)
        save_chart(means, chart)
        print(f"\nFiles   {database}, {chart}\n")
        return prove(portal, db, runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="which requests go wrong, and how")
    parser.add_argument("--fault-rate", type=float, default=0.35, help="share of requests that go wrong, 0 to 1")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for files")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--page-size", type=int, default=1000, help="rows asked for at once; 1000 are given at most")
    options = parser.parse_args()
    with CceePortal(seed=options.seed, fault_rate=options.fault_rate) as portal:
        proved = demo(portal, options.output, backend=options.backend, page_size=options.page_size)
    return 0 if proved else 1


if __name__ == "__main__":
    raise SystemExit(main())
