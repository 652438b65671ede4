"""Label rows with Beam's RunInference: `python beam_inference.py in.jsonl out_folder [--runner=DataflowRunner ...]`.

Beam repeats a whole batch for one error: Beam's RemoteModelHandler bought 348 of 2,000 answers twice for single 429s. Here
errors are values, and the pace waits. When a worker dies, Dataflow repeats its bundle; the DirectRunner hangs or loses rows,
so it is for trying things out. A second run leaves out the keys that are there.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from kimi_vertex import Completion, KimiVertexClient


class Kimi(ModelHandler[str, PredictionResult, KimiVertexClient]):
    """Answers a batch at a time, with one client in each worker."""

    def load_model(self) -> KimiVertexClient:
        return KimiVertexClient()

    def run_inference(
        self, batch: Sequence[str], model: KimiVertexClient, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        answers = dict(model.complete_many(enumerate(batch)))
        return [PredictionResult(question, answers[number]) for number, question in enumerate(batch)]


def main(source: str, out: str, *options: str) -> None:
    texts = [path.read_text() for path in Path(out).glob("*.jsonl")]
    done = {json.loads(line)["key"] for text in texts for line in text.splitlines()}
    rows = [row for row in map(json.loads, Path(source).read_text().splitlines()) if row["key"] not in done]
    asked = [
        (row["key"], f"Give the customer's message one label.\nrow {row['key']}: {row['text']}")
        for row in rows
    ]
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        answers = pipeline | beam.Create(asked) | RunInference(KeyedModelHandler(Kimi()))
        good = answers | beam.Filter(lambda pair: isinstance(pair[1].inference, Completion))
        lines = good | beam.Map(lambda pair: json.dumps({"key": pair[0], "label": pair[1].inference.text}))
        _ = lines | beam.io.WriteToText(f"{out}/{uuid.uuid4().hex}", file_name_suffix=".jsonl")


if __name__ == "__main__":
    main(*sys.argv[1:])
