"""The generator as a script: the Python and the tools that it runs with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import unasync as generator

if TYPE_CHECKING:
    pass
from tests.scripts.unasync_trees import HTTP, HTTP_TWIN, root, write  # noqa: F401 - some are fixtures


def bare_script(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the script itself, on a Python that finds no installed package."""
    command = [sys.executable, "-I", "-S", generator.__file__, "--root", str(root), "--check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def pretend_environment(root: Path, text: str) -> None:
    write(root, {".venv/bin/python": f"#!/bin/sh\n{text}\n"})
    (root / ".venv/bin/python").chmod(0o755)


def test_the_script_finds_the_package_of_its_own_name(root: Path) -> None:
    write(root, {HTTP: "x = 1\n"})
    command = [sys.executable, generator.__file__, "--root", str(root), "--check"]
    done = subprocess.run(command, cwd=Path(generator.__file__).parent, capture_output=True, text=True)

    assert f"{HTTP_TWIN}: missing" in done.stderr


def test_without_its_tools_it_says_how_to_get_them(root: Path) -> None:
    done = bare_script(root)

    assert done.returncode == 1
    assert "pip install --group generate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for an interpreter is a shell script")
def test_without_its_tools_it_moves_to_the_project_s_python(root: Path) -> None:
    pretend_environment(root, 'echo "moved: $@"; exit 7')

    done = bare_script(root)

    assert done.returncode == 7
    assert done.stdout == f"moved: {generator.__file__} --root {root} --check\n"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for an interpreter is a shell script")
def test_it_moves_once_and_never_in_a_loop(root: Path) -> None:
    pretend_environment(root, f'exec "{sys.executable}" -I -S "$@"')

    done = bare_script(root)

    assert done.returncode == 1
    assert "pip install --group generate" in done.stderr
