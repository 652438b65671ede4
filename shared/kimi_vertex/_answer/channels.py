"""Tells thinking from answer, for every way in which a server may mix them.

There are two channels, one for each field of the wire: the server's own field for thinking, and the content, which
may hold thinking between `<think>` tags, thinking whose opening tag was part of the prompt, or no thinking at all.
Both may hold leaked calls.
"""

from __future__ import annotations

from typing import Literal

from kimi_vertex.events import TextDelta, ThinkingDelta

from .bare_calls import BareCalls
from .channel import Channel, Delta, merged
from .leaked_calls import Judge, LeakedCall
from .markers import (
    ARGUMENTS_BEGIN,
    HALF,
    HALF_TAG,
    HIDDEN,
    OF_CALLS,
    OF_ELEMENTS,
    SECTION_END,
    TAGS,
    THINK_BEGIN,
    THINK_END,
    Markers,
    Token,
)

__all__ = ["ContentChannel", "ThinkingChannel"]


class ThinkingChannel(Channel):
    """The server's field for thinking. Tags at either end of it are noise; in between they are text."""

    def __init__(self, markers: Markers, judge: Judge) -> None:
        super().__init__(markers, judge)
        self._leaks.waits = True
        self._started = False
        self._answering: Literal["no", "gap", "yes"] = "no"
        """Whether the field has gone on to the answer, as far as text or to the white space before it."""
        self.skipped = False
        """Whether what was shown as thinking was the answer, because the model did not think."""

    def feed(self, text: str) -> list[Delta]:
        if self._flowing and (("<" not in text and text.isascii()) or self._is_plain(text)):
            # The common case, and the hot path.
            self._pass_by(text)
            return [ThinkingDelta(text)]
        return super().feed(text)

    def _flows(self) -> bool:
        return self._started and self._answering == "no"

    def _open_think(self, out: list[Delta]) -> None:
        self._answering, self._leaks.waits = "no", True

    def _close_think(self, out: list[Delta]) -> None:
        if self._answering == "no":
            self._answer("gap", out)

    def _open_response(self, out: list[Delta]) -> None:
        self._answer("yes", out)

    def _close_response(self, out: list[Delta]) -> None:
        if self._answering == "no":
            self.skipped = self._started
        self._answer("gap", out)

    def _answer(self, answering: Literal["gap", "yes"], out: list[Delta]) -> None:
        self._give_back(self._leaks.settle(), out)
        self._answering, self._leaks.waits = answering, False

    def _between(self) -> bool:
        return self._answering == "gap"

    def _plain(self, text: str, out: list[Delta]) -> None:
        if self._answering != "no":
            if self._answering == "gap":
                text = text.lstrip()
            if text:
                self._answering = "yes"
                out.append(TextDelta(text))
            return
        self._started = self._started or not text.isspace()
        out.append(ThinkingDelta(text))

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        if self._raw:
            self._read(token.text, out, last=False)
        elif not self._started or token.kind == HALF_TAG or self._leaks.open:
            return
        elif token.kind == THINK_BEGIN:
            self._read(token.text, out, last=False)
        else:
            self._leaks.hold(token.text)


