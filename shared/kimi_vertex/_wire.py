"""The service's JSON: reading chunks, whole bodies, usage and errors. Names of wire fields live here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .events import FinishReason, Usage

__all__ = [
    "WireError",
    "are_structured",
    "content_text",
    "delta_of",
    "error_from_body",
    "event_data",
    "find_error",
    "find_usage",
    "finish_reason",
    "first_choice",
    "is_broken",
    "logprobs",
    "metadata_of",
    "read_usage",
    "thinking_text",
    "unwrapped",
]

# What servers call the reasons, by what they mean; anything else is `stop`. `content_filtered`: Google's notebook on
# DeepSeek-V3.2; the words for blocked answers: https://ai.google.dev/api/generate-content#FinishReason.
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "sensitive": "content_filter",
    "spii": "content_filter",
}
_BROKEN: Final = frozenset({"error", "abort", "aborted", "cancelled", "insufficient_system_resource"})
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
_METADATA: Final = ("created", "system_fingerprint", "service_tier")
_STATUS_OF_CODE: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "content_filter": 400,
    "rate_limit_reached_error": 429,
    "engine_overloaded_error": 429,
}
_LINE_END: Final = re.compile("\r\n|\n|\r")
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as the service words it, in whichever form it came."""

    message: str
    status: int | None = None
    code: str | None = None
    body: Any = None


def find_error(value: Any) -> WireError | None:
    """Read an error out of decoded JSON.

    Knows Google's `{"error": {...}}`, the same inside a list, an error that is a plain string, and flat forms: vLLM's
    `{"object": "error", ...}`, and a message with a code and no choices. Returns `None` if the value holds no error.
    """
    body = value
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, Mapping)), None)
    if not isinstance(value, Mapping):
        return None
    error = value.get("error")
    if (not error and _is_flat_error(value)) or (error is True and "message" in value):
        error = value
    if not error:
        return None
    if not isinstance(error, Mapping):
        return WireError(str(error), body=body)
    message = error.get("message")
    code = error.get("status") or error.get("type") or error.get("code")
    status = _http_status(error.get("code")) or _http_status(error.get("status"))
    if status is None and isinstance(code, str):
        status = _STATUS_OF_CODE.get(code)
    return WireError(
        message
        if isinstance(message, str) and message
        else json.dumps(error, ensure_ascii=False, default=str),
        status=status,
        code=code if isinstance(code, str) else None,
        body=body,
    )


def _is_flat_error(value: Mapping[str, Any]) -> bool:
    if value.get("object") == "error":
        return True
    has_code = any(value.get(key) for key in ("code", "status", "type"))
    return "choices" not in value and has_code and isinstance(value.get("message"), str)


