"""One HTTP call without I/O: its arguments checked and put in order, the same for each of its attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .http_answers import TEMPORARY, Judge
from .http_requests import (
    Body,
    HttpBase,
    Origin,
    RequestOptions,
    ResponseOk,
    check_method,
    check_options,
    origin_of,
    timeouts,
    with_idempotency_key,
)
from .login import HttpSession
from .redaction import Redactor
from .retry import Resilience, for_call

__all__ = ("HttpCall", "prepare")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """What a call wants, and how hard it tries.

    Attributes:
        began: when it began, by the clock `monotonic`; `ends`: when its deadline passes, None if it has none.
    """

    method: str
    url: httpx.URL
    body: Body
    headers: Mapping[str, str] | None
    response_ok: ResponseOk
    timeout: Any
    policy: Resilience
    began: float
    ends: float | None

    @property
    def origin(self) -> Origin:
        """Where it goes."""
        return origin_of(self.url)

    def request(
        self, base: HttpBase, session: HttpSession | None, jar: httpx.Cookies, remaining: float | None
    ) -> httpx.Request:
        """Return the request for one attempt, whose timeouts are no longer than what remains of the deadline."""
        limits = timeouts(self.timeout, base.timeout, remaining)
        return base.build(self.method, self.url, self.body, self.headers, session, jar, limits)

    def named(self, redactor: Redactor) -> str:
        """Name the call, without secrets."""
        return redactor(f"{self.method} {self.url}")

    def judge(self, redactor: Redactor, temporary: Collection[int] = TEMPORARY) -> Judge:
        """Return what tells the meaning of its failures."""
        return Judge(self.method, self.url, self.policy, redactor, replayable=self.body.replayable, temporary=temporary)


def prepare(
    base: HttpBase, resilience: Resilience, method: str, endpoint: str, options: RequestOptions, began: float
) -> HttpCall:
    """Return the call that these arguments make.

    Raises:
        InvalidRequestError: they make none.
        TypeError: an option is unknown or of the wrong kind.
    """
    method = check_method(method)
    check_options(options)
    policy = for_call(resilience, options.get("retry"))
    headers = options.get("headers")
    if policy.idempotency_key and method in ("POST", "PATCH"):
        headers = with_idempotency_key(headers)
    return HttpCall(
        method=method,
        url=base.resolve(endpoint),
        body=Body(
            params=options.get("params"),
            json=options.get("json"),
            data=options.get("data"),
            files=options.get("files"),
            content=options.get("content"),
        ),
        headers=headers,
        response_ok=options.get("response_ok", 200),
        timeout=options.get("timeout"),
        policy=policy,
        began=began,
        ends=None if policy.deadline is None else began + policy.deadline,
    )
