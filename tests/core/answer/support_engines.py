"""What the tables of real engines' answers share: their dialects, piece by piece.

The dialects are those of vLLM 0.33 (its Python and its Rust front end), SGLang 0.5.23 and LiteLLM's proxy, as their
parsers answer raw outputs of the model.
"""

from __future__ import annotations

import json
from typing import Any

from .support_decoder import Call, Row

__all__ = [
    "ARGS",
    "BEGIN",
    "CALL",
    "END",
    "ID",
    "LS",
    "PS",
    "QUOTED_LS",
    "STOP",
    "begun",
    "calls",
    "leak",
    "more",
    "row",
    "say",
    "think",
    "think_litellm",
    "think_sglang",
    "tool",
    "whole",
]

BEGIN, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGS, STOP = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
LS, PS = '{"command": "ls"}', '{"command": "ps"}'
QUOTED_LS = json.dumps(LS)
ID = "functions.bash:0"


def leak(name: str, arguments: str) -> str:
    """A call in Kimi's own notation."""
    return f"{CALL}{name}{ARGS}{arguments}{STOP}"


def say(text: str) -> dict[str, Any]:
    """A delta of the answer."""
    return {"content": text}


def think(text: str) -> dict[str, Any]:
    """A delta of vLLM's thinking field."""
    return {"reasoning": text}


def think_sglang(text: str) -> dict[str, Any]:
    """A delta of SGLang's thinking field, with the nulls that it writes out."""
    return {"reasoning_content": text, "content": None, "tool_calls": None}


def think_litellm(text: str) -> dict[str, Any]:
    """A delta of LiteLLM's thinking field, with the copy that it keeps."""
    return {"reasoning_content": text, "provider_specific_fields": {"reasoning": text}, "content": ""}


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    """A delta of tool calls."""
    return {"tool_calls": list(fragments)}


def begun(identity: str, name: str, index: int = 0) -> dict[str, Any]:
    """The first fragment of a call in vLLM's streams: no arguments yet."""
    return {
        "index": index,
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": ""},
    }


def more(arguments: str, index: int = 0) -> dict[str, Any]:
    """A later fragment in vLLM's streams: neither id nor name."""
    return {"index": index, "function": {"arguments": arguments}}


def tool(name: str, *properties: str) -> dict[str, Any]:
    """A tool whose properties are all required."""
    schema = {"type": "object", "properties": {p: {} for p in properties}, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def row(name: str, deltas: list[dict[str, Any]], text: str = "", *found: Call, **rest: Any) -> Row:
    """An answer that ends in calls."""
    return Row(
        name, deltas, text, calls=found, **{"sent_reason": "tool_calls", "reason": "tool_calls", **rest}
    )


def whole(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole message as the only delta: the engine's other corner."""
    return [message]
