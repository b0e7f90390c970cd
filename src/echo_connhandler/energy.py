"""Handlers of three services of the Brazilian energy sector: Bazefield, CCEE's open data, and ONS.

None was tried against the live service. What they know of it is a default that can be overridden.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import ClassVar, Unpack

import httpx

from ._async.bazefield import AsyncBazeCalls
from ._async.ccee import AsyncCceeCalls
from ._async.ons import AsyncOnsCalls
from ._core.ckan import error_text, is_block_page, warms_up_again
from ._core.errors import AuthenticationError, BlockedByWafError, UnexpectedStatusError
from ._core.html import Form, is_html, read_page
from ._core.http_answers import unexpected
from ._core.http_properties import HttpConnProperties
from ._core.http_requests import origin_of
from ._core.jwt import token_lifetime
from ._core.login import HttpSession, LoginFlow
from ._core.ons import OnsHttpConnProperties, ReportOptions, is_login_page, profile_in
from ._core.properties import ConnProperties
from ._core.servicestack import service_error
from ._sync.bazefield import BazeCalls
from ._sync.ccee import CceeCalls
from ._sync.ons import OnsCalls
from .core import HandlerOptions, takes_options
from .http import HttpHandler

__all__ = ("BazeHttpHandler", "CceeHttpHandler", "OnsHttpConnProperties", "OnsHttpHandler", "ReportOptions")


class BazeHttpHandler(BazeCalls, AsyncBazeCalls, HttpHandler):
    """Bazefield. Logs in with `api_key` (a bearer token), or with `user` and `password`; always asks for JSON.

    An answer with status 200 that tells of an error is an `UnexpectedStatusError`; where it tells that the session has
    ended, the handler logs in again. Override the attributes below in a subclass where a site differs.

    Attributes:
        login_path: where user and password are posted (ServiceStack's default).
        ended_codes: error codes that tell of a session that has ended.
    """

    login_path: ClassVar[str] = "/auth/credentials"
    ended_codes: ClassVar[frozenset[str]] = frozenset(
        {"NotAuthenticated", "Unauthenticated", "Unauthorized", "AuthenticationException", "TokenException"}
    )

    def login_flow(self) -> LoginFlow:
        """Log in: no request for an API key, one POST for user and password, whose `ss-id` cookie is kept."""
        headers = {"Accept": "application/json"}
        if self.props.api_key is not None:
            headers["Authorization"] = f"Bearer {self.props.api_key}"
        elif self.props.user is not None:
            form = {"userName": self.props.user, "password": self.props.password, "rememberMe": True}
            response = yield httpx.Request("POST", self.url_for(self.login_path), json=form, headers=headers)
            if (error := service_error(response)) is not None:
                text = self._redactor(f"login refused: POST {response.request.url}: {': '.join(error)}")
                raise AuthenticationError(text, response, scrub=self._redactor)
        return HttpSession(headers=headers)

    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether to log in again: a 401, or an error code that says so; an API key stays what it is."""
        if self.props.user is None:
            return False
        error = service_error(response)
        return response.status_code == 401 or (error is not None and error[0] in self.ended_codes)

    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that an answer's `responseStatus` tells of, also with status 200."""
        error = service_error(response)
        return None if error is None else unexpected(response, 200, self._redactor, said=": ".join(filter(None, error)))


class CceeHttpHandler(CceeCalls, AsyncCceeCalls, HttpHandler):
    """CCEE's open data (CKAN), behind a firewall that turns away what doesn't look like a browser.

    Before the first call it gets the page `warmup_path` as a browser would, keeps the cookies, and names the page as
    `Referer` from then on. When it meets the firewall's block page, also one with status 200, it does so again, once
    for all callers; if that doesn't help, the call raises `BlockedByWafError` with what the page says. This is
    politeness: nothing is done to get around a firewall that says no. An answer of CKAN that says `"success": false` is
    an `UnexpectedStatusError`, whatever its status.

    Attributes:
        browser_headers: sent with the warm-up; but for `Accept`, with every request. `headers` of the properties win.
    """

    props: HttpConnProperties

    browser_headers: ClassVar[Mapping[str, str]] = {
        "User-Agent": (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
        ),
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "pt-BR,pt;q=0.9,en;q=0.8",
    }

    @takes_options
    def __init__(
        self,
        props: HttpConnProperties | None = None,
        *,
        warmup_path: str = "/dataset/pld_horario",
        **options: Unpack[HandlerOptions],
    ) -> None:
        """Make the handler and, unless told not to, warm up its half for threads.

        Args:
            props: where and how to connect; the portal's own address if not given.
            warmup_path: the page to begin with, relative to the host.
            options: see `HttpHandler`; to connect is to warm up.
        """
        self.warmup_path = warmup_path
        super().__init__(
            HttpConnProperties(host="https://dadosabertos.ccee.org.br") if props is None else props, **options
        )

    def login_flow(self) -> LoginFlow:
        """Warm up: get the page as a browser would, twice at most."""
        own = {name.lower() for name in self.props.headers}
        headers = {name: value for name, value in self.browser_headers.items() if name.lower() not in own}
        page = self.url_for(self.warmup_path)
        response = yield from self._visit(page, headers)
        if is_block_page(response):
            response = yield from self._visit(page, headers)  # the block page may have set the cookie that was missing
        if is_block_page(response):
            raise self._blocked(response)
        headers.pop("Accept", None)
        return HttpSession(headers={**headers, "Referer": str(page)})

    def _visit(
        self, page: httpx.URL, headers: Mapping[str, str]
    ) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
        try:
            return (yield httpx.Request("GET", page, headers=headers))
        except AuthenticationError as error:
            if error.response is None or not is_block_page(error.response):
                raise
            return error.response

    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether to warm up again: the answer is the firewall's block page."""
        return warms_up_again(response)

    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that a block page, or an answer of CKAN with `"success": false`, means."""
        if is_block_page(response):
            return self._blocked(response)
        said = error_text(response)
        return None if said is None else unexpected(response, 200, self._redactor, why=" (CKAN)", said=said)

    def _blocked(self, response: httpx.Response) -> UnexpectedStatusError:
        why = ", a page of the firewall"
        said = read_page(response.text).said
        return unexpected(response, 200, self._redactor, why=why, said=said, kind=BlockedByWafError)


class OnsHttpHandler(OnsCalls, AsyncOnsCalls, HttpHandler):
    """ONS: SAGER and SINAPSE, behind one federation's login.

    The login gets the federation's page, follows its redirects and meta refreshes, fills in its form where it shows
    one, exchanges user and password for a token and, for SINAPSE, asks for the profile. The token is renewed before it
    expires, as `expires_in` or the token itself says. The login page with status 200 means that the session has ended.
    User and password go to the federation's own origins only, the token to `host`'s only.

    Attributes:
        form_fields: what the federation's form is sent besides its hidden fields, user and password.
        max_refreshes: meta refreshes followed in one login.
    """

    properties_class: ClassVar[type[ConnProperties]] = OnsHttpConnProperties
    props: OnsHttpConnProperties

    form_fields: ClassVar[Mapping[str, str]] = {"submit.Signin": "Entrar", "CountLogin": "0"}
    max_refreshes: ClassVar[int] = 5

    def login_flow(self) -> LoginFlow:
        """Log in: federation, token and, for SINAPSE, profile."""
        props = self.props
        if props.user is None or props.password is None:
            raise AuthenticationError("login at ONS needs user and password in the properties")
        response = yield from self._visit(httpx.Request("GET", self._url("federation_url")))
        form = _login_form(response)
        if form is not None:
            response = yield from self._visit(self._filled_in(form, response))
            if _login_form(response) is not None:
                said = self._redactor(read_page(response.text).said)
                raise AuthenticationError(f"login refused: the login page came again: {said}")
        data = {"grant_type": "password", "client_id": props.client_id, "username": props.user}
        response = yield httpx.Request(
            "POST",
            self._url("token_url"),
            data={**data, "password": props.password},
            headers={"Origin": str(props.origin), "Accept": "application/json"},
        )
        answer = response.json()
        token = answer["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        if props.login_target == "SINAPSE":
            if props.profile_url is None:
                raise AuthenticationError("SINAPSE's profile address is not public: give the property profile_url=")
            self._redactor.add([token])
            response = yield httpx.Request("GET", props.profile_url, headers=headers)
            headers["Perfil-Selecionado"] = self.profile_value(response)
        return HttpSession(headers=headers, expires_in=token_lifetime(answer, token, time.time()))

    def profile_value(self, response: httpx.Response) -> str:
        """Return the value of the header `Perfil-Selecionado`; override it where the answer looks otherwise.

        As it comes it is `perfilSelecionado` of the JSON object, or of the first object of a list.
        """
        return profile_in(response.json())

    def session_ended(self, response: httpx.Response) -> bool:
        """Tell whether to log in again: a 401, or the login page with status 200."""
        return response.status_code == 401 or is_login_page(response, self._url("federation_url"))

    def response_error(self, response: httpx.Response) -> UnexpectedStatusError | None:
        """Return the error that a login page means which came after a fresh login too."""
        if not is_login_page(response, self._url("federation_url")):
            return None
        said = read_page(response.text).said
        return unexpected(response, 200, self._redactor, why=", the login page, after a fresh login", said=said)

    def _url(self, name: str) -> str:
        return str(getattr(self.props, name))

    def _visit(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
        """Send a request, and follow what its page refreshes itself to."""
        for _ in range(self.max_refreshes + 1):
            response = yield request
            refresh = read_page(response.text).refresh if is_html(response) else None
            if refresh is None:
                return response
            request = httpx.Request("GET", response.url.join(refresh))
        raise AuthenticationError(f"login at ONS: more than {self.max_refreshes} pages that refresh themselves")

    def _filled_in(self, form: Form, response: httpx.Response) -> httpx.Request:
        action = response.url.join(form.action)
        if origin_of(action) != origin_of(httpx.URL(self._url("federation_url"))):
            raise AuthenticationError(
                f"the login form wants user and password sent to {action.host}, which is not the federation's host"
            )
        named = {"username": self.props.user, str(form.password): self.props.password}
        return httpx.Request("POST", action, data={**form.fields, **self.form_fields, **named})


def _login_form(response: httpx.Response) -> Form | None:
    return read_page(response.text).login_form if is_html(response) else None
