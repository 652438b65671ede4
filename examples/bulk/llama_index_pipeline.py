"""Label rows with a LlamaIndex IngestionPipeline and an extractor: `python llama_index_pipeline.py in.jsonl out.jsonl`.

By default the first error of an extractor ends the whole job, and a killed process loses all that it has not cached. So a
row's error is skipped and asked for again by the next run, and answers are appended by key, page by page.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.extractors import BaseExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, TextNode

from llama_index_kimi_vertex import KimiVertex

PAGE = 100
llm = KimiVertex()


class LabelExtractor(BaseExtractor):
    """One label for each node."""

    async def aextract(self, nodes: Sequence[BaseNode]) -> list[dict[str, Any]]:
        async def label(node: BaseNode) -> dict[str, Any]:
            question = f"Give the customer's message one label.\nrow {node.node_id}: {node.get_content()}"
            return {"label": (await llm.acomplete(question)).text}

        found = await asyncio.gather(*map(label, nodes), return_exceptions=True)
        return [{} if isinstance(each, BaseException) else each for each in found]


async def main(source: Path, out: Path) -> None:
    done = {json.loads(line)["key"] for line in out.read_text().splitlines()} if out.exists() else set()
    left = [row for row in map(json.loads, source.read_text().splitlines()) if row["key"] not in done]
    pipeline = IngestionPipeline(transformations=[LabelExtractor()], disable_cache=True)
    for page in (left[at : at + PAGE] for at in range(0, len(left), PAGE)):
        nodes = await pipeline.arun(nodes=[TextNode(id_=row["key"], text=row["text"]) for row in page])
        with out.open("a") as file:
            file.writelines(
                json.dumps({"key": node.node_id, "label": node.metadata["label"]}) + "\n"
                for node in nodes
                if "label" in node.metadata
            )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
