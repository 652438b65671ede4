"""Damages the streams of the quirk tables at random and checks what must hold for any stream.

Run `python tests/core/answer/fuzz_decoder.py --runs 100000` for a long run; the test suite makes a short one.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kimi_vertex._answer.decoder import Decoder, StreamErrorEvent, UnreadableData
from kimi_vertex._answer.markers import K2
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.completion import Completion, accumulate
from kimi_vertex.events import Event, Finish, ToolCallDelta, Usage
from tests.core.answer.support_decoder import Row, chunk, decoder, random_cuts
from tests.core.answer.support_engines_k2 import ROWS as ENGINES
from tests.core.answer.support_quirks import ROWS

__all__ = ["one_run"]

TOKENS = [token for token in K2.meaning if token.startswith("<|")]
HALVES = tuple({token[:n] for token in TOKENS for n in range(3, len(token))})
_SENT = re.compile(r'"(?:content|reasoning|reasoning_content)": "((?:[^"\\]|\\.)+)"')
_CALL, _ARGS = "<|tool_call_begin|>", "<|tool_call_argument_begin|>"
_BEGUN = re.compile(rf"{re.escape(_CALL)}[^<]*\Z")
_TOKEN = re.compile("|".join(map(re.escape, TOKENS)))
SEEDS = [row for row in (*ROWS, *ENGINES) if not row.whole_pieces]
INSERTS = [
    *K2.meaning,
    *(token[:-4] for token in TOKENS),
    *(
        "`",
        "``",
        "```",
        "\n```\n",
        "\n",
        " ",
        "{",
        "}",
        '"',
        "\\",
        "<",
        "<|",
        "|>",
        "◁",
        "functions.bash:7",
        "[]",
    ),
    *(
        '{"command": "ls"}',
        "functions.bash:2{",
        "call_8f3a<|tool_call_argument_begin|>",
        '"{\\"command\\": \\"ls\\"}"',
        "```json",
        "<|tool_call_end|><|tool_calls_section_end|>",
        'functions.bash:3{"command": "ps"}',
        "\ud83d",
        "\ude80",
        "\u2028",
        "é",
        "世界",
        "\x00",
        "null",
        "x" * 300,
    ),
]
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    3.5,
    10**30,
    "",
    "x",
    "0",
    [],
    [None],
    {},
    {"a": [1]},
    [[{}]],
    [{"index": 0}],
]
LINES = [
    "",
    " ",
    "[DONE]",
    "null",
    "7",
    '"x"',
    "[]",
    "{}",
    "{",
    '{"choices":',
    "<html>",
    '{"choices": null}',
    "[[[[",
]


def one_run(seed: int) -> None:
    """Damage one stream and check it."""
    chance = random.Random(seed)
    row = chance.choice(SEEDS)
    if chance.random() < 0.4:
        _check_text_damage(row, chance)
    else:
        _check_any_damage(row, chance)


def _check_text_damage(row: Row, chance: random.Random) -> None:
    """Whatever the text is, cutting it elsewhere makes no difference."""
    deltas = [copy.deepcopy(dict(delta)) for delta in row.deltas]
    for _ in range(chance.randint(1, 4)):
        _damage_text(deltas, chance)
    reason = chance.choice(["stop", "tool_calls", "length", None])
    lines = [_line(d) for d in deltas] + [_line({}, reason)]
    completion = _run(row, lines)
    if chance.random() < 0.3 and not any(delta.get("tool_calls") for delta in deltas):
        _check_quoted(row, deltas, lines)
    if chance.random() < 0.3 and not _repeats(deltas):
        recut = random_cuts(deltas, chance)
        again = _run(row, [_line(d) for d in recut] + [_line({}, reason)])
        assert again == completion, (deltas, recut)


def _check_any_damage(row: Row, chance: random.Random) -> None:
    chunks: list[Any] = [chunk(copy.deepcopy(dict(d))) for d in row.deltas]
    chunks.append(chunk({}, row.sent_reason, usage={"prompt_tokens": 3, "completion_tokens": 4}))
    for _ in range(chance.randint(1, 4)):
        chance.choice(_DAMAGES)(chunks, chance)
    lines = [json.dumps(c) for c in chunks]
    if chance.random() < 0.2:
        where = chance.randrange(len(lines)) if lines else 0
        if lines and chance.random() < 0.5:
            lines[where] = lines[where][: chance.randrange(len(lines[where]) + 1)]
        else:
            lines.insert(where, chance.choice(LINES))
    _run(row, lines)


def _repeats(deltas: Sequence[Mapping[str, Any]]) -> bool:
    """Whether only pieces that are whole can tell what is meant.

    So it is if fragments follow each other, if text and calls come together, and with an id of an unknown form whose
    first token is missing.
    """
    calls = [item for delta in deltas for item in delta.get("tool_calls") or ()]
    before = json.dumps(deltas).split(_ARGS)[:-1]
    together = any(delta.get("tool_calls") and delta.get("content") for delta in deltas)
    return len(calls) > 1 or together or not all(_BEGUN.search(text) for text in before)


def _check_quoted(row: Row, deltas: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> None:
    """A call that stands as text in the request never comes out as a call."""
    fields = ("content", "reasoning_content", "reasoning")
    found = [[delta[name] for delta in deltas if isinstance(delta.get(name), str)] for name in fields]
    texts = ["".join(pieces) for pieces in found]
    quoted = json.dumps({"page": texts}) if len(lines) % 2 else "\n".join(texts)
    reader = Decoder(
        tools=DeclaredTools.of(row.tools), texts=[*texts, quoted], implicit_thinking=row.implicit
    )
    for line in lines:
        reader.feed(line)
    reader.finish()
    assert reader.completion.tool_calls == (), (deltas, reader.completion)


def _line(delta: Mapping[str, Any], reason: str | None = None) -> str:
    return json.dumps(chunk(delta, reason))


def _run(row: Row, lines: Sequence[str]) -> Completion:
    reader = decoder(row)
    events: list[Event] = []
    try:
        for line in lines:
            events += reader.feed(line)
    except (StreamErrorEvent, UnreadableData):
        reader.flush()
        _check_shown(reader.completion, row, lines, quotes=bool(reader.quotations))
        return reader.completion
    events += reader.finish()
    _check_events(events)
    completion = accumulate(events)
    assert completion == reader.completion
    _check_shown(completion, row, lines)
    return completion


def _last_text(lines: Sequence[str]) -> str:
    """The last text that was sent, as it stands in the JSON."""
    texts = _SENT.findall("\n".join(lines))
    return texts[-1] if texts else ""


def _check_events(events: Sequence[Event]) -> None:
    assert [type(e) for e in events].count(Finish) == 1
    assert type(events[-1]) is Finish
    usages = [e for e in events if type(e) is Usage]
    assert usages in ([], list(events[-2:-1]))
    seen: list[str | None] = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            if event.index == len(seen):
                assert event.id
                assert event.name is not None
                assert event.id not in seen
                seen.append(event.id)
            else:
                assert event.index < len(seen)
                assert event.id is None
                assert event.name is None


def _check_shown(completion: Completion, row: Row, lines: Sequence[str], *, quotes: bool = False) -> None:
    sent = _last_text(lines)
    for tool_call in completion.tool_calls:
        assert isinstance(json.loads(tool_call.arguments), dict)
        assert tool_call.name
    for text in (completion.text, completion.thinking or ""):
        text.encode()
        for match in _TOKEN.finditer(text):
            # Whether it is code is the scanner's to say; that it has backticks on both sides is certain.
            if quotes or completion.metadata.get("quoted_tool_calls"):
                break  # given back as they were written
            if not (completion.tool_calls or completion.invalid_tool_calls):
                assert "`" in text[: match.start()], (row.name, text)
                assert "`" in text[match.end() :], (row.name, text)
            assert "`" in "".join(lines), (row.name, text)
        # The beginning of a token is shown where something else follows it, and white space may be trimmed then.
        if "`" not in text and not completion.tool_calls and sent.endswith(HALVES):
            cut = tuple(half for half in HALVES if sent.endswith(half))
            assert not text.endswith(cut), (row.name, text)


def _texts(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Where in a delta the texts are that a model writes."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and key in {"content", "reasoning", "reasoning_content", "arguments"}:
                found.append((value, key))
            else:
                _texts(item, found)
    elif isinstance(value, list):
        for item in value:
            _texts(item, found)
    return found


def _damage_text(deltas: list[Any], chance: random.Random) -> None:
    places = _texts(deltas, [])
    if not places:
        return
    holder, key = chance.choice(places)
    text = holder[key]
    at = chance.randint(0, len(text))
    to = min(len(text), at + chance.choice((1, 3, 10)))
    kind = chance.random()
    if kind < 0.6:
        text = text[:at] + chance.choice(INSERTS) + text[at:]
    elif kind < 0.75:
        text = text[:at] + text[to:]
    elif kind < 0.9:
        text = text[:to] + text[at:]
    else:
        text = text[:at]
    holder[key] = text
    if "reasoning" in holder and "reasoning_content" in holder:
        holder["reasoning"] = holder["reasoning_content"] = text  # two fields, one text
    if "reasoning_details" in holder:
        del holder["reasoning_details"]


def _drop(chunks: list[Any], chance: random.Random) -> None:
    if chunks:
        del chunks[chance.randrange(len(chunks))]


def _repeat(chunks: list[Any], chance: random.Random) -> None:
    if chunks:
        at = chance.randrange(len(chunks))
        chunks.insert(at, copy.deepcopy(chunks[at]))


def _shuffle(chunks: list[Any], chance: random.Random) -> None:
    chance.shuffle(chunks)


def _mistype(chunks: list[Any], chance: random.Random) -> None:
    """Put a value of another type somewhere into a chunk."""
    if not chunks:
        return
    holder: Any = chunks
    key: Any = chance.randrange(len(chunks))
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.85:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    holder[key] = copy.deepcopy(chance.choice(ODD))


_DAMAGES: list[Callable[[list[Any], random.Random], None]] = [
    _drop,
    _repeat,
    _shuffle,
    _mistype,
    _mistype,
    _mistype,
    _damage_text,
]


def main() -> None:
    """Make the runs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first run")
    options = parser.parse_args()
    started, slowest = time.perf_counter(), (0.0, 0)
    for seed in range(options.seed, options.seed + options.runs):
        begun = time.perf_counter()
        try:
            one_run(seed)
        except BaseException:
            print(f"run {seed} failed; repeat it with --seed {seed} --runs 1")  # noqa: T201
            raise
        slowest = max(slowest, (time.perf_counter() - begun, seed))
    seconds = time.perf_counter() - started
    print(f"{options.runs} damaged streams, {seconds:.0f} s, slowest {slowest[0]:.3f} s (run {slowest[1]})")  # noqa: T201


if __name__ == "__main__":
    main()
