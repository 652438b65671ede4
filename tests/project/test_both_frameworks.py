"""What models of the two frameworks have in common when one process uses both."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage

from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex


def test_models_of_both_frameworks_share(emulator: Emulator) -> None:
    """A chat model and an LLM of one target use one connection, and know what either has learned."""
    chat = ChatKimiVertex(base_url=emulator.base_url)
    llm = KimiVertex(base_url=emulator.base_url)
    assert chat.invoke("Hi").text
    assert llm.chat([ChatMessage("Hi")]).message.content
    assert emulator.connections_opened == 1
    assert chat.client.facts is llm.client.facts
    chat.close()
    llm.close()
