"""OpenTelemetry: spans and metrics of requests, read back from its SDK."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kimi_vertex import APIError, KimiVertexClient
from kimi_vertex.otel import instrument, uninstrument
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import ENDLESS, each_form, is_stream, perform

BROKEN = Raw([b"{}"], status=500, headers={"retry-after": "0"})
MODEL = "moonshotai/kimi-k2-thinking-maas"


class Seen:
    """An SDK that keeps what it gets."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    @property
    def metrics(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        found: dict[str, list[Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                found |= {metric.name: list(metric.data.data_points) for metric in scope.metrics}
        return found


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    instrument(tracer_provider=found.tracers, meter_provider=found.meters)
    yield found
    uninstrument()


@each_form
def test_a_span(form: str, seen: Seen, emulator: Emulator) -> None:
    """A request is one client span with what was asked, what came and what it cost, and nothing that was said."""
    emulator.enqueue(BROKEN, Turn(thinking="Secret thought.", text="Secret answer."))
    client = KimiVertexClient(
        base_url=emulator.base_url, temperature=0.5, max_tokens=99, max_retry_seconds=9, server="vllm"
    )
    perform(client, form, "Secret question")
    [span] = seen.spans
    about = span.attributes
    assert (span.name, span.kind, span.status.status_code) == (
        f"chat {MODEL}",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.stream": is_stream(form),
        "gen_ai.response.finish_reasons": ("stop",),
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "kimi_vertex.attempts": 2,
        "kimi_vertex.failures": ("InternalServerError (500)",),
    }
    assert {name: about.get(name) for name in wanted} == wanted
    assert about["gen_ai.usage.output_tokens"] > 0
    assert ("gen_ai.response.time_to_first_chunk" in about) is is_stream(form)
    assert "Secret" not in span.to_json()


@each_form
def test_a_failure(form: str, seen: Seen, emulator: Emulator) -> None:
    """An error is the span's status and a label of the duration; its text is not there."""
    emulator.enqueue(Raw([b'{"error": {"message": "Secret"}}'], status=400))
    assert isinstance(perform(KimiVertexClient(base_url=emulator.base_url), form).error, APIError)
    [span] = seen.spans
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "BadRequestError")
    assert "Secret" not in span.to_json()
    [point] = seen.metrics["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "BadRequestError"


@each_form
def test_metrics(form: str, seen: Seen, emulator: Emulator) -> None:
    """Tokens by kind, seconds, and for streams those to the first piece."""
    perform(KimiVertexClient(base_url=emulator.base_url), form)
    found = seen.metrics
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum for point in found["gen_ai.client.token.usage"]
    }
    assert tokens["input"] > 0
    assert tokens["output"] > 0
    assert found["gen_ai.client.operation.duration"][0].count == 1
    assert ("gen_ai.client.operation.time_to_first_chunk" in found) is is_stream(form)


def test_content_on_demand(emulator: Emulator) -> None:
    """Whoever asks for it gets what was said, the thinking included, in the conventions' form."""
    seen = Seen()
    instrument(tracer_provider=seen.tracers, meter_provider=seen.meters, content=True)
    try:
        emulator.enqueue(Turn(thinking="Hm.", text="Four."))
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
        KimiVertexClient(base_url=emulator.base_url).complete(messages)
    finally:
        uninstrument()
    [span] = seen.spans
    asked, said = (json.loads(span.attributes[f"gen_ai.{side}.messages"]) for side in ("input", "output"))
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "2+2?"}]}]
    assert said[0]["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "Four."},
    ]
    assert json.loads(span.attributes["gen_ai.system_instructions"])[0]["content"] == "Be brief."


@each_form
def test_the_server_joins_the_trace(form: str, seen: Seen, emulator: Emulator) -> None:
    """The request carries the span as `traceparent`; the span has the parent that the caller has."""
    with seen.tracers.get_tracer("test").start_as_current_span("work") as outer:
        perform(KimiVertexClient(base_url=emulator.base_url), form)
    span = next(span for span in seen.spans if span.name != "work")
    assert span.parent.span_id == outer.get_span_context().span_id
    assert f"{span.context.span_id:016x}" in emulator.chat_requests[0].headers["traceparent"]


