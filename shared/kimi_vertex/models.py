"""What is known about Kimi's models: limits, inputs, thinking, what requests to them look like, lifecycle.

Unknown ids always work: they get what every server takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "ACCESS_GRANT",
    "EFFORTS",
    "MANAGED_MODEL",
    "MODEL_CARD",
    "RETIREMENTS",
    "SAMPLING",
    "Effort",
    "ModelInfo",
    "Parser",
    "Server",
    "ThinkingMode",
    "model_info",
    "retirement_warning",
]

MANAGED_MODEL: Final = "moonshotai/kimi-k2-thinking-maas"
"""The one Kimi model that Google has offered as a managed service."""

SAMPLING: Final = ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty")
"""What a server may fix for a model, so that another value is an error."""

ThinkingMode: TypeAlias = Literal["always", "switchable", "never"]
Effort: TypeAlias = Literal["none", "low", "medium", "high", "max"]
"""How much the model thinks, of all that any model knows."""
Server: TypeAlias = Literal["vllm", "sglang", "moonshot"]
"""What serves a model: an engine, or Moonshot's own service."""
Parser: TypeAlias = Literal["kimi_k2", "kimi_k3"]
"""The name of the engines' parsers for a model's calls and thinking."""
EFFORTS: Final[tuple[Effort, ...]] = get_args(Effort)

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
    video: bool = False
    """Whether videos may be sent."""
    efforts: tuple[Effort, ...] = ()
    """The levels that `reasoning_effort` may have."""
    default_effort: Effort | None = None
    """The level without `reasoning_effort`."""
    keeps_thinking_if_asked: bool = False
    """Whether the thinking of all turns is kept only if the request asks for it."""
    off_on_engines: bool = False
    """Whether vLLM and SGLang can switch thinking off (effort `"none"`) though Moonshot's service cannot."""
    mid_conversation_tools: bool = False
    """Whether a system message may declare further tools."""
    call_id_prefix: str = "functions."
    """What stands before `NAME:NUMBER` in the ids of calls."""
    empty_thinking: str = " "
    """What is sent as the thinking of a turn that has none, but needs some."""
    thinking_of: Literal["tools", "all"] = "tools"
    """Which turns of the history need their thinking: those that call tools, or all."""
    named_tool_choice: bool = True
    """Whether Moonshot's service can be asked for a call of one tool by its name."""
    fixed_sampling: tuple[str, ...] = ()
    """What Moonshot's service fixes for this model, so that another value is an error."""
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name of the limit for an answer in a request."""
    keeps_markers_if_asked: bool = False
    """Whether a vLLM without parsers spoils the answer, unless the request asks for its special tokens."""
    public_image_urls: bool = True
    """Whether Moonshot's service takes the public URL of an image, not only its data."""
    parser: Parser | None = "kimi_k2"
    """The parser that an engine has for the model's calls and thinking; `None` for unknown models."""

    def efforts_on(self, server: Server | None) -> tuple[Effort, ...]:
        """The levels of `reasoning_effort` that a request to this kind of server may have."""
        return ("none", *self.efforts) if self.off_on_engines and server != "moonshot" else self.efforts

    def flags_on(self, server: Server | None) -> str:
        """The flags with which an engine takes the model's calls and thinking apart.

        They are vLLM's, unless the server is SGLang, which needs one less. For an unknown model, both parsers are named.
        """
        parser = self.parser or "kimi_k2"
        flags = f"--tool-call-parser {parser} --reasoning-parser {parser}"
        if server != "sglang":
            flags = f"--enable-auto-tool-choice {flags}"
        return flags if self.parser else f"{flags} (Kimi K3: kimi_k3 for both)"


_NO_IMAGES: Final = "Vertex answers a request with an image with a guess instead of an error."
_SWITCH: Final = 'reasoning_effort="none" switches thinking off.'
_KEEP: Final = (
    'chat_template_kwargs={"thinking": True, "preserve_thinking": True} keeps the thinking of all turns.'
)
_ALWAYS: Final = "Asking it not to think is an error; the thinking of all turns is kept."
_EFFORT: Final = 'reasoning_effort is "low", "high" or "max"; Moonshot accepts no temperature but 1.'

# What every Kimi since K2-0905 has. A guess that is too high ends in the server's clear error about its context window;
# one that is too low would make frameworks cut histories and retrieved texts in silence.
_UNKNOWN: Final = ModelInfo(
    None,
    "unknown",
    256 * _K,
    256 * _K,
    images=True,
    thinking="switchable",
    video=True,
    efforts=EFFORTS,
    parser=None,
)

