"""LlamaIndex's engines over KimiVertex: each runs on the emulator, with its thinking delivered to a callback."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.evaluation import FaithfulnessEvaluator, RelevancyEvaluator
from llama_index.core.extractors import (
    DocumentContextExtractor,
    QuestionsAnsweredExtractor,
    TitleExtractor,
)
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation.events.llm import LLMChatStartEvent
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import (
    CitationQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import NodeRelationship, TextNode
from llama_index.core.selectors import PydanticMultiSelector, PydanticSingleSelector
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import QueryEngineTool
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import BaseModel

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from llama_index_kimi_vertex import KimiVertex, ThinkingDeltaEvent

from .conftest import MakeLLM, Recorder

FACTS = [
    "The lighthouse of Alqueria was built in 1893 by Marta Soler.",
    "The ferry to the island leaves every morning at seven.",
    "Goat cheese from the northern farms wins prizes each spring.",
    "The old observatory houses a refracting telescope of 40 cm.",
]
QUESTION = "Who built the lighthouse of Alqueria?"


class HashEmbedding(BaseEmbedding):
    """Bag of words, hashed: equal words, near vectors."""

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * 256
        for word in re.findall(r"\w+", text.lower()):
            vector[int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16) % 256] += 1.0
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(
        [Document(text=text) for text in FACTS], embed_model=HashEmbedding()
    )


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def llm(make_llm: MakeLLM, heard: list[str]) -> KimiVertex:
    return make_llm(on_thinking=heard.append)


@pytest.fixture(autouse=True)
def no_default_llm(llm: KimiVertex) -> Iterator[None]:
    """Engines that look for a default model find this one, never another service."""
    before = Settings._llm
    Settings.llm = llm
    yield
    Settings._llm = before


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """A current event loop that is closed at the end: LlamaIndex's synchronous wrappers leave the one they find open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)


def buffer() -> ChatMemoryBuffer:
    return ChatMemoryBuffer.from_defaults(token_limit=20_000)


async def _drain(response: Any) -> str:
    assert isinstance(response, AsyncStreamingResponse)
    return "".join([token async for token in response.response_gen])


def query(engine: Any, question: str, how: str) -> str:
    """Ask an engine one way or the other and give the text of its answer."""
    if how == "sync":
        return str(engine.query(question))
    if how == "async":
        return str(asyncio.run(engine.aquery(question)))
    if how == "sync stream":
        response = engine.query(question)
        assert isinstance(response, StreamingResponse)
        return "".join(response.response_gen)

    async def run() -> str:
        return await _drain(await engine.aquery(question))

    return asyncio.run(run())


HOW = pytest.mark.parametrize("how", ["sync", "async", "sync stream", "async stream"])
PLAIN = pytest.mark.parametrize("how", ["sync", "async"])
OPPOSITE = pytest.mark.parametrize("how", ["sync", "async stream"])


@HOW
def test_vector_query_engine(index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str) -> None:
    """A query engine answers from the right passage, and the thinking reaches the callback, not the answer."""
    engine = index.as_query_engine(llm=llm, similarity_top_k=1, streaming="stream" in how)
    answer = query(engine, QUESTION, how)
    assert "Marta Soler" in answer
    assert len("".join(heard)) > 10
    assert "".join(heard) not in answer


@OPPOSITE
def test_bm25_query_engine(
    index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str, recorder: Recorder
) -> None:
    """The same with BM25, and the dispatcher carries the same thinking."""
    retriever = BM25Retriever.from_defaults(nodes=list(index.docstore.docs.values()), similarity_top_k=1)
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm, streaming="stream" in how)
    assert "Marta Soler" in query(engine, QUESTION, how)
    assert "".join(event.delta for event in recorder.of(ThinkingDeltaEvent)) == "".join(heard) != ""


def test_response_gen_is_free_of_thinking(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str]
) -> None:
    """`response_gen` gives the answer's tokens, with empty strings while the model thinks."""
    emulator.enqueue(Turn(thinking=["a", "b"], text=["Marta ", "Soler."]))
    response = index.as_query_engine(llm=llm, streaming=True, similarity_top_k=1).query(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert [token for token in response.response_gen if token] == ["Marta ", "Soler."]
    assert heard == ["a", "b"]


@pytest.mark.parametrize("mode", [ResponseMode.REFINE, ResponseMode.TREE_SUMMARIZE, ResponseMode.COMPACT])
def test_response_modes(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], mode: ResponseMode
) -> None:
    """Every mode of synthesis works, with the thinking of each of its calls."""
    emulator.enqueue(*[Turn(thinking="T", text="Marta Soler.")] * 3)
    engine = index.as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3)
    assert "Marta Soler" in str(engine.query(QUESTION))
    assert len(heard) == len(emulator.requests) >= 1


