"""The parity law: one answer is the same answer on every path of LangChain's, sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


_NO_HOOK = property(lambda self: None)
Bridged: type[ChatKimiVertex] = type(
    "Bridged",
    (ChatKimiVertex,),
    {
        "__module__": __name__,
        "__doc__": "The model without its native v3 hooks, as on a LangChain that has renamed them.",
        "_stream_chat_model_events": _NO_HOOK,
        "_astream_chat_model_events": _NO_HOOK,
    },
)

_USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 20,
    "total_tokens": 70,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 9},
}
TURNS = {
    "thinking and text": Turn(thinking=["Let me", " see\u2028…"], text=["It is ", "😀 blue."], usage=_USAGE),
    "text only": Turn(text="Blue.", usage=_USAGE),
    "parallel calls": Turn(
        thinking="Two lookups.",
        text="Looking.",
        tool_calls=[Call("look", {"q": 'é {["x\\'}), Call("now", {})],
        usage=_USAGE,
    ),
    "cut call": Turn(
        thinking="Long.",
        tool_calls=[Call("look", {"q": "a"}), Call("write", '{"path": "/va')],
        finish_reason="length",
        usage=_USAGE,
    ),
    "thinking only": Turn(thinking="Hm.", finish_reason="stop", usage=_USAGE),
    "empty thinking": Turn(thinking="", text="Blue.", usage=_USAGE),
    "filtered": Turn(text="I", finish_reason="content_filter", usage=_USAGE),
}


def _summed(chunks: list[Any]) -> AIMessageChunk:
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert isinstance(total, AIMessageChunk)
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    return total


async def _invoke(model: BaseChatModel) -> AIMessage:
    return model.invoke("q")


async def _ainvoke(model: BaseChatModel) -> AIMessage:
    return await model.ainvoke("q")


async def _stream(model: BaseChatModel) -> AIMessage:
    return _summed(list(model.stream("q")))


async def _astream(model: BaseChatModel) -> AIMessage:
    return _summed([chunk async for chunk in model.astream("q")])


async def _events_v2(model: BaseChatModel) -> AIMessage:
    chunks = []
    end: AIMessage | None = None
    event: Any
    async for event in model.astream_events("q", version="v2"):
        if event["event"] == "on_chat_model_stream":
            chunks.append(event["data"]["chunk"])
        elif event["event"] == "on_chat_model_end":
            end = event["data"]["output"]
    assert end is not None
    assert end.text == _summed(chunks).text
    return end


async def _events_v3(model: BaseChatModel) -> AIMessage:
    stream = model.stream_events("q", version="v3")
    assert_valid_event_stream(list(stream))
    return stream.output


async def _aevents_v3(model: BaseChatModel) -> AIMessage:
    stream = await model.astream_events("q", version="v3")
    assert_valid_event_stream([event async for event in stream])
    return await stream


Path = Callable[[BaseChatModel], Awaitable[AIMessage]]
PATHS: Sequence[tuple[str, Path, type[ChatKimiVertex], str | None]] = [
    (f"{path.__name__[1:]}-{version or 'v0'}", path, ChatKimiVertex, version)
    for path in (_invoke, _ainvoke, _stream, _astream, _events_v2)
    for version in (None, "v1")
] + [
    (f"{path.__name__[1:]}-{kind.__name__}", path, kind, None)
    for path in (_events_v3, _aevents_v3)
    for kind in (ChatKimiVertex, Bridged)
]


def _facts(message: AIMessage) -> dict[str, Any]:
    """What must be equal on all paths. Reasons and raw text of invalid calls are compared through their blocks."""
    thinking = "".join(b.get("reasoning", "") for b in message.content_blocks if b["type"] == "reasoning")
    ours = ("model_provider", "model_name", "finish_reason", "empty_turn", "invalid_tool_call_errors")
    metadata = {key: message.response_metadata.get(key) for key in ours}
    return {
        "text": str(message.text),
        "thinking": thinking,
        "kwargs": message.additional_kwargs,
        "calls": message.tool_calls,
        "invalid": [(call["name"], call["id"]) for call in message.invalid_tool_calls],
        "usage": message.usage_metadata,
        "metadata": metadata,
    }


@pytest.fixture(scope="module")
def invoked() -> dict[str, AIMessage]:
    """What `invoke` gives of each turn."""
    with Emulator() as emulator:
        emulator.enqueue(*TURNS.values())
        model = ChatKimiVertex(base_url=emulator.base_url)
        return {name: model.invoke("q") for name in TURNS}


@pytest.mark.parametrize(("path", "kind", "version"), [p[1:] for p in PATHS], ids=[p[0] for p in PATHS])
async def test_every_path_gives_the_same_answer(
    emulator: Emulator,
    invoked: dict[str, AIMessage],
    path: Path,
    kind: type[ChatKimiVertex],
    version: str | None,
) -> None:
    """Text, thinking, calls, ids, usage and metadata do not depend on how the answer was fetched."""
    emulator.enqueue(*TURNS.values())
    model = kind(base_url=emulator.base_url, output_version=version)
    facts = {name: _facts(await path(model)) for name in TURNS}
    assert facts == {name: _facts(message) for name, message in invoked.items()}


def test_empty_turn_is_visible(invoked: dict[str, AIMessage]) -> None:
    """A model that thinks and stops is flagged, and its thinking is not shown as the answer."""
    message = invoked["thinking only"]
    assert (message.text, message.response_metadata["empty_turn"]) == ("", "thinking_only")


async def test_v0_blocks_are_equal(emulator: Emulator, invoked: dict[str, AIMessage]) -> None:
    """The standard blocks of a stream's sum are exactly those of `invoke`."""
    emulator.enqueue(*TURNS.values())
    model = ChatKimiVertex(base_url=emulator.base_url)
    blocks = {name: (await _stream(model)).content_blocks for name in TURNS}
    assert blocks == {name: message.content_blocks for name, message in invoked.items()}


