"""The adapter in an interpreter of its own: its names, its cost, what it says, and a model that comes as a pickle."""

from __future__ import annotations

import base64
import json
import pickle
from dataclasses import dataclass
from types import ModuleType

import pytest
from llama_index.core.extractors import TitleExtractor

import llama_index.llms
import llama_index.llms.kimi_vertex as alias
import llama_index_kimi_vertex
from kimi_vertex_emulator import Emulator, Turn

from ..support_scripts import Start, Step, run_scripts

MODULES = 60
UNDER = Step(["llama_index.core.llms.function_calling"])  # tests/project/test_imports.py then finds it loaded
OVER_LLAMA_INDEX = """
import base64, contextlib, io, json, pickle, sys
before = set(sys.modules)
with contextlib.redirect_stderr(io.StringIO()) as said:
    import llama_index_kimi_vertex
llama_index_kimi_vertex.KimiVertex(base_url="http://127.0.0.1:1/v1")
loaded = sorted(set(sys.modules) - before)
from llama_index.core.memory import ChatMemoryBuffer
memory = ChatMemoryBuffer.from_defaults(token_limit=100)
memory.put(llama_index_kimi_vertex.base.ChatMessage("hi"))
try:
    lost = "hi" not in memory.to_string()
except TypeError:
    lost = True
extractor = pickle.loads(base64.b64decode(sys.stdin.read()))
[title] = extractor.extract([sys.modules["llama_index.core.schema"].TextNode(text="One.")])
print(json.dumps([loaded, lost, said.getvalue(), title]))
"""
"""One script for what is asked of an import after LlamaIndex's own: that one takes seconds."""


@dataclass(frozen=True)
class Imported:
    """What was seen there: modules that came along, whether a chat is lost and what was said of it, an answer."""

    loaded: list[str]
    lost: bool
    said: str
    title: dict[str, str]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("import")
    script = folder / "script.py"
    script.write_text(OVER_LLAMA_INDEX, encoding="utf-8")
    with Emulator() as emulator:
        emulator.enqueue(Turn(text="A title"), Turn(text="The title"))
        llm = llama_index_kimi_vertex.KimiVertex(base_url=emulator.base_url)
        written = base64.b64encode(pickle.dumps(TitleExtractor(llm=llm, show_progress=False))).decode()
        start = Start(str(script), str(folder), {}, input=written, strict=False)
        [end] = run_scripts([UNDER], [start])
    assert end.status == 0, end.err
    return Imported(*json.loads(end.out))


def test_public_names() -> None:
    """These names are public, and stay."""
    assert llama_index_kimi_vertex.__all__ == ["KimiVertex", "ThinkingDeltaEvent"]


def test_alias() -> None:
    """`llama_index.llms.kimi_vertex` is the same module's names, and the class still says where it is defined."""
    assert alias.__all__ == llama_index_kimi_vertex.__all__
    assert alias.KimiVertex is llama_index_kimi_vertex.KimiVertex
    assert alias.ThinkingDeltaEvent is llama_index_kimi_vertex.ThinkingDeltaEvent
    assert alias.KimiVertex.__module__ == "llama_index_kimi_vertex.base"


@pytest.mark.parametrize("package", [llama_index, llama_index.llms])
def test_alias_hides_nothing(package: ModuleType) -> None:
    """LlamaIndex and the alias share namespaces, which no file of either is: no import can come too late."""
    assert getattr(package, "__file__", None) is None


def test_a_pickle_answers_in_another_process(imported: Imported) -> None:
    """A component that a pipeline's worker unpickles builds the model from its settings."""
    assert imported.title == {"document_title": "The title"}


def test_import_is_cheap(imported: Imported) -> None:
    """Over llama-index-core and a model, few modules come along but the library's own."""
    others = [name for name in imported.loaded if "kimi_vertex" not in name]
    assert len(others) <= MODULES, others


def test_nothing_heavy_comes_along(imported: Imported) -> None:
    """Importing the adapter and making a model loads neither google-auth's transport nor an HTTP client."""
    assert "llama_index_kimi_vertex.base" in imported.loaded
    heavy = ("httpx", "google.auth.transport", "openai", "langchain_core", "kimi_vertex_emulator")
    assert [name for name in imported.loaded if name.startswith(heavy)] == []


def test_lost_memory_is_reported(imported: Imported) -> None:
    """A pydantic under which chat stores cannot be written is reported at import, and only such a one."""
    assert ("has forgotten the earlier turns" in imported.said) == imported.lost
