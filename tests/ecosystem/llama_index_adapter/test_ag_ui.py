"""AG-UI: a front end over its router, which reads an agent's stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.tools import FunctionTool

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

REASON = "AG-UI is in the dependency group ecosystem-llama-index"
router: Any = pytest.importorskip("llama_index.protocols.ag_ui.router", reason=REASON)
fastapi: Any = pytest.importorskip("fastapi", reason=REASON)
testclient: Any = pytest.importorskip("fastapi.testclient", reason=REASON)


def test_run(emulator: Emulator, llm: KimiVertex, population: FunctionTool) -> None:
    """The front end is told of the call and of each piece of the answer; the loop keeps the thinking."""
    app = fastapi.FastAPI()
    app.include_router(router.get_ag_ui_workflow_router(llm=llm, backend_tools=[population]))
    emulator.enqueue(
        Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Found it.", text="Oslo has 700000."),
    )
    question = {"id": "1", "role": "user", "content": "How many live in Oslo?"}
    run = {"threadId": "t", "runId": "r", "state": {}, "messages": [question], "tools": [], "context": []}
    answer = testclient.TestClient(app).post("/run", json={**run, "forwardedProps": {}})
    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]

    assert [event["toolCallName"] for event in events if event["type"] == "TOOL_CALL_CHUNK"] == ["population"]
    pieces = [event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CHUNK"]
    assert "".join(pieces) == "Oslo has 700000."
    assert events[-1]["type"] == "RUN_FINISHED"
    assert emulator.requests[-1].json["messages"][1]["reasoning_content"] == "I look it up."
