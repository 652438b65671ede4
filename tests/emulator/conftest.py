"""How the emulator's tests talk to it: plain HTTP with httpx, no client of this project."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
import pytest

from kimi_vertex_emulator import Emulator

from .support_http import PLAIN

MODEL = "moonshotai/kimi-k2-thinking-maas"


@dataclass(frozen=True)
class Asker:
    """Asks one emulator on its managed endpoint."""

    emulator: Emulator
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"{self.emulator.base_url}/chat/completions"

    def post(self, messages: str | Sequence[Mapping[str, Any]], **body: Any) -> httpx.Response:
        """Post a chat request; a `str` is one user message."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return self.http.post(self.url, json={"model": MODEL, "messages": messages, **body})

    def message(self, messages: str | Sequence[Mapping[str, Any]], **body: Any) -> dict[str, Any]:
        """The assistant's message of a whole answer."""
        response = self.post(messages, **body)
        assert response.status_code == 200, response.text
        message: dict[str, Any] = response.json()["choices"][0]["message"]
        return message

    def text(self, messages: str | Sequence[Mapping[str, Any]], **body: Any) -> str:
        return str(self.message(messages, **body)["content"])

    def calls(
        self, messages: str | Sequence[Mapping[str, Any]], **body: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """Name and arguments of each tool call in a whole answer."""
        calls = self.message(messages, **body)["tool_calls"] or []
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]

    def events(self, messages: str | Sequence[Mapping[str, Any]], **body: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed answer, without comments and the closing mark."""
        lines = self.post(messages, stream=True, **body).content.split(b"\n\n")
        assert lines[-2:] == [b"data: [DONE]", b""]
        return [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2] if line[:1] != b":"]

    def loop(
        self,
        question: str,
        tools: Sequence[Mapping[str, Any]],
        results: Mapping[str, Callable[..., Any]],
        rounds: int = 10,
        **body: Any,
    ) -> tuple[list[list[tuple[str, dict[str, Any]]]], str]:
        """Run a tool loop to its end: the calls of each round, and the answer."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
        done: list[list[tuple[str, dict[str, Any]]]] = []
        for _ in range(rounds):
            message = self.message(messages, tools=tools, **body)
            if not message["tool_calls"]:
                return done, message["content"]
            messages.append(message)
            made = [
                (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]))
                for c in message["tool_calls"]
            ]
            done.append([(name, arguments) for _, name, arguments in made])
            for call_id, name, arguments in made:
                content = str(results[name](**arguments))
                messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        raise AssertionError(f"the loop does not end: {done}")


ToolMaker: TypeAlias = Callable[..., dict[str, Any]]


def make_tool(
    name: str, description: str = "", required: Sequence[str] | None = None, **properties: Any
) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


@pytest.fixture
def tool() -> ToolMaker:
    """Makes a tool in OpenAI's form; every property is required unless `required` says otherwise."""
    return make_tool


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, verify=PLAIN) as client:
        yield client


@pytest.fixture
def kimi(emulator: Emulator, http: httpx.Client) -> Asker:
    """Asks the strict emulator."""
    return Asker(emulator, http)


@pytest.fixture
def lenient_kimi(lenient_emulator: Emulator, http: httpx.Client) -> Asker:
    """Asks the lenient emulator."""
    return Asker(lenient_emulator, http)
