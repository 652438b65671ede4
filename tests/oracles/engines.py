"""Kimi's parsers of vLLM and SGLang, each read whole and in pieces.

`pip install --no-deps --target FOLDER vllm==0.33.0 sglang==0.5.23` is enough for them: see `stand_ins`.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal

from pydantic import BaseModel

from .stand_ins import StandIns, module

__all__ = ["TOOLS", "Engine", "Family", "Reading", "engines"]

Family = Literal["k2", "k3"]
Pieces = Sequence[str]

TOOLS: Final[Sequence[tuple[str, Sequence[str]]]] = (
    ("f", ("a",)),
    ("get_weather", ("key", "é")),
    ("wiki.find", ("with space",)),
    ("mcp__a__find-page", ()),
)
"""The declared tools, and their parameters."""

_VLLM: Final = (
    "vllm.parser.abstract_parser",
    "vllm.parser.kimi_k2",
    "vllm.parser.kimi_k3",
    "vllm.parser.engine.adapters",
    "vllm.parser.engine.events",
    "vllm.parser.engine.incremental_lexer",
    "vllm.parser.engine.parser_engine",
    "vllm.parser.engine.parser_engine_config",
    "vllm.parser.engine.streaming_parser_engine",
    "vllm.parser.engine.token_id_scanner",
    "vllm.reasoning.abs_reasoning_parsers",
    "vllm.reasoning.kimi_k3_reasoning_parser",
    "vllm.tool_parsers.abstract_tool_parser",
    "vllm.tool_parsers.kimi_k3_tool_parser",
    "vllm.tool_parsers.utils",
)
_SGLANG: Final = (
    "sglang.srt.function_call.base_format_detector",
    "sglang.srt.function_call.core_types",
    "sglang.srt.function_call.kimik2_detector",
    "sglang.srt.function_call.kimik3_detector",
    "sglang.srt.function_call.kimik3_format",
    "sglang.srt.parser.reasoning_parser",
)
_SPECIAL: Final[dict[Family, tuple[str, ...]]] = {
    "k2": (
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
        "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        "<think>",
        "</think>",
        "<|im_end|>",
    ),
    "k3": ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"),
}
_PROMPTS: Final[dict[Family, str]] = {
    "k2": "<think>",
    "k3": '<|open|>message role="assistant"<|sep|><|open|>think<|sep|>',
}


@dataclass
class Reading:
    """What was made of an output."""

    thinking: str = ""
    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments."""
    ids: list[str] = field(default_factory=list)
    """The calls' ids, where the output holds some."""


@dataclass(frozen=True)
class Engine:
    """An engine's reading, whole or in pieces."""

    name: str
    read: Callable[[Family, str, random.Random], Reading]


def engines(folders: Sequence[Path]) -> Iterator[Engine | str]:
    """The engines that are installed; for each other, a line that says what is missing."""
    places = [*folders, *map(Path, filter(None, sys.path))]
    found: dict[str, list[Path]] = {
        name: [place for place in places if (place / name / file).exists()]
        for name, file in (("vllm", "parser/kimi_k3.py"), ("sglang", "srt/function_call/kimik3_detector.py"))
    }
    StandIns([place for at in found.values() for place in at], (*_VLLM, *_SGLANG))
    for name, title, make in (("vllm", "vLLM", _vllm), ("sglang", "SGLang", _sglang)):
        if found[name]:
            yield from make()
        else:
            yield f"{title}: not installed, or older than Kimi K3; skipped"


