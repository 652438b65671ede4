"""Structured output: what asks for an object, and the object read from a tool call or from JSON in the text.

Kimi's servers may refuse or ignore a forced tool while the model thinks, and the model then writes JSON as text.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from types import UnionType
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    NotRequired,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.program.utils import create_flexible_model
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from typing_extensions import TypedDict

from kimi_vertex import InvalidRequestError
from kimi_vertex.schemas import NOTHING, ObjectSchema

from ._messages import invalid_tool_calls
from ._responses import PartialObject, calls_of, tool_selections

__all__ = [
    "OBJECT_OPTIONS",
    "ObjectStream",
    "OutputType",
    "StructuredMode",
    "read_object",
]

_logger = logging.getLogger(__name__)

StructuredMode: TypeAlias = Literal["tool", "json_schema"]
T = TypeVar("T")

OBJECT_OPTIONS: Final = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
"""Options that a structured prediction sets itself, whatever the caller passes."""


class OutputType(Generic[T]):
    """What an object is to be: any type that pydantic knows, by its own schema and its own reading of JSON.

    Servers want a schema of an object, so a type of another kind (a list, an enum, a union) is asked for as the one
    field of an object.

    Raises:
        InvalidRequestError: Pydantic knows no schema for the type.
    """

    def __init__(self, output_cls: Any) -> None:
        self.output_cls: Any = output_cls
        self._adapter: TypeAdapter[T] | None = None
        try:
            if isinstance(output_cls, type) and issubclass(output_cls, BaseModel):
                schema = output_cls.model_json_schema()
            else:
                self._adapter = TypeAdapter(_readable(output_cls))
                schema = self._adapter.json_schema()
        except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
            raise InvalidRequestError(
                f"A {_name(output_cls)} cannot be asked for, because pydantic has no JSON schema for it: use a "
                f"BaseModel, a dataclass, a TypedDict or an enum ({str(error).splitlines()[0]})."
            ) from None
        self.schema = ObjectSchema.of(schema, _name(output_cls))
        """What is asked for."""

    def read(self, value: Any) -> T:
        """The object of a JSON value, read as JSON: dates and enums are strings there, also for strict types.

        Raises:
            ValidationError: The value does not fit.
        """
        text = json.dumps(self.schema.unwrap(value))
        if self._adapter is None:
            return cast(T, self.output_cls.model_validate_json(text))
        return self._adapter.validate_json(text)

    def flexible(self) -> Callable[..., Any] | None:
        """What holds an object as far as it has come; `None` if the type is not a plain pydantic class."""
        if not self.schema.is_object or self._adapter is not None:
            return None
        return create_flexible_model(self.output_cls)


def _readable(kind: Any) -> Any:
    """The type with each TypedDict as one of `typing_extensions`, the only one that pydantic reads before Python 3.12."""
    if is_typeddict(kind) and sys.version_info < (3, 12):
        hints = {name: _readable(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
        optional = {name: NotRequired[hints[name]] for name in kind.__optional_keys__}
        readable: Any = TypedDict(kind.__name__, hints | optional)  # type: ignore[misc]
        readable.__doc__ = kind.__doc__
        return readable
    arguments = get_args(kind)
    readables = tuple(map(_readable, arguments))
    if readables == arguments:
        return kind
    origin = get_origin(kind)
    return (Union if origin is UnionType else origin)[readables]


def _name(output_cls: Any) -> str:
    return getattr(output_cls, "__name__", None) or str(output_cls)


def read_object(response: ChatResponse, output: OutputType[T]) -> T:
    """Build the object from a finished response: from a tool call; where none was tried, from JSON in the text.

    Raises:
        ValueError: The answer has no object, or one that does not fit the class (a pydantic `ValidationError`).
    """
    selections = tool_selections(response)
    if dropped := response.additional_kwargs.get("dropped_tool_calls"):
        _logger.warning("The model gave %d objects instead of one; the first is taken.", len(dropped) + 1)
    unusable = [reason for _, reason in invalid_tool_calls(response.message.additional_kwargs)]
    if selections:
        value: Any = selections[0].tool_kwargs
    else:
        # Beside a call that cannot be read, JSON in the text may be anything: an example, or an earlier thought.
        value = NOTHING if unusable else output.schema.find(response.message.content or "")
    if value is NOTHING:
        raise ValueError(_no_object(response, _name(output.output_cls), unusable))
    return output.read(value)


def _no_object(response: ChatResponse, name: str, unusable: Sequence[str]) -> str:
    reason = str(response.additional_kwargs.get("finish_reason"))
    advice = {
        "length": "The answer was cut off: raise max_tokens, which pays for the thinking too.",
        "content_filter": "A safety filter stopped the answer.",
    }.get(reason, 'Describe it in the prompt, or try the other structured_output ("tool", "json_schema").')
    text = response.message.content or ""
    shown = text if len(text) <= 300 else text[:300] + "..."
    call = f" Its call cannot be used: {unusable[0]}." if unusable else ""
    return f"The model gave no {name} object.{call} {advice} Its text was {shown!r} (finish_reason={reason})."


class ObjectStream(Generic[T]):
    """Turns the responses of one stream into objects, each more complete than the one before."""

    def __init__(self, output: OutputType[T]) -> None:
        self._output = output
        self._flexible = output.flexible()
        self._text = PartialObject()
        self._arguments = PartialObject()
        self._read: dict[str, Any] = {}
        self._last: ChatResponse | None = None
        self.shown: Any = NOTHING
        """The object as far as it is known."""

    def add(self, response: ChatResponse) -> bool:
        """Take the next response; return whether `shown` says more than before."""
        self._last = response
        if calls := calls_of(response):
            value = self._arguments.update(calls[0].arguments)
        else:
            value = self._text.update(response.message.content or "")
        if not value or value == self._read:
            return False
        self._read = value
        try:
            self.shown = self._output.read(value)
        except ValidationError:
            if self._flexible is None:
                return False
            self.shown = self._flexible(**value)
        return True

    def finish(self) -> bool:
        """Read the whole answer; return whether `shown` says more than before.

        Raises:
            ValueError: As `read_object`.
        """
        if self._last is None:
            raise ValueError(f"The model's stream ended without a {_name(self._output.output_cls)} object.")
        before, self.shown = self.shown, read_object(self._last, self._output)
        return bool(self.shown != before)