# Limits and inputs are those of the weights: https://github.com/anomalyco/models.dev/tree/36dbbd6/models/moonshotai
# (August 2026), for K3.1 Pro the price map of litellm 1.110.2 (22 November 2026).
_K2: Final = ModelInfo(None, "Kimi K2", 256 * _K, 256 * _K, images=False, thinking="switchable")
_K2_INSTRUCT: Final = replace(_K2, family="Kimi K2 Instruct 0905", thinking="never")
_K2_INSTRUCT_0711: Final = replace(
    _K2_INSTRUCT, family="Kimi K2 Instruct", context_window=128 * _K, max_output_tokens=128 * _K
)
# https://recipes.vllm.ai (moonshotai/Kimi-Linear-48B-A3B-Instruct; the model is of 30 October 2025): text only, 1M tokens.
_LINEAR: Final = replace(
    _K2_INSTRUCT, family="Kimi Linear", context_window=1024 * _K, max_output_tokens=1024 * _K
)
# https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model (2025): the service refuses tool turns whose thinking is
# missing or empty.
_K2_THINKING: Final = replace(_K2, family="Kimi K2 Thinking", thinking="always", notes=(_NO_IMAGES,))
# Inputs, the switch `thinking` and the fixed sampling: tests of MoonshotAI/Kimi-Vendor-Verifier (August 2026).
_K2_5: Final = replace(
    _K2,
    family="Kimi K2.5",
    images=True,
    video=True,
    efforts=("none", "high"),
    default_effort="high",
    fixed_sampling=SAMPLING,
    notes=(_SWITCH,),
)
# Empty thinking is accepted since 16 July 2026: https://github.com/MoonshotAI/kimi-code/pull/1773.
# `keep` and `preserve_thinking`: https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model (2026).
_K2_6: Final = replace(
    _K2_5, family="Kimi K2.6", empty_thinking="", keeps_thinking_if_asked=True, notes=(_SWITCH, _KEEP)
)
# `thinking.type` "disabled" is an error, `keep` is always "all": Kimi-Vendor-Verifier (August 2026).
_K2_7_CODE: Final = replace(
    _K2_6,
    family="Kimi K2.7 Code",
    thinking="always",
    thinking_of="all",
    keeps_thinking_if_asked=False,
    efforts=(),
    default_effort=None,
    notes=(_ALWAYS,),
)
# All from Kimi-Vendor-Verifier (August 2026: k3_features, params), except: thinking can be switched off in the chat
# template of vLLM 0.33 and SGLang 0.5.23 (October 2026), whose encoders print no ids of calls; SGLang counts its own
# as `NAME:NUMBER`. Effort: also https://docs.rs/synaps-engine/0.11.0 (catalog/kimi.rs).
_K3: Final = replace(
    _K2_7_CODE,
    family="Kimi K3",
    context_window=1024 * _K,
    max_output_tokens=1024 * _K,
    efforts=("low", "high", "max"),
    default_effort="max",
    off_on_engines=True,
    mid_conversation_tools=True,
    call_id_prefix="",
    named_tool_choice=False,
    keeps_markers_if_asked=True,
    output_limit="max_completion_tokens",
    public_image_urls=False,
    parser="kimi_k3",
    notes=(_EFFORT,),
)
# Post-trained from K3 (released 23 October 2026); limits from litellm 1.110.2, the rest inferred from K3.
_K3_1_PRO: Final = replace(_K3, family="Kimi K3.1 Pro")

# What follows `kimi-` in the id, the first that fits. The Model Garden card `kimi-k2` deploys the Instruct models and the
# Thinking one, hence "switchable"; the last rows are not for K2.8, K3.2 or another later point release, about which
# nothing is known here.
_MODELS: Final = tuple(
    (re.compile(rf"(?<![a-z0-9])kimi-?{pattern}"), info)
    for pattern, info in (
        (r"k3[-p]?1(?![0-9])", _K3_1_PRO),
        (r"k3(?![0-9])(?![-p][0-9](?![0-9]))", _K3),
        (r"linear", _LINEAR),
        (r"k2[-p]7(?![0-9])", _K2_7_CODE),
        (r"k2[-p]6(?![0-9])", _K2_6),
        (r"k2[-p]5(?![0-9])", _K2_5),
        (r"k2(?![-p][0-9](?![0-9])).*thinking", _K2_THINKING),
        (r"k2(-instruct|-turbo)?-0905", _K2_INSTRUCT),
        (r"k2-(instruct|base|0711)", _K2_INSTRUCT_0711),
        (r"k2(?![0-9])(?![-p][0-9](?![0-9]))", _K2),
    )
)


def model_info(model_id: str | None) -> ModelInfo:
    """Return what is known about `model_id`, in any of the spellings in use.

    Args:
        model_id: A Vertex id (`moonshotai/kimi-k2-thinking-maas`), a Hugging Face or Moonshot id
            (`moonshotai/Kimi-K2.5`, `kimi-k2.6`), or `None` for an endpoint that knows its own model.

    Returns:
        The published facts. An unknown id gets Kimi's usual limits; images, videos and all efforts are allowed.
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
