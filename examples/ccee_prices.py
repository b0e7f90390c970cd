"""Pull CCEE's hourly prices of 2025 from an unreliable portal into SQLite, and prove that none is lost or doubled.

The portal is `CceeEmulator`, on this machine: real prices behind a firewall, cookies that expire, seeded faults. They
are pulled twice, by a plain loop and by many tasks. Needs the extra `arrow` and matplotlib, and for `--backend trio`
the extra `trio`.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pyarrow as pa
import pyarrow.compute as pc

from echo_connhandler import (
    CceeHttpHandler,
    InvalidRequestError,
    Resilience,
    RetryDetails,
    SqlLiteConnProperties,
    SqlLiteHandler,
    TransferError,
)
from echo_connhandler.testing import FAULTS, CceeEmulator
from examples.ccee_report import STYLES, Progress, monthly_means, print_table, save_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = Path(__file__).parent / "data" / "ccee_pld_horario_2025.csv.gz"
DATASET, RESOURCE = "pld_horario", "pld_horario_2025"
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


def source_total() -> tuple[int, Decimal]:
    """Rows and exact sum of prices (R$/MWh) of the source's file: read here, from no portal."""
    _, *lines = gzip.decompress(DATA.read_bytes()).decode("ascii").splitlines()
    return len(lines), sum((Decimal(line.rsplit(";", 1)[1]) for line in lines), Decimal("0.00"))


def portal_for(*, seed: int = 1, fault_rate: float = 0.35, portal: type[CceeEmulator] = CceeEmulator) -> CceeEmulator:
    """The portal with its firewall on; a cookie is good for 25 requests, so it expires in the middle of paging."""
    return portal(
        {RESOURCE: DATA},
        dataset=DATASET,
        seed=seed,
        fault_rate=fault_rate,
        max_limit=1000,
        session_requests=25,
        csv_encoding="latin-1",
        csv_decimal=",",
        csv_gzip=True,
    )


@dataclass
class Run:
    """One pull of all prices into one table, and what became of it."""

    name: str
    table: str
    expected: int
    pages: list[pa.Table] = field(default_factory=list)
    retries: int = 0
    error: str | None = None

    def __post_init__(self) -> None:
        self.progress = Progress(self.name, lambda: f"{self.retries} retries")

    @property
    def rows(self) -> int:
        return sum(page.num_rows for page in self.pages)

    def count_retry(self, details: RetryDetails) -> None:
        self.retries += 1

    def saved(self, page: pa.Table) -> None:
        self.pages.append(page)
        self.progress.show(self.rows, self.expected)


# Asking


def api_for(run: Run, portal: CceeEmulator, *, skip_connect: bool = False) -> CceeHttpHandler:
    resilience = Resilience(before_retry=(run.count_retry,))
    return CceeHttpHandler(portal.props(), resilience=resilience, pool_size=IN_FLIGHT, skip_connect=skip_connect)


def prices(table: pa.Table) -> pa.Table:
    """Prices with the types of the table that they go to; some days are "09", some "9"."""
    return table.select(list(TYPES)).cast(SCHEMA)


# Pulling. First one page after the other: the handler pages, and tells when what came can't be the whole.


def pull(run: Run, api: CceeHttpHandler, db: SqlLiteHandler, portal: CceeEmulator, page_size: int) -> None:
    records = api.iter_records(portal.resource_id(RESOURCE), page_size=page_size)
    while batch := list(islice(records, page_size)):
        page = prices(pa.Table.from_pylist(batch))
        db.write_frame(page, run.table, mode="upsert", keys=KEY)
        run.saved(page)


# Then many at once, one for each month and submarket: the handler lets `pool_size` have a request in flight.


async def async_pull(run: Run, api: CceeHttpHandler, db: SqlLiteHandler, portal: CceeEmulator, page_size: int) -> None:
    async with anyio.create_task_group() as tasks:
        for month, submarket in product(range(202501, 202513), STYLES):
            tasks.start_soon(async_pull_part, run, api, db, portal, page_size, month, submarket)


async def async_pull_part(
    run: Run,
    api: CceeHttpHandler,
    db: SqlLiteHandler,
    portal: CceeEmulator,
    page_size: int,
    month: int,
    submarket: str,
) -> None:
    where: dict[str, Any] = {"MES_REFERENCIA": month, "SUBMERCADO": submarket}
    try:
        page = prices(await api.async_read_to_arrow(portal.resource_id(RESOURCE), page_size=page_size, **where))
        await db.async_write_frame(page, run.table, mode="upsert", keys=KEY)
    except (TransferError, InvalidRequestError) as error:  # rows are missing, or came twice
        run.error = str(error)
    else:
        run.saved(page)


# Both runs


