"""Which figures are set side by side, and the goals of the project for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from benchmarks.probes import Operation, Probe
from benchmarks.scenarios import Scenario

__all__ = ["IMPORTS", "Comparison", "Row", "Section", "sections"]

Comparison: TypeAlias = Literal["ratio", "excess"]

MEDIUM: Final = Scenario(thinking=400, text=400)
EACH: Final = Scenario(thinking=400, text=400, write="each")
TOOLS: Final = Scenario(thinking=100, calls=2, fragments=150)
FIRST: Final = Scenario(thinking=1, text=8)
PACED: Final = Scenario(thinking=1, text=100, write="paced", pause=2)
WHOLE: Final = Scenario(whole=200_000)
REPLY: Final = Scenario(whole=100)
MANY: Final = Scenario(thinking=1, text=40, write="paced", pause=20)

IMPORTS: Final = {
    "import httpx": "import httpx",
    "import langchain-core": "import langchain_core.language_models.chat_models",
    "import llama-index-core": "import llama_index.core.llms",
    "import kimi_vertex": "import kimi_vertex",
    "import langchain_kimi_vertex": "import langchain_kimi_vertex",
    "import llama_index_kimi_vertex": "import llama_index_kimi_vertex",
    "import langchain_openai": "import langchain_openai",
    "import openai-like": "import llama_index.llms.openai_like",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of ours beside another one of the same round."""

    subject: Probe
    against: Probe
    goal: float | None = None
    """At most this: a ratio, or for `excess` so much more in the figure's unit."""
    metric: str = "cpu"
    comparison: Comparison = "ratio"
    relative_to: tuple[Probe, Probe] | None = None
    """Two more figures, by whose ratio the row's own is divided: how much more something grows than they do."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that are measured and printed together."""

    name: str
    title: str
    unit: str
    rows: tuple[Row, ...]
    share: int
    """Of the time of a quick run."""

    @property
    def probes(self) -> Iterator[Probe]:
        """Everything that has to be measured, what is compared close together."""
        for row in self.rows:
            yield row.subject
            yield row.against
            yield from row.relative_to or ()


def sections(*, full: bool) -> tuple[Section, ...]:
    """Everything there is to measure.

    Args:
        full: Also what takes long: 262,144 deltas, 1,000 streams, further peers and ways to read.
    """
    medium = f"{MEDIUM.thinking} thinking + {MEDIUM.text} text"
    delta = "us CPU per delta"
    return (
        Section("core", f"Core, {medium}", delta, (*_core(full=full),), 4),
        Section("langchain", f"LangChain, {medium}", delta, (*_langchain(full=full),), 20),
        Section("llama-index", f"LlamaIndex, {medium}", delta, (*_llama_index(full=full),), 12),
        Section("tools", "Tool calls: 100 thinking + 2 x 150 pieces", delta, (*_tools(),), 12),
        Section(
            "linear",
            "Growth: a long stream against 1,000 deltas of a token each",
            delta,
            (*_linear(full=full),),
            14,
        ),
        Section("send", "Requests: thinking and a tool call per turn", "us CPU per turn", (*_send(),), 12),
        Section("whole", "Whole answers of 200,000 characters", "ms CPU", (*_whole(),), 4),
        Section("first", "Time to the first piece of the answer", "ms", (*_first(),), 6),
        Section("lag", "Lag per delta, one every 2 ms, median", "us", (*_lag(),), 8),
        Section("import", "Imports", "ms CPU", (*_imports(),), 18),
        Section("many", "Many streams on one loop, 40 deltas each", delta, (*_many(full=full),), 14),
        Section("many-lag", "The same, p99 of the lag", "ms", (*_many(full=full, metric="p99"),), 0),
    )


_BOTH: Final[tuple[Operation, ...]] = ("stream", "astream")


def _core(*, full: bool) -> Iterator[Row]:
    for way in _BOTH:
        yield Row(Probe("core", way, MEDIUM), Probe("httpx", way, MEDIUM), 1.7)
    if full:
        for way in _BOTH:
            yield Row(Probe("core", way, EACH), Probe("httpx", way, EACH), 1.7)


def _langchain(*, full: bool) -> Iterator[Row]:
    for way in _BOTH:
        ours = Probe("langchain", way, MEDIUM)
        yield Row(ours, Probe("langchain-floor", way, MEDIUM), 2.3)
        yield Row(ours, Probe("chat-openai", way, MEDIUM), 1 / 5)
        if full:
            yield Row(ours, Probe("chat-deepseek", way, MEDIUM))
            invoke = Probe("langchain", way, MEDIUM, "invoke")
            yield Row(invoke, Probe("chat-openai", way, MEDIUM, "invoke"), 1 / 5)
        yield Row(Probe("langchain", way, MEDIUM, "handler"), ours, 1.3)
        events = Probe("langchain", way, MEDIUM, "v3")
        yield Row(events, ours, 1.0)
        yield Row(events, Probe("langchain-floor", way, MEDIUM, "v3"), 2.0)
        yield Row(events, Probe("chat-openai", way, MEDIUM, "v3"), 1 / 5)


def _llama_index(*, full: bool) -> Iterator[Row]:
    for way in _BOTH:
        ours = Probe("llama-index", way, MEDIUM)
        yield Row(ours, Probe("llama-index-floor", way, MEDIUM))
        yield Row(ours, Probe("openai-like", way, MEDIUM), 1 / 6)
        if full:
            yield Row(Probe("llama-index", way, EACH), Probe("openai-like", way, EACH), 1 / 6)


