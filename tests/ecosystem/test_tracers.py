"""`kimi_vertex.otel` beside the tracers of the frameworks: each call of the model has one span, that of the tracer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# A process for each: the tracers leave parts of themselves behind when they are switched off.
PROGRAM = """
import asyncio, importlib, json, sys

from llama_index.core.llms import ChatMessage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kimi_vertex.otel import instrument
from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

package, name, framework = sys.argv[1:]
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
getattr(importlib.import_module(package), name)().instrument(tracer_provider=provider)
instrument(tracer_provider=provider)
hi = [ChatMessage("Hi")]


async def whole(stream):
    async for _ in stream:
        pass


async def later(stream):
    await whole(await stream)


with Emulator() as emulator:
    if framework == "langchain":
        model = ChatKimiVertex(base_url=emulator.base_url)
        model.invoke("Hi")
        list(model.stream("Hi"))
        asyncio.run(model.ainvoke("Hi"))
        asyncio.run(whole(model.astream("Hi")))
    else:
        llm = KimiVertex(base_url=emulator.base_url)
        llm.chat(hi)
        list(llm.stream_chat(hi))
        asyncio.run(llm.achat(hi))
        asyncio.run(later(llm.astream_chat(hi)))
print(json.dumps([span.name for span in exporter.get_finished_spans()]))
"""


@pytest.mark.parametrize(
    ("package", "name", "framework"),
    [
        ("openinference.instrumentation.langchain", "LangChainInstrumentor", "langchain"),
        ("opentelemetry.instrumentation.langchain", "LangchainInstrumentor", "langchain"),
        ("openinference.instrumentation.llama_index", "LlamaIndexInstrumentor", "llama_index"),
        ("opentelemetry.instrumentation.llamaindex", "LlamaIndexInstrumentor", "llama_index"),
    ],
)
def test_one_span_for_each_call(package: str, name: str, framework: str) -> None:
    """Whole and streamed, blocking and not: the tracer's span is the only one of a call."""
    pytest.importorskip(
        package, reason="the tracers are in the dependency groups ecosystem and ecosystem-llama-index"
    )
    command = [sys.executable, "-c", PROGRAM, package, name, framework]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spans = json.loads(done.stdout.splitlines()[-1])
    assert len(spans) == 4
    assert [span for span in spans if span.startswith("chat ")] == []
