"""A LangGraph agent that calls two tools, one after the other, thinking before each step.

Run it with `make demo ARGS=agent`, or `python examples/agent.py` with `langchain` and the `langchain` extra.
"""

from __future__ import annotations

from _console import Screen, kimi, title
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_kimi_vertex import ChatKimiVertex

QUESTION = "What is the weather in Lisbon in Celsius, and convert that temperature to Fahrenheit?"


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city, with the temperature in Celsius."""
    celsius = {"Lisbon": 21, "Oslo": 4, "Nairobi": 25}.get(city, 15)
    return f"{city}: {celsius} °C, light wind"


@tool
def convert_temperature(celsius: float) -> str:
    """Convert a temperature from Celsius to Fahrenheit."""
    return f"{celsius * 9 / 5 + 32:.1f} °F"


def main() -> None:
    title("LangGraph: an agent with tools, thinking before each step")
    agent = create_agent(ChatKimiVertex(), [get_weather, convert_temperature])
    screen = Screen()
    screen.question(QUESTION)
    called: dict[str, str] = {}
    for message, _ in agent.stream({"messages": [HumanMessage(QUESTION)]}, stream_mode="messages"):
        if isinstance(message, ToolMessage):
            screen.note(f"  {called.get(message.tool_call_id, message.name)} -> {message.text}")
        elif isinstance(message, AIMessageChunk):
            for block in message.content_blocks:
                if block["type"] == "reasoning":
                    screen.thinking(block.get("reasoning", ""))
                elif block["type"] == "text":
                    screen.answer(block["text"])
            for call in message.tool_call_chunks:
                if call["id"]:
                    called[call["id"]] = f"{call['name']} ({call['id']})"
    screen.end()


if __name__ == "__main__":
    with kimi():
        main()
