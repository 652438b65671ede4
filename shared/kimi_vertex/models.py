"""What is known about Kimi's models: limits, inputs, thinking, lifecycle.

Unknown ids always work; nothing here decides what may be sent to a server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal, TypeAlias

__all__ = [
    "ACCESS_GRANT",
    "MANAGED_MODEL",
    "MODEL_CARD",
    "RETIREMENTS",
    "ModelInfo",
    "ThinkingMode",
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
    """Whether images may be sent. `True` for unknown models: their server decides."""
    thinking: ThinkingMode
    """Whether the model thinks before it answers; `"switchable"` also stands for "not known"."""
    deprecated_on: date | None = None
    """Google's date for the managed service only: weights that you deploy do not retire."""
    retires_on: date | None = None
    successor: str | None = None
    """What to do instead, as the end of a sentence that begins with "You can"."""
    notes: tuple[str, ...] = ()


# What every Kimi since K2-0905 has. A guess that is too high ends in the server's clear error about its context window;
# one that is too low would make frameworks cut histories and retrieved texts in silence.
_UNKNOWN: Final = ModelInfo(None, "unknown", 256 * _K, 256 * _K, images=True, thinking="switchable")

_NO_IMAGES: Final = "Vertex answers a request with an image with a guess instead of an error."
_SWITCH: Final = 'Thinking is switched off with chat_template_kwargs={"thinking": False}.'
_KEEP: Final = (
    'chat_template_kwargs={"thinking": True, "preserve_thinking": True} keeps the thinking of all turns.'
)
_ALWAYS: Final = "Asking it not to think is an error; the thinking of all turns is kept."
_EFFORT: Final = 'reasoning_effort is "low", "high" or "max"; Moonshot accepts no temperature but 1.'

# What follows `kimi-` in the id, the first that fits; family; context and answer in units of 1,024 tokens; images;
# thinking; notes. Limits and modalities are those of the weights:
# https://github.com/anomalyco/models.dev/tree/36dbbd6/models/moonshotai
# Switches of K2.5 to K2.7: https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model
# K3's effort: https://docs.rs/synaps-engine/0.11.0 (catalog/kimi.rs)
# The Model Garden card `kimi-k2` deploys the Instruct models and the Thinking one, hence "switchable"; the last row is
# not for K2.8 or another later point release, about which nothing is known here.
_TABLE: Final[tuple[tuple[str, str, int, int, bool, ThinkingMode, tuple[str, ...]], ...]] = (
    (r"k3(?![0-9])", "Kimi K3", 1024, 256, True, "always", (_EFFORT,)),
    (r"k2[-p]7(?![0-9])", "Kimi K2.7 Code", 256, 256, True, "always", (_ALWAYS,)),
    (r"k2[-p]6(?![0-9])", "Kimi K2.6", 256, 256, True, "switchable", (_SWITCH, _KEEP)),
    (r"k2[-p]5(?![0-9])", "Kimi K2.5", 256, 256, True, "switchable", (_SWITCH,)),
    (r"k2(?![-p][0-9](?![0-9])).*thinking", "Kimi K2 Thinking", 256, 256, False, "always", (_NO_IMAGES,)),
    (r"k2(-instruct|-turbo)?-0905", "Kimi K2 Instruct 0905", 256, 256, False, "never", ()),
    (r"k2-(instruct|base|0711)", "Kimi K2 Instruct", 128, 128, False, "never", ()),
    (r"k2(?![0-9])(?![-p][0-9](?![0-9]))", "Kimi K2", 256, 256, False, "switchable", ()),
)
_MODELS: Final = tuple(
    (
        re.compile(rf"(?<![a-z0-9])kimi-?{pattern}"),
        ModelInfo(None, family, context * _K, answer * _K, images=images, thinking=thinking, notes=notes),
    )
    for pattern, family, context, answer, images, thinking, notes in _TABLE
)


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
    name = re.sub(r"[._\s]", "-", model_id.lower())
    known = next((info for pattern, info in _MODELS if pattern.search(name)), _UNKNOWN)
    if _without_resource_prefix(model_id).lower() == MANAGED_MODEL:
        # https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/deprecations/open-models
        return replace(
            known,
            id=model_id,
            deprecated_on=date(2026, 7, 21),
            retires_on=date(2026, 10, 21),
            successor=_SELF_DEPLOY,
        )
    return replace(known, id=model_id)


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
