"""Connection properties: validation, and the places that they can come from."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from echo_connhandler import HttpConnProperties, SqlLiteConnProperties


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"host": "api.example.com"}, "http:// or https://"),
        ({"host": "ftp://api.example.com"}, "'ftp'"),
        ({"host": "https://"}, "base URL"),
        ({"host": "https://user:planted@api.example.com"}, "user or password"),
        ({"host": "https://api.example.com?x=1"}, "without query"),
        ({"host": "https://api.example.com:99999"}, "port"),
        ({"host": "https://api.example.com\r\n"}, "white space"),
        ({"api_key": "planted", "user": "u", "password": "planted"}, "either api_key, or user and password"),
        ({"user": "u"}, "password is missing"),
        ({"password": "planted"}, "user is missing"),
        ({"conn_timeout": 0}, "conn_timeout must be a positive number of seconds"),
        ({"request_timeout": -1}, "request_timeout"),
        ({"request_timeout": float("inf")}, "request_timeout"),
        ({"request_timeout": {"all": 1}}, "connect, read, write or pool, not"),
        ({"request_timeout": {"read": 0}}, "request_timeout.'read'. must be a positive number of seconds"),
        ({"payload_kwargs_key": "body"}, "payload_kwargs_key"),
        ({"max_response_bytes": 0}, "max_response_bytes"),
        ({"headers": {"X": "a\r\nb"}}, "line breaks"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        HttpConnProperties(**{"host": "https://api.example.com", **wrong})  # type: ignore[arg-type]
    assert "planted" not in str(caught.value)


def test_properties_are_frozen_and_own_their_mappings() -> None:
    headers = {"X": "1"}
    props = HttpConnProperties(host="https://api.example.com", headers=headers)
    headers["X"] = "2"
    assert props.headers == {"X": "1"}
    with pytest.raises(AttributeError):
        props.host = "x"  # type: ignore[misc]


def test_repr_shows_what_helps_and_no_secret() -> None:
    props = HttpConnProperties(
        host="https://api.example.com",
        user="me",
        password="planted",
        headers={"Accept": "text/html", "Authorization": "planted"},
        cookies={"sid": "planted"},
        payload_kwargs={"token": "planted"},
    )
    text = repr(props)
    assert "planted" not in text
    for shown in ("https://api.example.com", "me", "text/html", "Authorization", "sid", "token"):
        assert shown in text
    assert "planted" not in str(props)
    assert "planted" not in f"{props}"


def test_a_pickle_of_properties_is_complete() -> None:
    props = HttpConnProperties(host="https://api.example.com", api_key="planted", headers={"X": "1"})
    assert pickle.loads(pickle.dumps(props)) == props


def test_from_url() -> None:
    props = HttpConnProperties.from_url("https://me:p%40ss@api.example.com/v1?conn_timeout=5&verify_ssl=false")
    assert props == HttpConnProperties(
        host="https://api.example.com/v1", user="me", password="p@ss", conn_timeout=5, verify_ssl=False
    )
    assert HttpConnProperties.from_url("http://h", api_key="k").api_key == "k"
    for url, match in [
        ("ftp://h", "scheme"),
        ("api.example.com", "missing"),
        ("https://h?token=planted", "unknown properties"),
        ("https://h?conn_timeout=soon", "conn_timeout in the URL can't be read as float"),
    ]:
        with pytest.raises(ValueError, match=match) as caught:
            HttpConnProperties.from_url(url)
        assert "planted" not in str(caught.value)


def test_sqlite_urls() -> None:
    assert SqlLiteConnProperties.from_url("sqlite:///a/b.db").path == "a/b.db"
    assert SqlLiteConnProperties.from_url("sqlite:////a/b.db?query_timeout=2.5").query_timeout == 2.5
    assert SqlLiteConnProperties.from_url("sqlite:////a/b.db").path == "/a/b.db"
    assert SqlLiteConnProperties.from_url("sqlite://").in_memory
    with pytest.raises(ValueError, match="three slashes"):
        SqlLiteConnProperties.from_url("sqlite://a.db")


def test_from_env() -> None:
    environ = {
        "X_HOST": "https://h",
        "X_API_KEY": "planted",
        "X_HEADERS": '{"A": "b"}',
        "X_MAX_RESPONSE_BYTES": "10",
        "X_VERIFY_SSL": "/ca.pem",
        "OTHER": "1",
    }
    props = HttpConnProperties.from_env("X_", environ=environ, conn_timeout=1)
    assert props == HttpConnProperties(
        host="https://h",
        api_key="planted",
        headers={"A": "b"},
        max_response_bytes=10,
        verify_ssl="/ca.pem",
        conn_timeout=1,
    )
    with pytest.raises(ValueError, match=r"lacks \['host'\]"):
        HttpConnProperties.from_env("X_", environ={})
    with pytest.raises(ValueError, match="headers in the environment"):
        HttpConnProperties.from_env("X_", environ={"X_HOST": "https://h", "X_HEADERS": "planted"})


def test_from_env_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_PATH", "a.db")
    assert SqlLiteConnProperties.from_env().path == "a.db"


def test_from_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text('[prices]\nhost = "https://h"\napi_key_env = "KEY"\nheaders = {A = "b"}\n[bad]\nhots = "x"\n')
    monkeypatch.setenv("KEY", "planted")
    assert HttpConnProperties.from_profile("prices", file).api_key == "planted"
    monkeypatch.setenv("ECHO_CONNHANDLER_PROFILES", str(file))
    assert HttpConnProperties.from_profile("prices", conn_timeout=1).headers == {"A": "b"}
    monkeypatch.delenv("KEY")
    with pytest.raises(ValueError, match="variable KEY, which is not set"):
        HttpConnProperties.from_profile("prices")
    with pytest.raises(ValueError, match=r"no profile \[other\].*bad, prices"):
        HttpConnProperties.from_profile("other")
    with pytest.raises(ValueError, match="unknown properties.*hots"):
        HttpConnProperties.from_profile("bad")
    monkeypatch.delenv("ECHO_CONNHANDLER_PROFILES")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no profiles file"):
        HttpConnProperties.from_profile("prices")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"path": ""}, "path"),
        ({"path": "a\0b"}, "NUL"),
        ({"query_timeout": 0}, "query_timeout"),
        ({"journal_mode": "off"}, "journal_mode"),
        ({"path": ":memory:", "read_only": True}, "read_only"),
    ],
)
def test_wrong_sqlite_properties_are_said(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SqlLiteConnProperties(**{"path": "a.db", **wrong})  # type: ignore[arg-type]
