"""How each kind of server spells a chunk and a body. One class for a family, a row for each; nothing here cuts text.

Shapes: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/maas/capabilities/thinking and
recorded streams of SGLang, vLLM, llama.cpp, Moonshot's API and OpenRouter.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._reply import encode_json
from kimi_vertex_emulator._requests import parsed
from kimi_vertex_emulator.answers import Dialect

__all__ = ["DONE", "SPELLINGS", "Spelling", "event"]

_END_OF_TURN = 163586
"""Token number of `<|im_end|>`, which SGLang reports as what stopped the model."""
DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode_json(value) + b"\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a server does alike in a stream and in a whole body; its chunks are the business of a `Spelling`."""

    thinking: Literal["field", "tags", "closing-tag"] = "field"
    """Where thinking stands: in a field, between tags, or before a lone closing tag."""
    native_calls: Literal["content", "thinking"] | None = None
    """Where calls are text in Kimi's own notation, if they are."""
    raw: bool = False
    """Whether the whole turn stands in the content, in Kimi K3's markup."""
    whole_calls: bool = False
    """Whether a call comes in one piece, once it is complete."""
    field: str = "reasoning_content"
    ids: str = "functions.{name}:{number}"
    """The id of a call; the number counts over the conversation, `{hash}` has 32 digits."""
    fragment: Mapping[str, Any]
    """What the function of a call has in each of its deltas, if nothing else is to be said there."""
    counted: Mapping[str, Any]
    """What the usage has beside the three counts."""
    tail: Mapping[str, Any]
    """What a whole body ends with."""

    @property
    def calls_in_text(self) -> bool:
        """Whether calls are text."""
        return self.raw or self.native_calls is not None


