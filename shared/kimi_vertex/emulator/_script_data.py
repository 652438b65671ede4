"""Scripts as plain data, as YAML and JSON files hold them; every mistake is named with its place.

rules:
  - match: {text: weather, turn: 0}      # or just: match: weather
    answer:
      - thinking: I look.
        tool_calls: [{name: get_weather, arguments: {city: Oslo}}]
      - text: Take boots.
  - match: {text: {regex: "^(hi|hello)"}}
    always: Hello!
  - match: {model: "*k3*"}
    answer: [{fault: 429, retry_after: 1}, Fine now.]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

from kimi_vertex.emulator.matching import Match, Rule, TextMatch
from kimi_vertex.emulator.script import Answer, Call, Fault, FaultKind, Raw, Turn

__all__ = ["read_rules"]

_Made = TypeVar("_Made")

_TEXTS = ("text", "anywhere", "system", "result")
_PLAIN = ("turn", "model", "path")
_TURN = tuple(item.name for item in fields(Turn))
_RULE = ("match", "answer", "always", "times")
_FAULT = ("fault", "after", "seconds", "retry_after", "turn")
_RAW = ("raw", "status", "headers")


def read_rules(data: Any, where: str) -> list[Rule]:
    """The rules of a script: a mapping with `rules`, or the list itself.

    Raises:
        ValueError: The data is something else.
    """
    if isinstance(data, Mapping):
        _only(data, ("rules",), where)
        data, where = data.get("rules"), f"{where}: rules"
    if not isinstance(data, list):
        raise _refusal(where, f"expected a list of rules, got {type(data).__name__}")
    return [_rule(item, f"{where}[{index}]") for index, item in enumerate(data)]


def _rule(data: Any, where: str) -> Rule:
    data = _mapping(data, where)
    _only(data, _RULE, where)
    if "answer" not in data and "always" not in data:
        raise _refusal(where, "a rule needs `answer` or `always`")
    rule = Rule(_match(data.get("match"), f"{where}.match"))
    given = data.get("answer", [])
    answers = given if isinstance(given, list) else [given]
    times = data.get("times", 1)
    if not isinstance(times, int):
        raise _refusal(where, f"`times` must be a whole number, got {times!r}")
    rule.answer(*(_answer(item, f"{where}.answer[{i}]") for i, item in enumerate(answers)), times=times)
    if "always" in data:
        rule.always(_answer(data["always"], f"{where}.always"))
    return rule


def _match(data: Any, where: str) -> Match:
    if data is None:
        return Match()
    if isinstance(data, str):
        return Match(text=data)
    data = _mapping(data, where)
    _only(data, (*_TEXTS, *_PLAIN, "tools", "headers"), where)
    found: dict[str, Any] = {name: data[name] for name in _PLAIN if name in data}
    found |= {name: _text(data[name], f"{where}.{name}") for name in _TEXTS if name in data}
    if "tools" in data:
        tools = data["tools"]
        found["tools"] = [tools] if isinstance(tools, str) else list(tools or ())
    headers = _mapping(data.get("headers") or {}, f"{where}.headers")
    found["headers"] = {str(key): _text(value, f"{where}.headers.{key}") for key, value in headers.items()}
    return Match(**found)


def _text(data: Any, where: str) -> TextMatch:
    if isinstance(data, Mapping):
        _only(data, ("regex",), where)
        try:
            return re.compile(str(data.get("regex")))
        except re.error as error:
            raise ValueError(f"{where}: {data.get('regex')!r} is no regular expression: {error}") from error
    return str(data)


def _answer(data: Any, where: str) -> Answer:
    if isinstance(data, str):
        return Turn(text=data)
    data = _mapping(data, where)
    if "fault" in data:
        _only(data, _FAULT, where)
        more = {name: data[name] for name in ("after", "seconds") if name in data}
        retry_after = None if data.get("retry_after") is None else str(data["retry_after"])
        turn = None if data.get("turn") is None else _turn(data["turn"], f"{where}.turn")
        kind = cast(FaultKind, str(data["fault"]))
        return _placed(where, lambda: Fault(kind, retry_after=retry_after, turn=turn, **more))
    if "raw" in data:
        _only(data, _RAW, where)
        parts = data["raw"] if isinstance(data["raw"], list) else [data["raw"]]
        body = [_part(part) for part in parts]
        return _placed(where, lambda: Raw(body, data.get("status", 200), data.get("headers")))
    return _turn(data, where)


def _part(part: Any) -> Any:
    if isinstance(part, str) and part not in ("reset", "cut", "end"):
        return part.encode()
    return float(part) if isinstance(part, int) else part


def _turn(data: Any, where: str) -> Turn:
    data = _mapping(data, where)
    _only(data, _TURN, where)
    given = enumerate(data.get("tool_calls") or ())
    calls = tuple(_call(item, f"{where}.tool_calls[{index}]") for index, item in given)
    rest = {name: value for name, value in data.items() if name != "tool_calls"}
    return _placed(where, lambda: Turn(tool_calls=calls, **rest))


def _call(data: Any, where: str) -> Call:
    data = _mapping(data, where)
    _only(data, ("name", "arguments", "id"), where)
    if not isinstance(data.get("name"), str):
        raise _refusal(where, "a call needs a `name`")
    return Call(**data)


def _placed(where: str, make: Callable[[], _Made]) -> _Made:
    """Makes a value; a refusal is given its place."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _refusal(where, f"expected a mapping, got {type(data).__name__}")
    return data


def _only(data: Mapping[str, Any], names: Collection[str], where: str) -> None:
    if foreign := sorted(set(map(str, data)) - set(names)):
        raise _refusal(where, f"unknown key {foreign[0]!r}; expected {', '.join(names)}")


def _refusal(where: str, words: str) -> ValueError:
    return ValueError(f"{where}: {words}")
