"""What Kimi's servers refuse, in their own words: strict mode, and the rules that differ between deployments.

Sources: https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model and recorded 400s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from kimi_vertex_emulator._chat import ChatRequest, mapping
from kimi_vertex_emulator._k3 import is_k3, k3_breaches
from kimi_vertex_emulator._pieces import estimate
from kimi_vertex_emulator._reply import Reply, google_error, moonshot_error
from kimi_vertex_emulator._requests import parsed
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
    models: Sequence[str] | None = None
    """The models of the managed endpoint; any other gets Google's 404, which does not say whether it was retired.
    `None`: any."""
    refuse_forced_tool_choice: bool = False
    """Refuse `required` and named choices of a tool while the model thinks, as Moonshot's API does."""

    def __post_init__(self) -> None:
        for name in ("duplicate_ids", "foreign_ids", "unanswered_calls"):
            known(getattr(self, name), get_args(OnBreach), name)


_ROLES: Final = ("system", "user", "assistant", "tool")
_SEES_IMAGES: Final = re.compile(r"kimi-(?:k2[.-][5-9]|k[3-9])", re.IGNORECASE)
_MEDIA: Final = ("image_url", "input_image", "image", "video_url", "input_audio", "file")
_THINKING: Final = {"reasoning", "reasoning_content"}
"""Two names of one field for vLLM's front end in Rust."""


def unreadable(body: Mapping[str, Any] | None) -> Reply | None:
    """The refusal of what is not a chat request, on any server; `None` if it is one."""
    messages = body.get("messages") if body is not None else None
    if not isinstance(messages, list) or not messages:
        return _invalid(
            "Expected a valid JSON object in the request with a list of messages that is not empty."
        )
    if not all(isinstance(message, Mapping) for message in messages):
        return _invalid("Every element of messages must be an object.")
    return None


def refusals(
    body: Mapping[str, Any],
    chat: ChatRequest,
    rules: Rules,
    dialect: Dialect,
    place: re.Match[str] | None,
    *,
    strict: bool,
) -> Iterator[Reply]:
    """Why a chat request is refused; the model gets to see it if there is nothing.

    `chat` is the body, read; `place` the match of `ENDPOINT`, if it goes to an endpoint; `strict` adds Kimi's own rules.
    """
    model = str(body.get("model") or "")
    managed = place if place is not None and place["endpoint"] == "openapi" else None
    forced = {"required": "required", "named": "specified"}.get(chat.tool_choice)
    if rules.refuse_forced_tool_choice and chat.thinking and forced:
        yield moonshot_error(f"tool_choice '{forced}' is incompatible with thinking enabled")
    if strict:
        yield from _strict(body, chat, model, managed=managed is not None)
    if managed and rules.models is not None and model not in rules.models:
        where = "projects/{project}/locations/{location}/publishers".format(**managed.groupdict())
        yield google_error(
            404,
            f"Publisher Model `{where}/{model.replace('/', '/models/', 1)}` was not found or your project does not have "
            "access to it. Please ensure you are using a valid model version. For more information, see: "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
        )
    if dialect == "vllm-k3-rust" and any(message.keys() >= _THINKING for message in body["messages"]):
        yield moonshot_error("Failed to deserialize the JSON body: messages: duplicate field `reasoning`")
    if rules.temperature and body.get("temperature") not in (None, 1):
        yield moonshot_error("invalid temperature: only 1 is allowed for this model")
    for kind, words in _breaches(chat):
        if getattr(rules, kind) == "error":
            yield moonshot_error(f"Invalid request: {words}")
    prompt, wanted = estimate(chat.prompt_text), chat.max_tokens or 0
    if rules.context_window is None or prompt + wanted <= rules.context_window:
        return
    if dialect.startswith(("vllm", "close")):
        yield moonshot_error(
            f"This model's maximum context length is {rules.context_window} tokens. However, you requested "
            f"{prompt + wanted} tokens ({prompt} in the messages, {wanted} in the completion). Please reduce the "
            "length of the messages or completion.",
            "BadRequestError",
        )
    yield moonshot_error(
        f"Invalid request: Your request exceeded model token limit: {rules.context_window} "
        f"(requested: {prompt + wanted})"
    )


def _strict(body: Mapping[str, Any], chat: ChatRequest, model: str, *, managed: bool) -> Iterator[Reply]:
    """Refusals of strict mode; each of them takes for granted that none before it was due."""
    if is_k3(model):
        for words in k3_breaches(body):
            yield moonshot_error(f"Invalid request: {words}")
    if managed and not re.fullmatch(r"[^/]+/[^/]+", model):
        yield _invalid(f"Invalid model {body.get('model')!r}: expected PUBLISHER/MODEL on endpoints/openapi.")
    if chat.max_tokens is not None and chat.max_tokens < 1:
        yield _invalid(f"max_tokens must be positive, but is {chat.max_tokens}.")
    ids: set[str] = set()
    for index, message in enumerate(body["messages"]):
        where = f"in message at index {index}"
        declares = message.get("role") == "developer" and message.get("tools")
        if message.get("role") not in _ROLES and not declares:
            yield moonshot_error(f"Invalid request: unsupported role {message.get('role')!r} {where}")
        yield from _wrong_parts(message.get("content"), images=bool(_SEES_IMAGES.search(model)))
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            yield moonshot_error(f"Invalid request: tool_calls is not a list {where}")
        if calls and chat.thinking and all(message.get(key) is None for key in _THINKING):
            yield moonshot_error(
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {index}"
            )
        for call in calls:
            yield from _wrong_call(call, where)
            ids.add(str(call.get("id")))
        if message.get("role") == "tool" and str(message.get("tool_call_id")) not in ids:
            yield moonshot_error(f"Invalid request: tool_call_id {message.get('tool_call_id')} is not found")


def _wrong_parts(content: Any, *, images: bool) -> Iterator[Reply]:
    for part in content if isinstance(content, list) else ():
        kind = mapping(part).get("type")
        if kind == "text" and not part.get("text"):
            yield moonshot_error("text content is empty")
        elif kind != "text" and kind not in _MEDIA:
            yield moonshot_error(f"Invalid request: unknown content type {kind!r}")
        elif kind != "text" and not images:
            yield _invalid(
                "Unable to submit request because it has non-text input data but the model only accepts text input data."
            )


def _wrong_call(call: Any, where: str) -> Iterator[Reply]:
    function = mapping(mapping(call).get("function"))
    if not function.get("name"):
        yield moonshot_error(f"Invalid request: function name is missing {where}")
        return
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str) or not isinstance(parsed(arguments), dict):
        words = f"function arguments of {function['name']!r} are not a JSON object {where}"
        yield moonshot_error(f"Invalid request: {words}")


def _invalid(message: str) -> Reply:
    return google_error(400, message)


def degraded(chat: ChatRequest, rules: Rules) -> str | None:
    """Why the model loses the thread, `None` if it does not."""
    return next((message for kind, message in _breaches(chat) if getattr(rules, kind) == "degrade"), None)


def _breaches(chat: ChatRequest) -> Iterator[tuple[str, str]]:
    """Name of the rule, and what is wrong, for each breach in the order of the history."""
    seen: set[str | None] = set()
    waiting: list[str | None] = []
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
            if not re.fullmatch(rf"functions\.{re.escape(call.name)}:\d+", call.id or ""):
                yield (
                    "foreign_ids",
                    f"tool_call_id {call.id} in message at index {position} is not functions.{call.name}:N",
                )
