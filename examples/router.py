"""A router: Kimi picks the query engine for each question, and shows why, then answers from it.

Run it with `python examples/router.py`, with the `llama-index` extra and llama-index-retrievers-bm25.
"""

from __future__ import annotations

from _console import Screen, kimi, title
from _documents import bm25, documents
from llama_index.core.query_engine import RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.tools import QueryEngineTool

from llama_index_kimi_vertex import KimiVertex

SUBJECTS = {
    "deploy.md": "Credentials, tokens, roles, projects, locations, endpoints.",
    "troubleshooting.md": "The client: which errors it raises, by type and by status.",
}
QUESTIONS = ("Which roles do my credentials need?", "Which errors does the client raise?")


def engines(llm: KimiVertex) -> list[QueryEngineTool]:
    texts = {text.metadata["file_name"]: text for text in documents()}
    return [
        QueryEngineTool.from_defaults(
            RetrieverQueryEngine.from_args(bm25([texts[file]]), llm=llm), name=file[:-3], description=subject
        )
        for file, subject in SUBJECTS.items()
    ]


def main() -> None:
    title("LlamaIndex: a router over two query engines")
    screen = Screen()
    llm = KimiVertex(on_thinking=screen.thinking, on_request=lambda _: screen.end())
    tools = engines(llm)
    router = RouterQueryEngine.from_defaults(tools, llm=llm)
    for question in QUESTIONS:
        screen.question(question)
        response = router.query(question)
        choice = (response.metadata or {})["selector_result"].selections[0]
        screen.note(f"  chosen: {tools[choice.index].metadata.name}, because: {choice.reason}")
        screen.answer(str(response))
        screen.end()


if __name__ == "__main__":
    with kimi():
        main()
