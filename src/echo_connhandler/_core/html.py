"""Reading the few things of an HTML page that matter to a program: what it says, where it leads, its forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

__all__ = ("Form", "Page", "is_html", "read_page")

_HINT = 200  # characters of visible text that are kept
_UNSEEN = frozenset({"script", "style", "noscript", "template"})


@dataclass(frozen=True, slots=True)
class Form:
    """A form: where it is sent, and what it sends as it stands, by name.

    Attributes:
        action: the address, maybe relative; empty stands for the page's own.
        fields: the values of its hidden inputs.
        password: the name of its password input; None if it asks for none.
    """

    action: str
    fields: dict[str, str] = field(repr=False)
    password: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        title: its title.
        text: how its visible text begins, without the title.
        refresh: the address that a meta refresh leads to, maybe relative; None if there's none.
        forms: its forms, in order.
    """

    title: str
    text: str
    refresh: str | None
    forms: tuple[Form, ...]

    @property
    def said(self) -> str:
        """What the page says, in a line."""
        return " | ".join(part for part in (self.title, self.text) if part)

    @property
    def login_form(self) -> Form | None:
        """The first form that asks for a password."""
        return next((form for form in self.forms if form.password is not None), None)


def is_html(response: httpx.Response) -> bool:
    """Tell whether an answer is an HTML page, by its content type or, without one, by how it begins."""
    kind: str = response.headers.get("content-type", "")
    if kind:
        return kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")
    return response.content[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read_page(text: str) -> Page:
    """Read an HTML page; what is broken in it is read as a browser would, as far as that goes."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.end_form()
    said = " ".join(" ".join(reader.text).split())[:_HINT]
    return Page(" ".join("".join(reader.title).split())[:_HINT], said, reader.refresh, tuple(reader.forms))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.text: list[str] = []
        self.refresh: str | None = None
        self.forms: list[Form] = []
        self._inside: list[str] = []
        self._form: tuple[str, dict[str, str]] | None = None
        self._password: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "title" or tag in _UNSEEN:
            self._inside.append(tag)
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh" and self.refresh is None:
            _, _, rest = given.get("content", "").partition(";")
            name, equals, address = rest.partition("=")
            if equals and name.strip().lower() == "url":
                self.refresh = address.strip().strip("'\"")
        elif tag == "form":
            self.end_form()
            self._form, self._password = (given.get("action", ""), {}), None
        elif tag == "input" and self._form is not None and given.get("name"):
            kind = given.get("type", "text").lower()
            if kind == "hidden":
                self._form[1][given["name"]] = given.get("value", "")
            elif kind == "password":
                self._password = given["name"]

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()
        elif tag == "form":
            self.end_form()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text.append(data)
        elif self._inside[-1] == "title":
            self.title.append(data)

    def end_form(self) -> None:
        if self._form is not None:
            self.forms.append(Form(*self._form, self._password))
            self._form = None
