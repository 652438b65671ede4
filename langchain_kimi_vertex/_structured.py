"""Structured output: what is asked of the model, and how its answer becomes an object.

A cut-off answer is never completed by guessing: LangChain's own parsers would repair it into half an object.
"""

from __future__ import annotations

import json
import logging
from operator import itemgetter
from typing import Any, Final

from langchain_core import exceptions as lc
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.json import parse_json_markdown
from pydantic import SkipValidation

from kimi_vertex.schemas import NOTHING, ObjectSchema
from langchain_kimi_vertex._schemas import Wanted

__all__ = ["structured"]

_logger: Final = logging.getLogger(__name__)
_ANY: Final = ObjectSchema.of({"type": "object"})


def structured(
    llm: Runnable[Any, AIMessage], wanted: Wanted | None, *, is_call: bool = False, include_raw: bool
) -> Runnable[Any, Any]:
    """Read the answers of a bound model.

    Args:
        llm: The model, which has been told what to answer.
        wanted: What is read; `None` for an object of any kind.
        is_call: Whether the answer is given as the arguments of a tool.
        include_raw: Whether parse errors are returned instead of raised.
    """
    parser = _Answer(wanted=wanted, is_call=is_call)
    if not include_raw:
        return llm | parser
    parsed: Runnable[Any, Any] = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed: Runnable[Any, Any] = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class _Answer(BaseCumulativeTransformOutputParser[Any]):
    """What the schema asks for, from the text of an answer or from a call.

    While it is streamed, what is there so far is given out as soon as it fits.
    """

    wanted: SkipValidation[Wanted | None]
    is_call: bool = False

    @property
    def _type(self) -> str:
        return "kimi_vertex_structured"

    def parse(self, text: str) -> Any:
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if partial and not _is_whole(result):
            try:
                return self._read(self._so_far(result))
            except ValueError:
                return None
        return self._whole(result)

    def _read(self, value: Any) -> Any:
        return value if self.wanted is None or value is None else self.wanted.read(value)

    def _so_far(self, result: list[Generation]) -> Any:
        if not self.is_call:
            value = parse_json_markdown(result[0].text)
            return value if self.wanted is None else self.wanted.unwrap(value)
        calls = self._calls(_message(result))
        return calls[0] if calls else None

    def _calls(self, message: BaseMessage | None) -> list[Any]:
        """The values in the calls of the schema's tool."""
        wanted = self.wanted
        if wanted is None or not isinstance(message, AIMessage):
            return []
        return [wanted.unwrap(c["args"]) for c in message.tool_calls if c["name"] == wanted.name]

    def _whole(self, result: list[Generation]) -> Any:
        message, text = _message(result), result[0].text
        _raise_if_refused(message)
        calls = self._calls(message) if self.is_call else []
        if any(call != calls[0] for call in calls):
            _logger.warning(
                "The model made %d calls where one object was asked for; the first is used.", len(calls)
            )
        value = calls[0] if calls else NOTHING if _invalid(message) else (self.wanted or _ANY).find(text)
        if value is NOTHING:
            problem, reason, shown = self._problem(message, text)
            hint = _hint(message, is_call=self.is_call)
            raise OutputParserException(f"{problem}{hint}{reason} Got: {shown[:500]!r}", llm_output=shown)
        try:
            return self._read(value)
        except ValueError as error:
            name = "the schema" if self.wanted is None else self.wanted.name
            shown = json.dumps(value, ensure_ascii=False, default=str)
            raise OutputParserException(
                f"The answer does not fit {name}.{_hint(message, is_call=self.is_call)} {error} Got: {shown[:500]!r}",
                llm_output=shown,
            ) from error

    def _problem(self, message: BaseMessage | None, text: str) -> tuple[str, str, str]:
        """What is wrong, why, and what the model wrote."""
        call = _invalid(message)
        if self.is_call and call is not None:
            reason = call.get("error") or "its arguments cannot be read"
            return (
                f"The model's call of {call.get('name')} is unusable.",
                f" The reason: {reason}.",
                call.get("args") or "",
            )
        if self.is_call:
            return "The model made no call.", "", text
        return f"The answer {'holds no complete JSON' if text.strip() else 'has no text'}.", "", text


def _invalid(message: BaseMessage | None) -> InvalidToolCall | None:
    calls = message.invalid_tool_calls if isinstance(message, AIMessage) else []
    return calls[0] if calls else None


def _message(result: list[Generation]) -> BaseMessage | None:
    return result[0].message if isinstance(result[0], ChatGeneration) else None


def _is_whole(result: list[Generation]) -> bool:
    """Whether this is the whole answer: a message, or chunks up to the last."""
    message = _message(result)
    return not isinstance(message, AIMessageChunk) or message.chunk_position == "last"


def _hint(message: BaseMessage | None, *, is_call: bool) -> str:
    reason = message.response_metadata.get("finish_reason") if message is not None else None
    if reason == "length":
        return " It was cut off by max_tokens, which thinking and answer share: raise it."
    other = "json_schema" if is_call else "function_calling"
    step = f' Ask for JSON in the prompt, or try method="{other}".'
    return f"{step} finish_reason was {reason!r}." if reason else step


def _raise_if_refused(message: BaseMessage | None) -> None:
    """Report a refusal as such where langchain-core has an error for it (1.7.5 and later)."""
    refusal_error = getattr(lc, "ModelRefusalError", None)
    if message is None or refusal_error is None:
        return
    blocks: list[Any] = list(message.content_blocks)  # older cores do not know the type
    for block in blocks:
        if block.get("type") == "refusal":
            raise refusal_error.from_refusal(block, raw_message=message)
