"""What servers need of the machine: a port, a folder, an account, their programs, and somebody who ends them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import psutil

# Below the range from which systems take the ports of outgoing connections: none of those gets the port of a server
# that is down for a moment, nor can a client meet itself there.
_PORTS = range(10_240, 32_768)
_PLENTY = 4 << 30  # bytes; a server takes 100 million and 8 more for each database


class MissingServerError(Exception):
    """A program or an account that a server needs isn't there."""


class Identity(TypedDict, total=False):
    """Popen's arguments that say as whom to run."""

    user: int
    group: int
    extra_groups: list[int]


def free_port() -> int:
    """Find a loopback port on which nobody listens. Somebody may before it is used."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(("127.0.0.1", port))
            return port


def free_ports(count: int) -> range:
    """Find so many loopback ports in a row on which nobody listens. Somebody may before they are used."""
    while True:
        ports = range(first := random.choice(_PORTS[:-count]), first + count)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in ports:
                attempt = stack.enter_context(socket.socket())
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                attempt.bind(("127.0.0.1", port))
            return ports


def program(name: str, *folders: Path) -> str:
    """Find a program on the PATH or else in one of these folders; MissingServerError says what to do."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingServerError(f"{name} isn't installed: run `sh scripts/servers.sh`, which `make test` does too")
    return found


def identity(accounts: Sequence[str]) -> Identity:
    """Run as the first account that exists if we are root, as servers refuse to be; else as ourselves."""
    if os.geteuid() != 0:
        return {}
    for name in accounts:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise MissingServerError(f"servers refuse to run as root, and there is none of the accounts {', '.join(accounts)}")


def make_folder(prefix: str, who: Identity) -> Path:
    """Make a temporary folder that is theirs alone, and gone when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"echo-{prefix}-", dir=_roomy_memory()))
    keeper().tell("folder", str(folder))
    own(folder, who)
    return folder


def _roomy_memory() -> Path | None:
    """Where files are in memory, if there is plenty; None: the usual place, which TMPDIR names.

    A new database is hundreds of files: on a busy disk they took 0.6 seconds, in memory 0.04.
    """
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK | os.X_OK):
        return None
    free = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    return memory if free > _PLENTY else None


def own(path: Path, who: Identity) -> None:
    """Give a file, or a folder with all that is in it, to those that servers run as."""
    if who:
        for place in (path, *path.rglob("*")):
            os.chown(place, who["user"], who["group"])


def run(command: Sequence[str], folder: Path, who: Identity, *, env: dict[str, str] | None = None) -> None:
    """Run a program to its end; RuntimeError with all that it said if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder) | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **who,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def environment(folder: Path) -> dict[str, str]:
    """What servers may know of our environment: nothing that sets them up by accident."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}


class Keeper:
    """A process that ends our servers and removes their folders if we can't: see keeper.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper.py"))],
            stdin=subprocess.PIPE,
            env=environment(Path.cwd()),
            start_new_session=True,  # it must outlive us when we get Ctrl-C
        )
        self._owner = os.getpid()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, *words: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{' '.join(words)}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """Have it end all that is left, now that we end. A fork of the process that began it leaves it alone."""
        if self._owner == os.getpid():
            self._process.communicate()


@functools.cache
def keeper() -> Keeper:
    """The one of this process."""
    return Keeper()
