"""How each kind of server spells a chunk and a body. One class per family; nothing here cuts or orders text.

Shapes: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/maas/capabilities/thinking and
recorded streams of SGLang, vLLM, llama.cpp, Moonshot's API and OpenRouter.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._reply import encode_json
from kimi_vertex_emulator.answers import Dialect

__all__ = ["Spelling", "event", "spelling"]

_END_OF_TURN = 163586
"""Token number of `<|im_end|>`, which SGLang reports as what stopped the model."""
_DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode_json(value) + b"\n\n"


class Spelling:
    """The spelling of Kimi on Vertex: SGLang with Google's additions. Base of the others.

    Args:
        chat: The request.
        reply_id: The answer's id.
        counts: Prompt and completion tokens, for the usage that the server makes up.
        usage: Scripted usage, sent as it is.
    """

    thinking: ClassVar[Literal["field", "tags", "closing-tag"]] = "field"
    """Where thinking stands: in a field, between tags, or before a lone closing tag."""
    native_calls: ClassVar[Literal["content", "thinking"] | None] = None
    """Where calls are text in Kimi's own notation, if they are."""
    raw: ClassVar[bool] = False
    """Whether the whole turn stands in the content, in Kimi K3's markup."""
    whole_calls: ClassVar[bool] = False
    """Whether a call comes in one piece, once it is complete."""
    field: ClassVar[str] = "reasoning_content"

    def __init__(
        self, chat: ChatRequest, reply_id: str, counts: tuple[int, int], usage: Mapping[str, Any] | None
    ) -> None:
        self.chat = chat
        self.reply_id = reply_id
        self.created = int(time.time())
        self._counts = counts
        self._usage = usage

    def call_id(self, name: str, number: int) -> str:
        """The id that the server gives a call; the number counts over the conversation."""
        return f"functions.{name}:{number}"

    def arguments(self, text: str) -> str:
        """The arguments of a call as the server gives them out, from what the model wrote."""
        return text

    def usage(self) -> dict[str, Any]:
        """The usage, scripted or made up."""
        return dict(self._usage) if self._usage is not None else self.made_up_usage(*self._counts)

    def made_up_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        """Counts in the server's form."""
        return {
            "completion_tokens": completion,
            "extra_properties": {"google": {"traffic_type": "ON_DEMAND"}},
            "prompt_tokens": prompt,
            "prompt_tokens_details": None,
            # Vertex reports 0 here even for turns that think.
            "reasoning_tokens": 0,
            "total_tokens": prompt + completion,
        }

    def chunk(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        """One chunk as an event."""
        shell = {"choices": choices, "created": self.created, "id": self.reply_id, "model": self.chat.model}
        return event({**shell, "object": "chat.completion.chunk", **extra})

    def choice(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """The choice of a chunk."""
        shell = {"delta": delta, "finish_reason": reason, "index": 0, "logprobs": None}
        return {**shell, "matched_stop": _matched(reason)}

    def opening(self) -> Iterator[bytes]:
        """What comes before the first piece."""
        yield self.chunk([self.choice({"content": "", self.field: None, "role": "assistant"})])

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        """A piece of thinking."""
        return {"content": None, self.field: piece}

    def text_delta(self, piece: str) -> dict[str, Any]:
        """A piece of content."""
        return {"content": piece, self.field: None}

    def call_delta(self, index: int, call_id: str, name: str) -> dict[str, Any]:
        """The first piece of a call."""
        function: dict[str, Any] = {"arguments": "", "name": name}
        return {"content": None, "tool_calls": [_fragment(index, call_id, function)]}

    def arguments_delta(self, index: int, piece: str) -> dict[str, Any]:
        """A further piece of a call."""
        return {"tool_calls": [_fragment(index, None, {"arguments": piece, "name": None})]}

    def ending(self, reason: str) -> Iterator[bytes]:
        """What comes after the last piece: by default the usage on the finish chunk, unless it was asked for."""
        finish = self.choice({self.field: None}, reason)
        if self.chat.include_usage:
            yield self.chunk([finish])
            yield self.chunk([], usage=self.usage())
        else:
            yield self.chunk([finish], usage=self.usage())
        yield _DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        """The message of a whole body."""
        return {
            "content": text,
            self.field: thinking,
            "role": "assistant",
            "tool_calls": calls or None,
        }

    def body(self, message: dict[str, Any], reason: str) -> dict[str, Any]:
        """The whole body around a message."""
        shell = {"finish_reason": reason, "index": 0, "logprobs": None}
        return {
            "choices": [{**shell, "matched_stop": _matched(reason), "message": message}],
            "created": self.created,
            "id": self.reply_id,
            "metadata": {"weight_version": "default"},
            "model": self.chat.model,
            "object": "chat.completion",
            "usage": self.usage(),
        }


class _SglangBare(Spelling):
    native_calls: ClassVar[Literal["content", "thinking"] | None] = "content"

    def made_up_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        counts = {"prompt_tokens": prompt, "completion_tokens": completion}
        return {
            **counts,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": None,
            "reasoning_tokens": 0,
        }


class _Leaking(Spelling):
    """A tool section inside the thinking: https://github.com/MoonshotAI/Kimi-K2/issues/89."""

    native_calls = "thinking"


class _Vllm(Spelling):
    """vLLM: deltas hold only what is new, usage only when asked for."""

    field = "reasoning"

    def made_up_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        counts = {"prompt_tokens": prompt, "total_tokens": prompt + completion}
        return {**counts, "completion_tokens": completion, "prompt_tokens_details": None}

    def choice(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def opening(self) -> Iterator[bytes]:
        yield self.chunk([self.choice({"role": "assistant", "content": ""})])

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        return {self.field: piece}

    def text_delta(self, piece: str) -> dict[str, Any]:
        return {"content": piece}

    def call_delta(self, index: int, call_id: str, name: str) -> dict[str, Any]:
        return {
            "tool_calls": [{"id": call_id, "type": "function", "index": index, "function": {"name": name}}]
        }

    def arguments_delta(self, index: int, piece: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def ending(self, reason: str) -> Iterator[bytes]:
        yield self.chunk([{**self.choice({"content": ""}, reason), "stop_reason": None}])
        if self.chat.include_usage:
            yield self.chunk([], usage=self.usage())
        yield _DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        tail = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
        return {"role": "assistant", "content": text, self.field: thinking, "tool_calls": calls, **tail}

    def body(self, message: dict[str, Any], reason: str) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": reason,
            "stop_reason": None,
        }
        shell = {"id": f"chatcmpl-{self.reply_id}", "object": "chat.completion", "created": self.created}
        return {**shell, "model": self.chat.model, "choices": [choice], "usage": self.usage()}


class _VllmOld(_Vllm):
    field = "reasoning_content"

    def call_id(self, name: str, number: int) -> str:
        return f"chatcmpl-tool-{_hash(self.reply_id, name, number)}"


class _VllmTags(_Vllm):
    thinking = "tags"


class _VllmClosingTag(_Vllm):
    thinking = "closing-tag"


class _Llama(_Vllm):
    field = "reasoning_content"

    def call_id(self, name: str, number: int) -> str:
        return _hash(self.reply_id, name, number)

    def opening(self) -> Iterator[bytes]:
        yield self.chunk([self.choice({"role": "assistant", "content": None})])

    def call_delta(self, index: int, call_id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}

    def ending(self, reason: str) -> Iterator[bytes]:
        finish = {"finish_reason": reason, "index": 0, "delta": {}}
        timings = {"prompt_n": self._counts[0], "predicted_n": self._counts[1], "predicted_per_second": 50.0}
        # Some versions of 2025 sent it unasked: https://github.com/ggml-org/llama.cpp/issues/16048.
        if self.chat.include_usage:
            yield self.chunk([finish])
            yield self.chunk([], usage=self.usage(), timings=timings)
        else:
            yield self.chunk([finish], timings=timings)
        yield _DONE


class _Moonshot(_Vllm):
    """Moonshot's own API: usage inside the choice, cached tokens at its top, ids without namespace."""

    field = "reasoning_content"

    def call_id(self, name: str, number: int) -> str:
        return f"{name}:{number}"

    def made_up_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        counts = {"prompt_tokens": prompt, "completion_tokens": completion}
        return {**counts, "total_tokens": prompt + completion, "cached_tokens": 0}

    def call_delta(self, index: int, call_id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}

    def ending(self, reason: str) -> Iterator[bytes]:
        shell = {"index": 0, "delta": {}, "finish_reason": reason}
        yield self.chunk([{**shell, "usage": self.usage()}], system_fingerprint="fpv0_emulator")
        yield _DONE


class _Gateway(Spelling):
    """A gateway: comments, thinking in two fields, an id of its own on the first chunk, two finish chunks."""

    field = "reasoning"

    def made_up_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        counts = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return {**counts, "cost": 0, "prompt_tokens_details": {"cached_tokens": 0}}

    def chunk(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        shell = {"id": f"gen-{self.reply_id}", "provider": "Emulator", "model": self.chat.model}
        return event(
            {**shell, "object": "chat.completion.chunk", "created": self.created, "choices": choices, **extra}
        )

    def choice(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        reasons = {"finish_reason": reason, "native_finish_reason": reason}
        return {"index": 0, "delta": delta, **reasons, "logprobs": None}

    def opening(self) -> Iterator[bytes]:
        yield b": OPENROUTER PROCESSING\n\n"
        yield b": OPENROUTER PROCESSING\n\n"
        yield event(
            {
                "id": f"chatcmpl-{self.reply_id}",
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.chat.model,
                "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}],
            }
        )

    def thinking_delta(self, piece: str) -> dict[str, Any]:
        shell = {"content": "", "role": "assistant", self.field: piece}
        return {**shell, "reasoning_details": _details(piece)}

    def text_delta(self, piece: str) -> dict[str, Any]:
        return {"content": piece, "role": "assistant"}

    def call_delta(self, index: int, call_id: str, name: str) -> dict[str, Any]:
        fragment = _fragment(index, call_id, {"name": name, "arguments": ""})
        return {"content": None, "role": "assistant", "tool_calls": [fragment]}

    def arguments_delta(self, index: int, piece: str) -> dict[str, Any]:
        fragment = {"index": index, "function": {"arguments": piece}}
        return {"content": None, "role": "assistant", "tool_calls": [fragment]}

    def ending(self, reason: str) -> Iterator[bytes]:
        yield self.chunk([self.choice({"content": "", "role": "assistant", self.field: None}, reason)])
        yield self.chunk([self.choice({"content": "", "role": "assistant"}, reason)], usage=self.usage())
        yield _DONE

    def message(self, thinking: str | None, text: str | None, calls: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, self.field: thinking}
        if thinking:
            found["reasoning_details"] = _details(thinking)
        return {**found, "tool_calls": calls} if calls else found

    def body(self, message: dict[str, Any], reason: str) -> dict[str, Any]:
        reasons = {"finish_reason": reason, "native_finish_reason": reason}
        shell: dict[str, Any] = {
            "id": f"gen-{self.reply_id}",
            "provider": "Emulator",
            "model": self.chat.model,
        }
        shell |= {"object": "chat.completion", "created": self.created}
        choice = {"logprobs": None, **reasons, "index": 0, "message": message}
        return {**shell, "choices": [choice], "usage": self.usage()}


class _MoonshotK3(_Moonshot):
    whole_calls = True

    def ending(self, reason: str) -> Iterator[bytes]:
        shell = {"index": 0, "delta": {}, "finish_reason": reason}
        yield self.chunk([{**shell, "usage": self.usage()}], system_fingerprint="fpv0_emulator")
        if self.chat.include_usage:
            yield self.chunk([], usage=self.usage())
        yield _DONE


class _VllmK3(_Vllm):
    whole_calls = True

    def call_id(self, name: str, number: int) -> str:
        return f"chatcmpl-tool-{_hash(self.reply_id, name, number)}"


class _VllmK3Rust(_Vllm):
    def call_id(self, name: str, number: int) -> str:
        return f"call_{_hash(self.reply_id, name, number)[:24]}"

    def arguments(self, text: str) -> str:
        # The parser's `finish` closes what is open, so that a call which the limit cut looks whole.
        return next(
            (text + end for end in ("", '"}', "}", "null}", '": null}') if _is_json(text + end)), "{}"
        )


class _SglangK3(_SglangBare):
    native_calls = None
    whole_calls = True

    def call_id(self, name: str, number: int) -> str:
        return f"{name}:{number}"


class _RawK3(_SglangBare):
    native_calls = None
    raw = True


_SPELLINGS: dict[Dialect, type[Spelling]] = {
    "vertex": Spelling,
    "vllm-old": _VllmOld,
    "vllm-new": _Vllm,
    "vllm-no-parser": _VllmTags,
    "close-tag-only": _VllmClosingTag,
    "sglang-no-tool-parser": _SglangBare,
    "calls-in-thinking": _Leaking,
    "llama.cpp": _Llama,
    "moonshot": _Moonshot,
    "gateway": _Gateway,
    "moonshot-k3": _MoonshotK3,
    "vllm-k3": _VllmK3,
    "vllm-k3-rust": _VllmK3Rust,
    "sglang-k3": _SglangK3,
    "raw-k3": _RawK3,
}


def spelling(dialect: Dialect) -> type[Spelling]:
    """The spelling of a dialect."""
    return _SPELLINGS[dialect]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _fragment(index: int, call_id: str | None, function: dict[str, Any]) -> dict[str, Any]:
    return {"function": function, "id": call_id, "index": index, "type": "function"}


def _matched(reason: str | None) -> int | None:
    return _END_OF_TURN if reason in ("stop", "tool_calls") else None


def _details(piece: str) -> list[dict[str, Any]]:
    return [{"type": "reasoning.text", "text": piece, "format": "unknown", "index": 0}]


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
