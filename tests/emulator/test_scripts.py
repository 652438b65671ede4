"""Scripts: which request gets which answer, in Python and in YAML, and what is left at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import (
    Call,
    ChatRequest,
    Emulator,
    Fault,
    PastMessage,
    Raw,
    Recorded,
    Rule,
    Script,
    Tool,
    Turn,
    respond,
)

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_a_rule_answers_in_sequence_and_then_the_next_one_does(kimi: Any) -> None:
    """Each answer of a rule is given once; what follows is up to later rules."""
    kimi.emulator.on("weather").answer("one", "two")
    kimi.emulator.on().always("else")
    assert [kimi.text("weather?") for _ in range(4)] == ["one", "two", "else", "else"]


def test_a_sequence_can_repeat(kimi: Any) -> None:
    """`times` repeats the whole sequence."""
    kimi.emulator.on().answer("a", "b", times=2)
    assert [kimi.text("x") for _ in range(4)] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("conditions", "body", "headers"),
    [
        ({"text": "snow"}, {"messages": [user("will it snow?")]}, {}),
        ({"text": re.compile(r"^will .* \?$|snow")}, {"messages": [user("will it snow?")]}, {}),
        ({"text": lambda text: len(text) == 13}, {"messages": [user("will it snow?")]}, {}),
        ({"anywhere": "first"}, {"messages": [user("first"), user("second")]}, {}),
        ({"system": "pirate"}, {"messages": [{"role": "system", "content": "a pirate"}, user("x")]}, {}),
        ({"tools": ["get_weather"]}, {"messages": [user("x")], "tools": [TOOL]}, {}),
        ({"turn": 1}, {"messages": [user("x"), {"role": "assistant", "content": "y"}, user("z")]}, {}),
        ({"model": "*/other-*"}, {"messages": [user("x")], "model": "m/other-1"}, {}),
        ({"path": "*/endpoints/openapi/*"}, {"messages": [user("x")]}, {}),
        ({"headers": {"X-Team": "red"}}, {"messages": [user("x")]}, {"x-team": "red 1"}),
        ({"when": lambda chat: chat.max_tokens == 7}, {"messages": [user("x")], "max_tokens": 7}, {}),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_conditions(
    kimi: Any, conditions: dict[str, Any], body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Each condition lets its request through and holds another one back."""
    kimi.emulator.on(**conditions).always("matched")
    kimi.emulator.on().always("other")
    asked = {"model": "m/x", **body}
    found = kimi.http.post(kimi.url, json=asked, headers=headers).json()["choices"][0]["message"]["content"]
    missed = kimi.http.post(
        f"{kimi.emulator.origin}/v1/chat/completions", json={"model": "a/b", "messages": [user("no")]}
    )
    assert found == "matched"
    assert missed.json()["choices"][0]["message"]["content"] == "other"


def test_a_rule_can_ask_for_no_tools(kimi: Any) -> None:
    """An empty list of tools is a request that declares none."""
    kimi.emulator.on(tools=[]).always("bare")
    kimi.emulator.on().always("equipped")
    assert [kimi.text("x"), kimi.text("x", tools=[TOOL])] == ["bare", "equipped"]


def test_a_result_condition_waits_for_the_tool(kimi: Any) -> None:
    """`result` matches a tool's result in the last message and nothing else."""
    kimi.emulator.on(result="18").answer("Warm.")
    kimi.emulator.on("weather").answer(Turn(thinking="I look.", tool_calls=[Call("get_weather")]))
    first = kimi.message([user("weather 18?")], tools=[TOOL])
    call_id = first["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": call_id, "content": "18 °C"}
    assert kimi.text([user("weather 18?"), first, result], tools=[TOOL]) == "Warm."


