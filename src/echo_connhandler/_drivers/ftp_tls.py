"""TLS contexts for FTP servers, shared as those for SQL: sessions can be resumed within one context only."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from .sql_tls import shared_context

if TYPE_CHECKING:
    from .._core.ftp.properties import FtpConnProperties

__all__ = ("ftp_tls_context",)


def ftp_tls_context(props: FtpConnProperties) -> ssl.SSLContext:
    """Return the context that the properties ask for; the same one as long as its files stay the same.

    Raises:
        InvalidRequestError: a file is missing, or is not what it should be.
    """
    verify = props.verify_ssl
    if isinstance(verify, ssl.SSLContext):
        return verify
    return shared_context(verify, props.client_cert, props.client_key, props.client_key_password)
