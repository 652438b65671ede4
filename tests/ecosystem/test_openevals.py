"""openevals: the model as the judge of another model's answers."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex_emulator import Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

openevals: Any = pytest.importorskip("openevals.llm", reason="openevals is in the dependency group ecosystem")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_judge(emulator: Emulator, model: ChatKimiVertex, asynchronous: bool) -> None:
    """The judge's verdict is an object, read from the answer and not from the thinking before it."""
    create = openevals.create_async_llm_as_judge if asynchronous else openevals.create_llm_as_judge
    judge = create(prompt="Is {outputs} an answer to {inputs}?", judge=model, feedback_key="relevance")
    emulator.enqueue(
        Turn(thinking='{"score": false}?', text='{"reasoning": "It names a number.", "score": true}')
    )
    found = judge(inputs="How many live in Oslo?", outputs="700000")
    verdict = await found if asynchronous else found
    assert (verdict["key"], verdict["score"], verdict["comment"]) == ("relevance", True, "It names a number.")
    assert emulator.requests[-1].json["response_format"]["type"] == "json_schema"
