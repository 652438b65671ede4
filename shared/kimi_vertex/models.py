"""What is known about Kimi's models: limits, lifecycle, and what an error about one of them means.

Data and text only. Unknown ids always work; nothing here decides what may be sent to a server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, Literal, TypeAlias

from .messages import Message

__all__ = [
    "ACCESS_GRANT",
    "MANAGED_MODEL",
    "MODEL_CARD",
    "RETIREMENTS",
    "ModelInfo",
    "ThinkingMode",
    "estimate_conversation_tokens",
    "estimate_tokens",
    "model_info",
    "retirement_warning",
]

MANAGED_MODEL: Final = "moonshotai/kimi-k2-thinking-maas"
"""The one Kimi model that Google has offered as a managed service."""

ThinkingMode: TypeAlias = Literal["always", "switchable", "never"]

_DOCS: Final = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models"
RETIREMENTS: Final = f"{_DOCS}/deprecations/open-models"
MODEL_CARD: Final = f"{_DOCS}/maas/kimi/kimi-k2-thinking"
ACCESS_GRANT: Final = f"{_DOCS}/maas/grant-access-open-models"
_SELF_DEPLOY: Final = (
    "deploy Kimi yourself from Model Garden (cards moonshotai/kimi-k2, kimi-k2-5, kimi-k3) and pass its "
    'resource name as endpoint="projects/.../locations/.../endpoints/..."'
)
_K: Final = 1024
_TOKENS_PER_MESSAGE: Final = 4
_TOKENS_PER_IMAGE: Final = 1024
# Han, kana, hangul and their punctuation: Kimi's vocabulary has about two of these characters to three tokens.
_IDEOGRAPHS: Final = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about one model, as far as they are published.

    For a self-deployed model they are those of the weights; the server's own flags
    (`--max-model-len` and the like) may set lower limits.
    """

    id: str | None
    """The id as it was asked for; `None` for an endpoint that was given without a model."""
    family: str
    """`"Kimi K2 Thinking"`, `"Kimi K2.5"` ...; `"unknown"` if no pattern fits."""
    context_window: int
    """Tokens of prompt and answer together."""
    max_output_tokens: int
    """Tokens of one answer, thinking included. At most the context window, which the prompt shares."""
    images: bool
    """Whether images may be sent. `True` for unknown models: their server can say no by itself."""
    thinking: ThinkingMode
    """Whether the model thinks before it answers; `"switchable"` also stands for "not known"."""
    deprecated_on: date | None = None
    """Google's date for the managed service only: weights that you deploy do not retire."""
    retires_on: date | None = None
    successor: str | None = None
    """What to do instead, as the end of a sentence that begins with "You can"."""
    notes: tuple[str, ...] = ()


_UNKNOWN: Final = ModelInfo(
    id=None,
    family="unknown",
    # What every Kimi since K2-0905 has. A guess that is too high ends in the server's clear error about its
    # context window; one that is too low would make frameworks cut histories and retrieved texts in silence.
    context_window=256 * _K,
    max_output_tokens=256 * _K,
    images=True,
    thinking="switchable",
)

# Limits and modalities of the weights, unless another source is named:
# https://github.com/anomalyco/models.dev/tree/36dbbd6/models/moonshotai
_K2_INSTRUCT: Final = replace(
    _UNKNOWN,
    family="Kimi K2 Instruct",
    context_window=128 * _K,
    max_output_tokens=128 * _K,
    images=False,
    thinking="never",
)
_K2_INSTRUCT_0905: Final = replace(
    _K2_INSTRUCT, family="Kimi K2 Instruct 0905", context_window=256 * _K, max_output_tokens=256 * _K
)
_K2: Final = replace(
    _K2_INSTRUCT_0905,
    family="Kimi K2",
    # The Model Garden card `kimi-k2` deploys the Instruct models and the Thinking one.
    thinking="switchable",
)
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/maas/kimi/kimi-k2-thinking
_K2_THINKING: Final = replace(
    _UNKNOWN,
    family="Kimi K2 Thinking",
    images=False,
    thinking="always",
    notes=("Vertex answers a request with an image with a guess instead of an error.",),
)
# https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model has the switches of K2.5, K2.6 and K2.7.
_K2_5: Final = replace(
    _UNKNOWN,
    family="Kimi K2.5",
    notes=('Thinking is switched off with chat_template_kwargs={"thinking": False}.',),
)
_K2_6: Final = replace(
    _K2_5,
    family="Kimi K2.6",
    notes=(
        *_K2_5.notes,
        'chat_template_kwargs={"thinking": True, "preserve_thinking": True} keeps the thinking of all turns.',
    ),
)
_K2_7: Final = replace(
    _UNKNOWN,
    family="Kimi K2.7 Code",
    thinking="always",
    notes=("Asking it not to think is an error; the thinking of all turns is kept.",),
)
# Always thinks, and its effort parameter: https://docs.rs/synaps-engine/0.11.0 (catalog/kimi.rs).
_K3: Final = replace(
    _UNKNOWN,
    family="Kimi K3",
    context_window=1024 * _K,
    max_output_tokens=256 * _K,
    thinking="always",
    notes=('reasoning_effort is "low", "high" or "max"; Moonshot accepts no temperature but 1.',),
)

