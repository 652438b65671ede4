"""The calls of Kimi K2 as real engines structure them: two objects in one, shortened names, twins."""

from __future__ import annotations

from .support_decoder import call
from .support_engines import (
    ARGS,
    BEGIN,
    CALL,
    END,
    ID,
    LS,
    PS,
    STOP,
    begun,
    calls,
    leak,
    more,
    row,
    say,
    think,
    tool,
)

__all__ = ["CALLS"]

DOTTED = [tool("wiki.find", "page"), tool("docs.find", "page"), tool("find", "page"), tool("search", "query")]
PAGE = '{"page": "a"}'

_TWO_OBJECTS = [
    row(
        "two objects, vLLM Python and SGLang",
        [calls(begun(ID, "bash")), calls(more(LS + PS))],
        invalid=[("bash", LS + PS, ID)],
        whole_calls=[call(None, ID, "bash", LS + PS)],
    ),
    row(
        "two objects, one to a delta",
        [calls(begun(ID, "bash")), calls(more(LS)), calls(more(PS))],
        invalid=[("bash", LS + PS, ID)],
        whole_calls=[call(None, ID, "bash", LS + PS)],
    ),
    row(
        "two objects, an empty one first, with white space",
        [calls(begun(ID, "bash")), calls(more(f"{{}} {LS}"))],
        invalid=[("bash", f"{{}} {LS}", ID)],
        whole_calls=[call(None, ID, "bash", f"{{}} {LS}")],
    ),
    row(
        "two objects, vLLM Rust: the second is left in the content",
        [calls(begun(ID, "bash")), calls(more(LS)), say(f"{PS}{STOP}{END}")],
        invalid=[("bash", LS + PS, ID)],
        whole_calls=[call(0, ID, "bash", LS)],
    ),
    row(
        "two objects, leaked",
        [say(BEGIN + leak(ID, LS + PS) + END)],
        invalid=[("bash", LS + PS, ID)],
        sent_reason="stop",
    ),
    row(
        "two objects, the id on each delta",
        [calls(call(0, ID, "bash", LS)), calls({"index": 0, "id": ID, "function": {"arguments": PS}})],
        invalid=[("bash", LS + PS, ID)],
        whole_calls=[call(0, ID, "bash", LS + PS)],
    ),
]

_NAMES = [
    row(
        "dotted name, vLLM Rust: the last part alone",
        [calls(begun("functions.wiki.find:0", "find")), calls(more(PAGE))],
        "",
        ("wiki.find", PAGE, "functions.wiki.find:0"),
        whole_calls=[call(0, "functions.wiki.find:0", "find", PAGE)],
        tools=DOTTED,
    ),
    row(
        "dotted name, vLLM before 0.20: the last part, another tool of that end",
        [calls(call(0, "functions.docs.find:3", "find", PAGE))],
        "",
        ("docs.find", PAGE, "functions.docs.find:3"),
        tools=DOTTED,
    ),
    row(
        "dotted name, vLLM Python: as it is declared",
        [calls(call(0, "functions.wiki.find:0", "wiki.find", PAGE))],
        "",
        ("wiki.find", PAGE, "functions.wiki.find:0"),
        tools=DOTTED,
    ),
    row(
        "a namespace, vLLM Python: the tool has none",
        [calls(call(0, "browser.search:0", "browser.search", '{"query": "a"}'))],
        "",
        ("search", '{"query": "a"}', "browser.search:0"),
        tools=DOTTED,
    ),
    row(
        "a namespace, vLLM Rust: the id names the plain tool",
        [calls(call(0, "functions.find:0", "find", PAGE))],
        "",
        ("find", PAGE, "functions.find:0"),
        tools=DOTTED,
    ),
    row(
        "a namespace, LiteLLM: an id of its own leaves the name",
        [calls(call(0, "call_9a", "find", PAGE))],
        "",
        ("find", PAGE, "call_9a"),
        tools=DOTTED,
    ),
    row(
        "dotted name, leaked",
        [say(BEGIN + leak("functions.docs.find:0", PAGE) + END)],
        "",
        ("docs.find", PAGE, "functions.docs.find:0"),
        sent_reason="stop",
        tools=DOTTED,
    ),
]

_TWINS = [
    row(
        "twins: the structured one is cut, the leak is whole",
        [say(BEGIN + leak(ID, LS) + END), calls(call(0, ID, "bash", '{"comm'))],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: the structured one comes first and is cut",
        [calls(call(0, ID, "bash", '{"comm')), say(BEGIN + leak(ID, LS) + END)],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: the structured one has no arguments",
        [calls(begun(ID, "bash")), say(BEGIN + leak(ID, LS) + END)],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: the structured one has empty arguments",
        [think(BEGIN + leak(ID, LS) + END), calls(call(0, ID, "bash", "{}"))],
        "",
        ("bash", LS, ID),
        thinking="",
    ),
    row(
        "twins: the leak is cut, and spelled another way",
        [think(f'{BEGIN}{CALL}{ID}{ARGS}{{"command":"l'), calls(call(0, ID, "bash", LS))],
        "",
        ("bash", LS, ID),
        thinking="",
    ),
    row(
        "twins: a leak in thinking and in the answer, beside the structured one",
        [
            think(BEGIN + leak(ID, LS) + END),
            say(BEGIN + leak(ID, LS) + END),
            calls(call(0, ID, "bash", LS)),
        ],
        "",
        ("bash", LS, ID),
        thinking="",
    ),
    row(
        "twins: two structured ones, the first cut",
        [calls(call(0, ID, "bash", '{"comm')), calls(call(1, ID, "bash", LS))],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: two structured ones, the second cut",
        [calls(call(0, ID, "bash", LS)), calls(call(1, ID, "bash", '{"comm'))],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: two structured ones, the first empty",
        [calls(call(0, ID, "bash", "")), calls(call(1, ID, "bash", LS))],
        "",
        ("bash", LS, ID),
    ),
    row(
        "twins: two equal structured ones under two indices",
        [calls(call(0, ID, "bash", LS)), calls(call(1, ID, "bash", LS))],
        "",
        ("bash", LS, ID),
    ),
    row(
        "no twins: equal calls with numbers of their own",
        [calls(call(0, ID, "bash", LS)), calls(call(1, "functions.bash:1", "bash", LS))],
        "",
        ("bash", LS, ID),
        ("bash", LS, "functions.bash:1"),
    ),
]

CALLS = [*_TWO_OBJECTS, *_NAMES, *_TWINS]
"""Structured calls that say less, or more, than the raw output did."""
