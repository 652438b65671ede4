"""Many rows through one client: lazily, a bounded number at a time, errors as values, in constant memory."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from kimi_vertex import Completion, ConfigurationError, KimiVertexClient, KimiVertexError
from kimi_vertex._transport.many import Row, acomplete_many
from kimi_vertex_emulator import ChatRequest, Emulator, Quota, Turn

from .support_core import each_row

Ask = Callable[..., list[tuple[Any, Any]]]


def blocking(kimi: KimiVertexClient, rows: Iterable[Row], **how: Any) -> list[tuple[Any, Any]]:
    return list(kimi.complete_many(rows, **how))


def on_loop(kimi: KimiVertexClient, rows: Iterable[Row], **how: Any) -> list[tuple[Any, Any]]:
    async def run() -> list[tuple[Any, Any]]:
        return [answer async for answer in kimi.acomplete_many(rows, **how)]

    return asyncio.run(run())


each_twin = pytest.mark.parametrize("many", [blocking, on_loop])


def echo(chat: ChatRequest) -> Turn:
    return Turn(text=chat.prompt_text, delay=0.01)


@pytest.fixture
def kimi(emulator: Emulator) -> KimiVertexClient:
    emulator.brain = echo
    return KimiVertexClient(base_url=emulator.base_url)


@each_twin
def test_each_row_is_answered_by_its_key(many: Ask, kimi: KimiVertexClient, emulator: Emulator) -> None:
    """Twenty rows have twenty answers, over as many connections as rows are in work at a time."""
    found = many(kimi, ((number, f"row {number}") for number in range(20)), concurrency=8)
    assert {key: answer.text for key, answer in found} == {number: f"row {number}" for number in range(20)}
    assert emulator.connections_opened <= 8


@each_twin
def test_a_row_may_have_options(many: Ask, kimi: KimiVertexClient, emulator: Emulator) -> None:
    """What stands third in a row are options of its own."""
    many(kimi, [("a", "Hi", {"temperature": 0.5}), ("b", "Hi")], concurrency=1)
    assert [request.json.get("temperature") for request in emulator.chat_requests] == [0.5, None]


@each_twin
def test_an_error_is_a_value(many: Ask, kimi: KimiVertexClient) -> None:
    """A row that cannot be sent, and one that the service refuses, do not end the job."""
    found = dict(many(kimi, [("a", []), ("b", "Hi"), ("c", "Hi", {"temperature": 9})], concurrency=2))
    assert isinstance(found["b"], Completion)
    assert isinstance(found["a"], KimiVertexError)
    assert isinstance(found["c"], KimiVertexError)


@each_twin
def test_a_mistake_is_raised(many: Ask, kimi: KimiVertexClient) -> None:
    """A row without a conversation, and what the iterable raises, end the job."""
    with pytest.raises(ValueError, match="unpack"):
        many(kimi, [("a",)])

    def broken() -> Iterator[Row]:
        yield from ()
        raise LookupError("the file is gone")

    with pytest.raises(LookupError, match="the file is gone"):
        many(kimi, broken())


@each_twin
@pytest.mark.parametrize("concurrency", [0, 1.5, True])
def test_a_wrong_concurrency_is_refused(many: Ask, kimi: KimiVertexClient, concurrency: Any) -> None:
    """It is a whole number above zero."""
    with pytest.raises(ConfigurationError, match="concurrency is"):
        many(kimi, [], concurrency=concurrency)


@each_twin
def test_rows_are_taken_when_there_is_room(many: Ask, kimi: KimiVertexClient, emulator: Emulator) -> None:
    """Never are more rows taken than answered, but for those in work."""
    ahead: list[int] = []

    def rows() -> Iterator[Row]:
        for number in range(25):
            done = sum(exchange.ending == "complete" for exchange in emulator.exchanges)
            ahead.append(number - done)
            yield number, "Hi"

    many(kimi, rows(), concurrency=5)
    assert max(ahead) <= 5


def test_answers_come_as_they_are_ready(emulator: Emulator) -> None:
    """A slow row does not hold up the others."""
    emulator.brain = lambda chat: Turn(text="x", delay=30.0 if chat.prompt_text == "slow" else 0.0)
    kimi = KimiVertexClient(base_url=emulator.base_url)
    answers = kimi.complete_many([("slow", "slow"), ("a", "Hi"), ("b", "Hi")])
    assert {next(answers)[0], next(answers)[0]} == {"a", "b"}
    answers.close()


async def test_rows_may_come_asynchronously(kimi: KimiVertexClient) -> None:
    """An asynchronous iterable does as well."""

    async def rows() -> AsyncIterator[Row]:
        for number in range(10):
            await asyncio.sleep(0)
            yield number, "Hi"

    assert sorted([key async for key, _ in kimi.acomplete_many(rows(), concurrency=3)]) == list(range(10))


def test_a_job_that_is_left_ends(kimi: KimiVertexClient, emulator: Emulator) -> None:
    """Leaving early cancels what runs, ends the thread and closes its connections."""
    before = threading.active_count()
    answers = kimi.complete_many(((number, "Hi") for number in range(1000)), concurrency=4)
    next(answers)
    answers.close()
    assert threading.active_count() == before
    assert len(emulator.requests) < 20


def test_it_works_beside_a_running_loop(kimi: KimiVertexClient) -> None:
    """In a notebook, whose thread has a loop that runs, the blocking form works, too."""

    async def cell() -> int:
        return len(list(kimi.complete_many([("a", "Hi"), ("b", "Hi")])))

    assert asyncio.run(cell()) == 2


def test_a_quota_loses_nothing() -> None:
    """Under a quota every row is answered, once."""
    rows = [(f"row {number}", f"row {number}") for number in range(16)]

    def check(many: Ask) -> None:
        with Emulator(brain=echo, quota=Quota(requests=12, window=0.3)) as emulator:
            found = many(KimiVertexClient(base_url=emulator.base_url), rows, concurrency=32)
            statuses = {one.status for one in emulator.exchanges}
            answered = [one.text for one in emulator.exchanges if one.status == 200]
        assert {key: answer.text for key, answer in found} == dict(rows)
        assert sorted(answered) == sorted(key for key, _ in rows)
        assert statuses == {200, 429}

    each_row([blocking, on_loop], check)


async def test_memory_does_not_grow_with_the_rows() -> None:
    """Ten times as many rows need no more memory."""

    async def ask(messages: Any, **_: Any) -> Completion:
        await asyncio.sleep(0)
        return Completion(text=messages * 100)

    async def peak(rows: int) -> int:
        tracemalloc.reset_peak()
        async for _ in acomplete_many(ask, ((number, "row") for number in range(rows)), 64):
            pass
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        few = await peak(500)
        assert await peak(5_000) <= 1.2 * few + 100_000
    finally:
        tracemalloc.stop()
