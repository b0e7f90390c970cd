"""TLS contexts for SQL and FTP servers, shared as those for HTTP: reading the system's CAs takes 30 ms."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.errors import InvalidRequestError
from .tls import load_client_cert, stamps

if TYPE_CHECKING:
    from .._core.sql_properties import SqlConnProperties

__all__ = ("shared_context", "sql_tls_context")


def sql_tls_context(props: SqlConnProperties) -> ssl.SSLContext:
    """Return the context that the properties ask for; the same one as long as its files stay the same.

    CAs are read where a certificate is to be verified only: not for "prefer".

    Raises:
        InvalidRequestError: a file is missing, or is not what it should be.
    """
    verify = props.verify_ssl if props.tls == "require" else False
    return shared_context(verify, props.client_cert, props.client_key, props.client_key_password)


def shared_context(verify: bool | str, cert: str | None, key: str | None, password: str | None) -> ssl.SSLContext:
    """Return a context for clients; the same one as long as the files stay the same.

    Args:
        verify: as `verify_ssl` of the properties.
        cert: path of the client's certificate, if it has one.
        key: path of its key, if not in the same file.
        password: of the key.

    Raises:
        InvalidRequestError: a file is missing, or is not what it should be.
    """
    changing = stamps(verify if isinstance(verify, str) else None, cert, key)
    try:
        return _made(verify=verify, cert=cert, key=key, password=password, stamps=changing)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error


@functools.lru_cache(32)
def _made(
    *, verify: bool | str, cert: str | None, key: str | None, password: str | None, stamps: tuple[object, ...]
) -> ssl.SSLContext:
    if verify:
        context = _verifying(verify)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        load_client_cert(context, cert, key, password)
    return context


def _verifying(verify: bool | str) -> ssl.SSLContext:
    if isinstance(verify, str) and not Path(verify).is_file():
        raise ValueError(f"verify_ssl: there is no file {verify!r}")
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except OSError as error:
        raise ValueError(f"verify_ssl: {verify!r} has no certificates that can be read ({error})") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which certificates that servers make for themselves don't pass
    return context
