"""Raw outputs of Kimi K3 as servers let them through, and what they mean.

K3 writes elements: `<|open|>NAME KEY="VALUE"<|sep|>BODY<|close|>NAME<|sep|>`, of which `think`, `response` and `tools`
make a turn. The prompt has opened the first of them, so that a turn begins with its body.
"""

from __future__ import annotations

from typing import Any

from kimi_vertex._tools import History

from .support_decoder import TOOLS, Call, Row
from .support_engines import say

__all__ = [
    "COMMAND",
    "LS",
    "RAN",
    "RUN",
    "RUN_TOOLS",
    "TURNS",
    "argument",
    "close",
    "invoke",
    "opened",
    "raw",
    "response",
    "section",
    "turn",
]

LS = '{"command": "ls"}'
END = "<|end_of_msg|>"
ANY = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ODD = {"type": "function", "function": {"name": 'a"b&quot;', "parameters": {}}}


def opened(name: str, **attributes: str) -> str:
    """An element's beginning; attribute values as they are written."""
    return f"<|open|>{name}" + "".join(f' {k}="{v}"' for k, v in attributes.items()) + "<|sep|>"


def close(name: str) -> str:
    """An element's end."""
    return f"<|close|>{name}<|sep|>"


def argument(key: str, kind: str, value: str) -> str:
    """An argument of a call; its value is raw."""
    return opened("argument", key=key, type=kind) + value + close("argument")


def invoke(tool: str, *arguments: str, index: int = 1) -> str:
    """A call."""
    return opened("call", tool=tool, index=str(index)) + "".join(arguments) + close("call")


def section(*calls: str) -> str:
    """A tools section."""
    return opened("tools") + "".join(calls) + close("tools")


def response(text: str) -> str:
    """A response section."""
    return opened("response") + text + close("response")


def turn(thinking: str, text: str, tools: str = "") -> str:
    """A whole turn of a model that thinks, as it is generated."""
    return f"{thinking}{close('think')}{response(text)}{tools}{close('message')}"


COMMAND = argument("command", "string", "ls")
RUN = invoke("bash", COMMAND)
RUN_TOOLS = section(RUN)
RAN: Call = ("bash", LS, "bash:0")


def raw(
    name: str, content: str, text: str = "", thinking: str | None = None, *found: Call, **more: Any
) -> Row:
    """A turn that arrives in the content, for a request that lets the model think."""
    more.setdefault("reason", "tool_calls" if found or more.get("invalid") else "stop")
    return Row(name, [say(content)], text, thinking, found, **{"implicit": True, **more})


def typed(name: str, kind: str, value: str, expected: str) -> Row:
    """A call with one argument."""
    content = f"T{close('think')}{section(invoke('f', argument('k', kind, value)))}"
    found = ("f", f'{{"k": {expected}}}')
    return raw(f"argument: {name}", content, "", "T", found, tools=[*TOOLS, ANY])


_TURNS = [
    raw("turn: thinking and an answer", turn("T", "A"), "A", "T"),
    raw("turn: with the end token", turn("T", "A") + END, "A", "T"),
    raw("turn: with a call", turn("T", "A", RUN_TOOLS), "A", "T", RAN),
    raw("turn: a call without an answer", turn("T", "", RUN_TOOLS), "", "T", RAN),
    raw("turn: no response section", f"T{close('think')}{RUN_TOOLS}{close('message')}", "", "T", RAN),
    raw(
        "turn: two calls, whatever their index",
        turn("T", "A", section(invoke("bash", COMMAND, index=7), invoke("clock", index=7))),
        "A",
        "T",
        RAN,
        ("clock", "{}", "clock:1"),
    ),
    raw("turn: white space in bodies counts", turn(" T\n", "\n A \n"), "\n A \n", " T\n"),
    raw("turn: entities in bodies stay", turn("a &amp; b", "&quot;A&quot;"), "&quot;A&quot;", "a &amp; b"),
    raw("turn: the opening of thinking is there", opened("think") + turn("T", "A"), "A", "T"),
    raw("turn: empty thinking", turn("", "A"), "A", ""),
    raw("turn: no opening of the response", f"T{close('think')}A{close('response')}", "A", "T"),
    raw("turn: no opening and no end of the response", f"T{close('think')}A", "A", "T"),
    raw("turn: the response is opened first", response("A") + close("message"), "A", None),
    raw("turn: thinking is left open before the response", f"T{response('A')}", "A", "T"),
    raw("turn: thinking is left open before the tools", f"T{RUN_TOOLS}", "", "T", RAN),
    raw("turn: thinking is skipped", f"A{close('response')}{close('message')}", "A", None),
    raw("turn: thinking is skipped, with a call", f"A{close('response')}{RUN_TOOLS}", "A", None, RAN),
    raw("turn: thinking is off", f"A{close('response')}{RUN_TOOLS}", "A", None, RAN, implicit=False),
    raw("turn: no marker at all is the answer", "A", "A", None),
    raw(
        "turn: white space between elements",
        f"T{close('think')}\n{response('A')}\n{opened('tools')}\n  {RUN}\n{close('tools')}\n{close('message')}\n",
        "A",
        "T",
        RAN,
    ),
    raw(
        "turn: two tools sections",
        turn("T", "A", RUN_TOOLS + section(invoke("clock"))),
        "A",
        "T",
        RAN,
        ("clock", "{}", "clock:1"),
    ),
    raw("turn: the response behind the tools", f"T{close('think')}{RUN_TOOLS}{response('A')}", "A", "T", RAN),
    raw("turn: two responses", f"T{close('think')}{response('A')}{response('B')}", "AB", "T"),
    raw(
        "turn: thinking once more",
        f"T{close('think')}{response('A')}{opened('think')}{turn('U', 'B')}",
        "AB",
        "TU",
    ),
    raw("turn: text between the sections", f"T{close('think')}{response('A')}B{RUN_TOOLS}", "AB", "T", RAN),
    raw("turn: what follows its end is another's", turn("T", "A") + f"B{RUN_TOOLS}", "A", "T"),
    raw(
        "turn: ids count on from the history",
        turn("T", "A", RUN_TOOLS),
        "A",
        "T",
        ("bash", LS, "bash:3"),
        history=History(frozenset({"bash:0", "bash:1", "clock:2"}), 3),
    ),
    raw(
        "turn: spaces in the markers",
        turn("T", "A", RUN_TOOLS)
        .replace("<|open|>", "<|open|> ")
        .replace("<|close|>", "<|close|> ")
        .replace("<|sep|>", " <|sep|>"),
        "A",
        "T",
        RAN,
    ),
]

