"""vsftpd for tests."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from tests.servers import system
from tests.servers.ftp_daemon import FtpTls, UnpackedDaemon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SETTINGS = {
    "listen": "YES",
    "listen_address": "127.0.0.1",
    "background": "NO",
    # It needs no account of the machine's: its user is anonymous, who may all, with a password from a list.
    "run_as_launching_user": "YES",
    "local_enable": "NO",
    "anonymous_enable": "YES",
    "secure_email_list_enable": "YES",
    "anon_world_readable_only": "NO",
    "write_enable": "YES",
    "anon_upload_enable": "YES",
    "anon_mkdir_write_enable": "YES",
    "anon_other_write_enable": "YES",
    "anon_umask": "022",
    "delay_failed_login": "0",
    "max_clients": "256",
    "seccomp_sandbox": "NO",
    "xferlog_enable": "YES",
    "log_ftp_protocol": "YES",
}
_TLS = {
    "ssl_enable": "YES",
    "allow_anon_ssl": "YES",
    "force_anon_logins_ssl": "YES",
    "force_anon_data_ssl": "YES",
    "require_ssl_reuse": "YES",
}


class VsftpdServer(UnpackedDaemon):
    """Names `home` as the disk does. With TLS, a data connection must resume the control connection's session.

    Args:
        tls, account, within: see FtpDaemon.
        settings: more of what vsftpd.conf takes.
    """

    user = "ftp"
    package = "vsftpd"

    def __init__(
        self,
        *,
        tls: FtpTls = "none",
        account: str | None = None,
        within: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(tls=tls, account=account, within=within)
        self.settings = dict(settings or {})

    def configure(self) -> None:
        (self.folder / "passwords").write_text(f"{self.password}\n")

    def line(self) -> Sequence[str]:
        settings = _SETTINGS | {
            "listen_port": str(self.port),
            "pasv_min_port": str(self.passive[0]),
            "pasv_max_port": str(self.passive[-1]),
            "anon_root": str(self.home),
            "ftp_username": pwd.getpwuid(self.identity.get("user", os.geteuid())).pw_name,
            "email_password_file": str(self.folder / "passwords"),
            "vsftpd_log_file": str(self.folder / "log"),
        }
        if self.tls != "none":
            settings |= _TLS | {"implicit_ssl": "YES" if self.tls == "implicit" else "NO"}
            settings |= {"rsa_cert_file": self.files.server_certificate, "rsa_private_key_file": self.files.server_key}
        settings |= self.settings
        file = self.folder / "vsftpd.conf"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        system.own(file, self.identity)  # it refuses one that is somebody else's
        return [self.program, str(file)]
