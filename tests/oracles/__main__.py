"""Reads outputs of Kimi K3 and K2 with the engines' own parsers, and compares with what is made of them here.

    pip install --no-deps --target FOLDER vllm==0.33.0 sglang==0.5.23
    python -m tests.oracles --engines FOLDER --runs 3000

The exit status is 1 if a reading differs for a reason that is not on the list in docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.completion import Completion
from tests.core.answer.support_decoder import chunk, random_cuts

from .differences import differing, explained, shows_markup
from .engines import TOOLS, Engine, Reading, engines
from .turns import Output, write

_DECLARED = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": {key: {} for key in keys}}}}
    for name, keys in TOOLS
]


def read(output: Output, *, cuts: random.Random | None = None) -> Completion:
    """Read an output as the content of an answer, whole or in pieces."""
    decoder = Decoder(tools=DeclaredTools.of(_DECLARED), implicit_thinking=True)
    reason = "length" if output.cut else "stop"
    if cuts is None:
        choice = {"message": {"role": "assistant", "content": output.raw}, "finish_reason": reason}
        decoder.feed_body({"choices": [choice]})
    else:
        for delta in random_cuts([{"content": output.raw}], cuts):
            decoder.feed(json.dumps(chunk(delta)))
        decoder.feed(json.dumps(chunk({}, reason)))
    decoder.finish()
    return decoder.completion


def ours(output: Output, cuts: random.Random) -> Reading:
    """What is made of an output, which is the same however it comes."""
    whole = read(output)
    if output.family == "k3" or output.damage in ("", "cut"):
        # An id of K2's whose first token is lost is only known from text if it comes in one piece.
        streamed = read(output, cuts=cuts)
        assert (streamed.thinking, streamed.text) == (whole.thinking, whole.text), output
        assert streamed.tool_calls == whole.tool_calls, output
    calls = whole.tool_calls
    return Reading(
        whole.thinking or "",
        whole.text,
        [(call.name, call.arguments) for call in calls],
        [call.id for call in calls],
    )


def compare(seed: int, judges: Sequence[Engine], counts: dict[str, Counter[str]]) -> list[str]:
    """Compare the readings of one output; return what is not intended."""
    output = write(seed)
    mine = ours(output, random.Random(seed))
    found: list[str] = []
    readings = {engine.name: engine.read(output.family, output.raw, random.Random(seed)) for engine in judges}
    for name, theirs in readings.items():
        count = counts.setdefault(f"{output.family.upper()}, {name}", Counter())
        if shows_markup(theirs):
            count["not read by the engine: its markup shows"] += 1
            continue
        parts = differing(output, mine, theirs)
        reasons = explained(output, mine, theirs, name) if parts else {}
        if not parts:
            count["the same"] += 1
        elif reasons.keys() >= set(parts):
            count.update({f"intended: {reasons[part]}" for part in parts[:1]})
        else:
            count["NOT INTENDED"] += 1
            shown: dict[str, Any] = {part: (getattr(mine, part), getattr(theirs, part)) for part in parts}
            found.append(f"{name}, seed {seed}, {output.damage or 'whole'}: {shown}\n  {output.raw!r}")
    return found


def main() -> int:
    """Make the comparisons that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", type=Path, action="append", default=[], help="a folder with an engine")
    parser.add_argument("--runs", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first output")
    parser.add_argument("--show", type=int, default=5, help="how many unintended differences to show")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    judges: list[Engine] = []
    for engine in engines(options.engines):
        if isinstance(engine, Engine):
            judges.append(engine)
        else:
            print(engine)  # noqa: T201
    counts: dict[str, Counter[str]] = {}
    found: list[str] = []
    for seed in range(options.seed, options.seed + options.runs if judges else options.seed):
        found += compare(seed, judges, counts)
    for name, count in sorted(counts.items()):
        print(f"\n{name}: {count.total()} outputs")  # noqa: T201
        for reason, number in count.most_common():
            print(f"  {number:6} {reason}")  # noqa: T201
    for line in found[: options.show]:
        print(f"\n{line}")  # noqa: T201
    if judges:
        print(f"\n{len(found)} differences that are not intended")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
