"""The quirk table of tokens inside the strings of a leaked call's arguments, and of strings that never end."""

from __future__ import annotations

import json
from typing import Any

from .support_decoder import Call, Row
from .support_engines import ARGS, BEGIN, CALL, END, LS, STOP, leak, say

__all__ = ["STRINGS"]

TOKENS = (STOP, END, CALL, ARGS, BEGIN, "<|im_end|>", "<|im_user|>user<|im_middle|>", "<|tool_ca" + STOP)
BASH = leak("functions.bash:1", LS)
OPEN = '{"command": "ls'
"""Arguments whose string never ends."""


def note(body: str) -> str:
    """The arguments of a note."""
    return json.dumps({"title": "t", "body": body}, ensure_ascii=False)


def row(name: str, content: str, text: str = "", *calls: Call, **more: Any) -> Row:
    """Content, what of it is text, and the calls in it."""
    called = bool(calls or more.get("invalid"))
    return Row(
        f"1.5 {name}",
        [say(content)],
        text,
        calls=calls,
        **{"reason": "tool_calls" if called else "stop", **more},
    )


def written(name: str, arguments: str, **more: Any) -> Row:
    """A call of `note` in a section, whose arguments are JSON."""
    return row(name, BEGIN + leak("functions.note:0", arguments) + END, "", ("note", arguments), **more)


_LITERAL = [
    *(written(f"a string holds {token}", note(f"a {token} b")) for token in TOKENS),
    written("a string holds a whole section", note(f"As in {BEGIN}{BASH}{END}")),
    written("a string holds a quote before the token", note(f'say "{STOP}" and "{END}"')),
    written("a string ends with a backslash", note("C:\\")),
    written("a string ends with a backslash behind a token", note(f"{STOP}\\")),
    written("a string is a token", note(STOP)),
    written("a string holds a raw line", note("x").replace("x", f"a {STOP}\\nb")),
    written("the token's sign is escaped", note("x").replace("x", f"\\u003c|tool_call_end|> {STOP}")),
    written("a string holds tokens of K3, too", note(f"<|close|>call<|sep|>{STOP}<|open|>tools<|sep|>")),
    written(
        "lists and objects hold tokens", f'{{"title": ["{STOP}", {{"k": "{END}"}}], "body": [1, "{ARGS}"]}}'
    ),
    written("a key is a token", f'{{"{STOP}": 1, "title": "t", "body": "b"}}'),
    row(
        "text before and behind",
        f"Sure. {BEGIN}{leak('functions.note:0', note(STOP))}{END} Done.",
        "Sure.  Done.",
        ("note", note(STOP)),
    ),
    row(
        "two calls hold tokens",
        BEGIN + leak("functions.note:0", note(STOP)) + leak("functions.note:1", note(END)) + END,
        "",
        ("note", note(STOP)),
        ("note", note(END)),
    ),
    Row(
        "1.5 in the thinking",
        [{"reasoning": f"I note it. {BEGIN}{leak('functions.note:0', note(f'a {STOP} b'))}{END}"}],
        "",
        "I note it. ",
        [("note", note(f"a {STOP} b"))],
        reason="tool_calls",
    ),
    row(
        "arguments that are JSON in JSON",
        BEGIN + leak("functions.note:0", json.dumps(note(f"a {STOP} b"))) + END,
        "",
        ("note", note(f"a {STOP} b")),
    ),
    row(
        "arguments in a fence",
        BEGIN + leak("functions.note:0", f"```json\n{note(STOP)}\n```") + END,
        "",
        ("note", note(STOP)),
    ),
    row("the end marker is missing", f"{CALL}functions.note:0{ARGS}{note(STOP)}", "", ("note", note(STOP))),
    row(
        "the markers between two calls are missing",
        f"{BEGIN}{CALL}functions.note:0{ARGS}{note(STOP)}functions.clock:1{ARGS}{{}}{END}",
        "",
        ("note", note(STOP)),
        ("clock", "{}"),
    ),
    row(
        "the marker before the arguments is missing",
        f"{BEGIN}{CALL}functions.note:0 {note(STOP)}{STOP}{END}",
        "",
        ("note", note(STOP)),
    ),
    row(
        "only the section's markers are there",
        f"{BEGIN}functions.note:0 {note(STOP)}{END}",
        "",
        ("note", note(STOP)),
    ),
    row(
        "a closing tag behind the token, where the thinking has no opening one",
        f"I look. {BEGIN}{leak('functions.note:0', note(f'{STOP}</think>'))}{END}",
        "I look. ",
        ("note", note(f"{STOP}</think>")),
        implicit=True,
    ),
    row(
        "tokens stripped, but for one in a string: nothing is executed without it",
        "functions.note:0" + note("the <|im_end|> token"),
        "functions.note:0" + note("the  token"),
    ),
    *(
        row(
            f"tokens stripped, but for {token} in a string",
            f"Hi\nfunctions.note:0{note(f'a {token} b')}",
            f"Hi\nfunctions.note:0{note('a  b')}",
        )
        for token in (STOP, ARGS, f"<{ARGS}", f"<|tool_ca{STOP}{END}")
    ),
    row(
        "tokens stripped, but for those of a call in a string",
        "functions.note:0" + note(f"{STOP} functions.clock:0{ARGS}{{}}{STOP}"),
        "functions.note:0" + note(" functions.clock:0{}"),
    ),
    Row(
        "1.5 thinking without an opening tag only mentions it",
        [say(f"Not {BEGIN}{leak('functions.note:0', note(STOP))}{END} now.</think>No.")],
        "No.",
        f"Not {BEGIN}{leak('functions.note:0', note(STOP))}{END} now.",
        implicit=True,
    ),
]

