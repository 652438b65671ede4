"""One model object in many loops, threads and cancelled tasks."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from kimi_vertex.otel import instrument, uninstrument
from kimi_vertex_emulator import Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

SLOW = Turn(thinking=["."] * 200, text="Blue.", pause=0.02)
REFUSED = Raw([b"{}"], status=429, headers={"retry-after": "0.01"})
SILENT = Raw([b" ", 5.0, b"{}"])


def test_several_event_loops(emulator: Emulator, model: ChatKimiVertex) -> None:
    """One model answers in several `asyncio.run`, one after the other."""
    emulator.enqueue(*[Turn(text="Blue.")] * 3)
    assert [asyncio.run(model.ainvoke("q")).text for _ in range(3)] == ["Blue."] * 3


def test_several_threads_with_loops(emulator: Emulator, model: ChatKimiVertex) -> None:
    """One model answers in threads that each have a loop, and in threads that have none."""
    emulator.enqueue(*[Turn(text="Blue.")] * 8)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(lambda: asyncio.run(model.ainvoke("q"))) for _ in range(4)]
        blocking = [pool.submit(model.invoke, "q") for _ in range(4)]
        assert {task.result().text for task in (*waiting, *blocking)} == {"Blue."}


def test_batch(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`batch` and `abatch` answer every question."""
    emulator.enqueue(*[Turn(text="Blue.")] * 6)
    assert [message.text for message in model.batch(["a", "b", "c"])] == ["Blue."] * 3
    assert [message.text for message in asyncio.run(model.abatch(["a", "b", "c"]))] == ["Blue."] * 3


def _wait_until_free(emulator: Emulator) -> bool:
    deadline = time.monotonic() + 2
    while emulator.open_connections and time.monotonic() < deadline:
        time.sleep(0.01)
    return not emulator.open_connections


async def _cancel_task(model: ChatKimiVertex) -> None:
    task = asyncio.create_task(model.ainvoke("q"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _leave_stream(model: ChatKimiVertex) -> None:
    async for _ in model.astream("q"):
        break
    await asyncio.sleep(0.05)


async def _close_v3(model: ChatKimiVertex) -> None:
    stream = await model.astream_events("q", version="v3")
    async for _ in stream:
        break
    await stream.aclose()


@pytest.mark.parametrize(
    ("leave", "answer"), [(_cancel_task, SILENT), (_leave_stream, SLOW), (_close_v3, SLOW)]
)
async def test_leaving_early_frees_the_connection(
    emulator: Emulator, make_model: MakeModel, leave: Any, answer: Any
) -> None:
    """A cancelled call and a stream that is left close their connection while the server still sends."""
    emulator.enqueue(answer)
    await leave(make_model())
    assert await asyncio.to_thread(_wait_until_free, emulator)


def test_leaving_a_blocking_stream_frees_the_connection(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Closing the generator of `stream` closes the connection."""
    emulator.enqueue(SLOW)
    stream: Any = model.stream("q")
    next(stream)
    stream.close()
    assert _wait_until_free(emulator)


def test_finished_streams_share_a_connection(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Streams that were read to the end, v3 included, leave their connection for the next call."""
    emulator.enqueue(*[Turn(thinking="Hm.", text="Blue.")] * 3)
    list(model.stream("q"))
    list(model.stream_events("q", version="v3"))
    model.invoke("q")
    assert emulator.connections_opened == 1


def test_closing_frees_the_connections(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`close` and `aclose` end the idle connections, and the model can be used again."""

    async def call_and_close() -> bool:
        await model.ainvoke("Hi")
        await model.aclose()
        return await asyncio.to_thread(_wait_until_free, emulator)

    model.invoke("Hi")
    assert emulator.open_connections == 1
    model.close()
    assert _wait_until_free(emulator)
    assert asyncio.run(call_and_close())
    assert model.invoke("Hi").text


async def test_the_pace_is_measured(emulator: Emulator, model: ChatKimiVertex) -> None:
    """What a model waits for is in OpenTelemetry's metrics, as of any client."""
    reader = InMemoryMetricReader()
    instrument(meter_provider=MeterProvider([reader]))
    try:
        emulator.enqueue(REFUSED, Turn(text="Blue."))
        assert [chunk async for chunk in model.astream("Hi")]
        found: Any = reader.get_metrics_data()
    finally:
        uninstrument()
    metrics = found.resource_metrics[0].scope_metrics[0].metrics
    [refused] = [metric for metric in metrics if metric.name == "kimi_vertex.pace.refused"]
    assert refused.data.data_points[0].value == 1


def test_refused_questions_of_a_batch_are_not_lost(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`abatch` with default settings: each question is answered, once, whatever is refused in between."""
    emulator.enqueue(*[REFUSED] * 8)
    answers = asyncio.run(model.abatch([f"Question {number}" for number in range(12)]))
    answered = [exchange for exchange in emulator.exchanges if exchange.status == 200]
    assert (len(answers), len(answered)) == (12, 12)
    assert len({str(exchange.messages[-1]["content"]) for exchange in answered}) == 12
    assert len(emulator.exchanges) == 20
