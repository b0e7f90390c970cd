"""Trees of sources for the generator, and rules for them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from scripts import unasync as generator

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "HTTP",
    "HTTP_TWIN",
    "NO_RULES",
    "RULES",
    "SOURCES",
    "TWINS",
    "root",
    "write",
)

# The tests' own rules: the real table may lose lines without a test here noticing.
RULES = generator.Rules(
    patterns={
        r"(_*)Async([A-Z]\w*)": r"\1\2",
        r"async_([a-z]\w*)": r"\1",
        r"_async_([a-z]\w*)": r"_sync_\1",
        r"(_*)ASYNC_([A-Z]\w*)": r"\1\2",
    },
    names={
        "StopAsyncIteration": "StopIteration",
        "__aenter__": "__enter__",
        "__aexit__": "__exit__",
        "__aiter__": "__iter__",
        "__anext__": "__next__",
        "_async": "_sync",
        "aclose": "close",
        "aiter": "iter",
        "anext": "next",
        "aread": "read",
        "asynccontextmanager": "contextmanager",
    },
)
NO_RULES = generator.Rules(patterns={}, names={})
SOURCES = "src/echo_connhandler/_async"
TWINS = "src/echo_connhandler/_sync"
HTTP = f"{SOURCES}/http.py"
HTTP_TWIN = f"{TWINS}/http.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder that is formatted by the repository's own configuration."""
    (tmp_path / "pyproject.toml").write_text((generator.REPOSITORY / "pyproject.toml").read_text())
    return tmp_path


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), encoding="utf-8")
