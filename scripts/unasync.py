"""Write the sync twin of every async module, or say with `--check` what is wrong with the twins.

`src/echo_connhandler/_async` becomes `_sync`, `tests/_async` becomes `tests/_sync`. Here live the naming
rules, the rewriting and its checks; no sync logic does. For maintainers:

- A name changes when a rule below fits it, never otherwise. A rule no source needs is an error: delete it.
- Code goes through the `unasync` package, which is handed every word of the module with what it becomes: so
  its own defaults (`AsyncX -> SyncX`) never apply.
- Strings, f-strings and comments are prose: `await ` and `async ` go, names follow the rules. An f-string is
  one stretch of raw text, as Python 3.11 sees one token in it and 3.12 many. The result is the same on each.
- A line that ends in `# unasync: remove` has no twin. It must be a whole statement or decorator.
- What the rules cannot express belongs in `_concurrency`, as a hand-written pair of one shape.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import io
import os
import re
import subprocess
import symtable
import sys
import tempfile
import tokenize
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
TREES = (
    ("src/echo_connhandler/_async", "src/echo_connhandler/_sync"),
    ("tests/_async", "tests/_sync"),
)

PATTERNS = {
    r"(_*)Async([A-Z]\w*)": r"\1\2",
    r"async_([a-z]\w*)": r"\1",
    r"_async_([a-z]\w*)": r"_sync_\1",
}
NAMES = {
    "StopAsyncIteration": "StopIteration",
    "AsyncByteStream": "SyncByteStream",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "aiter_lines": "iter_lines",
    "aiter_raw": "iter_raw",
    "aiter_text": "iter_text",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "get_or_create_async_httpx_client": "get_or_create_httpx_client",
    "set_async_httpx_client": "set_httpx_client",
}

# Names no rule could serve, and what to write instead.
REFUSED = {"AsyncGenerator": "Generator takes three parameters and AsyncGenerator two: write AsyncIterator"}
# No twin may hold these, whatever the rules: an async word, alone or as a part of a name.
ASYNC_WORD = re.compile(
    r"(?<![A-Za-z0-9])(?i:async|await|asyncio|anyio|trio)(?![A-Za-z0-9])|\w*Async[A-Z]\w*|(?i:awaitable|coroutine)"
    r"|\b(?:aclose|aclosing|aiter|aiter_\w+|anext|aread|asend|asynccontextmanager|athrow)\b|__a(?:enter|exit|iter|next)__"
)
# A keyword and the spaces after it, or a word; first an escape, which is no part of the word after it.
WORD = re.compile(r"\\.|((?:async|await) +)|\w+", re.DOTALL)
MARKER = "# unasync: remove"
GUARD = "ECHO_CONNHANDLER_UNASYNC_REEXECUTED"


class RefusedError(Exception):
    """A source that cannot be rewritten: `line` (from 1) and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line, self.reason = line, reason


@dataclass(frozen=True)
class Rules:
    """Which names change: `names` as they stand, then the first of `patterns` that fits the whole word."""

    patterns: Mapping[str, str]
    names: Mapping[str, str]

    def match(self, word: str) -> tuple[str | None, str]:
        """Return the rule that `word` falls under, if any, and what the word becomes."""
        if word in self.names:
            return word, self.names[word]
        for pattern, new in self.patterns.items():
            if found := re.fullmatch(pattern, word):
                return pattern, found.expand(new)
        return None, word

    def prose(self, text: str) -> str:
        """Rewrite a string, a comment or a dotted path."""
        return WORD.sub(lambda found: "" if found[1] else self.match(found[0])[1], text)

    def words(self, text: str) -> dict[str, tuple[str | None, str]]:
        """Return every word of `text` with its rule and what it becomes."""
        return {found[0]: self.match(found[0]) for found in WORD.finditer(text)}


RULES = Rules(PATTERNS, NAMES)


def unmarked_lines(source: str) -> list[str]:
    """Return the lines of `source`, with "" for each that ends in the marker (a whole statement)."""
    lines = list(io.StringIO(source))
    begun = dropped = None  # rows: where the statement at hand begins; of a marked one that just ended
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row = token.start[0]
        if token.type == tokenize.COMMENT and "# unasync:" in token.string:
            if not token.string.endswith(MARKER):
                raise RefusedError(row, f"unknown marker {token.string!r}: the only one is {MARKER!r}")
            if begun != row:
                raise RefusedError(row, f"{MARKER!r} must end a whole statement on one line")
            lines[row - 1] = ""
        elif token.type == tokenize.NEWLINE:
            begun, dropped = None, row if lines[row - 1] == "" else None
        elif token.type == tokenize.INDENT and dropped:
            raise RefusedError(dropped, f"{MARKER!r} on a line that opens a block")
        elif token.type == tokenize.NL and begun and lines[row - 1] == "":
            raise RefusedError(row, f"{MARKER!r} must end a whole statement on one line")
        elif token.type not in {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}:
            begun, dropped = begun or row, None
    return lines


