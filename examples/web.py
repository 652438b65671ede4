"""A web page for an agent: thinking folds, calls show, stop works, and a reload keeps the conversation.

Run it with `python examples/web.py` (`langchain`, `starlette`, `uvicorn` and the `langchain` extra), and open its address.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn
from _console import kimi
from agent import convert_temperature, get_weather
from langchain.agents import create_agent
from langchain_core.messages import AnyMessage
from langgraph.checkpoint.memory import InMemorySaver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route

from langchain_kimi_vertex import ChatKimiVertex

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


def parts(message: AnyMessage) -> Iterator[tuple[str, str]]:
    if message.type in {"human", "tool"}:
        yield {"human": "user"}.get(message.type, "tool"), message.text
        return
    for block in message.content_blocks:
        if block["type"] == "reasoning":
            yield "thinking", block.get("reasoning", "")
        elif block["type"] == "text":
            yield "text", block["text"]
        elif block["type"] == "tool_call":
            yield "tool", f"{block['name']} {json.dumps(block['args'])}"


async def events(request: Request) -> StreamingResponse:
    agent, query = request.app.state.agent, request.query_params
    thread = {"configurable": {"thread_id": query["thread"]}}
    shown: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()

    async def run(question: str | None) -> None:
        before = (await agent.aget_state(thread)).values.get("messages", []) if question is None else []
        for part in (part for message in before for part in parts(message)):
            shown.put_nowait(part)
        if question is not None:
            shown.put_nowait(("user", question))
            new = {"messages": [("human", question)]}
            async for mode, data in agent.astream(new, thread, stream_mode=["messages", "updates"]):
                whole = mode == "updates"
                messages = [m for step in data.values() for m in step["messages"]] if whole else data[:1]
                for part in (part for message in messages for part in parts(message)):
                    if (
                        part[0] == "tool"
                    ) == whole:  # thinking and text come in pieces, calls and results whole
                        shown.put_nowait(part)

    async def lines() -> AsyncIterator[str]:
        # In a task of its own: LangGraph goes on when Starlette cancels it (langchain-ai/langgraph#8302).
        task = asyncio.create_task(run(query.get("ask")))
        task.add_done_callback(lambda _: shown.put_nowait(None))
        try:
            while part := await shown.get():
                yield f"data: {json.dumps(part)}\n\n"
        finally:
            task.cancel()

    return StreamingResponse(lines(), media_type="text/event-stream")


if __name__ == "__main__":
    with kimi():
        app = Starlette(routes=[Route("/", lambda _: HTMLResponse(PAGE)), Route("/events", events)])
        model, tools = ChatKimiVertex(), [get_weather, convert_temperature]
        app.state.agent = create_agent(model, tools, checkpointer=InMemorySaver())
        uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
