"""What all connection properties are: frozen, validated, silent about secrets, and read from where users keep them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from .redaction import MASK, SAFE_HEADERS

__all__ = ("ConnProperties", "check_number_of_seconds", "check_seconds", "secret", "secret_mapping")

PROFILES_VARIABLE = "ECHO_CONNHANDLER_PROFILES"
PROFILES_FILE = "echo-connhandler.toml"


def secret(default: Any = None) -> Any:
    """Return the field of a property that is a secret."""
    return field(default=default, repr=False, metadata={"secret": True})


def secret_mapping() -> Any:
    """Return the field of a mapping whose values may be secrets."""
    return field(default_factory=dict, repr=False, metadata={"secret": True})


@dataclass(frozen=True, kw_only=True, repr=False)
class ConnProperties:
    """Base of all connection properties: what is needed to connect, and nothing that changes.

    Instances are frozen and validated when made. They show no secret in `repr`, but a pickle of them holds the
    secrets, as whoever unpickles it must be able to connect.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Mapping):
                object.__setattr__(self, spec.name, dict(value))
        self._validate()

    def _validate(self) -> None:
        """Raise ValueError or TypeError that says which property is wrong and what it may be."""

    def __repr__(self) -> str:
        shown = []
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value == _default(spec):
                continue
            shown.append(f"{spec.name}={_shown(value, secret='secret' in spec.metadata)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def secrets(self) -> list[str]:
        """Return every secret text in here, for masking it in whatever is shown."""
        found: list[str] = []
        for spec in dataclasses.fields(self):
            if "secret" in spec.metadata:
                found.extend(_texts(getattr(self, spec.name)))
        return found

    def replace(self, **changes: Any) -> Self:
        """Return properties like these with some changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_url(cls, url: str, **more: Any) -> Self:
        """Make properties from a URL; its query may hold further properties by name (`?conn_timeout=5`).

        Args:
            url: for example `https://user:password@api.example.com/v1` or `sqlite:///prices.db`. Characters with a
                meaning in URLs are percent-encoded in user and password.
            more: properties by name; they win over those in the URL.

        Raises:
            ValueError: the scheme is none of this class's, or a property is unknown or wrong.
        """
        scheme, separator, _ = url.partition("://")
        if not separator or scheme.lower() not in cls.url_schemes:
            known = ", ".join(f"{s}://" for s in cls.url_schemes)
            raise ValueError(
                f"{cls.__name__}: the URL's scheme is {scheme if separator else 'missing'!r}, must be {known}"
            )
        return cls._from_texts({**cls._url_values(url), **_query_values(url)}, "the URL", more)

    @classmethod
    def _url_values(cls, url: str) -> dict[str, str]:
        raise TypeError(f"{cls.__name__} can't be made from a URL")

    @classmethod
    def from_env(cls, prefix: str = "ECHO_", *, environ: Mapping[str, str] | None = None, **more: Any) -> Self:
        """Make properties from environment variables: `prefix` and the property's name in capitals (`ECHO_HOST`).

        Args:
            prefix: what the variables begin with.
            environ: where to look; `os.environ` if None. Mappings (`ECHO_HEADERS`) are JSON objects.
            more: properties by name; they win over the environment.

        Raises:
            ValueError: a value can't be read as its property's type, or a required property is missing.
        """
        environ = os.environ if environ is None else environ
        names = [spec.name for spec in dataclasses.fields(cls)]
        values = {name: environ[prefix + name.upper()] for name in names if prefix + name.upper() in environ}
        return cls._from_texts(values, f"the environment variables {prefix}*", more)

    @classmethod
    def from_profile(cls, name: str, path: str | os.PathLike[str] | None = None, **more: Any) -> Self:
        """Make properties from a named table of a TOML file.

        The file is `path`; or the one that the variable ECHO_CONNHANDLER_PROFILES names; or `echo-connhandler.toml`
        in the current folder; or `~/.config/echo-connhandler/profiles.toml`. A key `<property>_env` gives the name of
        an environment variable to take the property from, so that no secret needs to be in the file.

        Raises:
            ValueError: there is no such file or profile, or a property is unknown or wrong.
        """
        file = _profiles_file(path)
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        if not isinstance(tables.get(name), dict):
            known = ", ".join(sorted(k for k, v in tables.items() if isinstance(v, dict))) or "none"
            raise ValueError(f"no profile [{name}] in {file}; it has: {known}")
        values: dict[str, Any] = {}
        for key, value in tables[name].items():
            if key.endswith("_env") and isinstance(value, str):
                if value not in os.environ:
                    raise ValueError(f"profile [{name}] in {file}: {key} names the variable {value}, which is not set")
                key, value = key.removesuffix("_env"), os.environ[value]
            values[key] = value
        return cls._from_texts(values, f"profile [{name}] in {file}", more)

    @classmethod
    def _from_texts(cls, values: Mapping[str, Any], source: str, more: Mapping[str, Any]) -> Self:
        hints = typing.get_type_hints(cls)
        specs = {spec.name: spec for spec in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(specs))
        if unknown:
            raise ValueError(f"{cls.__name__}: {source} has unknown properties {unknown}; known are {sorted(specs)}")
        parsed = {k: _parse(k, v, hints[k], source) for k, v in values.items()} | dict(more)
        missing = [n for n, s in specs.items() if n not in parsed and _default(s) is dataclasses.MISSING]
        if missing:
            raise ValueError(f"{cls.__name__}: {source} lacks {missing}")
        return cls(**parsed)


def _default(spec: dataclasses.Field[Any]) -> Any:
    if spec.default_factory is not dataclasses.MISSING:
        return spec.default_factory()
    return spec.default


def _shown(value: Any, *, secret: bool) -> str:
    if isinstance(value, dict):
        inside = ", ".join(
            f"{k!r}: {_shown(v, secret=secret and k.lower() not in SAFE_HEADERS)}" for k, v in value.items()
        )
        return f"{{{inside}}}"
    return repr(MASK) if secret else repr(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [t for k, v in value.items() if str(k).lower() not in SAFE_HEADERS for t in _texts(v)]
    if isinstance(value, list | tuple):
        return [t for v in value for t in _texts(v)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def _query_values(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=False))


def _profiles_file(path: str | os.PathLike[str] | None) -> Path:
    chosen = path or os.environ.get(PROFILES_VARIABLE)
    places = [Path(chosen)] if chosen else [Path(PROFILES_FILE), Path.home() / ".config/echo-connhandler/profiles.toml"]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(f"no profiles file: looked for {', '.join(map(str, places))}")


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _parse(name: str, value: Any, hint: Any, source: str) -> Any:
    """Read a text as the property's type; what isn't a text is taken as it is."""
    if not isinstance(value, str):
        return value
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if bool in options and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    for kind in (int, float):
        if kind in options:
            try:
                return kind(value)
            except ValueError:
                continue
    if str in options or typing.get_origin(hint) is Literal:
        return value
    if any(typing.get_origin(option) is Mapping for option in options):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    names = [getattr(option, "__name__", str(option)) for option in options if option is not type(None)]
    raise ValueError(f"{name} in {source} can't be read as {' or '.join(names)}")


def check_seconds(owner: ConnProperties, *names: str) -> None:
    """Raise ValueError unless the properties of these names are numbers of seconds, or None."""
    for name in names:
        check_number_of_seconds(name, getattr(owner, name))


def check_number_of_seconds(name: str, value: Any) -> None:
    """Raise ValueError unless the value of that name is a number of seconds, or None."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    if value is not None and not number:
        raise ValueError(f"{name} must be a positive number of seconds, got {value!r}")
