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
    "content_text",
    "find_error",
    "finish_reason",
    "metadata_of",
    "read_usage",
    "thinking_text",
]

# What servers call the reasons, by what they mean. `content_filtered`: Google's notebook on DeepSeek-V3.2.
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
}
_BROKEN: Final = frozenset({"error", "abort", "aborted"})
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

    Knows Google's `{"error": {...}}`, the same inside a list, an error that is a plain string, and vLLM's flat
    `{"object": "error", ...}`. Returns `None` if the value holds no error.
    """
    body = value
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, Mapping)), None)
    if not isinstance(value, Mapping):
        return None
    error = value.get("error")
    if not error and value.get("object") == "error":
        error = value
    if not error:
        return None
    if not isinstance(error, Mapping):
        return WireError(str(error), body=body)
    message = error.get("message")
    code = error.get("status") or error.get("type") or error.get("code")
    status = error.get("code")
    if not isinstance(status, int):
        status = int(status) if isinstance(status, str) and status.isdecimal() else None
    if status is None and isinstance(code, str):
        status = _STATUS_OF_CODE.get(code)
    return WireError(
        message
        if isinstance(message, str) and message
        else json.dumps(error, ensure_ascii=False, default=str),
        status=status,
        code=str(code) if code is not None and not isinstance(code, int) else None,
        body=body,
    )


def error_from_body(text: str) -> WireError:
    """Read the body of an error status, whatever it is: JSON, a gateway's HTML, text, or nothing."""
    try:
        value = json.loads(text)
    except ValueError:
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
    found: str | None = None
    for key in ("reasoning_content", "reasoning"):
        value = delta.get(key)
        if isinstance(value, str):
            if value:
                return value
            found = value
    details = delta.get("reasoning_details")
    if isinstance(details, list):
        texts = [item.get("text") or item.get("summary") for item in details if isinstance(item, Mapping)]
        joined = "".join(text for text in texts if isinstance(text, str))
        if joined:
            return joined
    return found


def content_text(content: Any) -> str:
    """The text of a `content` field: a string, a list of parts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


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
    """The usage in a chunk or body: at the top, in the choice (Moonshot), or in `x_groq`."""
    for holder in (chunk, choice, chunk.get("x_groq")):
        if isinstance(holder, Mapping):
            usage = holder.get("usage")
            if isinstance(usage, Mapping) and usage:
                return usage
    return None


def metadata_of(chunk: Mapping[str, Any], choice: Mapping[str, Any] | None, usage: Any) -> dict[str, Any]:
    """What a chunk says beside the answer, under the service's own names, nulls left out."""
    found = {key: chunk[key] for key in _METADATA if chunk.get(key)}
    if choice is not None:
        for key in ("matched_stop", "logprobs"):
            if choice.get(key) is not None:
                found[key] = choice[key]
    version = _mapping(chunk.get("metadata")).get("weight_version")
    if version is not None:
        found["weight_version"] = version
    google = _mapping(_mapping(_mapping(usage).get("extra_properties")).get("google"))
    if google.get("traffic_type") is not None:
        found["traffic_type"] = google["traffic_type"]
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(holder: Mapping[str, Any], key: str) -> int | None:
    value = holder.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
