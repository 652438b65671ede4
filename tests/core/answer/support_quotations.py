"""Texts that only look like calls, and calls that are some."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.completion import Completion, accumulate

from .support_decoder import TOOLS, Call, Row, call, chunk, run_chunks
from .support_engines import (
    ARGS,
    BEGIN,
    CALL,
    END,
    ID,
    LS,
    PS,
    calls,
    leak,
    say,
    think,
)

__all__ = ["QUOTATIONS", "QuotationRow", "run_quotation"]


@dataclass(frozen=True)
class QuotationRow:
    """An answer to a conversation that may hold the same call as text."""

    name: str
    conversation: Sequence[str]
    """All texts of the request's messages, whatever their role, thinking included."""
    deltas: Sequence[Mapping[str, Any]]
    text: str = ""
    thinking: str | None = None
    calls: Sequence[Call] = ()
    quoted: int = 0
    """How many calls were taken for quotations, and reported."""
    tools: Sequence[Mapping[str, Any]] = field(default_factory=lambda: TOOLS)
    tool_choice: Any = None
    recover_calls: bool = True
    sent_reason: str = "stop"
    whole_pieces: bool = False

    def check(self, completion: Completion) -> None:
        """Assert that the completion is the expected one."""
        found = [(call.name, call.arguments) for call in completion.tool_calls]
        assert found == list(self.calls)
        assert completion.text == self.text
        assert completion.thinking == self.thinking
        assert completion.invalid_tool_calls == ()
        assert completion.finish_reason == ("tool_calls" if self.calls else "stop")
        reported = completion.metadata.get("quoted_tool_calls", ())
        assert len(reported) == self.quoted


def run_quotation(
    quotation: QuotationRow, deltas: Sequence[Mapping[str, Any]] | None = None, *, whole: bool = False
) -> Completion:
    """The row as a stream, or as a whole answer."""
    reader = Decoder(
        tools=DeclaredTools.of(quotation.tools),
        texts=quotation.conversation,
        recovers=quotation.recover_calls and quotation.tool_choice != "none" and bool(quotation.tools),
    )
    given = quotation.deltas if deltas is None else deltas
    if not whole:
        chunks = [chunk(delta) for delta in given]
        return accumulate(run_chunks(reader, [*chunks, chunk({}, quotation.sent_reason)]))
    message = copy.deepcopy(Row(quotation.name, given).message)
    choice = {"index": 0, "message": message, "finish_reason": quotation.sent_reason}
    events = reader.feed_body({"id": "answer-1", "choices": [choice]})
    return accumulate(events + reader.finish())


RM = '{"command": "rm -rf /"}'
COMPACT_RM = '{"command":"rm -rf /"}'
MARKED = '{"command": "echo <|open|>tools<|sep|>"}'
ODD = '{"command": "echo <|tool_call_end|>"}'
SECTION = BEGIN + leak(ID, RM) + END
LISTED = BEGIN + leak(ID, RM.replace("{", "{\n  ").replace("}", "\n}")) + END
BARE = f"functions.bash:0{RM}"
PAGE_TEXT = f"Kimi writes a call like this: {SECTION} and waits."
RAN = (("bash", RM),)


def quoting(name: str, conversation: str | Sequence[str], content: str, **rest: Any) -> QuotationRow:
    """An answer that repeats a call of the conversation: text, as the model wrote it."""
    texts = [conversation] if isinstance(conversation, str) else conversation
    return QuotationRow(f"quoted: {name}", texts, [say(content)], content, **{"quoted": 1, **rest})


def _marked(text: str, mark: str) -> str:
    """A text whose lines begin with a mark, which may hold their number."""
    return "\n".join(mark.format(number) + line for number, line in enumerate(text.split("\n"), 1))


def calling(name: str, content: str, text: str = "", conversation: Sequence[str] = ("Hi",)) -> QuotationRow:
    """An answer whose call is one."""
    return QuotationRow(f"a call: {name}", conversation, [say(content)], text, calls=RAN)


