"""The emulator as a command."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx


def test_the_command_prints_the_variable_serves_and_ends_quietly() -> None:
    """It prints the export line first, logs each request as an emulator's, and ends on SIGTERM with 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "kimi_vertex.emulator", "--port", "0", "--lenient", "--pace", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name, _, host = process.stdout.readline().strip().removeprefix("export ").partition("=")
        assert name == "KIMI_VERTEX_EMULATOR_HOST"
        body = {"messages": [{"role": "developer", "content": "Hi"}]}
        assert httpx.post(f"http://{host}/v1/chat/completions", json=body).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "kimi-vertex emulator (not the real service): POST /v1/chat/completions -> 200" in log
    assert "Traceback" not in log


def test_the_command_says_when_it_cannot_listen() -> None:
    """An address that cannot be bound is one line and status 1."""
    command = [sys.executable, "-m", "kimi_vertex.emulator", "--host", "192.0.2.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot listen on 192.0.2.1:")
    assert "Traceback" not in done.stderr


def test_the_emulator_imports_no_framework() -> None:
    """Importing the emulator loads neither LangChain nor LlamaIndex."""
    code = (
        "import sys, kimi_vertex.emulator\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'langchain_core', 'llama_index', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
