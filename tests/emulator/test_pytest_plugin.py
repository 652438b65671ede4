"""The pytest plugin: fixtures, settings, the environment, and what is checked at the end of a test."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

pytest_plugins = ["pytester"]

# Where the project is installed, pytest loads the plugin by itself.
PLUGIN = (
    ()
    if any(e.name == "kimi_vertex" for e in entry_points(group="pytest11"))
    else ("-p", "kimi_vertex_emulator.pytest_plugin")
)
OPTIONS = (*PLUGIN, "-p", "no:cacheprovider", "-q")
# What an application does: no word of an emulator in it.
APPLICATION = """
from kimi_vertex import KimiVertexClient

def answer(question):
    with KimiVertexClient() as client:
        return client.complete(question).text
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Any:
    """Run test code with the plugin, beside an application that knows nothing of it."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")
    pytester.makepyfile(application=APPLICATION)

    def run_it(code: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=code)
        return pytester.runpytest_inprocess(*OPTIONS, "--strict-markers", *options)

    return run_it


def test_unmodified_code_is_redirected(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code without settings reaches the emulator, whatever endpoint or proxy the environment names; then all is as before."""
    monkeypatch.setenv("KIMI_VERTEX_ENDPOINT", "projects/p/locations/us-central1/endpoints/1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    result = run(
        """
        import os
        from application import answer

        def test_one(kimi_emulator):
            kimi_emulator.on("Hi").answer("Hello!")
            assert answer("Hi") == "Hello!"
            assert kimi_emulator.chat_requests[0].path.endswith("/endpoints/openapi/chat/completions")
            assert os.environ["NO_PROXY"].startswith("example.org,127.0.0.1")

        def test_two():
            assert "KIMI_VERTEX_EMULATOR_HOST" not in os.environ
            assert os.environ["KIMI_VERTEX_ENDPOINT"].endswith("/1")
            assert os.environ["NO_PROXY"] == "example.org"
        """
    )
    result.assert_outcomes(passed=2)


def test_markers_and_the_settings_fixture_are_merged(run: Any, pytester: pytest.Pytester) -> None:
    """Settings of the conftest, the module, the class and the function: the nearest one counts."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def kimi_emulator_settings():
            return {"seed": 1, "pace": 0.5, "strict": False}
        """
    )
    result = run(
        """
        import pytest
        pytestmark = pytest.mark.kimi_emulator(seed=2, dialect="moonshot")

        @pytest.mark.kimi_emulator(seed=3)
        class TestIt:
            @pytest.mark.kimi_emulator(dialect="vllm-new")
            def test_it(self, kimi_emulator):
                e = kimi_emulator
                assert (e.seed, e.pace, e.strict, e.dialect) == (3, 0.5, False, "vllm-new")
        """
    )
    result.assert_outcomes(passed=1)


def test_the_session_emulator_stays(run: Any) -> None:
    """One emulator serves all tests; the one of a test goes before it and leaves it in place."""
    result = run(
        """
        import os
        from application import answer

        def test_one(kimi_emulator_session):
            kimi_emulator_session.on().always("session")
            assert answer("a") == "session"

        def test_two(kimi_emulator_session, kimi_emulator):
            kimi_emulator.on().always("test")
            assert answer("b") == "test"

        def test_three(kimi_emulator_session):
            assert answer("c") == "session"
            assert len(kimi_emulator_session.chat_requests) == 2
        """
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("verify", "errors"), [(None, 0), ('"consumed"', 1), ('"expected"', 1), ('"all"', 2)]
)
def test_script_and_requests_are_verified_if_asked(run: Any, verify: str | None, errors: int) -> None:
    """What was not asked for, and what was not scripted, is an error at the end of the test that asks for it."""
    result = run(
        f"""
        import pytest
        from application import answer

        @pytest.mark.kimi_emulator(verify={verify})
        def test_unused(kimi_emulator):
            kimi_emulator.on("never").answer("x")

        @pytest.mark.kimi_emulator(verify={verify})
        def test_unscripted(kimi_emulator):
            answer("surprise")
        """
    )
    result.assert_outcomes(passed=2, errors=errors)
    if errors == 2:
        result.stdout.fnmatch_lines(
            ["*not asked for: 1 answer(s) for text='never'*", "*not scripted: POST*surprise*"]
        )


def test_a_failed_test_is_not_verified(run: Any) -> None:
    """A failure is not followed by complaints about what it left behind."""
    result = run(
        """
        import pytest

        @pytest.mark.kimi_emulator(verify="all")
        def test_it(kimi_emulator):
            kimi_emulator.on().answer("x")
            assert False
        """
    )
    result.assert_outcomes(failed=1)


def test_a_script_may_be_a_file(run: Any, pytester: pytest.Pytester) -> None:
    """`script=` takes the path of a YAML file."""
    pytester.makefile(".yaml", script="rules: [{match: Hi, answer: From the file.}]")
    result = run(
        """
        import pytest
        from application import answer

        @pytest.mark.kimi_emulator(script="script.yaml", verify="all")
        def test_it(kimi_emulator):
            assert answer("Hi") == "From the file."
        """
    )
    result.assert_outcomes(passed=1)


def test_wrong_settings_are_named(run: Any, pytester: pytest.Pytester) -> None:
    """A misspelt setting, or a mistake in a script, is told in words, without a way through the plugin's insides."""
    pytester.makefile(".yaml", wrong="rules:\n  - match: x\n    anwser: y")
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("n", [
            pytest.param(1, marks=pytest.mark.kimi_emulator(unknown=1)),
            pytest.param(2, marks=pytest.mark.kimi_emulator(verify="x")),
            pytest.param(3, marks=pytest.mark.kimi_emulator(3)),
            pytest.param(4, marks=pytest.mark.kimi_emulator(script="wrong.yaml")),
            pytest.param(5, marks=pytest.mark.kimi_emulator(script="nowhere.yaml")),
            pytest.param(6, marks=pytest.mark.kimi_emulator(dialect="latin")),
        ])
        def test_it(kimi_emulator, n):
            pass
        """
    )
    result.assert_outcomes(errors=6)
    assert "another exception" not in result.stdout.str()
    assert "__init__.py" not in result.stdout.str()
    for words in (
        "*wrong.yaml: rules[[]0].anwser: Extra inputs are not permitted*",
        "*No such file or directory: 'nowhere.yaml'*",
        "*dialect 'latin' is unknown*",
        "*unexpected keyword argument 'unknown'*",
        "*verify='x'; it must be*",
        "*keyword arguments only*",
    ):
        result.stdout.fnmatch_lines([words])


def test_the_plugin_costs_nothing_when_unused() -> None:
    """Loading the plugin imports nothing else of the project and no library but pytest."""
    code = (
        "import sys, kimi_vertex_emulator.pytest_plugin as plugin\n"
        "found = {'asyncio', 'kimi_vertex', 'httpx', 'google', 'h11', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_the_message_names_it() -> None:
    """Where a library of the extra is missing, the error says what to install."""
    code = "import sys; sys.modules['h11'] = None\nfrom kimi_vertex_emulator import Emulator\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "kimi-vertex[testing]"' in done.stderr.splitlines()[-1]
