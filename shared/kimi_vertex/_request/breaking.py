"""Breaks up special tokens in what a request says: in its messages, its tools and its schema (`_signs`).

What makes the conversation, roles, ids and names, goes out as the chat template needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimi_vertex._signs import break_json, break_text
from kimi_vertex._wire import THINKING_FIELDS

__all__ = ["Breaker"]


class Breaker:
    """Breaks up tokens in copies, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request's body, whose further fields stay: they may hold a template or stop words."""
        broken = dict(body)
        if isinstance(messages := body.get("messages"), list):
            broken["messages"] = [
                self._message(message) if isinstance(message, Mapping) else message for message in messages
            ]
        for name in ("tools", "response_format"):
            if body.get(name):
                broken[name] = self._declared(body[name])
        return broken

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        own, broken = message.get("role") == "assistant", dict(message)
        if "content" in message:
            broken["content"] = self._content(message["content"], own=own)
        for name in THINKING_FIELDS:
            if isinstance(message.get(name), str):
                broken[name] = self._text(message[name])
        if isinstance(calls := message.get("tool_calls"), list):
            broken["tool_calls"] = [self._call(call) if isinstance(call, Mapping) else call for call in calls]
        if message.get("tools"):
            broken["tools"] = self._declared(message["tools"])
        return broken

    def _content(self, content: Any, *, own: bool) -> Any:
        if isinstance(content, str):
            return self._text(content, own=own)
        if not isinstance(content, list):
            return content
        return [
            {**part, "text": self._text(part["text"], own=own)}
            if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            else part
            for part in content
        ]

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        if not (isinstance(function, Mapping) and isinstance(function.get("arguments"), str)):
            return dict(call)
        arguments, count = break_json(function["arguments"])
        self.count += count
        return {**call, "function": {**function, "arguments": arguments}}

    def _declared(self, value: Any) -> Any:
        """Tools and schemas: the model repeats their words in its arguments, so that keys are texts, too."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            # A tool's and a schema's own name goes out as it is: it stands in ids, and servers are strict about it.
            named = isinstance(value.get("name"), str) and ("parameters" in value or "schema" in value)
            return {
                self._text(key) if isinstance(key, str) else key: item
                if named and key == "name"
                else self._declared(item)
                for key, item in value.items()
            }
        return [self._declared(item) for item in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str, *, own: bool = False) -> str:
        text, count = break_text(text, own=own)
        self.count += count
        return text
