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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar, cast

from kimi_vertex_emulator.matching import Match, Rule, TextMatch
from kimi_vertex_emulator.script import Answer, Call, Fault, FaultKind, Raw, Turn

__all__ = ["MisplacedError", "read_rules"]

_Made = TypeVar("_Made")

_TEXTS = ("text", "anywhere", "system", "result")
_MATCH = (*_TEXTS, "turn", "model", "path", "tools", "headers")
_TURN = tuple(item.name for item in fields(Turn))
_RULE = ("match", "answer", "always", "times")
_FAULT = ("fault", "after", "seconds", "retry_after", "turn")
_RAW = ("raw", "status", "headers")


class MisplacedError(ValueError):
    """Something in a script that must not be there.

    Args:
        place: Where it is, such as `rules[1].match.turn`; empty for the whole.
        words: What is wrong with it.
        key: The key of the place that is meant, if it is a key.
    """

    def __init__(self, place: str, words: str, key: str | None = None) -> None:
        super().__init__(f"{place}: {words}" if place else words)
        self.place = place if key is None else _below(place, key)


def read_rules(data: Any) -> list[Rule]:
    """The rules of a script: a mapping with `rules`, or the list itself.

    Raises:
        MisplacedError: The data is something else.
    """
    place = ""
    if isinstance(data, Mapping):
        _only(data, ("rules",), "")
        data, place = data.get("rules"), "rules"
    if not isinstance(data, list):
        raise MisplacedError(place, f"expected a list of rules, got {_kind(data)}")
    return [_rule(item, f"{place}[{index}]") for index, item in enumerate(data)]


def _rule(data: Any, place: str) -> Rule:
    data = _mapping(data, place)
    _only(data, _RULE, place)
    if "answer" not in data and "always" not in data:
        raise MisplacedError(place, "a rule needs `answer` or `always`")
    rule = Rule(_match(data.get("match"), f"{place}.match"))
    if "answer" in data:
        answers = [_answer(item, at) for item, at in _one_or_more(data["answer"], f"{place}.answer")]
        if not answers:
            raise MisplacedError(f"{place}.answer", "the list is empty; leave it out or give an answer")
        times = data.get("times", 1)
        rule.answer(*answers, times=_whole(times, f"{place}.times", least=1))
    elif "times" in data:
        raise MisplacedError(place, "`times` says how often `answer` is given, which is not there", "times")
    if "always" in data:
        rule.always(_answer(data["always"], f"{place}.always"))
    return rule


def _match(data: Any, place: str) -> Match:
    if data is None:
        return Match()
    if not isinstance(data, Mapping | list):
        return Match(text=_word(data, place))
    data = _mapping(data, place)
    _only(data, _MATCH, place)
    found: dict[str, Any] = {name: _text(data[name], f"{place}.{name}") for name in _TEXTS if name in data}
    found |= {name: _word(data[name], f"{place}.{name}") for name in ("model", "path") if name in data}
    if "turn" in data:
        found["turn"] = _whole(data["turn"], f"{place}.turn")
    if "tools" in data:
        found["tools"] = [_word(name, at) for name, at in _one_or_more(data["tools"], f"{place}.tools")]
    headers = _mapping(data.get("headers", {}), f"{place}.headers")
    found["headers"] = {str(key): _text(value, f"{place}.headers.{key}") for key, value in headers.items()}
    return Match(**found)


def _text(data: Any, place: str) -> TextMatch:
    if not isinstance(data, Mapping):
        return _word(data, place)
    _only(data, ("regex",), place)
    pattern = _word(data.get("regex"), f"{place}.regex")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise MisplacedError(f"{place}.regex", f"{pattern!r} is no regular expression: {error}") from error


def _answer(data: Any, place: str) -> Answer:
    if not isinstance(data, Mapping | list | None):
        return Turn(text=_word(data, place))
    data = _mapping(data, place)
    if "fault" in data:
        return _fault(data, place)
    return _raw(data, place) if "raw" in data else _turn(data, place)


def _fault(data: Mapping[str, Any], place: str) -> Fault:
    _only(data, _FAULT, place)
    kind = cast(FaultKind, str(data["fault"]))
    found: dict[str, Any] = {}
    if "after" in data:
        found["after"] = _whole(data["after"], f"{place}.after")
    if "seconds" in data:
        found["seconds"] = _number(data["seconds"], f"{place}.seconds")
    if data.get("retry_after") is not None:
        found["retry_after"] = _word(data["retry_after"], f"{place}.retry_after")
    if data.get("turn") is not None:
        found["turn"] = _turn(data["turn"], f"{place}.turn")
    return _placed(place, lambda: Fault(kind, **found))


