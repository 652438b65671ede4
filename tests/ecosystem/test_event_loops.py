"""blockbuster, which raises where something blocks the event loop; uvloop and nest_asyncio, which are other loops."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool
from llama_index.core.base.llms.types import ChatMessage
from pydantic import BaseModel

from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

from ..support_installed import steps_of
from ..support_scripts import Start, run_scripts

REASON = "is in the dependency group ecosystem"


class Answer(BaseModel):
    """An answer."""

    inhabitants: int


async def use_langchain(emulator: Emulator, tool: BaseTool, question: Any) -> None:
    """What a server does with a chat model, from its construction on."""
    model = ChatKimiVertex(base_url=emulator.base_url)
    assert (await create_agent(model, [tool]).ainvoke(question))["messages"][-1].text
    assert [chunk async for chunk in model.astream("q")]
    assert [event async for event in model.astream_events("q", version="v2")]
    assert len(await model.abatch(["q", "r"])) == 2
    emulator.enqueue(Turn(text='{"inhabitants": 700000}'))
    assert await model.with_structured_output(Answer).ainvoke("q") == Answer(inhabitants=700000)
    invalid = Turn(tool_calls=[Call("population", {"city": 1})])
    emulator.enqueue(invalid, invalid)
    assert (await model.bind_tools([tool]).ainvoke("q")).response_metadata["reasked"]
    await model.aclose()


async def use_llama_index(emulator: Emulator, tool: BaseTool, question: Any) -> None:
    """The same with an LLM of LlamaIndex."""
    llm = KimiVertex(base_url=emulator.base_url)
    assert (await llm.achat([ChatMessage("q")])).message.blocks
    assert [chunk async for chunk in await llm.astream_chat([ChatMessage("q")])]
    await llm.aclose()


@pytest.mark.parametrize("use", [use_langchain, use_llama_index])
def test_nothing_blocks_the_loop(
    emulator: Emulator, population: BaseTool, question: dict[str, Any], use: Any
) -> None:
    """Construction, first use, agents, calls that are asked for again: nothing blocks the loop."""
    blockbuster: Any = pytest.importorskip("blockbuster", reason=f"blockbuster {REASON}")

    async def watched() -> None:
        with blockbuster.blockbuster_ctx():
            await use(emulator, population, question)

    asyncio.run(watched())


START = """
import asyncio, sys
from kimi_vertex import KimiVertexClient
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

url = sys.argv[1]
client, model, llm = KimiVertexClient(base_url=url), ChatKimiVertex(base_url=url), KimiVertex(base_url=url)

async def use():
    await asyncio.gather(client.acomplete("q"), model.ainvoke("q"), llm.acomplete("q"))
    assert [chunk async for chunk in model.astream("q")]
    assert [chunk async for chunk in await llm.astream_complete("q")]
    task = asyncio.create_task(model.ainvoke("q"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
"""
UVLOOP = """
import uvloop

async def leave():
    await use()
    async for _ in client.astream("q"):
        break
    async for _ in model.astream("q"):
        break
    async for _ in await llm.astream_complete("q"):
        break

for _ in range(3):
    uvloop.run(leave())
"""
NESTED = """
import nest_asyncio

async def nest():
    asyncio.run(use())

asyncio.run(use())
nest_asyncio.apply()
for _ in range(2):
    asyncio.run(nest())
assert model.invoke("q").text and llm.complete("q").text
"""


@pytest.mark.parametrize(("package", "script"), [("uvloop", UVLOOP), ("nest_asyncio", NESTED)])
def test_other_loops(emulator: Emulator, tmp_path: Path, package: str, script: str) -> None:
    """Several loops, loops within a loop, streams that are left and requests that are cancelled: not a word at the end."""
    pytest.importorskip(package, reason=f"{package} {REASON}")
    file = tmp_path / "loops.py"
    file.write_text(START + script, encoding="utf-8")
    [end] = run_scripts(steps_of(), [Start(str(file), str(tmp_path), {}, [emulator.base_url], strict=False)])
    assert (end.status, end.err) == (0, "")
