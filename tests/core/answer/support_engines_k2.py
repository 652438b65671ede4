"""What real engines make of raw outputs of Kimi K2, and what these meant."""

from __future__ import annotations

import json

from .support_decoder import Row, call
from .support_engines import (
    ARGS,
    BEGIN,
    CALL,
    END,
    ID,
    LS,
    PS,
    QUOTED_LS,
    STOP,
    begun,
    calls,
    leak,
    more,
    row,
    say,
    think,
    think_litellm,
    think_sglang,
    whole,
)
from .support_engines_k2_calls import CALLS

__all__ = ["ROWS"]

# The server began a call, and left its arguments in the content, up to the end marker of the call.
_LEFT = [
    row(
        "left arguments, vLLM Rust: double-encoded",
        [calls(begun(ID, "bash")), say(f"{QUOTED_LS}{STOP}{END}")],
        "",
        ("bash", LS, ID),
    ),
    row(
        "left arguments, vLLM Rust: in a fence",
        [calls(begun(ID, "bash")), say(f"```json\n{LS}\n```{STOP}{END}")],
        "",
        ("bash", LS, ID),
    ),
    row(
        "left arguments, vLLM Rust: behind thinking and a text",
        [think("Look."), say("Sure. "), calls(begun(ID, "bash")), say(f"{QUOTED_LS}{STOP}{END}")],
        "Sure. ",
        ("bash", LS, ID),
        thinking="Look.",
    ),
    row(
        "left arguments, vLLM Rust: the second of two calls",
        [
            calls(begun(ID, "bash")),
            calls(more(LS)),
            calls(begun("functions.bash:1", "bash", 1)),
            say(f"{json.dumps(PS)}{STOP}{END}"),
        ],
        "",
        ("bash", LS, ID),
        ("bash", PS, "functions.bash:1"),
        whole_calls=[call(0, ID, "bash", LS), call(1, "functions.bash:1", "bash", "")],
    ),
    row(
        "left arguments, vLLM Rust: no JSON",
        [calls(begun(ID, "bash")), say(f"ls -la{STOP}{END}")],
        invalid=[("bash", "ls -la", ID)],
    ),
    row(
        "left arguments, vLLM Rust: null for a tool that needs some",
        [calls(begun(ID, "bash")), say(f"null{STOP}{END}")],
        invalid=[("bash", "{}", ID)],
    ),
    row(
        "left arguments, vLLM Rust: null for a tool that needs none",
        [calls(begun("functions.clock:0", "clock")), say(f"null{STOP}{END}")],
        "",
        ("clock", "{}", "functions.clock:0"),
    ),
    row(
        "left arguments, vLLM Rust: none, only the marker",
        [calls(begun("functions.clock:0", "clock")), say(f"{STOP}{END}")],
        "",
        ("clock", "{}", "functions.clock:0"),
    ),
    row(
        "left arguments, vLLM Rust: cut before the marker",
        [calls(begun(ID, "bash")), say('"{\\"comm')],
        invalid=[("bash", '"{\\"comm', ID)],
        sent_reason="length",
        reason="length",
    ),
    row(
        "left arguments, vLLM Rust: the answer goes on behind the section",
        [calls(begun(ID, "bash")), say(f"{QUOTED_LS}{STOP}{END}Done.")],
        "Done.",
        ("bash", LS, ID),
    ),
    row(
        "left arguments, and two calls that may be meant, whole",
        whole(
            {
                "content": f"{LS}{STOP}{END}",
                "tool_calls": [begun(ID, "bash"), begun("functions.clock:1", "clock", 1)],
            }
        ),
        LS,
        ("clock", "{}"),
        invalid=[("bash", "")],
        whole_pieces=True,
    ),
    row(
        "left arguments, LiteLLM before vLLM Rust, whole",
        whole(
            {
                "reasoning_content": "Look.",
                "provider_specific_fields": {"refusal": None},
                "content": f"Sure.\n{QUOTED_LS}{STOP}{END}",
                "tool_calls": [begun(ID, "bash")],
            }
        ),
        "Sure.\n",
        ("bash", LS, ID),
        thinking="Look.",
        whole_pieces=True,
    ),
    row(
        "no arguments left: tokens behind a call that has them",
        [calls(call(0, ID, "bash", LS)), say(f"{STOP}{END}Done.")],
        "Done.",
        ("bash", LS, ID),
    ),
    row(
        "no arguments left: an answer behind a call without any",
        [calls(begun("functions.clock:0", "clock")), say("It is late.")],
        "It is late.",
        ("clock", "{}", "functions.clock:0"),
    ),
]

