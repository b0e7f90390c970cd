"""FtpHandler beside ftplib, aioftp and curl, in one run: one large file each way, and a mirror of many small ones.

vsftpd, as the tests start it, on this machine. Each round runs all candidates one after the other, in an order that
turns, each in a fresh process for its memory. Printed are the medians of the rounds' ratios and their spread, and the
greatest growth of memory during a call. Run: `python -m benchmarks.ftp [rounds] [megabytes]`.

Ours compares the size, and has the file on the disk before it's done; the others do neither. With TLS, aioftp isn't
among them: it waits for a server that waits for it (0.28.3, vsftpd), see `docs/benchmarks.md`.
"""

from __future__ import annotations

import asyncio
import ftplib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rounds import compare, did_one

Place = dict[str, Any]  # host, port, user, password, tls, ca, remote folder, local folder


def handler(place: Place) -> Any:
    from echo_connhandler import FtpConnProperties, FtpHandler

    verify = {"verify_ssl": place["ca"]} if place["tls"] != "none" else {}
    where = {name: place[name] for name in ("host", "port", "user", "password", "tls")}
    return FtpHandler(FtpConnProperties(**where, **verify), skip_connect=True)


# Candidates: connecting is not timed, but for curl


def ours(place: Place, *, up: bool) -> Callable[[], object]:
    opened = handler(place)
    opened.connect()
    if up:
        return lambda: opened.upload(place["local"] + "/f", place["remote"] + "/up")
    return lambda: opened.download(place["remote"] + "/f", place["local"] + "/down")


def _ours_in(backend: str, place: Place, up: bool) -> Callable[[], object]:
    import anyio

    async def run() -> float:
        async with handler(place) as opened:
            began = time.perf_counter()
            if up:
                await opened.async_upload(place["local"] + "/f", place["remote"] + "/up")
            else:
                await opened.async_download(place["remote"] + "/f", place["local"] + "/down")
            return time.perf_counter() - began

    return lambda: anyio.run(run, backend=backend)


def ours_asyncio(place: Place, *, up: bool) -> Callable[[], object]:
    return _ours_in("asyncio", place, up)


def ours_trio(place: Place, *, up: bool) -> Callable[[], object]:
    return _ours_in("trio", place, up)


class _Reusing(ftplib.FTP_TLS):
    """What ftplib lacks for strict servers: data connections that resume the control connection's session."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control: Any = self.sock
        return self.context.wrap_socket(connection, server_hostname=self.host, session=control.session), size


def by_ftplib(place: Place, *, up: bool) -> Callable[[], object]:
    tls = place["tls"] != "none"
    client = _Reusing(context=ssl.create_default_context(cafile=place["ca"])) if tls else ftplib.FTP()
    client.connect(place["host"], place["port"])
    client.login(place["user"], place["password"])
    if isinstance(client, ftplib.FTP_TLS):
        client.prot_p()

    def run() -> None:
        if up:
            with Path(place["local"], "f").open("rb") as file:
                client.storbinary(f"STOR {place['remote']}/up", file, 1 << 18)
        else:
            with Path(place["local"], "down").open("wb") as file:
                client.retrbinary(f"RETR {place['remote']}/f", file.write, 1 << 18)

    return run


def by_aioftp(place: Place, *, up: bool) -> Callable[[], object]:
    import aioftp

    async def run() -> float:
        client = aioftp.Client.context(place["host"], place["port"], place["user"], place["password"])
        async with client as opened:
            began = time.perf_counter()
            if up:
                await opened.upload(place["local"] + "/f", place["remote"] + "/up", write_into=True, block_size=1 << 18)
            else:
                await opened.download(
                    place["remote"] + "/f", place["local"] + "/down", write_into=True, block_size=1 << 18
                )
            return time.perf_counter() - began

    return lambda: asyncio.run(run())


def by_curl(place: Place, *, up: bool) -> Callable[[], object]:
    where = f"ftp://{place['host']}:{place['port']}/%2F{place['remote'].lstrip('/')}"
    command = ["curl", "--silent", "--fail", "--user", f"{place['user']}:{place['password']}"]
    if place["tls"] != "none":
        command += ["--ssl-reqd", "--cacert", place["ca"]]
    if up:
        command += ["--upload-file", place["local"] + "/f", where + "/up"]
    else:
        command += ["--output", place["local"] + "/down", where + "/f"]
    return lambda: subprocess.run(command, check=True)


def mirror(place: Place, concurrency: int) -> Callable[[], object]:
    opened = handler(place)
    opened.connect()
    target = place["local"] + f"/tree{concurrency}"

    def run() -> float:
        began = time.perf_counter()
        result = opened.mirror(place["remote"] + "/many", target, concurrency=concurrency)
        seconds = time.perf_counter() - began
        assert len(result.transferred) == FILES
        shutil.rmtree(target)
        return seconds

    return run


FILES = 300
SYNC = ("ours", "by_ftplib", "by_curl")
ALL: dict[str, Callable[[Place], Callable[[], object]]] = {
    f"{'up' if up else 'down'} {each.__name__}": partial(each, up=up)
    for each in (ours, ours_asyncio, ours_trio, by_ftplib, by_aioftp, by_curl)
    for up in (False, True)
} | {f"mirror {number}": partial(mirror, concurrency=number) for number in (1, 8)}


def large(server: Any, local: Path, rounds: int, megabytes: int) -> None:
    place = place_of(server, local)
    kind = "TLS" if server.tls != "none" else "plain"
    for way in ("down", "up"):
        title = f"{megabytes} MB {way}, {kind}"
        sync = [f"{way} {name}" for name in ("ours", "by_ftplib", "by_curl")]
        tasks = [f"{way} {name}" for name in ("ours_asyncio", "ours_trio", "by_aioftp", "by_curl")]
        if server.tls != "none":
            tasks.remove(f"{way} by_aioftp")
        compare("benchmarks.ftp", f"{title}, threads", sync, sync[1:], rounds, place)
        compare("benchmarks.ftp", f"{title}, tasks", tasks, tasks[2:], rounds, place)


def place_of(server: Any, local: Path) -> Place:
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "tls": server.tls,
        "ca": server.files.ca,
        "remote": server.root,
        "local": str(local),
    }


def main(rounds: int, megabytes: int) -> None:
    from tests.servers.ftp_daemon import FtpTls
    from tests.servers.ftp_proxy import FtpProxy
    from tests.servers.ftp_vsftpd import VsftpdServer

    kinds: tuple[FtpTls, ...] = ("none", "explicit")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        local = Path(folder)
        content = os.urandom(1 << 20) * megabytes
        (local / "f").write_bytes(content)
        for tls in kinds:
            with VsftpdServer(tls=tls) as server:
                (server.home / "f").write_bytes(content)
                large(server, local, rounds, megabytes)
        with VsftpdServer() as server, FtpProxy(server) as proxy:
            (server.home / "many").mkdir()
            for number in range(FILES):
                (server.home / "many" / f"{number}.txt").write_bytes(b"x" * 1000)
            proxy.control.delay(0.0025)  # both ways: 5 ms on each reply
            title = f"mirror of {FILES} files, 5 ms on each reply"
            place = {**place_of(server, local), **proxy.place}
            compare("benchmarks.ftp", title, ["mirror 1", "mirror 8"], ["mirror 1"], rounds, place)


if __name__ == "__main__":
    if not did_one(ALL):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 256)
