"""The generator of the sync halves: what it rewrites, on every Python alike, and each thing it fails on."""

from __future__ import annotations

import ast
import dataclasses
import fractions
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from scripts import unasync as generator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

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
ONE_RULE = generator.Rules(patterns={}, names={"aclose": "close"})
SOURCES = "src/echo_connhandler/_async"
TWINS = "src/echo_connhandler/_sync"
HTTP = f"{SOURCES}/http.py"
HTTP_TWIN = f"{TWINS}/http.py"
CLOSING = "async def aclose() -> None: ...\n"

# (async text, sync text): tokens that differ from Python to Python, and shapes that trip a careless rewriter.
REWRITES = {
    "names": ("x = AsyncClient(async_get, _async_engine)", "x = Client(get, _sync_engine)"),
    "private and constant names": ("x = _AsyncPool(ASYNC_LIMIT)", "x = _Pool(LIMIT)"),
    "names no rule fits": (
        "x = Asynchronous(asyncpg, Async, async1)",
        "x = Asynchronous(asyncpg, Async, async1)",
    ),
    "module paths": ("from .._async.base import AsyncBase", "from .._sync.base import Base"),
    "whole path": ("import echo_connhandler._async.base", "import echo_connhandler._sync.base"),
    "stop iteration": ("raise StopAsyncIteration", "raise StopIteration"),
    "match": (
        """
        async def f(x):
            match await x:
                case AsyncPoint(async_x=0) | [await_, *_] if await g():
                    await h()
        """,
        """
        def f(x):
            match x:
                case Point(x=0) | [await_, *_] if g():
                    h()
        """,
    ),
    "except star": (
        """
        async def f():
            try:
                await g()
            except* (OSError, AsyncError) as group:
                raise
        """,
        """
        def f():
            try:
                g()
            except* (OSError, Error) as group:
                raise
        """,
    ),
    "PEP 695": (
        """
        type Rows[T] = AsyncIterator[T]
        async def f[T: AsyncRow](x: T) -> T: return await x
        class AsyncBox[T](AsyncBase): ...
        """,
        """
        type Rows[T] = Iterator[T]
        def f[T: Row](x: T) -> T: return x
        class Box[T](Base): ...
        """,
    ),
    "generators and comprehensions": (
        """
        async def async_rows(y):
            yield [x async for x in y if await x]
            yield {await k: v async for k, v in y}
            async for x in aiter(y):
                yield await anext(x)
        """,
        """
        def rows(y):
            yield [x for x in y if x]
            yield {k: v for k, v in y}
            for x in iter(y):
                yield next(x)
        """,
    ),
    "async with": (
        """
        async def f(a, b):
            async with a, b as c:
                pass
            async with (
                a as x,
                async_open(b) as y,
            ):
                pass
        """,
        """
        def f(a, b):
            with a, b as c:
                pass
            with (
                a as x,
                open(b) as y,
            ):
                pass
        """,
    ),
    "await over several lines": (
        """
        async def f():
            await (
                foo()
            )
            return (await
                    foo())
        """,
        """
        def f():
            (
                foo()
            )
            return (
                    foo())
        """,
    ),
    "await without a space": (
        "async def f(): return await(foo()), -await[0]",
        "def f(): return (foo()), -[0]",
    ),
    "await before a backslash": ("async def f(): return await \\\n  foo()", "def f(): return foo()"),
    "decorators and overloads": (
        """
        class AsyncTable:
            @overload
            async def async_read(self, n: int) -> int: ...
            @overload
            async def async_read(self, n: str) -> str: ...
            @decorate(name="async_read", by=AsyncTable)
            async def async_read(self, n): return await self._async_engine.aread(n)
        """,
        """
        class Table:
            @overload
            def read(self, n: int) -> int: ...
            @overload
            def read(self, n: str) -> str: ...
            @decorate(name="read", by=Table)
            def read(self, n): return self._sync_engine.read(n)
        """,
    ),
    "dunder methods": (
        """
        class AsyncX:
            async def __aenter__(self): return self
            async def __aexit__(self, *error): await self.aclose()
            def __aiter__(self): return self
            async def __anext__(self): raise StopAsyncIteration
        """,
        """
        class X:
            def __enter__(self): return self
            def __exit__(self, *error): self.close()
            def __iter__(self): return self
            def __next__(self): raise StopIteration
        """,
    ),
    "strings that are names": ("__all__ = ['AsyncClient', \"async_get\"]", "__all__ = ['Client', \"get\"]"),
    "prefixed strings": (r"x = rb'async_get', u'aclose', r'\AsyncX'", r"x = rb'get', u'close', r'\AsyncX'"),
    "an escape is no part of a word": (
        r"x = '\nasync_get', r'\ aclose\tawait x'",
        r"x = '\nget', r'\ close\tx'",
    ),
    "docstrings": (
        '''
        async def async_get(url):
            """Get `url`, as `AsyncClient.async_get` does.

            Example:
                >>> async with AsyncClient() as client:  # é
                ...     rows = [row async for row in await client.async_get(url)]
            """
        ''',
        '''
        def get(url):
            """Get `url`, as `Client.get` does.

            Example:
                >>> with Client() as client:  # é
                ...     rows = [row for row in client.get(url)]
            """
        ''',
    ),
    "comments": ("x = 1  # await async_get, then aclose", "x = 1  # get, then close"),
    "f-strings": (
        """x = f"{await async_get(y)!r:>{await async_width()}} AsyncClient {{aclose}}" f'{z["async_x"]}'""",
        """x = f"{get(y)!r:>{width()}} Client {{close}}" f'{z["x"]}'""",
    ),
    "nested f-strings": (
        """x = f"a {f'b {async_get(1)} é'} {[i async for i in AsyncRange()]}" + async_get""",
        """x = f"a {f'b {get(1)} é'} {[i for i in Range()]}" + get""",
    ),
    "f-strings over lines": (
        '''
        x = f"""é {async_get}
        é {f'{await y} é'} {
            aclose}""", "é" + async_get  # é aclose
        ''',
        '''
        x = f"""é {get}
        é {f'{y} é'} {
            close}""", "é" + get  # é close
        ''',
    ),
    # Python 3.12.1 and before misplace the end of these.
    "non-ASCII over lines": (
        """'''a longer line\nasync_a éééé'''"aclose" + async_get; x = "é" + aclose""",
        """'''a longer line\na éééé'''"close" + get; x = "é" + close""",
    ),
    "removed lines": (
        """
        import anyio  # unasync: remove
        @anyio_only  # noqa: F821  # unasync: remove
        async def f():
            await g()  # unasync: remove
            return 1
        """,
        """
        def f():
            return 1
        """,
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder that is formatted by the repository's own configuration."""
    (tmp_path / "pyproject.toml").write_text((generator.REPOSITORY / "pyproject.toml").read_text())
    return tmp_path


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), encoding="utf-8")


