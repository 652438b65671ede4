"""The service's JSON: reading chunks, whole bodies, usage and errors. Names of wire fields live here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ._text import kept, plain
from .events import FinishReason, Usage
from .models import Server

__all__ = [
    "THINKING_FIELDS",
    "Chunk",
    "Notes",
    "StreamErrorEvent",
    "UnreadableData",
    "WireError",
    "error_from_body",
    "event_data",
    "find_error",
    "find_thinking",
    "finish_reason",
    "read_body",
    "read_chunk",
    "read_usage",
    "thinking_text",
]

# Servers' names for the reasons, by their meaning; every other name means `stop`. `content_filtered`: Google's notebook on
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
THINKING_FIELDS: Final = ("reasoning_content", "reasoning")
"""Where thinking stands: in Vertex's, SGLang's and older vLLM's field, and in that of vLLM >= 0.16."""
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
_TAG: Final = re.compile(r"<[^<>]*>")
_HIDDEN: Final = re.compile(r"<(script|style)\b", re.IGNORECASE)
_HIDDEN_END: Final = re.compile(r"</(?:script|style)\b", re.IGNORECASE)
_LONGEST_MESSAGE: Final = 2_000
_LONGEST_CODE: Final = 100
_LARGEST_COUNT: Final = 2**53


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as the service words it, in whichever form it came."""

    message: str
    status: int | None = None
    code: str | None = None
    body: Any = None


class StreamErrorEvent(Exception):
    """An error stands where an answer belongs."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error


class UnreadableData(Exception):
    """Something came that is neither an answer nor an error."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What a chunk says beside the answer."""

    response_id: str | None
    model: str | None
    usage: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    logprobs: list[Any]
    server: Server | None = None
    """The kind of server, if what it says beside the answer shows it."""


@dataclass(slots=True)
class Chunk:
    """One piece of an answer, or a whole answer, read once: from here on no wire field has to be known."""

    thinking: str | None = None
    """`None` if the server did not send the field; empty if it said that there is no thinking."""
    content: str = ""
    calls: Any = None
    """Fragments of tool calls, of any shape."""
    refusal: str = ""
    reason: str | None = None
    """Why the answer ended, as the server calls it."""
    error: WireError | None = None
    """An error beside the rest of the chunk."""
    notes: Notes | None = None
    holds_choices: bool = True
    field: str = ""
    """The field in which the thinking stood, if it is one that servers also read."""


def read_chunk(value: Any, source: str | bytes | None, *, whole: bool = False, noted: bool = False) -> Chunk:
    """Read one chunk of a stream.

    Args:
        source: What it was decoded from, if that is at hand.
        whole: Whether it is a whole answer, with a message in the delta's place.
        noted: Whether an earlier chunk's notes have been read. They are then read again only from a chunk that
            may say more: all chunks of a stream have the same id and model.

    Raises:
        StreamErrorEvent: It is an error.
        UnreadableData: It is something else.
    """
    if type(value) is not dict or "choices" not in value:
        return _read_odd(value)
    if value.get("error") and (failure := find_error(value)) is not None:
        raise StreamErrorEvent(failure)
    choice = _first_choice(value["choices"])
    if choice is None:
        return Chunk(notes=_notes(value, None))
    # Some servers call the delta a message, or the message a delta.
    delta = choice.get("message" if whole else "delta")
    if delta is None:
        delta = choice.get("delta" if whole else "message")
    if type(delta) is not dict:
        delta = {}
    thinking, field = delta.get("reasoning_content"), "reasoning_content"
    if not thinking or type(thinking) is not str:
        named = thinking is not None or "reasoning" in delta or "reasoning_details" in delta
        thinking = thinking_text(delta) if named else None
        field = "reasoning" if thinking and delta.get("reasoning") == thinking else ""
    content = delta.get("content")
    if type(content) is not str:
        content = _content_text(content) if content else ""
    calls = delta.get("tool_calls")
    if calls and source is not None and _are_structured(calls):
        # Python's parser, unlike orjson, reads integers of any length.
        text = source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise UnreadableData("nested too deeply, or a number of thousands of digits") from None
        return read_chunk(_unwrapped(value), None, whole=whole, noted=noted)
    refusal = delta.get("refusal")
    reason, error = choice.get("finish_reason"), None
    if reason or choice.get("error"):
        error = find_error(choice) if choice.get("error") else None
        reason = reason if isinstance(reason, str) and reason else None
        if error is None and reason is not None and reason.lower() in _BROKEN:
            error = WireError(f"the server ended the answer with {reason!r}")
    says_more = reason or not noted or value.get("usage") or choice.get("usage") or choice.get("logprobs")
    return Chunk(
        thinking,
        content,
        calls,
        refusal if type(refusal) is str else "",
        reason or None,
        error,
        _notes(value, choice) if says_more else None,
        True,
        field,
    )


def read_body(value: Any, source: str | bytes | None) -> Chunk:
    """Read a whole answer.

    Raises:
        StreamErrorEvent: It is an error.
        UnreadableData: It is something else.
    """
    error = find_error(value)
    if error is not None:
        raise StreamErrorEvent(error)
    body = _unwrapped(value)
    if not isinstance(body, dict):
        raise UnreadableData("not a JSON object")
    if _first_choice(body.get("choices")) is None:
        raise UnreadableData("the answer holds no choice")
    return read_chunk(body, source, whole=True)


