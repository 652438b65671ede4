"""The rules, each a probe: an emulator is set up, the client is asked, what came of it is judged.

Nothing here knows which client it looks at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from benchmarks.conformance.base import QUESTION, TOOL, Peer, Reply
from benchmarks.conformance.wire import ANSWER, INDEXED, INDEXLESS, SPLIT_TEXT, SPLIT_TEXT_STREAM
from kimi_vertex_emulator import Call, Dialect, Emulator, Fault, Rules, Turn

__all__ = ["RULES", "Rule", "Verdict"]

Word: TypeAlias = Literal["yes", "partly", "no"]
Make: TypeAlias = type[Peer]
_NAME: Final = TOOL["function"]["name"]
_THINKING: Final = "The west gate, then. I should look it up."
_CALL: Final = Call(_NAME, {"gate": "west"})
_IMAGE: Final = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe found."""

    word: Word
    evidence: str = ""
    """A word or two on what was seen instead, or on how; empty where nothing needs to be said."""

    def __str__(self) -> str:
        return f"{self.word} ({self.evidence})" if self.evidence else self.word


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    title: str
    probe: Callable[[Make], Verdict]


@contextmanager
def _talk(make: Make, emulator: Emulator, *, usage: bool = False) -> Iterator[Peer]:
    with emulator:
        peer = make(emulator.base_url, usage=usage)
        try:
            yield peer
        finally:
            peer.close()


def _all(kept: dict[str, bool]) -> Verdict:
    """Yes if all holds, partly if some does; the evidence names what does not."""
    if all(kept.values()):
        return Verdict("yes")
    lost = ", ".join(name for name, held in kept.items() if not held)
    return Verdict("partly", f"not {lost}") if any(kept.values()) else Verdict("no")


def _thinking(dialect: Dialect) -> Callable[[Make], Verdict]:
    """Thinking and answer, each exactly and apart, from a stream and from a whole body."""

    def probe(make: Make) -> Verdict:
        kept: dict[str, bool] = {}
        words: list[str] = []
        for name, stream in (("streams", True), ("whole answers", False)):
            emulator = Emulator(dialect=dialect, chunking="token")
            emulator.enqueue(Turn(thinking=_THINKING, text="At 7:00."))
            with _talk(make, emulator) as peer:
                reply = peer.ask([peer.user(QUESTION)], stream=stream)
            # The space around a tag belongs to neither side.
            apart = reply.text.strip() == "At 7:00." and reply.error is None
            kept[name] = apart and reply.thinking.strip() == _THINKING
            words.append(_lost_thinking(reply, apart=apart))
        verdict = _all(kept)
        if verdict.word == "no" and set(words) == {"undeclared field"}:
            return Verdict("partly", words[0])
        return Verdict("no", words[0]) if verdict.word == "no" else verdict

    return probe


def _lost_thinking(reply: Reply, *, apart: bool) -> str:
    if reply.error is not None:
        return type(reply.error).__name__
    if not apart:
        return "in the answer" if "look it up" in reply.text else "answer lost"
    return "undeclared field" if reply.raw_thinking == _THINKING else "dropped"


def _thinking_back(make: Make) -> Verdict:
    emulator = Emulator()
    emulator.enqueue(Turn(thinking=_THINKING, tool_calls=[_CALL]), Turn(text=ANSWER))
    with _talk(make, emulator) as peer:
        _, second = _two_turns(peer)
        if second is None or second.error is not None:
            refused = second is not None and "reasoning_content is missing" in str(second.error)
            return Verdict("no", "refused" if refused else "error")
        sent = emulator.requests[-1].json["messages"]
    said = next(message for message in sent if message["role"] == "assistant")
    same = _THINKING in (said.get("reasoning_content"), said.get("reasoning"))
    return Verdict("yes") if same else Verdict("partly", "other text")


def _two_turns(peer: Peer) -> tuple[Reply, Reply | None]:
    """A question with a tool call, and the second turn with its result, both streamed."""
    history = [peer.user(QUESTION)]
    first = peer.ask(history, tools=True)
    if first.error is not None or not first.calls:
        return first, None
    history += [first.message, peer.result(first.calls[0].id, "7:00")]
    return first, peer.ask(history, tools=True)


def _wire_ids(emulator: Emulator) -> set[str]:
    ids: set[str] = set()
    for message in emulator.requests[-1].json["messages"]:
        ids |= {str(call.get("id")) for call in message.get("tool_calls") or ()}
        if message["role"] == "tool":
            ids.add(str(message.get("tool_call_id")))
    return ids