class Spelling:
    """The spelling of Kimi on Vertex: SGLang with Google's additions. Base of the others, which say what differs.

    `counts` are prompt and completion tokens, for the usage that the server makes up where none is scripted.
    """

    def __init__(
        self,
        habits: Habits,
        chat: ChatRequest,
        reply_id: str,
        counts: tuple[int, int],
        usage: Mapping[str, Any] | None,
    ) -> None:
        self.habits = habits
        self.field = habits.field
        self.chat = chat
        self.reply_id = reply_id
        self.created = int(time.time())
        self._counts = counts
        self._usage = usage

    def call_id(self, name: str, number: int) -> str:
        """The id that the server gives a call."""
        digits = hashlib.sha256(repr((self.reply_id, name, number)).encode()).hexdigest()
        return self.habits.ids.format(name=name, number=number, hash=digits[:32])

    def arguments(self, text: str) -> str:
        """The arguments of a call as the server gives them out, from what the model wrote."""
        return text

    def usage(self) -> dict[str, Any]:
        """The usage, scripted or made up."""
        prompt, completion = self._counts
        counts = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return dict(self._usage) if self._usage is not None else {**counts, **self.habits.counted}

    def shell(self, kind: str) -> dict[str, Any]:
        """What stands around the choices of a chunk or a body."""
        return {"id": self.reply_id, "object": kind, "created": self.created, "model": self.chat.model}

    def chunk(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        return event({"choices": choices, **self.shell("chat.completion.chunk"), **extra})

    def body(self, message: dict[str, Any], reason: str) -> dict[str, Any]:
        choices = [self.choice(message, reason, "message")]
        return {
            **self.shell("chat.completion"),
            "choices": choices,
            "usage": self.usage(),
            **self.habits.tail,
        }

    def choice(self, said: dict[str, Any], reason: str | None = None, side: str = "delta") -> dict[str, Any]:
        matched = _END_OF_TURN if reason in ("stop", "tool_calls") else None
        return {side: said, "finish_reason": reason, "index": 0, "logprobs": None, "matched_stop": matched}

    def opening(self) -> Iterator[bytes]:
        """What comes before the first piece."""
        yield self.chunk([self.choice({"content": "", self.field: None, "role": "assistant"})])

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        return {"content": None, self.field: piece}

    def text_delta(self, piece: str) -> dict[str, Any]:
        return {"content": piece, self.field: None}

    def call_delta(
        self, index: int, function: Mapping[str, Any], call_id: str | None = None
    ) -> dict[str, Any]:
        """A piece of a call; the first one has its id."""
        named = {"id": call_id, "type": "function"}
        return {
            "content": None,
            "tool_calls": [{"index": index, "function": {**self.habits.fragment, **function}, **named}],
        }

    def ending(self, reason: str) -> Iterator[bytes]:
        """What comes after the last piece: by default the usage on the finish chunk, unless it was asked for."""
        finish = self.choice({self.field: None}, reason)
        if self.chat.include_usage:
            yield self.chunk([finish])
            yield self.chunk([], usage=self.usage())
        else:
            yield self.chunk([finish], usage=self.usage())
        yield DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        return {"role": "assistant", "content": text, self.field: thinking, "tool_calls": calls or None}


class _Vllm(Spelling):
    """vLLM: deltas hold only what is new, usage only when asked for."""

    def choice(self, said: dict[str, Any], reason: str | None = None, side: str = "delta") -> dict[str, Any]:
        stopped = {} if reason is None else {"stop_reason": None}
        return {"index": 0, side: said, "logprobs": None, "finish_reason": reason, **stopped}

    def opening(self) -> Iterator[bytes]:
        yield self.chunk([self.choice({"role": "assistant", "content": ""})])

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        return {self.field: piece}

    def text_delta(self, piece: str) -> dict[str, Any]:
        return {"content": piece}

    def call_delta(
        self, index: int, function: Mapping[str, Any], call_id: str | None = None
    ) -> dict[str, Any]:
        named = {} if call_id is None else {"id": call_id, "type": "function"}
        return {"tool_calls": [{"index": index, "function": {**self.habits.fragment, **function}, **named}]}

    def ending(self, reason: str) -> Iterator[bytes]:
        yield self.chunk([self.choice({"content": ""}, reason)])
        if self.chat.include_usage:
            yield self.chunk([], usage=self.usage())
        yield DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        tail = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
        return {"role": "assistant", "content": text, self.field: thinking, "tool_calls": calls, **tail}


class _VllmRust(_Vllm):
    def arguments(self, text: str) -> str:
        # The parser's `finish` closes what is open, so that a call which the limit cut looks whole.
        closed = (text + end for end in ("", '"}', "}", "null}", '": null}'))
        return next((whole for whole in closed if parsed(whole) is not None), "{}")


class _Llama(_Vllm):
    def opening(self) -> Iterator[bytes]:
        yield self.chunk([self.choice({"role": "assistant", "content": None})])

    def ending(self, reason: str) -> Iterator[bytes]:
        timings = {"prompt_n": self._counts[0], "predicted_n": self._counts[1], "predicted_per_second": 50.0}
        # Some versions of 2025 sent the usage unasked: https://github.com/ggml-org/llama.cpp/issues/16048.
        yield self.chunk([{"index": 0, "delta": {}, "finish_reason": reason}], timings=timings)
        if self.chat.include_usage:
            yield self.chunk([], usage=self.usage(), timings=timings)
        yield DONE


class _Moonshot(_Vllm):
    """Moonshot's own API: usage inside the choice, cached tokens at its top, ids without namespace."""

    def ending(self, reason: str) -> Iterator[bytes]:
        choice = {"index": 0, "delta": {}, "finish_reason": reason, "usage": self.usage()}
        yield self.chunk([choice], system_fingerprint="fpv0_emulator")
        if self.chat.include_usage and self.habits.whole_calls:
            yield self.chunk([], usage=self.usage())
        yield DONE


class _Gateway(_Vllm):
    """A gateway: comments, thinking in two fields, an id of its own on the first chunk, two finish chunks."""

    def shell(self, kind: str) -> dict[str, Any]:
        return {**super().shell(kind), "id": f"gen-{self.reply_id}", "provider": "Emulator"}

    def choice(self, said: dict[str, Any], reason: str | None = None, side: str = "delta") -> dict[str, Any]:
        reasons = {"finish_reason": reason, "native_finish_reason": reason}
        return {"index": 0, side: {"role": "assistant", **said}, **reasons, "logprobs": None}

    def opening(self) -> Iterator[bytes]:
        yield b": OPENROUTER PROCESSING\n\n"
        yield b": OPENROUTER PROCESSING\n\n"
        yield self.chunk([self.choice({})], id=f"chatcmpl-{self.reply_id}")

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        return {"content": "", **self._thought(piece)}

    def ending(self, reason: str) -> Iterator[bytes]:
        yield self.chunk([self.choice({"content": "", self.field: None}, reason)])
        yield self.chunk([self.choice({"content": ""}, reason)], usage=self.usage())
        yield DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        called = {"tool_calls": calls} if calls else {}
        return {"content": text, "refusal": None, **self._thought(thinking), **called}

    def _thought(self, text: str | None) -> dict[str, Any]:
        detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
        return {self.field: text, **({"reasoning_details": [detail]} if text else {})}


_VERTEX = Habits(
    fragment={"arguments": "", "name": None},
    # Vertex reports no reasoning tokens even for turns that think.
    counted={
        "extra_properties": {"google": {"traffic_type": "ON_DEMAND"}},
        "prompt_tokens_details": None,
        "reasoning_tokens": 0,
    },
    tail={"metadata": {"weight_version": "default"}},
)
_SGLANG = replace(_VERTEX, counted={"prompt_tokens_details": None, "reasoning_tokens": 0})
_VLLM = Habits(field="reasoning", fragment={}, counted={"prompt_tokens_details": None}, tail={})
_LLAMA = replace(_VLLM, field="reasoning_content", ids="{hash}", fragment={"arguments": ""})
_MOONSHOT = replace(_LLAMA, ids="{name}:{number}", counted={"cached_tokens": 0})
_GATEWAY = replace(
    _VLLM, fragment={"arguments": ""}, counted={"cost": 0, "prompt_tokens_details": {"cached_tokens": 0}}
)
_TOOL_HASH: Final = "chatcmpl-tool-{hash}"

SPELLINGS: Final[dict[Dialect, tuple[type[Spelling], Habits]]] = {
    "vertex": (Spelling, _VERTEX),
    "vllm-old": (_Vllm, replace(_VLLM, field="reasoning_content", ids=_TOOL_HASH)),
    "vllm-new": (_Vllm, _VLLM),
    "vllm-no-parser": (_Vllm, replace(_VLLM, thinking="tags")),
    "close-tag-only": (_Vllm, replace(_VLLM, thinking="closing-tag")),
    "sglang-no-tool-parser": (Spelling, replace(_SGLANG, native_calls="content")),
    "sglang-no-parser": (Spelling, replace(_SGLANG, thinking="tags", native_calls="content")),
    # A tool section inside the thinking: https://github.com/MoonshotAI/Kimi-K2/issues/89.
    "calls-in-thinking": (Spelling, replace(_VERTEX, native_calls="thinking")),
    "llama.cpp": (_Llama, _LLAMA),
    "moonshot": (_Moonshot, _MOONSHOT),
    "gateway": (_Gateway, _GATEWAY),
    "moonshot-k3": (_Moonshot, replace(_MOONSHOT, whole_calls=True)),
    "vllm-k3": (_Vllm, replace(_VLLM, ids=_TOOL_HASH, whole_calls=True)),
    "vllm-k3-rust": (_VllmRust, replace(_VLLM, ids="call_{hash:.24}")),
    "sglang-k3": (Spelling, replace(_SGLANG, ids="{name}:{number}", whole_calls=True)),
    "raw-k3": (Spelling, replace(_SGLANG, raw=True)),
}
