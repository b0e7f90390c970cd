"""The demo: its proof holds under faults, and fails where the portal does not give what its file has."""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")

from echo_connhandler.testing import CceeEmulator
from examples.ccee_prices import DATA, RESOURCE, demo, portal_for
from examples.ccee_report import Progress

if TYPE_CHECKING:
    from typing import Any

ROOT = Path(__file__).parents[1]
COLUMNS = "MES_REFERENCIA, SUBMERCADO, PERIODO_COMERCIALIZACAO, DIA, HORA, PLD_HORA"


def source_rows() -> list[tuple[Any, ...]]:
    """The rows of the source's file in order, read here and not by what is tested."""
    lines = gzip.decompress(DATA.read_bytes()).decode("ascii").splitlines()
    assert lines[0].split(";") == COLUMNS.split(", ")
    rows = (line.split(";") for line in lines[1:])
    return sorted((int(m), s, int(p), int(d), int(h), Decimal(price)) for m, s, p, d, h, price in rows)


def stored_rows(database: Path, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    rows = connection.execute(f"SELECT {COLUMNS} FROM {table}").fetchall()
    connection.close()
    return sorted((*row[:-1], Decimal(row[-1])) for row in rows if isinstance(row[-1], str))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_proves_that_all_prices_arrived_in_spite_of_the_faults(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.ccee_prices", "--backend", backend, "--output", str(tmp_path)]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **ascii_only, "PYTHONWARNINGS": "always::ResourceWarning"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr
    assert "Logging error" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("PROVED: ")
    expected = source_rows()
    assert (len(expected), sum(row[-1] for row in expected)) == (35_040, Decimal("7105438.19"))
    for table in ("prices_sync", "prices_async"):
        assert stored_rows(tmp_path / "ccee_prices.sqlite", table) == expected
    assert (tmp_path / "ccee_prices.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    survived = [int(number) for number in re.findall(r"survived (\d+) faults", done.stdout)]
    retries = [int(number) for number in re.findall(r"pages, (\d+) retries", done.stdout)]
    slow = [int(number) for number in re.findall(r"(\d+) x slow", done.stdout)]
    warmed_up = [int(number) for number in re.findall(r"warmed up (\d+) times", done.stdout)]
    assert len(survived) == 2
    assert all(faults > 10 for faults in survived)
    assert all(times >= 2 for times in warmed_up)  # the cookie expired in the middle
    assert len(warmed_up) == 2
    # A connection that breaks while it is idle costs a retry that no fault of the portal stands for.
    assert all(made >= faults - slowed > 0 for made, faults, slowed in zip(retries, survived, slow, strict=True))
    assert (tmp_path / "demo.log").read_text("utf-8").count("trying again in") >= sum(retries)


class Forgetful(CceeEmulator):
    """Tells of more rows than it gives."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.rows[RESOURCE][20_000]

    def total(self, name: str, found: Any) -> int:
        return len(found) + 1


class Repeating(CceeEmulator):
    """Gives one row twice, and another not at all."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rows[RESOURCE][20_000][1:] = self.rows[RESOURCE][3][1:]


class Rounding(CceeEmulator):
    """Gives one price a cent too high."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        row = self.rows[RESOURCE][20_000]
        row[-1] = round(row[-1] + 0.01, 2)


@pytest.mark.parametrize(
    ("portal_class", "differences"),
    [
        (Forgetful, [r"resource .*: \d[\d,]* rows came, the portal says there are \d[\d,]*: .*", r"-[\d,]+ rows"]),
        (Repeating, [r"-\d+ rows", r"[+-][\d,]+\.\d\d R\$/MWh in the sum"]),
        (Rounding, [r"\+0\.01 R\$/MWh in the sum"]),
    ],
)
def test_the_proof_fails_where_rows_differ_from_the_source(
    portal_class: type[CceeEmulator], differences: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with portal_for(fault_rate=0, portal=portal_class) as portal:
        assert demo(portal, tmp_path, page_size=5000) is False

    _, told = capsys.readouterr().out.split("NOT PROVED\n")
    for table in ("table prices_sync", "table prices_async"):
        for difference in differences:
            assert re.search(rf"^  {table}: {difference}$", told, re.MULTILINE), (difference, told)
    if portal_class is Rounding:
        assert "  CSV file of the portal: +0.01 R$/MWh in the sum\n" in told


def test_rows_are_not_lost_where_the_portal_gives_fewer_at_once_than_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with portal_for(fault_rate=0) as portal:
        portal.max_limit = 400
        assert demo(portal, tmp_path, page_size=32_000) is True
    assert capsys.readouterr().out.count("35,040 rows in") == 2


def test_a_failed_proof_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from examples import ccee_prices

    monkeypatch.setattr(sys, "argv", ["ccee_prices"])
    for proved, code in ((True, 0), (False, 1)):
        monkeypatch.setattr(ccee_prices, "demo", lambda *_, proved=proved, **__: proved)
        assert ccee_prices.main() == code


class Stream:
    """Keeps what is written, as a terminal or as a file."""

    def __init__(self, *, terminal: bool) -> None:
        self.text, self._terminal = "", terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(("terminal", "starts", "lines"), [(True, 101, 0), (False, 0, 10)])
def test_progress_is_one_line_on_a_terminal_and_ten_elsewhere(terminal: bool, starts: int, lines: int) -> None:
    stream = Stream(terminal=terminal)
    progress = Progress("sync", lambda: "0 retries", stream)  # type: ignore[arg-type]
    for done in range(1, 101):
        progress.show(done, 100)
    progress.close()
    assert (stream.text.count("\r\x1b[K"), stream.text.count("\n")) == (starts, lines)
    assert "100%     100 of 100 rows, 0 retries" in stream.text
