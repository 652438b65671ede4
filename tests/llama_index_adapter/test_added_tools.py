"""Tools that a system message of LlamaIndex's adds in the middle of a conversation, and media."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, VideoBlock
from llama_index.core.tools import FunctionTool

from kimi_vertex_emulator import Emulator

from .conftest import Chat, MakeLLM


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def fly(to: str) -> str:
    """Book a flight."""
    return to


WEATHER, FLY = FunctionTool.from_defaults(weather), FunctionTool.from_defaults(fly)


@pytest.mark.parametrize("form", ["tool", "dict"])
def test_added(emulator: Emulator, make_llm: MakeLLM, chat: Chat, form: str) -> None:
    """The tool goes out in its place, behind messages and tools that are as before, though it is offered, too."""
    llm = make_llm(model="moonshotai/kimi-k3")
    earlier = [ChatMessage("Hi"), ChatMessage(role="assistant", content="Yes?")]
    added: Any = FLY if form == "tool" else FLY.metadata.to_openai_tool()
    chat(llm, earlier, tools=[WEATHER])
    addition = ChatMessage(role="system", additional_kwargs={"tools": [added]})
    chat(llm, [*earlier, addition], tools=[WEATHER, FLY])
    before, after = (request.json for request in emulator.requests if request.json)
    assert after["messages"][-1] == {"role": "system", "tools": [FLY.metadata.to_openai_tool()]}
    assert json.dumps(after["messages"][:-1]) == json.dumps(before["messages"])
    assert json.dumps(after["tools"]) == json.dumps(before["tools"])


def test_model_without(emulator: Emulator, make_llm: MakeLLM) -> None:
    """Earlier models get the added tool with the others."""
    addition = ChatMessage(role="system", additional_kwargs={"tools": [FLY]})
    make_llm(model="moonshotai/kimi-k2.6").chat([ChatMessage("Hi"), addition], tools=[WEATHER])
    (sent,) = (request.json for request in emulator.requests if request.json)
    assert [entry["function"]["name"] for entry in sent["tools"]] == ["weather", "fly"]


def test_video(emulator: Emulator, make_llm: MakeLLM) -> None:
    """A video goes to a model that takes them."""
    block = VideoBlock(video=b"\0" * 8, video_mimetype="video/mp4")
    make_llm(model="moonshotai/kimi-k3").chat([ChatMessage(role="user", blocks=[block])])
    (sent,) = (request.json for request in emulator.requests if request.json)
    (part,) = sent["messages"][0]["content"]
    assert part["type"] == "video_url"
    assert part["video_url"]["url"].startswith("data:video/mp4;base64,")


@pytest.mark.parametrize(
    ("model", "window"), [("kimi-k3", 1_048_576), ("Kimi-Linear-48B", 1_048_576), ("kimi-k2.7-code", 262_144)]
)
def test_metadata(make_llm: MakeLLM, model: str, window: int) -> None:
    """LlamaIndex is told of each model's context."""
    assert make_llm(model=f"moonshotai/{model}").metadata.context_window == window


def test_effort(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """The effort is a setting, and an option that wins over it."""
    llm = make_llm(model="moonshotai/kimi-k3", reasoning_effort="low")
    chat(llm, "Hi")
    chat(llm, "Hi", reasoning_effort="max")
    assert [request.json["reasoning_effort"] for request in emulator.requests if request.json] == [
        "low",
        "max",
    ]