class _Tokenizer:
    """Special tokens are one token each, and so is every other character."""

    def __init__(self, family: Family) -> None:
        self._ids = {token: 2_000_000 + number for number, token in enumerate(_SPECIAL[family])}
        self._tokens = {number: token for token, number in self._ids.items()}
        self._pattern = re.compile("|".join(map(re.escape, self._ids)))
        self.all_special_tokens = [token for token in self._ids if "think" not in token]
        self.all_special_ids = [self._ids[token] for token in self.all_special_tokens]

    def get_vocab(self) -> dict[str, int]:
        return dict(self._ids)

    def pieces(self, text: str) -> list[str]:
        found, position = [], 0
        for match in self._pattern.finditer(text):
            found += [*text[position : match.start()], match.group()]
            position = match.end()
        return found + list(text[position:])

    def encode(self, text: str, **_: Any) -> list[int]:
        return [self._ids.get(piece) or ord(piece) for piece in self.pieces(text)]

    def decode(self, ids: int | Sequence[int], **_: Any) -> str:
        numbers = [ids] if isinstance(ids, int) else ids
        return "".join(self._tokens.get(number) or chr(number) for number in numbers)

    def convert_ids_to_tokens(self, ids: Sequence[int], **_: Any) -> list[str]:
        return [self.decode(number) for number in ids]

    def __len__(self) -> int:
        return 3_000_000


def _cut(tokenizer: _Tokenizer, raw: str, chance: random.Random) -> list[str]:
    """The output in pieces of some tokens each."""
    tokens, pieces = tokenizer.pieces(raw), []
    most, position = chance.choice((1, 2, 5, 40)), 0
    while position < len(tokens):
        step = chance.randint(1, most)
        pieces.append("".join(tokens[position : position + step]))
        position += step
    return pieces


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None
    id: str | None = None


class _Call(BaseModel):
    id: str | None = None
    type: str | None = None
    index: int = 0
    function: _Function = _Function()


class _Message(BaseModel):
    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] = []


class _Extracted(BaseModel):
    tools_called: bool
    tool_calls: list[_Call]
    content: str | None = None


def _add(reading: Reading, index: int, name: str | None, arguments: str | None, identity: str | None) -> None:
    while len(reading.calls) <= index:
        reading.calls.append(("", ""))
        reading.ids.append("")
    known, so_far = reading.calls[index]
    reading.calls[index] = (known or name or "", so_far + (arguments or ""))
    reading.ids[index] = reading.ids[index] or identity or ""


def _vllm() -> Iterator[Engine]:
    module(
        "vllm.entrypoints.generate.base.protocol",
        FunctionCall=_Function,
        ToolCall=_Call,
        DeltaFunctionCall=_Function,
        DeltaToolCall=_Call,
        DeltaMessage=_Message,
        ExtractedToolCallInformation=_Extracted,
    )
    module("vllm.reasoning", ReasoningParser=module("vllm.reasoning.abs_reasoning_parsers").ReasoningParser)
    module(
        "vllm.renderers.chat_utils",
        get_tool_call_id_type=lambda *_: "kimi_k2",
        make_tool_call_id=lambda **_: "",
    )
    module("vllm.parser.utils", count_history_tool_calls=lambda *_: 0)
    k2, k3 = module("vllm.parser.kimi_k2"), module("vllm.parser.kimi_k3")
    reasoning, tool = module("vllm.parser.engine.adapters").make_adapters(k2.KimiK2Parser)
    delegating = module("vllm.parser.abstract_parser").DelegatingParser
    parsers: dict[Family, Any] = {
        "k2": type("K2", (delegating,), {"reasoning_parser_cls": reasoning, "tool_parser_cls": tool}),
        "k3": type(
            "K3",
            (k3.KimiK3Parser,),
            {
                "reasoning_parser_cls": module(
                    "vllm.reasoning.kimi_k3_reasoning_parser"
                ).KimiK3ReasoningParser,
                "tool_parser_cls": module("vllm.tool_parsers.kimi_k3_tool_parser").KimiK3ToolParser,
            },
        ),
    }
    request = SimpleNamespace(
        tools=[SimpleNamespace(function=SimpleNamespace(name=name, parameters={})) for name, _ in TOOLS],
        tool_choice="auto",
        include_reasoning=True,
        messages=[],
        skip_special_tokens=False,
        chat_template_kwargs=None,
        parallel_tool_calls=True,
    )

    def whole(family: Family, raw: str, _: random.Random) -> Reading:
        tokenizer = _Tokenizer(family)
        thinking, text, calls = parsers[family](tokenizer, None).parse(
            raw, request, enable_auto_tools=True, model_output_token_ids=tokenizer.encode(raw)
        )
        reading = Reading(thinking or "", text or "")
        for index, call in enumerate(calls or ()):
            _add(reading, index, call.name, call.arguments, call.id)
        return reading

    def streamed(family: Family, raw: str, chance: random.Random) -> Reading:
        tokenizer, reading = _Tokenizer(family), Reading()
        parser, pieces = parsers[family](tokenizer, None), _cut(tokenizer, raw, chance)
        prompt = "" if raw.startswith("<think>") else _PROMPTS[family]
        for number, piece in enumerate(pieces):
            message = parser.parse_delta(
                piece,
                tokenizer.encode(piece),
                request,
                tokenizer.encode(prompt),
                finished=number == len(pieces) - 1,
            )
            if message is None:
                continue
            reading.thinking += message.reasoning or ""
            reading.text += message.content or ""
            for call in message.tool_calls:
                _add(reading, call.index, call.function.name, call.function.arguments, call.id)
        return reading

    yield Engine("vLLM whole", whole)
    yield Engine("vLLM streamed", streamed)


