"""The live tests are listed where an operator looks, and can be run."""

from __future__ import annotations

import re
from pathlib import Path

from kimi_vertex_emulator import Emulator, Script

from ..support_installed import run_pytest
from .support_live import PAGE, ROOT, TESTS, written

# What a model would say; the questions are those of the live tests.
ANSWERS = """
rules:
  - match: {result: "8888888"}
    always: {thinking: ["Done."], text: "The sum is 8,888,888."}
  - match: {text: 17 times 3}
    always: {thinking: ["17 and 34."], text: "51"}
  - match: {text: Use the tool, tools: add, turn: 0}
    always: {thinking: ["A call."], tool_calls: [{name: add, arguments: {a: 1234567, b: 7654321}}]}
  - match: {text: Answer in JSON}
    always: {thinking: ["JSON."], text: '{"sum": 4}'}
  - match: {text: What is 2 plus 2, tools: add}
    always: {thinking: ["A call."], tool_calls: [{name: add, arguments: {a: 2, b: 2}}]}
"""
# What the emulator does not do: it has no cache, no id of its own, takes any temperature, and insists on the thinking.
UNLIKE = {
    "test_a_repeated_prompt_is_cached",
    "test_errors_have_googles_form",
    "test_request_ids",
    "test_a_tool_loop_goes_on_with_its_thinking[none]",
}


def test_the_page_lists_the_live_tests() -> None:
    """docs/operate.md says of each what is assumed and what depends on it."""
    assert PAGE.read_text(encoding="utf-8") == written(), "run: make docs-output"


def test_the_live_tests_run(tmp_path: Path) -> None:
    """Pointed at the emulator, as at an endpoint, they pass but for what the emulator is known not to do."""
    answers = tmp_path / "answers.yaml"
    answers.write_text(ANSWERS, encoding="utf-8")
    with Emulator(script=Script.from_yaml(answers)) as emulator:
        environment = {
            "KIMI_VERTEX_LIVE": "1",
            "KIMI_VERTEX_EMULATOR_HOST": emulator.host,
            "KIMI_VERTEX_ENDPOINT": "projects/p/locations/us-central1/endpoints/1234567890",
        }
        options = ["-q", "-rf", "-m", "live", "-p", "no:cacheprovider"]
        end = run_pytest(str(ROOT), [*options, str(TESTS)], environment)
    assert set(re.findall(r"^FAILED \S+::(\S+)", end.out, re.MULTILINE)) == UNLIKE, end.out