class ContentChannel(Channel):
    """The answer's field, which may begin with thinking.

    - start: only white space so far.
    - held: text that is thinking if a closing tag follows, and the answer if none does. From the first call in it on,
      everything is kept as it came: in the answer it is a call, in thinking that goes on a quotation.
    - thinking: between tags.
    - after: only white space since the closing tag, which is the template's and not the answer's.
    - text: the answer.
    """

    def __init__(self, markers: Markers, judge: Judge, *, implicit: bool, tool_names: frozenset[str]) -> None:
        """Start a channel.

        Args:
            markers: The model's special tokens.
            judge: Tells calls from quotations.
            implicit: Whether text without an opening tag may turn out to be thinking. It is then held back
                until a closing tag, a tool call, separate thinking or the end decides.
            tool_names: The declared tools.
        """
        super().__init__(markers, judge)
        self._bare = BareCalls(tool_names, judge) if tool_names and judge.recovers else None
        self._implicit = implicit
        self._state: Literal["start", "held", "thinking", "after", "text"] = "start"
        self._before: Literal["start", "text"] = "start"  # what thinking between tags interrupts
        self._inline = False
        self._separate = False
        # start, after: white space that is not shown yet; held: undecided text; thinking: white space that may end it
        self._gap: list[str] = []
        self._kept: list[str | Token] = []
        self._part = SECTION_END  # the last token of a call in it

    def feed(self, text: str) -> list[Delta]:
        if self._flowing and (("<" not in text and text.isascii()) or self._is_plain(text)):
            # The common case, and the hot path.
            self._pass_by(text)
            if self._bare is not None:
                text = self._bare.feed(text)
            return [TextDelta(text)] if text else []
        return super().feed(text)

    def _flows(self) -> bool:
        return self._state == "text"

    @property
    def inline(self) -> bool:
        """Whether thinking, even empty, came between tags."""
        return self._inline

    @property
    def leaked(self) -> list[LeakedCall]:
        return self._leaks.calls + (self._bare.calls if self._bare is not None else [])

    @property
    def opened_by_tag(self) -> bool:
        """Whether thinking is going on that an opening tag began."""
        return self._state == "thinking"

    def close_thinking(self) -> list[Delta]:
        """Note that the thinking between tags is over, although its closing tag did not come."""
        out: list[Delta] = []
        self._think_tag(Token(THINK_END, ""), out)
        return merged(out)

    @property
    def undecided(self) -> bool:
        """Whether text is being held back because it may be thinking."""
        return self._state == "held"

    def separate_thinking(self) -> list[Delta]:
        """Note that the server has a field for thinking: what was held is text. Tags still mean more of it."""
        self._separate = True
        self._implicit = False
        return self.decide()

    def decide(self) -> list[Delta]:
        """Return what was held as text, because something follows that cannot follow undecided thinking."""
        out: list[Delta] = []
        if self._state == "held":
            self._state = "text"
            for text in self._take_gap():
                self._show(text, out)
            self._read_kept(out)
        return merged(out)

    def _in_call(self) -> bool:
        return self._part not in (SECTION_END, HIDDEN) if self._kept else super()._in_call()

    def _read(self, item: str | Token, out: list[Delta], *, last: bool) -> None:
        bare, kind = self._bare, None if isinstance(item, str) else item.kind
        if bare is not None and bare.in_string and isinstance(item, Token) and kind not in TAGS | OF_ELEMENTS:
            bare.take_token(item.text)
        elif self._state == "held" and (kind in OF_CALLS or (self._kept and kind == HIDDEN)):
            self._kept.append(item)
            self._part = kind
        elif not self._kept:
            super()._read(item, out, last=last)
        elif kind == THINK_END and self._part != ARGUMENTS_BEGIN:
            held = "".join(self._take_gap())
            self._open()
            self._think(held, out)
            self._read_kept(out)
            super()._read(item, out, last=last)
        elif kind in (None, HALF) or kind in TAGS:
            self._kept.append(item)
        else:
            out += self.decide()
            super()._read(item, out, last=last)

    def _read_kept(self, out: list[Delta]) -> None:
        """Read what was kept, now that it is known where it stands."""
        kept, self._kept, self._part = self._kept, [], SECTION_END
        for item in kept:
            super()._read(item, out, last=False)

    def _open_think(self, out: list[Delta]) -> None:
        out += self.decide()
        self._open()
        self._inline = True

    def _close_think(self, out: list[Delta]) -> None:
        state = self._state
        if state == "held":
            held = "".join(self._take_gap())
            out.append(ThinkingDelta(held if self._raw else held.strip()))
        elif state == "thinking":
            self._end_thinking(out)
        if state in ("start", "held", "thinking"):
            self._close()

    def _end_thinking(self, out: list[Delta]) -> None:
        """Give out what thinking ends with: in K3's markup, white space counts."""
        self._give_back(self._leaks.settle(), out)
        out.extend(ThinkingDelta(text) for text in self._take_gap() if self._raw)

    def _open_response(self, out: list[Delta]) -> None:
        if self._state in ("held", "thinking"):
            self._close_think(out)
        self._take_gap()
        self._state = "text"

    def _close_response(self, out: list[Delta]) -> None:
        if self._state == "thinking":
            self._close_think(out)
        out += self.decide()
        self._take_gap()
        self._state = "after"

    def _in_markup(self, out: list[Delta]) -> None:
        super()._in_markup(out)
        # A server that lets tokens through strips none, so that no call is without.
        if self._bare is not None and (before := self._bare.take_held()):
            out.append(TextDelta(before))
        self._bare = None

    def _before_section(self, out: list[Delta]) -> None:
        if self._state == "held":
            # What follows the section shows whether the thinking only mentioned it.
            self._think_on(out)
        elif self._state == "start":
            self._take_gap()

    def _between(self) -> bool:
        return self._state == "after"

    def _think_on(self, out: list[Delta]) -> None:
        held = "".join(self._take_gap())
        self._open()
        self._raw = self._inline = True
        out.append(ThinkingDelta(held))

    def _turn_ends(self, out: list[Delta]) -> None:
        if self._state == "thinking":
            self._end_thinking(out)
        super()._turn_ends(out)

    def _outside_code(self) -> None:
        if self._bare is not None:
            self._bare.outside_code()

    def _plain(self, text: str, out: list[Delta]) -> None:
        if self._state == "thinking":
            self._think(text, out)
        elif self._state == "held":
            self._gap.append(text)
        elif self._state in ("start", "after"):
            self._gap.append(text)
            if not text.isspace():
                self._begin(out)
        else:
            self._show(text, out)

    def _begin(self, out: list[Delta]) -> None:
        """Decide what the first word begins."""
        if self._implicit and self._state == "start":
            self._state = "held"
            return
        text = "".join(self._take_gap())
        self._show(_without_lead(text) if self._state == "after" else text, out)
        self._state = "text"

    def _show(self, text: str, out: list[Delta]) -> None:
        if self._bare is not None:
            text = self._bare.feed(text)
        if text:
            out.append(TextDelta(text))

    def _think(self, text: str, out: list[Delta]) -> None:
        self._gap.append(text)
        if self._raw:
            out.append(ThinkingDelta("".join(self._take_gap())))
            return
        stripped = text.rstrip()
        if not stripped:
            return
        whole = "".join(self._take_gap())
        if len(stripped) < len(text):
            self._gap.append(text[len(stripped) :])
            whole = whole[: len(stripped) - len(text)]
        out.append(ThinkingDelta(whole if self._inline or self._before == "text" else whole.lstrip()))
        self._inline = True

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        kind, state = token.kind, self._state
        if self._leaks.open and not (state == "thinking" and kind == THINK_END):
            return  # between calls, it is no text
        if self._raw:
            self._read(token.text, out, last=False)
        elif kind == THINK_END and state in ("start", "held", "thinking"):
            self._close_think(out)
        elif state == "start":
            if kind == THINK_BEGIN:
                self._open()
            else:
                self._gap.append(token.text)  # text, unless nothing but a closing tag follows
        elif state in ("held", "thinking"):
            if kind == THINK_BEGIN and (self._inline or state == "held"):
                self._read(token.text, out, last=False)
        elif self._inline or self._separate:
            if kind == THINK_BEGIN:
                self._open()
        else:
            self._plain(token.text, out)

    def _open(self) -> None:
        self._before = "text" if self._separate and self._state == "text" else "start"
        self._gap = []
        self._state = "thinking"
        self._leaks.waits = True

    def _close(self) -> None:
        """End the thinking. What follows is trimmed if nothing came before it."""
        self._inline = self._inline or not self._separate
        self._state = "after" if self._before == "start" else "text"
        self._gap = []
        self._leaks.waits = False

    def _tool_token(self, token: Token, out: list[Delta]) -> None:
        if token.kind != HIDDEN or self._leaks.open:
            out += self.decide()
            before = self._bare.take_held() if self._bare is not None and not self._leaks.open else ""
            if before and token.kind != ARGUMENTS_BEGIN:
                out.append(TextDelta(before))
                before = ""
            self._give_back(self._leaks.token(token, before), out)

    def _take_gap(self) -> list[str]:
        gap, self._gap = self._gap, []
        return gap

    def _end(self, out: list[Delta], *, cut: bool) -> None:
        out += self.decide()
        self._give_back(self._leaks.flush(), out)
        rest = self._bare.finish(cut=cut) if self._bare is not None else ""
        if rest:
            out.append(TextDelta(rest))


def _without_lead(text: str) -> str:
    """Text without the blank lines, or the one space, that separate it from the thinking. Indentation stays."""
    words = text.lstrip()
    lead = text[: len(text) - len(words)]
    indent = lead[lead.rfind("\n") + 1 :]
    return words if indent == " " else indent + words
