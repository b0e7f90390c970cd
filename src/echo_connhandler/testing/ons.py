"""ONS's federation with SAGER and SINAPSE behind it, emulated. Never compared with the live services."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal, Unpack
from urllib.parse import quote

from .._core.ons import OnsHttpConnProperties
from .server import Answer, Asked, Emulator, Refused, ServerOptions, only
from .xlsx import write_xlsx

__all__ = ("SAGER_REPORT", "SINAPSE_REPORT", "OnsEmulator")

FEDERATION = "/ons.pop.federation"
COOKIE = "federation"
SAGER_REPORT = "api/sager/renovaveis/api/RelatorioApuracaoUsinasRenovaveis/exportarRelatorio"
SINAPSE_REPORT = "api/solicitacao/pesquisa/exportar"
PROFILE = "/api/perfil"
_PROFILE_VALUE = "Apurador%20Agente%2FAGENTES%2F1%2FAGENTE"
_CLIENTS = {"SAGER": "https://apps18.ons.org.br", "SINAPSE": "https://pops.ons.org.br"}
_REPORT: list[list[Any]] = [
    ["Usina", "Data", "Energia (MWh)", "Apurado"],
    ["Usina A", dt.datetime(2025, 1, 1, 0, 30), 12.5, True],  # noqa: DTZ001 - reports have no zone
    ["Usina A", dt.datetime(2025, 1, 1, 1, 0), 13.25, True],  # noqa: DTZ001
    ["Usina B", dt.datetime(2025, 1, 1, 0, 30), None, False],  # noqa: DTZ001
]


class OnsEmulator(Emulator):
    """The federation and the APIs of SAGER and SINAPSE, on two origins.

    All attributes may be changed at any time; those with a name of an argument begin with its value.

    Attributes:
        redirects: redirects (302) that the federation's page begins with.
        meta_refresh: whether a page that refreshes itself comes after them.
        login_form: whether the federation's page has a form that must be sent before a token is given.
        token_seconds: how long a token lasts.
        tells: where its life is told: "expires_in" of the answer, "exp" of the token, or "nothing", an opaque token.
        token_requests: after so many requests the token has expired; None: it doesn't.
        expired_as: the answer to an expired token: "401", or "login page", which has status 200.
        profile_list: whether the profile comes as the first of a list.
        no_data: whether reports are empty: 200 without a body.
        report: header and rows of the reports.
    """

    origins = ("api", "federation")

    def __init__(
        self,
        *,
        user: str = "user",
        password: str = "password",  # noqa: S107 - the emulator's own
        redirects: int = 2,
        meta_refresh: bool = True,
        login_form: bool = False,
        token_seconds: int = 3600,
        tells: Literal["expires_in", "exp", "nothing"] = "expires_in",
        token_requests: int | None = None,
        expired_as: Literal["401", "login page"] = "401",
        profile_list: bool = False,
        no_data: bool = False,
        report: Sequence[Sequence[Any]] = (),
        **options: Unpack[ServerOptions],
    ) -> None:
        """Make it: see above, and `ServerOptions`."""
        super().__init__(**options)
        self.user, self.password = user, password
        self.redirects, self.meta_refresh, self.login_form = redirects, meta_refresh, login_form
        self.token_seconds, self.tells, self.token_requests = token_seconds, tells, token_requests
        self.expired_as, self.profile_list, self.no_data = expired_as, profile_list, no_data
        self.report = [list(row) for row in report or _REPORT]
        self._visitors: dict[str, bool] = {}  # by cookie: whether the form was sent
        self._tokens: dict[str, tuple[str, float, int]] = {}  # client, end, requests

    def props(self, login_target: Literal["SAGER", "SINAPSE"] = "SAGER", **more: Any) -> OnsHttpConnProperties:
        """Return properties for a handler of this emulator; further ones win."""
        federation = f"{self.urls['federation']}{FEDERATION}"
        known: dict[str, Any] = {
            "host": self.url,
            "user": self.user,
            "password": self.password,
            "federation_url": f"{federation}/?ReturnUrl={quote(_CLIENTS[login_target], safe='')}",
            "token_url": f"{federation}/oauth2/token",
        }
        if login_target == "SINAPSE":
            known["profile_url"] = f"{self.url}{PROFILE}"
        return OnsHttpConnProperties(login_target=login_target, **{**known, **more})

    def end_sessions(self) -> None:
        """Let all tokens expire now."""
        with self._lock:
            self._tokens.clear()

    def reset(self) -> None:
        """Forget what was asked and counted, and all visitors and tokens."""
        super().reset()
        self._visitors.clear()
        self.end_sessions()

    def fault_key(self, asked: Asked) -> str | None:
        """Name a report by what was asked for."""
        report = asked.origin == "api" and asked.path != PROFILE
        return f"{asked.path} {asked.body.decode(errors='replace')}" if report else None

    def answer(self, asked: Asked) -> Answer:
        """Answer as federation, or as API."""
        return self._federation(asked) if asked.origin == "federation" else self._api(asked)

    # The federation

    def _federation(self, asked: Asked) -> Answer:
        step = asked.path.removeprefix(FEDERATION).strip("/")
        if asked.method == "POST" and step == "oauth2/token":
            return self._token(asked)
        if asked.method == "POST" and step == "login":
            return self._form(asked)
        if asked.method != "GET":
            raise Refused("no such method here", Answer.html("405 Method Not Allowed", status=405))
        if step == "":
            if "ReturnUrl" not in asked.query:
                raise Refused("no ReturnUrl", Answer.html("400 Bad Request", status=400))
            cookie = secrets.token_hex(16)
            self._visitors[cookie] = False
            kept = ("Set-Cookie", f"{COOKIE}={cookie}; Path=/; HttpOnly")
            return self._moved(1, kept) if self.redirects else self._welcome(kept)
        if asked.cookies.get(COOKIE) not in self._visitors:
            raise Refused("no cookie of the federation", Answer.html("400 Bad Request", status=400))
        if step.startswith("step/") and step[5:].isdecimal():
            number = int(step[5:])
            return self._moved(number + 1) if number < self.redirects else self._welcome()
        if step == "home":
            done = self._visitors[asked.cookies[COOKIE]]
            return Answer.html("ONS", "<p>Bem-vindo</p>") if done else self._login_page()
        raise Refused("no such page", Answer.html("404 Not Found", status=404))

    def _moved(self, number: int, *headers: tuple[str, str]) -> Answer:
        return Answer(302, headers=(("Location", f"{FEDERATION}/step/{number}"), *headers))

    def _welcome(self, *headers: tuple[str, str]) -> Answer:
        if not self.meta_refresh:
            return self._login_page(*headers)
        refresh = f'<meta http-equiv="refresh" content="0;url={FEDERATION}/home">'
        return Answer.html("Redirecionando", "", 200, *headers, head=refresh)

    def _login_page(self, *headers: tuple[str, str], said: str = "") -> Answer:
        form = (
            f'<form method="post" action="{FEDERATION}/login"><input type="hidden" name="state" value="1">'
            '<input name="username"><input type="password" name="password">'
            '<input type="submit" name="submit.Signin" value="Entrar"></form>'
        )
        return Answer.html("ONS - Login", said + (form if self.login_form else "<p>Bem-vindo</p>"), 200, *headers)

    def _form(self, asked: Asked) -> Answer:
        form, cookie = asked.form, asked.cookies.get(COOKIE, "")
        if cookie not in self._visitors:
            raise Refused("no cookie of the federation", Answer.html("400 Bad Request", status=400))
        wanted = {"state": "1", "submit.Signin": "Entrar", "CountLogin": "0"}
        if {k: v for k, v in form.items() if k not in ("username", "password")} != wanted:
            raise Refused(f"the form has {sorted(form)}", Answer.html("400 Bad Request", status=400))
        if (form.get("username"), form.get("password")) != (self.user, self.password):
            self.logins += 1
            raise Refused("wrong user or password in the form", self._login_page(said="Credenciais inválidas"))
        self._visitors[cookie] = True
        return Answer(302, headers=(("Location", _CLIENTS_HOME),))

    def _token(self, asked: Asked) -> Answer:
        form = asked.form
        if only(form, "grant_type", "client_id", "username", "password") or form.get("grant_type") != "password":
            raise self._invalid("invalid_request", f"fields {sorted(form)}, grant_type {form.get('grant_type')!r}")
        client = form.get("client_id", "")
        if client not in _CLIENTS:
            raise self._invalid("invalid_client", f"client_id {client!r}")
        if asked.headers.get("origin") != _CLIENTS[client]:
            raise Refused(f"Origin {asked.headers.get('origin')!r}", Answer.json({"error": "origin"}, 403))
        if not self._visitors.get(asked.cookies.get(COOKIE, ""), False) and (
            self.login_form or asked.cookies.get(COOKIE) not in self._visitors
        ):
            raise self._invalid("invalid_request", "no cookie of the federation, or its form was not sent")
        self.logins += 1
        if (form.get("username"), form.get("password")) != (self.user, self.password):
            raise self._invalid("invalid_grant", "wrong user or password")
        token = secrets.token_hex(24) if self.tells == "nothing" else self._jwt(client)
        self._tokens[token] = (client, time.time() + self.token_seconds, 0)
        life = {"expires_in": self.token_seconds} if self.tells == "expires_in" else {}
        return Answer.json({"access_token": token, "token_type": "bearer", **life})

    def _invalid(self, error: str, reason: str) -> Refused:
        return Refused(f"{error}: {reason}", Answer.json({"error": error}, 400))

    def _jwt(self, client: str) -> str:
        now = int(time.time())
        claims = {"sub": self.user, "aud": client, "iat": now, "exp": now + self.token_seconds}
        claims["jti"] = secrets.token_hex(8)
        signed = f"{_packed({'alg': 'HS256', 'typ': 'JWT'})}.{_packed(claims)}"
        seal = hmac.digest(b"a key of the emulator", signed.encode(), hashlib.sha256)
        return f"{signed}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"

    # The APIs

    def _api(self, asked: Asked) -> Answer:
        client = self._client_of(asked)
        if asked.path == PROFILE and asked.method == "GET" and client == "SINAPSE":
            profile = {"perfilSelecionado": _PROFILE_VALUE}
            return Answer.json([profile] if self.profile_list else profile)
        if client == "SINAPSE" and asked.headers.get("perfil-selecionado") != _PROFILE_VALUE:
            raise Refused("no Perfil-Selecionado", Answer.json({"message": "Perfil não selecionado"}, 403))
        reports = {
            f"/{SAGER_REPORT}": "SAGER",
            f"/{SINAPSE_REPORT}": "SINAPSE",
            f"/{SINAPSE_REPORT}-analitico": "SINAPSE",
        }
        if reports.get(asked.path) != client:
            raise Refused(f"{client} has no such path", Answer.json({"message": "Not Found"}, 404))
        if asked.method != "POST" or not isinstance(asked.json, dict):
            raise Refused(
                "a report is asked for by POST of a JSON object", Answer.json({"message": "Bad Request"}, 400)
            )
        if self.no_data:
            return Answer()
        if client == "SAGER":
            return Answer(200, write_xlsx(self.report), "application/vnd.ms-excel")
        return Answer(200, _csv(self.report).encode("latin-1"), "text/csv")

    def _client_of(self, asked: Asked) -> str:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        client, ends, used = self._tokens.get(token, ("", 0.0, 0))
        expired = time.time() >= ends or (self.token_requests is not None and used >= self.token_requests)
        if expired:
            self._tokens.pop(token, None)
            page = self._login_page() if self.login_form else self._welcome_back()
            raise Refused("no token that is good", Answer(401) if self.expired_as == "401" else page)
        self._tokens[token] = (client, ends, used + 1)
        return client

    def _welcome_back(self) -> Answer:
        to = f"{self.urls['federation']}{FEDERATION}/?ReturnUrl=x"
        return Answer.html("Redirecionando", head=f'<meta http-equiv="refresh" content="0;url={to}">')


_CLIENTS_HOME = f"{FEDERATION}/home"


def _packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    return "".join(";".join(map(_field, row)) + "\r\n" for row in rows)


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.strftime("%d/%m/%Y %H:%M")
    if isinstance(value, bool):
        return "Sim" if value else "Não"
    return str(value).replace(".", ",") if isinstance(value, float) else str(value)
