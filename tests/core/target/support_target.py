"""What the tests of targets share: settings of each kind of target, and its resolution."""

from __future__ import annotations

from typing import Any

from kimi_vertex._target.environment import Environment
from kimi_vertex._target.resolve import resolve_target
from kimi_vertex._target.target import Target

MANAGED: dict[str, Any] = {"model": "moonshotai/kimi-k2-thinking-maas"}


DNS = "123.us-central1-456789.prediction.vertexai.goog"


NAME = "projects/my-proj/locations/us-central1/endpoints/123"


EMULATOR = {"KIMI_VERTEX_EMULATOR_HOST": "127.0.0.1:8080"}


def resolve(environ: dict[str, str] | None = None, **settings: Any) -> Target:
    return resolve_target(environment=Environment.read(environ or {}), **settings)
