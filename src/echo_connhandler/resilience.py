"""How hard a handler tries, as a value: `Resilience`."""

from ._core.retry import Resilience

__all__ = ("Resilience",)
