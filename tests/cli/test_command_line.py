"""The command as a whole: what it costs to ask for help, where the extra is missing, and what an error looks like."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from kimi_vertex import CLIENT_SETTINGS
from kimi_vertex_cli import main
from kimi_vertex_cli._target import _OPTIONS


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=50
    )


def cpu(*arguments: str) -> float:
    """Seconds of the processor that an interpreter takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def costs_at_most(times: float, ours: str, floor: str) -> bool:
    """Whether one program takes so many times what another does, in one of four tries: the machine may be busy."""
    return any(cpu("-c", ours) <= times * cpu("-c", floor) for _ in range(4))


def help_of(*command: str) -> str:
    return f"import sys, kimi_vertex_cli; sys.exit(kimi_vertex_cli.main({[*command, '--help']}))"


def test_help_costs_little_more_than_its_libraries() -> None:
    """`--help` takes at most three times the processor time of importing typer and rich."""
    assert costs_at_most(3, help_of(), "import typer, rich")


def test_a_command_explains_itself_as_cheaply_as_any() -> None:
    """The help of the command with the most options costs at most half more than typer's own least, which loads pydantic for any second command."""
    program = (
        "import typer\n"
        "def one(name: str = 'x') -> None: ...\n"
        "def two() -> None: ...\n"
        "app = typer.Typer(rich_markup_mode=None)\n"
        "app.command()(one)\n"
        "app.command()(two)\n"
        "app(['one', '--help'])\n"
    )
    assert costs_at_most(1.5, help_of("ask"), program)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    """`python -m kimi_vertex` names the extra, in one line, where one of its libraries is missing."""
    program = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = ['kimi_vertex', '--help']\n"
        "runpy.run_module('kimi_vertex', run_name='__main__')\n"
    )
    done = python("-c", program)
    assert (done.returncode, done.stderr) == (
        2,
        f'kimi-vertex needs {missing} on the command line: pip install "kimi-vertex[cli]"\n',
    )


@pytest.mark.parametrize(("words", "offered"), [("doc", "doctor"), ("ask --thinking h", "hide")])
def test_shells_complete_it(
    words: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands and the values of options are completed, in bash as it asks for them."""
    monkeypatch.setenv("_KIMI_VERTEX_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"kimi-vertex {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    main([])
    assert capsys.readouterr().out.split() == [offered]


def test_options_are_settings_of_the_client() -> None:
    """Each shared option is a setting of `KimiVertexClient`."""
    assert set(_OPTIONS) <= set(CLIENT_SETTINGS)


def test_no_option_holds_a_secret() -> None:
    """A token cannot be an argument, which everybody on the machine could read."""
    assert "access_token" not in _OPTIONS


def test_an_error_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong setting gives its text, on standard error, and 1."""
    assert main(["ask", "--location", "us-central1-a", "--endpoint", "123", "Hi"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: location='us-central1-a' is a zone. Use its region, us-central1.\n")


def test_wrong_usage_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option gives 2."""
    assert main(["ask", "--api", "grpc", "Hi"]) == 2
    assert "--api" in capsys.readouterr().err


def test_a_failed_request_points_at_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the way to the service is followed by the command that looks for its cause."""
    monkeypatch.setenv("KIMI_VERTEX_MAX_RETRIES", "0")
    assert main(["ask", "--base-url", "http://127.0.0.1:9/v1", "--model", "kimi", "Hi"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert "kimi-vertex doctor" in hint
