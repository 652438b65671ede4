"""What Kimi's servers refuse, in their own words: strict mode, and the rules that differ between deployments.

Sources: https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model and recorded 400s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._k3 import is_k3, refuse_k3
from kimi_vertex_emulator._pieces import estimate
from kimi_vertex_emulator._reply import Reply, google_error, moonshot_error
from kimi_vertex_emulator.answers import Dialect, known

__all__ = ["OnBreach", "Rules"]

OnBreach: TypeAlias = Literal["accept", "degrade", "error"]
"""What a breach leads to.

`accept`: nothing. `degrade`: what open engines do: the model loses the thread, it thinks and stops without an
answer or a call (https://github.com/MoonshotAI/Kimi-K2/issues/128). `error`: a 400.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that differ between deployments of Kimi; by default none of them holds.

    Strict mode has rules of its own, which hold everywhere: thinking in every tool turn, results only for calls,
    known roles, no image for a text model, readable arguments, a model as `publisher/model`; for Kimi K3 Moonshot's rules
    about tools, formats, sampling and effort.

    Example: `Emulator(rules=Rules(foreign_ids="degrade", context_window=262_144))`.

    Raises:
        ValueError: `duplicate_ids` or `foreign_ids` is not an `OnBreach`.
    """

    duplicate_ids: OnBreach = "accept"
    """Two calls of the history share an id."""
    foreign_ids: OnBreach = "accept"
    """A call of the history has an id that is not `functions.NAME:N` with its own name."""
    unanswered_calls: OnBreach = "accept"
    """A call of the history has no result before the next user or assistant message."""
    temperature: bool = False
    """Refuse any temperature but 1, as Moonshot does from K2.5 on."""
    context_window: int | None = None
    """Refuse prompts whose estimated tokens, together with `max_tokens`, exceed it. `None`: no limit."""
    max_payload: int | None = None
    """Refuse bodies of more bytes: 10,000,000 on dedicated endpoints, 1,500,000 on shared ones. `None`: no limit."""
    project: str | None = None
    """Refuse requests for any other project with Google's 403. `None`: any project will do."""
    models: Collection[str] | None = None
    """The models of the managed endpoint; requests for any other get Google's 404. `None`: any."""
    retired_models: Collection[str] = ()
    """Models that the managed endpoint had: they get the same 404, which does not say that they are retired."""
    expiring_tokens: bool = False
    """Refuse bearers that this emulator issued once their lifetime is over, with Google's 401."""

    def __post_init__(self) -> None:
        for name in ("duplicate_ids", "foreign_ids", "unanswered_calls"):
            known(getattr(self, name), get_args(OnBreach), name)


_ROLES = ("system", "user", "assistant", "tool")
_SEES_IMAGES = re.compile(r"kimi-(?:k2[.-][5-9]|k[3-9])", re.IGNORECASE)
_THINKING_KEYS = ("reasoning_content", "reasoning")


def check(
    body: Mapping[str, Any] | None, *, strict: bool, managed: bool, refuse_forced_tool_choice: bool
) -> Reply | None:
    """The refusal of a chat request, or `None` if the model gets to see it.

    Args:
        body: The request's JSON object, if it was one.
        strict: Apply Kimi's rules, not only those of JSON and HTTP.
        managed: The request goes to `endpoints/openapi`, where `model` is needed as `publisher/model`.
        refuse_forced_tool_choice: Refuse `required` and named choices while the model thinks.
    """
    messages = body.get("messages") if body is not None else None
    if body is None or not isinstance(messages, list) or not messages:
        return _invalid(
            "Expected a valid JSON object in the request with a list of messages that is not empty."
        )
    if not all(isinstance(message, Mapping) for message in messages):
        return _invalid("Every element of messages must be an object.")
    chat = ChatRequest.from_body(body, model="")
    if refuse_forced_tool_choice and chat.thinking and (kind := _forced(chat)):
        return moonshot_error(f"tool_choice '{kind}' is incompatible with thinking enabled")
    if not strict:
        return None
    if is_k3(body.get("model")) and (refusal := refuse_k3(body)):
        return refusal
    if managed and not re.fullmatch(r"[^/]+/[^/]+", str(body.get("model") or "")):
        return _invalid(
            f"Invalid model {body.get('model')!r}: expected PUBLISHER/MODEL on endpoints/openapi."
        )
    if chat.max_tokens is not None and chat.max_tokens < 1:
        return _invalid(f"max_tokens must be positive, but is {chat.max_tokens}.")
    sees_images = bool(_SEES_IMAGES.search(str(body.get("model") or "")))
    refusals = (
        _refuse_message(message, index, thinking=chat.thinking, images=sees_images)
        for index, message in enumerate(messages)
    )
    return next((refusal for refusal in refusals if refusal), None) or _refuse_orphans(messages)


def _forced(chat: ChatRequest) -> str | None:
    return {"required": "required", "named": "specified"}.get(chat.tool_choice)


def _refuse_message(message: Mapping[str, Any], index: int, *, thinking: bool, images: bool) -> Reply | None:
    declares = message.get("role") == "developer" and message.get("tools")
    if message.get("role") not in _ROLES and not declares:
        return moonshot_error(
            f"Invalid request: unsupported role {message.get('role')!r} in message at index {index}"
        )
    content = message.get("content")
    if isinstance(content, list) and (refusal := _refuse_parts(content, images=images)):
        return refusal
    calls = message.get("tool_calls")
    if not calls:
        return None
    if not isinstance(calls, list):
        return moonshot_error(f"Invalid request: tool_calls is not a list in message at index {index}")
    if thinking and all(message.get(key) is None for key in _THINKING_KEYS):
        return moonshot_error(
            "thinking is enabled but reasoning_content is missing in assistant tool call message "
            f"at index {index}"
        )
    return next((refusal for call in calls if (refusal := _refuse_call(call, index))), None)


def _refuse_parts(parts: Sequence[Any], *, images: bool) -> Reply | None:
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            if not part.get("text"):
                return moonshot_error("text content is empty")
        elif kind not in ("image_url", "input_image", "image", "video_url", "input_audio", "file"):
            return moonshot_error(f"Invalid request: unknown content type {kind!r}")
        elif not images:
            return _invalid(
                "Unable to submit request because it has non-text input data but the model only accepts "
                "text input data."
            )
    return None


def _refuse_call(call: Any, index: int) -> Reply | None:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not function.get("name"):
        return moonshot_error(f"Invalid request: function name is missing in message at index {index}")
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError):
        arguments = None
    if not isinstance(arguments, dict):
        return moonshot_error(
            f"Invalid request: function arguments of {function['name']!r} are not a JSON object in message at index {index}"
        )
    return None


def _refuse_orphans(messages: Sequence[Mapping[str, Any]]) -> Reply | None:
    known: set[str] = set()
    for message in messages:
        # Whatever else can be wrong with a call has been refused already.
        known.update(str(call.get("id")) for call in message.get("tool_calls") or ())
        if message.get("role") == "tool" and str(message.get("tool_call_id")) not in known:
            return moonshot_error(f"Invalid request: tool_call_id {message.get('tool_call_id')} is not found")
    return None


_THINKING_FIELDS: Final = {"reasoning", "reasoning_content"}
"""Two names of one field for vLLM's front end in Rust."""


def _invalid(message: str) -> Reply:
    return google_error(400, "INVALID_ARGUMENT", message)


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
    if dialect == "vllm-k3-rust" and any(message.keys() >= _THINKING_FIELDS for message in body["messages"]):
        return moonshot_error("Failed to deserialize the JSON body: messages: duplicate field `reasoning`")
    temperature = body.get("temperature")
    if rules.temperature and temperature is not None and temperature != 1:
        return moonshot_error("invalid temperature: only 1 is allowed for this model")
    for kind, message in _breaches(chat):
        if getattr(rules, kind) == "error":
            return moonshot_error(f"Invalid request: {message}")
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
