"""Importing the adapter: its names, its cost, and its words where LlamaIndex is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

import llama_index.llms.kimi_vertex as alias
import llama_index_kimi_vertex

MODULES = 60
OVER_LLAMA_INDEX = """
import contextlib, io, json, sys
import llama_index.core
before = set(sys.modules)
with contextlib.redirect_stderr(io.StringIO()) as said:
    import llama_index_kimi_vertex
llama_index_kimi_vertex.KimiVertex(base_url="http://127.0.0.1:1/v1")
loaded = sorted(set(sys.modules) - before)
import llama_index.llms.kimi_vertex
name = llama_index.core.VectorStoreIndex.__name__
from llama_index.core.memory import ChatMemoryBuffer
memory = ChatMemoryBuffer.from_defaults(token_limit=100)
memory.put(llama_index_kimi_vertex.base.ChatMessage("hi"))
try:
    lost = "hi" not in memory.to_string()
except TypeError:
    lost = True
print(json.dumps([loaded, name, lost, said.getvalue()]))
"""
"""One interpreter for what is asked of an import after LlamaIndex's own: that one takes seconds."""
ALIAS_FIRST = (
    "import llama_index.llms.kimi_vertex, llama_index.core as core; print(core.VectorStoreIndex.__name__)"
)


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Imported:
    """What was seen of the import."""

    loaded: list[str]
    name: str
    lost: bool
    said: str
    alias_first: str


@pytest.fixture(scope="module")
def imported() -> Imported:
    """Modules that came along, a class of LlamaIndex's by its name, whether a chat is lost, and what was said of it."""
    with python(OVER_LLAMA_INDEX) as after, python(ALIAS_FIRST) as first:
        seen, alias_first = after.communicate(timeout=50)[0], first.communicate(timeout=50)[0]
    loaded, name, lost, said = json.loads(seen)
    return Imported(loaded, name, lost, said, alias_first.strip())


def test_public_names() -> None:
    """These names are public, and stay."""
    assert llama_index_kimi_vertex.__all__ == ["KimiVertex", "ThinkingDeltaEvent"]


def test_alias() -> None:
    """`llama_index.llms.kimi_vertex` is the same module's names, and the class still says where it is defined."""
    assert alias.__all__ == llama_index_kimi_vertex.__all__
    assert alias.KimiVertex is llama_index_kimi_vertex.KimiVertex
    assert alias.ThinkingDeltaEvent is llama_index_kimi_vertex.ThinkingDeltaEvent
    assert alias.KimiVertex.__module__ == "llama_index_kimi_vertex.base"


def test_alias_hides_nothing(imported: Imported) -> None:
    """LlamaIndex and the alias share a namespace, whichever is imported first."""
    assert imported.name == imported.alias_first == "VectorStoreIndex"


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
