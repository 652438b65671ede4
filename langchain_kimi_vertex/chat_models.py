"""`ChatKimiVertex`: LangChain's chat model interface over the core client.

Owns the settings and LangChain's entry points; conversions live in the private modules beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict

from kimi_vertex import Completion, Event, check_tool_choice
from langchain_kimi_vertex import _translator
from langchain_kimi_vertex._chunks import Chunks, chat_result
from langchain_kimi_vertex._errors import langchain_errors
from langchain_kimi_vertex._events_v3 import ProtocolEvents
from langchain_kimi_vertex._requests import Request, hidden_headers, prepare
from langchain_kimi_vertex._schemas import read_schema
from langchain_kimi_vertex._settings import KimiVertexSettings
from langchain_kimi_vertex._tools import Method, Schema, ToolLike, format_tools
from langchain_kimi_vertex._tools import response_format as to_response_format
from langchain_kimi_vertex._untold import Untold
from langchain_kimi_vertex.callbacks import ThinkingCallbackHandler

if TYPE_CHECKING:
    from langchain_protocol.protocol import MessagesData
else:
    MessagesData = (
        Any  # the protocol's package is loaded by streams of it, not by whoever reads the annotations
    )

__all__ = ["ChatKimiVertex"]

_translator.register()

ItemT_co = TypeVar("ItemT_co", covariant=True)


class Renderer(Protocol[ItemT_co]):
    """Turns the core's events of one turn into items of a stream of LangChain's: chunks, or protocol events."""

    def add(self, event: Event) -> Sequence[ItemT_co]:
        """The items for an event."""
        ...

    def finish(self, completion: Completion) -> Sequence[ItemT_co]:
        """The last items, with the connection free again: LangChain does not come back after v3's last event."""
        ...


