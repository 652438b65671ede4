"""Every method family over real sockets: answers, events, counts, options."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from llama_index.core.async_utils import run_jobs
from llama_index.core.base.llms.types import (
    ChatMessage,
    TextBlock,
    ThinkingBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from kimi_vertex import ConfigurationError
from kimi_vertex.otel import instrument, uninstrument
from kimi_vertex_emulator import Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat, Complete, MakeLLM, Recorder

USAGE = {"prompt_tokens": 111, "completion_tokens": 10, "total_tokens": 121}
MODEL = "moonshotai/kimi-k2-thinking-maas"
REFUSED = Raw([b"{}"], status=429, headers={"retry-after": "0.01"})
HELLO = Turn(thinking=["The user ", "greets me;"], text=["Hello ", "friend."], usage=USAGE)


def test_chat(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """All four chat methods end with the same message: one text, thinking, usage in `raw`."""
    emulator.enqueue(HELLO)
    last = chat(llm, "Hi")[-1]
    assert [type(block) for block in last.message.blocks] == [TextBlock, ThinkingBlock]
    assert last.message.additional_kwargs["reasoning_content"] == "The user greets me;"
    assert last.message.content == "Hello friend."
    assert last.raw is not None
    assert last.raw["usage"]["prompt_tokens"] == 111
    assert last.additional_kwargs["finish_reason"] == "stop"


def test_what_tracers_are_told(emulator: Emulator, make_llm: MakeLLM, chat: Chat, recorder: Recorder) -> None:
    """The start event names the model and what shapes its answer, and nothing that may be secret."""
    emulator.enqueue(HELLO)
    llm = make_llm(
        model=MODEL, temperature=0.3, max_tokens=99, access_token="secret-1", extra_headers={"x": "secret-2"}
    )
    chat(llm, "Hi")
    (start,) = recorder.of(LLMChatStartEvent)
    told = {name: start.model_dict[name] for name in ("model", "temperature", "max_tokens", "num_output")}
    assert told == {"model": MODEL, "temperature": 0.3, "max_tokens": 99, "num_output": 99}
    assert "secret" not in str(start.model_dict)


def test_complete(emulator: Emulator, llm: KimiVertex, complete: Complete) -> None:
    """All four completion methods give the clean text, with the thinking beside it."""
    emulator.enqueue(HELLO)
    last = complete(llm, "Hi")[-1]
    assert last.text == "Hello friend."
    assert last.additional_kwargs["reasoning_content"] == "The user greets me;"
    assert emulator.requests[-1].json["messages"] == [{"role": "user", "content": "Hi"}]


def test_streams_deliver_every_piece(emulator: Emulator, llm: KimiVertex) -> None:
    """Streams give each piece of thinking and text as it comes, the first one included."""
    emulator.enqueue(HELLO, HELLO)
    chunks = list(llm.stream_chat([ChatMessage("Hi")]))
    assert [c.additional_kwargs["thinking_delta"] for c in chunks[:2]] == ["The user ", "greets me;"]
    assert [c.delta for c in chunks] == ["", "", "Hello ", "friend.", ""]
    completions = list(llm.stream_complete("Hi"))
    assert [c.additional_kwargs.get("thinking_delta") for c in completions[:3]] == [
        "The user ",
        "greets me;",
        None,
    ]
    assert [c.text for c in completions] == ["", "", "Hello ", "Hello friend.", "Hello friend."]


def test_return_types(llm: KimiVertex) -> None:
    """`stream_*` return generators, `astream_*` awaitables of asynchronous generators."""
    assert inspect.isgenerator(llm.stream_chat([ChatMessage("Hi")]))
    assert inspect.isgenerator(llm.stream_complete("Hi"))

    async def both() -> None:
        calls: list[Any] = [llm.astream_chat([ChatMessage("Hi")]), llm.astream_complete("Hi")]
        for call in calls:
            stream = await call
            assert inspect.isasyncgen(stream)
            await stream.aclose()

    asyncio.run(both())


def test_one_family_of_events_per_chat(llm: KimiVertex, chat: Chat, recorder: Recorder) -> None:
    """A chat call is one start and one end, and each streamed response one event between them."""
    responses = chat(llm, "Hi")
    assert recorder.count(LLMChatStartEvent) == recorder.count(LLMChatEndEvent) == 1
    assert recorder.count(LLMCompletionStartEvent) == 0
    streamed = "stream" in getattr(chat, "__name__", "")
    assert recorder.count(LLMChatInProgressEvent) == (len(responses) if streamed else 0)


def test_one_family_of_events_per_completion(llm: KimiVertex, complete: Complete, recorder: Recorder) -> None:
    """A completion is not also reported as a chat."""
    complete(llm, "Hi")
    assert recorder.count(LLMCompletionStartEvent) == recorder.count(LLMCompletionEndEvent) == 1
    assert recorder.count(LLMChatStartEvent) == recorder.count(LLMChatEndEvent) == 0


def test_tokens_are_counted_exactly(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """`TokenCountingHandler` counts what the service reported, once, in each chat method."""
    counter = TokenCountingHandler(tokenizer=list)
    emulator.enqueue(HELLO)
    chat(make_llm(callback_manager=CallbackManager([counter])), "Hi")
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (111, 10)
    assert len(counter.llm_token_counts) == 1


def test_tokens_of_completions_are_counted_exactly(
    emulator: Emulator, make_llm: MakeLLM, complete: Complete
) -> None:
    """The same holds for the completion methods."""
    counter = TokenCountingHandler(tokenizer=list)
    emulator.enqueue(HELLO)
    complete(make_llm(callback_manager=CallbackManager([counter])), "Hi")
    assert [count.total_token_count for count in counter.llm_token_counts] == [121]


def test_rate_limiter_is_taken_once(make_llm: MakeLLM, complete: Complete) -> None:
    """A completion takes one permit of a rate limiter, not one per layer."""
    taken: list[str] = []

    class Counting(TokenBucketRateLimiter):
        def acquire(self, num_tokens: int = 0) -> None:
            taken.append("sync")

        async def async_acquire(self, num_tokens: int = 0) -> None:
            taken.append("async")

    complete(make_llm(rate_limiter=Counting(requests_per_minute=60)), "Hi")
    assert len(taken) == 1


def test_unset_options_are_not_sent(emulator: Emulator, llm: KimiVertex) -> None:
    """Nothing that the user did not set reaches the service: no temperature, no limit, no tool choice."""
    llm.chat([ChatMessage("Hi")])
    body = emulator.requests[-1].json
    assert not body.keys() & {"temperature", "top_p", "max_tokens", "stop", "tools", "tool_choice", "seed"}


def test_options_of_the_model_and_of_the_call(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """Settings apply to every call, arguments of a call win over them, `None` means not given."""
    llm = make_llm(temperature=0.5, top_p=0.9, additional_kwargs={"seed": 7})
    chat(llm, "Hi", temperature=0.1, top_p=None, max_tokens=99, extra_body={"x_trace": "a"})
    body = emulator.requests[-1].json
    wanted = {"temperature": 0.1, "top_p": 0.9, "seed": 7, "max_tokens": 99, "x_trace": "a"}
    assert {name: body[name] for name in wanted} == wanted


def test_unknown_option_is_refused(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """A misspelt option raises and sends nothing."""
    with pytest.raises(ConfigurationError, match="temprature"):
        chat(llm, "Hi", temprature=0.1)
    assert emulator.requests == []


def test_settings_can_be_changed_later(emulator: Emulator, llm: KimiVertex) -> None:
    """Assigning to a setting takes effect in the next call."""
    llm.chat([ChatMessage("Hi")])
    llm.temperature = 0.3
    llm.chat([ChatMessage("Hi")])
    assert [request.json.get("temperature") for request in emulator.requests] == [None, 0.3]


def test_predict_uses_the_system_prompt(emulator: Emulator, make_llm: MakeLLM) -> None:
    """`predict`, `apredict` and `stream` put `system_prompt` first."""
    llm = make_llm(system_prompt="Be brief.")
    prompt = PromptTemplate("Say {word}")
    llm.predict(prompt, word="hi")
    asyncio.run(llm.apredict(prompt, word="hi"))
    "".join(llm.stream(prompt, word="hi"))
    for request in emulator.requests:
        assert request.json["messages"][0] == {"role": "system", "content": "Be brief."}


def test_history_is_not_mutated(llm: KimiVertex, chat: Chat) -> None:
    """A call leaves the caller's list and messages as they were."""
    history = [ChatMessage(role="system", content="s"), ChatMessage("Hi")]
    before = [message.model_copy(deep=True) for message in history]
    chat(llm, history)
    assert history == before


