"""ProFTPD for tests."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from typing import TYPE_CHECKING

from tests.servers import system
from tests.servers.ftp_daemon import FtpTls, UnpackedDaemon

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFIGURATION = """
ServerType standalone
ServerName "tests"
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
PassivePorts {first} {last}
UseIPv6 off
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
ControlsEngine off
ControlsSocket {folder}/controls
SystemLog {folder}/log
WtmpLog off
UseReverseDNS off
DelayEngine off
MaxInstances 256
User {account}
Group {group}
RootLogin on
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
Umask 022
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
ModulePath {modules}
LoadModule mod_digest.c
DigestEngine on
{more}
"""
_TLS = """
LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSLog {folder}/tls.log
TLSRSACertificateFile {certificate}
TLSRSACertificateKeyFile {key}
{options}
"""
_QUOTA = """
LoadModule mod_quotatab.c
LoadModule mod_quotatab_file.c
QuotaEngine on
QuotaLimitTable file:{folder}/limit.tab
QuotaTallyTable file:{folder}/tally.tab
"""


class ProftpdServer(UnpackedDaemon):
    """Names `home` as the disk does. With TLS, a data connection must resume the control connection's session.

    Args:
        tls, account, within: see FtpDaemon.
        quota: how many bytes the user may store in all.
        settings: more lines of proftpd.conf.
    """

    package = "proftpd"

    def __init__(
        self,
        *,
        tls: FtpTls = "none",
        account: str | None = None,
        within: Sequence[str] = (),
        quota: int | None = None,
        settings: str = "",
    ) -> None:
        super().__init__(tls=tls, account=account, within=within)
        self.quota = quota
        self.settings = settings

    def configure(self) -> None:
        users = self.folder / "users"
        users.touch(mode=0o600)
        uid, gid = self.identity.get("user", os.geteuid()), self.identity.get("group", os.getegid())
        users.write_text(f"{self.user}:{_crypt(self.password)}:{uid}:{gid}::{self.home}:/bin/sh\n")

        if self.quota is not None:
            for kind in ("limit", "tally"):
                self._set_quota("--create-table", f"--type={kind}", f"--table-path={self.folder / kind}.tab")
            what = ("--quota-type=user", f"--name={self.user}", "--limit-type=hard", f"--bytes-upload={self.quota}")
            self._set_quota("--add-record", "--type=limit", *what, f"--table-path={self.folder / 'limit.tab'}")

    def _set_quota(self, *arguments: str) -> None:
        program = str(self.unpacked / "usr/sbin/ftpquota") if self.unpacked else system.program("ftpquota")
        system.run([program, *arguments], self.folder, {})

    def line(self) -> Sequence[str]:
        more = self.settings
        if self.quota is not None:
            more += _QUOTA.format(folder=self.folder)
        if self.tls != "none":
            more += _TLS.format(
                folder=self.folder,
                certificate=self.files.server_certificate,
                key=self.files.server_key,
                options="TLSOptions UseImplicitSSL" if self.tls == "implicit" else "",
            )
        file = self.folder / "proftpd.conf"
        uid, gid = self.identity.get("user", os.geteuid()), self.identity.get("group", os.getegid())
        text = _CONFIGURATION.format(
            port=self.port,
            first=self.passive[0],
            last=self.passive[-1],
            folder=self.folder,
            account=pwd.getpwuid(uid).pw_name,
            group=grp.getgrgid(gid).gr_name,
            modules=self.modules,
            more=more,
        )
        file.write_text(text)
        return [self.program, "--nodaemon", "--config", str(file)]

    @property
    def modules(self) -> str:
        """Where its modules are."""
        return str(self.unpacked / "usr/lib/proftpd") if self.unpacked else "/usr/lib/proftpd"


def _crypt(password: str) -> str:
    """Hash a password as the system does: Python's own module for it is gone."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed: bytes = library.crypt(password.encode(), b"$5$rounds=1000$tests$")
    return hashed.decode()