def _read_odd(value: Any) -> Chunk:
    error = find_error(value)
    if error is not None:
        raise StreamErrorEvent(error)
    if isinstance(value, dict):
        return Chunk(notes=_notes(value, None), holds_choices=False)
    if value is not None:
        raise UnreadableData(f"a JSON {type(value).__name__} in place of a chunk")
    return Chunk(holds_choices=False)


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
    body = kept(body)
    if not isinstance(error, Mapping):
        text = error if isinstance(error, str) else _as_text(error)
        return WireError(plain(text, _LONGEST_MESSAGE), body=body)
    message = error.get("message")
    code = error.get("status") or error.get("type") or error.get("code")
    status = _http_status(error.get("code")) or _http_status(error.get("status"))
    if status is None and isinstance(code, str):
        status = _STATUS_OF_CODE.get(code)
    text = message if isinstance(message, str) and message else _as_text(error)
    return WireError(
        plain(text, _LONGEST_MESSAGE),
        status=status,
        code=plain(code, _LONGEST_CODE) if isinstance(code, str) else None,
        body=body,
    )


def _as_text(error: Any) -> str:
    return json.dumps(kept(error), ensure_ascii=False, default=str)


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
    """Read the body that came with an error status: JSON, a gateway's HTML, plain text, or nothing."""
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
                return WireError(plain(value[key], _LONGEST_MESSAGE), body=kept(value))
    words = " ".join(_without_markup(text).split())
    return WireError(plain(words, 500), body=kept(value) if value is not None else text[:10_000])


def _without_markup(text: str) -> str:
    """The words of a page, with scripts and styles left out. Each sign is looked at a few times, whatever the text."""
    if "<" not in text:
        return text
    shown: list[str] = []
    start = 0
    while hidden := _HIDDEN.search(text, start):
        shown.append(text[start : hidden.start()])
        end = _HIDDEN_END.search(text, hidden.end())
        start = len(text) if end is None else end.start()
    shown.append(text[start:])
    return _TAG.sub(" ", " ".join(shown))


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0: this library asks for one, and a second one would be mixed into it."""
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and (not (index := choice.get("index")) or index == "0"):
                return choice
    return None


def _unwrapped(body: Any) -> Any:
    """The answer in a body: `:predict` with `@requestFormat` wraps it."""
    predictions = body.get("predictions") if isinstance(body, dict) and not body.get("choices") else None
    if isinstance(predictions, list) and len(predictions) == 1:
        predictions = predictions[0]
    return predictions if isinstance(predictions, dict) else body


def _are_structured(calls: Any) -> bool:
    """Whether a call's arguments are an object instead of its text."""
    for call in calls if type(calls) is list else (calls,):
        function = call.get("function") if type(call) is dict else None
        holder = function if type(function) is dict else call
        if type(holder) is dict and type(holder.get("arguments")) in (dict, list):
            return True
    return False


def finish_reason(raw: str | None) -> FinishReason | None:
    """The common name of a server's finish reason; `None` if the server gave no reason."""
    if raw is None:
        return None
    return _REASONS.get(raw.lower(), "stop")


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


def find_thinking(message: Mapping[str, Any]) -> str | None:
    """The thinking that a message has beside its content, by any of the names in use; `None` if it has none."""
    thinking, named = thinking_text(message), message.get("thinking")
    return named if thinking is None and isinstance(named, str) else thinking


def _content_text(content: Any) -> str:
    """The text of a `content` that is a list of parts, or something odd."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def event_data(text: str) -> list[str]:
    """The events' data in a stream that has arrived whole: every known server writes a chunk on one line."""
    lines = _LINE_END.split(text.removeprefix("\ufeff"))
    return [line[5:].strip() for line in lines if line.startswith("data:")]


def read_usage(raw: Mapping[str, Any], *, thought: bool) -> Usage:
    """Read a `usage` object.

    Args:
        raw: The object. Cached tokens are in `prompt_tokens_details.cached_tokens`, or at the top (Moonshot);
            thinking tokens are in `completion_tokens_details.reasoning_tokens`, or at the top (SGLang).
        thought: Whether the turn had thinking. A count of 0 is then wrong, and the true one is unknown.
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


def _notes(chunk: Mapping[str, Any], choice: Mapping[str, Any] | None) -> Notes:
    """What stands beside the answer, metadata under the service's own names."""
    usage = _find_usage(chunk, choice)
    found = {key: kept(chunk[key]) for key in _METADATA if chunk.get(key)}
    if choice is not None and choice.get("matched_stop") is not None:
        found["matched_stop"] = kept(choice["matched_stop"])
    version = _mapping(chunk.get("metadata")).get("weight_version")
    if version is not None:
        found["weight_version"] = kept(version)
    google = _mapping(_mapping(_mapping(usage).get("extra_properties")).get("google"))
    if google.get("traffic_type") is not None:
        found["traffic_type"] = kept(google["traffic_type"])
    server: Server | None = None
    if (_text(chunk.get("system_fingerprint")) or "").startswith("fpv0_"):
        server = "moonshot"
    elif choice is not None and ("matched_stop" in choice or version is not None):
        server = "sglang"
    elif choice is not None and ("stop_reason" in choice or "token_ids" in choice):
        server = "vllm"
    entries = _mapping(_mapping(choice).get("logprobs")).get("content")
    return Notes(
        response_id=_text(chunk.get("id")),
        model=_text(chunk.get("model")),
        usage=usage,
        metadata=found,
        logprobs=list(map(kept, entries)) if isinstance(entries, list) else [],
        server=server,
    )


def _find_usage(chunk: Mapping[str, Any], choice: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The usage at the top, in the choice (Moonshot), or in `x_groq`; an object without counts isn't one."""
    for holder in (chunk, choice, chunk.get("x_groq")):
        usage = _mapping(_mapping(holder).get("usage"))
        if any(_count(usage, key) is not None for key in _COUNTS):
            return usage
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(holder: Mapping[str, Any], key: str) -> int | None:
    value = holder.get(key)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT
    return value if is_count else None