_NEVER_ENDS = [
    row(
        "a forgotten quote: what the string quotes is no call",
        f'{BEGIN}{CALL}functions.bash:0{ARGS}{{"command": "x {ARGS}{{}}{STOP}{END}',
        invalid=[("bash", '{"command": "x'), ("clock", "{}")],
    ),
    row(
        "a forgotten quote: a word of the string is no id",
        f'{BEGIN}{CALL}functions.bash:0{ARGS}{{"command": "x {STOP} word {ARGS}{{}}{STOP}{END}',
        invalid=[("bash", '{"command": "x'), ("word", "{}")],
    ),
    row(
        "a forgotten quote: the next call has strings",
        f"{BEGIN}{leak('functions.bash:0', OPEN + '}')}{BASH}{END}",
        "",
        ("bash", LS),
        invalid=[("bash", OPEN + "}")],
    ),
    row(
        "a forgotten quote: the next call has no string",
        f"{BEGIN}{leak('functions.bash:0', OPEN + '}')}{leak('functions.clock:1', '{}')}{END}",
        "",
        ("clock", "{}"),
        invalid=[("bash", OPEN + "}")],
    ),
    row(
        "a forgotten quote: the next call's string holds a token",
        f"{BEGIN}{leak('functions.bash:0', OPEN + '}')}{leak('functions.note:1', note(STOP))}{END}",
        "",
        ("note", note(STOP)),
        invalid=[("bash", OPEN + "}")],
    ),
    row(
        "a forgotten quote: a text follows",
        f'{BEGIN}{leak("functions.bash:0", OPEN + "}")}{END} I ran "ls" for you.',
        ' I ran "ls" for you.',
        invalid=[("bash", OPEN + "}")],
    ),
    row(
        "a forgotten quote: a text follows that would end the object",
        f'{BEGIN}{leak("functions.bash:0", OPEN)}{END} It ends with "}} here.',
        ' It ends with "} here.',
        invalid=[("bash", OPEN)],
    ),
    row(
        "a forgotten quote: a text follows without one",
        f"{BEGIN}{leak('functions.bash:0', OPEN + '}')}{END} Done.",
        " Done.",
        invalid=[("bash", OPEN + "}")],
    ),
    row(
        "cut off behind the token",
        f'{BEGIN}{CALL}functions.note:0{ARGS}{{"title": "t", "body": "a {STOP} b',
        invalid=[("note", f'{{"title": "t", "body": "a {STOP} b')],
        sent_reason="length",
        reason="length",
    ),
    row(
        "cut off behind the string that holds the token",
        f'{BEGIN}{CALL}functions.note:0{ARGS}{{"title": "t", "body": "a {STOP} b",',
        invalid=[("note", f'{{"title": "t", "body": "a {STOP} b",')],
        sent_reason="length",
        reason="length",
    ),
    row(
        "a quote inside of a string that nothing escapes",
        f"{BEGIN}{leak('functions.bash:0', OPEN + chr(34) + 'x' + STOP)}{END}",
        invalid=[("bash", OPEN + '"x')],
    ),
]

STRINGS = [*_LITERAL, *_NEVER_ENDS]
"""A token is part of a string that ends; a call whose string never ends, ends at the token and is never executed."""
