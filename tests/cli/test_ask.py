"""`kimi-vertex ask`: what goes to which output, on a terminal and in a pipe, and what the model gets to see."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time

import pytest

from kimi_vertex_cli import main
from kimi_vertex_cli._screen import _blocks
from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from .support_cli import ENDPOINT, on_terminal

GRAY = "\x1b[90m"


def asked(kimi: Emulator, number: int = -1) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = kimi.chat_requests[number].json["messages"]
    return messages


def test_a_pipe_gets_the_answer_alone(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is the answer as plain text, without its thinking or figures."""
    kimi.enqueue(Turn(thinking="Hm.", text="**Blue** light\n\n- scatters"))
    assert main(["ask", "Why", "blue?"]) == 0
    assert capsys.readouterr().out == "**Blue** light\n\n- scatters\n"


def test_the_figures_go_to_standard_error(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens and seconds stand at the end of standard error."""
    kimi.enqueue(Turn(thinking="Hm.", text="Blue.", usage={"prompt_tokens": 3, "completion_tokens": 1234}))
    main(["ask", "Why?"])
    assert re.fullmatch(r"1,234 tokens · \d+\.\d s · first after \d\.\d\d s\n", capsys.readouterr().err)


def test_quiet_leaves_the_figures_out(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With `-q` nothing but the answer is written."""
    kimi.enqueue(Turn(thinking="Hm.", text="Blue."))
    main(["ask", "-q", "Why?"])
    assert capsys.readouterr() == ("Blue.\n", "")


def test_thinking_can_be_seen_in_a_pipe(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """`--thinking show` writes it to standard error."""
    kimi.enqueue(Turn(thinking="Short waves.", text="Blue."))
    main(["ask", "-q", "--thinking", "show", "Why?"])
    assert capsys.readouterr() == ("Blue.\n", "Short waves.\n")


def test_what_is_piped_in_follows_the_question(kimi: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words come first, then standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("+ a line\n"))
    kimi.enqueue(Turn(text="A commit."))
    main(["ask", "Write a message."])
    assert asked(kimi) == [{"role": "user", "content": "Write a message.\n\n+ a line"}]


def test_nothing_to_ask_is_wrong_usage(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a question the status is 2 and nothing is sent."""
    assert main(["ask"]) == 2
    assert "pipe it in" in capsys.readouterr().err
    assert kimi.requests == []


def test_a_conversation_goes_on(kimi: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `-i` each question has the turns before it, thinking included."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("And at night?\n"))
    kimi.enqueue(Turn(thinking="Hm.", text="Blue."), Turn(text="Black."))
    assert main(["ask", "-i", "What color?"]) == 0
    roles = [(m["role"], m["content"], m.get("reasoning_content")) for m in asked(kimi)]
    assert roles == [
        ("user", "What color?", None),
        ("assistant", "Blue.", "Hm."),
        ("user", "And at night?", None),
    ]


def test_a_conversation_survives_a_failure(
    kimi: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question that fails is told, and is not part of what follows."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("One?\nTwo?\n"))
    kimi.enqueue(Raw([b'{"error": {"message": "No."}}'], status=400), Turn(text="Yes."))
    assert main(["ask", "-i"]) == 0
    assert [m["content"] for m in asked(kimi)] == ["Two?"]
    assert "error: The server refused the request: No." in capsys.readouterr().err


def test_a_tool_is_run_and_its_result_sent(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--tools` the model's call is answered with the time there."""
    kimi.enqueue(Turn(tool_calls=[Call("current_time", {"time_zone": "UTC"})]), Turn(text="Late."))
    assert main(["ask", "--tools", "What time is it?"]) == 0
    assert "(UTC)" in asked(kimi)[-1]["content"]
    out, err = capsys.readouterr()
    assert out == "Late.\n"
    assert err.startswith('current_time({"time_zone": "UTC"}) -> ')


def test_options_reach_the_request(kimi: Emulator) -> None:
    """The system message, the limit and the effort are the request's."""
    kimi.enqueue(Turn(text="Yes."))
    main(["ask", "--system", "Be brief.", "--max-tokens", "99", "--effort", "high", "Why?"])
    body = kimi.chat_requests[-1].json
    assert asked(kimi)[0] == {"role": "system", "content": "Be brief."}
    assert body["max_tokens"] == 99
    assert "high" in str(body)


def test_a_terminal_folds_the_thinking_and_renders_the_answer(kimi: Emulator) -> None:
    """On a terminal thinking is gray, and one line when the answer begins; Markdown is shown as what it means."""
    kimi.enqueue(Turn(thinking="Short waves scatter.", text="Light is **blue**."))
    written = on_terminal("ask", "Why?")
    assert f"{GRAY}\u25b8 thought for " in written
    assert "\x1b[1mblue" in written
    assert "**" not in written


def test_a_terminal_obeys_no_answer(kimi: Emulator) -> None:
    """Sequences in thinking or answer do not reach the terminal."""
    hostile = "a\x1b]0;title\x07b\x9b31mc"
    kimi.enqueue(Turn(thinking=hostile, text=hostile))
    written = on_terminal("ask", "--thinking", "show", "Why?")
    assert "\x1b]0;" not in written
    assert "\x9b" not in written


def test_blocks_are_cut_where_markdown_ends() -> None:
    """Paragraphs are complete at an empty line, but not inside of code."""
    assert _blocks("One.\n\nTwo") == ("One.", "Two")
    assert _blocks("```\na\n\nb") == ("", "```\na\n\nb")


BARE = """
import os, httpx
origin = "http://" + os.environ["KIMI_VERTEX_EMULATOR_HOST"]
body = {"model": "moonshotai/kimi-k2-thinking-maas", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
with httpx.Client() as client, client.stream("POST", f"{origin}/v1/%s/chat/completions", json=body) as response:
    for line in response.iter_lines():
        if "First" in line:
            print("First", flush=True)
"""


def first_token(kimi: Emulator, *command: str) -> float:
    """Seconds from the request's arrival to the first sign of thinking in the output."""
    kimi.enqueue(Turn(thinking="First thoughts.", text="Blue.", delay=0.1))
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ
    ) as process:
        before = len(kimi.chat_requests)
        while len(kimi.chat_requests) == before:
            time.sleep(0.0005)
        arrived = time.monotonic()
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        seen = time.monotonic()
        process.stdout.read()
    return seen - arrived


def test_the_first_thought_is_as_early_as_can_be(kimi: Emulator) -> None:
    """Counted from the request, the first thinking token comes within 1.4 times of what a bare httpx client needs."""
    ratios: list[float] = []
    while not ratios or (min(ratios) > 1.4 and len(ratios) < 4):  # another process may have been in the way
        ours = first_token(kimi, "-m", "kimi_vertex", "ask", "-q", "--thinking", "show", "Why?")
        ratios.append(ours / first_token(kimi, "-c", BARE % ENDPOINT))
    assert min(ratios) <= 1.4, ratios
