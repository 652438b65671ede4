"""A request as it arrived: its values, and which of them ask the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from kimi_vertex_emulator._chat import mapping, objects

__all__ = ["ENDPOINT", "Recorded", "instance", "is_chat", "json_object", "parsed", "summary", "verb"]

ENDPOINT = re.compile(
    r"/v1(?:beta1)?/(?P<name>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/endpoints/(?P<endpoint>[^/:]+))"
    r"(?P<verb>/chat/completions|/invoke/v1/chat/completions|:rawPredict|:streamRawPredict|:predict)?"
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    """Decoded path without the query."""
    query: str
    """Raw query string without the question mark; empty without one."""
    headers: Mapping[str, str]
    """Names in lower case; repeated headers are joined with a comma."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: The body is not JSON, or is nested deeper than Python reads.
        """
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("the body is nested too deeply") from error

    @property
    def form(self) -> dict[str, str]:
        """The body as a URL-encoded form; empty if it is something else."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace")))

    @property
    def bearer(self) -> str | None:
        """The bearer token of the `Authorization` header, if it has one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None


def is_chat(request: Recorded) -> bool:
    """Whether a request calls the model."""
    if request.method != "POST":
        return False
    match = ENDPOINT.fullmatch(request.path)
    if match is not None:
        return match["verb"] is not None and not (match["endpoint"] == "openapi" and match["verb"][0] == ":")
    # Google's own tree has no other chat route; any other prefix is a base URL of the test's.
    return request.path.endswith("/chat/completions") and "/projects/" not in request.path


def parsed(text: str | bytes) -> Any:
    """JSON, `None` if it cannot be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def json_object(request: Recorded) -> Mapping[str, Any] | None:
    """The body if it is a JSON object, else `None`."""
    body = parsed(request.body)
    return body if isinstance(body, Mapping) else None


def instance(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The chat request inside a `:predict` body, if it holds one."""
    first = next(iter(objects(mapping(body).get("instances"))), {})
    return first if first.get("@requestFormat") == "chatCompletions" else None


def verb(path: str) -> str:
    """What follows the endpoint in a path: project, location and endpoint may differ."""
    match = ENDPOINT.fullmatch(path)
    if match is not None:
        return match["verb"] or ""
    return "/chat/completions" if path.endswith("/chat/completions") else path


def summary(method: str, path: str, body: Any) -> str:
    """A request in one line: what is called, how many messages there are, and the last one."""
    called = f"{method} {path}" if verb(path) == path else f"{method} ...{verb(path)}"
    messages = mapping(body).get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(messages, list) or not isinstance(last, Mapping):
        return called
    count = "1 message" if len(messages) == 1 else f"{len(messages)} messages"
    words = " ".join(str(last.get("content")).split())
    return f"{called} ({count}; {last.get('role')}: {words[:80]!r})"
