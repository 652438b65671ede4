"""Structured output: what asks for an object, and the object read from a tool call or from JSON in the text.

Kimi's servers may refuse or ignore a forced tool while the model thinks, and the model then writes JSON as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.program.utils import create_flexible_model
from pydantic import BaseModel, ValidationError

from kimi_vertex import find_json_object

from ._responses import PartialObject, calls_of, tool_selections

__all__ = [
    "OBJECT_OPTIONS",
    "ObjectStream",
    "StructuredMode",
    "object_tool",
    "read_object",
    "response_format",
]

StructuredMode: TypeAlias = Literal["tool", "json_schema"]
ModelT = TypeVar("ModelT", bound=BaseModel)

OBJECT_OPTIONS: Final = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
"""Options that a structured prediction sets itself, whatever the caller passes."""


def object_tool(output_cls: type[BaseModel]) -> dict[str, Any]:
    """The tool whose arguments are the object, in OpenAI's form."""
    schema = output_cls.model_json_schema()
    description = schema.get("description") or f"Gives the answer as a {output_cls.__name__} object."
    function = {"name": _name(output_cls), "description": description, "parameters": schema}
    return {"type": "function", "function": function}


def response_format(output_cls: type[BaseModel]) -> dict[str, Any]:
    """The `response_format` that constrains the answer to the class's JSON schema."""
    return {
        "type": "json_schema",
        "json_schema": {"name": _name(output_cls), "schema": output_cls.model_json_schema()},
    }


def _name(output_cls: type[BaseModel]) -> str:
    """The class's name as a tool may be called: generic classes have brackets in theirs."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", output_cls.__name__)


def read_object(response: ChatResponse, output_cls: type[ModelT]) -> ModelT:
    """Build the object from a finished response: from a tool call, else from JSON in the text.

    Raises:
        ValueError: The answer has no object, or one that does not fit the class (a pydantic `ValidationError`).
    """
    selections = tool_selections(response)
    value = selections[0].tool_kwargs if selections else find_json_object(response.message.content or "")
    if value is None:
        raise ValueError(_no_object(response, output_cls))
    return output_cls.model_validate(value)


def _no_object(response: ChatResponse, output_cls: type[BaseModel]) -> str:
    reason = str(response.additional_kwargs.get("finish_reason"))
    advice = {
        "length": "The answer was cut off: raise max_tokens, which pays for the thinking too.",
        "content_filter": "A safety filter stopped the answer.",
    }.get(reason, 'Say in the prompt what to fill in, or try structured_output="json_schema".')
    text = response.message.content or ""
    shown = text if len(text) <= 300 else text[:300] + "..."
    return (
        f"The model gave no {output_cls.__name__} object (finish_reason={reason}, text={shown!r}). {advice}"
    )


class ObjectStream(Generic[ModelT]):
    """Turns the responses of one stream into objects, each more complete than the one before."""

    def __init__(self, output_cls: type[ModelT]) -> None:
        self._output_cls = output_cls
        self._flexible: Callable[..., BaseModel] = create_flexible_model(output_cls)
        self._text = PartialObject()
        self._arguments = PartialObject()
        self._shown: dict[str, Any] = {}
        self._last: ChatResponse | None = None
        self._given: BaseModel | None = None

    def add(self, response: ChatResponse) -> BaseModel | None:
        """Take the next response; return an object if it says more than the one before."""
        self._last = response
        if calls := calls_of(response):
            value = self._arguments.update(calls[0].arguments)
        else:
            value = self._text.update(response.message.content or "")
        if not value or value == self._shown:
            return None
        self._shown = value
        try:
            self._given = self._output_cls.model_validate(value)
        except ValidationError:
            self._given = self._flexible(**value)
        return self._given

    def finish(self) -> ModelT | None:
        """The object of the whole answer; `None` if it was the last one that `add` returned.

        Raises:
            ValueError: As `read_object`.
        """
        if self._last is None:
            raise ValueError(f"The model's stream ended without a {self._output_cls.__name__} object.")
        whole = read_object(self._last, self._output_cls)
        return None if whole == self._given else whole