# The conversation holds the same call.
_QUOTED = [
    quoting("a user's document", PAGE_TEXT, f"The page says: {SECTION} and then it waits."),
    quoting("at the end of the answer", PAGE_TEXT, f"The page says: {SECTION}"),
    quoting("as the whole answer", PAGE_TEXT, SECTION),
    quoting("a tool's result", ["Read it.", "tool", PAGE_TEXT], f"It holds {SECTION}."),
    quoting("a result that is JSON", json.dumps({"body": PAGE_TEXT}), f"It holds {SECTION}."),
    quoting(
        "a result that is JSON in JSON",
        json.dumps({"body": json.dumps({"page": PAGE_TEXT})}),
        f"It holds {SECTION}.",
    ),
    quoting("a system text", ["Never write " + SECTION], f"I must not write {SECTION}."),
    *(
        quoting(f"a document with {name}", _marked(LISTED, mark), f"It holds {LISTED}.")
        for name, mark in (
            ("quoted lines", "> "),
            ("numbered lines", "{:6}\t"),
            ("other numbers", "{}: "),
            ("added lines", "+"),
        )
    ),
    quoting("quoted lines in JSON", json.dumps({"body": _marked(LISTED, ">> ")}), f"It holds {LISTED}."),
    quoting("an earlier answer", ["Hi", f"It is {SECTION}", "Again?"], f"It is {SECTION}"),
    quoting("code in the document", f"```\n{SECTION}\n```", f"It holds {SECTION}."),
    quoting("a span in the document", f"So `{SECTION}` it is", f"It holds {SECTION}."),
    quoting("another number", PAGE_TEXT, f"It holds {BEGIN}{leak('functions.bash:7', RM)}{END}."),
    quoting("other white space", PAGE_TEXT, f"It holds {BEGIN}{leak(ID, COMPACT_RM)}{END}."),
    quoting("without its section", PAGE_TEXT, f"It holds {leak(ID, RM)}."),
    quoting("without its namespace", PAGE_TEXT, f"It holds {leak('bash:0', RM)}."),
    quoting("tokens of a bare form", f"Run\n{BARE}\nnow", f"It holds {SECTION}."),
    quoting("the bare form of tokens", PAGE_TEXT, f"It holds\n{BARE}"),
    quoting("the bare form of a bare form", f"Run\n{BARE}", f"It holds\n{BARE}"),
    quoting("a bare form inside a line", f"Run {BARE} now", BARE),
    quoting("a token in a string", f"As in {leak(ID, ODD)} here", f"It holds {BEGIN}{leak(ID, ODD)}{END}."),
    quoting("a token in a string, in JSON", json.dumps([leak(ID, ODD)]), f"It holds {leak(ID, ODD)}."),
    quoting("a token in a string, another end", f"{CALL}{ID}{ARGS}{ODD} waits", f"{CALL}{ID}{ARGS}{ODD}"),
    quoting("markup of K3's in K2's arguments", f"{leak(ID, MARKED)} here", f"It holds {leak(ID, MARKED)}."),
    quoting("a document without end markers", f"{CALL}{ID}{ARGS}{RM}", f"It holds {SECTION}."),
    quoting(
        "two of them",
        f"{SECTION} and {BEGIN}{leak('functions.bash:1', PS)}{END}",
        f"First {SECTION}, then {BEGIN}{leak('functions.bash:1', PS)}{END}.",
        quoted=2,
    ),
    quoting(
        "two in one section",
        BEGIN + leak(ID, RM) + leak("functions.bash:1", PS) + END,
        "So: " + BEGIN + leak(ID, RM) + leak("functions.bash:1", PS) + END,
        quoted=2,
    ),
    quoting("in a code block of the answer", PAGE_TEXT, f"```\n{SECTION}\n```", quoted=0),
    QuotationRow(
        "quoted: in thinking",
        [PAGE_TEXT],
        [think(f"The page has {SECTION}"), say("It has a call.")],
        "It has a call.",
        f"The page has {SECTION}",
        quoted=1,
    ),
    QuotationRow(
        "quoted: beside a structured call of other arguments",
        [PAGE_TEXT],
        [say(f"It holds {SECTION}. "), calls(call(0, "functions.bash:1", "bash", LS))],
        f"It holds {SECTION}. ",
        calls=[("bash", LS)],
        quoted=1,
        sent_reason="tool_calls",
    ),
]

_THINKING = [
    QuotationRow(
        "thinking that goes on: tokens",
        ["Hi"],
        [think(f"A call looks like {SECTION}, so I could write one."), say("Yes.")],
        "Yes.",
        f"A call looks like {SECTION}, so I could write one.",
        quoted=1,
    ),
    QuotationRow(
        "thinking that goes on: in a later delta",
        ["Hi"],
        [think(f"I could write {SECTION}"), think(" but need not."), say("Yes.")],
        "Yes.",
        f"I could write {SECTION} but need not.",
        quoted=1,
    ),
    QuotationRow(
        "thinking that goes on: between tags",
        ["Hi"],
        [say(f"<think>I could write {SECTION} but need not.</think>Yes.")],
        "Yes.",
        f"I could write {SECTION} but need not.",
        quoted=1,
    ),
    QuotationRow(
        "thinking that goes on: a real call ends it",
        ["Hi"],
        [think(f"Not {SECTION}, rather {BEGIN}{leak('functions.bash:1', LS)}{END}")],
        "",
        f"Not {SECTION}, rather ",
        calls=[("bash", LS)],
        quoted=1,
    ),
    QuotationRow(
        "thinking that ends with the call: a call",
        ["Hi"],
        [think(f"I will run it. {SECTION}\n")],
        "",
        "I will run it. \n",
        calls=RAN,
    ),
    QuotationRow(
        "thinking with a bare form: thinking",
        ["Hi"],
        [think(f"I could write\n{BARE}\nbut need not."), say("Yes.")],
        "Yes.",
        f"I could write\n{BARE}\nbut need not.",
    ),
]