def test_metadata(make_llm: MakeLLM) -> None:
    """The model's limits are known without a request; `num_output` is what the user reserved."""
    metadata = make_llm().metadata
    assert (metadata.context_window, metadata.num_output) == (262_144, -1)
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.model_name == "moonshotai/kimi-k2-thinking-maas"
    own = make_llm(max_tokens=2_000, context_window=32_768).metadata
    assert (own.context_window, own.num_output) == (32_768, 2_000)


def test_room_for_a_prompt(make_llm: MakeLLM) -> None:
    """A limit for answers as large as the window leaves LlamaIndex's prompts half of it."""
    metadata = make_llm(max_tokens=262_144).metadata
    helper = PromptHelper.from_llm_metadata(metadata)
    chunk = helper.get_text_splitter_given_prompt(PromptTemplate("{text}")).chunk_size
    assert (metadata.num_output, chunk > 100_000) == (131_072, True)


def test_json_schema() -> None:
    """The settings have a JSON schema, as those of LlamaIndex's own class have; functions are left out of it."""
    properties = KimiVertex.model_json_schema()["properties"]
    assert "model" in properties
    assert not {"on_thinking", "on_request"} & set(properties)


def test_failures_are_events_too(emulator: Emulator, llm: KimiVertex, recorder: Recorder) -> None:
    """An error in the middle of a stream is raised and reported."""
    from kimi_vertex_emulator import Raw

    head = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
    emulator.enqueue(Raw([head, "cut"]))
    got: list[Any] = []
    with pytest.raises(Exception, match=r".") as caught:
        got.extend(llm.stream_chat([ChatMessage("Hi")]))
    assert recorder.of(ExceptionEvent)[0].exception is caught.value


