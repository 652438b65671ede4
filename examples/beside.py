"""One agent, twice: with a general OpenAI client, which Moonshot's API refuses at the second turn, and with this project's model.

Both talk to the emulator, which refuses what Kimi's servers refuse, in their words. Run it with `make demo ARGS=beside`,
or `python examples/beside.py` with `langchain`, `langchain-openai` and the `langchain` extra.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from _console import console, kimi, title
from agent import QUESTION, convert_temperature, get_weather
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import OpenAIError
from pydantic import SecretStr
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_kimi_vertex import ChatKimiVertex


def general() -> BaseChatModel:
    """What people use for any server that speaks OpenAI's dialect."""
    url = f"http://{os.environ['KIMI_VERTEX_EMULATOR_HOST']}/v1"
    return ChatOpenAI(model="moonshotai/kimi-k2.5", base_url=url, api_key=SecretStr("-"), max_retries=0)


def run(model: BaseChatModel, say: Callable[[str, str], None]) -> None:
    """Run the agent, and say each step."""
    agent = create_agent(model, [get_weather, convert_temperature])
    try:
        for update in agent.stream({"messages": [HumanMessage(QUESTION)]}, stream_mode="updates"):
            for step in update.values():
                for message in step["messages"]:
                    tell(message, say)
    except OpenAIError as error:
        say(f"{type(error).__name__}: {error}", "bold red")


def tell(message: object, say: Callable[[str, str], None]) -> None:
    """Say what a message adds: thinking, calls, a tool's result, the answer."""
    if isinstance(message, ToolMessage):
        say(f"-> {message.text}", "green")
    elif isinstance(message, AIMessage):
        for block in message.content_blocks:
            if block["type"] == "reasoning":
                say(block.get("reasoning", ""), "italic bright_black")
            elif block["type"] == "text":
                say(block["text"], "bold")
        for call in message.tool_calls:
            say(
                f"{call['name']}({', '.join(f'{key}={value!r}' for key, value in call['args'].items())})",
                "cyan",
            )


def main() -> None:
    title("LangChain: one agent, two clients")
    console.print("Moonshot's API refuses a tool's result without the thinking that led to the call.")
    console.print(f"[bold]You:[/] {QUESTION}")
    models = {"ChatOpenAI": general(), "ChatKimiVertex": ChatKimiVertex()}
    if console.is_terminal:
        side_by_side(models)
        return
    for name, model in models.items():
        console.print(f"\n{name}")
        run(model, lambda text, _: console.print(f"  {text}", markup=False, soft_wrap=True))


def side_by_side(models: dict[str, BaseChatModel]) -> None:
    """Run them at the same time, each in a column of its own."""
    steps: dict[str, list[RenderableType]] = {name: [] for name in models}

    def columns() -> Table:
        table = Table.grid(expand=True, padding=(0, 1))
        for _ in models:
            table.add_column(ratio=1)
        table.add_row(*(Panel(Group(*steps[name]), title=name, title_align="left") for name in models))
        return table

    with Live(columns(), console=console, auto_refresh=False) as live, ThreadPoolExecutor() as threads:

        def start(name: str) -> None:
            def say(text: str, style: str) -> None:
                steps[name].append(Text(text.strip(), style))
                live.update(columns(), refresh=True)

            run(models[name], say)

        list(threads.map(start, models))


if __name__ == "__main__":
    with kimi(live=False):
        main()
