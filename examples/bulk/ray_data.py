"""Label rows on Ray Data: `python ray_data.py in.jsonl out_folder`.

When a worker dies, Ray repeats the batch that it had: its rows are asked for again, the others are not. Each row is a file
of its own key, written at once, so nothing is doubled, and a second run skips what is there. Ray's own HTTP processor is not
used: it asks for one row after the other, with a token that expires.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ray

from kimi_vertex import Completion, KimiVertexClient


class Label:
    """One client in each worker: its pace is the worker's."""

    def __init__(self, out: str) -> None:
        self.client, self.out = KimiVertexClient(), Path(out)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = zip(batch["key"], batch["text"], strict=True)
        left = [(key, text) for key, text in rows if not (self.out / f"{key}.json").exists()]
        asked = ((key, f"Give the customer's message one label.\nrow {key}: {text}") for key, text in left)
        for key, answer in self.client.complete_many(asked):
            if isinstance(answer, Completion):
                torn = self.out / f".{key}.{os.getpid()}"
                torn.write_text(json.dumps({"key": key, "label": answer.text}))
                torn.rename(self.out / f"{key}.json")
        return {"key": batch["key"]}


def main(source: str, out: str) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    ray.init(log_to_driver=False)
    rows = ray.data.from_items([json.loads(line) for line in Path(source).read_text().splitlines()])
    labels = rows.map_batches(
        Label, fn_constructor_args=(out,), batch_size=50, concurrency=2, max_restarts=-1, max_task_retries=-1
    )
    labels.materialize()


if __name__ == "__main__":
    main(*sys.argv[1:])
