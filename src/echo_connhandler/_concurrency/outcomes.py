"""What a function gives: at once, or when awaited. For the types of functions that are handed around."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

__all__ = ("AsyncOutcome", "Outcome")

T = TypeVar("T")

AsyncOutcome = Awaitable[T]
Outcome = Annotated[T, "given at once"]
