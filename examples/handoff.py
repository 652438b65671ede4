"""Two LlamaIndex agents: one takes the question and hands it over to the one that has the tools.

Run it with `python examples/handoff.py`, with the `llama-index` extra.
"""

from __future__ import annotations

import asyncio

from _console import Screen, kimi, title
from llama_index.core.agent.workflow import (
    AgentInput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ToolCall,
    ToolCallResult,
)
from llama_index.core.memory import Memory

from llama_index_kimi_vertex import KimiVertex

QUESTION = "How warm is it in Lisbon now, in Fahrenheit?"


def get_weather(city: str) -> str:
    """Get the weather in a city, with the temperature in Celsius."""
    celsius = {"Lisbon": 21, "Oslo": 4, "Nairobi": 25}.get(city, 15)
    return f"{city}: {celsius} °C, light wind"


def convert_temperature(celsius: float) -> str:
    """Convert a temperature from Celsius to Fahrenheit."""
    return f"{celsius * 9 / 5 + 32:.1f} °F"


def agents(llm: KimiVertex) -> AgentWorkflow:
    desk = FunctionAgent(
        name="desk",
        description="Takes every question.",
        system_prompt="You know nothing yourself. Hand off to the agent that can answer.",
        llm=llm,
        can_handoff_to=["weather"],
    )
    weather = FunctionAgent(
        name="weather",
        description="Knows the weather and converts temperatures.",
        system_prompt="Answer from your tools, in one sentence.",
        llm=llm,
        tools=[get_weather, convert_temperature],
        can_handoff_to=["desk"],
    )
    return AgentWorkflow(agents=[desk, weather], root_agent="desk")


async def converse() -> None:
    screen = Screen()
    screen.question(QUESTION)
    # With a memory of your own the conversation outlives the run, on every version of pydantic.
    run = agents(KimiVertex()).run(user_msg=QUESTION, memory=Memory.from_defaults())
    speaker = ""
    async for event in run.stream_events():
        if isinstance(event, AgentInput) and event.current_agent_name != speaker:
            speaker = event.current_agent_name
            screen.note(f"the agent {speaker}:")
        elif isinstance(event, AgentStream):
            screen.thinking(event.thinking_delta or "")
            screen.answer(event.delta)
        elif isinstance(event, ToolCall) and not isinstance(event, ToolCallResult):
            screen.note(f"  {event.tool_name} {event.tool_kwargs} ({event.tool_id})")
        elif isinstance(event, ToolCallResult):
            screen.note(f"  -> {event.tool_output}")
    await run
    screen.end()


def main() -> None:
    title("LlamaIndex: an agent that hands off to another")
    asyncio.run(converse())


if __name__ == "__main__":
    with kimi():
        main()
