"""What a request says about tools: it is written and its answer is read by this."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ._json import load_json

__all__ = ["NUMBERED", "DeclaredTools", "History", "missing_arguments", "tool_name"]

NUMBERED: Final = re.compile(r"^(?:functions\.)?(?P<name>.*?)[:.](?P<number>\d+)$", re.DOTALL)
# K2.6 on one host: functions_get_weather_0.
_UNDERSCORED: Final = re.compile(r"^functions_(?P<name>.+)_\d+$", re.DOTALL)
_FOREIGN: Final = re.compile(r"^(?:functions\.)?(?:\d+$|call_|call\d|chatcmpl-|toolu_)")
_A_NAME: Final = re.compile(r"[A-Za-z_][\w.\-]*(?::\d+)?")


@dataclass(frozen=True, slots=True)
class History:
    """The ids and numbers that earlier turns of the conversation have used up."""

    ids: frozenset[str] = frozenset()
    """The ids of all earlier calls, as the caller knows them."""
    calls: int = 0
    """How many calls there were; Kimi counts on from here."""
    prefix: str = "functions."
    """What stands before `NAME:NUMBER` in the ids that the model gives."""


@dataclass(frozen=True, slots=True)
class DeclaredTools:
    """The tools of the request: names, and the parameters' JSON schemas."""

    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, tools: Sequence[Mapping[str, Any]] | None) -> DeclaredTools:
        """Read the tools in OpenAI's form."""
        schemas: dict[str, Mapping[str, Any]] = {}
        for tool in tools or ():
            name = tool_name(tool)
            if name is not None:
                parameters = tool["function"].get("parameters")
                schemas[name] = parameters if isinstance(parameters, Mapping) else {}
        return cls(schemas)

    @property
    def names(self) -> frozenset[str]:
        """The tools' names."""
        return frozenset(self.schemas)

    def resolve(self, written: str, arguments: str) -> str | None:
        """Which tool a leaked call means.

        Args:
            written: The text in the id's place: `functions.NAME:N`, `NAME:N`, `NAMESPACE.NAME:N`, `NAME`, or an
                id that the model copied from elsewhere.
            arguments: The call's arguments. They decide when the id does not name a tool at all.

        Returns:
            The name, or `None` if it is not certain.
        """
        match = NUMBERED.match(written)
        short = (match["name"] if match else written).removeprefix("functions.")
        underscored = _UNDERSCORED.match(written)
        for name in (written, short, short.rpartition(".")[2], underscored["name"] if underscored else ""):
            if name in self.schemas:
                return name
        if not self.schemas:
            return short or None
        if written and _A_NAME.fullmatch(written) and not _FOREIGN.match(written):
            return None
        return self._by_arguments(arguments)

    def named_by(self, identity: str) -> str | None:
        """The declared tool that a native id names, in full; `None` for other ids, and names that are not declared."""
        match = NUMBERED.match(identity)
        return match["name"] if match and match["name"] in self.schemas else None

    def is_native(self, identity: str) -> bool:
        """Whether an id is one that the model wrote, so that equal ids are one call."""
        native = identity.startswith("functions.") and NUMBERED.match(identity) is not None
        return native or self.named_by(identity) is not None

    def required(self, name: str) -> list[str]:
        """The arguments that a tool cannot do without."""
        return missing_arguments(self.schemas.get(name, {}), {})

    def breaks_off(self, name: str) -> bool:
        """Whether a name that is not declared is the beginning of one that is."""
        return bool(name) and any(
            declared.startswith(name) or f"functions.{declared}".startswith(name) for declared in self.schemas
        )

    def _by_arguments(self, arguments: str) -> str | None:
        try:
            given = load_json(arguments, strict=False)
        except ValueError:
            return None
        return self.fitting(given) if isinstance(given, dict) else None

    def fitting(self, arguments: Mapping[str, Any]) -> str | None:
        """The one tool that takes these arguments, by their names; `None` if none does, or several do."""
        fitting = [
            name
            for name, schema in self.schemas.items()
            if not missing_arguments(schema, arguments) and set(arguments) <= _words(schema.get("properties"))
        ]
        return fitting[0] if len(fitting) == 1 else None


def tool_name(tool: object) -> str | None:
    """The name of a tool in OpenAI's form; `None` for anything else, such as a server's own tool."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def missing_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """The arguments that a tool's schema requires and a call lacks."""
    return sorted(_words(schema.get("required")) - set(arguments))


def _words(value: Any) -> set[str]:
    return {word for word in value if isinstance(word, str)} if isinstance(value, list | Mapping) else set()
