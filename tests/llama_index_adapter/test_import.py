"""Importing the adapter: its names, its cost, and its words where LlamaIndex is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import llama_index.llms.kimi_vertex as alias
import llama_index_kimi_vertex

OVER_LLAMA_INDEX = """
import llama_index.core, json, sys, time
before, began = set(sys.modules), time.process_time()
import llama_index_kimi_vertex
cost = time.process_time() - began
llama_index_kimi_vertex.KimiVertex(base_url="http://127.0.0.1:1/v1")
loaded = sorted(set(sys.modules) - before)
import llama_index.llms.kimi_vertex
print(json.dumps([cost, loaded, llama_index.core.VectorStoreIndex.__name__]))
"""
"""One interpreter for what is asked of an import after LlamaIndex's own: that one takes seconds."""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@cache
def imported() -> tuple[float, list[str], str]:
    """Seconds of CPU, modules that came along, and the name of a class of LlamaIndex."""
    cost, loaded, name = json.loads(python(OVER_LLAMA_INDEX))
    return cost, loaded, name


def test_public_names() -> None:
    """These names are public, and stay."""
    assert llama_index_kimi_vertex.__all__ == ["KimiVertex", "ThinkingDeltaEvent"]


def test_alias() -> None:
    """`llama_index.llms.kimi_vertex` is the same module's names, and the class still says where it is defined."""
    assert alias.__all__ == llama_index_kimi_vertex.__all__
    assert alias.KimiVertex is llama_index_kimi_vertex.KimiVertex
    assert alias.ThinkingDeltaEvent is llama_index_kimi_vertex.ThinkingDeltaEvent
    assert alias.KimiVertex.__module__ == "llama_index_kimi_vertex.base"


def test_alias_hides_nothing() -> None:
    """LlamaIndex and the alias share a namespace, whichever is imported first."""
    assert imported()[2] == "VectorStoreIndex"
    alias_first = (
        "import llama_index.llms.kimi_vertex, llama_index.core as core; print(core.VectorStoreIndex.__name__)"
    )
    assert python(alias_first).strip() == "VectorStoreIndex"


def test_import_is_cheap() -> None:
    """Over llama-index-core the adapter costs no more than 0.3 seconds of CPU, in the best of three tries."""
    costs = [imported()[0]]
    while len(costs) < 3 and min(costs) > 0.3:
        imported.cache_clear()
        costs.append(imported()[0])
    assert min(costs) <= 0.3, costs


def test_nothing_heavy_comes_along() -> None:
    """Importing the adapter and making a model loads neither google-auth's transport nor an HTTP client."""
    loaded = imported()[1]
    assert "llama_index_kimi_vertex.base" in loaded
    heavy = ("httpx", "google.auth.transport", "openai", "langchain_core", "kimi_vertex_emulator")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_lost_memory_is_reported() -> None:
    """A pydantic under which chat stores cannot be written is reported at import, and only such a one."""
    code = (
        "import contextlib, io, sys\n"
        "with contextlib.redirect_stderr(io.StringIO()) as said:\n"
        "    import llama_index_kimi_vertex\n"
        "from llama_index.core.memory import ChatMemoryBuffer\n"
        "memory = ChatMemoryBuffer.from_defaults(token_limit=100)\n"
        "memory.put(llama_index_kimi_vertex.base.ChatMessage('hi'))\n"
        "try: lost = 'hi' not in memory.to_string()\n"
        "except TypeError: lost = True\n"
        "print(lost, 'has forgotten the earlier turns' in said.getvalue())"
    )
    lost, reported = python(code).split()
    assert reported == lost
