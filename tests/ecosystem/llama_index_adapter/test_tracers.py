"""OpenInference and OpenLLMetry: what OpenTelemetry spans hold of an agent's run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

REASON = "the tracers are in the dependency group ecosystem-llama-index"
trace: Any = pytest.importorskip("opentelemetry.sdk.trace", reason=REASON)
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export", reason=REASON)
in_memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=REASON)
TRACERS = {
    "openinference": (
        "openinference.instrumentation.llama_index",
        "llm.token_count.prompt",
        "llm.model_name",
    ),
    "openllmetry": (
        "opentelemetry.instrumentation.llamaindex",
        "gen_ai.usage.input_tokens",
        "gen_ai.request.model",
    ),
}
for module, *_ in TRACERS.values():
    pytest.importorskip(module, reason=REASON)


@pytest.fixture(params=TRACERS)
def tracer(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str, str]]:
    """The exporter that a tracer writes to, and the names that it gives to tokens and models."""
    module, tokens, model = TRACERS[request.param]
    exporter = in_memory.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    instrumentor = importlib.import_module(module).LlamaIndexInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter, tokens, model
    instrumentor.uninstrument()


@pytest.mark.parametrize("streaming", [True, False])
async def test_spans(
    emulator: Emulator,
    llm: KimiVertex,
    population: FunctionTool,
    tracer: tuple[Any, str, str],
    secret: str,
    streaming: bool,
) -> None:
    """The spans of both requests hold the usage and the model; the run's hold the call and the thinking, and no token."""
    exporter, tokens, model = tracer
    emulator.enqueue(
        Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Found it.", text="Oslo has 700000."),
    )
    await FunctionAgent(tools=[population], llm=llm, streaming=streaming).run("How many live in Oslo?")
    spans = [dict(span.attributes) for span in exporter.get_finished_spans()]
    requests = [span for span in spans if tokens in span]
    assert [span[model] for span in requests] == ["moonshotai/kimi-k2-thinking-maas"] * 2
    assert all(span[tokens] > 0 for span in requests)
    everything = str(spans)
    assert "I look it up." in everything
    assert "Oslo has 700000." in everything
    assert "functions.population:0" in everything
    assert secret not in everything