def test_the_queue_comes_before_the_script_and_the_brain_after_it(kimi: Any) -> None:
    """Queue, then script, then the user's function, then the built-in brain."""
    kimi.emulator.brain = lambda chat: "from the function" if "f" in chat.messages[-1].text else None
    kimi.emulator.on().answer("from the script")
    kimi.emulator.enqueue(Turn(text="from the queue"))
    found = [kimi.text(text) for text in ("f", "f", "f", "hello")]
    assert found[:3] == ["from the queue", "from the script", "from the function"]
    assert "emulator" in found[3]
    assert [request.json["messages"][0]["content"] for request in kimi.emulator.unexpected] == ["hello"]


def test_a_rule_can_ask_a_function(kimi: Any) -> None:
    """`by` hands the request to a function, which may use the built-in brain."""

    def shout(chat: ChatRequest) -> Turn:
        return Turn(text=str(respond(chat).text).upper())

    kimi.emulator.on().always(shout)
    assert kimi.text("Hi") == kimi.text("Hi").upper()


def test_rules_answer_with_raw_bytes_and_faults(kimi: Any) -> None:
    """A rule's answer may be exact bytes or a fault."""
    kimi.emulator.on().answer(Raw([b'{"choices": []}']), Fault("503"), Fault("error-event", after=1))
    assert kimi.post("x").json() == {"choices": []}
    assert kimi.post("x").status_code == 503
    assert b"RESOURCE_EXHAUSTED" in kimi.post("x", stream=True).content


def test_what_is_no_answer_is_refused() -> None:
    """A rule takes turns, raw answers, faults and text only."""
    with pytest.raises(TypeError, match="int is not an answer"):
        Rule().answer(3)  # type: ignore[arg-type]


def test_verify_names_what_is_left_and_what_came(kimi: Any) -> None:
    """A failed expectation lists unused answers, unscripted requests and all that came."""
    kimi.emulator.on("snow", turn=0).answer("a", "b")
    kimi.emulator.enqueue(Raw([b""]), route="token")
    kimi.text("Will it snow?")
    kimi.text("Hello there")
    with pytest.raises(AssertionError) as caught:
        kimi.emulator.verify()
    words = str(caught.value)
    assert "1 answer(s) for text='snow', turn=0" in words
    assert "1 answer(s) queued for token" in words
    assert "not scripted: POST" in words
    assert "user: 'Hello there'" in words
    assert "1. POST" in words
    kimi.emulator.reset()
    kimi.emulator.verify()


def test_verify_says_why_no_rule_answered(kimi: Any) -> None:
    """For a request without a script it names what did not match in each rule, and which one was used up."""
    kimi.emulator.on("rain", tools=["look"], headers={"X-Team": "red"}).answer("a")
    kimi.emulator.on("snow").answer("b")
    kimi.text("Will it snow?")
    kimi.text("Will it snow?")
    with pytest.raises(AssertionError) as caught:
        kimi.emulator.verify(consumed=False)
    words = str(caught.value)
    assert "the rule for text='rain', tools=['look'], headers={'X-Team': 'red'} does not match in" in words
    assert "does not match in text, tools, header X-Team" in words
    assert "the rule for text='snow' has no answer left" in words


def test_a_script_is_copied(kimi: Any) -> None:
    """Two emulators that share a script do not use up each other's answers."""
    script = Script()
    script.on().answer("only once")
    with Emulator(script=script) as one, Emulator(script=script) as two:
        for emulator in (one, two):
            answer = httpx.post(
                f"{emulator.base_url}/chat/completions", json={"model": "a/b", "messages": [user("x")]}
            )
            assert answer.json()["choices"][0]["message"]["content"] == "only once"


YAML = """
rules:
  - match: {text: {regex: "^(weather|snow)"}, turn: 0, tools: get_weather, headers: {x-team: red}}
    answer:
      - thinking: [I, " look."]
        tool_calls: [{name: get_weather, arguments: {city: Oslo}, id: mine}]
        usage: {prompt_tokens: 1, completion_tokens: 2, total_tokens: 3}
      - {fault: 429, retry_after: 1}
      - {raw: ["data: x", 0.1, cut], status: 200}
    times: 2
  - match: hello
    always: Hello!
  - answer: {text: Fine., finish_reason: length, dialect: vllm-new, chunking: character, pause: 0.1}
"""


