"""LlamaIndex's structured predictions. Sends the requests; `_structured` reads the answers.

The framework's own way fails if the model does not call the tool that it was forced to call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.program.utils import FlexibleModel
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, Field

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
        output: OutputType[Any],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> dict[str, Any]:
        """The arguments for `chat` that ask for an object, system prompt included."""
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        options = {name: value for name, value in (llm_kwargs or {}).items() if name not in OBJECT_OPTIONS}
        if self.structured_output == "json_schema":
            return {"messages": messages, **options, "response_format": output.response_format()}
        return {
            "messages": messages,
            **options,
            "tools": [output.tool()],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }

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
        output: OutputType[Model] = OutputType(output_cls)
        _announce(output_cls, prompt, prompt_args)
        request = self._object_request(output, prompt, llm_kwargs, prompt_args)
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
        output: OutputType[Model] = OutputType(output_cls)
        _announce(output_cls, prompt, prompt_args)
        request = self._object_request(output, prompt, llm_kwargs, prompt_args)
        return _conclude(read_object(await self.achat(**request), output))

    # LlamaIndex has no public method to override for streams: stream_structured_predict announces, then calls these two.

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None, None]:
        if not self._makes_objects:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        output: OutputType[Any] = OutputType(output_cls)
        request = self._object_request(output, prompt, llm_kwargs, prompt_args)

        def objects() -> Generator[Any, None, None]:
            stream = ObjectStream(output)
            for response in self.stream_chat(**request):
                if (partial := stream.add(response)) is not None:
                    yield partial
            if (whole := stream.finish()) is not None:
                yield whole

        return objects()

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None]:
        if not self._makes_objects:
            return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        output: OutputType[Any] = OutputType(output_cls)
        request = self._object_request(output, prompt, llm_kwargs, prompt_args)

        async def objects() -> AsyncGenerator[Any, None]:
            stream = ObjectStream(output)
            async for response in await self.astream_chat(**request):
                if (partial := stream.add(response)) is not None:
                    yield partial
            if (whole := stream.finish()) is not None:
                yield whole

        return objects()


def _announce(output_cls: type[BaseModel], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(
        LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args)
    )


def _conclude(result: Model) -> Model:
    _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
    return result
