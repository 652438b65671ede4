"""`llama_index_kimi_vertex` under the name where LlamaIndex users look for an LLM; nothing is defined here.

The folders above are namespace packages: an `__init__.py` in one of them would hide LlamaIndex itself.
"""

from llama_index_kimi_vertex import KimiVertex, ThinkingDeltaEvent

__all__ = ["KimiVertex", "ThinkingDeltaEvent"]