def _native_ids(make: Make) -> Verdict:
    # Lenient, so that a client which drops thinking can show what it does with ids.
    emulator = Emulator(strict=False)
    emulator.enqueue(Turn(thinking=_THINKING, tool_calls=[_CALL]), Turn(text=ANSWER))
    with _talk(make, emulator) as peer:
        _, second = _two_turns(peer)
        if second is None or second.error is not None:
            return Verdict("no", "error")
        return Verdict("yes") if _wire_ids(emulator) == {f"functions.{_NAME}:0"} else Verdict("no", "changed")


def _foreign_ids(make: Make) -> Verdict:
    emulator = Emulator(strict=False)
    emulator.enqueue(Turn(text=ANSWER))
    with _talk(make, emulator) as peer:
        history = [peer.user(QUESTION), peer.called("call_8fBq", _THINKING), peer.result("call_8fBq", "7:00")]
        if peer.ask(history, tools=True).text != ANSWER:
            return Verdict("no", "error")
        return (
            Verdict("yes")
            if _wire_ids(emulator) == {f"functions.{_NAME}:0"}
            else Verdict("no", "as they are")
        )


def _leaked(make: Make) -> Verdict:
    kept: dict[str, bool] = {}
    for name, stream in (("streams", True), ("whole answers", False)):
        emulator = Emulator(dialect="sglang-no-tool-parser", chunking="token")
        emulator.enqueue(Turn(thinking=_THINKING, tool_calls=[_CALL]))
        with _talk(make, emulator) as peer:
            reply = peer.ask([peer.user(QUESTION)], tools=True, stream=stream)
            answered = reply.error is None and bool(emulator.requests)
        run = [(call.name, call.arguments) for call in reply.calls] == [(_NAME, {"gate": "west"})]
        kept[f"recovered in {name}"], kept[f"hidden in {name}"] = run, answered and "<|" not in reply.text
    return _all(kept) if any(kept.values()) else Verdict("no", "shown")


def _parallel(make: Make) -> Verdict:
    kept: dict[str, bool] = {}
    for name, raw in (("interleaved", INDEXED), ("without index", INDEXLESS)):
        emulator = Emulator()
        emulator.enqueue(raw)
        with _talk(make, emulator) as peer:
            reply = peer.ask([peer.user(QUESTION)], tools=True)
        found = [(call.id, call.arguments) for call in reply.calls]
        kept[name] = found == [
            (f"functions.{_NAME}:{n}", {"gate": gate}) for n, gate in enumerate(("west", "east"))
        ]
    return _all(kept)


def _cut_call(make: Make) -> Verdict:
    emulator = Emulator()
    cut = Call(_NAME, '{"gate": "we')
    turn = Turn(thinking=_THINKING, tool_calls=[cut], finish_reason="length")
    emulator.enqueue(turn, turn)
    with _talk(make, emulator) as peer:
        replies = [peer.ask([peer.user(QUESTION)], tools=True, stream=stream) for stream in (True, False)]
        asked = len(emulator.requests)
    if asked < len(replies):
        return Verdict("no", "not asked")
    # Under a name that no tool has, a call is an error that the model is told.
    offered = [call for reply in replies for call in reply.calls if call.name == _NAME]
    if any(call.arguments is not None for call in offered):
        return Verdict("no", "executable")
    return Verdict("partly", "offered as text") if offered else Verdict("yes")


def _usage(make: Make) -> Verdict:
    usage = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}

    def reported(dialect: Dialect, *, option: bool) -> bool:
        emulator = Emulator(dialect=dialect)
        emulator.enqueue(Turn(text="At 7:00.", usage=usage))
        with _talk(make, emulator, usage=option) as peer:
            return peer.ask([peer.user(QUESTION)]).usage == 42

    # On the finish chunk without being asked for; at the end when asked for; inside the choice.
    servers: dict[str, Dialect] = {
        "from Vertex": "vertex",
        "from vLLM": "vllm-new",
        "from Moonshot": "moonshot",
    }
    kept = {name: reported(dialect, option=False) for name, dialect in servers.items()}
    if all(kept.values()) or not make.usage_option:
        return _all(kept)
    lost = ", ".join(name for name, dialect in servers.items() if not reported(dialect, option=True))
    return Verdict("partly", "with an option" + (f", not {lost}" if lost else ""))


