"""`kimi-vertex batch`: every row once, whatever is killed, refused or changed in between."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from kimi_vertex_cli import main
from kimi_vertex_cli._lines import JobError, Lines, Output
from kimi_vertex_emulator import Call, ChatRequest, Emulator, Quota, Raw, Turn

from .support_cli import Process, on_terminal, started


def echo(chat: ChatRequest) -> Turn:
    return Turn(thinking="Hm.", text=chat.prompt_text, delay=0.01)


class Files:
    """A job's three files."""

    def __init__(self, folder: Path) -> None:
        self.rows, self.out, self.errors = (
            folder / "in.jsonl",
            folder / "out.jsonl",
            folder / "out.errors.jsonl",
        )

    def write(self, rows: list[Any]) -> None:
        self.rows.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))

    @property
    def arguments(self) -> list[str]:
        return ["batch", str(self.rows), "-o", str(self.out)]

    def run(self, *more: str) -> int:
        return main([*self.arguments, *more])

    def start(self, *more: str) -> AbstractContextManager[Process]:
        return started(*self.arguments, *more)

    @staticmethod
    def lines(path: Path) -> list[Any]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    @property
    def keys(self) -> list[Any]:
        return [line["custom_id"] for line in self.lines(self.out)]


@pytest.fixture
def files(tmp_path: Path, kimi: Emulator) -> Files:
    kimi.brain = echo
    return Files(tmp_path)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def numbered(count: int) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": ask(f"row {n}.")}
        for n in range(count)
    ]


def test_each_row_is_answered_by_its_id(files: Files) -> None:
    """OpenAI's lines give OpenAI's lines, with thinking and usage."""
    files.write(numbered(30))
    assert files.run() == 0
    found = {line["custom_id"]: line for line in files.lines(files.out)}
    assert len(found) == 30
    body = found["r7"]["response"]["body"]
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "row 7.",
        "reasoning_content": "Hm.",
    }
    assert body["usage"]["total_tokens"] > 0
    assert (found["r7"]["line"], found["r7"]["error"]) == (8, None)


