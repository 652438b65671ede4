"""Kimi K3 on the wire: its markup, and what its servers refuse.

Sources: https://github.com/MoonshotAI/Kimi-Vendor-Verifier (August 2026), and the renderers of vLLM 0.33 and SGLang 0.5.23.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kimi_vertex_emulator._chat import mapping
from kimi_vertex_emulator._requests import parsed

__all__ = ["is_k3", "k3_breaches", "k3_turn"]

_MODEL: Final = re.compile(r"(?<![a-z0-9])kimi-?k3", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,255}")
_FIXED: Final = {"top_p": 0.95, "n": 1, "presence_penalty": 0, "frequency_penalty": 0}
_COOLER: Final = 0.6
"""The temperature without thinking."""
_EFFORTS: Final = ("low", "high", "max")
_WORDS: Final = {
    "tool_choice": ("auto", "none", "required"),
    "response_format.type": ("text", "json_object", "json_schema"),
    "reasoning_effort": _EFFORTS,
    "thinking.type": ("enabled", "disabled"),
    "thinking.effort": _EFFORTS,
}
_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"), (int, "number"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip


def is_k3(model: object) -> bool:
    """Whether a model's name is that of a Kimi K3."""
    return bool(_MODEL.search(str(model or "")))


def k3_turn(thinking: str | None, text: str, calls: Iterable[tuple[str, str]]) -> str:
    """A turn as the model writes it, behind a prompt that has opened the thinking, or, without it, the response.

    `calls` are names and arguments; arguments that are not an object are the rest of a turn that was cut.
    """
    begin = "" if thinking is None else f"{thinking}{_end('think')}{_begin('response')}"
    written = f"{begin}{text}{_end('response')}"
    listed = list(calls)
    if not listed:
        return written + _end("message")
    written += _begin("tools")
    for index, (name, arguments) in enumerate(listed, 1):
        written += _begin("call", tool=name, index=str(index))
        members = parsed(arguments or "{}")
        if not isinstance(members, dict):
            return written + _begin("argument", key="arguments", type="string") + arguments
        written += "".join(_argument(key, value) for key, value in members.items()) + _end("call")
    return written + _end("tools") + _end("message")


def _begin(name: str, **attributes: str) -> str:
    written = "".join(
        ' {}="{}"'.format(key, value.replace("&", "&amp;").replace('"', "&quot;"))
        for key, value in attributes.items()
    )
    return f"<|open|>{name}{written}<|sep|>"


def _end(name: str) -> str:
    return f"<|close|>{name}<|sep|>"


def _argument(key: str, value: Any) -> str:
    kind = next((name for type_, name in _TYPES if isinstance(value, type_)), "null")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _begin("argument", key=key, type=kind) + text + _end("argument")


def k3_breaches(body: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a request to Kimi K3 by Moonshot's rules."""
    yield from _wrong_tools(body)
    thinking, choice, wanted = (
        mapping(body.get("thinking")),
        body.get("tool_choice"),
        body.get("response_format"),
    )
    off = thinking.get("type") == "disabled"
    words = {
        "tool_choice": choice if isinstance(choice, str) else None,
        "response_format.type": None if wanted is None else str(mapping(wanted).get("type")),
        "reasoning_effort": body.get("reasoning_effort"),
        "thinking.type": thinking.get("type"),
        "thinking.effort": None if off else thinking.get("effort"),
    }
    for name, word in words.items():
        if word is not None and word not in _WORDS[name]:
            yield f"{name} {word!r} is not one of {', '.join(_WORDS[name])}"
    if mapping(wanted).get("type") == "json_schema":
        yield from _wrong_schema(mapping(mapping(wanted).get("json_schema")))
    temperature = body.get("temperature")
    warm = isinstance(temperature, int | float) and 0 <= temperature <= 1
    if temperature is not None and not (temperature == _COOLER if off else warm):
        yield f"invalid temperature: only {_COOLER if off else 'a value from 0 to 1'} is allowed for this model"
    for name, value in _FIXED.items():
        if body.get(name) is not None and body[name] != value:
            yield f"invalid {name}: only {value} is allowed for this model"


def _wrong_tools(body: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    if body.get("tools") is not None:
        yield from _wrong_declarations(body["tools"], "tools", seen)
    for index, message in enumerate(body["messages"]):
        if message.get("role") == "tool" and not message.get("tool_call_id"):
            yield f"tool_call_id is missing in message at index {index}"
        if message.get("tools") is None:
            continue
        where = f"messages[{index}].tools"
        if message.get("role") not in ("system", "developer"):
            yield f"{where}: only a system message declares tools"
        if message.get("content"):
            yield f"{where}: content must be empty beside tools"
        yield from _wrong_declarations(message["tools"], where, seen)
    if body.get("tool_choice") == "required" and not seen:
        yield "tool_choice 'required' needs tools"


def _wrong_declarations(tools: Any, where: str, seen: set[str]) -> Iterator[str]:
    if not isinstance(tools, list):
        yield f"{where} is not a list"
        return
    for index, tool in enumerate(map(mapping, tools)):
        name = mapping(tool.get("function")).get("name")
        if tool.get("type") != "function" or not isinstance(name, str):
            yield f"{where}[{index}] is not a function tool"
        elif not _NAME.fullmatch(name):
            yield f"{where}[{index}]: function name is invalid"
        elif name in seen:
            yield f"{where}[{index}]: function name {name} is duplicated"
        else:
            seen.add(name)


def _wrong_schema(described: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(described.get("name"), str) or not described["name"]:
        yield "response_format.json_schema.name is missing"
    if not isinstance(described.get("schema"), Mapping):
        yield "response_format.json_schema.schema is not an object"
    if not isinstance(described.get("strict", True), bool):
        yield "response_format.json_schema.strict is not a boolean"