def _error_event(make: Make) -> Verdict:
    kept: dict[str, bool] = {}
    for kind in ("error-event", "error-event-list"):
        emulator = Emulator()
        emulator.enqueue(_broken(kind))
        with _talk(make, emulator) as peer:
            reply = peer.ask([peer.user(QUESTION)])
        name = "in a list" if kind == "error-event-list" else "as an object"
        clear = reply.error is not None and "exhausted" in str(reply.error).lower()
        kept[name] = clear and bool(reply.text) and ANSWER.startswith(reply.text)
    return _all(kept)


def _broken(kind: str) -> Fault:
    # The head, two pieces of thinking and two of text: what broke is known, and a silent retry would show.
    return Fault(kind, after=5, turn=Turn(thinking=["The west", " gate."], text=ANSWER))


def _truncated(make: Make) -> Verdict:
    kept: dict[str, bool] = {}
    for kind in ("no-finish", "cut-mid"):
        emulator = Emulator()
        emulator.enqueue(_broken(kind))
        with _talk(make, emulator) as peer:
            reply = peer.ask([peer.user(QUESTION)])
        kept["after a clean end" if kind == "no-finish" else "after a cut"] = reply.error is not None
    return _all(kept)


def _retry_after(make: Make) -> Verdict:
    emulator = Emulator()
    emulator.enqueue(Fault("429", retry_after="1"), Turn(text=ANSWER))
    with _talk(make, emulator) as peer:
        start = time.monotonic()
        reply = peer.ask([peer.user(QUESTION)])
        took = time.monotonic() - start
        tried = len(emulator.requests)
    if tried < 2:
        return Verdict("no", "not retried")
    if reply.text != ANSWER:
        return Verdict("no", "error")
    waited = f"{took:.1f} s for 1 s"
    return Verdict("yes") if 1.0 <= took < 1.8 else Verdict("partly" if took > 1 else "no", waited)


def _line_separator(make: Make) -> Verdict:
    emulator = Emulator()
    emulator.enqueue(SPLIT_TEXT_STREAM)
    with _talk(make, emulator) as peer:
        reply = peer.ask([peer.user(QUESTION)])
    if reply.error is not None:
        return Verdict("no", type(reply.error).__name__)
    return Verdict("yes") if reply.text == SPLIT_TEXT else Verdict("no", "text lost")


def _forced_choice(make: Make) -> Verdict:
    emulator = Emulator(rules=Rules(refuse_forced_tool_choice=True))
    emulator.enqueue(Turn(thinking=_THINKING, tool_calls=[_CALL]))
    with _talk(make, emulator) as peer:
        reply = peer.ask([peer.user(QUESTION)], force=True)
    return Verdict("yes") if reply.error is None and reply.calls else Verdict("no", "refused")


def _image(make: Make) -> Verdict:
    emulator = Emulator()
    with _talk(make, emulator) as peer:
        reply = peer.ask([peer.user("What is this?", _IMAGE)])
        sent: list[Any] = emulator.requests
    if sent:
        return Verdict("no", "sent")
    return Verdict("yes") if reply.error is not None else Verdict("no", "dropped")


RULES: Final[dict[str, Rule]] = {
    "reasoning-content": Rule("Thinking read from `reasoning_content`", _thinking("vertex")),
    "reasoning": Rule("Thinking read from `reasoning`", _thinking("vllm-new")),
    "inline-tags": Rule("Thinking read from inline `<think>` tags", _thinking("vllm-no-parser")),
    "close-tag": Rule("Thinking read before a lone `</think>`", _thinking("close-tag-only")),
    "thinking-back": Rule("Thinking sent back in the second tool turn", _thinking_back),
    "native-ids": Rule("Native tool call ids kept on the wire", _native_ids),
    "foreign-ids": Rule("Foreign tool call ids rewritten on the wire", _foreign_ids),
    "leaked-tokens": Rule("Leaked tool tokens recovered and hidden", _leaked),
    "parallel-deltas": Rule("Parallel call deltas, also without `index`", _parallel),
    "cut-call": Rule("A call cut by the token limit is not executable", _cut_call),
    "usage": Rule("Usage in streams", _usage),
    "error-event": Rule("An error inside a stream is raised, the text before it kept", _error_event),
    "truncated": Rule("A truncated stream is detected", _truncated),
    "retry-after": Rule("`Retry-After` is honored", _retry_after),
    "line-separator": Rule("U+2028 and U+0085 stay intact", _line_separator),
    "forced-choice": Rule("A refused forced `tool_choice` is survived", _forced_choice),
    "image": Rule("An image for a text model is refused before sending", _image),
}
"""Every rule by its name, in the order of the table."""
