"""How APIs hand out long lists page by page: one small value per way, which says what to ask for next. No I/O.

A style sees each answer and returns where the next page is, or None after the last one. Going from page to page is
`Walk`'s, in `page_walks.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import httpx

from .errors import UnexpectedContentError
from .link_header import find_link

__all__ = (
    "Cursor",
    "LinkHeader",
    "NextLink",
    "Offset",
    "Page",
    "PageNumber",
    "PageStyle",
    "Selector",
    "items_of",
    "wrong_page",
)

Selector: TypeAlias = str | Callable[[httpx.Response], Any]
"""A dotted path into the JSON body, `"result.records"`, or a function of the response."""

_WHERE = Literal["params", "json", "data"]


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        number: from 1.
        items: what it holds.
        response: the answer as it came.
    """

    number: int
    items: list[Any]
    response: httpx.Response


class PageStyle(ABC):
    """How an API tells one page from another. Write your own for one that does it otherwise."""

    send_in: _WHERE = "params"
    counts: bool = False  # whether it works out the next page by itself, and would not notice getting the same again

    @abstractmethod
    def first(self) -> Mapping[str, Any]:
        """Return what to send for the first page."""

    @abstractmethod
    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> Mapping[str, Any] | httpx.URL | None:
        """Return what to send for the next page, or its URL; None after the last.

        Args:
            page: the page that came.
            sent: what was sent for it.
            taken: how many items came so far, with this page.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting(PageStyle):
    """What styles have in common that count by themselves.

    They end after the items or pages that the server tells; else at a page without items, or, if asked to, at a page
    of fewer than were asked for. The latter saves a request, but loses data where a server gives fewer than it was
    asked for: many clamp the size.
    """

    total: Selector | None = None
    short_page_ends: bool = False
    send_in: _WHERE = "params"
    counts = True

    def _ends(self, page: Page, taken: int, size: int | None) -> bool:
        if not page.items:
            return True
        if self.total is not None and (total := select(self.total, page.response, of="total")) is not None:
            return taken >= _whole(total, "total", page.response)
        return self.short_page_ends and size is not None and len(page.items) < size


@dataclass(frozen=True, slots=True, kw_only=True)
class PageNumber(_Counting):
    """Pages by number: `?page=1&per_page=100`, `?page=2&per_page=100`.

    Attributes:
        param: name of the parameter for the number.
        start: the first page's number.
        size_param: name of the parameter for the size, if any is to be sent.
        size: items per page to ask for.
        pages: where the answer tells the number of pages.
        total: where the answer tells the number of items.
        short_page_ends: whether a page with fewer items than `size` is the last one.
        send_in: whether they go into the URL ("params") or the body ("json", "data").
    """

    param: str = "page"
    start: int = 1
    size_param: str | None = None
    size: int | None = None
    pages: Selector | None = None

    def __post_init__(self) -> None:
        _check_size("size", self.size)
        if (self.size_param is not None or self.short_page_ends) and self.size is None:
            raise ValueError("PageNumber: size_param and short_page_ends need size")

    def first(self) -> Mapping[str, Any]:
        """Return the first number, and the size."""
        return {self.param: self.start, **({self.size_param: self.size} if self.size_param is not None else {})}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> Mapping[str, Any] | None:
        """Return the next number."""
        if self._ends(page, taken, self.size):
            return None
        pages = None if self.pages is None else select(self.pages, page.response, of="pages")
        if pages is not None and page.number >= _whole(pages, "pages", page.response):
            return None
        return {**sent, self.param: sent[self.param] + 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset(_Counting):
    """Pages by the number of items before: `?offset=0&limit=100`, `?offset=100&limit=100`.

    It goes on by the items that came, not by those asked for: a server that gives fewer loses none.

    Attributes:
        param: name of the parameter for the offset.
        start: the first offset.
        limit_param: name of the parameter for the limit; None sends none.
        limit: items per page to ask for.
        total: where the answer tells the number of items.
        short_page_ends: whether a page with fewer items than `limit` is the last one.
        send_in: whether they go into the URL ("params") or the body ("json", "data").
    """

    param: str = "offset"
    start: int = 0
    limit_param: str | None = "limit"
    limit: int = 100

    def __post_init__(self) -> None:
        _check_size("limit", self.limit)

    def first(self) -> Mapping[str, Any]:
        """Return the first offset, and the limit."""
        return {self.param: self.start, **({self.limit_param: self.limit} if self.limit_param is not None else {})}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> Mapping[str, Any] | None:
        """Return the next offset."""
        return None if self._ends(page, taken, self.limit) else {**sent, self.param: self.start + taken}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor(PageStyle):
    """Pages by a token that each answer gives for the next: `?cursor=dXNlcjpVMEc5V0ZYTlo`.

    Attributes:
        cursor: where the answer tells it; nothing there (missing, null, empty) means that this was the last page.
        param: name of the parameter to send it in.
        more: where the answer tells whether there's more, for APIs that give a cursor on the last page too.
        send_in: whether it goes into the URL ("params") or the body ("json", "data").
    """

    cursor: Selector
    param: str = "cursor"
    more: Selector | None = None
    send_in: _WHERE = "params"

    def first(self) -> Mapping[str, Any]:
        """Return nothing: the first page has no cursor."""
        return {}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> Mapping[str, Any] | None:
        """Return the next cursor."""
        if self.more is not None and not select(self.more, page.response, of="more"):
            return None
        found = select(self.cursor, page.response, of="cursor")
        return None if _nothing(found) else {self.param: found}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHeader(PageStyle):
    """Pages by the `Link` header (RFC 8288), `Link: <https://.../?page=2>; rel="next"`, as GitHub and GitLab do it.

    Attributes:
        rel: the relation that names the next page.
    """

    rel: str = "next"

    def first(self) -> Mapping[str, Any]:
        """Return nothing: the call's own URL is the first page."""
        return {}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> httpx.URL | None:
        """Return the URL that the header gives."""
        found = find_link(page.response.headers.get_list("link"), self.rel)
        return None if found is None else _joined(page.response, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLink(PageStyle):
    """Pages by a URL in the JSON body: `{"next": "https://.../?page=2", "results": [...]}`, also a relative one.

    Attributes:
        link: where the answer tells it; nothing there (missing, null, empty) means that this was the last page.
    """

    link: Selector = "next"

    def first(self) -> Mapping[str, Any]:
        """Return nothing: the call's own URL is the first page."""
        return {}

    def following(self, page: Page, sent: Mapping[str, Any], taken: int) -> httpx.URL | None:
        """Return the URL that the body gives."""
        found = select(self.link, page.response, of="link")
        if _nothing(found):
            return None
        if not isinstance(found, str):
            raise wrong_page(page.response, f"the next link must be a URL, it is a {type(found).__name__}")
        return _joined(page.response, found)


def _nothing(found: Any) -> bool:
    return found is None or found is False or found == ""


def _joined(response: httpx.Response, link: str) -> httpx.URL:
    try:
        url = response.url.join(link)
    except httpx.InvalidURL as error:
        raise wrong_page(response, f"the next link is no URL ({error})") from error
    if url.scheme not in ("http", "https"):
        raise wrong_page(response, f"the next link has the scheme {url.scheme!r}")
    return url


def _check_size(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")


def _whole(value: Any, name: str, response: httpx.Response) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise wrong_page(response, f"{name} must be a number, it is {str(value)[:50]!r}") from None


def select(selector: Selector, response: httpx.Response, *, of: str) -> Any:
    """Return what a selector finds in an answer; None where a path leads nowhere.

    Raises:
        UnexpectedContentError: the body is not JSON.
    """
    if callable(selector):
        return selector(response)
    found = _json(response)
    for name in selector.split(".") if selector else ():
        found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            return None
    return found


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        kind = response.headers.get("content-type", "no content type")
        raise wrong_page(response, f"the page is not JSON but {kind}") from error


def items_of(selector: Selector | None, response: httpx.Response) -> list[Any]:
    """Return the items of a page.

    Raises:
        UnexpectedContentError: there is no list where the selector points; the message says which lists there are.
    """
    found = select("" if selector is None else selector, response, of="items")
    if isinstance(found, list | tuple):
        return list(found)
    where = "the body" if selector is None else f"items={selector!r}" if isinstance(selector, str) else "items=..."
    body = found if selector is None else None if callable(selector) else _json(response)
    lists = sorted(k for k, v in body.items() if isinstance(v, list)) if isinstance(body, Mapping) else []
    hint = f"; lists are in {', '.join(map(repr, lists))}" if lists else ""
    raise wrong_page(response, f"{where} is no list of items but {type(found).__name__}{hint}")


def wrong_page(response: httpx.Response, text: str) -> UnexpectedContentError:
    """Return the error for an answer that is no page; its text may still hold secrets."""
    request = response.request
    return UnexpectedContentError(f"{request.method} {request.url}: {text}", response)
