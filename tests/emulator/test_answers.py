"""The brain's other answers: from passages, in JSON, and to the prompts of LlamaIndex's components."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.condense_plus_context import DEFAULT_CONDENSE_PROMPT_TEMPLATE
from llama_index.core.chat_engine.context import DEFAULT_CONTEXT_TEMPLATE, DEFAULT_REFINE_TEMPLATE
from llama_index.core.evaluation.correctness import DEFAULT_EVAL_TEMPLATE as CORRECTNESS
from llama_index.core.evaluation.eval_utils import default_parser
from llama_index.core.evaluation.faithfulness import DEFAULT_EVAL_TEMPLATE as FAITHFULNESS
from llama_index.core.evaluation.faithfulness import DEFAULT_REFINE_TEMPLATE as FAITHFULNESS_REFINED
from llama_index.core.evaluation.relevancy import DEFAULT_EVAL_TEMPLATE as RELEVANCY
from llama_index.core.indices.utils import default_parse_choice_select_answer_fn
from llama_index.core.output_parsers.selection import SelectionOutputParser
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.prompts.chat_prompts import (
    CHAT_REFINE_PROMPT,
    CHAT_TEXT_QA_PROMPT,
    CHAT_TREE_SUMMARIZE_PROMPT,
)
from llama_index.core.prompts.default_prompts import (
    DEFAULT_CHOICE_SELECT_PROMPT,
    DEFAULT_QUERY_PROMPT,
    DEFAULT_REFINE_PROMPT,
    DEFAULT_TEXT_QA_PROMPT,
)
from llama_index.core.question_gen.output_parser import SubQuestionOutputParser
from llama_index.core.question_gen.prompts import DEFAULT_SUB_QUESTION_PROMPT_TMPL, build_tools_text
from llama_index.core.selectors.prompts import DEFAULT_SINGLE_SELECT_PROMPT
from llama_index.core.tools import ToolMetadata

PASSAGES = """\
file_path: /docs/retries.md

# Retries

The client retries a failed call twice by default. It waits longer after every
failure. Bananas are yellow.

file_path: /docs/timeouts.md

# Timeouts

- The idle timeout is 300 seconds, because Kimi may think for minutes.
- The connect timeout is 10 seconds.
"""
RETRIES = "The client retries a failed call twice by default."
IDLE = "The idle timeout is 300 seconds, because Kimi may think for minutes."


def wire(template: BasePromptTemplate, **values: Any) -> list[dict[str, Any]]:
    """The messages that LlamaIndex sends for a template."""
    return [
        {"role": message.role.value, "content": message.content}
        for message in template.format_messages(**values)
    ]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        (DEFAULT_TEXT_QA_PROMPT, ("context_str", "query_str")),
        (CHAT_TEXT_QA_PROMPT, ("context_str", "query_str")),
        (CHAT_TREE_SUMMARIZE_PROMPT, ("context_str", "query_str")),
    ],
)
@pytest.mark.parametrize(
    ("question", "answer"),
    [("How often is a failed call retried?", RETRIES), ("What is the idle timeout?", IDLE)],
)
def test_question_answering_quotes_the_fitting_sentence(
    kimi: Any, template: BasePromptTemplate, names: tuple[str, str], question: str, answer: str
) -> None:
    """LlamaIndex's templates get the passage's own sentence as the answer."""
    assert kimi.text(wire(template, **dict(zip(names, (PASSAGES, question), strict=True)))) == answer


def test_what_the_passages_do_not_say_is_not_answered(kimi: Any) -> None:
    """Without a fitting sentence the answer says so, and that it is the emulator's."""
    text = kimi.text(wire(DEFAULT_TEXT_QA_PROMPT, context_str=PASSAGES, query_str="Who won the cup?"))
    assert "do not answer" in text
    assert "emulator" in text


@pytest.mark.parametrize("template", [DEFAULT_REFINE_PROMPT, CHAT_REFINE_PROMPT])
@pytest.mark.parametrize(
    ("existing", "context", "answer"),
    [
        ("Bananas are yellow.", PASSAGES, IDLE),
        (IDLE, "Bananas are yellow. Apples are red.", IDLE),
    ],
)
def test_refining_keeps_the_better_answer(
    kimi: Any, template: BasePromptTemplate, existing: str, context: str, answer: str
) -> None:
    """New passages replace an answer only if they fit better."""
    values = {"existing_answer": existing, "context_msg": context, "query_str": "What is the idle timeout?"}
    assert kimi.text(wire(template, **values)) == answer


