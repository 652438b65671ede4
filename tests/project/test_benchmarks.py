"""The benchmarks work, and guard what they have shown: ratios within one run, with a wide margin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pages, report
from benchmarks.clients import LABELS, OURS
from benchmarks.probes import Probe, Sample
from benchmarks.rows import Row, Section, sections
from benchmarks.runner import Bench, Outcome
from benchmarks.scenarios import Scenario

ROOT = Path(__file__).resolve().parents[2]
SMALL = Scenario(thinking=4, text=4)
LONG = Scenario(thinking=800, text=200)
TOOLS = Scenario(calls=2, fragments=500)
WHOLE = Scenario(whole=200_000)
REPLY = Scenario(whole=100)
TRIES = 6


def limit(ours: Probe, floor: Probe, times: float) -> Any:
    words = [ours.client, ours.operation, "tools" if ours.scenario.calls else "", ours.variant]
    name = "-".join(filter(None, words))
    return pytest.param(replace(ours, seconds=0), replace(floor, seconds=0), times, id=name)


# Ours by the floor that it stands on, with a margin of about two over what docs/performance.md shows.
LIMITS = [
    limit(Probe("core", "stream", LONG), Probe("httpx", "stream", LONG), 2.0),
    limit(Probe("core", "astream", LONG), Probe("httpx", "astream", LONG), 2.0),
    limit(Probe("core", "stream", TOOLS), Probe("httpx", "stream", TOOLS), 2.5),
    limit(Probe("langchain", "stream", LONG), Probe("langchain-floor", "stream", LONG), 4.0),
    limit(Probe("langchain", "astream", LONG), Probe("langchain-floor", "astream", LONG), 4.0),
    limit(Probe("langchain", "stream", LONG, "v3"), Probe("langchain-floor", "stream", LONG, "v3"), 2.0),
    limit(Probe("langchain", "astream", LONG, "handler"), Probe("langchain", "astream", LONG), 2.5),
    limit(Probe("langchain", "stream", TOOLS), Probe("langchain-floor", "stream", TOOLS), 1.0),
    limit(Probe("llama-index", "stream", LONG), Probe("llama-index-floor", "stream", LONG), 3.0),
    limit(Probe("llama-index", "astream", LONG), Probe("llama-index-floor", "astream", LONG), 3.0),
    limit(Probe("llama-index", "stream", TOOLS), Probe("llama-index", "stream", LONG), 2.5),
    limit(Probe("core", "whole", WHOLE), Probe("httpx", "whole", WHOLE, "orjson"), 3.5),
    limit(
        Probe("langchain", "send", REPLY, count=200), Probe("httpx", "send", REPLY, "orjson", count=200), 9.0
    ),
    limit(
        Probe("llama-index", "send", REPLY, count=200),
        Probe("httpx", "send", REPLY, "orjson", count=200),
        9.0,
    ),
]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench(together=True) as running:
        yield running


@pytest.mark.parametrize("client", OURS)
@pytest.mark.parametrize("way", ["stream", "astream"])
def test_every_client_of_ours_hands_on_every_character(bench: Bench, client: str, way: Any) -> None:
    """What a benchmark measures is the whole job: no thinking and no text is lost on the way."""
    probe = Probe(client, way, SMALL, seconds=0)
    outcome = bench.run([probe], 1)[probe]
    assert outcome.problem is None
    expected = {"thinking": 0, "text": 0}
    for kind, text in SMALL.pieces():
        expected[kind] += len(text)
    [sample] = outcome.samples
    assert {"thinking": sample.thinking, "text": sample.text} == expected


@pytest.mark.parametrize(("ours", "floor", "times"), LIMITS)
def test_nothing_costs_much_more_than_its_floor(
    bench: Bench, ours: Probe, floor: Probe, times: float
) -> None:
    """CPU stays within a multiple of the floor's, in the best of several rounds."""
    ratios: list[float] = []
    while len(ratios) < TRIES and min(ratios, default=times + 1) > times:
        found = bench.run([ours, floor], 1)
        assert found[ours].problem is None
        assert found[floor].problem is None
        ratios.append(found[ours].figures("cpu")[0] / found[floor].figures("cpu")[0])
    assert min(ratios) <= times, ratios


