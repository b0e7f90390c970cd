"""PostgreSQL's array literals: `{1,NULL,"a b"}` taken apart and put together. Manual: 8.15.2 and 8.15.6."""

from __future__ import annotations

import re
from typing import Any

__all__ = ("array_literal", "split_items")

_BARE = re.compile(r'[^\s{}",;\\]+')
_ITEM = re.compile(r'"((?:[^"\\]|\\.)*+)"|([^{}",;\\]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def split_items(text: str, delimiter: str = ",") -> list[Any]:
    """Return the items of an array literal that the server wrote: texts, None for NULL, lists for inner dimensions."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(text):
        mark = text[position]
        if mark == "{":
            stack.append([])
            position += 1
        elif mark == "}":
            done = stack.pop()
            stack[-1].append(done)
            position += 1
        elif mark == delimiter:
            position += 1
        elif mark == '"':
            match = _ITEM.match(text, position)
            if match is None:
                raise ValueError(f"not an array literal: {text[:100]!r}")
            stack[-1].append(_ESCAPE.sub(r"\1", match[1]))
            position = match.end()
        else:
            end = min(at for at in (text.find(delimiter, position), text.find("}", position)) if at >= 0)
            item = text[position:end]
            stack[-1].append(None if item == "NULL" else item)
            position = end
    items: list[Any] = stack[0][0]
    return items


def array_literal(items: Any, delimiter: str = ",") -> str:
    """Return the literal of nested lists whose leaves are texts or None."""
    if items is None:
        return "NULL"
    if isinstance(items, str):
        if _BARE.fullmatch(items) and items.upper() != "NULL":
            return items
        escaped = items.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{{{delimiter.join([array_literal(item, delimiter) for item in items])}}}"
