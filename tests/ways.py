"""The two ways that a request can take, for tests that hold both to the same behaviour."""

from __future__ import annotations

import pytest

from echo_connhandler._async.http_engine import AsyncHttpEngine
from echo_connhandler._sync.http_engine import HttpEngine

__all__ = ("way",)


@pytest.fixture(params=["direct", "client"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send requests over connections of our own, then through the live httpx client."""
    for engine in (AsyncHttpEngine, HttpEngine):
        monkeypatch.setattr(engine, "direct", request.param == "direct")
    chosen: str = request.param
    return chosen