_ARGUMENTS = [
    typed("a string is raw", "string", ' a&amp;"b"\\n\n', '" a&amp;\\"b\\"\\\\n\\n"'),
    typed("a string that is a number", "string", "7", '"7"'),
    typed("an empty string", "string", "", '""'),
    typed("a number", "number", "1.50", "1.50"),
    typed("a number beyond 64 bits", "number", "123456789012345678901", "123456789012345678901"),
    typed("a boolean", "boolean", "true", "true"),
    typed("null", "null", "null", "null"),
    typed("an object", "object", '{"a": [1, 2]}', '{"a": [1, 2]}'),
    typed("an array", "array", '[1, "x"]', '[1, "x"]'),
    typed("white space around JSON", "number", " 7\n", "7"),
    typed("no JSON after all", "number", "x1", '"x1"'),
    typed("NaN is no JSON", "number", "NaN", '"NaN"'),
    typed("an unknown type, JSON", "integer", "7", "7"),
    typed("an unknown type, no JSON", "date", "today", '"today"'),
    typed("other markers in a value", "string", "a <|open|>think<|sep|> b", '"a <|open|>think<|sep|> b"'),
    typed("other ends in a value", "string", "a <|close|>call<|sep|> b", '"a <|close|>call<|sep|> b"'),
    typed("K2's markers in a value", "string", "<think><|tool_call_end|>", '"<think><|tool_call_end|>"'),
    typed("backticks in a value", "string", "```\na", '"```\\na"'),
    raw(
        "argument: no type is a string",
        turn("T", "", section(invoke("f", opened("argument", key="k") + "7" + close("argument")))),
        "",
        "T",
        ("f", '{"k": "7"}'),
        tools=[ANY],
    ),
    raw(
        "argument: the type first",
        turn(
            "T",
            "",
            section(invoke("f", opened("argument", type="number", key="k") + "7" + close("argument"))),
        ),
        "",
        "T",
        ("f", '{"k": 7}'),
        tools=[ANY],
    ),
    raw("argument: none", turn("T", "", section(invoke("clock"))), "", "T", ("clock", "{}", "clock:0")),
    raw(
        "argument: none, though one is required",
        turn("T", "", section(invoke("bash"))),
        "",
        "T",
        invalid=[("bash", "{}", "bash:0")],
    ),
    raw(
        "argument: a key twice, the last counts",
        turn("T", "", section(invoke("bash", argument("command", "string", "ps"), COMMAND))),
        "",
        "T",
        RAN,
    ),
    raw(
        "argument: escapes in attributes, the quote first",
        turn("T", "", section(invoke("a&quot;b&amp;quot;", argument("k&amp;", "string", "&amp;")))),
        "",
        "T",
        ('a"b&quot;', '{"k&": "&amp;"}'),
        tools=[ODD],
    ),
    raw(
        "argument: a block of JSON",
        turn(
            "T", "", section(invoke("f", opened("json", type="object") + '{"b": 1,  "a": 2}' + close("json")))
        ),
        "",
        "T",
        ("f", '{"b": 1,  "a": 2}'),
        tools=[ANY],
    ),
    raw(
        "argument: white space between arguments",
        turn("T", "", section(invoke("bash", "\n  ", COMMAND, "\n"))),
        "",
        "T",
        RAN,
    ),
    raw(
        "argument: without a name",
        turn("T", "", section(invoke("clock", opened("argument", type="string") + "ls" + close("argument")))),
        "",
        "T",
        invalid=[("clock", '{"": "ls"}')],
    ),
    raw(
        "argument: a name that is too long to be one",
        turn("T", "", section(invoke("clock", argument("k" * 500, "string", "ls")))),
        "",
        "T",
        invalid=[("clock", "{}")],
    ),
    raw(
        "call: without a name",
        turn("T", "", section(opened("call", index="1") + COMMAND + close("call"), RUN)),
        "",
        "T",
        ("bash", LS, "bash:1"),
        invalid=[("", LS)],
    ),
    raw(
        "call: an undeclared tool",
        turn("T", "", section(invoke("sh", COMMAND))),
        "",
        "T",
        invalid=[("sh", LS, "sh:0")],
    ),
    raw(
        "call: a name with a dot",
        turn("T", "", section(invoke("wiki.find", argument("page", "string", "a")))),
        "",
        "T",
        ("wiki.find", '{"page": "a"}', "wiki.find:0"),
        tools=[{"type": "function", "function": {"name": "wiki.find"}}],
    ),
]

TURNS = [*_TURNS, *_ARGUMENTS]
"""Whole turns, as far as their sections and arguments go."""
