"""The web page of examples/web.py, in a real browser: `python -m tests.project.test_web` renews its picture in docs/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kimi_vertex_emulator import Emulator, Script, Turn

from .support_browser import CHROMIUM, Page, browser

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURE = Path(__file__).parents[2] / "docs" / "web.png"
QUESTION = "What is the weather in Lisbon in Celsius, and convert that temperature to Fahrenheit?"
ANSWER = "In Lisbon it is 21 °C with a light wind, which is 69.8 °F."
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def started(emulator: Emulator) -> Iterator[subprocess.Popen[str]]:
    """The example, run as its docstring says, on a free port."""
    environment = {**os.environ, "KIMI_VERTEX_EMULATOR_HOST": emulator.host, "PORT": "0"}
    environment["KIMI_VERTEX_ENDPOINT"] = "projects/p/locations/us-central1/endpoints/1234567890"
    command = [sys.executable, str(EXAMPLES / "web.py")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def address_of(process: subprocess.Popen[str]) -> str:
    """The address of the example, once it is there."""
    assert process.stderr is not None
    lines = (re.search(r"running on (http://\S+)", line) for line in process.stderr)
    return next(found[1] for found in lines if found)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """It answers as in the examples, a word at a time, slowly enough to be stopped."""
    with Emulator(script=Script.from_yaml(EXAMPLES / "answers.yaml"), pace=0.02) as running:
        yield running


@pytest.fixture(scope="module")
def page(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """The page in a browser, and its address."""
    with started(emulator) as example, browser(tmp_path_factory.mktemp("chromium")) as opened:
        url = address_of(example)
        opened.go(url)
        yield opened, url


def ask(page: Page, question: str) -> None:
    """Type a question and press Enter."""
    page.evaluate("document.querySelector('input').focus()")
    page.command("Input.insertText", text=question)
    page.evaluate("document.querySelector('form button').click()")


def kinds(page: Page) -> list[str]:
    """What the page shows, from above."""
    found: list[str] = page.evaluate(
        "[...document.querySelector('main').children].map(part => part.className)"
    )
    return [kind for kind in found if kind != "end"]


@needs_chromium
@pytest.mark.timeout(120)
def test_web_page(page: tuple[Page, str], emulator: Emulator) -> None:
    """Thinking streams open and folds, calls show with their results, stop ends the request, a reload keeps it all."""
    opened, url = page
    ask(opened, QUESTION)
    opened.wait("document.querySelector('details')?.open")
    opened.wait(f"document.body.innerText.includes({ANSWER!r})")
    opened.wait("document.querySelector('main').lastChild.className == 'end'")  # the turn is saved
    shown = ["user", "thinking", "tool", "tool", "thinking", "tool", "tool", "thinking", "text"]
    assert kinds(opened) == shown
    assert opened.evaluate("[...document.querySelectorAll('details')].every(part => !part.open)")
    assert opened.evaluate("document.querySelector('pre').textContent") == 'get_weather {"city": "Lisbon"}'
    opened.go(url)
    opened.wait(f"document.body.innerText.includes({ANSWER!r})")
    assert kinds(opened) == shown

    emulator.enqueue(Turn(thinking="Long.", text="word " * 500))
    ask(opened, "Write a long text.")
    opened.wait("document.body.innerText.includes('word word')")
    opened.evaluate("document.querySelectorAll('button')[1].click()")
    emulator.enqueue(Turn(text="A short one."))
    ask(opened, "Then a short one.")
    opened.wait("document.body.innerText.includes('A short one.')")
    assert opened.evaluate("document.body.innerText.split('word').length") < 500
    assert "left" in [exchange.ending for exchange in emulator.exchanges]


def main() -> None:
    """Write the picture of the page that the docs show."""
    with (
        Emulator(script=Script.from_yaml(EXAMPLES / "answers.yaml")) as running,
        started(running) as example,
        tempfile.TemporaryDirectory() as folder,
        browser(Path(folder)) as opened,
    ):
        opened.go(address_of(example))
        ask(opened, QUESTION)
        opened.wait(f"document.body.innerText.includes({ANSWER!r})")
        opened.evaluate("document.querySelectorAll('details')[1].open = true")
        opened.screenshot(PICTURE, 760, 560)


if __name__ == "__main__":
    main()
