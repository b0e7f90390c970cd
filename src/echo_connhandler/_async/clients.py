"""An httpx client that tries again as the handlers do, and keeps its credentials where they belong."""

from __future__ import annotations

from typing import Any

import httpx

from .._concurrency import async_bounded, monotonic
from .._core.errors import EchoConnError, OutcomeUnknownError, UnexpectedStatusError
from .._core.http_answers import TEMPORARY, Judge, unexpected
from .._core.http_requests import origin_of, timeouts
from .._core.retry import Resilience
from .._core.signing import Signing
from .._drivers.httpx_clients import ClientSettings, before_sending
from .retry import async_persist

__all__ = ("AsyncResilientClient",)


class AsyncResilientClient(httpx.AsyncClient):
    """A client as httpx has it: it returns any status, and raises httpx's own exceptions, after the retries."""

    def __init__(
        self, settings: ClientSettings, policy: Resilience | None, signing: Signing | None, **arguments: Any
    ) -> None:
        """Take what is ours, and the arguments of httpx.

        Args:
            settings: the client's origin, and the secrets that must not be shown.
            policy: how hard to try; None: once.
            signing: signs requests to the origin; None: they aren't signed.
            arguments: for httpx.
        """
        super().__init__(**arguments)
        self._settings, self._policy, self._signing = settings, policy, signing
        hooks = self.event_hooks
        self.event_hooks = {**hooks, "request": [*hooks["request"], self._async_prepare]}

    async def _async_prepare(self, request: httpx.Request) -> None:
        """Do what each request needs just before it goes, also on the way of redirects."""
        before_sending(request, self._settings, self.headers)
        if self._signing is None:
            return
        if origin_of(request.url) == self._settings.origin:
            await request.aread()
            self._signing.sign(request)
        else:
            self._signing.remove(request)

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request, as often as the policy has it. See httpx; what is returned is a response of any status.

        Raises:
            httpx.TransportError: of the last attempt.
            OutcomeUnknownError: the answer was lost and the method is not one of `retry_methods`.
            TimeoutExceededError: the policy's deadline passed.
        """
        policy, redactor = self._policy, self._settings.redactor
        if policy is None:
            return await super().send(request, stream=stream, **options)
        multipart = request.headers.get("content-type", "").startswith("multipart/")
        replayable = multipart or isinstance(request.stream, httpx.ByteStream)
        judge = Judge(request.method, request.url, policy, redactor, replayable=replayable)
        limits = request.extensions.get("timeout") or self.timeout.as_dict()
        ends = None if policy.deadline is None else monotonic() + policy.deadline
        once = super().send

        async def attempt() -> httpx.Response:
            remaining = None if ends is None else ends - monotonic()
            request.extensions = {**request.extensions, "timeout": timeouts(None, limits, remaining)}
            with async_bounded(remaining):
                response = await once(request, stream=stream, **options)
                if response.status_code in TEMPORARY:
                    await response.aread()
                    raise unexpected(response, None, redactor)
            return response

        try:
            return await async_persist(attempt, policy, judge, named=judge.call)
        except UnexpectedStatusError as error:
            return error.response
        except OutcomeUnknownError:
            raise
        except EchoConnError as error:
            if isinstance(error.__cause__, httpx.HTTPError):
                raise error.__cause__ from None
            raise