def rewrite(source: str, rules: Rules = RULES) -> str:
    """Return the sync text of `source`, before formatting."""
    lines = unmarked_lines(source)
    for row, line in enumerate(lines, 1):
        for word in REFUSED.keys() & rules.words(line):
            raise RefusedError(row, REFUSED[word])
    code, stretches = _set_prose_aside("".join(lines))
    code = _rewrite_code(code, {word: new for word, (_, new) in rules.words(source).items()})
    return re.sub(r'"(\d+)"|#(\d+)', lambda found: rules.prose(stretches[int(found[1] or found[2])]), code)


def _set_prose_aside(source: str) -> tuple[str, list[str]]:
    """Put `"0"`, `#1`... in the place of strings and comments, and one space after each async and await."""
    starts = [0, *accumulate(len(line) for line in io.StringIO(source))]
    parts: list[str] = []
    stretches: list[str] = []
    depth = done = begin = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind, offset = tokenize.tok_name[token.type], starts[token.start[0] - 1] + token.start[1]
        end = offset + len(token.string)  # 3.12.1 and before: token.end is wrong after a non-ASCII character
        if kind in {"FSTRING_START", "TSTRING_START"}:
            depth, begin = depth + 1, begin if depth else offset
        elif kind in {"FSTRING_END", "TSTRING_END"}:
            depth -= 1
        elif not depth:
            begin = offset
        if depth:
            continue
        if kind.endswith("STRING_END") or kind in {"STRING", "COMMENT"}:
            parts += source[done:begin], f"#{len(stretches)}" if kind == "COMMENT" else f'"{len(stretches)}"'
            stretches.append(source[begin:end])
            done = end
        elif token.string in {"async", "await"}:  # unasync drops whatever token comes next
            parts += source[done:end], " "
            blank = re.compile(r"(?:[ \t]|\\\n)*").match(source, end)
            done = blank.end() if blank else end
    return "".join([*parts, source[done:]]), stretches


def _rewrite_code(code: str, table: Mapping[str, str]) -> str:
    import unasync  # type: ignore[import-untyped] # it ships no types

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.mkdir()
        (before / "module.py").write_text(code, encoding="utf-8", newline="\n")
        rule = unasync.Rule(str(before), str(after), additional_replacements=table)
        unasync.unasync_files([str(before / "module.py")], [rule])
        return (after / "module.py").read_text(encoding="utf-8")


def tidy(text: str, root: Path, path: str) -> str:
    """Sort the imports of `text` and format it as ruff would at `path` below `root`."""
    import ruff  # type: ignore[import-untyped] # it ships no types

    config = (root if (root / "pyproject.toml").exists() else REPOSITORY) / "pyproject.toml"
    for task in (["check", "--select", "I", "--fix"], ["format"]):
        options = ["--quiet", "--no-cache", "--config", str(config), "--stdin-filename", path, "-"]
        command = [ruff.find_ruff_bin(), *task, *options]
        done = subprocess.run(command, cwd=root, input=text.encode(), capture_output=True)  # noqa: S603
        if done.returncode:
            told = (done.stderr or done.stdout).decode().strip().partition("\n")[0]
            raise RefusedError(1, f"ruff {task[0]} fails on the rewritten text: {told}")
        text = done.stdout.decode()
    return text


def clashes(source: str, rules: Rules) -> Iterator[RefusedError]:
    """Find, scope by scope, different names of `source` that would become one."""
    module = symtable.symtable(source, "source", "exec")
    bound = _bound_names(module)
    imports: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(source)):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            package = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            imports[alias.asname or alias.name] = rules.prose(package), rules.prose(alias.name)

    def origin(symbol: symtable.Symbol) -> object:
        """Return where a name comes from, once rewritten: two names of one origin may well become one."""
        name = symbol.get_name()
        if name in imports and (symbol.is_imported() or not symbol.is_local()):
            return imports[name]
        own = symbol.is_local() or name in bound or not hasattr(builtins, name)
        return None if own else ("", rules.match(name)[1])

    visible = {symbol.get_name(): origin(symbol) for symbol in module.get_symbols()}
    tables = list(module.get_children())
    for table in tables:  # grows as it goes
        tables += table.get_children()
        names = {symbol.get_name(): origin(symbol) for symbol in table.get_symbols()}
        visible |= {symbol.get_name(): origin(symbol) for symbol in table.get_symbols() if symbol.is_global()}
        if table.get_type() == "class":
            names = dict.fromkeys(_bound_names(table))
        yield from _collisions(names, rules, table.get_lineno(), table.get_name())
    yield from _collisions(visible, rules, 1, "the module")


