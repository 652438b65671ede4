"""Builds request bodies as the client does, for tests about what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from kimi_vertex._request.body import Payload, build
from kimi_vertex._request.rules import Rules
from kimi_vertex._target.environment import Environment
from kimi_vertex._target.resolve import resolve_target
from kimi_vertex.models import Server, model_info
from kimi_vertex.options import RequestOptions, Settings

MANAGED = "moonshotai/kimi-k2-thinking-maas"
SEES = "moonshotai/Kimi-K2.5"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def payload(
    messages: Any = "hi",
    *,
    model: str | None = MANAGED,
    stream: bool = False,
    settings: Settings | None = None,
    target: Mapping[str, Any] | None = None,
    server: Server | None = None,
    **options: Any,
) -> Payload:
    return build(
        messages,
        cast(RequestOptions, options),
        settings=settings or Settings(),
        target=resolve_target(
            environment=Environment(), **(target or {"model": MANAGED, "project": "my-proj"})
        ),
        rules=Rules(model_info(model), server),
        model=model,
        stream=stream,
    )


def body(messages: Any = "hi", **arguments: Any) -> dict[str, Any]:
    return json.loads(payload(messages, **arguments).encoded())  # type: ignore[no-any-return]


def sent(*messages: Any, **arguments: Any) -> list[dict[str, Any]]:
    return body(list(messages), **arguments)["messages"]  # type: ignore[no-any-return]
