"""Certificates for servers on loopback and for their clients, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trustme

Tls = Literal["off", "offered", "required", "mutual"]
"""No TLS; for clients that want it; for all; for all, and they need a certificate as well."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files, by path. The server's certificate is for localhost and 127.0.0.1, the client's for a user."""

    ca: str
    server_certificate: str
    server_key: str
    client_certificate: str
    client_key: str

    @classmethod
    def make(cls, folder: Path, user: str, *hosts: str) -> TlsFiles:
        """Make a new authority with both certificates in this folder; the server's is for these `hosts`, too."""
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1", *hosts)
        client = authority.issue_cert(f"{user}@example.com", common_name=user)
        contents = {
            "ca": [authority.cert_pem],
            "server": server.cert_chain_pems,
            "server-key": [server.private_key_pem],
            "client": client.cert_chain_pems,
            "client-key": [client.private_key_pem],
        }
        for name, blobs in contents.items():
            path = folder / f"{name}.pem"
            path.touch(mode=0o600)  # servers and clients refuse keys that others may read
            path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return cls.of(folder)

    @classmethod
    def of(cls, folder: Path) -> TlsFiles:
        """Name those that were made in this folder."""
        return cls(*(str(folder / f"{name}.pem") for name in ("ca", "server", "server-key", "client", "client-key")))
