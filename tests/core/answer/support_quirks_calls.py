"""The quirk tables of structured tool calls; the numbers are those of the project's notes on Kimi."""

from __future__ import annotations

from typing import Any

from kimi_vertex._tools import History

from .support_decoder import Call, Row, call

__all__ = ["STRUCTURED"]

LS = '{"command": "ls"}'
PS = '{"command": "ps"}'


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(fragments)}


def pieces(*arguments: str, first: dict[str, Any], rest: dict[str, Any]) -> list[dict[str, Any]]:
    """A call's first fragment, then one delta for each piece of its arguments."""
    return [
        calls(first),
        *(calls({**rest, "function": {**rest["function"], "arguments": a}}) for a in arguments),
    ]


def row(name: str, deltas: list[dict[str, Any]], *found: Call, **more: Any) -> Row:
    more = {"sent_reason": "tool_calls", "reason": "tool_calls", "whole_calls": WHOLE, **more}
    return Row(name, deltas, calls=found, **more)


WHOLE = [call(0, "functions.bash:0", "bash", LS)]
TWO = [call(0, "functions.bash:0", "bash", LS), call(1, "functions.bash:1", "bash", PS)]
FRAGMENTS = ('{"', "command", '":', ' "', "ls", '"}')
BOTH = (("bash", LS), ("bash", PS))