class Builder(BaseModel):
    """Who built it."""

    name: str


@PLAIN
def test_query_engine_with_output_class(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str
) -> None:
    """`output_cls` makes the engine's answer an object."""
    emulator.enqueue(Turn(thinking="T", tool_calls=[Call("Builder", {"name": "Marta Soler"})]))
    engine = index.as_query_engine(llm=llm, output_cls=Builder, similarity_top_k=1)
    assert "Marta Soler" in query(engine, QUESTION, how)
    assert heard == ["T"] or "".join(heard) == "T"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *(("context", how) for how in ("sync", "async", "sync stream", "async stream")),
        ("simple", "sync stream"),
        ("condense", "async"),
    ],
)
def test_chat_engines(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], kind: str, how: str
) -> None:
    """Chat engines keep the conversation over two turns and deliver the thinking of each call."""
    retriever = index.as_retriever(similarity_top_k=1)
    engines: dict[str, Callable[[], Any]] = {
        "simple": lambda: SimpleChatEngine.from_defaults(llm=llm, memory=buffer()),
        "context": lambda: ContextChatEngine.from_defaults(retriever, llm=llm, memory=buffer()),
        "condense": lambda: CondensePlusContextChatEngine.from_defaults(retriever, llm=llm, memory=buffer()),
    }
    engine = engines[kind]()

    async def stream(message: str) -> str:
        response = await engine.astream_chat(message)
        return "".join([token async for token in response.async_response_gen()])

    def say(message: str) -> str:
        if how == "sync":
            return str(engine.chat(message).response)
        if how == "async":
            return str(asyncio.run(engine.achat(message)).response)
        if how == "sync stream":
            return "".join(engine.stream_chat(message).response_gen)
        return asyncio.run(stream(message))

    turns = [Turn(thinking="One.", text="Marta Soler."), Turn(thinking="Two.", text="In 1893.")]
    if kind == "condense":
        turns.insert(1, Turn(thinking="Condense.", text="When was the lighthouse built?"))
    emulator.enqueue(*turns)
    assert say(QUESTION) == "Marta Soler."
    assert say("And when?") == "In 1893."
    assert "".join(heard) == ("One.Condense.Two." if kind == "condense" else "One.Two.")
    assert [message.content for message in engine.chat_history][1] == "Marta Soler."


def tools(index: VectorStoreIndex, llm: KimiVertex, *, streaming: bool = False) -> list[QueryEngineTool]:
    engine = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=streaming)
    return [
        QueryEngineTool.from_defaults(engine, name="buildings", description="About buildings."),
        QueryEngineTool.from_defaults(engine, name="ferries", description="About ferries."),
    ]


SELECT = {"index": 1, "reason": "It asks about a building."}


@OPPOSITE
@pytest.mark.parametrize("form", ["call", "fenced text"])
def test_router_with_default_selector(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str, form: str
) -> None:
    """A router picks its engine through a call, or through JSON where no call comes, and shows its thinking."""
    selection = (
        Turn(thinking="Select.", tool_calls=[Call("SingleSelection", SELECT)])
        if form == "call"
        else Turn(thinking="Select.", text=f"```json\n{json.dumps(SELECT)}\n```")
    )
    emulator.enqueue(selection, Turn(thinking="Answer.", text="Marta Soler."))
    engine = RouterQueryEngine.from_defaults(tools(index, llm, streaming="stream" in how), llm=llm)
    assert isinstance(engine._selector, PydanticSingleSelector)
    assert query(engine, QUESTION, how) == "Marta Soler."
    assert "".join(heard) == "Select.Answer."


def test_router_with_several_choices(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str]
) -> None:
    """A multi-selector reads a list of choices."""
    both = {"selections": [SELECT, {"index": 2, "reason": "And ferries."}]}
    emulator.enqueue(
        Turn(thinking="Both.", tool_calls=[Call("MultiSelection", both)]),
        *[Turn(thinking="A.", text="Marta Soler.")] * 3,
    )
    engine = RouterQueryEngine.from_defaults(
        tools(index, llm), llm=llm, selector=PydanticMultiSelector.from_defaults(llm=llm)
    )
    assert "Marta Soler" in str(engine.query(QUESTION))
    assert "".join(heard).startswith("Both.A.A.")


@PLAIN
def test_router_where_forced_choice_is_refused(make_llm: MakeLLM, index: VectorStoreIndex, how: str) -> None:
    """A router works on a server that refuses a forced tool while the model thinks."""
    with Emulator(strict=True, rules=Rules(refuse_forced_tool_choice=True)) as strict:
        llm = make_llm(base_url=strict.base_url)
        strict.enqueue(
            Turn(thinking="S", tool_calls=[Call("SingleSelection", SELECT)]), Turn(text="Marta Soler.")
        )
        router = RouterQueryEngine.from_defaults(tools(index, llm), llm=llm)
        assert query(router, QUESTION, how) == "Marta Soler."


