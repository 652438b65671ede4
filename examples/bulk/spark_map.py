"""Label rows on Spark: `python spark_map.py in.jsonl out_folder`.

When a Python worker dies, Spark repeats its task: the rows of that partition are asked for again, and its output is
committed once. A killed driver loses what is not committed, so rows go in pages, each committed by itself, and a second run
leaves out the keys that are there. `local[2]` alone would not repeat a task: that is what the 4 is for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from kimi_vertex import Completion, KimiVertexClient

PAGES = 4


def label(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    with KimiVertexClient() as client:
        for frame in frames:
            rows = zip(frame["key"], frame["text"], strict=True)
            asked = (
                (key, f"Give the customer's message one label.\nrow {key}: {text}") for key, text in rows
            )
            answers = client.complete_many(asked)
            found = [(key, answer.text) for key, answer in answers if isinstance(answer, Completion)]
            yield pd.DataFrame(found, columns=["key", "label"])


def main(source: str, out: str) -> None:
    spark = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false").getOrCreate()
    rows = spark.read.json(source)
    for page in range(PAGES):
        left = rows.where(f"pmod(hash(key), {PAGES}) = {page}")
        if any(Path(out).glob("*/part-*")):
            left = left.join(spark.read.json(f"{out}/*").select("key"), "key", "left_anti")
        labels = left.repartition(2).mapInPandas(label, "key string, label string")
        labels.write.mode("append").json(f"{out}/page={page}")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