def run(root: Path, *options: str, rules: generator.Rules = NO_RULES) -> int:
    return generator.main(["--root", str(root), *options], rules=rules)


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def generated(root: Path, source: str, rules: generator.Rules = ONE_RULE) -> None:
    """Write one source and its twin, all well."""
    write(root, {HTTP: source})
    assert run(root, rules=rules) == 0


@pytest.mark.parametrize("name", REWRITES)
def test_rewrites_to_the_same_text_on_every_python(name: str) -> None:
    source, twin = map(dedent, REWRITES[name])

    assert generator.rewrite(source, RULES) == twin


def test_these_texts_are_python() -> None:
    newer = {"PEP 695"} if sys.version_info < (3, 12) else set()

    for name in REWRITES.keys() - newer:
        for text in REWRITES[name]:
            ast.parse(dedent(text))


@pytest.mark.parametrize("module", [dataclasses, fractions, textwrap])
def test_code_without_anything_async_stays_as_it_is(module: ModuleType) -> None:
    source = Path(str(module.__file__)).read_text(encoding="utf-8")

    assert generator.rewrite(source, RULES) == source


def test_a_class_no_rule_fits_never_becomes_a_sync_class() -> None:
    assert generator.rewrite("x = AsyncX, StopAsyncIteration", NO_RULES) == "x = AsyncX, StopAsyncIteration"


