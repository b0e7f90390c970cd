"""What the connection options of HTTP may be, and what makes connections unsafe."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from echo_connhandler import HttpConnProperties
from echo_connhandler._core.http_options import weaknesses

HOST = "https://api.example.com"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"legacy_tls": "yes"}, TypeError, "legacy_tls must be True or False"),
        ({"http2": 1}, TypeError, "http2 must be True or False"),
        ({"verify_ssl": 1}, TypeError, "verify_ssl must be"),
        ({"client_cert": b"x"}, TypeError, "client_cert must be text"),
        ({"client_key": "k.pem"}, ValueError, "client_key goes with client_cert"),
        ({"client_key_password": "pw"}, ValueError, "client_key_password goes with client_cert"),
        ({"client_cert": "c", "verify_ssl": ssl.create_default_context()}, ValueError, "client_cert and an SSLContext"),
        ({"legacy_tls": True, "verify_ssl": ssl.create_default_context()}, ValueError, "legacy_tls and an SSLContext"),
        ({"proxy": 3128}, TypeError, "proxy must be a URL as text"),
        ({"proxy": "proxy.example.com:3128"}, ValueError, "proxy must be a URL like"),
        ({"proxy": "socks5://proxy.example.com"}, ValueError, "proxy must be a URL like"),
        ({"proxy": "http://:3128"}, ValueError, "proxy must be a URL like"),
        ({"proxy": "http://me:planted@proxy:99999"}, ValueError, "proxy must be a URL like"),
        ({"proxy": "http://me:planted@proxy/path"}, ValueError, "proxy must be a URL like"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        HttpConnProperties(host=HOST, **wrong)
    assert "planted" not in str(caught.value)


def test_secrets_of_options_are_not_shown_and_are_known() -> None:
    props = HttpConnProperties(
        host=HOST, proxy="http://me:pl%40nted@proxy:3128", client_cert="c.pem", client_key_password="planted-2"
    )
    assert "nted" not in repr(props)
    assert {"pl@nted", "pl%40nted", "planted-2"} <= set(props.secrets())


def test_what_is_unsafe_names_the_host() -> None:
    assert weaknesses(HttpConnProperties(host=HOST)) == []
    assert weaknesses(HttpConnProperties(host="http://h", verify_ssl=False)) == []
    both = weaknesses(HttpConnProperties(host=HOST, verify_ssl=False, legacy_tls=True))
    assert [text.split(":")[0] for text in both] == ["verify_ssl=False", "legacy_tls=True"]
    assert all("api.example.com" in text for text in both)


def test_options_from_the_environment() -> None:
    environ = {
        "E_HOST": HOST,
        "E_HTTP2": "yes",
        "E_LEGACY_TLS": "no",
        "E_PROXY": "http://p:1",
        "E_CLIENT_CERT": "c.pem",
    }
    props = HttpConnProperties.from_env("E_", environ=environ)
    assert (props.http2, props.legacy_tls, props.proxy, props.client_cert) == (True, False, "http://p:1", "c.pem")