def test_yaml_says_the_same_as_python(tmp_path: Path) -> None:
    """Every part of a YAML script becomes the value that Python code would make."""
    path = tmp_path / "script.yaml"
    path.write_text(YAML, encoding="utf-8")
    script = Script.from_yaml(path)
    hello = chat("hello you")
    assert script.take(*hello) == Turn(text="Hello!")
    assert script.take(*chat("x")) == Turn(
        text="Fine.", finish_reason="length", dialect="vllm-new", chunking="character", pause=0.1
    )
    taken = [script.take(*chat("snow?", tool="get_weather", team="red")) for _ in range(7)]
    call = Call("get_weather", {"city": "Oslo"}, "mine")
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    once = [
        Turn(thinking=["I", " look."], tool_calls=[call], usage=usage),
        Fault("429", retry_after="1"),
        Raw([b"data: x", 0.1, "cut"]),
    ]
    assert taken == [*once, *once, None]
    assert script.remaining == 0


SERVED = """
rules:
  - match: {text: {regex: "^(hi|hello)"}, turn: 0, path: "*/openapi/*"}
    answer:
      - {fault: 429, retry_after: 7}
      - {raw: ['{"choices": []}'], status: 201, headers: {X-Made: by hand}}
      - {thinking: Hm., tool_calls: [{name: look, arguments: {at: sky}}], dialect: vllm-new}
  - match: {tools: get_weather}
    answer: Rain.
    times: 2
    always: Snow.
"""


def test_a_yaml_script_is_served(kimi: Any, tmp_path: Path) -> None:
    """What a file says arrives: a fault with its header, exact bytes, a call, and then what is always said."""
    path = tmp_path / "script.yaml"
    path.write_text(SERVED, encoding="utf-8")
    kimi.emulator.script = Script.from_yaml(path)
    refused, raw, called = (kimi.post("hello") for _ in range(3))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert (raw.status_code, raw.json(), raw.headers["x-made"]) == (201, {"choices": []}, "by hand")
    message = called.json()["choices"][0]["message"]
    assert (message["reasoning"], message["tool_calls"][0]["function"]["arguments"]) == (
        "Hm.",
        '{"at": "sky"}',
    )
    assert [kimi.text("x", tools=[TOOL]) for _ in range(4)] == ["Rain.", "Rain.", "Snow.", "Snow."]


def chat(text: str, tool: str = "", team: str = "") -> tuple[ChatRequest, Recorded]:
    tools = [Tool(tool)] if tool else []
    asked = ChatRequest(model="a/b", messages=[PastMessage("user", text)], tools=tools)
    return asked, Recorded("POST", "/v1/chat/completions", "", {"x-team": team}, b"")


