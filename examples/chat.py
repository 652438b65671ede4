"""A conversation about documents: a chat engine that remembers, and looks up each follow-up question.

Run it with `python examples/chat.py`, with the `llama-index` extra and llama-index-retrievers-bm25.
"""

from __future__ import annotations

from _console import Screen, kimi, title
from _documents import bm25, documents, heading
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.memory import ChatMemoryBuffer

from llama_index_kimi_vertex import KimiVertex

QUESTIONS = ("What happens to a tool call that is cut off?", "Where do I find it then?")


def main() -> None:
    title("LlamaIndex: a chat engine with memory")
    screen = Screen()
    engine = CondensePlusContextChatEngine.from_defaults(
        bm25(documents(), top_k=2),
        llm=KimiVertex(on_thinking=screen.thinking, on_request=lambda _: screen.end()),
        memory=ChatMemoryBuffer.from_defaults(token_limit=100_000),
    )
    for question in QUESTIONS:
        screen.question(question)
        response = engine.stream_chat(question)
        for text in response.response_gen:
            screen.answer(text)
        screen.note(f"  from {', '.join(heading(source) for source in response.source_nodes)}")
    screen.note(f"{len(engine.chat_history)} messages in memory")


if __name__ == "__main__":
    with kimi():
        main()
