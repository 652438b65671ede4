"""Tells thinking from answer, for every way in which a server may mix them.

Two channels, one per wire field: the server's own thinking field, and the content, which may hold thinking
between `<think>` tags, behind an opening tag that was part of the prompt, or none. Both may hold leaked calls.
"""

from __future__ import annotations

from typing import Literal

from ._leaks import BareCalls, LeakCollector, LeakedCall
from ._markers import THINK_BEGIN, THINK_END, Scanner, Token, join_surrogates
from .events import TextDelta, ThinkingDelta

__all__ = ["ContentChannel", "ThinkingChannel"]

Delta = ThinkingDelta | TextDelta


class _Channel:
    """What both channels share: halves of characters, tokens, leaked calls."""

    __slots__ = ("_leaks", "_scanner", "_surrogate")

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._leaks = LeakCollector()
        self._surrogate = ""

    def feed(self, text: str) -> list[Delta]:
        """Take the next piece of the field's text."""
        text, self._surrogate = join_surrogates(self._surrogate, text)
        out: list[Delta] = []
        for item in self._scanner.feed(text):
            self._take(item, out)
        return out

    def finish(self) -> list[Delta]:
        """Return what was held back: nothing more will come."""
        out: list[Delta] = []
        if self._surrogate:
            self._surrogate = ""
            for item in self._scanner.feed("\ufffd"):
                self._take(item, out)
        for item in self._scanner.flush():
            self._take(item, out)
        rest = self._leaks.flush()
        if rest:
            self._plain(rest, out)
        self._end(out)
        return out

    @property
    def leaked(self) -> list[LeakedCall]:
        """The calls found so far."""
        return self._leaks.calls

    @property
    def _idle(self) -> bool:
        """Whether nothing from earlier has a bearing on the next piece."""
        return self._scanner.idle and not (self._surrogate or self._leaks.open)

    def _take(self, item: str | Token, out: list[Delta]) -> None:
        if isinstance(item, str):
            if self._leaks.open:
                self._leaks.text(item)
            else:
                self._plain(item, out)
        elif item.kind in (THINK_BEGIN, THINK_END):
            if self._leaks.open:
                self._leaks.text(item.text)
            else:
                self._think_tag(item, out)
        else:
            self._tool_token(item, out)

    def _tool_token(self, token: Token, out: list[Delta]) -> None:
        rest = self._leaks.token(token)
        if rest:
            self._plain(rest, out)

    def _plain(self, text: str, out: list[Delta]) -> None:
        raise NotImplementedError

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        raise NotImplementedError

    def _end(self, out: list[Delta]) -> None:
        raise NotImplementedError


class ThinkingChannel(_Channel):
    """The server's thinking field. Its tags are noise at either end, and text in between."""

    __slots__ = ("_pending_end", "_started")

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._pending_end = ""

    def feed(self, text: str) -> list[Delta]:
        if self._started and text.isascii() and "<" not in text and "`" not in text and self._idle:
            # Nothing to look for: the common case, and the hot path.
            return [ThinkingDelta(text)] if text else []
        return super().feed(text)

    @property
    def _idle(self) -> bool:
        return not self._pending_end and super()._idle

    def _plain(self, text: str, out: list[Delta]) -> None:
        if self._pending_end:
            if not text.strip():
                self._pending_end += text
                return
            text, self._pending_end = self._pending_end + text, ""
        self._started = self._started or bool(text.strip())
        out.append(ThinkingDelta(text))

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        if token.kind == THINK_END:
            self._pending_end += token.text
        elif self._started:
            self._plain(token.text, out)

    def _tool_token(self, token: Token, out: list[Delta]) -> None:
        self._pending_end = ""
        super()._tool_token(token, out)

    def _end(self, out: list[Delta]) -> None:
        self._pending_end = ""


