"""What importing costs, in fresh processes, beside httpx alone: `python -m benchmarks.imports`."""

from __future__ import annotations

import statistics
import subprocess
import sys

STATEMENTS = {
    "httpx": "import httpx",
    "echo_connhandler": "import echo_connhandler",
    "echo_connhandler.HttpHandler": "from echo_connhandler import HttpHandler",
    "echo_connhandler, all names": "from echo_connhandler import *",
}
ROUNDS = 7


def seconds(statement: str) -> float:
    """Return the wall time of a statement in a new interpreter."""
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))
    peer = times["httpx"]
    print(f"{'import':32} {'median s':>9} {'x httpx':>8}   spread")
    for name, found in times.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(found, peer, strict=True))
        middle = statistics.median(ratios)
        print(f"{name:32} {statistics.median(found):9.3f} {middle:8.2f}   {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
