"""Thinking and ids survive memories, chat stores, serialized contexts and histories of other integrations."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, JsonSerializer

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat

PYDANTIC = tuple(int(part) for part in pydantic.VERSION.split(".")[:2])
BROKEN_IN_CORE = pytest.mark.xfail(
    PYDANTIC >= (2, 14),
    reason="llama-index-core 0.14.25 passes its SerializationInfo to pydantic's handler, which 2.14 takes for a key: "
    "SimpleChatStore cannot be written to JSON, whatever the LLM",
)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ROUND = [
    Turn(thinking="A {sum}.", tool_calls=[Call("add", {"a": 1, "b": 2})]),
    Turn(thinking="Easy.", text="It is 3."),
    Turn(text="Gladly."),
]


def one_round(emulator: Emulator, llm: KimiVertex) -> list[ChatMessage]:
    """A tool loop's messages."""
    emulator.enqueue(*ROUND)
    result = ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "functions.add:0"})
    messages = [ChatMessage("1+2?")]
    messages += [llm.chat(messages, tools=[FunctionTool.from_defaults(add)]).message, result]
    return [*messages, llm.chat(messages).message]


def assert_replayed(emulator: Emulator) -> None:
    """The last request replays the round's call with its thinking and id."""
    turn = emulator.requests[-1].json["messages"][1]
    assert turn["reasoning_content"] == "A {sum}."
    assert turn["tool_calls"][0]["id"] == "functions.add:0"
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == {"a": 1, "b": 2}


def through_json(messages: list[ChatMessage]) -> list[ChatMessage]:
    return [ChatMessage.model_validate_json(message.model_dump_json()) for message in messages]


def through_serializer(messages: list[ChatMessage]) -> list[ChatMessage]:
    serializer = JsonSerializer()
    restored = serializer.deserialize(serializer.serialize(messages))
    assert isinstance(restored, list)
    return restored


def through_template(messages: list[ChatMessage]) -> list[ChatMessage]:
    return ChatPromptTemplate(message_templates=messages).format_messages(sum="XXX")


def through_buffer(messages: list[ChatMessage]) -> list[ChatMessage]:
    return ChatMemoryBuffer.from_defaults(chat_history=messages, token_limit=10_000).get()


def through_stored_buffer(messages: list[ChatMessage]) -> list[ChatMessage]:
    return ChatMemoryBuffer.from_string(
        ChatMemoryBuffer.from_defaults(chat_history=messages, token_limit=10_000).to_string()
    ).get()


def through_chat_store(messages: list[ChatMessage]) -> list[ChatMessage]:
    store = SimpleChatStore()
    store.set_messages("user", messages)
    return SimpleChatStore.parse_raw(store.json()).get_messages("user")


@pytest.mark.parametrize(
    "way",
    [
        through_json,
        through_serializer,
        through_template,
        through_buffer,
        pytest.param(through_stored_buffer, marks=BROKEN_IN_CORE),
        pytest.param(through_chat_store, marks=BROKEN_IN_CORE),
    ],
)
def test_ways_of_storing(emulator: Emulator, llm: KimiVertex, way: Any) -> None:
    """A tool loop that was stored and read again is accepted with its thinking, ids and arguments."""
    llm.chat([*way(one_round(emulator, llm)), ChatMessage("Thanks")])
    assert_replayed(emulator)


async def test_sql_memory(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """`Memory` keeps everything over two runs."""
    emulator.enqueue(*ROUND)
    await FunctionAgent(tools=[add], llm=llm).run(user_msg="1+2?", memory=memory)
    await FunctionAgent(tools=[add], llm=llm).run(user_msg="Thanks", memory=memory)
    assert_replayed(emulator)


UNSTORED = pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key")


@pytest.mark.parametrize(
    "explicit", [pytest.param(True, marks=UNSTORED), pytest.param(False, marks=BROKEN_IN_CORE)]
)
async def test_serialised_context(
    emulator: Emulator, llm: KimiVertex, make_memory: Any, explicit: bool
) -> None:
    """An agent resumed from its context's JSON, or with its memory beside it, replays the first run's thinking."""
    agent = FunctionAgent(tools=[add], llm=llm)
    context = Context(agent)
    emulator.enqueue(*ROUND)
    memory = make_memory() if explicit else ChatMemoryBuffer.from_defaults(llm=llm)
    await agent.run(user_msg="1+2?", ctx=context, memory=memory)
    stored = json.dumps(context.to_dict(serializer=JsonSerializer()))
    again = FunctionAgent(tools=[add], llm=llm)
    restored = Context.from_dict(again, json.loads(stored), serializer=JsonSerializer())
    if explicit:
        await again.run(user_msg="Thanks", ctx=restored, memory=memory)
    else:
        await again.run(user_msg="Thanks", ctx=restored)
    assert_replayed(emulator)


@pytest.mark.parametrize("streaming", [True, False])
def test_simple_chat_engine(emulator: Emulator, llm: KimiVertex, streaming: bool) -> None:
    """A chat engine's memory keeps the thinking, although streaming leaves one text block of each message."""
    engine = SimpleChatEngine.from_defaults(
        llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=10_000)
    )
    emulator.enqueue(Turn(thinking="I greet.", text="Hello!"), Turn(text="Fine."))
    if streaming:
        assert "".join(engine.stream_chat("Hi").response_gen) == "Hello!"
    else:
        assert engine.chat("Hi").response == "Hello!"
    engine.chat("How are you?")
    assert emulator.requests[-1].json["messages"][1]["reasoning_content"] == "I greet."


FOREIGN: dict[str, list[ChatMessage]] = {
    "Anthropic": [
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="A {sum}.", additional_information={"signature": "abc"}),
                TextBlock(text="I add."),
                ToolCallBlock(tool_call_id="toolu_01", tool_name="add", tool_kwargs={"a": 1, "b": 2}),
                CachePoint(cache_control=CacheControl(type="ephemeral")),
            ],
        ),
        ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "toolu_01"}),
    ],
    "DeepSeek": [
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="A {sum}."),
                ToolCallBlock(tool_call_id="call_1", tool_name="add", tool_kwargs='{"a": 1, "b": 2}'),
            ],
        ),
        ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "call_1"}),
    ],
    "legacy": [
        ChatMessage(
            role="assistant",
            content="",
            additional_kwargs={
                "reasoning_content": "A {sum}.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
                    }
                ],
            },
        ),
        ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "call_1", "name": "add"}),
    ],
}


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_history(emulator: Emulator, llm: KimiVertex, chat: Chat, origin: str) -> None:
    """A tool loop of another integration is accepted, with its thinking, and in Kimi's form of ids."""
    emulator.enqueue(Turn(text="Fine."))
    chat(llm, [ChatMessage("1+2?"), *FOREIGN[origin], ChatMessage("Thanks")])
    assert_replayed(emulator)
    result = emulator.requests[-1].json["messages"][2]
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "functions.add:0", "3")


def test_history_without_thinking(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """A foreign tool-call turn that has no thinking is accepted by the strict server all the same."""
    call = ToolCallBlock(tool_call_id="call_1", tool_name="add", tool_kwargs={"a": 1, "b": 2})
    result = ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "call_1"})
    emulator.enqueue(Turn(text="Fine."))
    chat(
        llm,
        [ChatMessage("1+2?"), ChatMessage(role="assistant", blocks=[call]), result, ChatMessage("Thanks")],
    )
    assert emulator.requests[-1].json["messages"][1]["reasoning_content"] is not None
