"""`KimiVertex`: LlamaIndex's methods over the core client. Conversions live in the modules beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Final, cast

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    chat_to_completion_decorator,
    prompt_to_messages,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span import active_span_id
from pydantic import ConfigDict

from kimi_vertex import Message, RequestOptions, ThinkingDelta
from kimi_vertex.otel import is_traced

from ._callbacks import has_handler, where_handled
from ._messages import to_core_messages
from ._responses import ResponseBuilder, chat_response, completion_response
from ._settings import ClientSettings, check_options
from ._structured_llm import StructuredCalls
from ._tool_calls import ToolCalls
from ._tools import renamed_tools, tool_dicts
from .events import ThinkingDeltaEvent

__all__ = ["KimiVertex"]

_dispatcher = get_dispatcher(__name__)
_TRACED: Final = ("temperature", "top_p", "max_tokens", "stop", "seed")


@dataclass(frozen=True, slots=True)
class _Request:
    messages: list[Message]
    options: RequestOptions
    single_call: bool
    names: Mapping[str, str]
    """Tools' own names by those that the model knows them by, where the two differ."""


class KimiVertex(ClientSettings, StructuredCalls, ToolCalls):
    """A Kimi model on Google Vertex AI, managed or self-deployed, as a LlamaIndex LLM.

    Setup:
        Install the package and log in to Google, once:

        ```bash
        pip install "kimi-vertex[llama-index]"
        gcloud auth application-default login
        export KIMI_VERTEX_ENDPOINT=projects/my-project/locations/us-central1/endpoints/1234567890
        ```

    Key settings:
        model: Name of the model, also by its place; an endpoint answers without, but a Kimi K3's window and levels of
            thinking are known by its name only.
        project, location: Default `GOOGLE_CLOUD_PROJECT`, `GOOGLE_CLOUD_LOCATION`, then `"global"`.
        endpoint: A self-deployed endpoint, by resource name or id; default `KIMI_VERTEX_ENDPOINT`.
        credentials, access_token: Default: application default credentials.
        timeout: Seconds, `kimi_vertex.Timeouts` or `httpx.Timeout`. Default: 10 to connect, 600 to the first byte, 300
            between pieces.
        temperature, top_p, max_tokens, stop, seed, extra_body: Sent only if set.
        reasoning_effort: How much the model thinks: `"none"`, `"low"`, `"medium"`, `"high"` or `"max"`.
        on_thinking: Told each piece of thinking as it arrives, whatever the method; see below.
        replay_thinking, empty_turn: How Kimi's rules for histories are kept.
        structured_output: `"tool"` (default) or `"json_schema"`.
        context_window: For a self-deployed model that serves less than its weights allow.
        additional_kwargs: Options of every request, for example `{"thinking": {"keep": "all"}}`.

    `kimi_vertex.fields.ClientFields` lists every parameter with its type, default and environment variable.

    Thinking:
        A finished message holds it in a `ThinkingBlock`, behind the text, and in
        `additional_kwargs["reasoning_content"]`; a streamed response holds its next piece in
        `additional_kwargs["thinking_delta"]`. Engines drop both, so use `on_thinking` or the instrumentation
        event `ThinkingDeltaEvent` to see it there. A listener that raises does not break the request. In tool
        loops the thinking goes back to the model, because its servers demand it.

    Responses:
        A response's `additional_kwargs` has `finish_reason`, token counts, `empty_turn` and `refusal` as far as
        they are known. A tool call that was cut off or cannot be read is listed in
        `message.additional_kwargs["invalid_tool_calls"]` and is never executed; agents tell the model.

    Options:
        Every method takes the options of one request as keyword arguments: `temperature`, `tools`,
        `tool_choice`, `response_format`, `seed` and the others of `kimi_vertex.RequestOptions`.

    Raises:
        ConfigurationError: At construction, for a wrong or missing setting. Requests raise the errors of
            `kimi_vertex`.

    Example:
        ```python
        from llama_index.core.llms import ChatMessage
        from llama_index_kimi_vertex import KimiVertex

        llm = KimiVertex("moonshotai/Kimi-K3", max_tokens=32_000)
        for chunk in llm.stream_chat([ChatMessage("Why is the sky blue?")]):
            print(chunk.additional_kwargs.get("thinking_delta") or chunk.delta, end="")
        ```
    """

    model_config = ConfigDict(defer_build=False)

    @classmethod
    def class_name(cls) -> str:
        """The stable name in `to_dict`."""
        return "KimiVertex"

    @property
    def metadata(self) -> LLMMetadata:
        """The model's limits and abilities, known without a request.

        `num_output` is `max_tokens`, or -1 if that is not set: LlamaIndex takes it off the context window, and
        Kimi's own output limit is the whole window. Half of the window always stays for the prompt.
        """
        client = self.client
        window = self.context_window or client.model_info.context_window
        return LLMMetadata(
            context_window=window,
            num_output=min(self.max_tokens, window // 2) if self.max_tokens else -1,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=str(client.model or self.endpoint or client.model_info.family),
            system_role=MessageRole.SYSTEM,
        )

    def to_payload(self) -> dict[str, Any]:
        """What tracers are told of the LLM: its metadata, and the settings that shape an answer; no secret."""
        settings = {name: getattr(self, name) for name in _TRACED}
        known = {name: value for name, value in settings.items() if value is not None}
        return {**super().to_payload(), "model": self.metadata.model_name, **known}

    # Chat

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._chat(messages, **kwargs)

    @where_handled(llm_chat_callback())
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece; closing the generator closes the connection."""
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return await self._achat(messages, **kwargs)

    @where_handled(llm_chat_callback())
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece; closing the generator closes the connection."""
        return await self._astream_chat(messages, **kwargs)

    # Completion: over the undecorated chat, so that a request sends one family of events and is counted once

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, sent as one user message."""
        return chat_to_completion_decorator(self._chat)(prompt, **kwargs)

    @where_handled(llm_completion_callback())
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a prompt piece by piece."""
        responses = self._stream_chat(prompt_to_messages(prompt), **kwargs)

        def completions() -> CompletionResponseGen:
            with closing(responses):
                for response in responses:
                    yield completion_response(response)

        return completions()

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, sent as one user message."""
        return await achat_to_completion_decorator(self._achat)(prompt, **kwargs)

    @where_handled(llm_completion_callback())
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Answer a prompt piece by piece."""
        responses = await self._astream_chat(prompt_to_messages(prompt), **kwargs)

        async def completions() -> CompletionResponseAsyncGen:
            async with aclosing(responses):
                async for response in responses:
                    yield completion_response(response)

        return completions()

    # The requests themselves

    def _request(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> _Request:
        options = {
            name: value for name, value in {**self.additional_kwargs, **kwargs}.items() if value is not None
        }
        single_call = not options.pop("allow_parallel_tool_calls", True)
        names = options.pop("tool_names", {})
        check_options(options)
        if tools := options.pop("tools", None):
            options["tools"] = tool_dicts(tools)
            names = {**names, **renamed_tools(tools, options["tools"])}
        else:
            options.pop("tool_choice", None)
        single_call = single_call or options.get("parallel_tool_calls") is False
        if is_traced("llama_index"):
            options["traced"] = True
        return _Request(to_core_messages(messages), cast(RequestOptions, options), single_call, names)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        request = self._request(messages, kwargs)
        completion = self.client.complete(request.messages, **request.options)
        self._announce(completion.thinking, active_span_id.get())
        return chat_response(completion, single_call=request.single_call, names=request.names)

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        request = self._request(messages, kwargs)
        completion = await self.client.acomplete(request.messages, **request.options)
        self._announce(completion.thinking, active_span_id.get())
        return chat_response(completion, single_call=request.single_call, names=request.names)

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        request, span = self._request(messages, kwargs), active_span_id.get()

        def responses() -> ChatResponseGen:
            announced = has_handler(_dispatcher)
            builder = ResponseBuilder(single_call=request.single_call, names=request.names)
            with closing(self.client.stream(request.messages, **request.options)) as stream:
                for event in stream:
                    if announced and isinstance(event, ThinkingDelta):
                        self._announce(event.text, span)
                    if (response := builder.add(event)) is not None:
                        yield response
                yield builder.finish(stream.completion)

        return responses()

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        request, span = self._request(messages, kwargs), active_span_id.get()

        async def responses() -> ChatResponseAsyncGen:
            announced = has_handler(_dispatcher)
            builder = ResponseBuilder(single_call=request.single_call, names=request.names)
            async with aclosing(self.client.astream(request.messages, **request.options)) as stream:
                async for event in stream:
                    if announced and isinstance(event, ThinkingDelta):
                        self._announce(event.text, span)
                    if (response := builder.add(event)) is not None:
                        yield response
                yield builder.finish(stream.completion)

        return responses()

    def _announce(self, thinking: str | None, span: str | None) -> None:
        """Send the instrumentation event, because LlamaIndex's engines do not pass thinking on.

        Args:
            span: The span of the call, which a stream outlives.
        """
        if thinking and has_handler(_dispatcher):
            _dispatcher.event(ThinkingDeltaEvent(delta=thinking, model=self.client.model, span_id=span))