def test_a_name_goes_before_a_pattern() -> None:
    rules = generator.Rules(patterns={r"async_(\w+)": r"\1"}, names={"async_get": "fetch"})

    assert generator.rewrite("async_get, async_put", rules) == "fetch, put"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("\nx: AsyncGenerator[int, None]", 2, "write AsyncIterator"),
        ("x = [  # unasync: remove\n]", 1, "whole statement"),
        ("x = [\n]  # unasync: remove", 2, "whole statement"),
        ("x = [\n1,  # unasync: remove\n]", 2, "whole statement"),
        ('x = """\n"""  # unasync: remove', 2, "whole statement"),
        ("x = 1\n# unasync: remove", 2, "whole statement"),
        ("if x:  # unasync: remove\n    # why\n\n    y()", 1, "opens a block"),
        ("x = 1  # unasync: keep", 1, "unknown marker"),
    ],
)
def test_refuses_what_it_cannot_rewrite(source: str, line: int, reason: str) -> None:
    with pytest.raises(generator.RefusedError, match=reason) as refused:
        generator.rewrite(source, RULES)

    assert refused.value.line == line


def test_writes_both_trees_formatted_and_stamped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = """
    from .base import AsyncB
    import os
    from echo_connhandler._async.inner.a import AsyncA

    async def aclose(a : AsyncA, b : AsyncB = None) -> None :
        await os.x( 'AsyncA',)
    """
    write(root, {HTTP: source, f"{SOURCES}/inner/__init__.py": "", "tests/_async/test_a.py": CLOSING})
    rules = generator.Rules({r"Async([A-Z]\w*)": r"\1"}, {"aclose": "close", "_async": "_sync"})

    status = run(root, rules=rules)

    assert status == 0
    assert (root / HTTP_TWIN).read_text() == (
        "# Generated by scripts/unasync.py from src/echo_connhandler/_async/http.py. Do not edit.\n"
        "import os\n\n"
        "from echo_connhandler._sync.inner.a import A\n\n"
        "from .base import B\n\n\n"
        "def close(a: A, b: B = None) -> None:\n"
        "    os.x(\n"
        '        "A",\n'
        "    )\n"
    )
    assert (root / TWINS / "inner/__init__.py").read_text().splitlines() == [
        "# Generated by scripts/unasync.py from src/echo_connhandler/_async/inner/__init__.py. Do not edit."
    ]
    assert "def close()" in (root / "tests/_sync/test_a.py").read_text()
    assert capsys.readouterr().out.splitlines()[0] == f"wrote {HTTP_TWIN}"
    assert run(root, "--check", rules=rules) == 0


def test_what_it_writes_pleases_ruff(root: Path) -> None:
    generated(root, "import zlib\nimport os\nasync def aclose() -> None: os.x(zlib)\n")

    for task in (["check", "--select", "I"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *task, "--no-cache", str(root / HTTP_TWIN)]
        assert subprocess.run(command, cwd=root, capture_output=True).returncode == 0


def test_the_current_folder_does_not_matter(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "ruff.toml").write_text("line-length = 40\n[format]\nquote-style = 'single'\n")
    long = f'async def aclose() -> None:\n    print("{"x" * 70}", 1, 2)\n'
    generated(root, "from echo_connhandler import x\nimport httpx\n" + long)

    monkeypatch.chdir(elsewhere)

    assert run(root, "--check", rules=ONE_RULE) == 0
    assert "import httpx\n\nfrom echo_connhandler import x\n" in (root / HTTP_TWIN).read_text()


def test_a_tree_without_configuration_takes_the_repository_s(tmp_path: Path) -> None:
    generated(tmp_path, f'async def aclose() -> None:\n    print("{"x" * 85}", 1)\n')

    assert len((tmp_path / HTTP_TWIN).read_text().splitlines()) == 3


def test_trees_that_are_not_there_are_skipped(root: Path) -> None:
    assert run(root) == 0
    assert run(root, "--check") == 0
    assert not (root / "src").exists()


def test_a_second_run_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generated(root, CLOSING)
    capsys.readouterr()

    assert run(root, rules=ONE_RULE) == 0

    assert capsys.readouterr().out == "1 twins are as they should be\n"


def test_check_fails_on_a_stale_file_and_leaves_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generated(root, CLOSING)
    (root / HTTP_TWIN).write_text("edited by hand\n")

    status = run(root, "--check", rules=ONE_RULE)

    assert status == 1
    assert complaints(capsys) == [f"{HTTP_TWIN}: stale: run scripts/unasync.py"]
    assert (root / HTTP_TWIN).read_text() == "edited by hand\n"


def test_check_fails_on_a_missing_file_and_writes_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {HTTP: CLOSING})

    status = run(root, "--check", rules=ONE_RULE)

    assert status == 1
    assert complaints(capsys) == [f"{HTTP_TWIN}: missing: run scripts/unasync.py"]
    assert not (root / TWINS).exists()