class ChatKimiVertex(KimiVertexSettings):
    """Kimi, Moonshot AI's thinking model, on Google Vertex AI or on an endpoint of your own.

    Setup:
        Install the package and log in to Google, once:

        ```bash
        pip install "kimi-vertex[langchain]"
        gcloud auth application-default login
        export KIMI_VERTEX_ENDPOINT=projects/my-project/locations/us-central1/endpoints/1234567890
        ```

        Without a Google account, `python -m kimi_vertex_emulator` serves the same interface locally, and prints the line
        to export.

    Key init args, target:
        model: Name of the model; an endpoint answers without, but a Kimi K3's window and levels of thinking are known by
            its name only. Also `model_name`.
        project: Google Cloud project. Default: `GOOGLE_CLOUD_PROJECT`, then the project of the credentials.
        location: Google Cloud location. Default: `GOOGLE_CLOUD_LOCATION`, then `"global"`.
        endpoint: Resource name or id of a self-deployed endpoint. Default: `KIMI_VERTEX_ENDPOINT`.
        base_url: Any OpenAI-compatible server of Kimi: everything before `/chat/completions`, used as it is.
        credentials: google-auth credentials, a credentials mapping, or the path of a credentials file. Default:
            application default credentials.
        access_token: Static bearer token, for other servers and tests. Also `api_key`.

    Key init args, generation:
        temperature, top_p, max_tokens, stop, seed: Sent only if you set them. Thinking and answer share `max_tokens`.
        extra_body: Further fields of the request's body.
        streaming: `True` makes `invoke` use the streaming API; `disable_streaming` (from LangChain) forbids it.
        on_thinking: Told each piece of thinking: a function or a coroutine function.

    Key init args, Kimi:
        reasoning_effort: How much the model thinks: `"none"`, `"low"`, `"medium"`, `"high"` or `"max"`.
        replay_thinking: Which turns get their thinking sent back: `"all"` (default), `"tools"`, `"none"`.
        empty_turn: What to do with a turn that only thinks: `"flag"` (default), `"retry"`, `"raise"`, `"promote"`.
        tool_validation: What to do about calls that do not fit their tool's schema: `"reask"` (default),
            `"flag"`, `"repair"`, `"off"`.

    Key init args, transport:
        timeout: Seconds, `kimi_vertex.Timeouts` or `httpx.Timeout`. Default: 10 to connect, 600 to the first byte, 300
            between pieces.
        max_retries: Default 2. `Retry-After` is honored, and nothing is repeated once output has begun.
        http_client, http_async_client: httpx clients of your own, never closed here.

    `kimi_vertex.fields.ClientFields` lists every parameter with its type, default and environment variable.

    Instantiate:
        ```python
        from langchain_kimi_vertex import ChatKimiVertex

        model = ChatKimiVertex(model="moonshotai/Kimi-K3", max_tokens=32_000)
        ```

    Invoke:
        ```python
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

    Async:
        ```python
        await model.ainvoke("Why is the sky blue?")
        async for chunk in model.astream("Why is the sky blue?"): ...
        ```

    Thinking, wherever the model runs:
        ```python
        from langchain_kimi_vertex import ThinkingCallbackHandler

        handler = ThinkingCallbackHandler(thinking=lambda text: print(text, end="", flush=True))
        agent.invoke({"messages": [...]}, config={"callbacks": [handler]})
        ```

    Tool calling:
        ```python
        message = model.bind_tools([get_weather]).invoke("What is the weather in Oslo?")
        message.tool_calls
        message.invalid_tool_calls  # cut off or unreadable: never in tool_calls
        ```

        Append `message` to the history as it is: Kimi wants its thinking back with every turn that called tools.
        The same holds for the sum of a stream's chunks. There, an invalid call's arguments end in a marker that
        keeps LangChain from completing them; an answer that was not streamed has the exact text.

    Structured output:
        ```python
        class Answer(BaseModel):
            cause: str
            confidence: float


        model.with_structured_output(Answer).invoke("Why is the sky blue?")
        ```

        The default `method="json_schema"` needs no forced tool call, which Kimi refuses while it thinks.

    Token usage:
        ```python
        message.usage_metadata  # {"input_tokens": ..., "output_tokens": ..., "total_tokens": ...}
        ```

    Errors:
        Both `kimi_vertex.RateLimitError` and `langchain_core.exceptions.ModelRateLimitError` catch a 429, and so on
        for every kind; an interrupted stream's error has `.partial_message`.
    """

    model_config = ConfigDict(defer_build=False)

    @property
    def _llm_type(self) -> str:
        return "kimi-vertex-chat"

    # Requests

    def _prepare(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: dict[str, Any]
    ) -> Request:
        kwargs.update(hidden_headers(kwargs))  # the caller's variable is in a traceback, too
        on_thinking = kwargs.get("on_thinking") or self.on_thinking
        if isinstance(on_thinking, Untold):
            # Where streaming is forbidden, it is told when the answer is there.
            live = self._should_stream(async_api=False, **{"stream": True, **kwargs})
            on_thinking = on_thinking.begin() if live else None
        arguments = {**kwargs, "on_thinking": on_thinking}
        if stop is not None:
            arguments["stop"] = stop
        return prepare(messages, arguments)

    def _should_stream(
        self,
        *,
        async_api: bool,
        run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> bool:
        """Let `invoke` stream underneath for a handler that follows the thinking, too."""
        handlers = run_manager.handlers if run_manager is not None else []
        if any(isinstance(handler, ThinkingCallbackHandler) for handler in handlers):
            kwargs.setdefault("stream", True)
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request = self._prepare(messages, stop, kwargs)
            completion = self.client.complete(request.messages, **request.options)
        return chat_result(completion, self._model_label(kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request = self._prepare(messages, stop, kwargs)
            completion = await self.client.acomplete(request.messages, **request.options)
        return chat_result(completion, self._model_label(kwargs))

    # LangChain's cache answers without a request.

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        kwargs.update(hidden_headers(kwargs))
        untold = kwargs["on_thinking"] = Untold(kwargs.get("on_thinking") or self.on_thinking)
        result = super()._generate_with_cache(messages, stop, run_manager, **kwargs)
        untold.tell(result)
        return result

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        kwargs.update(hidden_headers(kwargs))
        untold = kwargs["on_thinking"] = Untold(kwargs.get("on_thinking") or self.on_thinking)
        result = await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)
        await untold.atell(result)
        return result

    # Streams. No callbacks are fired in here: LangChain fires them for each chunk and event that it gets.

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        return self._render(Chunks(self._model_label(kwargs)), messages, stop, kwargs)

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        return self._arender(Chunks(self._model_label(kwargs)), messages, stop, kwargs)

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        *,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        return self._render(ProtocolEvents(self._model_label(kwargs)), messages, stop, kwargs)

    def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        *,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[MessagesData]:
        return self._arender(ProtocolEvents(self._model_label(kwargs)), messages, stop, kwargs)

    def _render(
        self,
        renderer: Renderer[ItemT_co],
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        kwargs: dict[str, Any],
    ) -> Iterator[ItemT_co]:
        with langchain_errors():
            request = self._prepare(messages, stop, kwargs)
            with self.client.stream(request.messages, **request.options) as stream:
                for event in stream:
                    yield from renderer.add(event)
            yield from renderer.finish(stream.completion)

    async def _arender(
        self,
        renderer: Renderer[ItemT_co],
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[ItemT_co]:
        with langchain_errors():
            request = self._prepare(messages, stop, kwargs)
            async with self.client.astream(request.messages, **request.options) as stream:
                async for event in stream:
                    for item in renderer.add(event):
                        yield item
            for item in renderer.finish(stream.completion):
                yield item

    # Tools and structured output

    if not TYPE_CHECKING:  # what it returns has a class of LangChain's own

        def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
            """Bind options of requests. Of `extra_headers`, dumps and traces show only the names."""
            return super().bind(**hidden_headers(kwargs))

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
            InvalidRequestError: `tool_choice` demands a call that is not possible.
        """
        bound: dict[str, Any] = {"tools": format_tools(tools, strict=strict), **kwargs}
        if tool_choice is not None:
            with langchain_errors():
                check_tool_choice(tool_choice, bound["tools"])
            bound["tool_choice"] = tool_choice
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
    ) -> Runnable[LanguageModelInput, Any]:
        """Get objects instead of messages.

        Args:
            schema: Pydantic class, dataclass, TypedDict, Enum, union or another type that pydantic knows, JSON schema
                or OpenAI function; optional for `"json_mode"`. Dicts and TypedDicts give dicts, types their objects.
            method: `"json_schema"` (default) sends the schema as `response_format`; `"function_calling"` offers it
                as a tool that must be called; `"json_mode"` asks for any JSON, so describe it in the prompt.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` instead of raising parse errors.
            strict: Sent if it is not `None`.
            **kwargs: Bound as well.

        Raises:
            ValueError: The method is unknown, or the schema is missing or cannot be one.
        """
        if method not in ("json_schema", "function_calling", "json_mode"):
            raise ValueError(f"method={method!r} is unknown; use json_schema, function_calling or json_mode.")
        if schema is None and method != "json_mode":
            raise ValueError(f"method={method!r} needs a schema.")
        # LangChain's output parsers cost more to import than this package.
        from langchain_kimi_vertex._structured import structured  # noqa: PLC0415

        wanted = None if schema is None else read_schema(schema)
        traced: Any = schema
        if wanted is not None and not isinstance(schema, Mapping) and not is_basemodel_subclass(traced):
            # For traces, LangChain reads the schema itself, and cannot read every type.
            traced = {
                "name": wanted.name,
                "description": wanted.description,
                "parameters": dict(wanted.schema),
            }
        kwargs["ls_structured_output_format"] = {
            "kwargs": {"method": method, "strict": strict},
            "schema": traced,
        }
        if method == "function_calling" and wanted is not None:
            # Of several calls, only one can be the object.
            kwargs.setdefault("parallel_tool_calls", False)
            bound = self.bind_tools([wanted.tool(strict=strict)], tool_choice=wanted.name, **kwargs)
            return structured(bound, wanted, is_call=True, include_raw=include_raw)
        asked = (
            {"type": "json_object"} if method == "json_mode" else to_response_format(schema, strict=strict)
        )
        bound = self.bind(response_format=asked, **kwargs)
        return structured(bound, wanted, include_raw=include_raw)
