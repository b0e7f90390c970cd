"""What a statement does, as far as its words tell: whether it writes, and whether it begins or ends transactions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .errors import ParameterError
from .sqltext import Family, first_keyword, is_transaction_control

__all__ = ("Statement", "statement")

_CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})
_READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC"})
_MAY_CHANGE = frozenset({"SELECT", "EXPLAIN"})  # SELECT ... INTO, EXPLAIN ANALYZE of a change
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)+"
_CHANGING_WORDS = re.compile(
    rf"\b(?:INSERT{_BLANK}(?:OR{_BLANK}\w+{_BLANK})?INTO|REPLACE{_BLANK}INTO|MERGE{_BLANK}INTO|DELETE{_BLANK}FROM"
    r"|UPDATE\b.*\bSET)\b",
    re.IGNORECASE | re.DOTALL,
)
_INTO = re.compile(r"\bINTO\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is known of a statement before it runs.

    Attributes:
        controls: it begins or ends a transaction, or sets a savepoint.
        changes: it inserts, updates or deletes rows; said of a WITH query also where it only may.
        reads: it changes nothing, so far as its words tell; functions that it calls may.
        first: its first word, in upper case.
    """

    controls: bool
    changes: bool
    reads: bool
    first: str


@lru_cache(maxsize=4096)
def statement(sql: str, family: Family) -> Statement:
    """Return what the words of `sql` tell.

    Raises:
        ParameterError: the text holds NUL or can't be encoded.
    """
    if "\0" in sql:
        raise ParameterError("the SQL text holds NUL: give values as parameters")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"the SQL text has a lone surrogate at position {error.start}") from error
    first = first_keyword(sql, family)
    changes = first in _CHANGING or (first == "WITH" and _CHANGING_WORDS.search(sql) is not None)
    reads = first in _READING and not changes
    if reads and first in _MAY_CHANGE:
        reads = not (_INTO.search(sql) or _CHANGING_WORDS.search(sql))
    return Statement(is_transaction_control(sql, family), changes, reads, first)