TURN_BY_TURN = Raw(
    [
        *(b'data: {"choices": [{"index": 0, "delta": {"%b": "a"}}]}\n\n' % field for field in [b"reasoning", b"content"] * 2),
        b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "blocks"),
    [
        (TURN_BY_TURN, ["reasoning", "text"]),
        (TURNS["parallel calls"], ["reasoning", "text", "tool_call", "tool_call"]),
    ],
)
def test_pieces_fuse_and_blocks_do_not(emulator: Emulator, answer: Turn | Raw, blocks: list[str]) -> None:
    """Under v1, the sum of the stream has one block for all thinking, one for all text, and one for each call."""
    emulator.enqueue(answer)
    total = _summed(list(ChatKimiVertex(base_url=emulator.base_url, output_version="v1").stream("q")))
    assert [block["type"] for block in total.content_blocks] == blocks


def test_native_v3_finishes_thinking_when_the_answer_starts(emulator: Emulator) -> None:
    """The thinking block is finished before the first piece of text, not at the end of the message."""
    emulator.enqueue(TURNS["thinking and text"])
    events: list[Any] = list(ChatKimiVertex(base_url=emulator.base_url).stream_events("q", version="v3"))
    kinds = [(e["event"], (e.get("content") or e.get("delta") or {}).get("type")) for e in events]
    assert kinds.index(("content-block-finish", "reasoning")) < kinds.index(
        ("content-block-delta", "text-delta")
    )


def test_output_version_from_the_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """LC_OUTPUT_VERSION=v1 turns the content into standard blocks."""
    monkeypatch.setenv("LC_OUTPUT_VERSION", "v1")
    emulator.enqueue(TURNS["thinking and text"])
    message = ChatKimiVertex(base_url=emulator.base_url).invoke("q")
    assert [block["type"] for block in message.content if isinstance(block, dict)] == ["reasoning", "text"]


def test_no_callbacks_from_inside_the_stream(emulator: Emulator) -> None:
    """v3 delivers protocol events only: the model fires no `on_llm_new_token` of its own."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Counter(BaseCallbackHandler):
        tokens = events = 0

        def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
            self.tokens += 1

        def on_stream_event(self, *args: Any, **kwargs: Any) -> None:
            self.events += 1

    counter = Counter()
    emulator.enqueue(TURNS["thinking and text"])
    list(Bridged(base_url=emulator.base_url).stream_events("q", {"callbacks": [counter]}, version="v3"))
    assert (counter.tokens, counter.events > 4) == (0, True)
