"""`ChatKimiVertex`: LangChain's chat model interface over the core client.

Owns the settings and LangChain's entry points; conversions live in the private modules beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Unpack

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict

from kimi_vertex import Completion
from langchain_kimi_vertex import _translator
from langchain_kimi_vertex._calls import Call, atold, hears_thinking, prepare, told
from langchain_kimi_vertex._chunks import ChunkBuilder, chat_result
from langchain_kimi_vertex._errors import langchain_errors
from langchain_kimi_vertex._events_v3 import ProtocolEvents
from langchain_kimi_vertex._handed_out import let_go
from langchain_kimi_vertex._parameters import Parameters
from langchain_kimi_vertex._settings import KimiVertexSettings
from langchain_kimi_vertex._tools import Method, Schema, ToolLike, format_tools, tool_choice_for
from langchain_kimi_vertex._tools import response_format as to_response_format

if TYPE_CHECKING:
    from langchain_protocol.protocol import MessagesData

__all__ = ["ChatKimiVertex"]

_translator.register()


class ChatKimiVertex(KimiVertexSettings):
    """Kimi, Moonshot AI's thinking model, on Google Vertex AI or on an endpoint of your own.

    Setup:
        Install the package and log in to Google, once:

        ```bash
        pip install "kimi-vertex[langchain]"
        gcloud auth application-default login
        export GOOGLE_CLOUD_PROJECT=my-project
        ```

        Without a Google account, `python -m kimi_vertex_emulator` serves the same interface locally; point
        `KIMI_VERTEX_EMULATOR_HOST` or `base_url` at it.

    Init args, target:
        model: Model id, which the managed service needs; an endpoint has its own. Also `model_name`.
        project: Google Cloud project; default `GOOGLE_CLOUD_PROJECT`, then the credentials' own.
        location: Default `GOOGLE_CLOUD_LOCATION`, then `"global"`.
        endpoint: Resource name or id of a self-deployed endpoint; default `KIMI_VERTEX_ENDPOINT`.
        base_url: Any OpenAI-compatible server of Kimi: everything before `/chat/completions`, used as it is.
        credentials: google-auth credentials, a credentials mapping, or the path of a credentials file; default
            application default credentials.
        access_token: Static bearer token. Also `api_key`.

    Init args, generation:
        temperature, top_p, max_tokens, stop: Sent only if you set them. Thinking and answer share `max_tokens`.
        extra_body: Further fields of the request's body.
        streaming: `True` makes `invoke` use the streaming API; `disable_streaming` (from LangChain) forbids it.
        on_thinking: Called with each piece of thinking; a function or a coroutine function.

    Init args, Kimi:
        replay_thinking: Which turns get their thinking sent back: `"all"` (default), `"tools"`, `"none"`.
        empty_turn: What to do with a turn that has thinking only: `"flag"` (default), `"retry"`, `"raise"`, `"promote"`.

    Init args, transport:
        timeout: Seconds, or `kimi_vertex.Timeouts`; default 10 to connect, 600 to the first byte, 300 between pieces.
        max_retries: Default 2; `Retry-After` is honoured, and nothing is repeated once output has begun.
        http_client, http_async_client: Your own httpx clients; never closed here.

    See `KimiVertexSettings` for every parameter with its type.

    Invoke:
        ```python
        from langchain_kimi_vertex import ChatKimiVertex

        model = ChatKimiVertex()
        message = model.invoke("Why is the sky blue?")
        message.text
        message.content_blocks  # [{"type": "reasoning", ...}, {"type": "text", ...}]
        message.additional_kwargs["reasoning_content"]  # the thinking, as other integrations name it
        ```

    Stream:
        ```python
        for chunk in model.stream("Why is the sky blue?"):
            for block in chunk.content_blocks:
                print(block.get("reasoning") or block.get("text") or "", end="")
        ```

        `stream_events(version="v3")` is native: `.reasoning` ends the moment the answer begins.

    Thinking, wherever the model runs:
        ```python
        from langchain_kimi_vertex import ThinkingCallbackHandler

        handler = ThinkingCallbackHandler(thinking=lambda text: print(text, end="", flush=True))
        agent.invoke({"messages": [...]}, config={"callbacks": [handler]})
        ```

    Tools:
        ```python
        message = model.bind_tools([get_weather]).invoke("What is the weather in Oslo?")
        message.tool_calls
        message.invalid_tool_calls  # cut off or unreadable: never in tool_calls
        ```

        Append `message` to the history as it is: Kimi wants its thinking back with every turn that called tools.
        The same holds for the sum of a stream's chunks. There, an invalid call's arguments end in a marker that
        keeps LangChain from completing them; `invoke` has the exact text.

    Structured output:
        ```python
        class Answer(BaseModel):
            cause: str
            confidence: float


        model.with_structured_output(Answer).invoke("Why is the sky blue?")
        ```

        The default `method="json_schema"` needs no forced tool call, which Kimi refuses while it thinks.

    Usage:
        ```python
        message.usage_metadata  # {"input_tokens": ..., "output_tokens": ..., "total_tokens": ...}
        ```

    Errors:
        Both `kimi_vertex.RateLimitError` and `langchain_core.exceptions.ModelRateLimitError` catch a 429, and so on
        for every kind; an interrupted stream's error has `.partial_message`.
    """

    model_config = ConfigDict(defer_build=False)

    def __init__(self, **parameters: Unpack[Parameters]) -> None:
        super().__init__(**parameters)

    @property
    def _llm_type(self) -> str:
        return "kimi-vertex-chat"

    # Calls

    def _prepare(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: Mapping[str, Any]
    ) -> Call:
        overrides = dict(kwargs)
        if stop is not None:
            overrides["stop"] = stop
        return prepare(
            messages,
            self._generation_defaults(),
            overrides,
            model=self._served_model(),
            callback=self.on_thinking,
        )

    def _streams_for_listeners(
        self,
        call: Call,
        run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
        kwargs: Mapping[str, Any],
    ) -> bool:
        """Whether a call without streaming must stream behind the scenes, because someone follows the thinking."""
        if self.disable_streaming is True or (
            self.disable_streaming == "tool_calling" and kwargs.get("tools")
        ):
            return False
        if kwargs.get("stream") is False or ("streaming" in self.model_fields_set and not self.streaming):
            return False
        return call.notifier is not None or (run_manager is not None and hears_thinking(run_manager.handlers))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            with closing(call):
                if self._streams_for_listeners(call, run_manager, kwargs):
                    completion = self._complete_aloud(call, run_manager)
                else:
                    completion = self._client.complete(call.messages, **call.options)
                    if call.notifier is not None and completion.thinking:
                        call.notifier.notify(completion.thinking)
        return chat_result(completion, call.model)

    def _complete_aloud(self, call: Call, run_manager: CallbackManagerForLLMRun | None) -> Completion:
        builder = ChunkBuilder(call.model)
        with closing(self._client.stream(call.messages, **call.options)) as stream:
            for event in told(stream, call.notifier):
                chunk = builder.add(event)
                if chunk is not None and run_manager is not None:
                    run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            return stream.completion

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            if self._streams_for_listeners(call, run_manager, kwargs):
                completion = await self._acomplete_aloud(call, run_manager)
            else:
                completion = await self._client.acomplete(call.messages, **call.options)
                if call.notifier is not None and completion.thinking:
                    await call.notifier.anotify(completion.thinking)
        return chat_result(completion, call.model)

    async def _acomplete_aloud(
        self, call: Call, run_manager: AsyncCallbackManagerForLLMRun | None
    ) -> Completion:
        builder = ChunkBuilder(call.model)
        async with aclosing(self._client.astream(call.messages, **call.options)) as stream:
            async for event in atold(stream, call.notifier):
                chunk = builder.add(event)
                if chunk is not None and run_manager is not None:
                    await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            return stream.completion

    # Streams. No callbacks are fired in here: LangChain fires them for each chunk and event that it gets.

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            builder = ChunkBuilder(call.model)
            with closing(call), closing(self._client.stream(call.messages, **call.options)) as stream:
                for event in told(stream, call.notifier):
                    chunk = builder.add(event)
                    if chunk is not None:
                        yield chunk
                        let_go(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            builder = ChunkBuilder(call.model)
            async with aclosing(self._client.astream(call.messages, **call.options)) as stream:
                async for event in atold(stream, call.notifier):
                    chunk = builder.add(event)
                    if chunk is not None:
                        yield chunk
                        let_go(chunk)

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        *,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            protocol = ProtocolEvents(call.model)
            with closing(call), closing(self._client.stream(call.messages, **call.options)) as stream:
                for event in told(stream, call.notifier):
                    yield from protocol.add(event)
            # Only now, with the connection free again: LangChain does not come back after the last event.
            yield protocol.message_finish()

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        *,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[MessagesData]:
        with langchain_errors():
            call = self._prepare(messages, stop, kwargs)
            protocol = ProtocolEvents(call.model)
            async with aclosing(self._client.astream(call.messages, **call.options)) as stream:
                async for event in atold(stream, call.notifier):
                    for item in protocol.add(event):
                        yield item
            yield protocol.message_finish()

    # Tools and structured output

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: Functions, pydantic classes, TypedDicts, `BaseTool`s, or dicts in OpenAI's or Anthropic's form.
            tool_choice: `"auto"`, `"none"`, `"any"` (also `"required"` and `True`), a tool's name, or a dict that
                names one; `None` and `False` leave it to the server.
            strict: Sent with each tool if it is not `None`.
            parallel_tool_calls: Sent if it is not `None`.
            response_format: A schema, or a finished `response_format`, for the answer that ends the tool calls. Only
                for servers that can do both: vLLM and SGLang then never let the model call a tool.
            **kwargs: Bound as well.

        Raises:
            InvalidRequestError: `tool_choice` names none of the tools.
        """
        formatted = format_tools(tools, strict=strict)
        bound: dict[str, Any] = {"tools": formatted, **kwargs}
        with langchain_errors():
            choice = tool_choice_for(tool_choice, formatted)
        if choice is not None:
            bound["tool_choice"] = choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        if response_format is not None:
            bound["response_format"] = to_response_format(response_format, strict=strict)
        return self.bind(**bound)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Get objects instead of messages.

        Args:
            schema: Pydantic class, TypedDict, JSON schema or OpenAI function; optional for `"json_mode"`.
            method: `"json_schema"` (default) sends the schema as `response_format`; `"function_calling"` offers it
                as a tool that must be called; `"json_mode"` asks for any JSON, so describe it in the prompt.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` instead of raising parse errors.
            strict: Sent if it is not `None`.
            **kwargs: Bound as well.

        Raises:
            ValueError: The method is unknown, or the schema is missing.
        """
        if method not in ("json_schema", "function_calling", "json_mode"):
            raise ValueError(f"method={method!r} is unknown; use json_schema, function_calling or json_mode.")
        if schema is None and method != "json_mode":
            raise ValueError(f"method={method!r} needs a schema.")
        # LangChain's output parsers cost more to import than this package.
        from langchain_kimi_vertex import _structured  # noqa: PLC0415

        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        kwargs = {**kwargs, "ls_structured_output_format": traced}
        if method == "function_calling" and schema is not None:
            tool = format_tools([schema], strict=strict)[0]
            name = tool["function"]["name"]
            bound = self.bind_tools([tool], tool_choice=name, **kwargs)
            return _structured.structured(
                bound, _structured.tool_parser(schema, name), include_raw=include_raw
            )
        wanted = (
            {"type": "json_object"} if method == "json_mode" else to_response_format(schema, strict=strict)
        )
        bound = self.bind(response_format=wanted, **kwargs)
        return _structured.structured(bound, _structured.json_parser(schema), include_raw=include_raw)
