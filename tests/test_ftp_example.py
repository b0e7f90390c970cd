"""The FTP example: its proof holds though connections break, and fails where the server has something else."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

# pyftpdlib needs modules of Python's that 3.11 has for the last time; here it's imported into the tests' own process.
pytestmark = pytest.mark.filterwarnings("ignore:The asyn(core|chat) module:DeprecationWarning")

ROOT = Path(__file__).parents[1]


def stored(database: Path, column: str, table: str) -> list[Decimal]:
    connection = sqlite3.connect(database)
    rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()
    connection.close()
    return [Decimal(value or 0) for (value,) in rows]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_proves_that_all_came_and_went_though_connections_broke(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.ftp_mirror", "--backend", backend, "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONWARNINGS": "always::ResourceWarning"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ResourceWarning" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("PROVED: ")
    assert int(re.findall(r"(\d+) data connections broke", done.stdout)[0]) >= 2
    database = tmp_path / "ftp_mirror" / "ftp_mirror.sqlite"
    prices = stored(database, "PLD_HORA", "prices")
    assert (len(prices), sum(prices)) == (35_040, Decimal("7105438.19"))
    power = stored(database, "power_kw", "measurements")
    assert (len(power), sum(power)) == (864, Decimal("219369.720282651"))
    from examples import ftp_mirror

    for name, file in ftp_mirror.FILES.items():
        for place in ("mirrored", "server/copy"):
            assert (tmp_path / "ftp_mirror" / place / name).read_bytes() == (ftp_mirror.DATA / file).read_bytes()


def test_the_proof_fails_where_the_server_has_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples import ftp_mirror
    from examples.ftp_server import UnreliableServer

    served = tmp_path / "server"
    ftp_mirror.fill(served)
    file = served / "source" / "wind farm" / "2021-01-01.csv"
    file.write_bytes(file.read_bytes().replace(b"-1.338018031", b"-1.338018032"))
    with UnreliableServer(served) as server:
        assert ftp_mirror.demo(server, served, tmp_path) is False
    told = capsys.readouterr().out
    assert "sum of power_kw: 219369.720282650, NOT 219369.720282651" in told
    assert told.splitlines()[-1] == "NOT PROVED"