@pytest.mark.parametrize("client", OURS)
def test_the_cost_of_a_delta_does_not_grow_with_the_stream(bench: Bench, client: str) -> None:
    """Ten times the deltas cost about ten times the CPU."""
    long, short = (
        Probe(client, "stream", Scenario(thinking, text, token=4))
        for thinking, text in ((1_600, 400), (160, 40))
    )
    ratios: list[float] = []
    while len(ratios) < TRIES and min(ratios, default=9.0) > 1.6:
        found = bench.run([long, short], 1)
        ratios.append(found[long].figures("cpu")[0] / found[short].figures("cpu")[0])
    assert min(ratios) <= 1.6, ratios


def test_the_command_prints_a_table_and_writes_a_file(tmp_path: Path) -> None:
    """`python -m benchmarks` measures the sections asked for and says where and when it did."""
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rows", "core", "--rounds", "1", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "httpx + httpx-sse + json" in done.stdout
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["python"] in done.stdout
    assert [row["subject"] for row in document["rows"]["core"]] == [
        "KimiVertexClient",
        "KimiVertexClient async",
    ]
    assert all(row["result"] > 0 for row in document["rows"]["core"])


def test_a_peer_that_is_not_installed_is_a_line_and_not_a_failure() -> None:
    """Peers are optional: their rows say that they are missing."""
    floor, peer = Probe("langchain-floor", "stream", SMALL), Probe("chat-openai", "stream", SMALL)
    found = {floor: Outcome([Sample({"cpu": 1.0})]), peer: Outcome(problem="not installed")}
    section = Section("peers", "Peers", "us", (Row(floor, peer, 0.2),), 1)
    text = report.render(section, report.lines(section, found), 1)
    assert "ChatOpenAI: not installed" in text


def test_lost_characters_are_reported() -> None:
    """A client of ours that drops thinking gets no ratio."""
    ours, floor = Probe("core", "stream", SMALL), Probe("httpx", "stream", SMALL)
    found = {
        ours: Outcome([Sample({"cpu": 1.0}, thinking=0, text=0)]),
        floor: Outcome([Sample({"cpu": 1.0}, thinking=0, text=0)]),
    }
    section = Section("loss", "Loss", "us", (Row(ours, floor, 1.7),), 1)
    [line] = report.lines(section, found)
    assert line.result is None
    assert line.problem is not None
    assert "characters of thinking lost" in line.problem


def test_a_run_writes_its_figures_into_the_pages(tmp_path: Path) -> None:
    """`--write` puts the rows with a goal, or the few that users ask for, between a page's two markers."""
    ours, floor = Probe("langchain", "stream", SMALL), Probe("langchain-floor", "stream", SMALL)
    size = {
        name: sum(len(text) for kind, text in SMALL.pieces() if kind == name) for name in ("thinking", "text")
    }
    found = {
        probe: Outcome([Sample({"cpu": cpu}, **size)]) for probe, cpu in ((ours, 0.003), (floor, 0.0015))
    }
    section = Section("langchain", "LangChain", "us", (Row(ours, floor, 2.3), Row(floor, ours)), 1)
    table = {"langchain": report.lines(section, found)}
    where = {"date": "2026-11-28", "machine": "m", "python": "p", "versions": "v"}
    for text in (pages.document([section], table, where), pages.short(table, where)):
        page = tmp_path / "page.md"
        page.write_text(f"Above.\n{pages.MARKER}\nold\n{pages.MARKER}\nBelow.\n", encoding="utf-8")
        pages.write(page, text)
        above, written, below = page.read_text(encoding="utf-8").split(pages.MARKER)
        assert (above, below) == ("Above.\n", "\nBelow.\n")
        assert "Measured on 2026-11-28: m, p; v." in written
        assert "| LangChain floor |" in written
        assert written.count("ChatKimiVertex") == 1
        assert "2.00" in written
        assert "old" not in written


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_every_row_names_clients_that_exist(full: bool) -> None:
    """No section of either size asks for an unknown client."""
    probes = {probe for section in sections(full=full) for probe in section.probes}
    assert {probe.client for probe in probes if probe.operation != "import"} <= LABELS.keys()


def test_a_scenario_is_found_by_its_name() -> None:
    """The server understands every scenario that a client can ask for."""
    probes = {probe for section in sections(full=True) for probe in section.probes}
    assert all(Scenario.parse(probe.scenario.name) == probe.scenario for probe in probes)
