"""A LlamaIndex query engine over this project's own documentation, streaming, with Kimi's thinking.

BM25 finds the passages, so no second service and no model download is needed. Run it with
`make demo ARGS=rag`, or `python examples/rag.py` with the `llama-index` extra and llama-index-retrievers-bm25.
"""

from __future__ import annotations

from pathlib import Path

from _console import Screen, kimi, title
from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.node_parser import MarkdownNodeParser, SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.retrievers.bm25 import BM25Retriever

from llama_index_kimi_vertex import KimiVertex

DOCS = Path(__file__).resolve().parent.parent / "docs"
QUESTION = "What happens to a tool call that is cut off by the token limit?"


def main() -> None:
    title("LlamaIndex: answers from documents, with thinking")
    screen = Screen()
    llm = KimiVertex(on_thinking=screen.thinking)
    documents = SimpleDirectoryReader(str(DOCS), required_exts=[".md"], recursive=True).load_data()
    nodes = SentenceSplitter(chunk_size=512, chunk_overlap=64)(MarkdownNodeParser()(documents))
    engine = RetrieverQueryEngine(
        BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=3),
        response_synthesizer=get_response_synthesizer(llm=llm, streaming=True),
    )
    screen.note(f"{len(documents)} documents in docs/, {len(nodes)} passages")
    screen.question(QUESTION)
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    for text in response.response_gen:
        screen.answer(text)
    screen.end()
    for source in response.source_nodes:
        heading = source.node.get_content().lstrip("# ").splitlines()[0]
        screen.note(
            f"  source: {source.node.metadata['file_name']}, {heading!r} (score {source.score or 0:.2f})"
        )


if __name__ == "__main__":
    with kimi():
        main()
