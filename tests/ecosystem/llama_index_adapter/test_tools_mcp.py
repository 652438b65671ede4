"""llama-index-tools-mcp: tools of a local MCP server, which runs as a process of its own."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

REASON = "llama-index-tools-mcp is in the dependency group ecosystem-llama-index"
mcp: Any = pytest.importorskip("llama_index.tools.mcp", reason=REASON)

SERVER = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("cities")


@server.tool()
def population(city: str) -> list[str]:
    """Inhabitants of a city."""
    return [city, "700000"]


server.run("stdio")
'''


@pytest.mark.parametrize("streaming", [True, False])
async def test_tools_of_an_mcp_server(emulator: Emulator, llm: KimiVertex, streaming: bool) -> None:
    """An agent calls an MCP server's tool; its result goes back with the thinking."""
    client = mcp.BasicMCPClient(sys.executable, args=["-c", SERVER])
    tools = await mcp.McpToolSpec(client=client).to_tool_list_async()
    emulator.enqueue(
        Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Found it.", text="Oslo has 700000."),
    )
    answer = await FunctionAgent(tools=tools, llm=llm, streaming=streaming).run("How many live in Oslo?")
    assert str(answer) == "Oslo has 700000."
    _, turn, outcome = emulator.requests[-1].json["messages"]
    assert turn["reasoning_content"] == "I look it up."
    assert "Oslo" in outcome["content"]
    assert "700000" in outcome["content"]
