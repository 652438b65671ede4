"""What is scripted is what the client reads: any turn, in any dialect, cut in any way, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_vertex import Completion, KimiVertexClient, accumulate
from kimi_vertex_emulator import CHUNKINGS, DIALECTS, Call, Chunking, Dialect, Emulator, Turn

NAMES = ("add", "get_weather", "mcp__portal__search-documents", "todo.write")
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": {"type": "object"}}}
    for name in NAMES
]
CALLS_IN_TEXT = ("sglang-no-tool-parser", "sglang-no-parser", "calls-in-thinking", "raw-k3")
TOKENS_IN_TEXT = ("vllm-no-parser", "close-tag-only", *CALLS_IN_TEXT)
NATIVE_IDS = ("vertex", "vllm-new", "gateway", "vllm-no-parser", "close-tag-only", *CALLS_IN_TEXT[:3])

# Words, look-alikes of Kimi's tokens, and what breaks careless parsers of streams: but not the tokens themselves.
WORDS = st.sampled_from(
    [
        "a",
        "Oslo ",
        "18 °C",
        " ",
        "\n",
        "\n\n",
        "<",
        "<|",
        "|>",
        "a < b",
        "</",
        "`x`",
        "\u2028",
        "\r\n",
        "\x85",
        "\x00",
        "data: x\n\n",
        ": c",
        "[DONE]",
        "🚀",
        "é",
        "多くの",
        '{"a": 1}',
        "\\",
        '"',
        "<b>",
        "functions.",
        ":0",
        "\t",
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map("".join)
SPOKEN = TEXTS.filter(lambda text: text.strip() != "" and text[0] > " " and not text[0].isspace())
FIELD = st.one_of(st.none(), st.just(""), SPOKEN, st.lists(SPOKEN, min_size=1, max_size=4))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(
        Call,
        st.sampled_from(NAMES),
        st.dictionaries(
            TEXTS.filter(bool), JSON, max_size=3
        ),  # an argument without a name makes a call invalid
        st.none() | st.sampled_from(["call_8fBq", "functions.add:7", "579vb9nfc5QHdRfBt2hQ8UQCh1aYu1Ke"]),
    ),
    max_size=3,
    unique_by=lambda call: call.id or object(),
)
USAGE = st.none() | st.builds(
    lambda prompt, completion: {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    },
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


def ended(value: str | list[str] | None, end: str) -> str | list[str] | None:
    if not value:
        return value
    return value + end if isinstance(value, str) else [*value, end] if end else value


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    calls, dialect = draw(CALLS), draw(st.sampled_from(DIALECTS))
    if dialect in CALLS_IN_TEXT:
        # There the id is the only place of the name, so a foreign one is not a call.
        calls = [replace(call, id=None) for call in calls]
    # Where tokens stand in the text, half a token in front of one is damage, and not the model's words.
    end = "." if dialect in TOKENS_IN_TEXT else ""
    reasons = st.sampled_from([None, "stop", "length", "content_filter"])
    return Turn(
        thinking=ended(draw(FIELD), end),
        text=ended(draw(FIELD), end),
        tool_calls=calls,
        finish_reason=None if calls else draw(reasons),
        usage=draw(USAGE),
        dialect=dialect,
        chunking=draw(st.sampled_from(CHUNKINGS)),
    )


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else "".join(value or ())


def check(turn: Turn, read: Completion) -> None:
    """Compare what was read with what was scripted."""
    leaked = (
        turn.dialect == "calls-in-thinking" and turn.tool_calls
    )  # a field there is, but nothing else in it
    assert read.thinking == (None if turn.thinking is None and not leaked else text_of(turn.thinking))
    assert read.text == text_of(turn.text)
    assert [(call.name, json.loads(call.arguments)) for call in read.tool_calls] == [
        (call.name, call.arguments) for call in turn.tool_calls
    ]
    assert read.invalid_tool_calls == ()
    assert read.finish_reason == (turn.finish_reason or ("tool_calls" if turn.tool_calls else "stop"))
    assert read.usage is not None
    if turn.usage is not None:
        assert {name: getattr(read.usage, name) for name in turn.usage} == turn.usage
    for number, (call, found) in enumerate(zip(turn.tool_calls, read.tool_calls, strict=True)):
        if call.id is not None:
            assert found.id == call.id
        elif turn.dialect in NATIVE_IDS and f"functions.{call.name}:{number}" not in scripted_ids(turn):
            assert found.id == f"functions.{call.name}:{number}"
    assert len({call.id for call in read.tool_calls}) == len(turn.tool_calls)


def scripted_ids(turn: Turn) -> set[str | None]:
    return {call.id for call in turn.tool_calls}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Emulator, KimiVertexClient]]:
    with (
        Emulator(seed=11) as emulator,
        KimiVertexClient(base_url=emulator.base_url, access_token="t") as client,
    ):
        yield emulator, client


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(turn=turns(), stream=st.booleans())
def test_any_script_is_read_back(shared: tuple[Emulator, KimiVertexClient], turn: Turn, stream: bool) -> None:
    """Thinking, text, calls, ids, finish reason and usage arrive exactly as they were scripted."""
    emulator, client = shared
    emulator.reset()
    emulator.enqueue(turn)
    read = accumulate(client.stream("Hi", tools=TOOLS)) if stream else client.complete("Hi", tools=TOOLS)
    check(turn, read)


FULL = Turn(
    thinking="I look at 3 < 4 first.\nThen at the map.",
    text="It is 18 °C.\n\nTake `boots`, not <shoes>.",
    tool_calls=[Call("get_weather", {"city": "Tromsø", "days": [1, {"a": None}]}), Call("add", {})],
)


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_in_every_cut(
    shared: tuple[Emulator, KimiVertexClient], dialect: Dialect, chunking: Chunking
) -> None:
    """One rich turn is read back from a stream of each dialect, however it is cut."""
    emulator, client = shared
    turn = replace(FULL, dialect=dialect, chunking=chunking)
    emulator.reset()
    emulator.enqueue(turn)
    check(turn, accumulate(client.stream("Hi", tools=TOOLS)))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_in_one_body(shared: tuple[Emulator, KimiVertexClient], dialect: Dialect) -> None:
    """One rich turn is read back from one body of each dialect, with and without an event loop."""
    emulator, client = shared
    turn = replace(FULL, dialect=dialect)
    emulator.reset()
    emulator.enqueue(turn, turn)
    check(turn, client.complete("Hi", tools=TOOLS))
    async with KimiVertexClient(base_url=emulator.base_url, access_token="t") as own:
        check(turn, await own.acomplete("Hi", tools=TOOLS))


@pytest.mark.parametrize("stream", [False, True])
def test_dialects_and_cuts_at_random_change_nothing(stream: bool) -> None:
    """Drawn from a seed for each answer, every dialect has its turn, and each says the same."""
    with (
        Emulator(dialect="random", chunking="random", seed=5) as emulator,
        KimiVertexClient(base_url=emulator.base_url, access_token="t") as client,
    ):
        for _ in range(30):
            emulator.enqueue(FULL)
            read = (
                accumulate(client.stream("Hi", tools=TOOLS)) if stream else client.complete("Hi", tools=TOOLS)
            )
            check(FULL, read)
        spoken = {
            tuple(exchange.json) if not stream else exchange.body[:40] for exchange in emulator.exchanges
        }
    assert len(spoken) >= 3
