"""Reading requests: which of them are chat calls, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kimi_vertex_emulator.script import Recorded

__all__ = ["ENDPOINT", "instance", "is_chat", "json_object", "told"]

ENDPOINT = re.compile(
    r"/v1(?:beta1)?/(?P<name>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/endpoints/(?P<endpoint>[^/:]+))"
    r"(?P<verb>/chat/completions|:rawPredict|:streamRawPredict|:predict)?"
)


def is_chat(request: Recorded) -> bool:
    """Whether a request calls the model."""
    if request.method != "POST":
        return False
    match = ENDPOINT.fullmatch(request.path)
    if match is not None:
        return match["verb"] is not None and not (match["endpoint"] == "openapi" and match["verb"][0] == ":")
    # Google's own tree has no other chat route; any other prefix is somebody's base URL.
    return request.path.endswith("/chat/completions") and "/projects/" not in request.path


def json_object(request: Recorded) -> Mapping[str, Any] | None:
    """The body if it is a JSON object, else `None`."""
    try:
        body = request.json
    except ValueError:
        return None
    return body if isinstance(body, Mapping) else None


def instance(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The chat request inside a `:predict` body, `None` if it holds none."""
    instances = body.get("instances") if body else None
    first = instances[0] if isinstance(instances, list) and instances else None
    if isinstance(first, Mapping) and first.get("@requestFormat") == "chatCompletions":
        return first
    return None


def told(request: Recorded) -> str:
    """A request in one line."""
    line = f"{request.method} {request.path}"
    body = json_object(request) if is_chat(request) else None
    messages = body.get("messages") if body else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, Mapping):
        return line
    words = " ".join(str(last.get("content")).split())
    return f"{line} ({len(messages or ())} messages; {last.get('role')}: {words[:80]!r})"
