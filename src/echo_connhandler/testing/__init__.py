"""For users' own tests: waits that are computed and recorded but not slept."""

from .._concurrency.waits import skipping_waits as no_waits

__all__ = ("no_waits",)