def _sglang() -> Iterator[Engine]:
    module(
        "sglang.srt.function_call.utils",
        get_schema_properties=lambda schema: schema.get("properties", {}),
    )
    base = module("sglang.srt.function_call.base_format_detector").BaseFormatDetector
    base._get_tool_indices = lambda _, tools: {tool.function.name: n for n, tool in enumerate(tools)}
    thinking = module("sglang.srt.parser.reasoning_parser")
    parsers: dict[Family, tuple[Any, Any]] = {
        "k2": (thinking.KimiK2Detector, module("sglang.srt.function_call.kimik2_detector").KimiK2Detector),
        "k3": (thinking.KimiK3Detector, module("sglang.srt.function_call.kimik3_detector").KimiK3Detector),
    }
    tools = [
        SimpleNamespace(
            function=SimpleNamespace(
                name=name, parameters={"properties": {key: {} for key in keys}}, strict=False
            )
        )
        for name, keys in TOOLS
    ]

    def take(reading: Reading, calls: Any) -> None:
        for call in calls:
            _add(reading, call.tool_index, call.name, call.parameters, None)

    def whole(family: Family, raw: str, _: random.Random) -> Reading:
        apart, tool = parsers[family][0](force_reasoning=True), parsers[family][1]()
        split = apart.detect_and_parse(raw)
        reading = Reading(split.reasoning_text or "", split.normal_text or "")
        if tool.has_tool_call(reading.text):
            found = tool.detect_and_parse(reading.text, tools)
            reading.text = found.normal_text or ""
            take(reading, found.calls)
        return reading

    def streamed(family: Family, raw: str, chance: random.Random) -> Reading:
        apart, tool = parsers[family][0](force_reasoning=True), parsers[family][1]()
        reading = Reading()

        def read(split: Any) -> None:
            reading.thinking += split.reasoning_text or ""
            if split.normal_text:
                found = tool.parse_streaming_increment(split.normal_text, tools)
                reading.text += found.normal_text or ""
                take(reading, found.calls)

        for piece in _cut(_Tokenizer(family), raw, chance):
            read(apart.parse_streaming_increment(piece))
        read(apart.finish())
        if hasattr(tool, "finish"):
            found = tool.finish(tools)
            reading.text += found.normal_text or ""
            take(reading, found.calls)
        return reading

    yield Engine("SGLang whole", whole)
    yield Engine("SGLang streamed", streamed)
