"""LlamaIndex's structured predictions. Sends the requests; `_structured` reads the answers.

The framework's own way fails if the model does not call the tool that it was forced to call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.program.utils import FlexibleModel
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

from ._structured import (
    OBJECT_OPTIONS,
    ObjectStream,
    OutputType,
    StructuredMode,
    read_object,
)

__all__ = ["StructuredCalls"]

_dispatcher = get_dispatcher(__name__)


class StructuredCalls(FunctionCallingLLM):
    """The structured methods of an LLM, through a tool or a JSON schema."""

    structured_output: StructuredMode = Field(
        default="tool",
        description='How objects are asked for: "tool" offers one tool, "json_schema" sets response_format.',
    )

    @property
    def _makes_objects(self) -> bool:
        return self.pydantic_program_mode in (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)

    def _object_request(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[OutputType[Model], dict[str, Any]]:
        """What reads an object, and the arguments for `chat` that ask for it, system prompt included."""
        output: OutputType[Model] = OutputType(output_cls)
        start = LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
        _dispatcher.event(start)
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        options = {name: value for name, value in (llm_kwargs or {}).items() if name not in OBJECT_OPTIONS}
        if self.structured_output == "json_schema":
            asked: dict[str, Any] = {"response_format": output.schema.response_format()}
        else:
            asked = {"tools": [output.schema.tool()], "tool_choice": "required", "parallel_tool_calls": False}
        return output, {"messages": messages, **options, **asked}

    @_dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Predict an object of `output_cls`.

        Raises:
            ValueError: The answer holds no fitting object.
        """
        if not self._makes_objects:
            plain: Model = super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return plain
        output, request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _conclude(read_object(self.chat(**request), output))

    @_dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Predict an object of `output_cls`; as `structured_predict`."""
        if not self._makes_objects:
            plain: Model = await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return plain
        output, request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _conclude(read_object(await self.achat(**request), output))

    @_dispatcher.span
    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Model | FlexibleModel, None, None]:
        """Predict an object of `output_cls`, and yield what is known of it, ever more.

        Raises:
            ValueError: The answer holds no fitting object.
        """
        if not self._makes_objects:
            yield from super().stream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return
        output, request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)
        objects = ObjectStream(output)
        with closing(self.stream_chat(**request)) as stream:
            for response in stream:
                if objects.add(response):
                    yield _report(objects.shown)
        if objects.finish():
            yield _report(objects.shown)
        _conclude(objects.shown)

    @_dispatcher.span
    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Model | FlexibleModel, None]:
        """Predict an object of `output_cls`; as `stream_structured_predict`."""
        if not self._makes_objects:
            return await super().astream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        output, request = self._object_request(output_cls, prompt, llm_kwargs, prompt_args)

        async def partials() -> AsyncGenerator[Any, None]:
            objects = ObjectStream(output)
            async with aclosing(await self.astream_chat(**request)) as stream:
                async for response in stream:
                    if objects.add(response):
                        yield _report(objects.shown)
            if objects.finish():
                yield _report(objects.shown)
            _conclude(objects.shown)

        return partials()


def _report(partial: Any) -> Any:
    _dispatcher.event(LLMStructuredPredictInProgressEvent(output=partial))
    return partial


def _conclude(result: Model) -> Model:
    _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
    return result
