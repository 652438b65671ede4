"""Text from outside is read in linear time: scanners with their worst inputs, and every expression that can be found."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

import kimi_vertex
import kimi_vertex_cli
import kimi_vertex_emulator
import langchain_kimi_vertex
import llama_index_kimi_vertex
from kimi_vertex import ToolCallDelta, find_json_object
from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._answer.tool_calls import ToolCallAssembler
from kimi_vertex._secrets import masked
from kimi_vertex._signs import SIGN, break_json, break_text
from kimi_vertex._tools import DeclaredTools, History
from kimi_vertex._wire import error_from_body
from llama_index_kimi_vertex._responses import ResponseBuilder, tool_selections

from .support_linear import WRITTEN, grows_with_the_square

SCANNERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "find_json_object": (
        find_json_object,
        ("{", "x[{", '{"', '{"a":1 ', "```json\n{ ", "[", '{"a":', "{}", '{"\\"'),
    ),
    "error_from_body": (
        error_from_body,
        ("<", "<script", "<script>", "<!--", "a <", "</script ", "<style ", "> <", '{"a":'),
    ),
    "secrets": (
        masked,
        (
            "eyJ",
            "ya29.",
            "1//",
            "-----BEGIN",
            "-----END",
            "token ",
            "token=",
            "sk-",
            "AQ.",
            "GOCSPX-",
            "secret:",
        ),
    ),
}


PIECE = 40
TOOLS = DeclaredTools({"f": {"type": "object", "properties": {"a": {"type": "string"}}}})
MARKUP = (
    *("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_calls_section_end|>", "functions.f:1"),
    *(
        "<think>",
        "</think>",
        "<|im_end|>",
        "<|open|>",
        '<|open|>call tool="f"<|sep|>',
        "<|close|>argument<|sep|>",
    ),
    *("<|open|>tools<|sep|>", "<|open|>think<|sep|>", '<|open|>argument key="a"<|sep|>', f"<{SIGN}"),
)


def decoded(field: str, text: str) -> None:
    """A stream in whose field the text stands, in pieces."""
    decoder = Decoder(tools=TOOLS, implicit_thinking=True, texts=(text,), validation="off")
    decoder.mend()
    for start in range(0, len(text), PIECE):
        delta: dict[str, Any] = {field: text[start : start + PIECE]}
        if field == "arguments":
            delta = {"tool_calls": [{"index": 0, "id": "f:0", "function": {"name": "f", **delta}}]}
        decoder.feed(json.dumps({"choices": [{"index": 0, "delta": delta}]}))
    decoder.finish()


def arriving(text: str) -> None:
    """A call that arrives in LlamaIndex, and one look at it, as its programs have for each piece."""
    builder, response = ResponseBuilder(single_call=False), None
    for start in range(0, len(text), PIECE):
        name = "f" if not start else None
        response = builder.add(ToolCallDelta(0, name, name, text[start : start + PIECE])) or response
    if response is not None:
        tool_selections(response)


SCANNERS |= {
    "content": (partial(decoded, "content"), (*WRITTEN, *MARKUP)),
    "thinking": (partial(decoded, "reasoning_content"), (*WRITTEN, *MARKUP)),
    "arguments": (
        partial(decoded, "arguments"),
        ("a", '{"a":', "{", "[", '{"a":"', "\\", '{"a":"\\', f'{{"a":"<{SIGN}'),
    ),
    "signs": (break_text, (*MARKUP, "<|a", "[EOS", SIGN)),
    "signs in JSON": (break_json, (*MARKUP, "\\", "\\u003c", "\\/")),
    "arriving": (arriving, ("a", '{"a":', "{", "[", '{"a":"', '{"a":[1,')),
}


@pytest.mark.parametrize("name", SCANNERS)
def test_scanners(name: str) -> None:
    """Each is given what it has to look at again and again."""
    work, units = SCANNERS[name]
    assert [unit for unit in units if grows_with_the_square(work, unit)] == []


def test_ids_that_lie_in_the_way() -> None:
    """Calls without an id are numbered at a cost that does not depend on the ids that are taken."""

    def work(text: str) -> None:
        count = len(text) // 8
        history = History(ids=frozenset(f"functions.f:{n}" for n in range(count)), calls=0)
        calls = ToolCallAssembler(DeclaredTools(), history)
        calls.feed([{"index": n, "function": {"name": "f", "arguments": "{}"}} for n in range(count)])

    assert not grows_with_the_square(work, " ")


UNITS = (
    *("a", " ", "\n", "\t", "0", "{", "<", "`", '"', "\\", "-", ":", ".", "/", "_", "[", "(", "=", "|"),
    *(
        "a ",
        "a:",
        "a0",
        "a-",
        "\n ",
        "\n`",
        "a/",
        "a,",
        "[{",
        '{"',
        " x",
        "1.",
        "<|",
        "functions.",
        "functions.a:1 ",
    ),
)
PACKAGES = (
    kimi_vertex,
    kimi_vertex_cli,
    kimi_vertex_emulator,
    langchain_kimi_vertex,
    llama_index_kimi_vertex,
)
NAMES = {package.__name__ for package in PACKAGES}
_ANYWHERE = re.compile(r"\b(_?\w+)\.(?:search|finditer|findall|subn?|split)\(")


def expressions() -> dict[tuple[str | bytes, int], tuple[str, re.Pattern[Any], bool]]:
    """Each expression of the packages with its name, and whether it is searched for anywhere in a text.

    Those of modules, also in containers, classes and objects of ours, and those that stand in a call of `re`.
    """
    modules = [
        importlib.import_module(info.name)
        for package in PACKAGES
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not info.name.endswith("__main__")
    ]
    sources = {module: inspect.getsource(module) for module in modules}
    searched = {name for source in sources.values() for name in _ANYWHERE.findall(source)}
    found: dict[tuple[str | bytes, int], tuple[str, re.Pattern[Any], bool]] = {}
    for module, source in sources.items():
        for name, value in vars(module).items():
            for pattern in within(value, set()):
                anywhere = name in searched or pattern is not value
                found.setdefault(
                    (pattern.pattern, pattern.flags), (f"{module.__name__}.{name}", pattern, anywhere)
                )
        for node in ast.walk(ast.parse(source if "\nimport re\n" in source else "")):
            match node:
                case ast.Call(ast.Attribute(ast.Name("re"), how), [ast.Constant(str(text)), *_]):
                    pattern = re.compile(text)
                    where = f"{module.__name__}:{node.lineno}"
                    anywhere = how not in ("match", "fullmatch", "compile")
                    found.setdefault((text, pattern.flags), (where, pattern, anywhere))
    return found


def within(value: Any, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """The expressions in a value."""
    if isinstance(value, re.Pattern):
        yield value
    elif id(value) not in seen:
        seen.add(id(value))
        items: Iterable[Any] = ()
        if isinstance(value, list | tuple | set | frozenset):
            items = value
        elif isinstance(value, dict):
            items = [*value, *value.values()]
        elif isinstance(value, type) and value.__module__.partition(".")[0] in NAMES:
            items = list(vars(value).values())
        elif type(value).__module__.partition(".")[0] in NAMES:
            names = (*getattr(type(value), "__slots__", ()), *getattr(value, "__dict__", ()))
            items = [getattr(value, name, None) for name in names]
        for item in items:
            yield from within(item, seen)


def _match(pattern: re.Pattern[Any], text: str) -> None:
    pattern.fullmatch(text.encode() if isinstance(pattern.pattern, bytes) else text)


def _search(pattern: re.Pattern[Any], text: str) -> None:
    for _ in pattern.finditer(text.encode() if isinstance(pattern.pattern, bytes) else text):
        pass


def test_every_expression() -> None:
    """Given runs of each sign, and of the words in the expression itself."""
    slow: list[tuple[str, str]] = []
    known = expressions()
    assert len(known) > 150
    for name, pattern, anywhere in known.values():
        work: Callable[[str], object] = partial(_search if anywhere else _match, pattern)
        words = set(re.findall(r"[A-Za-z_/<.-]{2,20}", str(pattern.pattern)))
        slow += [(name, unit) for unit in (*UNITS, *words) if grows_with_the_square(work, unit)]
    assert not slow, "\n".join(map(str, slow))
