"""Turns whose markers are out of order. The engines' own parsers read them, as `python -m tests.oracles` shows."""

from __future__ import annotations

import json

from .support_decoder import Row
from .support_k3_turns import COMMAND, LS, RAN, RUN, RUN_TOOLS, close, invoke, opened, raw, response

__all__ = ["DISORDER"]

_BEGUN = f"T{close('think')}{response('A')}{opened('tools')}"
_SECTION, _SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_CALL, _ARGUMENTS, _CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_CLOCK = ("clock", "{}", "clock:1")
_HELD = json.dumps({"command": opened("think")}, ensure_ascii=False)


def _stray(name: str, marker: str) -> list[Row]:
    """A marker between calls, and one between the parts of a call."""
    between = f"{_BEGUN}{RUN}{marker}{invoke('clock')}{close('tools')}{close('message')}"
    inside = opened("call", tool="bash") + marker + COMMAND + marker + close("call")
    return [
        raw(f"disorder: {name}, between calls", between, "A", "T", RAN, _CLOCK),
        raw(f"disorder: {name}, in a call", f"{_BEGUN}{inside}{close('tools')}", "A", "T", RAN),
    ]


DISORDER = [
    *_stray("the end of a response", close("response")),
    *_stray("the end of thinking", close("think")),
    *_stray("the beginning of a response", opened("response")),
    *_stray("the beginning of thinking", opened("think") + "\n"),
    *_stray("the end of a call in K2's notation", _CALL_END),
    *_stray("a tag of K2's", "</think>"),
    *_stray("the end of a turn of K2's", "<|im_end|>"),
    raw(
        "disorder: an answer begins between calls",
        f"{_BEGUN}{RUN}{opened('response')}B{close('response')}",
        "AB",
        "T",
        RAN,
    ),
    raw(
        "disorder: an answer begins in a call",
        f"{_BEGUN}{opened('call', tool='bash')}{COMMAND}{opened('response')} B{close('response')}",
        "A B",
        "T",
        invalid=[("bash", '{"command": "ls"')],
    ),
    raw(
        "disorder: the beginning of the tools is lost",
        f"T{close('think')}{response('A')}{RUN}{close('tools')}{close('message')}",
        "A",
        "T",
        RAN,
    ),
    raw(
        "disorder: calls behind the tools",
        f"T{close('think')}A{RUN_TOOLS}{invoke('clock')}{close('tools')}",
        "A",
        "T",
        RAN,
        _CLOCK,
    ),
    raw(
        "disorder: the end of a call behind the tools",
        f"{_BEGUN}{RUN}{close('tools')}{close('call')}",
        "A",
        "T",
        RAN,
    ),
    raw(
        "disorder: the beginning of a call is lost",
        f"{_BEGUN}{COMMAND}{close('call')}{RUN}{close('tools')}",
        "A",
        "T",
        ("bash", LS, "bash:1"),
        invalid=[("", LS, "unknown:0")],
    ),
    raw(
        "disorder: the beginnings of the tools and of a call are lost",
        f"T{close('think')}{response('A')}{COMMAND}{close('call')}{RUN}{close('tools')}",
        "A",
        "T",
        ("bash", LS, "bash:1"),
        invalid=[("", LS, "unknown:0")],
    ),
    raw(
        "disorder: text in a call",
        f"{_BEGUN}{opened('call', tool='bash')} b {COMMAND}{close('call')}{close('tools')}",
        "A",
        "T",
        invalid=[("bash", LS)],
    ),
    raw("disorder: the turn ends in the tools", f"{_BEGUN}{RUN}{close('message')}B", "A", "T", RAN),
    raw(
        "disorder: a call of K2's in the tools",
        f"{_BEGUN}{RUN}{_CALL}functions.clock:1{_ARGUMENTS}{{}}{_CALL_END}B",
        "AB",
        "T",
        RAN,
        ("clock", "{}", "functions.clock:1"),
    ),
    raw(
        "disorder: the end of a block of JSON is lost",
        f"{_BEGUN}{opened('call', tool='bash')}{opened('json')}{LS}{close('tools')}{close('message')}",
        "A",
        "T",
        invalid=[("bash", LS)],
    ),
    raw("disorder: text in the tools", f"{_BEGUN}{RUN} b {close('tools')}", "Ab", "T", RAN),
    raw("disorder: the tools end in a half token", f"{_BEGUN}{RUN}<|", "A", "T", RAN),
    raw(
        "disorder: a half token of K3's before one of K2's",
        f"T</think>B<|close|> {_CALL}functions.bash:0{_ARGUMENTS}{LS}{_CALL_END}",
        "B",
        "T",
        ("bash", LS, "functions.bash:0"),
    ),
    raw("disorder: two half tokens", f"T{close('think')}A<|close|>{opened('response')}B", "AB", "T"),
    raw(
        "K2: an argument that holds K3's markup",
        f"T</think>{_SECTION}{_CALL}functions.bash:0{_ARGUMENTS}{_HELD}{_CALL_END}{_SECTION_END}",
        "",
        "T",
        ("bash", _HELD, "functions.bash:0"),
    ),
    raw(
        "K2: a tag between calls",
        f"T</think>A{_SECTION}</think>{_CALL}functions.bash:0{_ARGUMENTS}{LS}{_CALL_END}</think> {_SECTION_END}",
        "A",
        "T",
        ("bash", LS, "functions.bash:0"),
    ),
    raw(
        "K2: an id without its prefix keeps its number",
        f"T</think>{_SECTION}{_CALL}bash:4{_ARGUMENTS}{LS}{_CALL_END}{_SECTION_END}",
        "",
        "T",
        ("bash", LS, "functions.bash:4"),
    ),
    raw(
        "K2: cut behind a call's id, in a token",
        f"T</think>A{_SECTION}{_CALL}functions.bash:0\n<|",
        "A",
        "T",
        invalid=[("bash", "", "functions.bash:0")],
        sent_reason="length",
        reason="length",
    ),
    raw(
        "K2: cut behind arguments, in a token",
        f"T</think>A{_SECTION}{_CALL}functions.bash:0{_ARGUMENTS}{LS} <",
        "A",
        "T",
        ("bash", LS, "functions.bash:0"),
        sent_reason="length",
        reason="length",
    ),
    raw(
        "K2: cut between calls, in a token",
        f"T</think>A{_SECTION}{_CALL}functions.bash:0{_ARGUMENTS}{LS}{_CALL_END}<",
        "A",
        "T",
        ("bash", LS, "functions.bash:0"),
        sent_reason="length",
        reason="length",
    ),
]
