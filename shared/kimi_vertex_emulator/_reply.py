"""What a route hands to the HTTP layer, and the error bodies of Google and Moonshot.

Shapes: https://cloud.google.com/apis/design/errors and https://platform.moonshot.ai/docs/api/errors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex_emulator.answers import Part, Raw

__all__ = [
    "Reply",
    "encode_json",
    "error_info",
    "google_body",
    "google_error",
    "json_reply",
    "moonshot_error",
    "raw_reply",
    "stream_reply",
]

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json; charset=UTF-8"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Head and parts of one HTTP response."""

    status: int | None
    parts: Iterable[Part]
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the head."""
    slot: asyncio.Semaphore | None = None
    """What it has to hold for these seconds."""
    done: Callable[[], None] | None = None
    """Called when nothing more of it will be sent, also if the client has left."""
    relayed: AsyncGenerator[Part, None] | None = None
    """Parts that are still coming in, sent instead of `parts`."""
    unexpected: bool = False
    """Whether nothing was scripted for the request, or its route does not exist."""


def encode_json(value: Any) -> bytes:
    """JSON in UTF-8 with raw non-ASCII characters, as the real servers send it.

    Lone surrogates have no UTF-8 form; such a value falls back to escapes.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """One JSON body with its length declared."""
    return body_reply(encode_json(value), JSON, status, headers)


def body_reply(
    body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """One body with its length declared."""
    head = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    return Reply(status, (body,), head)


def stream_reply(parts: Iterable[Part]) -> Reply:
    """A server-sent event stream, chunked."""
    return Reply(200, parts, {"content-type": EVENT_STREAM, "cache-control": "no-cache"})


def raw_reply(raw: Raw) -> Reply:
    """A scripted answer, as it is."""
    given = {name.lower(): value for name, value in (raw.headers or {}).items()}
    content_type = EVENT_STREAM if raw.status == 200 else JSON
    return Reply(raw.status, raw.parts, {"content-type": content_type, **given})


def google_body(code: int, message: str, status: str = "") -> dict[str, Any]:
    """The body of an error of Google's; `status` is by default the usual one of the code."""
    return {"error": {"code": code, "message": message, "status": status or _STATUSES[code]}}


def google_error(
    code: int,
    message: str,
    *,
    status: str = "",
    details: Sequence[Mapping[str, Any]] = (),
    wrapped: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error as Google's API front end sends it; `wrapped` puts it in the one-element list of streaming calls."""
    body = google_body(code, message, status)
    if details:
        body["error"]["details"] = details
    return json_reply([body] if wrapped else body, code, headers)


def error_info(reason: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """A detail that names the reason of an error."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": dict(metadata)}


def moonshot_error(message: str, kind: str = "invalid_request_error", status: int = 400) -> Reply:
    """An error as Kimi's own serving stack sends it."""
    return json_reply({"error": {"message": message, "type": kind}}, status)
