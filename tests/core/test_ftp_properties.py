"""How to reach an FTP server: what is taken, what is refused and why, and where it comes from."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest

from echo_connhandler._core.ftp.properties import FtpConnProperties


def test_defaults_reach_a_server_of_this_machine() -> None:
    props = FtpConnProperties()
    assert props.address == ("localhost", 21)
    assert (props.user, props.tls, props.verify_ssl, props.passive, props.encoding) == (
        None,
        "none",
        True,
        True,
        "utf-8",
    )
    assert (props.conn_timeout, props.request_timeout, props.rate_limit) == (30, 300, None)
    assert (props.idle_check, props.max_age) == (30, 1800)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"tls": "explicit"}, ("localhost", 21)),
        ({"tls": "implicit"}, ("localhost", 990)),
        ({"tls": "implicit", "port": 9}, ("localhost", 9)),
        ({"host": "[::1]"}, ("::1", 21)),
    ],
)
def test_addresses(given: dict[str, Any], address: tuple[str, int]) -> None:
    assert FtpConnProperties(**given).address == address


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"host": 5}, TypeError, "host must be text"),
        ({"host": ""}, ValueError, "from_url"),
        ({"host": "ftp://h"}, ValueError, "from_url"),
        ({"host": "me@h"}, ValueError, "from_url"),
        ({"host": "h/folder"}, ValueError, "from_url"),
        ({"host": "h\r\n"}, ValueError, "host must not hold control characters"),
        ({"port": 0}, ValueError, "port must be a whole number"),
        ({"port": True}, ValueError, "port must be a whole number"),
        ({"port": 65536}, ValueError, "port must be a whole number"),
        ({"user": "a\r\nDELE x"}, ValueError, "user must not hold control characters"),
        ({"user": ""}, ValueError, "user must not be empty"),
        ({"user": "a", "password": "x\n"}, ValueError, "password must not hold control characters"),
        ({"user": "a", "password": b"x"}, TypeError, "password must be text"),
        ({"password": "x"}, ValueError, "user is missing"),
        ({"tls": "on"}, ValueError, 'tls must be "none", "explicit" or "implicit"'),
        ({"tls": True}, ValueError, 'tls must be "none", "explicit" or "implicit"'),
        ({"verify_ssl": 5}, TypeError, "verify_ssl must be True, False, a path or an ssl.SSLContext"),
        ({"client_key": "k.pem"}, ValueError, "client_cert is missing"),
        ({"client_cert": "c.pem"}, ValueError, "client_cert needs tls"),
        (
            {"client_cert": "c.pem", "tls": "explicit", "verify_ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
            ValueError,
            "load it into the SSLContext",
        ),
        ({"passive": "no"}, TypeError, "passive must be True or False"),
        ({"encoding": "no-such"}, ValueError, "encoding must be one that Python knows"),
        ({"encoding": "hex"}, ValueError, "encoding must be one that Python knows"),
        ({"encoding": "utf-16"}, ValueError, "encoding must have ASCII in it"),
        ({"encoding": "cp037"}, ValueError, "encoding must have ASCII in it"),
        ({"encoding": "utf-8-sig"}, ValueError, "encoding must have ASCII in it"),
        ({"conn_timeout": 0}, ValueError, "conn_timeout must be a positive number"),
        ({"conn_timeout": None}, ValueError, "conn_timeout must be a positive number"),
        ({"request_timeout": -1}, ValueError, "request_timeout must be a positive number"),
        ({"request_timeout": None}, ValueError, "request_timeout must be a positive number"),
        ({"max_age": 0}, ValueError, "max_age must be a positive number"),
        ({"idle_check": -1}, ValueError, "idle_check must be a positive number"),
        ({"rate_limit": 0}, ValueError, "rate_limit must be a positive number of bytes per second"),
        ({"rate_limit": "fast"}, ValueError, "rate_limit must be a positive number of bytes per second"),
        ({"rate_limit": True}, ValueError, "rate_limit must be a positive number of bytes per second"),
        ({"rate_limit": float("nan")}, ValueError, "rate_limit must be a positive number of bytes per second"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FtpConnProperties(**given)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "shift_jis", "koi8-r"])
def test_encodings(encoding: str) -> None:
    assert FtpConnProperties(encoding=encoding).encoding == encoding


def test_idle_check_may_be_at_each_use_and_age_without_end() -> None:
    assert FtpConnProperties(idle_check=0, max_age=None).max_age is None


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("ftp://h", {"host": "h", "tls": "none", "port": None, "user": None}),
        ("ftp://u:p%40ss%2F@h:2121", {"host": "h", "port": 2121, "user": "u", "password": "p@ss/"}),
        ("ftpes://u@h/", {"tls": "explicit", "user": "u", "password": None}),
        ("ftp+tls://h", {"tls": "explicit"}),
        (
            "FTPS://h?passive=no&encoding=latin-1&rate_limit=5e5",
            {"tls": "implicit", "passive": False, "rate_limit": 5e5},
        ),
        ("ftps://[::1]:99?verify_ssl=/ca.pem", {"host": "::1", "port": 99, "verify_ssl": "/ca.pem"}),
        ("ftps://h?verify_ssl=false", {"verify_ssl": False}),
    ],
)
def test_urls(url: str, values: dict[str, Any]) -> None:
    props = FtpConnProperties.from_url(url)
    assert {name: getattr(props, name) for name in values} == values


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h", "must be ftp://, ftpes://, ftp\\+tls://, ftps://"),
        ("ftp://h/folder", "names a server, not a file"),
        ("ftp://h?pasive=1", "unknown properties"),
    ],
)
def test_urls_that_are_wrong(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FtpConnProperties.from_url(url)


def test_the_environment_and_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"ECHO_HOST": "h", "ECHO_TLS": "implicit", "ECHO_USER": "u", "ECHO_PASSWORD": "s3cret"}
    props = FtpConnProperties.from_env(environ=environ)
    assert (props.address, props.password) == (("h", 990), "s3cret")
    monkeypatch.setenv("FTP_PASSWORD", "0ther")
    file = tmp_path / "profiles.toml"
    file.write_text('[reports]\nhost = "h"\nuser = "u"\npassword_env = "FTP_PASSWORD"\npassive = false\nport = 2121\n')
    props = FtpConnProperties.from_profile("reports", file)
    assert (props.address, props.password, props.passive) == (("h", 2121), "0ther", False)


def test_secrets_are_not_shown() -> None:
    props = FtpConnProperties(
        host="h", user="u", password="s3cret", tls="explicit", client_cert="c.pem", client_key_password="0ther"
    )
    assert "s3cret" not in repr(props)
    assert "0ther" not in repr(props)
    assert "'u'" in repr(props)
    assert sorted(props.secrets()) == ["0ther", "s3cret"]
    assert pickle.loads(pickle.dumps(props)) == props