class ContentChannel(_Channel):
    """The answer's field, which may begin with thinking."""

    __slots__ = ("_bare", "_gap", "_implicit", "_inline", "_separate", "_state", "bare_calls")

    def __init__(self, *, implicit: bool, tool_names: frozenset[str]) -> None:
        """Start a channel.

        Args:
            implicit: Whether text without an opening tag may turn out to be thinking. It is then held back
                until a closing tag, a tool call, separate thinking or the end decides.
            tool_names: The declared tools.
        """
        super().__init__()
        self._bare = BareCalls(tool_names)
        self.bare_calls: list[LeakedCall] = []
        self._implicit = implicit
        self._state: Literal["start", "held", "thinking", "text"] = "start"
        self._inline = False  # thinking came between tags in this turn
        self._separate = False  # thinking came in a field of its own in this turn
        # start: white space not yet shown; held: undecided text; thinking: white space that may precede the closing tag
        self._gap: list[str] = []

    def feed(self, text: str) -> list[Delta]:
        if self._state == "text" and text.isascii() and "<" not in text and "`" not in text and self._idle:
            # Nothing to look for: the common case, and the hot path.
            if self._bare.passes(text):
                return [TextDelta(text)] if text else []
        return super().feed(text)

    @property
    def _idle(self) -> bool:
        return not self._gap and super()._idle

    @property
    def inline(self) -> bool:
        """Whether thinking, even empty, came between tags."""
        return self._inline

    def separate_thinking(self) -> list[Delta]:
        """The server sends thinking in a field of its own, so what was held is text."""
        self._separate = True
        self._implicit = False
        return self.decide()

    def decide(self) -> list[Delta]:
        """Something follows that cannot follow undecided thinking: what was held is text."""
        out: list[Delta] = []
        if self._state == "held":
            self._state = "text"
            self._show("".join(self._take_gap()), out)
        return out

    def _plain(self, text: str, out: list[Delta]) -> None:
        if self._state == "thinking":
            self._think(text, out)
        elif self._state == "held":
            self._gap.append(text)
        elif self._state == "start":
            if not text.strip():
                self._gap.append(text)
                return
            self._gap.append(text)
            if self._implicit:
                self._state = "held"
            else:
                self._state = "text"
                self._show("".join(self._take_gap()), out)
        else:
            if self._gap:
                # White space right after the thinking belongs to the tags.
                text = text.lstrip()
                if not text:
                    return
                self._gap.clear()
            self._show(text, out)

    def _show(self, text: str, out: list[Delta]) -> None:
        if not self._scanner.in_code:
            text, calls = self._bare.feed(text)
            self.bare_calls += calls
        else:
            text = self._bare.take_held() + text
        if text:
            out.append(TextDelta(text))

    def _think(self, text: str, out: list[Delta]) -> None:
        text = "".join(self._take_gap()) + text
        stripped = text.rstrip()
        if len(stripped) < len(text):
            self._gap.append(text[len(stripped) :])
        if stripped:
            if not self._inline:
                stripped = stripped.lstrip()
                self._inline = True
            out.append(ThinkingDelta(stripped))

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        opening = token.kind == THINK_BEGIN
        if self._state == "thinking":
            if not opening:
                self._close(out)
            elif self._inline:
                self._think(token.text, out)
        elif opening and (self._state == "start" or (self._state == "text" and self._inline)):
            self._open()
        elif not opening and self._state == "held":
            held = "".join(self._take_gap()).strip()
            if held:
                self._inline = True
                out.append(ThinkingDelta(held))
            self._close(out)
        elif not opening and (self._state == "start" or self._inline):
            self._close(out)
        else:
            self._plain(token.text, out)

    def _open(self) -> None:
        self._gap.clear()
        self._state = "thinking"

    def _close(self, out: list[Delta]) -> None:
        self._inline = True
        self._state = "text"
        # Marks that white space up to the answer is to be dropped; empty, so that it is never shown.
        self._gap = [""]

    def _tool_token(self, token: Token, out: list[Delta]) -> None:
        if not token.kind and not self._leaks.open:
            return
        out += self.decide()
        held = self._bare.take_held()
        rest = self._leaks.token(token, held)
        if rest:
            self._plain(rest, out)

    def _take_gap(self) -> list[str]:
        gap, self._gap = self._gap, []
        return gap

    def _end(self, out: list[Delta]) -> None:
        out += self.decide()
        held = self._bare.take_held()
        if held:
            out.append(TextDelta(held))
