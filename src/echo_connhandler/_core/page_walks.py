"""Going through a list page by page: what to ask for, what came, and noticing when it goes in circles. No I/O."""

from __future__ import annotations

import hashlib
import json as jsonlib
from collections.abc import Mapping
from typing import Any

import httpx

from .errors import UnexpectedContentError
from .http_requests import RequestOptions, origin_of
from .pagination import Page, PageStyle, Selector, items_of, wrong_page
from .redaction import SAFE_HEADERS, Redactor

__all__ = ("Walk",)


class Walk:
    """Goes from page to page, and notices when it goes in circles."""

    def __init__(
        self,
        style: PageStyle,
        items: Selector | None,
        options: RequestOptions,
        redactor: Redactor,
        *,
        repeats_ok: bool,
    ) -> None:
        """Take how the pages follow each other, where their items are, and what the call sends besides.

        Raises:
            TypeError: `style` is none, or the call's own part for the style's values is no mapping.
        """
        if not isinstance(style, PageStyle):
            raise TypeError(f"style must be a PageStyle such as PageNumber() or LinkHeader(), got {style!r}")
        own = options.get(style.send_in)
        if own is not None and not isinstance(own, Mapping):
            raise TypeError(f"{style.send_in}= must be a mapping here, as the page is told in it")
        self._style, self._items, self._options, self._redactor = style, items, options, redactor
        self._repeats_ok = repeats_ok
        self._sent: Mapping[str, Any] = style.first()
        self._url: httpx.URL | None = None
        self._seen = {self._key()}
        self._contents: dict[bytes, int] = {}
        self._number = self._taken = 0
        self._home: httpx.URL | None = None

    def _key(self) -> str:
        return f"{self._url or ''} {sorted((k, str(v)) for k, v in self._sent.items())}"

    def request(self, endpoint: str) -> tuple[str, RequestOptions]:
        """Return endpoint and options for the page that is due."""
        options = self._options.copy()
        if self._url is not None:
            return str(self._url), self._for_link(options)
        if self._sent:
            own = options.get(self._style.send_in) or {}
            options[self._style.send_in] = {**own, **self._sent}
        return endpoint, options

    def _for_link(self, options: RequestOptions) -> RequestOptions:
        """Return what goes to a URL that the server gave: it has its parameters; and no secrets go elsewhere."""
        options.pop("params", None)
        if self._home is None or self._url is None or origin_of(self._url) == origin_of(self._home):
            return options
        headers = {k: v for k, v in (options.get("headers") or {}).items() if k.lower() in SAFE_HEADERS}
        abroad: RequestOptions = {"headers": headers}
        for name in ("response_ok", "timeout", "retry"):
            if name in options:
                abroad[name] = options[name]
        return abroad

    def take(self, response: httpx.Response) -> Page:
        """Take an answer and return its page.

        Raises:
            UnexpectedContentError: it is not such a page, or the same as one that came before.
        """
        try:
            return self._page(response)
        except UnexpectedContentError as error:
            raise self._without_secrets(error) from error.__cause__

    def _without_secrets(self, error: UnexpectedContentError) -> UnexpectedContentError:
        return type(error)(self._redactor(str(error)), error.response, scrub=self._redactor)

    def _page(self, response: httpx.Response) -> Page:
        if self._home is None:
            self._home = response.history[0].request.url if response.history else response.request.url
        items = items_of(self._items, response)
        self._number += 1
        self._taken += len(items)
        if self._style.counts and items and not self._repeats_ok:
            self._notice(items, response)
        return Page(self._number, items, response)

    def _notice(self, items: list[Any], response: httpx.Response) -> None:
        content = hashlib.blake2b(jsonlib.dumps(items, sort_keys=True, default=repr).encode(), digest_size=16).digest()
        before = self._contents.setdefault(content, self._number)
        if before != self._number:
            raise wrong_page(
                response,
                f"page {self._number} has the same items as page {before}: the server may not know the parameters "
                f"{', '.join(map(repr, self._sent))}, or begin again after the last page (then say where it tells the "
                "total). Give repeats_ok=True if such pages are right",
            )

    def goes_on(self, page: Page) -> bool:
        """Go on to the next page; return whether there is one.

        Raises:
            UnexpectedContentError: the next page is one that was there before.
        """
        try:
            return self._moves(page)
        except UnexpectedContentError as error:
            raise self._without_secrets(error) from error.__cause__

    def _moves(self, page: Page) -> bool:
        following = self._style.following(page, self._sent, self._taken)
        if following is None:
            return False
        if isinstance(following, httpx.URL):
            self._url = following
        else:
            self._url, self._sent = None, following
        key = self._key()
        if key in self._seen:
            raise wrong_page(page.response, f"page {page.number} leads back to a page that was there before")
        self._seen.add(key)
        return True
