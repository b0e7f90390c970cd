"""The FTP server that the documentation's examples talk to: `ftp.example.com`, played by pyftpdlib on loopback."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.docs.example_api import PASSWORD
from tests.servers.ftp_pyftpdlib import PyftpdlibServer

__all__ = ("HOST", "ftp_server")

HOST = 'host="ftp.example.com"'
_FILES = {
    "reports/2025-01.csv": "day,price\n1,60.5\n2,\n",
    "reports/2025-02.csv": "day,price\n1,61.5\n2,\n",
    "reports/old/2024.csv": "day,price\n1,58.5\n2,\n",
}
_CHANGED = dt.datetime(2025, 2, 1, 6, tzinfo=dt.UTC).timestamp()


class _Server(PyftpdlibServer):
    user = "me"


@contextmanager
def ftp_server() -> Iterator[str]:
    """Run it, and give what stands in the place of HOST."""
    server = _Server()
    server.password = PASSWORD
    with server:
        for name, text in _FILES.items():
            path = server.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (_CHANGED, _CHANGED))
        yield f'host="{server.host}", port={server.port}'
