"""Reads a call that had to come, and that the model wrote as JSON text instead.

Servers that refuse to force a call while the model thinks are asked with the choice left to it, and a model that
is told to call a tool may write the arguments into its answer.
"""

from __future__ import annotations

import json
from typing import Any

from kimi_vertex._json import find_json_object
from kimi_vertex._tools import DeclaredTools, missing_arguments

from .leaked_calls import LeakedCall

__all__ = ["written_call"]


def written_call(text: str, tools: DeclaredTools) -> LeakedCall | None:
    """Find the call in a finished answer's text.

    Args:
        text: The answer's text.
        tools: The tools of which one had to be called.

    Returns:
        The call, or `None` if the text holds no JSON object, or one that does not fit exactly one tool.
    """
    value = find_json_object(text)
    if value is None:
        return None
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
    if isinstance(name, str) and isinstance(arguments, dict) and name in tools.schemas:
        return _call(name, arguments)
    if len(tools.schemas) == 1:
        (only, schema), *_ = tools.schemas.items()
        return None if missing_arguments(schema, value) else _call(only, value)
    fitting = tools.fitting(value)
    return None if fitting is None else _call(fitting, value)


def _call(name: str, arguments: dict[str, Any]) -> LeakedCall:
    return LeakedCall(name, json.dumps(arguments, ensure_ascii=False))