def test_orphans_fail_the_check_and_a_run_removes_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generated(root, CLOSING)
    write(root, {f"{TWINS}/old/deep/a.py": "", f"{TWINS}/__pycache__/b.py": "", f"{TWINS}/data.txt": ""})
    (root / TWINS / "empty").mkdir()

    assert run(root, "--check", rules=ONE_RULE) == 1
    assert sorted(complaints(capsys)) == [
        f"{TWINS}/empty: orphan: it has no source",
        f"{TWINS}/old/deep/a.py: orphan: it has no source",
    ]

    assert run(root, rules=ONE_RULE) == 0
    assert sorted(path.name for path in (root / TWINS).iterdir()) == ["__pycache__", "data.txt", "http.py"]


def test_twins_of_a_tree_that_is_gone_are_orphans(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {"tests/_sync/test_a.py": ""})

    assert run(root, "--check") == 1
    assert complaints(capsys) == ["tests/_sync/test_a.py: orphan: it has no source"]


def test_the_twin_of_a_source_that_cannot_be_rewritten_is_kept(root: Path) -> None:
    generated(root, CLOSING)
    twin = (root / HTTP_TWIN).read_text()
    write(root, {HTTP: "async def aclose(: ...\n"})

    assert run(root, rules=ONE_RULE) == 1
    assert (root / HTTP_TWIN).read_text() == twin


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("# async, here", "async"),
        ("# Await no one", "Await"),
        ("import anyio.abc", "anyio"),
        ("from trio import x", "trio"),
        ("asyncio = 1", "asyncio"),
        ("x = AsyncClient", "AsyncClient"),
        ("x = HTTPAsyncClient", "HTTPAsyncClient"),
        ("raise StopAsyncIteration", "StopAsyncIteration"),
        ("x = async_get", "async"),
        ("x = ASYNC_LIMIT", "ASYNC"),
        ("def test_async(): ...", "async"),
        ('x = f"{await(y)}"', "await"),
        ("x.aclose()", "aclose"),
        ("aclosing(x)", "aclosing"),
        ("aiter(x)", "aiter"),
        ("x.aiter_bytes()", "aiter_bytes"),
        ("anext(x)", "anext"),
        ("x.aread()", "aread"),
        ("x.asend(1)", "asend"),
        ("x.athrow(1)", "athrow"),
        ("x.__aenter__", "__aenter__"),
        ("x.__anext__", "__anext__"),
        ("x: Awaitable[int]", "Awaitable"),
        ("x: Coroutine[int]", "Coroutine"),
        ("@asynccontextmanager\ndef f(): ...", "asynccontextmanager"),
    ],
)
def test_knows_an_async_word(line: str, word: str) -> None:
    assert generator.ASYNC_WORD.findall(generator.rewrite(line, NO_RULES)) == [word]


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_fails_on_an_async_word_left_over(root: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    write(root, {HTTP: 'import anyio\nasync def f():\n    """Await, async."""\n    return x.aclose()\n'})
    run(root)
    capsys.readouterr()

    assert run(root, *options) == 1
    assert complaints(capsys) == [
        f"{HTTP_TWIN}:2: async left over: anyio",
        f"{HTTP_TWIN}:6: async left over: Await, async",
        f"{HTTP_TWIN}:7: async left over: aclose",
    ]


def test_words_that_only_look_async_pass(root: Path) -> None:
    generated(root, '"""Asynchronous, asyncpg, nasync, triode, aclosed."""\n', NO_RULES)


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_fails_on_a_rule_nothing_uses(root: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    generated(root, CLOSING + "async_x = 1  # unasync: remove\n")
    capsys.readouterr()
    rules = generator.Rules({r"async_(\w+)": r"\1"}, {"aclose": "close", "aread": "read"})

    assert run(root, *options, rules=rules) == 1
    assert complaints(capsys) == ["unused rule: aread", r"unused rule: async_(\w+)"]


def test_a_rule_may_be_used_in_another_tree(root: Path) -> None:
    write(root, {HTTP: "x = 1\n", "tests/_async/a.py": CLOSING})

    assert run(root, rules=ONE_RULE) == 0


def test_fails_on_a_source_that_does_not_compile(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {HTTP: "x = 1\nx = = 1\n"})

    assert run(root, "--check") == 1
    assert complaints(capsys) == [f"{HTTP}:2: does not compile: invalid syntax: x = = 1"]


@pytest.mark.parametrize("options", [[], ["--check"]])
@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\nasync def async_import(): ...\n", ": def import(): ..."),  # a keyword is no name
        ("async def async_f():\n    await x  # unasync: remove\nx = 1\n", ": x = 1"),  # an empty block
        ('async def async_f():\n    return f"{await(x)}"\n', 'await(x)}"'),  # `await ` goes, this does not
    ],
)
def test_fails_on_a_twin_that_does_not_compile(
    root: Path, capsys: pytest.CaptureFixture[str], source: str, line: str, options: list[str]
) -> None:
    write(root, {HTTP: source})

    assert run(root, *options, rules=generator.Rules({r"async_(\w+)": r"\1"}, {})) == 1
    (problem,) = complaints(capsys)
    assert problem.startswith(f"{HTTP_TWIN}: does not compile: ")
    assert problem.endswith(line)
    assert not (root / HTTP_TWIN).exists()