def test_a_context_in_the_system_prompt_is_used(kimi: Any) -> None:
    """ContextChatEngine's way: passages in the system prompt, the question as the user's message."""
    messages = [
        {"role": "system", "content": DEFAULT_CONTEXT_TEMPLATE.format(context_str=PASSAGES)},
        {"role": "user", "content": "What is the idle timeout?"},
    ]
    assert kimi.text(messages) == IDLE


def test_a_refining_system_prompt_keeps_the_better_answer(kimi: Any) -> None:
    """ContextChatEngine's refining prompt puts the answer so far into the system prompt."""
    system = DEFAULT_REFINE_TEMPLATE.format(context_msg="Bananas are yellow.", existing_answer=IDLE)
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "What is the idle timeout?"},
    ]
    assert kimi.text(messages) == IDLE


@pytest.mark.parametrize(
    "prompt",
    [
        "Answer the question based only on the following context:\n{context}\n\nQuestion: {question}\n",
        "Use these pieces of context to answer.\n\n<context>\n{context}\n</context>\n\nQuestion: {question}",
        "Context:\n{context}\n\nQuestion: {question}\nHelpful Answer:",
    ],
)
def test_langchains_prompts_are_understood(kimi: Any, prompt: str) -> None:
    """The common LCEL templates get the passage's own sentence too."""
    assert kimi.text(prompt.format(context=PASSAGES, question="What is the idle timeout?")) == IDLE


def test_metadata_is_not_quoted(kimi: Any) -> None:
    """File paths and headings are no sentences, though they match."""
    text = kimi.text(
        wire(DEFAULT_TEXT_QA_PROMPT, context_str=PASSAGES, query_str="docs timeouts md file path?")
    )
    assert "file_path" not in text


TOOLS = [
    ToolMetadata(name="cats", description="Useful for questions about cats"),
    ToolMetadata(name="weather", description="Useful for questions about rain and weather"),
]


def test_a_selector_gets_a_parsable_choice(kimi: Any) -> None:
    """LLMSingleSelector's parser reads the choice that shares most words with the question."""
    prompt = SelectionOutputParser().format(
        DEFAULT_SINGLE_SELECT_PROMPT.format(
            num_choices="2",
            context_list="\n\n".join(
                f"({number}) {tool.description}" for number, tool in enumerate(TOOLS, 1)
            ),
            query_str="Will it rain?",
        )
    )
    (answer,) = SelectionOutputParser().parse(kimi.text(prompt)).parsed_output
    assert answer.choice == 2


def test_a_tree_selector_gets_its_answer_line(kimi: Any) -> None:
    """TreeSelectLeafRetriever's form `ANSWER: N` is kept."""
    values: dict[str, Any] = {
        "num_chunks": "2",
        "context_list": "(1) About cats\n\n(2) About rain",
        "query_str": "Will it rain?",
    }
    assert kimi.text(DEFAULT_QUERY_PROMPT.format(**values)).startswith("ANSWER: 2\n")


def test_a_question_generator_gets_sub_questions(kimi: Any) -> None:
    """LLMQuestionGenerator's parser reads a question for the tool that fits."""
    prompt = PromptTemplate(DEFAULT_SUB_QUESTION_PROMPT_TMPL).format(
        tools_str=build_tools_text(TOOLS), query_str="How is the weather?"
    )
    items = SubQuestionOutputParser().parse(kimi.text(prompt)).parsed_output
    assert [(item.tool_name, item.sub_question) for item in items] == [("weather", "How is the weather?")]


def test_a_reranker_gets_numbers(kimi: Any) -> None:
    """LLMRerank's parser reads the documents that fit."""
    context = "Document 1:\nCats purr.\n\nDocument 2:\nRain falls in Bergen."
    text = kimi.text(
        DEFAULT_CHOICE_SELECT_PROMPT.format(context_str=context, query_str="Where does rain fall?")
    )
    assert default_parse_choice_select_answer_fn(text, 2)[0] == [2]


@pytest.mark.parametrize(
    ("claim", "verdict"), [("The idle timeout is 300 seconds.", "YES"), ("Cats bark.", "NO")]
)
def test_faithfulness_is_judged(kimi: Any, claim: str, verdict: str) -> None:
    """The faithfulness evaluator gets YES for what the context says and NO for what it does not."""
    assert kimi.text(FAITHFULNESS.format(query_str=claim, context_str=PASSAGES)) == verdict
    refined: dict[str, Any] = {"query_str": claim, "existing_answer": "NO", "context_msg": PASSAGES}
    assert kimi.text(FAITHFULNESS_REFINED.format(**refined)) == verdict