def _raw(data: Mapping[str, Any], place: str) -> Raw:
    _only(data, _RAW, place)
    parts = [_part(part, at) for part, at in _one_or_more(data["raw"], f"{place}.raw")]
    given = data.get("status", 200)
    status = None if given is None else _whole(given, f"{place}.status", least=100)
    headers = _mapping(data.get("headers", {}), f"{place}.headers")
    sent = {str(name): _word(value, f"{place}.headers.{name}") for name, value in headers.items()}
    return _placed(place, lambda: Raw(parts, status, sent or None))


def _part(part: Any, place: str) -> Any:
    if isinstance(part, str):
        return part if part in {"reset", "cut", "end"} else part.encode()
    return _number(part, place)


def _turn(data: Any, place: str) -> Turn:
    data = _mapping(data, place)
    _only(data, _TURN, place)
    found: dict[str, Any] = {}
    for name, value in data.items():
        if value is not None:
            read: Callable[[Any, str], Any] = _READ.get(name, _word)
            found[name] = read(value, f"{place}.{name}")
    return _placed(place, lambda: Turn(**found))


def _pieces(data: Any, place: str) -> str | list[str]:
    if isinstance(data, list):
        return [_word(piece, f"{place}[{index}]") for index, piece in enumerate(data)]
    return _word(data, place)


def _calls(data: Any, place: str) -> tuple[Call, ...]:
    if not isinstance(data, list):
        raise MisplacedError(place, f"expected a list of calls, got {_kind(data)}")
    return tuple(_call(item, f"{place}[{index}]") for index, item in enumerate(data))


def _call(data: Any, place: str) -> Call:
    data = _mapping(data, place)
    _only(data, ("name", "arguments", "id"), place)
    if not isinstance(data.get("name"), str):
        raise MisplacedError(place, "a call needs a `name`")
    arguments = data.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = _mapping(arguments, f"{place}.arguments")
    call_id = data.get("id")
    return Call(data["name"], arguments, None if call_id is None else _word(call_id, f"{place}.id"))


def _one_or_more(data: Any, place: str) -> Sequence[tuple[Any, str]]:
    """The elements of a list, or the one value that is no list, each with its place."""
    if isinstance(data, list):
        return [(item, f"{place}[{index}]") for index, item in enumerate(data)]
    return [(data, place)]


def _word(data: Any, place: str) -> str:
    """A text; a number is taken as it is written, but `yes` and `no` are none in YAML."""
    if isinstance(data, bool) or not isinstance(data, str | int | float):
        raise MisplacedError(place, f"expected a text, got {_kind(data)}")
    return str(data)


def _whole(data: Any, place: str, least: int = 0) -> int:
    if isinstance(data, bool) or not isinstance(data, int) or data < least:
        raise MisplacedError(place, f"expected a whole number from {least}, got {data!r}")
    return data


def _number(data: Any, place: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or data < 0:
        raise MisplacedError(place, f"expected seconds, got {data!r}")
    return float(data)


def _placed(place: str, make: Callable[[], _Made]) -> _Made:
    """Makes a value; a refusal is given its place."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise MisplacedError(place, str(error)) from error


def _mapping(data: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise MisplacedError(place, f"expected a mapping, got {_kind(data)}")
    return data


def _only(data: Mapping[str, Any], names: Collection[str], place: str) -> None:
    if foreign := [str(key) for key in data if key not in names]:
        raise MisplacedError(place, f"unknown key {foreign[0]!r}; expected {', '.join(names)}", foreign[0])


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _kind(data: Any) -> str:
    if data is None:
        return "nothing"
    if isinstance(data, bool):
        return f"{str(data).lower()}, which has to be quoted if it is a text"
    names = ((Mapping, "a mapping"), (list, "a list"), (str, "a text"), (int | float, f"the number {data}"))
    return next((name for kind, name in names if isinstance(data, kind)), type(data).__name__)


_READ: Final[dict[str, Callable[[Any, str], Any]]] = {
    "thinking": _pieces,
    "text": _pieces,
    "tool_calls": _calls,
    "usage": _mapping,
    "pause": _number,
}