_PATTERNS: Final[tuple[tuple[re.Pattern[str], ModelInfo], ...]] = tuple(
    (re.compile(rf"(?<![a-z0-9])kimi-?{pattern}"), info)
    for pattern, info in (
        (r"k3(?![0-9])", _K3),
        (r"k2[-p]7(?![0-9])", _K2_7),
        (r"k2[-p]6(?![0-9])", _K2_6),
        (r"k2[-p]5(?![0-9])", _K2_5),
        (r"k2(?![-p][0-9](?![0-9])).*thinking", _K2_THINKING),
        (r"k2(-instruct|-turbo)?-0905", _K2_INSTRUCT_0905),
        (r"k2-(instruct|base|0711)", _K2_INSTRUCT),
        # Not K2.8 or another later point release, about which nothing is known here.
        (r"k2(?![0-9])(?![-p][0-9](?![0-9]))", _K2),
    )
)

_MANAGED: Final = {
    MANAGED_MODEL: replace(
        _K2_THINKING,
        # https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/deprecations/open-models
        deprecated_on=date(2026, 7, 21),
        retires_on=date(2026, 10, 21),
        successor=_SELF_DEPLOY,
    )
}


def model_info(model_id: str | None) -> ModelInfo:
    """Return what is known about `model_id`, in any of the spellings in use.

    Args:
        model_id: A Vertex id (`moonshotai/kimi-k2-thinking-maas`), a Hugging Face or Moonshot id
            (`moonshotai/Kimi-K2.5`, `kimi-k2.6`), or `None` for an endpoint that knows its own model.

    Returns:
        The published facts. An unknown id gets Kimi's usual limits, and images are allowed.
    """
    if model_id is None:
        return _UNKNOWN
    managed = _MANAGED.get(_without_resource_prefix(model_id).lower())
    if managed is not None:
        return replace(managed, id=model_id)
    name = re.sub(r"[._\s]", "-", model_id.lower())
    for pattern, info in _PATTERNS:
        if pattern.search(name):
            return replace(info, id=model_id)
    return replace(_UNKNOWN, id=model_id)


def _without_resource_prefix(model_id: str) -> str:
    found = re.fullmatch(r"(?:.*/)?publishers/([^/]+)/models/([^/@:]+).*", model_id)
    return f"{found[1]}/{found[2]}" if found else model_id


def retirement_warning(info: ModelInfo, today: date) -> str | None:
    """Return the text of a warning if `info` is a managed model that is deprecated or past its date."""
    if info.retires_on is not None and today >= info.retires_on:
        return (
            f"{info.id}: Google announced that this managed model retires on {info.retires_on.isoformat()}; "
            f"after that, requests fail with 404. You can {info.successor}. See {RETIREMENTS}"
        )
    if info.deprecated_on is not None and today >= info.deprecated_on:
        until = f" and retires on {info.retires_on.isoformat()}" if info.retires_on else ""
        return (
            f"{info.id}: this managed model is deprecated since {info.deprecated_on.isoformat()}{until}. "
            f"You can {info.successor}. See {RETIREMENTS}"
        )
    return None


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens of Kimi's vocabulary a text has.

    An estimate, good enough for budgets: four characters to a token in alphabetic scripts, and two tokens to
    three characters in Chinese, Japanese and Korean. The exact figures are in `Usage`.
    """
    if not text:
        return 0
    ideographs = 0 if text.isascii() else len(_IDEOGRAPHS.findall(text))
    return max(1, round(ideographs * 2 / 3 + (len(text) - ideographs) / 4))


def estimate_conversation_tokens(
    messages: Iterable[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    count: Callable[[str], int] = estimate_tokens,
) -> int:
    """Estimate how many tokens a request has: texts, thinking, tool calls, images and the tools' schemas.

    Args:
        messages: The conversation.
        tools: Its tools in OpenAI's form.
        count: Counts the tokens of a text.
    """
    total = count(json.dumps(tools, ensure_ascii=False)) if tools else 0
    for message in messages:
        texts = [message.thinking or "", *(f"{c.id}{c.name}{c.arguments}" for c in message.tool_calls)]
        if isinstance(message.content, str):
            texts.append(message.content)
        else:
            for part in message.content or ():
                texts.append(str(part.get("text") or ""))
                total += _TOKENS_PER_IMAGE if part.get("type") != "text" else 0
        total += _TOKENS_PER_MESSAGE + sum(count(text) for text in texts if text)
    return total