@pytest.mark.parametrize(("answer", "verdict"), [(IDLE, "YES"), ("Cats bark at dogs loudly.", "NO")])
def test_relevancy_is_judged(kimi: Any, answer: str, verdict: str) -> None:
    """The relevancy evaluator gets YES or NO."""
    pair = f"Question: What is the idle timeout?\nResponse: {answer}"
    assert kimi.text(RELEVANCY.format(query_str=pair, context_str=PASSAGES)) == verdict


@pytest.mark.parametrize(("answer", "good"), [(IDLE, True), ("Cats bark.", False)])
def test_correctness_is_graded(kimi: Any, answer: str, good: bool) -> None:
    """The correctness evaluator's parser reads a grade that follows the reference."""
    messages = wire(CORRECTNESS, query="idle timeout?", reference_answer=IDLE, generated_answer=answer)
    grade, reasoning = default_parser(kimi.text(messages))
    assert (grade is not None and grade >= 4) is good
    assert reasoning


def test_a_follow_up_is_condensed(kimi: Any) -> None:
    """Condensing chat engines get the follow-up message as the standalone question."""
    prompt = DEFAULT_CONDENSE_PROMPT_TEMPLATE.format(
        chat_history=str(ChatMessage("Hi")), question="And in Rome?"
    )
    assert kimi.text(prompt) == "And in Rome?"


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "degrees": {"type": "number"},
        "sky": {"type": "string", "enum": ["clear", "cloudy"]},
        "summary": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["city", "degrees", "sky", "summary", "tags"],
}


def test_a_json_schema_is_obeyed(kimi: Any) -> None:
    """The answer is an instance of the schema with the question's values."""
    wanted = {"type": "json_schema", "json_schema": {"name": "Weather", "schema": SCHEMA}}
    value = json.loads(kimi.text("It is 18.5 degrees and cloudy in Paris.", response_format=wanted))
    assert (value["city"], value["degrees"], value["sky"]) == ("Paris", 18.5, "cloudy")
    assert len(value["tags"]) == 2
    assert "note" not in value


def test_json_mode_uses_the_keys_of_the_prompt(kimi: Any) -> None:
    """With json_object the keys named in the prompt are filled."""
    prompt = "Tell a joke as JSON with 'setup' and 'punchline' keys."
    value = json.loads(kimi.text(prompt, response_format={"type": "json_object"}))
    assert set(value) == {"setup", "punchline"}


def test_json_mode_without_a_hint_is_still_an_object(kimi: Any) -> None:
    """With json_object any prompt gives an object."""
    assert isinstance(json.loads(kimi.text("Hi", response_format={"type": "json_object"})), dict)


def test_a_schema_in_the_prompt_is_obeyed(kimi: Any) -> None:
    """An output parser's format instructions are followed, the last schema in the prompt counts."""
    example = '{"properties": {"foo": {"type": "string"}}, "required": ["foo"]}'
    prompt = (
        f"It is 3 degrees in Oslo. Conform to the JSON schema below, like {example}.\n{json.dumps(SCHEMA)}"
    )
    assert json.loads(kimi.text(prompt))["city"] == "Oslo"


def test_tools_come_before_the_structured_answer(kimi: Any, tool: Any) -> None:
    """With tools and a schema the brain calls first, and fills the schema from the results."""
    wanted = {"type": "json_schema", "json_schema": {"name": "Weather", "schema": SCHEMA}}
    weather = tool("get_weather", "Weather at a place", location={"type": "string"})
    results = {"get_weather": lambda location: "cloudy, 7 degrees"}
    rounds, answer = kimi.loop("How is the weather in Oslo?", [weather], results, response_format=wanted)
    assert rounds == [[("get_weather", {"location": "Oslo"})]]
    value = json.loads(answer)
    assert (value["city"], value["degrees"], value["sky"]) == ("Oslo", 7, "cloudy")


def test_a_trailing_assistant_message_is_continued(kimi: Any) -> None:
    """Prefill: the answer goes on behind the text that is there."""
    messages = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "One, two"}]
    assert kimi.text(messages).startswith(" and so on")


def test_the_free_answer_says_who_answers(kimi: Any) -> None:
    """Without tools or passages the answer names the emulator and the question."""
    text = kimi.text("What is love?")
    assert "emulator" in text
    assert "What is love?" in text