def test_fails_when_ruff_does(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {HTTP: "x = 1\n", "pyproject.toml": "[tool.ruff]\nno-such-setting = 1\n"})

    assert run(root) == 1
    assert complaints(capsys)[0].startswith(f"{HTTP}:1: ruff check fails on the rewritten text: ")
    assert not (root / HTTP_TWIN).exists()


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("async def async_get(): ...\ndef get(): ...", 1, "async_get and get both become get in the module"),
        ("x = 1\nclass A:\n  def get(self): ...\n  async def async_get(self): ...", 2, "get in A"),
        ("class A:\n  get: int\n  async_get: int", 1, "get in A"),
        ("class A:\n  def f(self):\n    def get(): ...\n    async def async_get(): ...", 2, "get in f"),
        ("class AsyncA: ...\nclass A: ...", 1, "A and AsyncA both become A in the module"),
        ("class A: ...\ndef f(x: AsyncA): ...\nfrom b import AsyncA", 1, "A and AsyncA both"),
        ("from a import Lock\nfrom b import AsyncLock", 1, "AsyncLock and Lock both become Lock"),
        ("from a import async_get\nasync def f(get):\n    await async_get(get)", 2, "get in f"),
        ("async def async_open(): ...\ndef f():\n    open()", 1, "async_open and open both become open"),
        ("async def f():\n    next = 1\n    await anext(next)", 1, "anext and next both become next in f"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--check"]])
def test_fails_on_two_names_that_become_one(
    root: Path, capsys: pytest.CaptureFixture[str], source: str, line: int, reason: str, options: list[str]
) -> None:
    write(root, {HTTP: source})

    assert run(root, *options, rules=RULES) == 1
    clash = next(problem for problem in complaints(capsys) if "clash" in problem)
    assert clash.startswith(f"{HTTP}:{line}: clash: ")
    assert reason in clash


@pytest.mark.parametrize(
    "source",
    [
        "from collections.abc import AsyncIterator, Iterator\nx: AsyncIterator[Iterator[int]]",
        "from ._async.a import AsyncX\nfrom ._sync.a import X",
        "async def f(x, y):\n    return await anext(aiter(x)), next(iter(y))",
        "class A:\n    def get(self): ...\nasync def async_get(): ...",
        "from a import Lock  # unasync: remove\nfrom b import AsyncLock",
        "def f(get): ...\nasync def g():\n    await async_get()",
    ],
)
def test_names_that_may_well_become_one_are_no_clash(
    root: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    write(root, {HTTP: source})

    run(root, rules=RULES)

    assert [problem for problem in complaints(capsys) if "unused rule" not in problem] == []


def test_a_refusal_is_told_with_its_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {HTTP: "import x\n\n\ndef f() -> AsyncGenerator[int, None]: ...\n"})

    assert run(root, "--check") == 1
    assert complaints(capsys) == [f"{HTTP}:4: {generator.REFUSED['AsyncGenerator']}"]


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
