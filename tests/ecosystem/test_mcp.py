"""langchain-mcp-adapters: tools of a local MCP server, which runs as a process of its own."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain.agents import create_agent

from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex

REASON = "langchain-mcp-adapters is in the dependency group ecosystem"
clients: Any = pytest.importorskip("langchain_mcp_adapters.client", reason=REASON)
tools: Any = pytest.importorskip("langchain_mcp_adapters.tools", reason=REASON)

SERVER = '''
from mcp.server.fastmcp import FastMCP

server = FastMCP("cities", log_level="ERROR")


@server.tool()
def population(city: str) -> list[str]:
    """Inhabitants of a city."""
    return [city, "700000"]


server.run("stdio")
'''


async def test_tools_of_an_mcp_server(
    emulator: Emulator, model: ChatKimiVertex, question: dict[str, Any]
) -> None:
    """An agent calls an MCP server's tool; its result, a list of text blocks, goes back with the thinking."""
    client = clients.MultiServerMCPClient(
        {"cities": {"transport": "stdio", "command": sys.executable, "args": ["-c", SERVER]}}
    )
    async with client.session("cities") as session:
        agent: Any = create_agent(model, await tools.load_mcp_tools(session))
        result = await agent.ainvoke(question)
    assert result["messages"][-1].text == "Oslo has 700000."
    _, turn, outcome = emulator.requests[-1].json["messages"]
    assert turn["reasoning_content"] == "I look it up."
    assert "Oslo" in outcome["content"]
    assert "700000" in outcome["content"]