STRUCTURED = [
    row(
        "1.5 in one piece: Groq",
        [calls(call(0, "functions.bash:0", "bash", LS))],
        ("bash", LS, "functions.bash:0"),
    ),
    row(
        "1.5 in two pieces: Avian",
        pieces(LS, first=call(0, "functions.bash:0", "bash", ""), rest=call(0)),
        ("bash", LS),
    ),
    row(
        "1.5 one token to a delta: Chutes",
        pieces(*FRAGMENTS, first=call(0, "functions.bash:0", "bash", ""), rest=call(0)),
        ("bash", LS),
    ),
    row(
        "1.5 the first delta has no arguments key",
        pieces(
            *FRAGMENTS,
            first={"index": 0, "id": "functions.bash:0", "function": {"name": "bash"}},
            rest={"index": 0, "function": {}},
        ),
        ("bash", LS),
    ),
    row(
        "1.5 id and name on every delta: Novita",
        pieces(*FRAGMENTS, first=call(0, "0", "bash", ""), rest=call(0, "0", "bash")),
        ("bash", LS, "0"),
        whole_calls=[call(0, "0", "bash", LS)],
    ),
    row(
        "1.5 empty ids and names after the first: moonshotai 3.0.36",
        pieces(*FRAGMENTS, first=call(0, "functions.bash:0", "bash", ""), rest=call(0, "", "")),
        ("bash", LS),
    ),
    row(
        "1.5 no id at all",
        pieces(*FRAGMENTS, first=call(0, "", "bash", ""), rest=call(0)),
        ("bash", LS, "functions.bash:0"),
    ),
    row(
        "1.5 no index at all",
        pieces(*FRAGMENTS, first=call(None, "functions.bash:0", "bash", ""), rest=call()),
        ("bash", LS),
    ),
    row(
        "1.5 no index, two calls",
        [
            *pieces('{"command"', ': "ls"}', first=call(None, "functions.bash:0", "bash", ""), rest=call()),
            *pieces(PS, first=call(None, "functions.bash:1", "bash", ""), rest=call()),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 neither index nor id, two calls",
        [calls(call(None, None, "bash", LS), call(None, None, "bash", PS))],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 all indices 0",
        [calls(call(0, "a", "bash", LS)), calls(call(0, "b", "bash", PS))],
        ("bash", LS, "a"),
        ("bash", PS, "b"),
        whole_calls=None,
    ),
    row(
        "1.5 all indices 0, in pieces",
        [
            *pieces('{"command": ', '"ls"}', first=call(0, "a", "bash", ""), rest=call(0)),
            *pieces('{"command": ', '"ps"}', first=call(0, "b", "bash", ""), rest=call(0)),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 all indices 0, no ids, in pieces",
        [
            *pieces('{"command": ', '"ls"}', first=call(0, None, "bash", ""), rest=call(0)),
            *pieces('{"command": ', '"ps"}', first=call(0, None, "bash", ""), rest=call(0)),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 all indices 0, no ids, other names",
        [
            *pieces(first=call(0, None, "clock", ""), rest=call(0)),
            *pieces(PS, first=call(0, None, "bash", ""), rest=call(0)),
        ],
        ("clock", "{}"),
        ("bash", PS),
        whole_calls=[call(0, None, "clock", ""), call(0, None, "bash", PS)],
    ),
    row(
        "1.5 sparse indices",
        [calls(call(3, "a", "bash", LS)), calls(call(7, "b", "bash", PS))],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.1 the first index is the conversation's counter: SGLang",
        [calls(call(5, "functions.bash:5", "bash", LS))],
        ("bash", LS),
    ),
    row(
        "1.1 a hole where the server dropped a call: vllm#50782",
        [calls(call(1, "functions.bash:1", "bash", LS))],
        ("bash", LS),
    ),
    row(
        "1.5 the index is text",
        pieces(*FRAGMENTS, first=call("0", "a", "bash", ""), rest=call(0)),
        ("bash", LS),
    ),
    row(
        "1.5 the index flips inside a call: Gemini on Vertex",
        [
            *pieces(
                '{"command": "l', 's"', "}", "", first=call(1, "a", "bash", ""), rest=call(0, "a", "bash")
            ),
            *pieces(
                '{"command": "p', 's"', "}", "", first=call(0, "b", "bash", ""), rest=call(1, "b", "bash")
            ),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 several calls in one delta, interleaved",
        [
            calls(call(0, "a", "bash", ""), call(1, "b", "bash", "")),
            calls(call(1, None, None, '{"command": '), call(0, None, None, '{"command": ')),
            calls(call(0, None, None, '"ls"}'), call(1, None, None, '"ps"}')),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "2.3 two calls with one id, which is the function's name: Google's example",
        [calls(call(0, "bash", "bash", LS)), calls(call(1, "bash", "bash", PS))],
        ("bash", LS, "bash"),
        ("bash", PS, "functions.bash:1"),
        whole_calls=None,
    ),
    row(
        "2.3 two calls with one id, in pieces",
        [
            *pieces(LS, first=call(0, "bash", "bash", ""), rest=call(0)),
            *pieces('{"command": ', '"ps"}', first=call(1, "bash", "bash", ""), rest=call(1)),
        ],
        *BOTH,
        whole_calls=TWO,
    ),
    row(
        "1.5 a new id on every delta: one call",
        [calls(call(0, "u1", "bash", '{"comm')), calls(call(0, "u2", None, 'and": "ls"}'))],
        ("bash", LS, "u1"),
        whole_calls=[call(0, "u1", "bash", LS)],
    ),
    row(
        "1.5 white space after complete arguments: orsdk#489",
        pieces(LS, " \n", first=call(0, "a", "bash", ""), rest=call(0)),
        ("bash", LS),
    ),
    row(
        "1.5 a repeated name after complete arguments",
        pieces(LS, "", first=call(0, "a", "bash", ""), rest=call(1, "a", "bash")),
        ("bash", LS),
    ),
    row(
        "1.5 the complete call once more: run once",
        [calls(call(0, "a", "bash", LS)), calls(call(0, "a", "bash", LS))],
        ("bash", LS),
        streamed_only=True,
        whole_pieces=True,
    ),
    row(
        "1.5 the name comes late",
        [calls(call(0, "a", None, '{"command": ')), calls(call(0, "a", "bash", '"ls"}'))],
        ("bash", LS),
    ),
    row(
        "1.5 the name only in the id",
        [calls(call(0, "functions.bash:0", "", LS))],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 no name, arguments that fit one tool",
        [calls(call(0, "call_1", None, LS))],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 no name, arguments that fit none",
        [calls(call(0, "call_1", None, '{"x": 1}'))],
        invalid=[("", '{"x": 1}')],
        whole_calls=None,
    ),
    row(
        "1.5 the native id in the name's place",
        [calls(call(0, "", "functions.bash:0", LS))],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 an unknown name is passed on",
        [calls(call(0, "a", "other", LS))],
        ("other", LS),
        whole_calls=None,
    ),
    row(
        "1.5 arguments as an object",
        [calls(call(0, "a", "bash", {"command": "ls"}))],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 arguments as an object with a number beyond 64 bits",
        [calls(call(0, "a", "note", {"title": 123456789012345678901234567890}))],
        ("note", '{"title": 123456789012345678901234567890}'),
        whole_calls=None,
    ),
    row("1.5 arguments null", [calls(call(0, "a", "clock", None))], ("clock", "{}"), whole_calls=None),
    row("1.5 arguments empty", [calls(call(0, "a", "clock", ""))], ("clock", "{}"), whole_calls=None),
    row(
        "1.5 arguments the word null",
        [calls(call(0, "a", "clock", "null"))],
        ("clock", "{}"),
        whole_calls=None,
    ),
    row(
        "1.5 arguments beside the function",
        [calls({"index": 0, "name": "bash", "arguments": LS})],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 double-encoded",
        [calls(call(0, "a", "bash", '"{\\"command\\": \\"ls\\"}"'))],
        ("bash", LS),
        whole_calls=None,
    ),
    row(
        "1.5 a string inside stays one: kimi-cli#2406",
        [calls(call(0, "a", "note", '{"title": "[1]"}'))],
        ("note", '{"title": "[1]"}'),
        whole_calls=None,
    ),
    row(
        "1.5 literal newlines: kimi-cli#1378",
        [calls(call(0, "a", "bash", '{"command": "a\nb\tc"}'))],
        ("bash", '{"command": "a\\nb\\tc"}'),
        whole_calls=None,
    ),
    row(
        "1.5 escapes that a cut may hit",
        [calls(call(0, "a", "bash", '{"command": "a\\"b\\\\"}'))],
        ("bash", '{"command": "a\\"b\\\\"}'),
        whole_calls=None,
    ),
    row(
        "1.5 in a code fence",
        [calls(call(0, "a", "bash", f"```json\n{LS}\n```"))],
        ("bash", LS),
        whole_calls=None,
    ),
    row("1.5 half a code fence", [calls(call(0, "a", "bash", f"{LS}\n```"))], ("bash", LS), whole_calls=None),
    row(
        "1.5 a marker after the arguments",
        [calls(call(0, "a", "bash", f"{LS}<|tool_call_end|>\n"))],
        ("bash", LS),
        whole_calls=None,
    ),
    row("1.5 leading white space", [calls(call(0, "a", "bash", f" \n{LS}"))], ("bash", LS), whole_calls=None),
    row(
        "1.7 half characters in arguments",
        [calls(call(0, "a", "bash", '{"command": "\ud83d')), calls(call(0, None, None, '\ude80"}'))],
        ("bash", '{"command": "🚀"}'),
        whole_calls=[call(0, "a", "bash", '{"command": "🚀"}')],
    ),
    row(
        "1.5 not JSON",
        [calls(call(0, "a", "bash", "{'command': 'ls'}"))],
        invalid=[("bash", "{'command': 'ls'}")],
        whole_calls=None,
    ),
    row(
        "1.5 not an object", [calls(call(0, "a", "bash", "[1]"))], invalid=[("bash", "[1]")], whole_calls=None
    ),
    row("1.5 a number", [calls(call(0, "a", "bash", 7))], invalid=[("bash", "7")], whole_calls=None),
    row(
        "1.5 NaN is not JSON",
        [calls(call(0, "a", "bash", '{"command": NaN}'))],
        invalid=[("bash", '{"command": NaN}')],
        whole_calls=None,
    ),
    row(
        "1.5 text after the arguments",
        [calls(call(0, "a", "bash", LS + " and more"))],
        invalid=[("bash", LS + " and more")],
        whole_calls=None,
    ),
    row(
        "1.5 incomplete although the reason is tool_calls",
        [calls(call(0, "a", "bash", '{"command": "ls"'))],
        invalid=[("bash", '{"command": "ls"')],
        whole_calls=None,
    ),
    row(
        "1.1 the id of an earlier turn",
        [calls(call(0, "functions.bash:0", "bash", LS))],
        ("bash", LS, "functions.bash:3"),
        history=History(frozenset({"functions.bash:0"}), 3),
        whole_calls=None,
    ),
    row(
        "1.1 a made-up id counts on",
        [calls(call(0, "", "bash", LS))],
        ("bash", LS, "functions.bash:2"),
        history=History(frozenset({"call_1", "call_2"}), 2),
        whole_calls=None,
    ),
    row("1.1 the id is a number", [calls(call(0, 0, "bash", LS))], ("bash", LS, "0"), whole_calls=None),
    row(
        "1.1 two calls with the id 0",
        [calls(call(0, "0", "bash", LS), call(1, "0", "bash", PS))],
        ("bash", LS, "0"),
        ("bash", PS, "functions.bash:1"),
        whole_calls=None,
    ),
]
