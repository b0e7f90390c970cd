"""How Sphinx builds these pages. It needs no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import echo_connhandler
from echo_connhandler import core, energy, errors, ftp, sql

if TYPE_CHECKING:
    from docutils.nodes import Element  # type: ignore[import-untyped, unused-ignore] # without stubs it has no types
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "echo-connhandler"
author = "The echo-connhandler developers"
copyright = "The echo-connhandler developers"
version = release = echo_connhandler.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_static_path = ["_static"]
html_title = f"{project} {version}"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False

# Names of the standard library and of other packages: without their inventories there's nothing to link to. Then
# type variables.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|contextlib|datetime|os|ssl|types|typing|pathlib)\..*"),
    ("py:.*", r"(httpx|pyarrow|pandas|polars|pa|pd|pl)\..*"),
    ("py:(class|exc|obj)", r"(Value|Type|Runtime|Timeout|Connection|Import)Error"),
    ("py:class", r"(.*\.)?[TP]"),
    ("py:class", r"float \| ~collections\.abc\.Mapping\[str"),  # Sphinx cuts a union's member at its comma
]

# Where a name is documented that signatures give by its private place, or without any.
_PUBLIC = {
    told: f"{module.__name__}.{name}"
    for module in (core, energy, ftp, sql, echo_connhandler)
    for name in module.__all__
    if hasattr(value := getattr(module, name), "__qualname__")
    for told in (f"{value.__module__}.{value.__qualname__}", value.__qualname__)
}


def link_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element) -> Element | None:
    """Link a private name in a signature to where it's documented."""
    public = _PUBLIC.get(node.get("reftarget", ""))
    if public is None or node.get("refdomain") != "py":
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "class", public, node, contnode)


def mark_code(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show what docstrings have in backticks as code; keep napoleon from taking a property's first words for a type."""
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)(\w?)", _code, line) for line in lines]
    if what == "property":
        lines[0] = f": {lines[0]}"  # napoleon reads "type: text" there; the type is empty


def _code(found: re.Match[str]) -> str:
    return f"``{found[1]}``" + (f"\\ {found[2]}" if found[2] else "")


def plain_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write what a sync function gives as what it is, and a function that stands for an argument as its name."""
    if signature is not None:
        signature = re.sub(r"~?[\w.]*Annotated\[(~?[\w.]*), [^\]]*\]", r"\1", signature)
        signature = re.sub(r"<function (\w+)>", r"\1", signature)
    return signature, returned


def public_bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[Any]) -> None:
    """Show the public one in place of a private base of errors."""
    hidden = [base for base in bases if base.__name__.startswith("_") and issubclass(base, errors.EchoConnError)]
    for base in hidden:
        bases[bases.index(base)] = errors.EchoConnError


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("missing-reference", link_public_name)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-process-bases", public_bases)