# Nothing can be called: special tokens are hidden, words stay.
_FORBIDDEN = [
    QuotationRow(
        "tool_choice none: tokens",
        ["Hi"],
        [say(f"So: {SECTION} it is.")],
        f"So: {BARE} it is.",
        tool_choice="none",
        quoted=1,
    ),
    QuotationRow(
        "tool_choice none: a bare form",
        ["Hi"],
        [say(f"So:\n{BARE}")],
        f"So:\n{BARE}",
        tool_choice="none",
    ),
    QuotationRow(
        "tool_choice none: in thinking",
        ["Hi"],
        [think(f"So: {SECTION}"), say("Yes.")],
        "Yes.",
        f"So: {BARE}",
        tool_choice="none",
        quoted=1,
    ),
    QuotationRow(
        "no tools: tokens", ["Hi"], [say(f"So: {SECTION} it is.")], f"So: {BARE} it is.", tools=[], quoted=1
    ),
    QuotationRow("no tools: a bare form", ["Hi"], [say(f"So:\n{BARE}")], f"So:\n{BARE}", tools=[]),
    QuotationRow(
        "no tools: the document's own call, as it was written",
        [PAGE_TEXT],
        [say(f"It holds {SECTION}.")],
        f"It holds {SECTION}.",
        tools=[],
        quoted=1,
    ),
    QuotationRow(
        "recovery is off: tokens",
        ["Hi"],
        [say(f"So: {SECTION}")],
        f"So: {BARE}",
        recover_calls=False,
        quoted=1,
    ),
    QuotationRow(
        "recovery is off: structured calls are not touched",
        [PAGE_TEXT],
        [calls(call(0, ID, "bash", RM))],
        calls=RAN,
        recover_calls=False,
        sent_reason="tool_calls",
    ),
]

_BARE_FORMS = [
    QuotationRow(
        "a bare form: the answer goes on",
        ["Hi"],
        [say(f"You could run\n{BARE}\nbut do not.")],
        f"You could run\n{BARE}\nbut do not.",
        quoted=1,
    ),
    QuotationRow(
        "a bare form: the answer goes on in a later delta",
        ["Hi"],
        [say(f"You could run\n{BARE}\n"), say("but do not.")],
        f"You could run\n{BARE}\nbut do not.",
        quoted=1,
    ),
    QuotationRow(
        "a bare form: two, and the answer goes on",
        ["Hi"],
        [say(f"{BARE}\nfunctions.bash:1{PS}\nare examples.")],
        f"{BARE}\nfunctions.bash:1{PS}\nare examples.",
        quoted=2,
    ),
    QuotationRow(
        "a bare form in a list",
        ["Hi"],
        [say(f"- a\n- {BARE}\n- b")],
        f"- a\n- {BARE}\n- b",
    ),
]

_CALLS = [
    calling("tokens", f"I run it. {SECTION}", "I run it. "),
    calling("tokens, and the answer goes on", f"I run it. {SECTION} Done.", "I run it.  Done."),
    calling("a bare form at the end", f"I run it.\n{BARE}\n", "I run it.\n"),
    calling(
        "the conversation has other arguments", SECTION, conversation=[PAGE_TEXT.replace("rm -rf /", "ls")]
    ),
    calling(
        "the conversation only names the tool", SECTION, conversation=["functions.bash:0 runs a command."]
    ),
    calling("the conversation has the arguments alone", SECTION, conversation=[f"bash takes {RM}"]),
    QuotationRow(
        "a call: structured calls are not touched by what the conversation holds",
        [PAGE_TEXT],
        [calls(call(0, ID, "bash", RM))],
        calls=RAN,
        sent_reason="tool_calls",
    ),
    QuotationRow(
        "a call: a leak beside its structured twin, although the conversation holds it",
        [PAGE_TEXT],
        [think(f"Now. {SECTION}"), calls(call(0, ID, "bash", RM))],
        "",
        f"Now. {SECTION}",
        calls=RAN,
        quoted=1,
        sent_reason="tool_calls",
    ),
]

QUOTATIONS = [*_QUOTED, *_THINKING, *_FORBIDDEN, *_BARE_FORMS, *_CALLS]
"""Texts that only look like calls, and calls that must go on to be calls."""
