"""What the words of a statement tell before it's sent: whether it answers rows, commits, or is refused."""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import QueryError
from ..statements import statement

__all__ = ("answers_rows", "check_statement", "commits")

_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "CALL"})
_CHANGES = frozenset({"INSERT", "REPLACE", "DELETE"})
# "Statements That Cause an Implicit Commit" in MySQL's manual, "SQL statements That Cause an Implicit Commit" in
# MariaDB's.
_COMMITS = frozenset(
    (
        *("ALTER", "ANALYZE", "CACHE", "CHANGE", "CHECK", "CREATE", "DROP", "FLUSH"),
        *("GRANT", "INSTALL", "LOCK", "OPTIMIZE", "RENAME", "REPAIR", "RESET", "REVOKE"),
        *("START", "STOP", "TRUNCATE", "UNINSTALL", "UNLOCK"),
    )
)
_TEMPORARY = re.compile(r"\b(?:CREATE|DROP)\s+(?:OR\s+REPLACE\s+)?TEMPORARY\b", re.IGNORECASE)
_OF_THE_SESSION = re.compile(
    r"\b(?:NAMES|CHARSET|CHARACTER\s+SET|character_set_\w+|time_zone|autocommit|sql_mode)\b", re.IGNORECASE
)


@lru_cache(maxsize=4096)
def answers_rows(sql: str) -> bool:
    """Tell whether a statement may answer rows of tables, as SHOW and the like don't."""
    first = statement(sql, "mysql").first
    return first in _READS or (first in _CHANGES and "RETURNING" in sql.upper())


def commits(sql: str) -> bool:
    """Tell whether the database commits at a statement, before it and after."""
    return statement(sql, "mysql").first in _COMMITS and not _TEMPORARY.search(sql)


@lru_cache(maxsize=4096)
def check_statement(sql: str) -> None:
    """Refuse what would change how values are written and read.

    Raises:
        QueryError: the statement is one of these.
    """
    if statement(sql, "mysql").first == "SET" and _OF_THE_SESSION.search(sql):
        raise QueryError(
            "character sets, time zone, autocommit and sql_mode are this library's to set, as values are written and "
            "read by them; sql_mode may be given in server_settings"
        )
