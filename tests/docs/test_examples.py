"""Every Python example of the README and the documentation runs, in the order of its page.

The examples are executed as they stand, but for the hosts in their URLs, which become those of servers on
loopback. What a line `print(...)` prints must be what the comment behind or below it says; `...` stands for anything.
TOML examples are written to the file that their first line names, `export` lines of shell examples set variables.
Each page runs twice: its top-level `await`s, as a notebook has them, on asyncio and on trio.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from tests.docs.example_api import play
from tests.docs.example_ftp import HOST, ftp_server

if TYPE_CHECKING:
    from sybil import Example

    from tests.servers.http import HttpServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_PYTHON = [page for page in PAGES if "```python\n" in page.read_text(encoding="utf-8")]

_PRINTS = re.compile(r"^ *print\(.*\)(?:  |\n *)# (.*)$", re.MULTILINE)
_FENCE = re.compile(r"^\s*(?:```|~~~|:::)\{?([\w-]*)\}?[ \t]*(\w*)", re.MULTILINE)
_EXPORT = re.compile(r"^export (\w+)='?([^'\n]*)'?$", re.MULTILINE)


def run_python(example: Example, page: Path, backend: str) -> None:
    """Execute an example, and compare what it prints with what it says that it prints."""
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        outcome = eval(code, example.namespace)
        if inspect.iscoroutine(outcome):

            async def finish() -> Any:
                return await outcome

            anyio.run(finish, backend=backend)
    wanted = "".join(f"{line}\n" for line in _PRINTS.findall(example.parsed))
    same = doctest.OutputChecker().check_output(wanted, printed.getvalue(), doctest.ELLIPSIS)
    assert same, f"{page.name}, line {example.line}: printed\n{printed.getvalue()}instead of\n{wanted}"


def write_toml(example: Example) -> None:
    """Write a TOML example to the file that its first line names."""
    name = example.parsed.splitlines()[0].removeprefix("# ")
    Path(name).write_text(example.parsed, encoding="utf-8")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(
    page: Path,
    backend: str,
    server: HttpServer,
    other_server: HttpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play(server, other_server)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8").replace("https://api.example.com", server.url)
    text = text.replace("https://elsewhere.example.com", other_server.url)
    with ftp_server() if HOST in text else contextlib.nullcontext(HOST) as ftp:
        run_page(page, text.replace(HOST, ftp), backend, tmp_path)


def run_page(page: Path, text: str, backend: str, folder: Path) -> None:
    """Run all examples of a page, whose text has the servers' real addresses."""
    prepared = folder / page.name
    prepared.write_text(text, encoding="utf-8")
    parsers = [
        CodeBlockParser("python", lambda example: run_python(example, page, backend)),
        CodeBlockParser("toml", write_toml),
        CodeBlockParser("shell", lambda example: os.environ.update(_EXPORT.findall(example.parsed))),
    ]
    examples = list(Sybil(parsers=parsers).parse(prepared).examples())
    assert len([e for e in examples if e.region.parsed]) >= text.count("```python\n")
    for example in examples:
        example.evaluate()
    examples[0].namespace.clear()


def test_python_is_marked_in_the_one_way_that_is_found() -> None:
    allowed = {"", "python", "shell", "toml", "text", "toctree", "include", "eval-rst", "image"}
    for page in PAGES:
        for name, argument in _FENCE.findall(page.read_text(encoding="utf-8")):
            assert name in allowed, f"{page.name}: {name}"
            assert (name, argument) != ("code-block", "python")


def test_the_pages_that_should_have_examples_have_some() -> None:
    names = {page.name for page in WITH_PYTHON}
    assert {"README.md", "getting-started.md", "http.md", "sql.md", "ftp.md", "retries.md", "testing.md"} <= names
