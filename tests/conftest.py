"""Fixtures that all tests share: the event loops, a real HTTP server, and a watch on what tests leave behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import (  # noqa: F401 - fixtures of all tests
    durable_mariadb,
    durable_postgres,
    mariadb,
    mariadb_database,
    own_mariadb,
    own_postgres,
    postgres,
    postgres_database,
)
from tests.ftp_servers import (  # noqa: F401 - fixtures of all tests
    any_ftp_service,
    ftp_servers,
    ftp_service,
    impatient_ftp,
    own_ftp_service,
    tls_ftp_service,
)
from tests.servers.hostile import HostileServer
from tests.servers.http import HttpServer
from tests.sql_services import sql_proxy, sql_server, sql_service  # noqa: F401 - fixtures of all tests

# How long an example takes says something about the machine, not about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops."""
    backend: str = request.param
    return backend


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A real HTTP server on a free port of loopback."""
    with HttpServer() as running:
        yield running


@pytest.fixture
def other_server() -> Iterator[HttpServer]:
    """Another origin."""
    with HttpServer() as running:
        yield running


@pytest.fixture(autouse=True, scope="module")
def only_new_objects_are_searched() -> Iterator[None]:
    """Keep what earlier modules imported out of the search after every test, which takes far longer than most tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Make a forgotten socket or connection fail the test that forgot it: warnings are errors, and now is the time."""
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    yield
    gc.collect()
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread not in before]
    for thread in left:
        thread.join(5)
    # anyio keeps worker threads of an event loop until it ends; they end with the test's loop.
    assert not [thread for thread in left if thread.is_alive() and "AnyIO" not in thread.name]


@pytest.fixture
def hostile() -> Iterator[HostileServer]:
    """A server that misbehaves as the path says."""
    with HostileServer() as running:
        yield running
