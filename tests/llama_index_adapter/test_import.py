"""Importing the adapter: its names, its cost, and its words where LlamaIndex is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llama_index.llms.kimi_vertex as alias
import llama_index_kimi_vertex

ORDER = ["llama_index.core", "llama_index.llms.kimi_vertex"]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_public_names() -> None:
    """These names are public, and stay."""
    assert llama_index_kimi_vertex.__all__ == ["KimiVertex", "ThinkingDeltaEvent"]


def test_alias() -> None:
    """`llama_index.llms.kimi_vertex` is the same module's names, and the class still says where it is defined."""
    assert alias.__all__ == llama_index_kimi_vertex.__all__
    assert alias.KimiVertex is llama_index_kimi_vertex.KimiVertex
    assert alias.ThinkingDeltaEvent is llama_index_kimi_vertex.ThinkingDeltaEvent
    assert alias.KimiVertex.__module__ == "llama_index_kimi_vertex.base"


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1]], ids=["core first", "alias first"])
def test_alias_hides_nothing(order: list[str]) -> None:
    """LlamaIndex and the alias share a namespace, whichever is imported first."""
    said = python("import " + ", ".join(order) + "; print(llama_index.core.VectorStoreIndex.__name__)")
    assert said.strip() == "VectorStoreIndex"


def test_missing_extra() -> None:
    """Without LlamaIndex the import says what to install."""
    said = python(
        "import sys; sys.modules['llama_index.core'] = None\n"
        "try: import llama_index_kimi_vertex\n"
        "except ImportError as error: print(error)"
    )
    assert 'pip install "kimi-vertex[llama-index]"' in said


def test_import_is_cheap() -> None:
    """Over llama-index-core the adapter costs no more than 0.3 seconds of CPU, in the best of three tries."""
    code = (
        "import llama_index.core, time; began = time.process_time()\n"
        "import llama_index_kimi_vertex; print(time.process_time() - began)"
    )
    costs: list[float] = []
    while len(costs) < 3 and min(costs, default=1.0) > 0.3:
        costs.append(float(python(code)))
    assert min(costs) <= 0.3, costs


def test_nothing_heavy_comes_along() -> None:
    """Importing the adapter and making a model loads neither google-auth's transport nor an HTTP client."""
    loaded = python(
        "import llama_index.core, sys; before = set(sys.modules)\n"
        "from llama_index_kimi_vertex import KimiVertex; KimiVertex(base_url='http://127.0.0.1:1/v1')\n"
        "print(*sorted(set(sys.modules) - before))"
    ).split()
    assert "llama_index_kimi_vertex.base" in loaded
    heavy = ("httpx", "google.auth.transport", "openai", "langchain_core", "kimi_vertex_emulator")
    assert [name for name in loaded if name.startswith(heavy)] == []