def _bound_names(table: symtable.SymbolTable) -> set[str]:
    return {item.get_name() for item in table.get_symbols() if item.is_assigned() or item.is_namespace()}


def _collisions(names: Mapping[str, object], rules: Rules, line: int, scope: str) -> Iterator[RefusedError]:
    targets: dict[str, list[str]] = {}
    for name in sorted(names):
        targets.setdefault(rules.match(name)[1], []).append(name)
    for target, group in targets.items():
        if len(group) > 1 and len({names[name] or name for name in group}) > 1:
            yield RefusedError(line, f"{' and '.join(group)} both become {target} in {scope}")


def generate(root: Path, rules: Rules) -> tuple[dict[str, str | None], list[str]]:
    """Return the text of every twin by its path (None if it has none), and what is wrong with the sources."""
    wanted: dict[str, str | None] = {}
    problems: list[str] = []
    used: set[str | None] = set()
    for tree, twin in TREES:
        for path in sorted((root / tree).rglob("*.py")):
            text = source = path.read_text(encoding="utf-8")
            inner = path.relative_to(root / tree).as_posix()
            here, there = f"{tree}/{inner}", f"{twin}/{inner}"
            wanted[there] = None
            try:
                compile(source, here, "exec", dont_inherit=True)
                lines = unmarked_lines(source)
                used |= {rule for rule, _ in rules.words("".join(lines)).values()}
                text = rewrite(source, rules)
                compile(text, there, "exec", dont_inherit=True)
                found = clashes("".join(line or "\n" for line in lines), rules)
                problems += [f"{here}:{clash.line}: clash: {clash.reason}" for clash in found]
                body = tidy(text, root, there)
            except RefusedError as refused:
                problems.append(f"{here}:{refused.line}: {refused.reason}")
            except SyntaxError as error:
                line = text.splitlines()[(error.lineno or 1) - 1]
                place = f"{here}:{error.lineno}" if error.filename == here else there
                problems.append(f"{place}: does not compile: {error.msg}: {line.strip()}")
            else:
                wanted[there] = f"# Generated by scripts/unasync.py from {here}. Do not edit.\n{body}"
                left = ((row, ASYNC_WORD.findall(line)) for row, line in enumerate(body.splitlines(), 2))
                problems += [f"{there}:{row}: async left over: {', '.join(words)}" for row, words in left if words]
    problems += [f"unused rule: {rule}" for rule in (*rules.names, *rules.patterns) if rule not in used]
    return wanted, problems


def orphans(root: Path) -> Iterator[Path]:
    """Find twins without a source, and empty folders without one; bytecode does not count."""
    for tree, twin in TREES:
        paths = [path for path in (root / twin).rglob("*") if "__pycache__" not in path.parts]
        for path in sorted(paths, reverse=True):
            ours = path.suffix == ".py" if path.is_file() else not any(path.iterdir())
            if ours and not (root / tree / path.relative_to(root / twin)).exists():
                yield path


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the sync twin of every async module.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when anything is wrong")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the folder that holds src/ and tests/")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, rules: Rules = RULES) -> int:
    """Write the twins and remove orphans, or check them; return 1 when anything is wrong."""
    options = arguments(argv)
    root, check = options.root.resolve(), options.check
    if lacking := missing_tool():
        print(f"{lacking}: run `pip install --group generate` first", file=sys.stderr)
        return 1
    wanted, problems = generate(root, rules)
    for name, text in wanted.items():
        path = root / name
        if text is None or (path.exists() and path.read_text(encoding="utf-8") == text):
            continue
        if check:
            problems.append(f"{name}: {'stale' if path.exists() else 'missing'}: run scripts/unasync.py")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {name}")
    while found := list(orphans(root)):
        if check:
            problems += [f"{path.relative_to(root).as_posix()}: orphan: it has no source" for path in found]
            break
        for path in found:  # a folder shows up once it is empty
            path.rmdir() if path.is_dir() else path.unlink()
            print(f"removed {path.relative_to(root).as_posix()}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(wanted)} twins are as they should be")
    return 1 if problems else 0


def missing_tool() -> str | None:
    """Name what this interpreter lacks, if anything."""
    try:
        import ruff
        import unasync  # noqa: F401

        ruff.find_ruff_bin()
    except (ImportError, FileNotFoundError) as error:
        return str(error)
    return None


def _move_to_project_python() -> None:
    """Start again, once, in the project's own environment when this interpreter lacks a tool."""
    python = arguments().root.resolve() / ".venv" / "bin" / "python"
    if missing_tool() and python.exists() and GUARD not in os.environ:
        os.execve(python, [str(python), __file__, *sys.argv[1:]], os.environ | {GUARD: "1"})  # noqa: S606 - no shell


if __name__ == "__main__":
    # This file shares its name with the package it uses, and its folder comes first.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    _move_to_project_python()
    sys.exit(main())