@contextmanager
def measured(run: Run, portal: CceeEmulator, db: SqlLiteHandler) -> Iterator[None]:
    """Begin with an empty table and the portal's first faults, and end with lines that sum the run up."""
    db.write_frame(SCHEMA.empty_table(), run.table, mode="replace", keys=KEY)
    portal.reset()
    began = time.perf_counter()
    try:
        yield
    except (TransferError, InvalidRequestError) as error:
        run.error = str(error)
    finally:
        seconds = time.perf_counter() - began
        run.progress.close()
    kinds = ", ".join(f"{portal.faults[kind]} x {kind}" for kind in FAULTS)
    print(f"{run.name:8}{run.rows:,} rows in {seconds:.1f} s, {len(run.pages)} pages, {run.retries} retries")
    print(f"{'':8}survived {portal.faults.total()} faults: {kinds}")
    print(f"{'':8}met the firewall {len(portal.refused)} times, warmed up {portal.logins} times\n")


def run_sync(portal: CceeEmulator, db: SqlLiteHandler, page_size: int, expected: int) -> Run:
    run = Run("sync", "prices_sync", expected)
    with measured(run, portal, db), api_for(run, portal) as api:
        pull(run, api, db, portal, page_size)
    return run


def run_async(portal: CceeEmulator, db: SqlLiteHandler, page_size: int, expected: int, backend: str) -> Run:
    run = Run(backend, "prices_async", expected)

    async def main() -> None:
        async with api_for(run, portal, skip_connect=True) as api, db:
            await async_pull(run, api, db, portal, page_size)

    with measured(run, portal, db):
        anyio.run(main, backend=backend)
    return run


# Proving


def prove(portal: CceeEmulator, db: SqlLiteHandler, runs: Sequence[Run]) -> bool:
    """Print count and exact sum of the source's file and of each table, and tell whether all are equal."""
    source = source_total()
    print(f"{'Proof':34}{'rows':>8}{'sum of prices, R$/MWh':>24}")
    print(f"{'CSV file of the source':34}{source[0]:8,}{source[1]:24,}")
    with CceeHttpHandler(portal.props()) as api:
        wrong = compare(source, "CSV file of the portal", api.read_csv_to_arrow(DATASET, RESOURCE)["PLD_HORA"])
    for run in runs:
        wrong += [f"table {run.table}: {run.error}"] if run.error else []
        wrong += compare(source, f"table {run.table}", stored(db, run.table))
        for page in run.pages:
            db.write_frame(page, run.table, mode="upsert", keys=KEY)
        wrong += compare(source, f"table {run.table}, upserted again", stored(db, run.table))
    print("NOT PROVED" if wrong else "PROVED: every row of the source is there once, and the sums agree to the cent")
    print(*(f"  {line}\n" for line in wrong), sep="", end="")
    return not wrong


def stored(db: SqlLiteHandler, table: str) -> Any:
    return db.read_to_arrow(f"SELECT PLD_HORA FROM {table}")["PLD_HORA"]


def compare(source: tuple[int, Decimal], name: str, found: Any) -> list[str]:
    """Print count and exact sum of what was found, and return in what it differs from the source."""
    count, total = len(found), pc.sum(found).as_py() or Decimal(0)
    differences = {"rows": count - source[0], "R$/MWh in the sum": total - source[1]}
    wrong = [f"{name}: {by:+,} {unit}" for unit, by in differences.items() if by]
    print(f"{name:34}{count:8,}{total:24,}  {'DIFFERENT' if wrong else 'equal'}")
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


def demo(portal: CceeEmulator, output: Path, *, backend: str = "asyncio", page_size: int = 1000) -> bool:
    """Pull, show and prove; tell whether the proof held. `portal` is running, files go to `output`."""
    output.mkdir(parents=True, exist_ok=True)
    database, chart = output / "ccee_prices.sqlite", output / "ccee_prices.png"
    print(f"CCEE's hourly prices of 2025, from {portal.url}, behind a firewall;")
    print(f"{portal.fault_rate:.0%} of requests for them go wrong\n")
    # One connection for all tasks: SQLite has one writer, and waiting here is cheaper than waiting for its lock.
    props = SqlLiteConnProperties(path=database)
    with logged_to(output / "demo.log"), SqlLiteHandler(props, pool_size=1) as db:
        expected, _ = source_total()
        runs = [
            run_sync(portal, db, page_size, expected),
            run_async(portal, db, page_size, expected, backend),
        ]
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
    with portal_for(seed=options.seed, fault_rate=options.fault_rate) as portal:
        proved = demo(portal, options.output, backend=options.backend, page_size=options.page_size)
    return 0 if proved else 1


if __name__ == "__main__":
    raise SystemExit(main())