_EMPTY = [
    row(
        "empty arguments, vLLM Python, whole: {} for none",
        whole({"reasoning": "T", "content": None, "tool_calls": [call(None, ID, "bash", "{}")]}),
        invalid=[("bash", "{}", ID)],
        thinking="T",
    ),
    row(
        "empty arguments, vLLM Python, streamed: nothing",
        [think("T"), calls(begun(ID, "bash"))],
        invalid=[("bash", "", ID)],
        thinking="T",
    ),
    row(
        "empty arguments, SGLang, streamed",
        [think_sglang("T"), calls(call(0, ID, "bash", ""))],
        invalid=[("bash", "", ID)],
        thinking="T",
    ),
    row(
        "empty arguments, LiteLLM: {} and stop",
        [calls(call(0, ID, "note", "{}"))],
        invalid=[("note", "{}", ID)],
        sent_reason="stop",
    ),
    row(
        "empty arguments, leaked",
        [say(BEGIN + leak(ID, "{}") + END)],
        invalid=[("bash", "{}", ID)],
        sent_reason="stop",
    ),
    row(
        "empty arguments, leaked: nothing",
        [say(BEGIN + leak(ID, "") + END)],
        invalid=[("bash", "", ID)],
        sent_reason="stop",
    ),
    row(
        "empty arguments beside a good call: only that one runs",
        [calls(call(0, ID, "bash", LS)), calls(call(1, "functions.bash:1", "bash", "{}"))],
        "",
        ("bash", LS, ID),
        invalid=[("bash", "{}", "functions.bash:1")],
    ),
    row(
        "empty arguments of a tool without required fields are {}",
        [calls(call(0, "functions.clock:0", "clock", "{}"))],
        "",
        ("clock", "{}", "functions.clock:0"),
    ),
    row(
        "half a call: an opening fence alone, vLLM Python",
        [calls(begun(ID, "bash")), calls(more("```json"))],
        invalid=[("bash", "```json", ID)],
        whole_calls=[call(None, ID, "bash", "```json")],
    ),
    row(
        "half a call: an opening fence alone for a tool that needs nothing",
        [calls(begun("functions.clock:0", "clock")), calls(more("```json\n"))],
        invalid=[("clock", "```json\n", "functions.clock:0")],
        whole_calls=[call(None, "functions.clock:0", "clock", "```json\n")],
    ),
    row(
        "half a call: cut in the id, vLLM Python, whole",
        whole({"content": None, "tool_calls": [call(None, "chatcmpl-tool-8f", "functions.ba", "{}")]}),
        invalid=[("functions.ba", "{}", "chatcmpl-tool-8f")],
        sent_reason="length",
        reason="length",
    ),
    row(
        "half a call: cut in the id, vLLM Python, streamed, reason tool_calls",
        [calls(begun("chatcmpl-tool-8f", "functions.ba"))],
        invalid=[("functions.ba", "", "chatcmpl-tool-8f")],
    ),
    row(
        "half a call: the whole name, but cut before the number",
        whole({"content": None, "tool_calls": [call(None, "chatcmpl-tool-8f", "functions.clock", "{}")]}),
        invalid=[("clock", "{}", "chatcmpl-tool-8f")],
        sent_reason="length",
        reason="length",
    ),
    row(
        "half a call: half a name that no tool has",
        [calls(call(0, "call_1", "sear", "{}"))],
        invalid=[("sear", "{}", "call_1")],
    ),
    row(
        "half a call: cut in the id, vLLM Rust leaves the half in the content",
        [think("T"), say("Sure.\nfunctions.ba")],
        "Sure.\n",
        invalid=[("ba", "")],
        thinking="T",
        sent_reason="length",
        reason="length",
    ),
    row(
        "half a call: cut behind the id, vLLM Rust leaves it in the content",
        [say("functions.bash:0")],
        invalid=[("bash", "")],
        sent_reason="length",
        reason="length",
    ),
    row(
        "half a call: cut behind the id, leaked",
        [say(f"{BEGIN}{CALL}functions.clo")],
        invalid=[("clo", "")],
        sent_reason="length",
        reason="length",
    ),
]

