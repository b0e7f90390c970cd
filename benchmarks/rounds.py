"""Candidates side by side: each in fresh processes, one after the other in every round, with seconds and memory."""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

__all__ = ("Candidate", "compare", "did_one")

Candidate = Callable[[dict[str, Any]], Callable[[], object]]
_LONGEST = 900  # seconds


def did_one(candidates: Mapping[str, Candidate], libraries: Sequence[str] = ()) -> bool:
    """Do what `compare` asks of this process, if it asks; False where the process isn't one of its own.

    It prints seconds, and the greatest growth of memory in MB. What returns a float has timed itself: what an event
    loop's candidate does before isn't counted.

    Args:
        candidates: by name, what takes `where` and returns the call to be timed.
        libraries: imported before, so that they aren't counted.
    """
    if sys.argv[1:2] != ["--child"]:
        return False
    for library in libraries:
        importlib.import_module(library)
    work = candidates[sys.argv[2]](json.loads(sys.argv[3]))
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
    seconds = result if isinstance(result, float) else time.perf_counter() - began
    ended.set()
    watcher.join()
    print(json.dumps([seconds, (most - before) / 1e6]), flush=True)
    return True


def _measured(module: str, name: str, where: dict[str, Any]) -> tuple[float, float]:
    command = [sys.executable, "-m", module, "--child", name, json.dumps(where)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def compare(
    module: str, title: str, names: Sequence[str], base: Sequence[str], rounds: int, where: dict[str, Any]
) -> None:
    """Print each candidate's ratio to the fastest of `base` in the same round.

    Args:
        module: what calls `did_one`.
        title: what is compared.
        names: the candidates.
        base: those of them that are compared with.
        rounds: how many; each begins with another candidate.
        where: given to the candidates.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            found[name].append(_measured(module, name, where))
    best = [min(found[name][number][0] for name in base) for number in range(rounds)]
    print(f"\n{title}: seconds, x {'fastest of ' if len(base) > 1 else ''}{', '.join(base)} (from, to), MB")
    for name, runs in found.items():
        ratios = [mine[0] / theirs for mine, theirs in zip(runs, best, strict=True)]
        seconds = statistics.median([run[0] for run in runs])
        memory = statistics.median([run[1] for run in runs])
        spread = f"({min(ratios):.2f}, {max(ratios):.2f})"
        print(f"{name:24} {seconds:7.2f} {statistics.median(ratios):6.2f} {spread:16} {memory:6.0f}", flush=True)