@pytest.mark.parametrize(
    "attributes", [{"openinference.span.kind": "LLM"}, {"gen_ai.operation.name": "chat"}]
)
def test_no_second_span(attributes: dict[str, str], seen: Seen, emulator: Emulator) -> None:
    """Inside the span that a framework's tracer has made for the call there is none of ours; it is counted."""
    with seen.tracers.get_tracer("test").start_as_current_span("llm", attributes=attributes):
        KimiVertexClient(base_url=emulator.base_url).complete("Hi")
    assert [span.name for span in seen.spans] == ["llm"]
    assert seen.metrics["gen_ai.client.operation.duration"][0].count == 1


def test_nothing_after_the_end(seen: Seen, emulator: Emulator) -> None:
    """`uninstrument` ends it, and `instrument` twice makes one span of a request."""
    instrument(tracer_provider=seen.tracers, meter_provider=seen.meters)
    client = KimiVertexClient(base_url=emulator.base_url)
    client.complete("Hi")
    uninstrument()
    client.complete("Hi")
    assert len(seen.spans) == 1


@each_form
def test_ids(form: str, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt has an id of its own, which begins alike; the error and the log have it, too."""
    emulator.enqueue(*[BROKEN] * 3)
    with caplog.at_level(logging.INFO, "kimi_vertex"):
        error = perform(KimiVertexClient(base_url=emulator.base_url, max_retries=2), form).error
    sent = [request.headers["x-request-id"] for request in emulator.chat_requests]
    assert [one.removeprefix(sent[0]) for one in sent] == ["", *[f"-{n}" for n in range(2, len(sent) + 1)]]
    assert isinstance(error, APIError)
    assert error.client_request_id == sent[-1]
    assert sent[-1] in error.__notes__[0]
    records: list[Any] = [record for record in caplog.records if record.name == "kimi_vertex.requests"]
    assert [record.kimi_vertex["client_request_id"] for record in records] == [sent[0]]


def test_the_users_own_id_wins(emulator: Emulator) -> None:
    """A header that the user sets is sent as it is."""
    KimiVertexClient(base_url=emulator.base_url).complete("Hi", extra_headers={"X-Request-ID": "mine"})
    assert emulator.chat_requests[0].headers["x-request-id"] == "mine"


def pace_of(seen: Seen) -> dict[str, float]:
    """The metrics of the pace of one target."""
    found = {name: points for name, points in seen.metrics.items() if name.startswith("kimi_vertex.pace.")}
    return {name.removeprefix("kimi_vertex.pace."): point.value for name, [point] in found.items()}


def test_the_pace_is_measured(seen: Seen, emulator: Emulator) -> None:
    """How many are refused, run and wait, and the pace once there is one, by target, while a client holds it."""
    client = KimiVertexClient(base_url=emulator.base_url)
    client.complete("Hi")
    assert pace_of(seen) == {"running": 0, "waiting": 0, "refused": 0}
    emulator.enqueue(Raw([b"{}"], status=429))
    client.complete("Hi")
    state, found = client.pace_state, pace_of(seen)
    assert found.keys() == {"per_second", "running", "waiting", "refused"} | (
        set() if state.limit is None else {"limit"}
    )
    assert (found["refused"], found["running"], found["waiting"]) == (1, 0, 0)
    [point] = seen.metrics["kimi_vertex.pace.refused"]
    assert point.attributes == {"kimi_vertex.target": f"base_url {emulator.base_url}"}
    del client
    gc.collect()
    assert pace_of(seen) == {}


def test_what_runs_is_measured(seen: Seen, emulator: Emulator) -> None:
    """Streams that are open count as running; clients of one address with credentials of their own are added up."""
    emulator.enqueue(*[ENDLESS] * 2)
    clients = [KimiVertexClient(base_url=emulator.base_url, access_token=token) for token in ("a", "b")]
    with clients[0].stream("Hi") as one, clients[1].stream("Hi") as two:
        next(one)
        next(two)
        assert pace_of(seen)["running"] == 2
    assert pace_of(seen)["running"] == 0


def test_nothing_of_the_pace_after_the_end(seen: Seen, emulator: Emulator) -> None:
    """After `uninstrument`, and of a client without a pace, there is nothing to measure."""
    KimiVertexClient(base_url=emulator.base_url, pace=None).complete("Hi")
    assert pace_of(seen) == {}
    client = KimiVertexClient(base_url=emulator.base_url)
    client.complete("Hi")
    assert pace_of(seen)["refused"] == 0
    uninstrument()
    assert pace_of(seen) == {}