@OPPOSITE
def test_sub_questions(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str
) -> None:
    """A sub-question engine splits, asks and joins, with the thinking of each step."""
    questions = {"items": [{"sub_question": QUESTION, "tool_name": "buildings"}]}
    emulator.enqueue(
        Turn(thinking="Split.", text=f"```json\n{json.dumps(questions)}\n```"),
        Turn(thinking="Ask.", text="Marta Soler."),
        Turn(thinking="Join.", text="It was Marta Soler."),
    )
    engine = SubQuestionQueryEngine.from_defaults(
        tools(index, llm),
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(
            llm=llm, use_async="async" in how, streaming="stream" in how
        ),
        use_async="async" in how,
        verbose=False,
    )
    assert query(engine, QUESTION, how) == "It was Marta Soler."
    assert "".join(heard) == "Split.Ask.Join."


@OPPOSITE
def test_citations(
    emulator: Emulator, index: VectorStoreIndex, llm: KimiVertex, heard: list[str], how: str
) -> None:
    """A citation engine numbers its sources for the model and keeps them beside the answer."""
    emulator.enqueue(Turn(thinking="Cite.", text="Marta Soler built it [1]."))
    engine = CitationQueryEngine.from_args(index, llm=llm, similarity_top_k=1, streaming="stream" in how)
    assert query(engine, QUESTION, how) == "Marta Soler built it [1]."
    assert "Source 1" in emulator.requests[-1].json["messages"][-1]["content"]
    assert "".join(heard) == "Cite."


@pytest.mark.parametrize("evaluator", [FaithfulnessEvaluator, RelevancyEvaluator])
@pytest.mark.parametrize(("verdict", "how"), [("YES", "sync"), ("NO", "async")])
def test_evaluators(
    emulator: Emulator, llm: KimiVertex, heard: list[str], evaluator: type[Any], verdict: str, how: str
) -> None:
    """Evaluators read a clean verdict, and the judge's thinking is delivered."""
    emulator.enqueue(Turn(thinking="I judge.", text=verdict))
    judge, case = evaluator(llm=llm), {"query": QUESTION, "response": "Marta Soler.", "contexts": [FACTS[0]]}
    result = asyncio.run(judge.aevaluate(**case)) if how == "async" else judge.evaluate(**case)
    assert result.passing is (verdict == "YES")
    assert result.feedback == verdict
    assert "".join(heard) == "I judge."


@PLAIN
def test_ingestion_with_extractors(emulator: Emulator, llm: KimiVertex, heard: list[str], how: str) -> None:
    """Extractors in an ingestion pipeline write clean metadata, and the thinking is delivered."""
    emulator.enqueue(*[Turn(thinking="E", text="Lighthouses")] * 3)
    pipeline = IngestionPipeline(
        transformations=[
            SentenceSplitter(),
            TitleExtractor(llm=llm, nodes=1, show_progress=False),
            QuestionsAnsweredExtractor(llm=llm, questions=1, show_progress=False),
        ]
    )
    documents = [Document(text=FACTS[0])]
    nodes = (
        asyncio.run(pipeline.arun(documents=documents))
        if how == "async"
        else pipeline.run(documents=documents)
    )
    assert nodes[0].metadata["document_title"] == "Lighthouses"
    assert nodes[0].metadata["questions_this_excerpt_can_answer"] == "Lighthouses"
    assert len(heard) == len(emulator.requests)


def test_context_of_a_chunk(emulator: Emulator, llm: KimiVertex) -> None:
    """An extractor that takes the first block of an answer for its text gets the text, not the thinking."""
    emulator.enqueue(Turn(thinking="hm", text="On the lighthouse."))
    store = SimpleDocumentStore()
    document = Document(text="The lighthouse is 40 m high. It is white.", id_="d")
    store.add_documents([document])
    node = TextNode(text="It is white.")
    node.relationships[NodeRelationship.SOURCE] = document.as_related_node_info()
    [metadata] = DocumentContextExtractor(store, llm).extract([node])
    assert metadata == {"context": "On the lighthouse."}


def test_prompts_are_not_cut_short(index: VectorStoreIndex, llm: KimiVertex, recorder: Recorder) -> None:
    """The real context window is used: many passages go into one request."""
    many = VectorStoreIndex.from_documents(
        [Document(text=f"Passage {n}. " + "word " * 300) for n in range(40)], embed_model=HashEmbedding()
    )
    many.as_query_engine(llm=llm, similarity_top_k=40).query("word")
    (start,) = recorder.of(LLMChatStartEvent)
    assert str(start.messages).count("Passage ") == 40
