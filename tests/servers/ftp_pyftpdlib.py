"""pyftpdlib for tests, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.ftp_daemon import FtpDaemon, FtpTls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PyftpdlibServer(FtpDaemon):
    """Shows its user `home` as the root of all.

    Args:
        tls, within: see FtpDaemon. Another account may not even start Python here; `permissions` does what one is for.
        permissions: what the user may, in pyftpdlib's letters.
        handler: attributes of pyftpdlib's FTPHandler, such as {"timeout": 3}.
    """

    def __init__(
        self,
        *,
        tls: FtpTls = "none",
        within: Sequence[str] = (),
        permissions: str = "elradfmwMT",
        handler: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(tls=tls, within=within)
        self.permissions = permissions
        self.handler = dict(handler or {})

    @property
    def root(self) -> str:
        return "/"

    def configure(self) -> None:
        settings = {
            "user": self.user,
            "password": self.password,
            "home": str(self.home),
            "permissions": self.permissions,
            "tls": self.tls,
            "certificate": self.files.server_certificate,
            "key": self.files.server_key,
            "handler": {"passive_ports": list(self.passive)} | self.handler,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings))

    def line(self) -> Sequence[str]:
        script = Path(__file__).with_name("ftp_pyftpdlib_main.py")
        return [sys.executable, str(script), str(self.folder / "settings.json"), str(self.port)]