_TAGS = [
    Row(
        "tags after thinking, SGLang, whole: a second pair",
        whole({"reasoning_content": "first", "content": "Answer<think>more</think>rest"}),
        "Answerrest",
        "firstmore",
    ),
    Row(
        "tags after thinking, SGLang, streamed: a lone closing tag in the answer",
        [think_sglang("first"), say("An</think>swer")],
        "Answer",
        "first",
    ),
    Row(
        "tags after thinking, vLLM Python: the second closing tag is lost",
        [think("first"), say("Answer<think>more")],
        "Answer",
        "firstmore",
    ),
    Row(
        "tags after thinking, vLLM Rust: a pair first of all",
        [think("first"), say("<think>more</think>\n\nAnswer")],
        "Answer",
        "firstmore",
    ),
    Row(
        "tags after thinking, LiteLLM: a closing tag at the end",
        [think_litellm("first"), say("Answer"), say("</think>")],
        "Answer",
        "first",
    ),
    Row(
        "tags after thinking: a closing tag behind white space",
        [think("first"), say(" \n</think>\n\nAnswer")],
        "Answer",
        "first",
    ),
    row(
        "tags after thinking, SGLang, streamed: a closing tag behind the call that broke the thinking",
        [think_sglang("I will "), calls(call(0, ID, "bash", LS)), say("</think>ok")],
        "ok",
        ("bash", LS, ID),
        thinking="I will ",
    ),
    Row(
        "tags after thinking: a span is literal",
        [think("first"), say("Write `<think>` and `</think>`.")],
        "Write `<think>` and `</think>`.",
        "first",
    ),
    row(
        "tags after thinking: arguments are literal",
        [think("first"), calls(call(0, ID, "bash", '{"command": "echo </think><think>"}'))],
        "",
        ("bash", '{"command": "echo </think><think>"}', ID),
        thinking="first",
    ),
    row(
        "tags after thinking: a call behind a second pair",
        [think("first"), say(f"<think>more</think>{BEGIN}{leak(ID, LS)}{END}")],
        "",
        ("bash", LS, ID),
        thinking="firstmore",
        sent_reason="stop",
    ),
]

_FOREIGN = f'call_8f3a{ARGS}{{"query": "x"}}{STOP}{END}'
_FOUND = ("search", '{"query": "x"}', "functions.search:0")
_HALF_EATEN = [
    row("half-eaten, vLLM Rust: a foreign id", [say(_FOREIGN)], "", _FOUND, sent_reason="stop"),
    row(
        "half-eaten, vLLM Rust: behind a line of text",
        [think("T"), say(f"Let me look.\n{_FOREIGN}")],
        "Let me look.\n",
        _FOUND,
        thinking="T",
        sent_reason="stop",
    ),
    row(
        "half-eaten, vLLM Rust: behind text on the same line",
        [say("Let me look. "), say(_FOREIGN)],
        "Let me look. ",
        _FOUND,
        sent_reason="stop",
    ),
    row(
        "half-eaten, vLLM Rust: a bare counter",
        [say(f"Sure.\n3{ARGS}{LS}{STOP}{END}")],
        "Sure.\n",
        ("bash", LS, ID),
        sent_reason="stop",
    ),
    row(
        "half-eaten, vLLM Rust: a name without its number",
        [say(f"bash{ARGS}{LS}{STOP}{END}")],
        "",
        ("bash", LS, ID),
        sent_reason="stop",
    ),
    row(
        "half-eaten, vLLM Rust: behind a good call, which stays the only structured one",
        [
            calls(begun(ID, "bash")),
            calls(more(LS)),
            say(f'chatcmpl-tool-2{ARGS}{{"query": "x"}}{STOP}{END}'),
        ],
        "",
        ("bash", LS, ID),
        ("search", '{"query": "x"}', "functions.search:1"),
        whole_calls=[call(0, ID, "bash", LS)],
    ),
    row(
        "half-eaten, SGLang, streamed: all markers stripped",
        [think_sglang("T"), say(f"functions.bash:0{LS}")],
        "",
        ("bash", LS, ID),
        thinking="T",
        sent_reason="stop",
    ),
    row(
        "half-eaten: an id that fits no tool is reported, and not shown",
        [say(f'call_8f3a{ARGS}{{"nothing": 1}}{STOP}{END}')],
        invalid=[("call_8f3a", '{"nothing": 1}')],
        sent_reason="stop",
    ),
]

ROWS = [*_LEFT, *_EMPTY, *_TAGS, *CALLS, *_HALF_EATEN]
"""Answers that need nothing but the tools of the request to be read."""
