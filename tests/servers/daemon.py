"""A server in a temporary folder on a free loopback port: what all kinds share. No product is known here."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

import psutil

from tests.servers import system
from tests.servers.keeper import wait_ended

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

# One for all servers of a process, as they are copies of one.
SUPERUSER_PASSWORD = secrets.token_hex(8)
_PORTS_TRIED = 5
_SECONDS = 60.0  # for a start or a stop, on a machine that has much else to do


@dataclass(frozen=True)
class Database:
    """A database of its own, and who may do everything in it."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def url(self, scheme: str) -> str:
        """Say the same as one text, the password included."""
        who = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{scheme}://{who}@{self.host}:{self.port}/{quote(self.database, safe='')}"


class DatabaseServer(ABC):
    """Where databases are made: a server of ours, or one that somebody lends to the tests."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def __init__(self) -> None:
        # No other test run on the same server makes the same names.
        self._names = (f"echo_{secrets.token_hex(4)}_{number}" for number in itertools.count(1))

    def new_database(self) -> Database:
        """Make an empty database that `user` owns."""
        name = next(self._names)
        self.create_database(name)
        return Database(self.host, self.port, self.user, self.password, name)

    @abstractmethod
    def create_database(self, name: str) -> None:
        """Make an empty database that `user` owns; the name needs no quotes."""

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop it if it's there, whoever is connected to it."""


class Daemon(ABC):
    """A server of ours. `with` starts it, and at its end nothing of it is left, its data neither."""

    host = "127.0.0.1"
    user = "echo"
    accounts: ClassVar[tuple[str, ...]]  # as whom it may run if we are root, the best first
    stop_signal: ClassVar[signal.Signals]  # for a shutdown in order
    quit_signal: ClassVar[signal.Signals]  # for an end at once, from a stranger: see keeper.py

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Fill the empty folder with what the server needs before its first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Give the program and its arguments; it must stay in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Say whether clients can log in now."""

    def began(self) -> None:
        """Do what is to do once, after the first start."""
        return

    def clean(self) -> None:
        """Remove what a killed server left outside of its folder."""
        return

    @property
    def folder(self) -> Path:
        """Where all its files are, from the first start on."""
        assert self._folder is not None, f"{type(self).__name__} was never started"
        return self._folder

    @property
    def log(self) -> str:
        """What the server wrote to its log, over all starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process, the parent of all its others."""
        assert self._process is not None, f"{type(self).__name__} doesn't run"
        return self._process.pid

    def start(self) -> Self:
        """Start it and return when it answers; after stop() or kill() with the same data on the same port."""
        assert not self.running, f"{type(self).__name__} runs already"
        self._forget_process()
        first = self._folder is None
        try:
            if first:
                self._folder = system.make_folder(type(self).__name__.removesuffix("Server").lower(), self.identity)
                self.prepare()
            self._start_on(self._ports() if first else [self.port])
            if first:
                self.began()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Shut it down in order, which ends the sessions of its clients. Does nothing if it doesn't run."""
        if self.running:
            parent = psutil.Process(self.pid)
            family = [parent, *parent.children(recursive=True)]
            os.kill(self.pid, self.stop_signal)
            try:
                self._wait(family)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def kill(self) -> None:
        """Kill it with all its children, as a crash would. Does nothing if it doesn't run."""
        if self.running:
            parent = psutil.Process(self.pid)
            parent.suspend()  # so that it gets no more children than we know of
            family = [parent, *parent.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._wait(family)

    def close(self) -> None:
        """End it at once and remove its folder. Safe to call twice."""
        self.kill()
        self._forget_process()
        if self._folder is not None:
            self.clean()
            shutil.rmtree(self._folder)
            self._folder = None

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def identity(self) -> system.Identity:
        """As whom it runs."""
        return system.identity(self.accounts)

    @property
    def environment(self) -> dict[str, str]:
        """What it may know of our environment."""
        return system.environment(self.folder)

    def _ports(self) -> list[int]:
        return [system.free_port() for _ in range(_PORTS_TRIED)]

    def _start_on(self, ports: Sequence[int]) -> None:
        """Start it on the first of these ports that nobody took since it was found."""
        for port in ports:
            self.port = port
            known = len(self.log)
            if self._launch():
                return
            said = self.log[known:]
            if "address already in use" not in said.lower():
                break
        raise RuntimeError(f"{type(self).__name__} did not start on port {self.port}; its log ends:\n{said[-4000:]}")

    def _launch(self) -> bool:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is meant for the test run, which ends its servers then
                **self.identity,
            )
        system.keeper().tell("process", str(self.pid), self.quit_signal.name)
        deadline = time.monotonic() + _SECONDS
        while self.running and time.monotonic() < deadline:
            if self.answers():
                return True
            time.sleep(0.01)
        self.kill()
        self._forget_process()
        return False

    def _wait(self, family: list[psutil.Process]) -> None:
        assert self._process is not None
        self._process.wait(_SECONDS)
        left = wait_ended(family, _SECONDS)
        assert not left, f"{type(self).__name__} ended, but not its children {left}"
        self._forget_process()

    def _forget_process(self) -> None:
        if self._process is not None:
            self._process.wait(_SECONDS)
            system.keeper().tell("ended", str(self._process.pid))
            self._process = None


class DatabaseDaemon(Daemon, DatabaseServer):
    """A database server of ours; its superuser has the password SUPERUSER_PASSWORD."""

    superuser: ClassVar[str]
