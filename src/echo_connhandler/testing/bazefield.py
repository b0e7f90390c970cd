"""Bazefield's API (ServiceStack), emulated. Never compared with a live one."""

from __future__ import annotations

import base64
import datetime as dt
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from .._core.http_properties import HttpConnProperties
from .._core.servicestack import moment
from .server import Answer, Asked, Emulator, Refused, ServerOptions, only

__all__ = ("BazeEmulator",)

API = "/BazeField.Services/api/"
COOKIE = "ss-id"
_MEASUREMENT = re.compile(r"measurements/([^/]+)/from/([^/]+)/to/([^/]+)")
_MINUTES = {"10m": 10, "15m": 15, "1h": 60, "1d": 1440}


class BazeEmulator(Emulator):
    """A site with objects and points, whose values follow from their names and times.

    It takes the API key as bearer token, or as user name of HTTP's basic authentication with an empty password, and the
    cookie that user and password bring.

    All attributes may be changed at any time; those with a name of an argument begin with its value.

    Attributes:
        session_requests: after so many requests the cookie's session has ended; None: it doesn't.
        errors_with_200: whether errors, that of an ended session too, have status 200.
        empty_401: whether a 401 has an empty body.
        string_values: whether values are text.
        iso_times: whether times are ISO text instead of milliseconds since the epoch.
        nulls: whether every fourth value is null, with quality 0.
        objects: the points of each object, by its id.
    """

    def __init__(
        self,
        *,
        api_key: str = "an-api-key",
        user: str = "user",
        password: str = "password",  # noqa: S107 - the emulator's own
        session_requests: int | None = None,
        errors_with_200: bool = False,
        empty_401: bool = True,
        string_values: bool = False,
        iso_times: bool = False,
        nulls: bool = True,
        objects: Mapping[str, Sequence[str]] | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        """Make it: see above, and `ServerOptions`."""
        super().__init__(**options)
        self.api_key, self.user, self.password = api_key, user, password
        self.session_requests, self.errors_with_200, self.empty_401 = session_requests, errors_with_200, empty_401
        self.string_values, self.iso_times, self.nulls = string_values, iso_times, nulls
        self.objects = dict(objects or {"T1": ["ActivePower", "WindSpeed"], "T2": ["ActivePower", "WindSpeed"]})
        self._sessions: dict[str, int] = {}

    def props(self, **more: Any) -> HttpConnProperties:
        """Return properties for a handler of this emulator: with its API key, unless others are given."""
        credentials = {} if more.keys() & {"api_key", "user", "password"} else {"api_key": self.api_key}
        return HttpConnProperties(host=self.url, **{**credentials, **more})

    def end_sessions(self) -> None:
        """Let all sessions of cookies end now."""
        with self._lock:
            self._sessions.clear()

    def reset(self) -> None:
        """Forget what was asked and counted, and all sessions."""
        super().reset()
        self.end_sessions()

    def fault_key(self, asked: Asked) -> str | None:
        """Name a data request by all that it asks for."""
        return f"{asked.path} {asked.query} {asked.body.decode(errors='replace')}" if API in asked.path else None

    def answer(self, asked: Asked) -> Answer:
        """Answer as ServiceStack: first who asks, then what for."""
        if asked.path == "/auth/credentials":
            return self._log_in(asked)
        if not asked.path.startswith(API):
            raise self._error(404, "NotFound", f"no such path: {asked.path}")
        if not self._allowed(asked):
            raise self._unauthorized()
        if "application/json" not in asked.headers.get("accept", "") and "/json/" not in asked.path:
            return Answer.html("Snapshot", "<p>A preview in HTML: ask for JSON.</p>")
        return Answer.json(self._found(asked, asked.path.removeprefix(API)))

    def _log_in(self, asked: Asked) -> Answer:
        if asked.method != "POST":
            raise self._error(405, "MethodNotAllowed", "POST only")
        sent = _lowered(asked.json if asked.json is not None else asked.form)
        if unknown := only(sent, "username", "password", "rememberme"):
            raise self._error(400, "ArgumentException", f"unknown fields {unknown}")
        self.logins += 1
        if (sent.get("username"), sent.get("password")) != (self.user, self.password):
            raise self._unauthorized("Invalid UserName or Password")
        session = secrets.token_hex(12)
        self._sessions[session] = 0
        cookie = ("Set-Cookie", f"{COOKIE}={session}; Path=/; HttpOnly")
        return Answer.json({"userName": self.user, "responseStatus": {}}, 200, cookie)

    def _allowed(self, asked: Asked) -> bool:
        given = asked.headers.get("authorization", "")
        basic = base64.b64encode(f"{self.api_key}:".encode()).decode()
        if given:
            return given in (f"Bearer {self.api_key}", f"Basic {basic}")
        session = asked.cookies.get(COOKIE, "")
        if session not in self._sessions:
            return False
        self._sessions[session] += 1
        if self.session_requests is not None and self._sessions[session] > self.session_requests:
            del self._sessions[session]
            return False
        return True

    def _unauthorized(self, message: str = "Not Authenticated") -> Refused:
        if self.empty_401 and not self.errors_with_200:
            return Refused(message, Answer(401))
        return self._error(401, "Unauthorized" if "Invalid" in message else "NotAuthenticated", message)

    def _error(self, status: int, code: str, message: str) -> Refused:
        body = {"responseStatus": {"errorCode": code, "message": message, "errors": []}}
        return Refused(f"{code}: {message}", Answer.json(body, 200 if self.errors_with_200 else status))

    def _found(self, asked: Asked, path: str) -> Any:
        if measured := _MEASUREMENT.fullmatch(path):
            tag, since, until = measured.groups()
            return {"measurements": {tag: [{"timeSeries": self._values(tag, since, until, 10)}]}}
        if path.startswith("turbines/"):
            return [{"id": name, "site": path.partition("/")[2]} for name in self.objects]
        known: dict[str, Callable[[Asked], Any]] = {
            "allocationTypes": lambda _: [{"id": 1, "name": "Wind"}, {"id": 2, "name": "Grid"}],
            "objects/structure": lambda _: [{"id": name, "type": 102, "children": []} for name in self.objects],
            "objects/getschemas": lambda _: [{"id": 102, "name": "Turbine"}],
            "objects/timeseries/aggregated": self._of_objects,
            "measurements/timeseries": self._of_tags,
            "measurements/timeseries/aggregated": self._of_tags,
            "json/reply/GetDomainPointTimeSeriesAggregated": self._of_objects,
        }
        if path not in known:
            raise self._error(404, "NotFound", f"no such path: {asked.path}")
        if asked.method not in ("GET", "POST"):
            raise self._error(405, "MethodNotAllowed", f"{asked.method} is not known here")
        return known[path](asked)

    def _asked_for(self, asked: Asked, *names: str) -> dict[str, Any]:
        sent = _lowered({**asked.query, **(asked.json or {})})
        if unknown := only(sent, *names):
            raise self._error(400, "ArgumentException", f"unknown {unknown}; known are {list(names)}")
        missing = [name for name in (names[0], "from", "to") if not sent.get(name)]
        if missing:
            raise self._error(400, "ArgumentNullException", f"missing: {missing}")
        if sent.get("interval", "10m") not in _MINUTES:
            raise self._error(400, "ArgumentException", f"interval must be one of {list(_MINUTES)}")
        return sent

    def _of_objects(self, asked: Asked) -> Any:
        sent = self._asked_for(asked, "objectids", "points", "aggregates", "from", "to", "interval")
        found: dict[str, Any] = {}
        for name in _listed(sent["objectids"]):
            if name not in self.objects:
                raise self._error(404, "ObjectNotFoundException", f"no object {name}")
            points = _listed(sent.get("points") or self.objects[name])
            if unknown := sorted(set(points) - set(self.objects[name])):
                raise self._error(404, "PointNotFoundException", f"object {name} has no points {unknown}")
            found[name] = {"points": {point: [self._one(f"{name}/{point}", sent)] for point in points}}
        return {"objects": found}

    def _of_tags(self, asked: Asked) -> Any:
        sent = self._asked_for(asked, "tags", "aggregates", "from", "to", "interval")
        return {"measurements": {tag: [self._one(tag, sent)] for tag in _listed(sent["tags"])}}

    def _one(self, name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        minutes = _MINUTES[sent.get("interval", "10m")]
        return {"aggregate": "AVERAGE", "timeSeries": self._values(name, sent["from"], sent["to"], minutes)}

    def _values(self, name: str, since: str, until: str, minutes: int) -> list[dict[str, Any]]:
        try:
            start, stop = moment(since), moment(until)
        except ValueError as error:
            raise self._error(400, "FormatException", str(error)) from error
        if start is None or stop is None or (stop - start) / dt.timedelta(minutes=minutes) > 10_000:
            raise self._error(400, "ArgumentException", "too many values")
        step = dt.timedelta(minutes=minutes)
        times = [start + n * step for n in range(max(0, -(-(stop - start) // step)))]
        return [self._point(sum(name.encode()) % 50, number, time) for number, time in enumerate(times)]

    def _point(self, level: int, number: int, time: dt.datetime) -> dict[str, Any]:
        missing = self.nulls and number % 4 == 3
        value: Any = None if missing else level + (number % 8) / 8
        local = time - dt.timedelta(hours=3)  # as in most of Brazil
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ") if self.iso_times else int(time.timestamp() * 1000)
        return {
            "t": stamp,
            "t_local": local.strftime("%Y-%m-%dT%H:%M:%S"),
            "v": str(value) if self.string_values and value is not None else value,
            "q": 0 if missing else 192,
        }


def _lowered(value: Any) -> dict[str, Any]:
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[str]:
    return [str(v) for v in (value if isinstance(value, Sequence) and not isinstance(value, str) else value.split(","))]
