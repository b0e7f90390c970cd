"""Planted secrets, looked for wherever something is shown: repr, str, logs, tracebacks, pickles of errors."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from echo_connhandler import HttpConnProperties, HttpHandler, HttpSession, LoginFlow, RetryDetails
from echo_connhandler.errors import AuthenticationError, EchoConnError, UnexpectedStatusError
from echo_connhandler.resilience import Resilience
from echo_connhandler.testing import no_waits
from tests.servers.http import HttpServer, Reply, Request
from tests.ways import way  # noqa: F401 - a fixture

# Tracebacks show source lines: the word itself stands in none.
P = "".join(reversed("detnalp"))


class LoginHandler(HttpHandler):
    def login_flow(self) -> LoginFlow:
        form = {"user": self.props.user, "password": self.props.password}
        response = yield httpx.Request("POST", self.url_for("login"), data=form)
        return HttpSession(headers={"Authorization": f"Bearer {response.json()['token']}"}, params={"k": f"{P}-k"})


def echo_everything(request: Request) -> Reply:
    """Answer as the worst of servers: an error page that repeats all that was sent."""
    text = f"{request.method} {request.target} {request.headers} {request.body.decode()}"
    return Reply(500, {"Set-Cookie": f"sid={P}-cookie", "Content-Type": "text/plain"}, text.encode())


@pytest.fixture
def shown(way: str, caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """All that is shown: fill it, and it is searched at the end, with all logs of all libraries at DEBUG."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    texts: list[str] = []
    yield texts
    records = caplog.get_records("call")
    expected = {"echo_connhandler"} if way == "direct" else {"httpx", "httpcore"}
    assert {record.name.partition(".")[0] for record in records} >= expected
    texts += [record.getMessage() for record in records]
    texts += [repr(record.args) for record in records]
    for text in texts:
        assert f"{P}" not in text, text


def told_of(error: BaseException) -> list[str]:
    pickled = pickle.dumps(error)
    return [
        str(error),
        repr(error),
        "".join(traceback.format_exception(error)),
        pickled.decode("latin-1"),
        repr(vars(pickle.loads(pickled))),
        repr(error.args),
        str(copy.copy(error)),
    ]


def test_secrets_of_calls_and_properties(server: HttpServer, shown: list[str]) -> None:
    server.route("*", "/fails")(echo_everything)
    hooks: list[RetryDetails] = []
    props = HttpConnProperties(
        host=server.url,
        api_key=f"{P}-api-key",
        headers={"X-Api-Key": f"{P}-header", "Authorization": f"Basic {P}-basic"},
        cookies={"c": f"{P}-c"},
        payload_kwargs={"whatever": f"{P}-payload"},
        payload_kwargs_key="params",
    )
    with HttpHandler(props, resilience=Resilience(max_retries=1, before_retry=(hooks.append,))) as handler:
        calls: list[Callable[[], httpx.Response]] = [
            lambda: handler.get(f"fails?api_token={P}-query"),
            lambda: handler.post("fails", params={"password": f"{P}-query"}, json={"a": 1}),
            lambda: handler.with_headers({"X-More": f"{P}-more"}).get("fails"),
        ]
        for call in calls:
            with no_waits(), pytest.raises(UnexpectedStatusError) as caught:
                call()
            shown += told_of(caught.value)
        assert len(hooks) == 3
        shown += [repr(hook) for hook in hooks] + [str(hook.error) for hook in hooks]
        shown += [repr(handler), str(handler), repr(props), repr(handler.connection), repr(handler._settings)]
        server.close()
        with no_waits(), pytest.raises(EchoConnError) as failed:
            handler.get(f"fails?token={P}-query")
        shown += told_of(failed.value)


def test_secrets_of_a_login(server: HttpServer, shown: list[str]) -> None:
    server.route("*", "/fails")(echo_everything)
    server.script("/login", [Reply.json({"token": f"{P}-token"}), Reply(401, {}, f"{P}-password is wrong".encode())])
    props = HttpConnProperties(host=server.url, user="me", password=f"{P}-password")
    with LoginHandler(props, max_retries=0) as handler:
        with pytest.raises(UnexpectedStatusError) as caught:
            handler.get("fails")
        shown += told_of(caught.value)
        shown += [repr(handler), repr(handler._logins.session)]  # type: ignore[union-attr]
        with pytest.raises(AuthenticationError) as refused:
            handler.reconnect()
        shown += told_of(refused.value)


def test_pickles_of_properties_and_handlers_do_hold_them_as_documented(server: HttpServer) -> None:
    handler = HttpHandler(HttpConnProperties(host=server.url, api_key=f"{P}-api-key"))
    assert f"{P}-api-key".encode() in pickle.dumps(handler)
    twin: Any = pickle.loads(pickle.dumps(handler))
    assert twin.props.api_key == f"{P}-api-key"
    handler.close()


def test_a_secret_that_a_message_would_cut_in_two_is_masked_first(server: HttpServer) -> None:
    secret = f"{P}-{'x' * 300}"
    server.script("/x", [Reply(404, {}, f"{'y' * 180} {secret}".encode())])
    with HttpHandler(HttpConnProperties(host=server.url, api_key=secret)) as handler:
        with pytest.raises(UnexpectedStatusError) as caught:
            handler.get("x")
    assert P not in str(caught.value)
