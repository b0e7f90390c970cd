"""The rules of the house, held: which room may import which, what importing the package costs, what is public."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import echo_connhandler

PACKAGE = Path(echo_connhandler.__file__).parent
# From the top down; a room imports from those below it only.
ROOMS = ["public", "_async", "_sync", "_drivers", "_concurrency", "_core"]
ALLOWED = {
    "public": {"public", "_async", "_sync", "_drivers", "_concurrency", "_core"},
    "_async": {"_async", "_drivers", "_concurrency", "_core"},
    "_sync": {"_sync", "_drivers", "_concurrency", "_core"},
    "_drivers": {"_drivers", "_core"},
    "_concurrency": {"_concurrency", "_core"},
    "_core": {"_core"},
}
# What would be input, output, waiting or locking in the pure room.
IMPURE = {"anyio", "asyncio", "trio", "socket", "threading", "time", "subprocess", "tenacity", "aiosqlite", "selectors"}
LIBRARIES = {"sqlite3", "aiosqlite", "pandas", "polars", "pyarrow", "numpy", "trio", "asyncpg", "psycopg", "aiomysql"}
LIBRARIES |= {"aioftp", "ftplib"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts and parts[0] in ALLOWED else "public"


def imports(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return what a module imports: the outside package's name or "", and the path inside of ours."""
    found: list[tuple[str, tuple[str, ...]]] = []
    inside = path.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(((node.module or "").split(".")[0], ()))
        elif isinstance(node, ast.ImportFrom):
            folder = inside[: len(inside) - node.level]
            found.append(("", (*folder, *(node.module or node.names[0].name).split("."))))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_rooms_import_only_from_below(path: Path) -> None:
    room = room_of(path.relative_to(PACKAGE).parts)
    for outside, inside in imports(path):
        assert outside != "echo_connhandler", "imports inside of the package are relative"
        if not outside and inside[-1:] != ("__version__",):
            assert room_of(inside) in ALLOWED[room], f"{room} must not import {'.'.join(inside)}"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "_core").rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_core_is_pure(path: Path) -> None:
    assert not {outside for outside, _ in imports(path)} & IMPURE


def test_the_source_uses_event_loops_through_the_pairs_only() -> None:
    for path in (PACKAGE / "_async").glob("*.py"):
        assert not {outside for outside, _ in imports(path)} & {"anyio", "asyncio", "trio", "threading"}


def run(code: str) -> str:
    # Measuring coverage in there would import things of its own.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    return done.stdout


def test_importing_the_package_imports_no_driver_and_no_frames() -> None:
    loaded = json.loads(run("import sys, json, echo_connhandler; print(json.dumps(sorted(sys.modules)))"))
    assert not (LIBRARIES | {"httpx", "anyio", "tenacity"}) & set(loaded)


def test_importing_the_handlers_imports_no_driver_and_no_frames() -> None:
    loaded = json.loads(run("import sys, json; from echo_connhandler import *; print(json.dumps(sorted(sys.modules)))"))
    assert "echo_connhandler.sql" in loaded
    assert not LIBRARIES & set(loaded)


def test_public_names_are_sorted_and_exist() -> None:
    assert list(echo_connhandler.__all__) == sorted(echo_connhandler.__all__)
    assert dir(echo_connhandler) == list(echo_connhandler.__all__)
    for name in echo_connhandler.__all__:
        assert hasattr(echo_connhandler, name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        echo_connhandler.Nothing


def test_names_for_type_checkers_are_those_imported_when_used() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        node.module: {alias.name for alias in node.names} for node in checked.body if isinstance(node, ast.ImportFrom)
    }
    assert seen == {home: set(names) for home, names in echo_connhandler._HOMES.items()}


def test_no_handler_is_attached_to_the_logs() -> None:
    handlers = run("import logging, echo_connhandler; print(logging.getLogger('echo_connhandler').handlers)")
    assert handlers.strip() == "[]"
