"""What a server says that it can do: its reply to FEAT (RFC 2389)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .replies import Reply

__all__ = ("Features",)

_WANTED_FACTS = ("type", "size", "modify", "unique")


@dataclass(frozen=True, slots=True)
class Features:
    """The server's extensions.

    Attributes:
        commands: what FEAT lists, in capitals, each with what follows it.
    """

    commands: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reply: Reply) -> Features:
        """Read the reply to FEAT; one that refuses the command has none."""
        if reply.code != 211:
            return cls()
        commands: dict[str, str] = {}
        for line in reply.inner:
            name, _, rest = line.strip().partition(" ")
            name, rest = name.upper(), rest.strip()
            if name:  # AUTH and the like may have a line for each thing they can do
                commands[name] = f"{commands[name]};{rest}" if commands.get(name) else rest
        return cls(commands)

    def has(self, command: str) -> bool:
        """Tell whether a command is listed; not being listed need not mean that it's unknown."""
        return command in self.commands

    @property
    def mlst(self) -> bool:
        """Whether there are MLST and MLSD."""
        return self.has("MLST")

    @property
    def utf8(self) -> bool:
        """Whether names are in UTF-8, at least when asked for."""
        return self.has("UTF8")

    @property
    def rest_stream(self) -> bool:
        """Whether transfers can begin in the midst of a file, as far as is said."""
        return "STREAM" in self.commands.get("REST", "").upper()

    @property
    def facts_to_ask_for(self) -> tuple[str, ...]:
        """The facts to be switched on by `OPTS MLST`; empty where those that matter are on."""
        facts = [fact.strip().lower() for fact in self.commands.get("MLST", "").split(";") if fact.strip()]
        known = {fact.rstrip("*") for fact in facts}
        wanted = tuple(fact for fact in _WANTED_FACTS if fact in known)
        return () if all(f"{fact}*" in facts for fact in wanted) else wanted
