"""Libraries that only some calls need: imported when needed, and named clearly when missing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ("require",)


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import and return `module`; raise `MissingExtraError` naming the extra to install if it isn't there.

    Args:
        module: the dotted name of the module.
        extra: the extra of this package that installs it.
        purpose: what needs it, as the error says it: "reading frames".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A library that is there but lacks one of its own parts is broken: its own words tell more.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        library = module.partition(".")[0]
        raise MissingExtraError(
            f'{purpose} needs {library}, which is not installed: pip install "echo-connhandler[{extra}]"'
        ) from error
