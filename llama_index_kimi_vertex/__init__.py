"""Kimi's thinking models on Google Vertex AI as a LlamaIndex LLM."""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "llama_index":
        raise
    raise ImportError(
        'llama_index_kimi_vertex needs llama-index-core. Run: pip install "kimi-vertex[llama-index]"'
    ) from error

from ._memory import report_lost_memory
from .base import KimiVertex
from .events import ThinkingDeltaEvent

__all__ = ["KimiVertex", "ThinkingDeltaEvent"]

report_lost_memory()
