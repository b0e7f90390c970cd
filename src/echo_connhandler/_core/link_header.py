"""The Link header (RFC 8288, section 3 and appendix B.2): `<https://.../?page=2>; rel="next"; title="a, b"`."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ("find_link", "parse_links")

_TARGET = re.compile(r"[\s,]*<([^>]*)>")
_PARAM = re.compile(r'\s*;\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


def parse_links(value: str) -> list[tuple[str, dict[str, str]]]:
    """Return the targets of a header's value with their parameters, names in lower case; the first of a name counts.

    What is malformed ends the list: what came before it is kept.
    """
    links: list[tuple[str, dict[str, str]]] = []
    at = 0
    while (target := _TARGET.match(value, at)) is not None:
        at = target.end()
        params: dict[str, str] = {}
        while (param := _PARAM.match(value, at)) is not None:
            at = param.end()
            quoted = param[2]
            text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else param[3] or ""
            params.setdefault(param[1].lower(), text)
        links.append((target[1].strip(), params))
        rest = re.match(r"\s*(?:;\s*)?(,|$)", value[at:])
        if rest is None:
            break
    return links


def find_link(values: Iterable[str], rel: str) -> str | None:
    """Return the first target with this relation (compared without case; a link may have several), or None.

    A link with an anchor is about another resource and doesn't count (section 3.2).
    """
    for value in values:
        for target, params in parse_links(value):
            if "anchor" not in params and rel.lower() in params.get("rel", "").lower().split():
                return target
    return None