RULE = "rules:\n  - match: first\n    answer: x\n  - match: {}\n    {}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "script.yaml: rules: Input should be a valid list, got None"),
        ("rule: []", "script.yaml: rules: Input should be a valid list"),
        ("\nrules:\n  - [", "script.yaml is not YAML: while parsing"),
        ("rules:\n\t- x", "is not YAML: while scanning for the next token found character '\\t'"),
        ("rules: !!python/object/apply:os.getcwd []", "is not YAML: could not determine"),
        ("rules:\n  - answer: 2026-12-24", "rules[0].answer"),
        (RULE.format("x", ""), "rules[1]: Value error, a rule needs `answer` or `always`"),
        (RULE.format("{txt: x}", "answer: y"), "rules[1].match.txt: Extra inputs are not permitted"),
        (RULE.format("{turn: zero}", "answer: y"), "rules[1].match.turn: Input should be a valid integer"),
        (RULE.format("{tools: [yes]}", "answer: y"), "rules[1].match.tools"),
        (RULE.format("{headers: [a]}", "answer: y"), "rules[1].match.headers: Input should be a valid dict"),
        (
            RULE.format("{text: {regex: '('}}", "answer: x"),
            "rules[1].match: Value error, '(' is not a regular",
        ),
        (RULE.format("{when: x}", "answer: x"), "rules[1].match.when: Input should be callable"),
        (RULE.format("x", "answer: []"), "rules[1].answer: Value should have at least 1 item"),
        (
            RULE.format("x", "answer: [y, {fault: 418}]"),
            "rules[1].answer[1].fault: Value error, fault '418' is unknown; it must be one of reset, ",
        ),
        (RULE.format("x", "answer: {text: y, pause: -1}"), "turn: Value error, pause -1.0 is negative"),
        (RULE.format("x", "answer: {fault: 429, after: -1}"), "fault: Value error, after -1 is negative"),
        (RULE.format("x", "answer: {raw: [-0.5]}"), "raw: Value error, pause -0.5 is negative"),
        (RULE.format("{turn: -1}", "answer: y"), "rules[1]: Value error, turn -1 is negative"),
        (
            RULE.format("x", "answer: {fault: 429, after: soon}"),
            "rules[1].answer[0].fault.after: Input should be",
        ),
        (RULE.format("x", "answer: {tool_calls: [{}]}"), "turn.tool_calls[0].name: Field required"),
        (RULE.format("x", "answer: {dialect: latin}"), "turn.dialect: Input should be 'vertex'"),
        (RULE.format("x", "answer: {text: {a: 1}}"), "rules[1].answer[0].turn.text"),
        (RULE.format("x", "answer: {raw: [{a: 1}]}"), "rules[1].answer[0].raw.parts[0]"),
        (RULE.format("x", "answer: y\n    times: 0"), "rules[1].times: Input should be greater than 0"),
    ],
)
def test_a_wrong_script_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    """The error names the file, the place in it and the mistake, all in one line."""
    path = tmp_path / "script.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"script\.yaml") as caught:
        Script.from_yaml(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_are_texts_where_texts_are_wanted(tmp_path: Path) -> None:
    """`answer: 42` needs no quotes, nor do a header's number and a tool's name."""
    path = tmp_path / "script.yaml"
    path.write_text("[{match: 42, answer: [43, {text: [4, 5]}]}]", encoding="utf-8")
    script = Script.from_yaml(path)
    assert [script.take(*chat("is it 42?")) for _ in "ab"] == [Turn(text="43"), Turn(text=["4", "5"])]


def test_what_an_alias_repeats_is_read_once(tmp_path: Path) -> None:
    """A file of aliases of aliases is refused as quickly as any other."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    path = tmp_path / "script.yaml"
    path.write_text(f"l0: &l0 [x]\n{levels}", encoding="utf-8")
    with pytest.raises(ValueError, match="valid list"):
        Script.from_yaml(path)


def test_a_rule_needs_something_to_answer() -> None:
    """No answers, and no times, are a mistake, and not a rule that never answers."""
    with pytest.raises(ValueError, match="needs an answer"):
        Script().on("x").answer()
    with pytest.raises(ValueError, match="needs an answer"):
        Script().on("x").answer("y", times=0)


@pytest.mark.parametrize("missing", ["yaml", "pydantic"])
def test_without_the_extra_the_error_says_what_to_install(missing: str) -> None:
    """Scripts in files need the extra."""
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom kimi_vertex_emulator import Script\nScript.from_yaml('/none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "kimi-vertex[testing]"' in done.stderr.splitlines()[-1]


def test_unknown_names_are_refused() -> None:
    """A misspelt dialect, way of cutting or fault is an error that lists the right ones."""
    for make in (
        lambda: Emulator(dialect="latin"),  # type: ignore[arg-type]
        lambda: Emulator(chunking="bites"),  # type: ignore[arg-type]
        lambda: Fault("gremlin"),
    ):
        with pytest.raises(ValueError, match="must be one of"):
            make()
