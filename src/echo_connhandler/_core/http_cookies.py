"""Cookies that go back only to where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from http import cookiejar
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.request import Request as _UrllibRequest

import httpx

from .http_requests import origin_of

__all__ = ("cookie_jar",)


class _OriginPolicy(DefaultCookiePolicy):
    """Cookies as the standard library has them, and besides only to the port they came from (80 and 443 are one)."""

    def set_ok(self, cookie: Cookie, request: _UrllibRequest) -> bool:
        if not super().set_ok(cookie, request):
            return False
        if not cookie.port_specified:
            cookie.port, cookie.port_specified = _ports(request), True
        return True

    def return_ok_port(self, cookie: Cookie, request: _UrllibRequest) -> bool:
        return cookie.port is None or bool({*cookie.port.split(",")} & {*_ports(request).split(",")})


def _ports(request: _UrllibRequest) -> str:
    url = httpx.URL(request.get_full_url())
    port = origin_of(url)[2]
    return "80,443" if port in (80, 443) else str(port)


def cookie_jar(cookies: Mapping[str, str], url: httpx.URL) -> httpx.Cookies:
    """Return a jar whose cookies go back only to where they belong, with the given ones for `url`'s origin."""
    jar = CookieJar(policy=_OriginPolicy())
    home = _UrllibRequest(str(url))  # noqa: S310 - never opened: the cookie jar asks it for its host and port
    domain = cookiejar.eff_request_host(home)[1]  # type: ignore[attr-defined] # public in CPython, absent from typeshed
    for name, value in cookies.items():
        jar.set_cookie(
            Cookie(
                version=0,
                name=name,
                value=value,
                port=_ports(home),
                port_specified=True,
                domain=domain,
                domain_specified=False,
                domain_initial_dot=False,
                path="/",
                path_specified=True,
                secure=url.scheme == "https",
                expires=None,
                discard=True,
                comment=None,
                comment_url=None,
                rest={},
            )
        )
    return httpx.Cookies(jar)
