"""How to reach an SQL server: what is taken, what is refused and why, and where it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from echo_connhandler import SqlConnProperties


def test_defaults_reach_a_server_of_this_machine() -> None:
    props = SqlConnProperties()
    assert props.hosts == [("localhost", None)]
    assert (props.conn_timeout, props.query_timeout, props.tls, props.verify_ssl) == (30, None, "prefer", True)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"host": 5}, TypeError, "host must be text"),
        ({"host": ""}, ValueError, "from_url"),
        ({"host": "postgresql://h"}, ValueError, "from_url"),
        ({"host": "me@h"}, ValueError, "from_url"),
        ({"user": "a\nb"}, ValueError, "user must not hold control characters"),
        ({"port": 0}, ValueError, "port must be a whole number"),
        ({"port": True}, ValueError, "port must be a whole number"),
        ({"port": 65536}, ValueError, "port must be a whole number"),
        ({"password": "x"}, ValueError, "user is missing"),
        ({"conn_timeout": 0}, ValueError, "conn_timeout must be a positive number"),
        ({"query_timeout": -1}, ValueError, "query_timeout must be a positive number"),
        ({"max_age": 0}, ValueError, "max_age must be a positive number"),
        ({"idle_check": -1}, ValueError, "idle_check must be a positive number"),
        ({"tls": "on"}, ValueError, 'tls must be "disable", "prefer" or "require"'),
        ({"verify_ssl": 5}, TypeError, "verify_ssl must be True, False or a path"),
        ({"client_key": "k.pem"}, ValueError, "client_cert is missing"),
        ({"client_cert": "c.pem", "tls": "disable"}, ValueError, "client_cert needs tls"),
        ({"server_settings": "a=b"}, TypeError, "server_settings must be a mapping"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SqlConnProperties(**given)


def test_no_idle_time_may_be_too_short_to_ask() -> None:
    assert SqlConnProperties(idle_check=0, max_age=None).idle_check == 0


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        ("a", [("a", 5)]),
        ("a:1,b", [("a", 1), ("b", 5)]),
        ("::1", [("::1", 5)]),
        ("[::1]:7,10.0.0.1:8", [("::1", 7), ("10.0.0.1", 8)]),
        ("/var/run/postgresql", [("/var/run/postgresql", 5)]),
    ],
)
def test_hosts_and_their_ports(host: str, hosts: list[tuple[str, int]]) -> None:
    assert SqlConnProperties(host=host, port=5).hosts == hosts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h", {"host": "h"}),
        ("postgres://me:p%40ss@h:5433/da%2Fta", {"user": "me", "password": "p@ss", "port": 5433, "database": "da/ta"}),
        ("mysql://me@/plant", {"host": "localhost", "user": "me", "database": "plant"}),
        ("postgresql://me:x@a:1,b:2/d?target_session_attrs=read-write", {"host": "a:1,b:2", "password": "x"}),
        ("mariadb://h/d?tls=require&verify_ssl=no&query_timeout=2.5", {"verify_ssl": False, "query_timeout": 2.5}),
    ],
)
def test_urls(url: str, expected: dict[str, Any]) -> None:
    props = SqlConnProperties.from_url(url)
    assert {name: getattr(props, name) for name in expected} == expected


def test_secrets_are_masked() -> None:
    shown = repr(SqlConnProperties(user="me", password="planted", client_cert="c.pem", client_key_password="planted"))
    assert "planted" not in shown
    assert "'***'" in shown
