"""Mirror real data from an FTP server whose connections break, load it to SQLite, mirror it back, and prove it all.

The server is pyftpdlib on this machine, the data a day of a wind farm's measurements and a year of prices. Needs the
extra `arrow` and pyftpdlib, and for `--backend trio` the extra `trio`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import logging
import shutil
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pyarrow as pa
import pyarrow.compute as pc

from echo_connhandler import FtpHandler, Resilience, RetryDetails, SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.errors import MirrorError
from examples.ftp_server import UnreliableServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DATA = Path(__file__).parent / "data"
# What the server has, and from which file of this repository.
FILES = {
    "market/prices_2025.csv.gz": "ccee_pld_horario_2025.csv.gz",
    "wind farm/2021-01-01.csv": "kelmarsh_2021-01-01_10min.csv",
    "wind farm/turbines.csv": "kelmarsh_turbines.csv",
}
# Tables, each with its file, how that is read, and the column whose exact sum is proved.
TABLES: dict[str, tuple[str, dict[str, Any], str]] = {
    "measurements": (
        "wind farm/2021-01-01.csv",
        {"column_types": {"power_kw": pa.decimal128(18, 9), "wind_speed_m_s": pa.decimal128(18, 9)}},
        "power_kw",
    ),
    "prices": (
        "market/prices_2025.csv.gz",
        {"delimiter": ";", "column_types": {"PLD_HORA": pa.decimal128(8, 2)}},
        "PLD_HORA",
    ),
}


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file in a folder, by its path there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def source_total(file: str, column: str, delimiter: str) -> tuple[int, Decimal]:
    """Rows and exact sum of a column in a file of this repository: read here, and by nothing that is to be proved."""
    content = (DATA / FILES[file]).read_bytes()
    text = (gzip.decompress(content) if file.endswith(".gz") else content).decode("ascii")
    values = [row[column] for row in csv.DictReader(io.StringIO(text), delimiter=delimiter)]
    return len(values), sum((Decimal(value) for value in values if value), Decimal(0))


class Proof:
    """Prints what is compared, and remembers whether all was equal."""

    def __init__(self) -> None:
        self.holds = True

    def compare(self, what: str, found: object, wanted: object) -> None:
        self.holds = self.holds and found == wanted
        print(f"  {what}: {found}{'' if found == wanted else f', NOT {wanted}'}")


def load(files: FtpHandler, database: SqlLiteHandler, folder: Path, proof: Proof) -> None:
    """Load the mirrored files to tables, and compare these with the source, and with what is read from the server."""
    for table, (file, options, column) in TABLES.items():
        frame = files.read_to_arrow(f"/source/{file}", **options)
        rows = database.write_frame(frame, table, mode="replace")
        stored = database.read_to_arrow(f"SELECT {column} FROM {table}")[column]
        total = source_total(file, column, str(options.get("delimiter", ",")))
        proof.compare(f"rows of {table}", (rows, len(stored)), (total[0], total[0]))
        proof.compare(f"sum of {column}", pc.sum(stored).as_py(), total[1])
        proof.compare("bytes here", (folder / file).read_bytes() == (DATA / FILES[file]).read_bytes(), wanted=True)


async def bring_back(files: FtpHandler, folder: Path) -> int:
    """Mirror a folder of this machine to the server, several files at once; returns how many went."""
    async with files:
        result = await files.async_mirror(folder, "/copy", direction="up", concurrency=3)
    return len(result.transferred)


def demo(server: UnreliableServer, served: Path, output: Path, *, backend: str = "asyncio") -> bool:
    """Do it all, and tell whether the proof holds. `server` runs and serves the folder `served`."""
    retries: list[RetryDetails] = []
    policy = Resilience(before_retry=(retries.append,), exponential_min_retry_wait_time=0.01)
    proof = Proof()
    here = output / "mirrored"
    wanted = {name: hashlib.sha256((DATA / file).read_bytes()).hexdigest() for name, file in FILES.items()}
    with FtpHandler(server.props(), resilience=policy) as files:
        print("Mirrored from the server:")
        result = files.mirror("/source", here, concurrency=3)
        proof.compare("files", len(result.transferred), len(FILES))
        proof.compare("each as in the source", digests(here) == wanted, wanted=True)
        again = files.mirror("/source", here, newer_only=True)
        proof.compare("files that a second time brings", len(again.transferred), 0)
        print("Loaded:")
        with SqlLiteHandler(SqlLiteConnProperties(path=output / "ftp_mirror.sqlite")) as database:
            load(files, database, here, proof)
        print("Mirrored back:")
        proof.compare("files", anyio.run(bring_back, files, here, backend=backend), len(FILES))
    proof.compare("each as in the source", digests(served / "copy") == wanted, wanted=True)
    print(f"\n{server.broken} data connections broke, {len(retries)} attempts were made again")
    print("PROVED: what arrived is what was sent, to the byte" if proof.holds else "NOT PROVED")
    return proof.holds


def fill(served: Path, files: Mapping[str, str] = FILES) -> None:
    """Give the server its files."""
    for name, file in files.items():
        target = served / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(DATA / file, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for files")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args()
    output: Path = options.output / "ftp_mirror"
    if output.exists():
        shutil.rmtree(output)
    served = output / "server"
    fill(served)
    logging.basicConfig(filename=output / "ftp_mirror.log", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with UnreliableServer(served) as server:
        try:
            proved = demo(server, served, output, backend=options.backend)
        except MirrorError as error:
            print(f"NOT PROVED: {error}")
            return 1
    return 0 if proved else 1


if __name__ == "__main__":
    raise SystemExit(main())
