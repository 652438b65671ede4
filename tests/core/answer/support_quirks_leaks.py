"""The quirk table of tool calls and special tokens in the text; the numbers are those of the project's notes on Kimi."""

from __future__ import annotations

from typing import Any

from .support_decoder import Call, Row, call

__all__ = ["LEAKS"]

BEGIN, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"


def leak(name: str, arguments: str) -> str:
    """A call in Kimi's own notation."""
    return f"<|tool_call_begin|>{name}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def say(text: str) -> dict[str, Any]:
    return {"content": text}


def row(name: str, content: str, text: str | None = None, *calls: Call, **more: Any) -> Row:
    """Content, what of it is text (default: all), and the calls in it."""
    shown = content if text is None else text
    return Row(name, [say(content)], shown, calls=calls, reason="tool_calls" if calls else "stop", **more)


LS = '{"command": "ls"}'
CLOCK = leak("functions.clock:1", "{}")
BASH = leak("functions.bash:0", LS)
SEARCH = BEGIN + leak("functions.search:0", '{"query": "a"}') + END

LEAKS = [
    Row(
        "1.2 a call in the thinking, reason stop: K2#89",
        [
            {
                "reasoning": f"I will look. {BEGIN} <|tool_call_begin|> functions.bash:0 <|tool_call_argument_begin|> {LS} <|tool_call_end|> {END}"
            }
        ],
        "",
        "I will look. ",
        [("bash", LS, "functions.bash:0")],
        reason="tool_calls",
    ),
    row(
        "1.2 a call in the content after text: vllm#31207",
        f"Sure.\n{BEGIN}{BASH}{END}",
        "Sure.\n",
        ("bash", LS),
    ),
    Row(
        "1.2 newlines around every part",
        [
            say(
                f"{BEGIN}\n<|tool_call_begin|>\nfunctions.bash:0\n<|tool_call_argument_begin|>\n{LS}\n<|tool_call_end|>\n{END}\n"
            )
        ],
        "",
        None,
        [("bash", LS)],
        reason="tool_calls",
    ),
    row(
        "1.2 two calls in a section",
        BEGIN + BASH + leak("functions.clock:1", "{}") + END,
        "",
        ("bash", LS, "functions.bash:0"),
        ("clock", "{}", "functions.clock:1"),
    ),
    row(
        "1.2 several sections, text between them",
        f"One {BEGIN}{BASH}{END} two {BEGIN}{CLOCK}{END} three",
        "One  two  three",
        ("bash", LS),
        ("clock", "{}"),
    ),
    row(
        "1.2 the section in the singular: llama.cpp#17376",
        f"<|tool_call_section_begin|>{BASH}<|tool_call_section_end|>",
        "",
        ("bash", LS),
    ),
    Row(
        "1.2 reason tool_calls, no calls, the call in content and double-encoded: K2#26",
        [
            {
                "content": BEGIN + leak("functions.bash:0", '"{\\"command\\": \\"ls\\"}"') + END,
                "tool_calls": [],
            }
        ],
        "",
        None,
        [("bash", LS)],
        sent_reason="tool_calls",
        reason="tool_calls",
    ),
    row(
        "1.2 a broken rest: typeclaw#344",
        'note:0<|tool_call_argument_begin|>{"title": "a", "body": "b"}<|tool_calls_section_end|>',
        "",
        ("note", '{"title": "a", "body": "b"}'),
    ),
    row(
        "1.2 no section, no end markers: llama.cpp",
        f"Sure. <|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{LS}",
        "Sure. ",
        ("bash", LS),
    ),
    row(
        "1.2 no end marker, text after the object",
        f"<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{LS} Done.",
        " Done.",
        ("bash", LS),
    ),
    Row(
        "1.2 the markers between two calls are missing",
        [
            say(
                f"{BEGIN}<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{LS}functions.clock:1<|tool_call_argument_begin|>{{}}{END}"
            )
        ],
        "",
        None,
        [("bash", LS), ("clock", "{}")],
        reason="tool_calls",
    ),
    row(
        "1.2 the marker before the arguments is missing",
        f"{BEGIN}<|tool_call_begin|>functions.bash:0 {LS}<|tool_call_end|>{END}",
        "",
        ("bash", LS),
    ),
    row(
        "1.2 a call without arguments",
        f"{BEGIN}<|tool_call_begin|>functions.clock:0<|tool_call_end|>{END}",
        "",
        ("clock", "{}"),
    ),
    row(
        "1.2 tokens stripped: ik_llama.cpp",
        f"I will look.\nfunctions.bash:1{LS}",
        "I will look.\n",
        ("bash", LS, "functions.bash:1"),
    ),
    row(
        "1.2 tokens stripped, two calls with backticks in them",
        'functions.bash:1{"command": "echo `date"}\nfunctions.bash:2 {"command": "`ls`"}',
        "",
        ("bash", '{"command": "echo `date"}'),
        ("bash", '{"command": "`ls`"}'),
    ),
    Row(
        "1.2 tokens stripped, cut off",
        [say('functions.bash:1{"command": "rm -rf /tm')],
        "",
        None,
        invalid=[("bash", '{"command": "rm -rf /tm')],
        sent_reason="length",
        reason="length",
    ),
    row(
        "1.2 what only looks like a stripped call is text",
        "functions.other:1{}\nbash:x\nbash: 1\nsearch:1 {see below}\nI ran bash:1{}",
    ),
    row("1.2 a stripped call in a code block is text", f"Like so:\n```\nfunctions.bash:1{LS}\n```\n"),
    Row(
        "1.2 the end token as the only content beside a good call: ik_llama.cpp#958",
        [{"reasoning_content": "a", "content": "<|im_end|>", "tool_calls": [call(0, "x1", "bash", LS)]}],
        "",
        "a",
        [("bash", LS, "x1")],
        reason="tool_calls",
    ),
    Row("1.2 the end token as the only content", [say("<|im_end|>")], "", None, empty="nothing"),
    row(
        "1.2 role tokens around an answer: smg#1111",
        "<|im_assistant|>assistant<|im_middle|>Hello!<|im_end|>",
        "Hello!",
    ),
    Row(
        "1.2 role tokens in the thinking",
        [{"reasoning": "<|im_assistant|>a<|im_middle|>b<|im_end|>"}, say("c")],
        "c",
        "ab",
    ),
    row(
        "1.2 arguments in a code fence: llxprt",
        BEGIN + leak("functions.bash:0", f"```json\n{LS}\n```") + END,
        "",
        ("bash", LS),
    ),
    row(
        "1.2 another namespace: llxprt",
        BEGIN + leak("browser.search:1", '{"query": "a"}') + END,
        "",
        ("search", '{"query": "a"}'),
    ),
    row(
        "1.2 a hyphen in the name: sglang#20878",
        BEGIN + leak("functions.mcp__wiki__find-page:0", '{"page": "a"}') + END,
        "",
        ("mcp__wiki__find-page", '{"page": "a"}'),
    ),
    Row(
        "1.1 a foreign id that the model copied: sglang#25218",
        [say("xxxx </think>" + BEGIN + leak("call_2", '{"query": "xxxx"}') + END)],
        "",
        "xxxx",
        [("search", '{"query": "xxxx"}', "functions.search:0")],
        reason="tool_calls",
        implicit=True,
    ),
    Row(
        "1.1 a call that thinking without an opening tag only mentions",
        [say(f"I could write {SEARCH}, but no.</think>No.")],
        "No.",
        f"I could write {SEARCH}, but no.",
        implicit=True,
    ),
    Row(
        "1.1 a call that it only mentions, with half of a token in it",
        [say(f"Not {BASH.replace('<|tool_call_end', '<|tool_ca<|tool_call_end')}, but no.</think>No.")],
        "No.",
        f"Not {BASH}, but no.",
        implicit=True,
    ),
    *(
        Row(
            f"1.1 a tag behind a call that thinking only mentions, {place}",
            [{field: f"{before}Not {SEARCH}{tag} but no.{after}"}],
            after[8:],
            f"Not {SEARCH}{tag} but no.",
            empty=None if after else "thinking_only",
        )
        for place, field, before, tag, after in (
            ("opening, in the field", "reasoning", "", "<think>", ""),
            ("closing, in the field", "reasoning", "", "</think>", ""),
            ("opening, between tags", "content", "<think>", "<think>", "</think>No."),
        )
    ),
    *(
        Row(
            f"1.1 thinking that goes on behind a call without a section, {place}",
            [say(f"{tag}Not {BASH} now.</think>No.")],
            "No.",
            f"Not {BASH} now.",
            implicit=not tag,
        )
        for place, tag in (("without an opening tag", ""), ("between tags", "<think>"))
    ),
    Row(
        "1.1 one that it mentions, and one that it makes",
        [say(f"Not {SEARCH} but this:</think>" + BEGIN + leak("functions.bash:0", LS) + END)],
        "",
        f"Not {SEARCH} but this:",
        [("bash", LS)],
        reason="tool_calls",
        implicit=True,
    ),
    Row(
        "1.1 a call in what turns out to be the answer",
        [say(f"I look. {SEARCH} A moment.")],
        "I look.  A moment.",
        None,
        [("search", '{"query": "a"}')],
        reason="tool_calls",
        implicit=True,
    ),
    Row(
        "1.1 a closing tag and code within the arguments",
        [say("I look. " + BEGIN + leak("functions.search:0", '{"query": "`a</think>`"}') + END)],
        "I look. ",
        None,
        [("search", '{"query": "`a</think>`"}')],
        reason="tool_calls",
        implicit=True,
    ),
    row(
        "1.1 a bare counter as id",
        BEGIN + leak("0", '{"title": "a", "body": "b"}') + END,
        "",
        ("note", '{"title": "a", "body": "b"}'),
    ),
    *(
        Row(
            f"1.1 no first token, and {name}",
            [say(f"Hi {written}<|tool_call_argument_begin|>{{}}<|tool_call_end|>")],
            "Hi ",
            invalid=[(read, "{}")],
            reason="tool_calls",
        )
        for name, written, read in (("no id", "", "clock"), ("half an id", "functions.", "functions."))
    ),
    row("1.1 a dot before the number", BEGIN + leak("functions.bash.0", LS) + END, "", ("bash", LS)),
    Row(
        "1.1 an id that fits no tool",
        [say(BEGIN + leak("call_9", '{"nothing": 1}') + END)],
        "",
        None,
        invalid=[("call_9", '{"nothing": 1}')],
        reason="tool_calls",
    ),
    Row(
        "1.2 a misspelt name is not guessed: serach:0",
        [say(BEGIN + leak("functions.serach:0", '{"query": "a"}') + END)],
        "",
        None,
        invalid=[("serach", '{"query": "a"}')],
        reason="tool_calls",
    ),
    Row(
        "1.2 without declared tools nothing is called",
        [{"content": BEGIN + leak("functions.other:0", "{}") + END}],
        "functions.other:0{}",
        tools=[],
    ),
    Row(
        "1.2 leaked and structured: run once",
        [{"content": f"Sure. {BEGIN}{BASH}{END}", "tool_calls": [call(0, "c1", "bash", '{"command":"ls"}')]}],
        "Sure. ",
        None,
        [("bash", '{"command":"ls"}', "c1")],
        sent_reason="tool_calls",
        reason="tool_calls",
    ),
    Row(
        "1.2 half leaked and structured: run once",
        [
            {
                "reasoning": f'{BEGIN}<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{{"comm',
                "tool_calls": [call(0, "c1", "bash", '{"command":"ls"}')],
            }
        ],
        "",
        "",
        [("bash", '{"command":"ls"}')],
        sent_reason="tool_calls",
        reason="tool_calls",
    ),
    Row(
        "1.2 the same call in thinking and in content: run once",
        [{"reasoning": BASH, "content": BASH}],
        "",
        "",
        [("bash", LS)],
        reason="tool_calls",
    ),
    row(
        "1.2 equal calls with numbers of their own: both run",
        BEGIN + leak("functions.clock:0", "{}") + leak("functions.clock:1", "{}") + END,
        "",
        ("clock", "{}"),
        ("clock", "{}"),
    ),
    Row(
        "1.2 tokens inside structured arguments are literal",
        [
            {
                "tool_calls": [
                    call(0, "c1", "note", '{"title": "<think>", "body": "<|tool_call_begin|> x <|im_end|>"}')
                ]
            }
        ],
        "",
        None,
        [("note", '{"title": "<think>", "body": "<|tool_call_begin|> x <|im_end|>"}')],
        reason="tool_calls",
    ),
    row(
        "1.2 think tags inside leaked arguments are literal",
        BEGIN + leak("functions.note:0", '{"title": "<think>", "body": "`</think>"}') + END,
        "",
        ("note", '{"title": "<think>", "body": "`</think>"}'),
    ),
    Row(
        "1.2 a backtick inside leaked arguments opens no code",
        [
            say(
                BEGIN
                + leak("functions.bash:0", '{"command": "echo `a"}')
                + leak("functions.bash:1", '{"command": "b`"}')
                + END
                + " `x`"
            )
        ],
        " `x`",
        None,
        [("bash", '{"command": "echo `a"}'), ("bash", '{"command": "b`"}')],
        reason="tool_calls",
    ),
    row("1.2 tokens in a code span are literal", "It writes `<|tool_call_begin|>` first."),
    row("1.2 tokens in a long code span are literal", "It writes ``<|im_end|> ` `` last."),
    row("1.2 tokens in a fenced block are literal", f"So:\n```text\n{BEGIN}{BASH}{END}\n```\nDone."),
    row(
        "1.2 a fence of four holds one of three",
        "````\n```\n<|im_end|>\n```\n````\n<|im_end|>x",
        "````\n```\n<|im_end|>\n```\n````\nx",
    ),
    row(
        "1.2 a single backtick protects nothing",
        f"It`s time.\n{BEGIN}{BASH}{END}",
        "It`s time.\n",
        ("bash", LS),
    ),
    Row(
        "1.2 a block that never ends protects nothing",
        [
            say(
                "```python\nx = 1\n"
                + BEGIN
                + leak("functions.note:0", '{"title": "a", "body": "```\\n"}')
                + END
            )
        ],
        "```python\nx = 1\n",
        None,
        [("note", '{"title": "a", "body": "```\\n"}')],
        reason="tool_calls",
    ),
    row(
        "1.2 a token right behind a block's end is outside of it",
        f"```\nx\n```{BEGIN}{BASH}{END}",
        "```\nx\n```",
        ("bash", LS),
    ),
    row("1.2 look-alikes are shown", "a <| b, x < y, <thing>, <|other|>, <b> and a final <"),
    row("1.2 a final <| is shown", "a <|"),
    Row(
        "1.2 half a token at the end is not",
        [say("Hello <|tool_calls_sec")],
        "Hello ",
        None,
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.2 half an end marker after complete arguments",
        [say(f"<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{LS}<|tool_call_e")],
        "",
        None,
        [("bash", LS)],
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.2 a leaked call cut off by the limit",
        [say('<|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{"command": "rm -rf /tm')],
        "",
        None,
        invalid=[("bash", '{"command": "rm -rf /tm')],
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.2 a leaked call cut off before its arguments",
        [say("<|tool_call_begin|>functions.clock:0<|tool_call_argument_begin|>")],
        "",
        None,
        invalid=[("clock", "")],
        sent_reason="length",
        reason="length",
    ),
    row(
        "1.2 stray markers are hidden",
        "One <|tool_call_end|>two <|tool_calls_section_end|>three",
        "One two three",
    ),
    row(
        "1.2 no end of the section, and a text that only looks like a call",
        f"{BEGIN}{CLOCK}(bash:2{LS})",
        f"(bash:2{LS})",
        ("clock", "{}"),
    ),
    row("1.2 a section with nothing in it", f"One {BEGIN} {END}two", "One two"),
    row("1.2 prose in a section is given back", f"{BEGIN}I would rather not.{END}", "I would rather not."),
]