def test_the_pace_is_measured(emulator: Emulator, make_llm: MakeLLM) -> None:
    """What a model waits for is in OpenTelemetry's metrics, as of any client."""
    reader = InMemoryMetricReader()
    instrument(meter_provider=MeterProvider([reader]))
    try:
        emulator.enqueue(REFUSED, HELLO)
        llm = make_llm(pace="shared", max_retries=1)
        assert llm.complete("Hi").text == "Hello friend."
        found: Any = reader.get_metrics_data()
    finally:
        uninstrument()
    metrics = found.resource_metrics[0].scope_metrics[0].metrics
    [refused] = [metric for metric in metrics if metric.name == "kimi_vertex.pace.refused"]
    assert refused.data.data_points[0].value == 1


def test_refused_jobs_are_not_lost(emulator: Emulator, make_llm: MakeLLM) -> None:
    """`run_jobs` with default settings: each prompt is answered, once, whatever is refused in between."""
    emulator.enqueue(*[REFUSED] * 8)
    llm = make_llm(pace="shared")
    jobs = [llm.acomplete(f"Question {number}") for number in range(12)]
    answers = asyncio.run(run_jobs(jobs, workers=12))
    answered = [exchange for exchange in emulator.exchanges if exchange.status == 200]
    assert (len(answers), len(answered)) == (12, 12)
    assert len({str(exchange.messages[-1]["content"]) for exchange in answered}) == 12
    assert len(emulator.exchanges) == 20
