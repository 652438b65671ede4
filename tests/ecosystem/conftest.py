"""What the tests of other projects' packages share: the model, a tool, and a conversation that calls it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool
from pydantic import SecretStr

from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

SECRET = "ya29.hunter2"


@pytest.fixture
def secret() -> str:
    """The model's access token."""
    return SECRET


@pytest.fixture
def model(emulator: Emulator) -> ChatKimiVertex:
    """A model for the strict emulator, with a token that must not be seen anywhere."""
    return ChatKimiVertex(base_url=emulator.base_url, access_token=SecretStr(SECRET))


@pytest.fixture(scope="session")
def population() -> BaseTool:
    """A tool."""

    @tool
    def population(city: str) -> str:
        """Inhabitants of a city."""
        return "700000"

    return population


@pytest.fixture
def question(emulator: Emulator) -> dict[str, Any]:
    """A question that the emulator answers with a call of `population`, and then with a text."""
    emulator.enqueue(
        Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Found it.", text="Oslo has 700000."),
    )
    return {"messages": [HumanMessage("How many live in Oslo?")]}