def _http_status(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if type(value) is int and 100 <= value <= 599 else None


def error_from_body(text: str) -> WireError:
    """Read the body of an error status, whatever it is: JSON, a gateway's HTML, text, or nothing."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    error = find_error(value)
    if error is not None:
        return error
    if isinstance(value, Mapping):
        for key in ("message", "detail"):
            if isinstance(value.get(key), str):
                return WireError(value[key], body=value)
    words = " ".join(_TAG.sub(" ", text).split()) if "<" in text else " ".join(text.split())
    return WireError(words[:500], body=value if value is not None else text[:10_000])


def first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0: this library asks for one, and a second one would be mixed into it."""
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and (not (index := choice.get("index")) or index == "0"):
                return choice
    return None


def unwrapped(body: Any) -> Any:
    """The answer in a body: `:predict` with `@requestFormat` wraps it."""
    predictions = body.get("predictions") if isinstance(body, dict) else None
    if isinstance(predictions, list) and len(predictions) == 1:
        predictions = predictions[0]
    return predictions if isinstance(predictions, dict) else body


def delta_of(choice: Mapping[str, Any], *, whole: bool) -> Any:
    """A choice's delta, or its message; some servers call the one by the other's name."""
    delta = choice.get("message" if whole else "delta")
    return choice.get("delta" if whole else "message") if delta is None else delta


def are_structured(calls: Any) -> bool:
    """Whether the arguments of a call are an object, as they should not be, and not its text."""
    for call in calls if type(calls) is list else (calls,):
        function = call.get("function") if type(call) is dict else None
        holder = function if type(function) is dict else call
        if type(holder) is dict and type(holder.get("arguments")) in (dict, list):
            return True
    return False


def finish_reason(raw: str | None) -> FinishReason | None:
    """The common name of a server's reason; `None` if it gave none."""
    if raw is None:
        return None
    return _REASONS.get(raw.lower(), "stop")


def is_broken(raw: str | None) -> bool:
    """Whether a finish reason says that the answer failed."""
    return raw is not None and raw.lower() in _BROKEN


def thinking_text(delta: Mapping[str, Any]) -> str | None:
    """The thinking in a delta or message; `None` if it has no such field, or a null in it.

    Read in this order: `reasoning_content` (Vertex, SGLang, Moonshot, older vLLM), `reasoning` (vLLM >= 0.16,
    https://github.com/vllm-project/vllm/issues/50624), `reasoning_details` (OpenRouter). Servers that send two of
    them send the same text twice.
    """
    first = delta.get("reasoning_content")
    if first and type(first) is str:
        return first
    second = delta.get("reasoning")
    if second and type(second) is str:
        return second
    details = delta.get("reasoning_details")
    if details and isinstance(details, list):
        texts = [item.get("text") or item.get("summary") for item in details if isinstance(item, Mapping)]
        joined = "".join(text for text in texts if isinstance(text, str))
        if joined:
            return joined
    return "" if first == "" or second == "" else None


def content_text(content: Any) -> str:
    """The text of a `content` field: a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def event_data(text: str) -> list[str]:
    """The data of a stream that has arrived whole; a chunk is one line in every server's stream."""
    lines = _LINE_END.split(text.removeprefix("\ufeff"))
    return [line[5:].strip() for line in lines if line.startswith("data:")]


def read_usage(raw: Mapping[str, Any], *, thought: bool) -> Usage:
    """Read a `usage` object.

    Args:
        raw: The object. Cached tokens are in `prompt_tokens_details.cached_tokens`, or at the top (Moonshot);
            thinking tokens in `completion_tokens_details.reasoning_tokens`, or at the top (SGLang).
        thought: Whether the turn had thinking: a count of 0 is then not true, and the count is unknown.
    """
    prompt = _count(raw, "prompt_tokens") or _count(raw, "input_tokens") or 0
    completion = _count(raw, "completion_tokens") or _count(raw, "output_tokens") or 0
    cached = _count(_mapping(raw.get("prompt_tokens_details")), "cached_tokens")
    if cached is None:
        cached = _count(raw, "cached_tokens")
    thinking = _count(_mapping(raw.get("completion_tokens_details")), "reasoning_tokens")
    if thinking is None:
        thinking = _count(raw, "reasoning_tokens")
    if thinking == 0 and thought:
        thinking = None
    total = _count(raw, "total_tokens")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion if total is None else total,
        cached_tokens=cached,
        thinking_tokens=thinking,
    )


def find_usage(chunk: Mapping[str, Any], choice: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The usage in a chunk or body: at the top, in the choice (Moonshot), or in `x_groq`. One without counts is none."""
    for holder in (chunk, choice, chunk.get("x_groq")):
        usage = holder.get("usage") if isinstance(holder, Mapping) else None
        if isinstance(usage, Mapping) and any(_count(usage, key) is not None for key in _COUNTS):
            return usage
    return None


def metadata_of(chunk: Mapping[str, Any], choice: Mapping[str, Any] | None, usage: Any) -> dict[str, Any]:
    """What a chunk says beside the answer, under the service's own names, nulls left out."""
    found = {key: chunk[key] for key in _METADATA if chunk.get(key)}
    if choice is not None and choice.get("matched_stop") is not None:
        found["matched_stop"] = choice["matched_stop"]
    version = _mapping(chunk.get("metadata")).get("weight_version")
    if version is not None:
        found["weight_version"] = version
    google = _mapping(_mapping(_mapping(usage).get("extra_properties")).get("google"))
    if google.get("traffic_type") is not None:
        found["traffic_type"] = google["traffic_type"]
    return found


def logprobs(value: Any) -> list[Any]:
    """The entries of a choice's `logprobs`."""
    entries = _mapping(value).get("content")
    return entries if isinstance(entries, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(holder: Mapping[str, Any], key: str) -> int | None:
    value = holder.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
