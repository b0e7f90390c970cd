"""How many requests servers take for now: known to all threads and tasks of a handler, whichever was told."""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING

from .._core.errors import Kind, RateLimitedError
from .._core.http_requests import origin_of
from .._core.rate_limits import Gate, admit, allowance, without_body
from .waits import monotonic

if TYPE_CHECKING:
    import httpx

    from .._core.http_requests import Origin
    from .._core.retry import Resilience

__all__ = ("Allowances",)


class Allowances:
    """One gate per origin, for both halves of a handler."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[Origin, Gate] = {}

    @property
    def known(self) -> bool:
        """Whether any server said anything yet."""
        return bool(self._gates)

    def told(self, response: httpx.Response) -> None:
        """Take note of what an answer says."""
        said = allowance(response, dt.datetime.now(dt.UTC))
        if said is None:
            return
        origin, answer = origin_of(response.request.url), without_body(response)
        with self._lock:
            self._gates[origin] = Gate.after(self._gates.get(origin), said, monotonic(), answer)

    def ask(self, origin: Origin, policy: Resilience, began: float, *, named: str) -> float:
        """Return the seconds to wait before asking again; 0 stands for: send it now.

        Args:
            origin: where the request goes.
            policy: the call's.
            began: when the call began.
            named: the call's name, without secrets.

        Raises:
            RateLimitedError: the wait is longer than the call may wait; nothing was sent.
        """
        with self._lock:
            gate = self._gates.get(origin)
            if gate is None:
                return 0.0
            now = monotonic()
            self._gates[origin], hold = admit(gate, policy, now=now, elapsed=now - began)
        if hold.refused:
            error = RateLimitedError(f"{named}: not sent, as the server takes no more requests for now", gate.answer)
            raise error.told(attempts=1, elapsed=now - began, kind=Kind.WRONG, retry_after=round(hold.needed, 3))
        return hold.delay
