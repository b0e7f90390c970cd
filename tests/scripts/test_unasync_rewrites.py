"""What the generator of the sync halves makes of a text, on every Python alike."""

from __future__ import annotations

import ast
import dataclasses
import fractions
import sys
import textwrap
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from scripts import unasync as generator

if TYPE_CHECKING:
    from types import ModuleType
from tests.scripts.unasync_trees import NO_RULES, RULES

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
