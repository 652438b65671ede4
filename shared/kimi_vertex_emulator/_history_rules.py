"""Breaches in a request that some deployments of Kimi refuse, some suffer from and some do not mind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._pieces import estimate
from kimi_vertex_emulator._reply import Reply, google_error, moonshot_error
from kimi_vertex_emulator.rules import Rules
from kimi_vertex_emulator.script import Dialect

__all__ = ["degraded", "refuse_by_rules", "refuse_place"]

_BANNED = frozenset(
    "oneOf allOf const pattern format $schema prefixItems not if then else patternProperties".split()
)
_WITHOUT_TYPE = ("$ref", "anyOf", "enum")


def refuse_by_rules(
    body: Mapping[str, Any], chat: ChatRequest, rules: Rules, dialect: Dialect
) -> Reply | None:
    """The refusal of a request by the rules that are set, or `None`.

    Args:
        body: The request's JSON object.
        chat: The same, read.
        rules: The rules.
        dialect: Whose words a refusal has.
    """
    temperature = body.get("temperature")
    if rules.temperature and temperature is not None and temperature != 1:
        return moonshot_error("invalid temperature: only 1 is allowed for this model")
    for kind, message in _breaches(chat):
        if getattr(rules, kind) == "error":
            return moonshot_error(f"Invalid request: {message}")
    if rules.schema_dialect:
        for tool in chat.tools:
            if fault := _foreign_schema(tool.parameters, "parameters", root=True):
                return moonshot_error(
                    f"Invalid request: tools.function.parameters of {tool.name!r} is not a valid moonshot flavored "
                    f"json schema, details: <{fault}>"
                )
    return _overflow(chat, rules, dialect)


def degraded(chat: ChatRequest, rules: Rules) -> str | None:
    """Why the model loses the thread, `None` if it does not."""
    return next((message for kind, message in _breaches(chat) if getattr(rules, kind) == "degrade"), None)


def refuse_place(rules: Rules, model: str, project: str, location: str, *, managed: bool) -> Reply | None:
    """The refusal of a call because of where it goes: a foreign project, an unknown or a retired model."""
    if rules.project is not None and project != rules.project:
        resource = f"projects/{project}/locations/{location}/endpoints/openapi"
        return google_error(
            403,
            "PERMISSION_DENIED",
            f"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/{resource}' "
            "(or it may not exist).",
            reason="IAM_PERMISSION_DENIED",
            metadata={"resource": resource, "permission": "aiplatform.endpoints.predict"},
            wrapped=True,
        )
    unknown = rules.models is not None and model not in rules.models
    if managed and (unknown or model in rules.retired_models):
        publisher, _, name = model.partition("/")
        return google_error(
            404,
            "NOT_FOUND",
            f"Publisher Model `projects/{project}/locations/{location}/publishers/{publisher}/models/{name}` was not "
            "found or your project does not have access to it. Please ensure you are using a valid model version. "
            "For more information, see: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
        )
    return None


def _overflow(chat: ChatRequest, rules: Rules, dialect: Dialect) -> Reply | None:
    if rules.context_window is None:
        return None
    prompt, wanted = estimate(chat.prompt_text), chat.max_tokens or 0
    if prompt + wanted <= rules.context_window:
        return None
    if dialect.startswith(("vllm", "close")):
        return moonshot_error(
            f"This model's maximum context length is {rules.context_window} tokens. However, you requested "
            f"{prompt + wanted} tokens ({prompt} in the messages, {wanted} in the completion). Please reduce the "
            "length of the messages or completion.",
            "BadRequestError",
        )
    return moonshot_error(
        f"Invalid request: Your request exceeded model token limit: {rules.context_window} "
        f"(requested: {prompt + wanted})"
    )


def _breaches(chat: ChatRequest) -> Iterator[tuple[str, str]]:
    """Name of the rule, and what is wrong, for each breach in the order of the history."""
    seen: set[str] = set()
    waiting: list[str] = []
    for position, message in enumerate(chat.messages):
        if message.role == "tool":
            waiting = [call_id for call_id in waiting if call_id != message.tool_call_id]
        elif message.role in ("user", "assistant"):
            if waiting:
                yield "unanswered_calls", f"tool_call_id {waiting[0]} has no result before message {position}"
            waiting = [call.id for call in message.tool_calls]
        for call in message.tool_calls:
            if call.id in seen:
                yield "duplicate_ids", f"duplicate tool_call_id {call.id} in message at index {position}"
            seen.add(call.id)
            if not re.fullmatch(rf"functions\.{re.escape(call.name)}:\d+", call.id):
                yield (
                    "foreign_ids",
                    f"tool_call_id {call.id} in message at index {position} is not functions.{call.name}:N",
                )


def _foreign_schema(schema: Any, where: str, *, root: bool = False) -> str | None:
    """What is outside Moonshot's flavour in a schema, `None` if nothing is."""
    if not isinstance(schema, Mapping):
        return None
    if root and not schema:
        return None
    if root and schema.get("type") != "object":
        return f"{where}: the root must be an object"
    if banned := sorted(_BANNED & set(schema)):
        return f"At path '{where}': {banned[0]} is not supported"
    if "type" not in schema and not any(key in schema for key in _WITHOUT_TYPE):
        return f"At path '{where}': type is not defined"
    if isinstance(schema.get("items"), list):
        return f"At path '{where}.items': tuple items are not supported"
    inner = [
        (f"{where}.{key}", part) for kind in ("properties", "$defs") for key, part in _named(schema, kind)
    ]
    inner += [(f"{where}.items", schema.get("items"))]
    inner += [(f"{where}.anyOf[{index}]", part) for index, part in enumerate(_listed(schema.get("anyOf")))]
    return next((fault for path, part in inner if (fault := _foreign_schema(part, path))), None)


def _named(schema: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    parts = schema.get(key)
    return list(parts.items()) if isinstance(parts, Mapping) else []


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