def _tools() -> Iterator[Row]:
    yield Row(Probe("core", "stream", TOOLS), Probe("httpx", "stream", TOOLS), 1.7)
    for way in _BOTH:
        ours = Probe("langchain", way, TOOLS)
        yield Row(ours, Probe("langchain-floor", way, TOOLS), 2.3)
        yield Row(ours, Probe("chat-openai", way, TOOLS), 1 / 5)
        yield Row(Probe("llama-index", way, TOOLS), Probe("openai-like", way, TOOLS), 1 / 5)


_Way: TypeAlias = tuple[str, Operation, str]


def _linear(*, full: bool) -> Iterator[Row]:
    long = 262_144 if full else 20_000
    ways: list[_Way] = [("core", "stream", ""), ("langchain", "stream", ""), ("llama-index", "stream", "")]
    if full:
        ways.append(("core", "astream", ""))
        ways.append(("langchain", "astream", ""))
        ways.append(("langchain", "stream", "invoke"))
        ways.append(("langchain", "stream", "v3"))
        ways.append(("llama-index", "astream", ""))
    for client, way, variant in ways:
        if client == "core":
            yield Row(*_grown(client, way, variant, long), 1.3)
            continue
        floor = _grown(f"{client}-floor", way, "v3" if variant == "v3" else "", long)
        yield Row(*_grown(client, way, variant, long), 1.3, relative_to=floor)
        if not variant:
            yield Row(*floor)


def _grown(client: str, way: Operation, variant: str, deltas: int) -> tuple[Probe, Probe]:
    def probe(deltas: int) -> Probe:
        return Probe(client, way, Scenario(thinking=deltas - deltas // 5, text=deltas // 5, token=4), variant)

    return probe(deltas), probe(1_000)


def _send() -> Iterator[Row]:
    base = Probe("httpx", "send", REPLY, "orjson", count=200)
    for client, peer, goal in (
        ("core", None, None),
        ("langchain", "chat-openai", 1 / 12),
        ("llama-index", "openai-like", 1 / 12),
    ):
        ours = Probe(client, "send", REPLY, count=200)
        yield Row(ours, base, 3.0)
        if peer:
            yield Row(ours, Probe(peer, "send", REPLY, count=200), goal)
        yield Row(Probe(client, "send", REPLY, count=400), Probe(client, "send", REPLY, count=100), 1.3)


def _whole() -> Iterator[Row]:
    base = Probe("httpx", "whole", WHOLE, "orjson")
    yield Row(Probe("core", "whole", WHOLE), base, 1.8)
    yield Row(Probe("langchain", "whole", WHOLE), base, 1.8)
    yield Row(base, Probe("chat-openai", "whole", WHOLE))
    yield Row(Probe("langchain", "whole", WHOLE), Probe("chat-openai", "whole", WHOLE), 0.5)
    yield Row(Probe("llama-index", "whole", WHOLE), base)
    yield Row(Probe("llama-index", "whole", WHOLE), Probe("openai-like", "whole", WHOLE))


def _first() -> Iterator[Row]:
    goals = {"core": 1.4, "langchain": 1.4, "llama-index": 1.4}
    # The floors never leave the process: what they take is the framework's share.
    others = ("langchain-floor", "llama-index-floor", "chat-openai", "openai-like")
    for client in (*goals, *others):
        yield Row(Probe(client, "first", FIRST), Probe("httpx", "first", FIRST), goals.get(client), "wall")
    yield Row(Probe("langchain", "afirst", FIRST), Probe("httpx", "afirst", FIRST), 1.4, "wall")


def _lag() -> Iterator[Row]:
    for client in ("core", "langchain", "llama-index", "chat-openai", "openai-like"):
        goal = None if client in ("chat-openai", "openai-like") else 1.6
        yield Row(Probe(client, "lag", PACED), Probe("httpx", "lag", PACED), goal, "p50")
    yield Row(Probe("langchain", "alag", PACED), Probe("httpx", "alag", PACED), 1.6, "p50")


def _imports() -> Iterator[Row]:
    def row(ours: str, base: str, goal: float | None) -> Row:
        return Row(
            Probe(f"import {ours}", "import"), Probe(f"import {base}", "import"), goal, comparison="excess"
        )

    yield row("kimi_vertex", "httpx", None)
    yield row("langchain_kimi_vertex", "langchain-core", 120)
    yield row("langchain_openai", "langchain-core", None)
    yield row("llama_index_kimi_vertex", "llama-index-core", 120)
    yield row("openai-like", "llama-index-core", None)


def _many(*, full: bool, metric: str = "cpu") -> Iterator[Row]:
    slower = Scenario(thinking=1, text=40, write="paced", pause=50)
    for count, scenario in [(100, MANY)] if not full else [(200, MANY), (1000, slower)]:

        def probe(client: str, count: int = count, scenario: Scenario = scenario) -> Probe:
            return Probe(client, "many", scenario, count=count)

        goal = 1 / 4 if metric == "cpu" else None
        yield Row(probe("core"), probe("httpx"), None, metric)
        if full:
            yield Row(probe("core"), probe("httpx-keeps-all"), None, metric)
            yield Row(probe("core"), probe("httpx-keeps-none"), None, metric)
            yield Row(probe("httpx"), probe("chat-openai"), None, metric)
            yield Row(probe("httpx"), probe("openai-like"), None, metric)
        for over in ("", "-aiohttp"):
            yield Row(probe(f"langchain{over}"), probe("chat-openai"), goal, metric)
            yield Row(probe(f"llama-index{over}"), probe("openai-like"), goal, metric)
