"""What Kimi's servers refuse, in their own words. Strict mode applies all of it, lenient mode the basics.

Sources: https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model and recorded 400s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._reply import Reply, google_error, moonshot_error

__all__ = ["check"]

_ROLES = ("system", "user", "assistant", "tool")
_SEES_IMAGES = re.compile(r"kimi-(?:k2[.-][5-9]|k[3-9])", re.IGNORECASE)
_THINKING_KEYS = ("reasoning_content", "reasoning")


def check(
    body: Mapping[str, Any] | None, *, strict: bool, managed: bool, refuse_forced_tool_choice: bool
) -> Reply | None:
    """The refusal of a chat request, or `None` if the model gets to see it.

    Args:
        body: The request's JSON object, `None` if it was none.
        strict: Apply Kimi's rules, not only those of JSON and HTTP.
        managed: The call goes to `endpoints/openapi`, where `model` is needed as `publisher/model`.
        refuse_forced_tool_choice: Refuse `required` and named choices while the model thinks.
    """
    messages = body.get("messages") if body is not None else None
    if body is None or not isinstance(messages, list) or not messages:
        return _invalid(
            "Expected a valid JSON object in the request with a list of messages that is not empty."
        )
    if not all(isinstance(message, Mapping) for message in messages):
        return _invalid("Every element of messages must be an object.")
    chat = ChatRequest.from_body(body, model="")
    if refuse_forced_tool_choice and chat.thinking and (kind := _forced(chat)):
        return moonshot_error(f"tool_choice '{kind}' is incompatible with thinking enabled")
    if not strict:
        return None
    if managed and not re.fullmatch(r"[^/]+/[^/]+", str(body.get("model") or "")):
        return _invalid(
            f"Invalid model {body.get('model')!r}: expected PUBLISHER/MODEL on endpoints/openapi."
        )
    if chat.max_tokens is not None and chat.max_tokens < 1:
        return _invalid(f"max_tokens must be positive, but is {chat.max_tokens}.")
    sees_images = bool(_SEES_IMAGES.search(str(body.get("model") or "")))
    refusals = (
        _refuse_message(message, index, thinking=chat.thinking, images=sees_images)
        for index, message in enumerate(messages)
    )
    return next((refusal for refusal in refusals if refusal), None) or _refuse_orphans(messages)


def _forced(chat: ChatRequest) -> str | None:
    return {"required": "required", "named": "specified"}.get(chat.tool_choice)


def _refuse_message(message: Mapping[str, Any], index: int, *, thinking: bool, images: bool) -> Reply | None:
    if message.get("role") not in _ROLES:
        return moonshot_error(
            f"Invalid request: unsupported role {message.get('role')!r} in message at index {index}"
        )
    content = message.get("content")
    if isinstance(content, list) and (refusal := _refuse_parts(content, images=images)):
        return refusal
    calls = message.get("tool_calls")
    if not calls:
        return None
    if not isinstance(calls, list):
        return moonshot_error(f"Invalid request: tool_calls is no list in message at index {index}")
    if thinking and all(message.get(key) is None for key in _THINKING_KEYS):
        return moonshot_error(
            "thinking is enabled but reasoning_content is missing in assistant tool call message "
            f"at index {index}"
        )
    return next((refusal for call in calls if (refusal := _refuse_call(call, index))), None)


def _refuse_parts(parts: Sequence[Any], *, images: bool) -> Reply | None:
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            if not part.get("text"):
                return moonshot_error("text content is empty")
        elif kind not in ("image_url", "input_image", "image", "video_url", "input_audio", "file"):
            return moonshot_error(f"Invalid request: unknown content type {kind!r}")
        elif not images:
            return _invalid(
                "Unable to submit request because it has non-text input data but the model only accepts "
                "text input data."
            )
    return None


def _refuse_call(call: Any, index: int) -> Reply | None:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not function.get("name"):
        return moonshot_error(f"Invalid request: function name is missing in message at index {index}")
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError):
        arguments = None
    if not isinstance(arguments, dict):
        return moonshot_error(
            f"Invalid request: function arguments of {function['name']!r} are no JSON object in message at index {index}"
        )
    return None


def _refuse_orphans(messages: Sequence[Mapping[str, Any]]) -> Reply | None:
    known: set[str] = set()
    for message in messages:
        # Whatever else can be wrong with a call has been refused already.
        known.update(str(call.get("id")) for call in message.get("tool_calls") or ())
        if message.get("role") == "tool" and str(message.get("tool_call_id")) not in known:
            return moonshot_error(f"Invalid request: tool_call_id {message.get('tool_call_id')} is not found")
    return None


def _invalid(message: str) -> Reply:
    return google_error(400, "INVALID_ARGUMENT", message)
