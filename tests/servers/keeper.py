"""Ends the servers of a test run that died: a script that runs beside it. What the run ended itself it leaves alone.

It reads lines: "folder PATH", "process PID SIGNAL" and "ended PID". When its input ends, as it does even if the test
run is killed, it ends the processes that haven't ended and removes the folders.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time

import psutil


def lives(process: psutil.Process) -> bool:
    """Say whether it still holds anything; one that only waits for its parent to ask how it ended doesn't."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_ended(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all of them have ended, and return those that have not by then."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def end(process: psutil.Process, number: signal.Signals) -> None:
    """Send the signal, and SIGKILL to what is left 5 seconds later. Never to a later process with the same pid."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(number)
        for left in wait_ended(family, 5):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        wait_ended(family, 5)


def main() -> None:
    folders: list[str] = []
    processes: dict[str, tuple[psutil.Process, signal.Signals]] = {}
    for line in sys.stdin:
        command, _, rest = line.rstrip("\n").partition(" ")
        if command == "folder":
            folders.append(rest)
        elif command == "ended":
            processes.pop(rest, None)
        else:
            pid, name = rest.split()
            with contextlib.suppress(psutil.NoSuchProcess):
                processes[pid] = (psutil.Process(int(pid)), signal.Signals[name])
    for process, number in processes.values():
        end(process, number)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
