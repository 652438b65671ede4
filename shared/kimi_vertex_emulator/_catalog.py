"""The lists of models: OpenAI's `GET .../models` and Vertex' publisher models."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from kimi_vertex_emulator._reply import Reply, google_error, json_reply
from kimi_vertex_emulator._requests import Recorded

__all__ = ["list_models"]

_MODELS: Final = ("moonshotai/kimi-k2-thinking-maas",)
_CREATED: Final = 1_763_000_000  # 2025-11-13: GA of Kimi K2 Thinking
_OPENAI = re.compile(
    r"(?:/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/endpoints/[^/:]+|(?!.*/projects/).*?)"
    r"/models(?:/(?P<model>[^/]+(?:/[^/]+)?))?"
)
_PUBLISHER = re.compile(
    r"/v1(?:beta1)?/(?:projects/[^/]+/locations/[^/]+/)?publishers/(?P<publisher>[^/]+)/models(?:/(?P<model>[^/:]+))?"
)


def list_models(request: Recorded, models: Collection[str] | None) -> Reply | None:
    """Answers a request for models; `None` if it is something else.

    Args:
        request: The request.
        models: What there is as `publisher/model`; `None`: Kimi K2 Thinking.
    """
    if request.method != "GET":
        return None
    names = _MODELS if models is None else models
    if match := _PUBLISHER.fullmatch(request.path):
        return _publisher(match["publisher"], match["model"], names)
    if match := _OPENAI.fullmatch(request.path):
        listed = [_openai(name) for name in names]
        if match["model"] is None:
            return json_reply({"object": "list", "data": listed})
        return _found(next((item for item in listed if item["id"] == match["model"]), None), match["model"])
    return None


def _publisher(publisher: str, model: str | None, names: Collection[str]) -> Reply:
    listed = [
        {
            "name": f"publishers/{publisher}/models/{name.partition('/')[2]}",
            "versionId": "default",
            "openSourceCategory": "THIRD_PARTY_OWNED_OSS",
            "launchStage": "GA",
        }
        for name in names
        if name.partition("/")[0] == publisher
    ]
    if model is None:
        return json_reply({"publisherModels": listed})
    name = f"publishers/{publisher}/models/{model}"
    return _found(next((item for item in listed if item["name"] == name), None), name)


def _openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": name.partition("/")[0]}


def _found(item: Any, name: str) -> Reply:
    if item is not None:
        return json_reply(item)
    return google_error(404, "NOT_FOUND", f"Publisher Model `{name}` is not found.")
