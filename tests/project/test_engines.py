"""Real engines' answers and quotations through both frameworks: one of each kind, from every method."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex
from tests.core.answer.support_decoder import TOOLS, Row, call, chunk
from tests.core.answer.support_engines import ARGS, BEGIN, END, ID, LS, STOP, begun, calls, leak, say, think

PAGE = f"Kimi writes {BEGIN}{leak(ID, LS)}{END}."
RUN = [("bash", {"command": "ls"})]
CASES: dict[str, tuple[Row, list[tuple[str, dict[str, Any]]]]] = {
    "left": (Row("", [calls(begun(ID, "bash")), say(f"{json.dumps(LS)}{STOP}{END}")]), RUN),
    "empty": (Row("", [calls(call(0, ID, "bash", "{}"))]), []),
    "tags": (Row("", [think("a"), say("An</think>swer")], "Answer"), []),
    "twins": (Row("", [calls(call(0, ID, "bash", '{"comm')), calls(call(1, ID, "bash", LS))]), RUN),
    "half-eaten": (Row("", [say(f"Sure.\n3{ARGS}{LS}{STOP}{END}")], "Sure.\n"), RUN),
    "quotation": (
        Row("", [say(f"It has {BEGIN}{leak(ID, LS)}{END}.")], f"It has {BEGIN}{leak(ID, LS)}{END}."),
        [],
    ),
    "bare": (Row("", [say(f"Run\n{ID}{LS}\nor not.")], f"Run\n{ID}{LS}\nor not."), []),
}
METHODS = ["whole", "stream", "awhole", "astream"]


def serve(emulator: Emulator, row: Row, method: str) -> None:
    """Script the row as the answer."""
    if "stream" in method:
        chunks = [*map(chunk, row.deltas), chunk({}, "stop")]
        lines = [f"data: {json.dumps(piece)}\n\n".encode() for piece in chunks]
        emulator.enqueue(Raw([*lines, b"data: [DONE]\n\n"]))
    else:
        choice = {"index": 0, "message": row.message, "finish_reason": "stop"}
        body = json.dumps({"id": "answer-1", "object": "chat.completion", "choices": [choice]}).encode()
        emulator.enqueue(Raw([body], headers={"content-type": "application/json"}))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_langchain(emulator: Emulator, name: str, method: str) -> None:
    """LangChain's message has the text and the calls that may be executed, and no others."""
    row, expected = CASES[name]
    serve(emulator, row, method)
    model = ChatKimiVertex(base_url=emulator.base_url, tool_validation="off").bind_tools(TOOLS)
    question = f"Read: {PAGE}" if name == "quotation" else "Hi"

    async def ask() -> Any:
        if method == "awhole":
            return await model.ainvoke(question)
        return _sum([piece async for piece in model.astream(question)])

    if method.startswith("a"):
        message = asyncio.run(ask())
    else:
        message = model.invoke(question) if method == "whole" else _sum(model.stream(question))
    assert message.text == row.text
    assert [(found["name"], found["args"]) for found in message.tool_calls] == expected


def _sum(chunks: Iterable[Any]) -> AIMessageChunk:
    first, *rest = chunks
    for piece in rest:
        first += piece
    return first  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_llama_index(emulator: Emulator, name: str, method: str) -> None:
    """LlamaIndex's response has the text and the calls that may be executed, and no others."""
    row, expected = CASES[name]
    serve(emulator, row, method)
    llm = KimiVertex(base_url=emulator.base_url, tool_validation="off")
    messages = [ChatMessage(f"Read: {PAGE}" if name == "quotation" else "Hi")]
    tools: Mapping[str, Any] = {"tools": TOOLS}

    async def ask() -> Any:
        if method == "awhole":
            return await llm.achat(messages, **tools)
        responses = [item async for item in await llm.astream_chat(messages, **tools)]
        last: ChatResponse = responses[-1]
        return last

    if method.startswith("a"):
        response = asyncio.run(ask())
    elif method == "whole":
        response = llm.chat(messages, **tools)
    else:
        *_, response = llm.stream_chat(messages, **tools)
    assert (response.message.content or "") == row.text
    found = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    # An invalid call is handed to agents under a name that no tool has.
    named = {tool["function"]["name"] for tool in TOOLS}
    assert [(item.tool_name, item.tool_kwargs) for item in found if item.tool_name in named] == expected
