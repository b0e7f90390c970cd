"""What is said to PostgreSQL through libpq, as generators of psycopg's kind. They wait for nothing themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from psycopg import capabilities, errors, generators, pq

__all__ = ("describing", "executing", "first", "preparing", "results", "send")

_ERROR = pq.ExecStatus.FATAL_ERROR

Talk = Generator[Any, Any, list[Any]]


def send(pg: Any, query: bytes, name: bytes | None, values: list[Any]) -> None:
    """Begin to execute a statement, one that was prepared under that name if there's one."""
    params = [value if value is None or type(value) is bytes else str(value).encode() for value in values]
    formats = [1 if type(value) is bytes else 0 for value in values]
    if name is None:
        pg.send_query_params(query, params, param_formats=formats)
    else:
        pg.send_query_prepared(name, params, param_formats=formats)


def preparing(pg: Any, name: bytes, query: bytes) -> Talk:
    """Prepare a statement."""
    pg.send_prepare(name, query)
    return (yield from results(pg))


def describing(pg: Any, name: bytes) -> Talk:
    """Ask for the types of a prepared statement's parameters."""
    pg.send_describe_prepared(name)
    return (yield from results(pg))


def executing(pg: Any, query: bytes, params: list[bytes] | None = None) -> Talk:
    """Execute a statement of our own."""
    pg.send_query_params(query, params)
    return (yield from results(pg))


def results(pg: Any) -> Talk:
    """Read what is answered to the end."""
    answers: list[Any] = yield from generators.execute(pg)
    for answer in answers:
        if answer.status == _ERROR:
            raise errors.error_from_result(answer, encoding="utf-8")
    return answers


def first(pg: Any, most: int, stop: Callable[[], None] | None) -> Talk:
    """Read no more than the first rows into memory, and call `stop`, if given, on a query that has many more."""
    if capabilities.has_stream_chunked():
        pg.set_chunked_rows_mode(most)
    else:
        pg.set_single_row_mode()
    yield from generators.send(pg)
    kept: list[Any] = []
    rows = 0
    stopped = False
    failure: Exception | None = None
    while (answer := (yield from generators.fetch(pg))) is not None:
        if answer.status == _ERROR:
            if not (stopped and answer.error_field(pq.DiagnosticField.SQLSTATE) == b"57014"):
                failure = errors.error_from_result(answer, encoding="utf-8")
        elif rows < most or not kept:
            kept.append(answer)
            rows += answer.ntuples
        elif answer.ntuples and stop is not None and not stopped:
            stopped = True
            stop()
    if failure is not None:  # only now that all of the answer was read
        raise failure
    return kept
