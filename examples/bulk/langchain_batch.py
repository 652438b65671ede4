"""Label rows with a LangChain chain or a LangGraph fan-out: `python langchain_batch.py in.jsonl out.jsonl [--graph]`.

A killed process loses the page that it works on: answers are appended by key, and a second run skips those.
"""

from __future__ import annotations

import asyncio
import json
import operator
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from langchain_kimi_vertex import ChatKimiVertex

PAGE = 100
prompt = ChatPromptTemplate.from_template("Give the customer's message one label.\nrow {key}: {text}")
chain = prompt | ChatKimiVertex()


class Row(TypedDict):
    key: str
    text: str


class State(TypedDict):
    rows: list[Row]
    labels: Annotated[list[tuple[str, str]], operator.add]


async def label(state: Row) -> dict[str, Any]:
    return {"labels": [(state["key"], (await chain.ainvoke(dict(state))).text)]}


graph = StateGraph(State)
graph.add_node("label", label)
graph.add_conditional_edges(START, lambda state: [Send("label", row) for row in state["rows"]], ["label"])
fan_out = graph.compile()


async def main(source: Path, out: Path, *, use_graph: bool) -> None:
    done = {json.loads(line)["key"] for line in out.read_text().splitlines()} if out.exists() else set()
    left = [row for row in map(json.loads, source.read_text().splitlines()) if row["key"] not in done]
    for page in (left[at : at + PAGE] for at in range(0, len(left), PAGE)):
        if use_graph:
            found = (await fan_out.ainvoke({"rows": page, "labels": []}))["labels"]
        else:
            answers = await chain.abatch(page)
            found = [(row["key"], answer.text) for row, answer in zip(page, answers, strict=True)]
        with out.open("a") as file:
            file.writelines(json.dumps({"key": key, "label": text}) + "\n" for key, text in found)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), use_graph="--graph" in sys.argv))