def test_all_of_an_answer_is_kept(files: Files, kimi: Emulator) -> None:
    """The counts of thinking, and calls that must not be executed."""
    kimi.brain = lambda _: Turn(
        tool_calls=[Call("f", '{"a": 1')],
        usage={
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    )
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    files.write([ask("a", tools=[tool])])
    assert files.run() == 0
    body = files.lines(files.out)[0]["response"]["body"]
    calls = body["choices"][0]["message"]["invalid_tool_calls"]
    assert {(call["name"], call["arguments"]) for call in calls} == {("f", '{"a": 1')}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


def test_bare_rows_have_their_line_as_id(files: Files, kimi: Emulator) -> None:
    """`{"messages": ...}` is enough; other fields are options of the row, or fields of its body."""
    files.write([ask("Hi", temperature=0.5, own_field=1)])
    assert files.run() == 0
    assert files.keys == ["1"]
    request = kimi.chat_requests[0].json
    assert (request["temperature"], request["own_field"]) == (0.5, 1)


def test_a_second_run_asks_for_nothing(files: Files, kimi: Emulator) -> None:
    """What is done is done."""
    files.write(numbered(10))
    assert (files.run(), files.run()) == (0, 0)
    assert len(kimi.chat_requests) == 10


def test_a_torn_line_is_cut_off(files: Files, kimi: Emulator) -> None:
    """A row whose line is not whole is asked for again."""
    files.write(numbered(5))
    files.run()
    files.out.write_bytes(files.out.read_bytes()[:-20])
    assert files.run() == 0
    assert sorted(files.keys) == ["r0", "r1", "r2", "r3", "r4"]
    assert len(kimi.chat_requests) == 6


def test_rows_that_cannot_be_are_put_aside_once(files: Files, kimi: Emulator) -> None:
    """A refused row, and one that is not a row, become dead letters with status and text; the others are answered."""
    kimi.on("row 1.").answer(Raw([b'{"error": {"message": "No."}}'], status=400))
    files.write([*numbered(3), "not JSON", {"custom_id": "x"}])
    assert (files.run(), files.run()) == (1, 1)
    dead = files.lines(files.errors)
    assert sorted(letter["line"] for letter in dead) == [2, 4, 5]
    (refused,) = [letter for letter in dead if letter["line"] == 2]
    assert refused["response"]["status_code"] == 400
    assert (refused["error"]["code"], "No." in refused["error"]["message"]) == ("BadRequestError", True)
    assert len(kimi.chat_requests) == 3


def test_dead_letters_are_asked_again_if_that_is_wanted(files: Files, kimi: Emulator) -> None:
    """`--retry-errors` answers what can be answered now."""
    kimi.enqueue(Raw([b"{}"], status=400))
    files.write(numbered(1))
    assert (files.run(), files.run("--retry-errors")) == (1, 0)
    assert (files.keys, files.lines(files.errors)) == (["r0"], [])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "no"),
        (403, "no"),
        (404, "The model `x` does not exist."),
        (429, "You exceeded your current quota"),
    ],
    ids=["login", "permission", "address", "spent quota"],
)
def test_a_job_that_cannot_be_stops(
    files: Files, kimi: Emulator, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused login, a wrong target and a spent quota end it, with what runs written, and nothing put aside."""
    refusal = Raw([json.dumps({"error": {"message": words}}).encode()], status=status)
    kimi.on("row 3.").answer(refusal)
    files.write(numbered(40))
    assert files.run("--concurrency", "2") == 2
    assert "The same command goes on from here" in capsys.readouterr().err
    assert 3 <= len(files.keys) <= 6
    assert files.lines(files.errors) == []
    kimi.script.rules.clear()
    assert files.run() == 0
    assert sorted(files.keys) == sorted(f"r{n}" for n in range(40))


def test_a_quota_is_waited_for(files: Files, kimi: Emulator) -> None:
    """Refusals lose nothing and buy nothing twice."""
    kimi.quota = Quota(requests=20, window=0.1)
    files.write(numbered(60))
    assert files.run() == 0
    assert len(files.keys) == len(set(files.keys)) == 60
    assert sum(exchange.status == 200 for exchange in kimi.exchanges) == 60


def test_a_row_waits_no_longer_than_is_said(files: Files, kimi: Emulator) -> None:
    """Under a quota of nothing a row is put aside after `--max-wait`."""
    kimi.quota = Quota(requests=0)
    files.write(numbered(2))
    assert files.run("--max-wait", "1") == 1
    assert {letter["error"]["code"] for letter in files.lines(files.errors)} == {"RateLimitError"}


@pytest.fixture
def away(files: Files, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the environment says that a server is, which is not there."""
    with Emulator() as gone:
        host = gone.host
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", host)
    monkeypatch.setenv("KIMI_VERTEX_MAX_RETRIES", "0")
    return host


def test_a_server_that_stays_away_is_given_up(
    files: Files,
    away: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its rows are put aside, and the last that is seen is how the job ended."""
    files.write(numbered(2))
    assert files.run("--max-wait", "1") == 1
    assert "\n2/2 · " in f"\n{capsys.readouterr().err}"


def test_a_server_that_is_away_is_waited_for(files: Files, away: str) -> None:
    """Its rows are not put aside, although no retry of theirs finds it."""
    files.write(numbered(64))
    code = "import logging, sys; logging.basicConfig(level=20); import kimi_vertex_cli; kimi_vertex_cli.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *files.arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        tried = (line for line in process.stderr if b"Attempt 1 failed" in line)
        assert len(list(itertools.islice(tried, 64))) == 64
        with Emulator(port=int(away.rpartition(":")[2])):
            while not files.out.stat().st_size:
                time.sleep(0.005)
            process.kill()
    assert files.lines(files.errors) == []


def refused(files: Files, capsys: pytest.CaptureFixture[str]) -> str:
    assert files.run() == 2
    return capsys.readouterr().err


def test_an_id_twice_is_refused(files: Files, kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first request, with both lines."""
    files.write([*numbered(5), *numbered(3)[2:]])
    assert "'r2' twice: in line 3 and in line 6" in refused(files, capsys)
    assert kimi.chat_requests == []


def test_another_input_is_refused(files: Files, kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """What was answered has to belong to the rows that are there."""
    files.write(numbered(5))
    files.run()
    files.write([*numbered(2), {"custom_id": "r2", "body": ask("Other.")}, *numbered(5)[3:]])
    assert "line 3 of" in refused(files, capsys)
    files.out.write_text('{"mine": 1}\n')
    assert "it is not this job's" in refused(files, capsys)
    assert files.out.read_text() == '{"mine": 1}\n'


def test_rows_may_be_added(files: Files, kimi: Emulator) -> None:
    """An input that has grown at its end is the same job."""
    files.write(numbered(5))
    files.run()
    files.write(numbered(8))
    assert files.run() == 0
    assert len(kimi.chat_requests) == 8


def test_two_runs_at_a_time_are_refused(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Two would ask for the same rows."""
    files.write(numbered(1))
    with Output(files.out):
        assert "is being written by another run" in refused(files, capsys)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"custom_id": 5}, {"custom_id": "5"}),
        ({"custom_id": "2"}, {}),
        ({"custom_id": "ä"}, {"custom_id": "\u00e4"}),
    ],
    ids=["a number and a text", "the number of a line without one", "written in two ways"],
)
def test_an_id_that_would_be_ambiguous_is_refused(
    files: Files,
    kimi: Emulator,
    capsys: pytest.CaptureFixture[str],
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    """Answers are told apart by their ids, so no two rows may get the same one."""
    files.rows.write_text(
        f"{json.dumps(ask('a', **first), ensure_ascii=False)}\n{json.dumps(ask('b', **second))}\n", "utf-8"
    )
    assert "twice: in line 1 and in line 2" in refused(files, capsys)
    assert kimi.chat_requests == []


def test_an_id_that_is_a_number_stays_one(files: Files) -> None:
    """An answer is joined to its row by the value that the row has."""
    files.write([ask("a", custom_id=5)])
    assert files.run() == 0
    assert files.keys == [5]


def test_an_id_of_null_is_none(files: Files) -> None:
    """Such rows are called by their lines, as rows without an id are."""
    files.write([ask("a", custom_id=None), ask("b", custom_id=None)])
    assert files.run() == 0
    assert sorted(files.keys) == ["1", "2"]


@pytest.mark.parametrize(
    "content", [b'{"my": "notes"}', b"my notes\nlast line"], ids=["one line", "a last line without an end"]
)
@pytest.mark.parametrize("option", ["-o", "--errors", "--retry-errors"])
def test_a_file_that_is_not_the_jobs_stays_as_it_is(
    files: Files, kimi: Emulator, content: bytes, option: str
) -> None:
    """Nothing is cut off or thrown away that another program wrote."""
    files.write(numbered(1))
    file = files.out if option == "-o" else files.errors
    file.write_bytes(content)
    assert files.run(*([option] if option == "--retry-errors" else [])) == 2
    assert file.read_bytes() == content
    assert kimi.chat_requests == []


def test_a_pipe_is_refused(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be read once only, so no row of it would be asked."""
    os.mkfifo(files.rows)
    writer = threading.Thread(target=lambda: files.rows.open("w").close(), daemon=True)
    writer.start()
    assert "write what a pipe gives to a file first" in refused(files, capsys)


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_refused(files: Files, capsys: pytest.CaptureFixture[str], device: str) -> None:
    """The next run could not read there what is done."""
    files.write(numbered(1))
    assert files.run("--errors", device) == 2
    assert f"{device} is not a regular file" in capsys.readouterr().err


def test_a_byte_order_mark_is_skipped(files: Files) -> None:
    """Editors on Windows write one."""
    files.rows.write_bytes(b"\xef\xbb\xbf" + json.dumps(numbered(1)[0]).encode() + b"\r\n")
    assert files.run() == 0
    assert files.keys == ["r0"]


@pytest.mark.parametrize(
    "content",
    [json.dumps(ask("Hi")).encode("utf-16"), b"id,text\n1,Hi\n", json.dumps([ask("Hi")], indent=1).encode()],
    ids=["UTF-16", "CSV", "one array"],
)
def test_a_file_without_a_row_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """All of its lines would be dead letters."""
    files.rows.write_bytes(content)
    assert "has no rows: each line has to be a JSON object, in UTF-8" in refused(files, capsys)


def test_a_line_that_is_not_a_conversation_keeps_its_id(files: Files) -> None:
    """Its dead letter is found by it."""
    files.write([{"custom_id": "mine", "body": {"input": "x"}}, *numbered(1)])
    assert files.run() == 1
    assert [letter["custom_id"] for letter in files.lines(files.errors)] == ["mine"]


def test_jobs_in_one_folder_have_their_own_dead_letters(files: Files, kimi: Emulator) -> None:
    """Neither is refused for the other's, nor throws them away."""
    kimi.enqueue(Raw([b"{}"], status=400))
    files.write(numbered(2))
    assert files.run("--concurrency", "1") == 1
    other = files.out.with_name("other.jsonl")
    assert main(["batch", str(files.rows), "-o", str(other), "--retry-errors"]) == 0
    assert len(files.lines(files.errors)) == 1


def test_a_row_that_was_mended_is_asked_with_retry_errors(
    files: Files, kimi: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it, the job says what to do."""
    kimi.on("row 1.").answer(Raw([b"{}"], status=400))
    files.write(numbered(3))
    files.run()
    files.write([*numbered(1), {"custom_id": "r1", "body": ask("Mended.")}, *numbered(3)[2:]])
    assert "If you have mended it, begin again with --retry-errors" in refused(files, capsys)
    assert files.run("--retry-errors") == 0
    assert len(kimi.chat_requests) == 4


def test_a_wrong_setting_stops_the_job_although_rows_have_options(files: Files) -> None:
    """What is wrong with the target is not put down to the rows."""
    files.write([ask("a", max_tokens=5), ask("b", max_tokens=5)])
    assert files.run("--base-url", "https://example.com/v1", "--ca-certs", "missing.pem") == 2
    assert files.lines(files.errors) == []
    assert files.run("--base-url", "nonsense") == 2


def test_empty_lines_are_not_rows(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The count of rows is reached."""
    files.write([numbered(1)[0], "", "  "])
    assert files.run() == 0
    assert capsys.readouterr().err.startswith("1/1 · ")


@pytest.mark.parametrize(
    "options",
    [{"temperature": "hot"}, {"extra_body": 5, "seed": 1, "unknown": 2}],
    ids=["a wrong value", "an extra_body that is not an object"],
)
def test_a_row_with_wrong_options_is_put_aside(files: Files, options: dict[str, Any]) -> None:
    """What is wrong in one row does not stop the others."""
    files.write([ask("a", **options), *numbered(2)])
    assert files.run() == 1
    assert sorted(files.keys) == ["r0", "r1"]
    assert [letter["line"] for letter in files.lines(files.errors)] == [1]


@pytest.mark.parametrize("now", ["row X.", ""], ids=["changed", "shorter"])
def test_a_row_that_changes_while_the_job_runs_is_not_asked(files: Files, now: str) -> None:
    """Its answer would be written under the checksum of the row that was there."""
    files.write(numbered(3))
    lines = Lines(files.rows)
    files.write([*numbered(2), *([ask(now)] if now else [])])
    left = lines.left()
    assert [number for number, _ in itertools.islice(left, 2)] == [1, 2]
    with pytest.raises(JobError, match=r"line 3 of .* was changed while the job ran"):
        next(left)


def test_rows_that_are_added_meanwhile_wait_for_the_next_run(files: Files) -> None:
    """They were not checked."""
    files.write(numbered(2))
    lines = Lines(files.rows)
    files.write(numbered(3))
    assert [number for number, _ in lines.left()] == [1, 2]


def test_a_killed_job_goes_on(files: Files, kimi: Emulator) -> None:
    """After kill -9 nothing is lost, nothing doubled, and what was running is asked again, at most."""
    rows, kills = 120, int(os.environ.get("BATCH_KILLS", "2"))
    files.write(numbered(rows))
    for after in sorted(random.Random(1).sample(range(rows - 20), kills)):
        with files.start("--concurrency", "8") as process:
            while sum(exchange.status == 200 for exchange in kimi.exchanges) < after:
                time.sleep(0.005)
            process.kill()
    assert files.run() == 0
    assert Counter(files.keys) == Counter(f"r{n}" for n in range(rows))
    asked = Counter(exchange.messages[-1]["content"] for exchange in kimi.exchanges)
    assert sum(times - 1 for times in asked.values()) <= 8 * kills


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_ends_what_runs(files: Files, kimi: Emulator, number: signal.Signals) -> None:
    """No new requests, the running ones are written, status 130; the next run does the rest."""
    files.write(numbered(120))
    with files.start("--concurrency", "4") as process:
        while len(kimi.chat_requests) < 20:
            time.sleep(0.005)
        process.send(number)
        assert process.end().status == 130
    assert len(files.keys) == len(kimi.chat_requests) < 120
    assert files.run() == 0
    assert sorted(files.keys) == sorted(f"r{n}" for n in range(120))


def test_a_second_signal_ends_it_at_once(files: Files, kimi: Emulator) -> None:
    """Who presses Ctrl-C twice does not wait for answers."""
    kimi.brain = lambda _: Turn(text="x", delay=20)
    files.write(numbered(3))
    with files.start() as process:
        while len(kimi.chat_requests) < 3:
            time.sleep(0.005)
        process.send(signal.SIGINT)
        time.sleep(0.3)
        process.send(signal.SIGINT)
        assert process.end(timeout=15).status == 130


def test_a_full_disk_stops_the_job(files: Files, kimi: Emulator) -> None:
    """What could not be written is asked for again by the next run, and a line that was torn is not in the output."""
    files.write(numbered(40))
    code = (
        "import resource, sys; from kimi_vertex_cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(main(sys.argv[1:]))"
    )
    limited = subprocess.run(
        [sys.executable, "-c", code, *files.arguments], capture_output=True, text=True, check=False
    )
    assert limited.returncode == 2
    assert "File too large" in limited.stderr
    assert files.out.stat().st_size <= 2000
    assert files.run() == 0
    assert sorted(files.keys) == sorted(f"r{n}" for n in range(40))


def test_a_terminal_sees_one_line(files: Files) -> None:
    """Rows, speed, time left, tokens and pace, written over, no wider than the terminal; the end stays, and is whole."""
    files.write(numbered(20))
    *over, end = on_terminal(*files.arguments, columns=40).split("\r\x1b[K")
    assert over
    assert max(map(len, over)) < 40
    assert end.startswith("20/20 · ")
    assert "0 aside" in end
    assert "tokens" in end


def test_a_job_needs_no_listener(files: Files) -> None:
    """Its exit status says how it ended, also where standard error is closed or full."""
    files.write(numbered(3))
    jobs: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
    for redirection in ("2>&-", "2>/dev/full"):
        out = files.out.with_name(f"{len(jobs)}.jsonl")
        command = ["bash", "-c", f'"$0" -m kimi_vertex batch "$@" {redirection}', sys.executable]
        jobs[redirection] = out, subprocess.Popen([*command, str(files.rows), "-o", str(out)])
    ended = {name: (job.wait(50), len(files.lines(out))) for name, (out, job) in jobs.items()}
    assert ended == dict.fromkeys(jobs, (0, 3))


def test_elsewhere_there_are_lines(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log nothing is written over."""
    files.write(numbered(3))
    files.run()
    seen = capsys.readouterr().err
    assert seen.startswith("3/3 · ")
    assert "\r" not in seen


def test_the_figures_are_the_services(
    files: Files, kimi: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tokens that are shown are those that were answered."""
    files.write(numbered(10))
    files.run()
    usages = [line["response"]["body"]["usage"] for line in files.lines(files.out)]
    total = sum(usage["prompt_tokens"] for usage in usages)
    assert f"in {total} out" in capsys.readouterr().err


def test_the_start_needs_little_memory(tmp_path: Path) -> None:
    """25,000 rows are known in 20 bytes each, whatever they hold."""
    source = tmp_path / "in.jsonl"
    with source.open("w") as rows:
        for number in range(25_000):
            rows.write(f'{{"custom_id": "r{number}", "messages": []}}\n')
    tracemalloc.start()
    try:
        lines = Lines(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines.total == 25_000
    assert peak <= 1_500_000
