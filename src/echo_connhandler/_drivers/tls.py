"""TLS contexts for HTTP, shared: making one takes 30 ms. Those for SQL are in `sql_tls.py`."""

from __future__ import annotations

import functools
import os
import ssl
import warnings
from pathlib import Path

import httpx

from .._core.http_options import InsecureTlsWarning, weaknesses
from .._core.http_properties import HttpConnProperties

__all__ = ("default_context", "load_client_cert", "stamps", "tls_context", "warn_of_weak_tls")

# Python has a name for it from 3.12 on.
_OP_LEGACY_SERVER_CONNECT = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)


def default_context() -> ssl.SSLContext:
    """Return the context that verifies as is usual."""
    return _made(verify=True, cert=None, key=None, password=None, legacy=False, http2=False, stamps=stamps(None))


def tls_context(props: HttpConnProperties) -> ssl.SSLContext:
    """Return the context that the properties ask for; the same one as long as its files stay the same.

    Raises:
        ValueError: a file is missing, or is not what it should be.
    """
    verify = props.verify_ssl
    if isinstance(verify, ssl.SSLContext):
        return verify
    return _made(
        verify=verify,
        cert=props.client_cert,
        key=props.client_key,
        password=props.client_key_password,
        legacy=props.legacy_tls,
        http2=props.http2,  # httpcore sets the protocols of a context anew for each connection
        stamps=stamps(verify if isinstance(verify, str) else None, props.client_cert, props.client_key),
    )


def stamps(*paths: str | None) -> tuple[object, ...]:
    """Return what changes with the files, and with the variables that OpenSSL's defaults come from."""
    times = []
    for path in paths:
        try:
            times.append(None if path is None else Path(path).stat().st_mtime_ns)
        except OSError:
            times.append(None)
    return os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), *times


@functools.lru_cache(32)
def _made(
    *,
    verify: bool | str,
    cert: str | None,
    key: str | None,
    password: str | None,
    legacy: bool,
    http2: bool,
    stamps: tuple[object, ...],
) -> ssl.SSLContext:
    if isinstance(verify, bool):
        context = httpx.create_ssl_context(verify=verify)
    elif Path(verify).is_dir():
        context = ssl.create_default_context(capath=verify)
    elif Path(verify).is_file():
        context = ssl.create_default_context(cafile=verify)
    else:
        raise ValueError(f"verify_ssl: there is no file or folder {verify!r}")
    if cert is not None:
        load_client_cert(context, cert, key, password)
    if legacy:
        context.options |= _OP_LEGACY_SERVER_CONNECT
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def load_client_cert(context: ssl.SSLContext, cert: str, key: str | None, password: str | None) -> None:
    """Load what a client shows of itself.

    Raises:
        ValueError: a file is missing, or is not what it should be.
    """
    for name, path in (("client_cert", cert), ("client_key", key)):
        if path is not None and not Path(path).is_file():
            raise ValueError(f"{name}: there is no file {path!r}")
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password=password or "")
    except (ssl.SSLError, OSError) as error:
        asked = "" if password else ", or the key is encrypted and client_key_password is missing"
        raise ValueError(f"client_cert: {cert!r} can't be used with its key{asked} ({error})") from error


def warn_of_weak_tls(props: HttpConnProperties, *, stacklevel: int) -> None:
    """Say which options make connections to the host unsafe, naming it."""
    for weakness in weaknesses(props):
        warnings.warn(weakness, InsecureTlsWarning, stacklevel=stacklevel + 1)
