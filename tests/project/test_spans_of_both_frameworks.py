"""`kimi_vertex.otel` under both frameworks without a tracer of theirs: one span of ours for each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kimi_vertex import APIError
from kimi_vertex.otel import instrument, uninstrument
from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

HI = [ChatMessage("Hi")]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What an SDK has got."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(tracer_provider=provider, meter_provider=MeterProvider([InMemoryMetricReader()]))
    yield exporter
    uninstrument()


async def _langchain(base_url: str) -> None:
    model = ChatKimiVertex(base_url=base_url, max_retries=0)
    model.invoke("Hi")
    list(model.stream("Hi"))
    await model.ainvoke("Hi")
    async for _ in model.astream("Hi"):
        pass


async def _llama_index(base_url: str) -> None:
    llm = KimiVertex(base_url=base_url, max_retries=0)
    llm.chat(HI)
    list(llm.stream_chat(HI))
    await llm.achat(HI)
    async for _ in await llm.astream_chat(HI):
        pass


@pytest.mark.parametrize("run", [_langchain, _llama_index])
async def test_one_span_for_each_call(run: Any, spans: InMemorySpanExporter, emulator: Emulator) -> None:
    """Whole and streamed, blocking and not, each with its model, its tokens and its end."""
    await run(emulator.base_url)
    about: list[Any] = [span.attributes for span in spans.get_finished_spans()]
    assert [one["gen_ai.request.stream"] for one in about] == [False, True, False, True]
    assert {one["gen_ai.request.model"] for one in about} == {"moonshotai/kimi-k2-thinking-maas"}
    assert all(one["gen_ai.usage.output_tokens"] > 0 for one in about)


@pytest.mark.parametrize("run", [_langchain, _llama_index])
async def test_an_error_is_in_the_span(run: Any, spans: InMemorySpanExporter, emulator: Emulator) -> None:
    """An error of a call is the span's, by its class of the core."""
    emulator.enqueue(Raw([b"{}"], status=400))
    with pytest.raises(APIError) as caught:
        await run(emulator.base_url)
    [span] = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "BadRequestError"
    assert caught.value.client_request_id == span.attributes["kimi_vertex.client_request_id"]
