"""Which hook is due when: one account per run, fed with chunks or protocol events, never with both.

Some models fire `on_llm_new_token` and `on_stream_event` for the same piece; the first kind that delivers
in a run is the one that counts. Knows nothing of sync and async.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_kimi_vertex._keys import THINKING_KEY
from langchain_kimi_vertex._translator import is_prose

__all__ = ["Action", "ThinkingRuns"]


class Action(NamedTuple):
    """A hook to call."""

    hook: str
    arguments: tuple[str, ...]
    context: Mapping[str, Any]


@dataclass(slots=True)
class _Run:
    context: dict[str, Any]
    source: Literal["chunk", "event"] | None = None
    thinking: list[str] | None = None

    def claims(self, source: Literal["chunk", "event"]) -> bool:
        if self.source is None:
            self.source = source
        return self.source == source

    def think(self, text: str) -> list[Action]:
        token = Action("on_thinking_token", (text,), self.context)
        if self.thinking is not None:
            self.thinking.append(text)
            return [token]
        self.thinking = [text]
        return [Action("on_thinking_start", (), self.context), token]

    def stop_thinking(self) -> list[Action]:
        if self.thinking is None:
            return []
        thinking, self.thinking = "".join(self.thinking), None
        return [Action("on_thinking_end", (thinking,), self.context)]

    def answer(self, text: str) -> list[Action]:
        return [*self.stop_thinking(), Action("on_answer_token", (text,), self.context)]


class ThinkingRuns:
    """The accounts of all runs that a handler is listening to."""

    def __init__(self) -> None:
        self._runs: dict[UUID, _Run] = {}

    def begin(self, run_id: UUID, details: Mapping[str, Any]) -> None:
        """Open the account of a run with what its start says about it."""
        self._runs[run_id] = _Run(
            {
                "run_id": run_id,
                "parent_run_id": details.get("parent_run_id"),
                "tags": list(details.get("tags") or ()),
                "metadata": dict(details.get("metadata") or {}),
            }
        )

    def _run(self, run_id: UUID) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            self.begin(run_id, {})
            run = self._runs[run_id]
        return run

    def chunk(self, run_id: UUID, token: Any, chunk: Any) -> list[Action]:
        """The hooks for one `on_llm_new_token`."""
        run = self._run(run_id)
        if not run.claims("chunk"):
            return []
        message = getattr(chunk, "message", None)
        # The exact class first: `isinstance` asks pydantic about any other one, for each piece.
        if isinstance(message, AIMessageChunk) and is_prose(message):
            return _from_prose(run, message)
        if isinstance(message, BaseMessage):
            return _from_blocks(run, message)
        return run.answer(token) if isinstance(token, str) and token else []

    def event(self, run_id: UUID, event: Mapping[str, Any]) -> list[Action]:
        """The hooks for one `on_stream_event`."""
        run = self._run(run_id)
        if not run.claims("event"):
            return []
        kind = event.get("event")
        if kind == "content-block-delta":
            delta = event.get("delta") or {}
            if delta.get("type") == "reasoning-delta" and delta.get("reasoning"):
                return run.think(delta["reasoning"])
            if delta.get("type") == "text-delta" and delta.get("text"):
                return run.answer(delta["text"])
        content = event.get("content") or {}
        thinks = content.get("type") == "reasoning"
        if (kind == "content-block-finish" and thinks) or (kind == "content-block-start" and not thinks):
            return run.stop_thinking()
        return []

    def end(self, run_id: UUID, response: Any) -> list[Action]:
        """The hooks for the end of a run; all of its thinking and answer at once if it was not streamed."""
        run = self._runs.pop(run_id, None)
        if run is None:
            return []
        actions: list[Action] = []
        message = _only_message(response)
        if run.source is None and message is not None:
            actions += _from_blocks(run, message)
        actions += run.stop_thinking()
        return actions


def _from_blocks(run: _Run, message: BaseMessage) -> list[Action]:
    actions: list[Action] = []
    for block in message.content_blocks:
        if block["type"] == "reasoning":
            thinking = block.get("reasoning")
            if thinking:
                actions += run.think(thinking)
        elif block["type"] == "text":
            if block["text"]:
                actions += run.answer(block["text"])
        else:
            actions += run.stop_thinking()
    return actions


def _from_prose(run: _Run, chunk: AIMessageChunk) -> list[Action]:
    """The same for a chunk of thinking or text, without making blocks of it."""
    thinking = chunk.additional_kwargs.get(THINKING_KEY)
    if not thinking:
        return run.answer(str(chunk.content)) if chunk.content else []
    actions = run.think(thinking)
    return [*actions, *run.answer(str(chunk.content))] if chunk.content else actions


def _only_message(response: Any) -> AIMessage | None:
    if isinstance(response, LLMResult) and response.generations and response.generations[0]:
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
            return generation.message
    return None
