"""ONS: properties of its handler, what its login page is, and its reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

import httpx

from .columns import table
from .csv_frames import read_csv
from .html import is_html, read_page
from .http_properties import HttpConnProperties
from .http_requests import RequestOptions, origin_of
from .xlsx_frames import is_xlsx, read_xlsx

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ("OnsHttpConnProperties", "ReportOptions", "is_login_page", "profile_in", "report_table")

_FEDERATION = "https://pops.ons.org.br/ons.pop.federation"
_ORIGINS = {"SAGER": "https://apps18.ons.org.br", "SINAPSE": "https://pops.ons.org.br"}


class ReportOptions(RequestOptions, total=False):
    """What the reading of a report takes besides its endpoint: see `OnsHttpHandler.read_to_arrow`."""

    method: str
    sheet: str | int
    skip_rows: int
    separator: str
    decimal: Literal[",", "."] | None


@dataclass(frozen=True, kw_only=True, repr=False)
class OnsHttpConnProperties(HttpConnProperties):
    """How to reach an API of ONS. What is not given follows from `login_target`; none of it was tried against ONS.

    Attributes:
        login_target: "SAGER" or "SINAPSE".
        federation_url: the page that begins the login and sets its cookies; HTML.
        token_url: where user and password are exchanged for a token.
        profile_url: SINAPSE only: the address, below `host`'s origin, that tells the profile for the header
            `Perfil-Selecionado`. It is not public: there's no default.
        client_id: sent for the token; the target's name if not given.
        origin: value of the `Origin` header that the token endpoint asks for.
    """

    login_target: Literal["SAGER", "SINAPSE"]
    federation_url: str | None = None
    token_url: str | None = None
    profile_url: str | None = None
    client_id: str | None = None
    origin: str | None = None

    def _validate(self) -> None:
        super()._validate()
        if self.login_target not in _ORIGINS:
            raise ValueError(f"login_target must be 'SAGER' or 'SINAPSE', got {self.login_target!r}")
        for name, value in _defaults(self.login_target).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("federation_url", "token_url", "profile_url"):
            value = getattr(self, name)
            if value is not None and not str(value).startswith(("http://", "https://")):
                raise ValueError(f"{name} must begin with http:// or https://")
        profile = self.profile_url
        if profile is not None and origin_of(httpx.URL(profile)) != origin_of(httpx.URL(self.host)):
            raise ValueError("profile_url must have host's scheme, host and port: the token goes nowhere else")

    def replace(self, **changes: Any) -> Self:
        """Return properties like these with some changed; what followed from the old `login_target` is made anew."""
        if changes.get("login_target", self.login_target) != self.login_target:
            old = _defaults(self.login_target)
            changes = {**{name: None for name, value in old.items() if getattr(self, name) == value}, **changes}
        return super().replace(**changes)


def _defaults(target: str) -> dict[str, str]:
    origin = _ORIGINS[target]
    return {
        "federation_url": f"{_FEDERATION}/?ReturnUrl={quote(origin + '/', safe='')}",
        "token_url": f"{_FEDERATION}/oauth2/token",
        "client_id": target,
        "origin": origin,
    }


def is_login_page(response: httpx.Response, federation_url: str) -> bool:
    """Tell whether an answer with status 200 is ONS's login page, or leads there, instead of what was asked for."""
    if response.status_code != 200 or not is_html(response):
        return False
    federation = httpx.URL(federation_url)
    home = federation.path.rstrip("/")
    if origin_of(response.url) == origin_of(federation) and response.url.path.startswith(home):
        return True
    page = read_page(response.text)
    return page.login_form is not None or (page.refresh is not None and home in page.refresh)


def profile_in(answer: Any) -> str:
    """Return `perfilSelecionado` of a JSON object, or of the first object of a list.

    Raises:
        KeyError, IndexError, TypeError: there's none.
    """
    value = (answer[0] if isinstance(answer, list) else answer)["perfilSelecionado"]
    if not isinstance(value, str):
        raise TypeError(f"perfilSelecionado is no text but {type(value).__name__}")
    return value


def report_table(
    data: bytes,
    *,
    sheet: str | int,
    skip_rows: int,
    separator: str,
    decimal: Literal[",", "."] | None,
    limit: int | None,
) -> pa.Table:
    """Return a report, an XLSX or a CSV file, as Arrow; nothing at all is a table without rows and columns.

    Raises:
        ValueError: it is neither.
    """
    if not data.strip():
        return table([], [])
    if is_xlsx(data):
        return read_xlsx(data, sheet=sheet, skip_rows=skip_rows)
    return read_csv(data, separator=separator, decimal=decimal, limit=limit)
