"""What SQL engines and drivers hand to each other: results, columns, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ("ColumnInfo", "Params", "Result", "Row", "Target", "WriteMode")

Row: TypeAlias = dict[str, Any]
Params: TypeAlias = Mapping[str, Any] | Sequence[Any] | None
WriteMode: TypeAlias = Literal["create", "append", "replace", "truncate", "upsert", "ignore"]


class Result(NamedTuple):
    """The whole answer to one statement: column names, rows as tuples, rows affected (0 where none are)."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    affected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """One column of a table, as `describe_table` tells it.

    Attributes:
        name: the column's name.
        type: the type as it was declared, in the database's own words.
        nullable: whether it takes NULL.
        default: the default's SQL text, or None.
        primary_key: its place in the primary key from 1, or 0.
    """

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows of a frame go.

    Attributes:
        table: the table's name, its schema before it, quoted.
        columns: the names of the columns, not quoted, in the frame's order.
    """

    table: str
    columns: tuple[str, ...]
