"""What handlers tell about their retries: the value that `Resilience(before_retry=...)` hooks receive."""

from ._core.retry import RetryDetails

__all__ = ("RetryDetails",)
