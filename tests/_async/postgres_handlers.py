"""Handlers of PostgreSQL for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.servers.daemon import Database
from tests.sql_services import postgres_service

__all__ = (
    "Make",
    "handler",
    "make",
    "watcher",
)

Make = Callable[..., Any]


@pytest.fixture
def make(postgres_database: Database) -> Make:
    return postgres_service(postgres_database).make


@pytest.fixture
async def handler(make: Make) -> AsyncIterator[Any]:
    async with make() as opened:
        yield opened


@pytest.fixture
async def watcher(make: Make) -> AsyncIterator[Any]:
    """Another handler, which sees what sessions of the first do."""
    async with make(properties={"application_name": "watcher"}) as opened:
        yield opened
