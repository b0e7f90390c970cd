"""SQL text as a lexer sees it: `:name` parameters, statements of a script, first words, quoted identifiers.

Nothing here understands SQL beyond its strings, quoted names, comments and a few leading words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .sqlvalues import Params

__all__ = (
    "CompiledSql",
    "Family",
    "Style",
    "bind",
    "compile_sql",
    "controls_transaction",
    "first_keyword",
    "is_transaction_control",
    "native",
    "quote_identifier",
    "quote_table",
    "replace_parameters",
    "split_script",
    "without_parameters",
)

Family: TypeAlias = Literal["postgres", "mysql", "sqlite", "tsql"]
Style: TypeAlias = Literal["numeric", "qmark", "format", "named"]

# What opens but never closes reaches to the end: the server refuses such text, and no parameter is in it.
_STRING = r"'(?:[^']++|'')*+'?"
_ESCAPED = r"'(?:[^'\\]++|''|\\.)*+'?"
_DOUBLE = r'"(?:[^"]++|"")*+"?'
_BACKTICK = r"`(?:[^`]++|``)*+`?"
_BLOCK = r"/\*.*?(?:\*/|\Z)"
_NESTED = r"(?P<nested>/\*)"
# PostgreSQL joins strings that only white space with a line end separates; escapes of the first hold in all.
_MORE_ESCAPED = rf"(?:[ \t\f\v]*+(?:--[^\r\n]*+)?+[\r\n]\s*+{_ESCAPED})*+"

_COMMENTS: dict[str, tuple[str, ...]] = {
    "postgres": (r"--[^\r\n]*+", _NESTED),
    # `/*! ... */` is not a comment: the server executes what is in it.
    "mysql": (r"--(?=[\s\x00-\x1f]|\Z)[^\n]*+", r"\#[^\n]*+", r"/\*M?!\d*+", _BLOCK),
    "sqlite": (r"--[^\n]*+", _BLOCK),
    "tsql": (r"--[^\n]*+", _NESTED),
}
_QUOTED: dict[str, tuple[str, ...]] = {
    "postgres": (
        rf"(?<![\w$])[eE]{_ESCAPED}{_MORE_ESCAPED}",
        r"(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*+)?+)\$.*?(?:\$(?P=tag)\$|\Z)",
        _STRING,
        _DOUBLE,
        "::",
        ":=",
    ),
    "mysql": (_ESCAPED, r'"(?:[^"\\]++|""|\\.)*+"?', _BACKTICK, ":="),
    "sqlite": (_STRING, _DOUBLE, _BACKTICK, r"\[[^\]]*+\]?"),
    "tsql": (_STRING, _DOUBLE, r"\[(?:[^\]]++|\]\])*+\]?", "::"),
}
# The drivers' own placeholders, which can't stand beside `:name`: the counts would silently shift.
_FOREIGN = {
    "postgres": r"(?<![\w$])\$\d+",
    "mysql": r"(?!)",
    "sqlite": r"\?\d*|(?<![\w$@])[@$]\w+",
    "tsql": r"\?",
}
_NAME = r"(?<![\w$:]):(?P<name>[^\W\d]\w*+)"
_BLOCK_WORDS = (
    r"(?i:(?<![\w$@#])(?:(?P<begin>BEGIN)|(?P<case>CASE)|(?P<end>END)(?:\s+(?:(?P<of>IF|LOOP|WHILE|REPEAT)|CASE))?)(?![\w$@#])"
    r"(?:\s+(?P<after>ATOMIC|TRAN|TRANSACTION|DISTRIBUTED)\b)?)"
)


class _Patterns(dict[str, re.Pattern[str]]):
    """A pattern per family for its lexemes and `tail`, compiled when first used; `first` tells what any begins with."""

    def __init__(self, tail: dict[str, str], *, quoted: bool = True, first: str = "") -> None:
        super().__init__()
        self._tail, self._quoted, self._first = tail, quoted, first

    def __missing__(self, family: str) -> re.Pattern[str]:
        lexemes = (*_COMMENTS[family], *(_QUOTED[family] if self._quoted else ()), self._tail[family])
        made = self[family] = re.compile(f"{self._first}(?:{'|'.join(lexemes)})", re.DOTALL)
        return made


_PARAMETERS = _Patterns(
    {family: f"{_NAME}|(?P<foreign>{own})" for family, own in _FOREIGN.items()},
    first=r"""(?=['"`\[:$@?#/\-eE])""",
)
_PUNCTUATION = _Patterns(dict.fromkeys(_COMMENTS, rf"(?P<mark>[;()])|{_BLOCK_WORDS}"))
_BLANKS = _Patterns(dict.fromkeys(_COMMENTS, r"\s++"), quoted=False)
_NESTING = re.compile(r"/\*|\*/")
_WORD = re.compile(r"[^\W\d]\w*+")
_ROUTINE = re.compile(
    r"\s*+(?:CREATE|ALTER)\b.*\b(?:FUNCTION|PROCEDURE|PROC|TRIGGER|EVENT)\b", re.DOTALL | re.IGNORECASE
)


def _end(sql: str, match: re.Match[str]) -> int:
    """Return where the lexeme of `match` ends, which for a nesting comment is not where the match does."""
    position = match.end()
    if match.lastgroup != "nested":
        return position
    depth = 1
    while depth:
        mark = _NESTING.search(sql, position)
        if mark is None:
            return len(sql)
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return position


def _lexemes(sql: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    position = 0
    while match := pattern.search(sql, position):
        yield match
        position = _end(sql, match)


@dataclass(frozen=True, slots=True)
class CompiledSql:
    """SQL text in a driver's style and the names of its values in order; "numeric" has each name once."""

    text: str
    names: tuple[str, ...]


@lru_cache(maxsize=4096)
def compile_sql(sql: str, family: Family, style: Style) -> CompiledSql:
    """Turn each `:name` of `sql` into the placeholder of `style`; other text stays byte for byte.

    With style "format" each `%` is doubled, but only where there are names: without values drivers don't
    interpret it.
    An array slice with a bare name, `a[1 :n]` or `a[:n]`, is read as a parameter.

    Raises:
        ParameterError: `:name` stands beside the driver's own placeholders.
    """
    pieces: list[str] = []
    names: list[str] = []
    numbers: dict[str, int] = {}
    foreign = None
    start = 0
    for match in _lexemes(sql, _PARAMETERS[family]):
        name = match["name"]
        if name is None:
            foreign = foreign or match["foreign"]
            continue
        pieces.append(sql[start : match.start()])
        start = match.end()
        number = numbers.setdefault(name, len(numbers) + 1)
        names.append(name)
        pieces.append({"numeric": f"${number}", "qmark": "?", "format": "%s", "named": f":{name}"}[style])
    if not names:
        return CompiledSql(sql, ())
    if foreign:
        raise ParameterError(f"the SQL text mixes :{names[0]} with {foreign}: use names only, or {foreign} only")
    pieces.append(sql[start:])
    if style == "format":
        pieces[::2] = [piece.replace("%", "%%") for piece in pieces[::2]]
    return CompiledSql("".join(pieces), tuple(numbers) if style == "numeric" else tuple(names))


def replace_parameters(sql: str, family: Family, replacement: Callable[[str], str]) -> str:
    """Return the text with each of the driver's own placeholders replaced by what `replacement` gives for it."""
    pieces: list[str] = []
    start = 0
    for match in _lexemes(sql, _PARAMETERS[family]):
        if match["foreign"]:
            pieces += (sql[start : match.start()], replacement(match["foreign"]))
            start = match.end()
    return "".join(pieces) + sql[start:]


def without_parameters(sql: str, family: Family) -> str:
    """Return the text with NULL in the place of each `:name` and of each of the driver's own placeholders."""
    pieces: list[str] = []
    start = 0
    for match in _lexemes(sql, _PARAMETERS[family]):
        if match["name"] or match["foreign"]:
            pieces += (sql[start : match.start()], "NULL")
            start = match.end()
    return "".join(pieces) + sql[start:]


def bind(compiled: CompiledSql, params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of `params` in the order that `compiled` wants; keys it doesn't name are left.

    Raises:
        ParameterError: names are missing; the error tells all of them.
    """
    try:
        return tuple([params[name] for name in compiled.names])
    except KeyError:
        missing = [name for name in dict.fromkeys(compiled.names) if name not in params]
        given = ", ".join(map(repr, params)) or "none"
        raise ParameterError(f"no value for {_listed(missing)}; given: {given}") from None


def native(sql: str, params: Params, family: Family, style: Style) -> tuple[str, tuple[Any, ...]]:
    """Return `sql` and its values as a driver of `style` takes them.

    A mapping gives the values of `:name` parameters. A sequence goes with text that has the driver's own
    placeholders: both pass untouched.

    Raises:
        ParameterError: a value is missing, or `params` is neither a mapping nor a sequence of values.
    """
    if params is None:
        compiled = compile_sql(sql, family, style)
        if compiled.names:
            wanted = _listed(list(dict.fromkeys(compiled.names)))
            raise ParameterError(f"the SQL text has parameters but no values were given for {wanted}")
        return sql, ()
    if type(params) in (tuple, list):  # the usual cases first: asking an abstract class takes longer
        return sql, tuple(params)
    if type(params) is dict or isinstance(params, Mapping):
        compiled = compile_sql(sql, family, style)
        return compiled.text, bind(compiled, params)
    if isinstance(params, Sequence) and not isinstance(params, (str, bytes, bytearray, memoryview)):
        return sql, tuple(params)
    raise ParameterError(
        f"parameters are a mapping for :name, or a tuple or list of values, not {type(params).__name__}: "
        'write {"name": value} or (value,)'
    )


def _listed(names: list[str]) -> str:
    return ", ".join(f":{name}" for name in names)


def split_script(sql: str, family: Family) -> list[str]:
    """Return the statements of a script without their closing `;`, in order; mere comments are left out.

    Bodies of triggers and routines stay whole: SQLite's own `complete_statement` decides for it; elsewhere
    dollar quotes, parentheses and, in routines, BEGIN to END are kept together.

    Raises:
        ParameterError: the text can't be encoded or holds NUL.
    """
    _refuse_unencodable(sql, "the script")
    statements = []
    start = 0
    for end in (*_statement_ends(sql, family), len(sql)):
        piece = sql[start:end].strip()
        start = end + 1
        if piece and _after_blanks(piece, 0, family) < len(piece):
            statements.append(piece)
    return statements


def _statement_ends(sql: str, family: Family) -> list[int]:
    """Return the places of the semicolons that end a statement."""
    if family == "sqlite":
        return _sqlite_ends(sql)
    ends: list[int] = []
    start = parentheses = blocks = 0
    for match in _lexemes(sql, _PUNCTUATION[family]):
        mark = match["mark"]
        if mark == ";":
            if parentheses <= 0 and blocks == 0:
                ends.append(match.start())
                start, parentheses = match.end(), 0
        elif mark:
            parentheses += 1 if mark == "(" else -1
        elif match["begin"]:
            blocks += _opens_block(sql[start : match.start()], match["after"], family)
        elif blocks and match["case"]:
            blocks += 1
        elif blocks and match["end"] and not match["of"]:
            blocks -= 1
    return ends


def _sqlite_ends(sql: str) -> list[int]:
    from sqlite3 import complete_statement  # only scripts need it

    ends: list[int] = []
    start = 0
    for match in _lexemes(sql, _PUNCTUATION["sqlite"]):
        if match["mark"] == ";" and complete_statement(sql[start : match.end()]):
            ends.append(match.start())
            start = match.end()
    return ends


def _opens_block(before: str, after: str | None, family: Family) -> bool:
    if family == "tsql":
        return not after
    routine = _ROUTINE.match(before, _after_blanks(before, 0, family)) is not None
    return routine and (family == "mysql" or (after or "").upper() == "ATOMIC")


def _after_blanks(sql: str, position: int, family: Family, also: str = "") -> int:
    """Return the first place from `position` on that is neither white space nor comment nor one of `also`."""
    blanks = _BLANKS[family]
    while position < len(sql):
        if sql[position] in also:
            position += 1
        elif match := blanks.match(sql, position):
            position = _end(sql, match)
        else:
            break
    return position


def _words(sql: str, family: Family, count: int) -> list[str]:
    """Return up to `count` leading words in upper case; parentheses before the first are passed over."""
    words: list[str] = []
    position = _after_blanks(sql, 0, family, also="(")
    while len(words) < count and (match := _WORD.match(sql, position)):
        words.append(match[0].upper())
        position = _after_blanks(sql, match.end(), family)
    return words


def first_keyword(sql: str, family: Family) -> str:
    """Return the first word of `sql` in upper case, past comments and opening parentheses, or ""."""
    return "".join(_words(sql, family, 1))


_USUAL = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE")
_CONTROL: dict[str, tuple[str, ...]] = {
    "sqlite": _USUAL,
    "postgres": (*_USUAL, "ABORT", "PREPARE TRANSACTION"),
    "mysql": (*_USUAL, "XA", "SET AUTOCOMMIT"),
    "tsql": (
        *("BEGIN TRAN", "BEGIN TRANSACTION", "BEGIN DISTRIBUTED"),
        *("COMMIT", "ROLLBACK", "SAVE TRAN", "SAVE TRANSACTION"),
    ),
}
# What a transaction block refuses, from the notes on each command's page of the manuals.
_ALONE: dict[str, tuple[str, ...]] = {
    "sqlite": ("VACUUM", "PRAGMA", "ATTACH", "DETACH"),
    "postgres": (
        *("VACUUM", "REINDEX", "CLUSTER", "DISCARD ALL", "ALTER SYSTEM"),
        *("CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE", "CREATE TABLESPACE", "DROP TABLESPACE"),
        *("CREATE SUBSCRIPTION", "DROP SUBSCRIPTION", "DROP INDEX CONCURRENTLY"),
        *("CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY"),
    ),
    "mysql": ("LOCK", "UNLOCK"),
    "tsql": ("CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE", "BACKUP", "RESTORE", "RECONFIGURE"),
}


def controls_transaction(statements: Sequence[str], family: Family) -> bool:
    """Tell whether a statement begins or ends a transaction itself, or can't run inside of one."""
    return any(_starts(sql, family, _CONTROL[family] + _ALONE[family]) for sql in statements)


def is_transaction_control(sql: str, family: Family) -> bool:
    """Tell whether a statement begins or ends a transaction, or sets or leaves a savepoint."""
    return _starts(sql, family, _CONTROL[family])


def _starts(sql: str, family: Family, phrases: Iterable[str]) -> bool:
    words = f"{' '.join(_words(sql, family, 4))} "
    return words.startswith(tuple(f"{phrase} " for phrase in phrases))


_QUOTES = {"postgres": ('"', '"'), "sqlite": ('"', '"'), "mysql": ("`", "`"), "tsql": ("[", "]")}


def quote_identifier(name: str, family: Family) -> str:
    """Return `name` quoted, so that any text is only ever a name.

    Raises:
        ParameterError: the name is empty, holds NUL, or is no text that can be encoded.
    """
    if not isinstance(name, str) or not name:
        raise ParameterError(f"a name of a table, column or schema is text and not empty, not {name!r}")
    _refuse_unencodable(name, "a name of a table, column or schema")
    opening, closing = _QUOTES[family]
    return f"{opening}{name.replace(closing, closing * 2)}{closing}"


def quote_table(table: str, schema: str | None, family: Family) -> str:
    """Return the quoted name of a table, after its schema's if given; a dot in it is part of the name."""
    quoted = quote_identifier(table, family)
    return quoted if schema is None else f"{quote_identifier(schema, family)}.{quoted}"


def _refuse_unencodable(text: str, what: str) -> None:
    try:
        bad = b"\0" in text.encode()
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise ParameterError(f"{what} can't hold NUL or lone surrogates: {text[:200]!r}")
