"""What the model's rules make of a request's options: effort, limit, sampling, the choice of a tool."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, MutableSet
from dataclasses import dataclass, field
from typing import Any, Final

from kimi_vertex._text import plain
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.models import Effort, ModelInfo, Server
from kimi_vertex.options import RequestOptions

__all__ = ["SWITCHED_OFF", "Rules"]

logger: Final = logging.getLogger("kimi_vertex.payload")

SWITCHED_OFF: Final[Mapping[str, Any]] = {
    "thinking": {"type": "disabled"},
    "chat_template_kwargs": {"thinking": False},
}
"""How a server of an unknown kind is told not to think: in Moonshot's way, and in the engines'."""
_SAMPLING: Final = ("temperature", "top_p")
_FIELDS: Final = (
    *(*_SAMPLING, "max_tokens", "parallel_tool_calls", "response_format", "seed"),
    *("chat_template_kwargs", "thinking"),
)
_LONGEST_NAME: Final = 64
_MOST_TOLD: Final = 100
# The end of a signature: its parenthesis, and perhaps a type.
_SIGNATURE: Final = re.compile(r"\)(?: -> [^ ()]+)?$")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one model on one server."""

    info: ModelInfo
    server: Server | None = None
    """The kind of server, as far as it is known."""
    said: bool = False
    """Whether the user says what kind of server it is."""
    told: MutableSet[str] = field(default_factory=set)
    """What has been warned of."""

    @property
    def is_engine(self) -> bool:
        """Whether the server is known to be an engine that serves weights, which knows other rules than Moonshot."""
        return self.server in ("vllm", "sglang")

    @property
    def named_choice(self) -> bool:
        """Whether a call of one tool can be demanded by its name."""
        return self.info.named_tool_choice or self.is_engine

    def fields(self, options: RequestOptions) -> dict[str, Any]:
        """The options that have fields of their own in the body, each under the name that the model's server knows.

        Raises:
            InvalidRequestError: The model does not have this effort.
        """
        fields: dict[str, Any] = {}
        if self.said and self.server == "vllm" and self.info.keeps_markers_if_asked:
            # Without its parsers, vLLM takes the tokens out of the text, and what is left cannot be read.
            fields["skip_special_tokens"] = False
            if "skip_special_tokens" not in self.told:
                self.told.add("skip_special_tokens")
                logger.info("Requests say skip_special_tokens: false, for a vLLM without parsers.")
        for name in _FIELDS:
            value = options.get(name)
            if value is None or (name in _SAMPLING and self._leaves_out(name, value)):
                continue
            fields[self.info.output_limit if name == "max_tokens" else name] = value
        effort = options.get("reasoning_effort")
        if effort is not None:
            # What the caller has set in the server's own words is stronger.
            for name, value in self._effort(effort).items():
                given = fields.get(name)
                if isinstance(given, Mapping):
                    fields[name] = {**value, **given}
                elif not (name == "reasoning_effort" and "effort" in (options.get("thinking") or {})):
                    fields[name] = value
        return fields

    def warn_of_bare(self, tools: Iterable[Mapping[str, Any]], forced: DeclaredTools | None) -> None:
        """Warn of each tool that says nothing about itself, once for a client, where the model has a choice."""
        if forced is not None and len(forced.names) == 1:
            return
        for tool in tools:
            function = tool.get("function")
            if not isinstance(function, Mapping) or not _is_bare(function):
                continue
            name = plain(str(function.get("name")), _LONGEST_NAME)
            if f"tool {name}" not in self.told and len(self.told) < _MOST_TOLD:
                self.told.add(f"tool {name}")
                logger.warning(
                    "The tool %s has no description: write a docstring. The model chooses tools by their descriptions.",
                    name,
                )

    def media_refusal(self, part: Mapping[str, Any], position: int) -> str | None:
        """Why an image or a video cannot be sent, which the model or its server would ignore; `None` if it can.

        Args:
            part: The image or video, with its `number` among the parts that the caller gave.
            position: The message's place in the conversation.
        """
        kind, info = part["type"], self.info
        takes = info.video if kind == "video_url" else info.images
        if not takes:
            return (
                f"Leave out what is not text, or use Kimi K2.5 or later: the model {info.id!r} reads only text, but "
                f"message {position} has a content part, number {part['number']}, of type {kind!r}. The service would ignore it and guess."
            )
        if kind == "video_url" and self.server == "sglang" and not info.public_image_urls:
            return (
                f"Message {position} has a video, part number {part['number']}, which SGLang drops without a word for {info.family}: it takes "
                "images only. Send frames as images, or use another server."
            )
        url = str(part[kind].get("url"))
        if self.server == "moonshot" and not info.public_image_urls and url.lower().startswith("http"):
            return (
                f"Message {position} has a content part, number {part['number']}, of type {kind!r} with a public URL. For {info.family}, Moonshot's "
                "service takes the data itself (data:...;base64,...) or the id of an uploaded file (ms://...)."
            )
        return None

    def _leaves_out(self, name: str, value: object) -> bool:
        if self.server != "moonshot" or name not in self.info.fixed_sampling:
            return False
        if name not in self.told:
            self.told.add(name)
            logger.warning(
                "%s=%r is left out: Moonshot's service fixes it for %s, and refuses another value.",
                name,
                value,
                self.info.family,
            )
        return True

    def _effort(self, effort: str) -> dict[str, Any]:
        """An effort in the words of model and server."""
        info = self.info
        levels = info.efforts_on(self.server)
        if effort not in levels:
            raise InvalidRequestError(_refusal(effort, levels, info))
        if effort == "none" and info.off_on_engines:
            # `reasoning_effort` would reach the template, but not the parser of the answer.
            return {"chat_template_kwargs": {"thinking": False}}
        if "low" not in levels:
            return self._switch(on=effort != "none")
        # The level alone switches no Kimi off, and a model without a known name may be any of them: vLLM makes
        # `enable_thinking` of it, which Kimi's templates do not read (https://github.com/vllm-project/vllm/pull/43401).
        return {"reasoning_effort": effort, **(self._switch(on=False) if effort == "none" else {})}

    def _switch(self, *, on: bool) -> dict[str, Any]:
        """Thinking switched on or off, for models that have no levels between."""
        # Kimi K2.6 takes the thinking of earlier turns only if it is asked to keep it.
        keeps = on and self.info.keeps_thinking_if_asked
        kind = {"type": "enabled" if on else "disabled", **({"keep": "all"} if keeps else {})}
        template = {"thinking": on, **({"preserve_thinking": True} if keeps else {})}
        if self.server == "moonshot":
            return {"thinking": kind}
        if self.is_engine or on:
            return {"chat_template_kwargs": template}
        return dict(SWITCHED_OFF)  # what is refused is left out then


def _is_bare(function: Mapping[str, Any]) -> bool:
    """Whether a tool's description is empty, or the function's signature alone, as LlamaIndex writes it."""
    name, words = str(function.get("name")), str(function.get("description") or "").strip()
    words = words.replace(", ", ",").replace(" | ", "|")
    return not words or (
        words.startswith(f"{name}(") and "\n" not in words and bool(_SIGNATURE.search(words))
    )


def _refusal(effort: str, levels: tuple[Effort, ...], info: ModelInfo) -> str:
    name = info.family if info.family != "unknown" else "the model"
    if not levels:
        thinks = {"always": "it always thinks", "never": "it never thinks"}.get(info.thinking, "")
        return f"{name} has no reasoning_effort{': ' + thinks if thinks else ''}; leave {effort!r} out."
    shown = [repr(level) for level in levels]
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
    return f"{name} takes the reasoning_effort {listed}, not {effort!r}."
