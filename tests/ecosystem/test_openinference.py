"""OpenInference: what OpenTelemetry spans hold of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool

from langchain_kimi_vertex import ChatKimiVertex

REASON = "openinference is in the dependency group ecosystem"
openinference: Any = pytest.importorskip("openinference.instrumentation.langchain", reason=REASON)
trace: Any = pytest.importorskip("opentelemetry.sdk.trace", reason=REASON)
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export", reason=REASON)
in_memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=REASON)


@pytest.fixture
def spans() -> Iterator[Any]:
    """The exporter that OpenInference's instrumentation writes to."""
    exporter = in_memory.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    instrumentor = openinference.LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


@pytest.mark.parametrize("streaming", [False, True])
def test_spans(
    model: ChatKimiVertex,
    population: BaseTool,
    question: dict[str, Any],
    spans: Any,
    secret: str,
    streaming: bool,
) -> None:
    """The spans hold the thinking, the usage, the provider and the model, and no token."""
    agent: Any = create_agent(model, [population])
    if streaming:
        list(agent.stream(question, stream_mode="messages"))
    else:
        agent.invoke(question)
    finished = spans.get_finished_spans()
    first, second = (span.attributes for span in finished if span.name == "ChatKimiVertex")
    assert "I look it up." in first["output.value"]
    assert "I look it up." in second["input.value"]
    assert "Found it." in second["output.value"]
    assert (
        first["llm.token_count.total"]
        == first["llm.token_count.prompt"] + first["llm.token_count.completion"]
    )
    assert first["llm.token_count.completion"] > 0
    assert (first["llm.provider"], first["llm.model_name"]) == (
        "kimi_vertex",
        "moonshotai/kimi-k2-thinking-maas",
    )
    assert secret not in "".join(span.to_json() for span in finished)
