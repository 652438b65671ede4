"""The check of clients works, this project's clients keep every rule, and the page shows what it found."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conformance.base import Peer, Reply
from benchmarks.conformance.peers import LABELS, OURS
from benchmarks.conformance.plain import Core
from benchmarks.conformance.rules import RULES, Make, Rule, Verdict
from benchmarks.conformance.suites import MARKER as SUITES_MARKER
from benchmarks.conformance.suites import SUITES, Outcome, run
from benchmarks.conformance.suites import document as table_of
from benchmarks.conformance.table import bounded, check, document, insert
from kimi_vertex_emulator import Emulator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
MARKER = "<!-- python -m benchmarks.conformance -->"


class Mute(Core):
    """Sends nothing and hands on nothing."""

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        pass


class Forgetful(Core):
    """Drops the thinking, as clients do that were made for other models."""

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        super().fill(reply, history, tools=tools, force=force, stream=stream)
        reply.thinking = ""


@pytest.fixture(scope="module")
def found() -> Mapping[str, Mapping[str, Verdict] | None]:
    """What is found out about our clients, about all at the same time: one rule makes each wait for a second."""
    with ThreadPoolExecutor(len(OURS)) as pool:
        return {
            name: verdicts for one in pool.map(lambda n: check([n]), OURS) for name, verdicts in one.items()
        }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("client", OURS)
def test_our_clients_keep_every_rule(
    found: Mapping[str, Mapping[str, Verdict] | None], client: str, rule: str
) -> None:
    """Core and adapters keep each of Kimi's rules with their defaults."""
    verdicts = found[client]
    assert verdicts is not None
    assert str(verdicts[rule]) == "yes"


def test_the_table_has_a_row_for_each_rule_and_a_sum(
    found: Mapping[str, Mapping[str, Verdict] | None],
) -> None:
    """What was found becomes Markdown with one column for each client."""
    when, _, head, _, *rows = document(found).splitlines()
    assert "kimi-vertex" in when
    assert head == "| rule | KimiVertexClient | ChatKimiVertex | KimiVertex |"
    assert rows[:-1] == [f"| {rule.title} | yes | yes | yes |" for rule in RULES.values()]
    assert rows[-1] == f"| **kept** |{f' {len(RULES)} of {len(RULES)} |' * 3}"


def test_a_client_that_is_not_installed_is_a_column_and_not_a_failure() -> None:
    """Peers are optional: their cells say that they are missing."""
    verdicts = {"usage": Verdict("partly", "with an option")}
    text = document({"core": verdicts, "openai": None})
    assert "| Usage in streams | partly (with an option) | not installed |" in text
    assert "| **kept** | 0 of 1 | not installed |" in text


@pytest.mark.parametrize("rule", RULES)
def test_a_client_that_does_nothing_keeps_no_rule(rule: str) -> None:
    """No probe takes the absence of an answer for a kept rule."""
    assert RULES[rule].probe(Mute).word == "no"


def test_a_client_that_drops_thinking_is_found_out() -> None:
    """The evidence tells thinking that is dropped from an answer that is lost."""
    assert str(RULES["reasoning-content"].probe(Forgetful)) == "no (dropped)"


def test_a_client_that_hangs_is_left_behind() -> None:
    """A probe that takes too long is a finding, and the next one begins."""

    def hang(make: Make) -> Verdict:
        time.sleep(0.3)
        return Verdict("yes")

    assert bounded(Rule("hangs", hang), Mute, seconds=0.01).word == "no"


def test_a_client_that_breaks_its_probe_is_a_finding() -> None:
    """What a client raises outside of an answer is named in its cell."""

    class Broken(Peer):
        def __init__(self, base_url: str, *, usage: bool = False) -> None:
            raise OSError("no way to make it")

    assert str(bounded(RULES["usage"], Broken)) == "no (OSError)"


def test_the_table_is_put_between_the_markers_of_a_page(tmp_path: Path) -> None:
    """The rest of the page stays as it is, and a second run replaces the first one's table."""
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{MARKER}\nold\n{MARKER}\n\nAfter.\n", encoding="utf-8")
    for text in ("first\n", "second\n"):
        insert(page, text)
    assert page.read_text(encoding="utf-8") == f"Before.\n\n{MARKER}\nsecond\n{MARKER}\n\nAfter.\n"


def test_the_page_shows_every_rule_and_every_client() -> None:
    """The documented table was made by a check with today's rules and clients, ours keeping all of them."""
    _, shown, _ = PAGE.read_text(encoding="utf-8").split(MARKER)
    head, _, *rows, _ = [line for line in shown.splitlines() if line.startswith("| ")]
    assert head == f"| rule | {' | '.join(LABELS.values())} |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {rule.title}" for rule in RULES.values()]
    assert all(row.split(" | ")[1 : 1 + len(OURS)] == ["yes"] * len(OURS) for row in rows)


def test_a_foreign_suite_is_run_against_the_emulator(tmp_path: Path) -> None:
    """A suite finds the emulator where it expects its own server, and its failures are named."""
    with Emulator() as gone:
        port = int(gone.host.partition(":")[2])
    (tmp_path / "tests" / "test_vllm").mkdir(parents=True)
    (tmp_path / "tests" / "test_vllm" / "test_it.py").write_text(
        "import pytest, urllib.request\n"
        f"URL = 'http://127.0.0.1:{port}'\n"
        "def test_health(): assert urllib.request.urlopen(URL + '/health').status == 200\n"
        "def test_more(): urllib.request.urlopen(URL + '/v1/embeddings')\n"
        "@pytest.mark.skip\n"
        "def test_not(): pass\n"
    )
    suite = replace(SUITES["openmockllm"], port=port)
    outcome = run(suite, tmp_path, "vllm-new")
    assert outcome == Outcome(1, ("test_more",))
    row = table_of(suite, "abc", {"vertex": outcome, "moonshot": outcome, "gateway": Outcome(2, ())})
    assert "at abc | openai SDK, sync and async | every dialect but `gateway` | 1 | `test_more` |" in row
    assert "| `gateway` | 2 | none |" in row


def test_the_page_shows_the_foreign_suites() -> None:
    """Each suite has a row, with the commit that was run."""
    shown = PAGE.read_text(encoding="utf-8").split(SUITES_MARKER)[1]
    for suite in SUITES.values():
        assert re.search(
            rf"\({re.escape(f'https://github.com/{suite.repository}')}\) at [0-9a-f]{{10}} ", shown
        )
