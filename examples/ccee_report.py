"""What the demo shows of its prices: progress, a table and a chart. Nothing here asks a portal or a database."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, TextIO, TypeAlias

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

Means: TypeAlias = dict[str, dict[int, Decimal]]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Colour (Okabe and Ito, 2008), marker, dash and width: some lines lie on each other, the later one is narrower.
STYLES = {
    "NORDESTE": ("#D55E00", "o", "-", 3.5),
    "SUDESTE": ("#0072B2", "D", "-", 3.5),
    "NORTE": ("#E69F00", "s", "--", 1.8),
    "SUL": ("#009E73", "^", "--", 1.8),
}
SOURCE = "Source: CCEE, Dados Abertos, PLD_HORARIO 2025 (CC-BY-4.0 according to a third-party collector)"
BAR = 30


class Progress:
    """How far a run is: one line kept up to date on a terminal, elsewhere a line for every tenth."""

    def __init__(self, name: str, remark: Callable[[], str], stream: TextIO | None = None) -> None:
        self._name, self._remark, self._stream = name, remark, stream or sys.stdout
        self._live = self._stream.isatty()
        self._tenths = 0

    def show(self, done: int, total: int) -> None:
        share = min(done / total, 1) if total else 1.0
        if not self._live and int(share * 10) <= self._tenths:
            return
        self._tenths = int(share * 10)
        bar = "#" * int(share * BAR)
        line = f"{self._name:8}[{bar:.<{BAR}}] {share:4.0%} {done:7,} of {total:,} rows, {self._remark()}"
        self._stream.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")


def monthly_means(prices: pa.Table) -> Means:
    """Mean price by submarket and month (1 to 12), from exact sums, in R$/MWh to the cent."""
    keys = ["SUBMERCADO", "MES_REFERENCIA"]
    groups = prices.group_by(keys).aggregate([("PLD_HORA", "sum"), ("PLD_HORA", "count")])
    means: Means = {}
    for group in groups.sort_by([(key, "ascending") for key in keys]).to_pylist():
        mean = group["PLD_HORA_sum"] / group["PLD_HORA_count"]
        months = means.setdefault(group["SUBMERCADO"], {})
        months[group["MES_REFERENCIA"] % 100] = mean.quantize(Decimal("0.01"))
    return means


def print_table(means: Means) -> None:
    print(f"{'R$/MWh':8}" + "".join(f"{month:>8}" for month in MONTHS))
    for submarket, months in means.items():
        cells = (months.get(number) for number in range(1, 13))
        print(f"{submarket:8}" + "".join(f"{'-' if mean is None else mean:>8}" for mean in cells))


def save_chart(means: Means, path: Path) -> None:
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for submarket, (colour, marker, dashes, width) in STYLES.items():
        months = means.get(submarket, {})
        values = [float(mean) for mean in months.values()]
        look = f"{marker}{dashes}"
        axes.plot(list(months), values, look, label=submarket, color=colour, linewidth=width, markersize=width + 4)
    axes.set_title("Electricity settlement price in Brazil (PLD), monthly mean of hourly prices", loc="left")
    axes.set_xlabel("Month of 2025")
    axes.set_ylabel("Mean price (R$/MWh)")
    axes.set_xticks(range(1, 13), MONTHS)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="Submarket", frameon=False, loc="upper left")
    figure.supxlabel(SOURCE, fontsize="small", color="#555555", x=0.01, ha="left")
    figure.savefig(path, dpi=120)
