"""Structured output: what is asked of the model, and how its answer becomes an object.

A cut-off answer is never completed by guessing: LangChain's own parsers would repair it into half an object.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from langchain_core import exceptions as lc
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from kimi_vertex import find_json_object
from langchain_kimi_vertex._tools import Schema

__all__ = ["json_parser", "structured", "tool_parser"]


def structured(
    llm: Runnable[Any, AIMessage], parser: Runnable[Any, Any], *, include_raw: bool
) -> Runnable[Any, Any]:
    """Join a bound model and a parser; with `include_raw`, parse errors are returned instead of raised."""
    if not include_raw:
        return llm | parser
    parsed: Runnable[Any, Any] = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed: Runnable[Any, Any] = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def json_parser(schema: Schema | None) -> BaseOutputParser[Any]:
    """The parser for an answer whose text is the JSON: an object of `schema`, or a dict."""
    model = _pydantic_model(schema)
    if model is not None:
        return _PydanticAnswer(pydantic_object=model)
    return _JsonAnswer()


def tool_parser(schema: Schema, name: str) -> BaseOutputParser[Any]:
    """The parser for an answer given as the arguments of the tool `name`."""
    model = _pydantic_model(schema)
    if model is not None:
        return _PydanticCall(tools=[model], first_tool_only=True)
    return _JsonCall(key_name=name, first_tool_only=True)


def _pydantic_model(schema: Any) -> type[Any] | None:
    return schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None


def _message(result: list[Generation]) -> BaseMessage | None:
    return result[0].message if isinstance(result[0], ChatGeneration) else None


def _is_whole(result: list[Generation]) -> bool:
    """Whether this is the whole answer: a message, or chunks up to the last."""
    message = _message(result)
    return not isinstance(message, AIMessageChunk) or message.chunk_position == "last"


class _JsonAnswer(JsonOutputParser):
    """JSON from the text of an answer, bare, in a code fence, or after a sentence."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if partial and not _is_whole(result):
            return super().parse_result(result, partial=True)
        return _whole_json(result)


class _PydanticAnswer(PydanticOutputParser, _JsonAnswer):  # type: ignore[type-arg]
    """The same, validated; while streaming, objects are given out as soon as they validate."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return super().parse_result(result, partial=partial and not _is_whole(result))


class _JsonCall(JsonOutputKeyToolsParser):
    """A tool's arguments."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _called(result, super().parse_result, partial=partial)


class _PydanticCall(PydanticToolsParser):
    """The same, validated."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return _called(result, super().parse_result, partial=partial)


def _called(result: list[Generation], parse: Callable[..., Any], *, partial: bool) -> Any:
    whole = not partial or _is_whole(result)
    value = parse(result, partial=not whole)
    if value is not None or not whole:
        return value
    message, text = _message(result), result[0].text
    _raise_if_refused(message)
    problem = "The model made no call."
    if isinstance(message, AIMessage) and message.invalid_tool_calls:
        call = message.invalid_tool_calls[0]
        text = call.get("args") or ""
        reason = call.get("error") or "unreadable arguments"
        problem = f"The model's call of {call.get('name')} is unusable: {reason}."
    raise OutputParserException(f"{problem}{_hint(message)} Got: {text[:500]!r}", llm_output=text)


def _whole_json(result: list[Generation]) -> dict[str, Any]:
    message, text = _message(result), result[0].text
    _raise_if_refused(message)
    value = find_json_object(text)
    if value is None:
        problem = "holds no complete JSON object" if text.strip() else "has no text"
        raise OutputParserException(
            f"The answer {problem}.{_hint(message)} Got: {text[:500]!r}", llm_output=text
        )
    return value


def _hint(message: BaseMessage | None) -> str:
    reason = message.response_metadata.get("finish_reason") if message is not None else None
    if reason == "length":
        return " It was cut off by max_tokens, which thinking and answer share: raise it."
    return f" finish_reason was {reason!r}." if reason else ""


def _raise_if_refused(message: BaseMessage | None) -> None:
    """Report a refusal as such where langchain-core has an error for it (1.7.5 and later)."""
    refusal_error = getattr(lc, "ModelRefusalError", None)
    if message is None or refusal_error is None:
        return
    blocks: list[Any] = list(message.content_blocks)  # older cores do not know the type
    for block in blocks:
        if block.get("type") == "refusal":
            raise refusal_error.from_refusal(block, raw_message=message)
