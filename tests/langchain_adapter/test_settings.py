"""Settings and metadata."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr

from kimi_vertex import CLIENT_SETTINGS, KimiVertexClient
from kimi_vertex_emulator import Emulator, Fault, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex, register_init_chat_model

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


SECRET = "ya29.hunter2"
TURN = Turn(thinking="Hm.", text="Blue.")


def test_names_and_aliases() -> None:
    """`model` and `model_name`, `access_token` and `api_key` mean the same."""
    names: dict[str, Any] = {"model_name": "moonshotai/kimi-k2-thinking-maas", "api_key": SECRET}
    model = ChatKimiVertex(project="a-project", **names)
    assert model.model == model.model_name == "moonshotai/kimi-k2-thinking-maas"
    assert model.access_token is not None
    assert model.access_token.get_secret_value() == SECRET


def test_every_setting_of_the_client_is_a_field() -> None:
    """The core's client and the chat model have the same settings with the same defaults."""
    fields = ChatKimiVertex.model_fields
    parameters = inspect.signature(KimiVertexClient).parameters
    for name in CLIENT_SETTINGS:
        assert fields[name].get_default(call_default_factory=True) == parameters[name].default


def test_a_changed_setting_is_followed(emulator: Emulator) -> None:
    """An assignment to a setting holds for the next request, wherever the client had it from."""
    emulator.enqueue(TURN)
    model = ChatKimiVertex(base_url="http://127.0.0.1:9/v1")
    model.base_url = emulator.base_url
    model.temperature = 0.5
    model.invoke("q")
    assert emulator.requests[-1].json["temperature"] == 0.5


def test_default_model() -> None:
    """Without a model it is the managed one."""
    assert (
        ChatKimiVertex(model="moonshotai/kimi-k2-thinking-maas", project="a-project").model_name
        == "moonshotai/kimi-k2-thinking-maas"
    )


def test_only_what_was_set_is_sent(emulator: Emulator, make_model: MakeModel) -> None:
    """Nothing the user did not set is in the request; what was set is."""
    emulator.enqueue(TURN, TURN)
    make_model().invoke("q")
    make_model(temperature=0.5, top_p=0.9, max_tokens=7, stop=["x"], seed=3, extra_body={"top_k": 5}).invoke(
        "q"
    )
    plain, full = (request.json for request in emulator.requests)
    assert set(plain) == {"model", "messages"}
    expected = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["x"], "seed": 3, "top_k": 5}
    assert {name: full[name] for name in expected} == expected


def test_call_options_override(emulator: Emulator, make_model: MakeModel) -> None:
    """Options of one request win; those that no rule is known of become fields of the body."""
    emulator.enqueue(TURN)
    model = make_model(temperature=0.5, extra_body={"top_k": 5})
    message = model.invoke(
        "q", stop=["y"], temperature=0.1, model="moonshotai/other-maas", presence_penalty=0.2
    )
    body = emulator.requests[-1].json
    assert (body["temperature"], body["stop"], body["model"]) == (0.1, ["y"], "moonshotai/other-maas")
    assert (body["top_k"], body["presence_penalty"]) == (5, 0.2)
    assert message.response_metadata["model_name"] == "moonshotai/other-maas"


def test_no_secret_is_shown() -> None:
    """Token and credentials are in no repr and no dump."""
    info = {"type": "service_account", "private_key": SECRET}
    for model in (
        ChatKimiVertex(base_url="http://127.0.0.1:1/v1", access_token=SecretStr(SECRET)),
        ChatKimiVertex(
            model="moonshotai/kimi-k2-thinking-maas", project="a-project", credentials=info, access_token=None
        ),
    ):
        shown = f"{model!r} {model} {dumps(model)} {model.asdict()} {model.model_dump()}"
        assert SECRET not in shown


class _Started(BaseCallbackHandler):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.told.append((serialized, kwargs))


@pytest.mark.parametrize("place", ["setting", "request", "bind"])
async def test_no_header_is_shown(emulator: Emulator, make_model: MakeModel, place: str) -> None:
    """Values of headers are sent, but reach no dump, no trace and no cache key."""
    headers = {"x-key": SECRET}
    model: Any = make_model(extra_headers=headers) if place == "setting" else make_model()
    model = model.bind(extra_headers=headers) if place == "bind" else model
    options: dict[str, Any] = {"extra_headers": headers} if place == "request" else {}
    started = _Started()
    config: Any = {"callbacks": [started]}
    model.invoke("q", config, **options)
    await model.ainvoke("q", config, **options)
    list(model.stream("q", config, **options))
    _ = [chunk async for chunk in model.astream("q", config, **options)]
    assert [request.headers["x-key"] for request in emulator.requests] == [SECRET] * 4
    assert len(started.told) == 4
    assert SECRET not in f"{started.told} {dumps(model)} {model!r}"
    assert "extra_headers" in dumps(model) or place == "request"


@pytest.mark.parametrize("way", ["bind_tools", "with_structured_output"])
def test_fallbacks_pass_on(emulator: Emulator, make_model: MakeModel, way: str) -> None:
    """`with_fallbacks` hands tools and schemas to each model, for which it reads the annotations of the methods."""
    emulator.enqueue(Fault("400"), Turn(text='{"x": 1}'))
    schema = {
        "title": "look",
        "description": "Look.",
        "type": "object",
        "properties": {"x": {"type": "integer"}},
    }
    both: Any = make_model().with_fallbacks([make_model()])
    bound = both.bind_tools([schema]) if way == "bind_tools" else both.with_structured_output(schema)
    bound.invoke("q")
    sent = [request.json for request in emulator.requests]
    assert len(sent) == 2
    assert all(body.get("tools" if way == "bind_tools" else "response_format") for body in sent)


@pytest.mark.parametrize("choice", ["nope", {"type": "function", "function": {"name": "nope"}}])
def test_impossible_choice_is_refused_when_bound(model: ChatKimiVertex, choice: Any) -> None:
    """A choice of a tool that is not there is a mistake of the program, not of a request."""
    with pytest.raises(ModelInvalidRequestError, match="the tools are look"):
        model.bind_tools([{"name": "look", "description": "Look.", "parameters": {}}], tool_choice=choice)


def test_a_servers_own_tools_are_passed_on(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Tools that the server runs itself go out as they were given, beside a choice."""
    tools: list[Any] = [
        {"type": "builtin_function", "function": {"name": "$web_search"}},
        {"type": "web_search"},
    ]
    emulator.enqueue(TURN)
    model.bind_tools(tools, tool_choice="auto").invoke("q")
    assert emulator.requests[-1].json["tools"] == tools


def test_tracing_params(make_model: MakeModel) -> None:
    """LangSmith's parameters name provider and model, and follow a call's overrides."""
    model = make_model(temperature=0.5, max_tokens=7, stop="x")
    params = model._get_ls_params(stop=["y"], model="other")
    assert params == {
        "ls_provider": "kimi_vertex",
        "ls_model_type": "chat",
        "ls_model_name": "other",
        "ls_temperature": 0.5,
        "ls_max_tokens": 7,
        "ls_stop": ["y"],
    }


def test_versions(model: ChatKimiVertex) -> None:
    """Traces hold the versions of langchain-core and of this package."""
    assert {"langchain-core", "kimi-vertex"} <= set((model.metadata or {})["lc_versions"])


def test_provider_is_one_id(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`ls_provider` equals `model_provider`, which LangChain's summarization compares."""
    emulator.enqueue(TURN)
    assert model.invoke("q").response_metadata["model_provider"] == model._get_ls_params().get("ls_provider")


def test_usage_callback(emulator: Emulator, model: ChatKimiVertex) -> None:
    """LangChain's usage callback counts streams and calls under the model's name."""
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    turn = Turn(text="Blue.", usage=usage)
    emulator.enqueue(turn, turn)
    handler = UsageMetadataCallbackHandler()
    list(model.stream("q", {"callbacks": [handler]}))
    model.invoke("q", {"callbacks": [handler]})
    assert handler.usage_metadata["moonshotai/kimi-k2-thinking-maas"]["total_tokens"] == 16


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_usage_callback_without_a_name(emulator: Emulator, way: str) -> None:
    """Usage is counted also where neither the settings nor the server name the model."""
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    body = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    sent = json.dumps(body if way == "invoke" else chunk).encode()
    whole = Raw([sent], headers={"content-type": "application/json"})
    emulator.enqueue(whole if way == "invoke" else Raw([b"data: ", sent, b"\n\ndata: [DONE]\n\n"]))
    handler = UsageMetadataCallbackHandler()
    model = ChatKimiVertex(base_url=f"{emulator.origin}/v1")
    config: Any = {"callbacks": [handler]}
    _ = model.invoke("q", config) if way == "invoke" else list(model.stream("q", config))
    assert [counts["total_tokens"] for counts in handler.usage_metadata.values()] == [8]


@pytest.mark.parametrize(
    ("model", "server", "expected"),
    [
        ("kimi-k3", "moonshot", (1048576, 1048576, True, False, True, ["low", "high", "max"], "max", False)),
        ("kimi-k3.1-pro", "sglang", (1048576, 1048576, True, True, True, ["none", "low", "high", "max"], "max", True)),
        ("kimi-k2.7-code", None, (262144, 262144, True, True, False, None, None, True)),
        ("Kimi-K2.6", "moonshot", (262144, 262144, True, True, False, ["none", "high"], "high", False)),
        ("Kimi-Linear-48B-A3B-Instruct", None, (1048576, 1048576, False, False, False, None, None, True)),
        (None, None, (262144, 262144, True, True, False, None, None, True)),
    ],
)  # fmt: skip
def test_profile_of_each_model(model: str | None, server: Any, expected: tuple[Any, ...]) -> None:
    """The profile has each model's limits, inputs and levels of effort, as its server takes them."""
    if "mid_conversation_tools" not in ModelProfile.__annotations__:
        pytest.skip("this langchain-core has no such keys in its profiles")
    profile: Any = ChatKimiVertex(model=model, server=server, base_url="http://localhost:1/v1").profile
    assert (
        profile["max_input_tokens"],
        profile["max_output_tokens"],
        profile["video_inputs"],
        profile["image_url_inputs"],
        profile["mid_conversation_tools"],
        profile.get("reasoning_effort_levels"),
        profile.get("reasoning_effort_default"),
        profile["temperature"],
    ) == expected
    assert profile["mid_conversation_system_messages"] is True


@pytest.mark.parametrize("how", ["model_copy", "assignment", "configurable_fields"])
def test_the_profile_follows_the_model(make_model: MakeModel, how: str) -> None:
    """Another model has another profile; one that the user gave stays."""

    def changed(model: ChatKimiVertex) -> Any:
        if how == "model_copy":
            return model.model_copy(update={"model": "moonshotai/Kimi-K2.5"})
        if how == "assignment":
            model.model = "moonshotai/Kimi-K2.5"
            return model
        configurable: Any = model.configurable_fields(model=ConfigurableField(id="model"))
        return configurable.prepare({"configurable": {"model": "moonshotai/Kimi-K2.5"}})[0]

    assert changed(make_model(model="kimi-k2-thinking")).profile["image_inputs"] is True
    own: Any = {"max_input_tokens": 7}
    assert changed(make_model(model="kimi-k2-thinking", profile=own)).profile == own


def test_profile() -> None:
    """The profile says what the model can, and may be replaced."""
    profile: Any = ChatKimiVertex(model="moonshotai/kimi-k2-thinking-maas", project="a-project").profile
    seeing: Any = ChatKimiVertex(project="a-project", model="moonshotai/kimi-k2.5").profile
    assert profile["max_input_tokens"] == 262144
    assert profile["structured_output"] is False
    assert profile["image_inputs"] is False
    assert seeing["image_inputs"] is True
    assert ChatKimiVertex(
        model="moonshotai/kimi-k2-thinking-maas", project="a-project", profile={"max_input_tokens": 9}
    ).profile == {"max_input_tokens": 9}


def test_cache(emulator: Emulator, make_model: MakeModel) -> None:
    """A cached answer keeps its thinking, and another temperature is another answer."""
    cache = InMemoryCache()
    emulator.enqueue(TURN, Turn(text="Red."))
    first = make_model(cache=cache).invoke("q")
    again = make_model(cache=cache).invoke("q")
    other = make_model(cache=cache, temperature=0.5).invoke("q")
    assert again.additional_kwargs == first.additional_kwargs == {"reasoning_content": "Hm."}
    assert other.text == "Red."
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("place", ["model", "request"])
async def test_cached_thinking_is_told(emulator: Emulator, make_model: MakeModel, place: str) -> None:
    """`on_thinking` is told the thinking of a cached answer, once, and is no part of the cache's key."""
    emulator.enqueue(TURN)
    cache, told = InMemoryCache(), list[str]()
    for way in ("invoke", "invoke", "ainvoke"):

        async def tell(text: str) -> None:
            told.append(text)

        model = make_model(cache=cache, **({"on_thinking": tell} if place == "model" else {}))
        options: dict[str, Any] = {"on_thinking": tell} if place == "request" else {}
        if way == "invoke":
            await asyncio.to_thread(model.invoke, "q", **options)
        else:
            await model.ainvoke("q", **options)
    assert told == ["H", "m.", "Hm.", "Hm."]
    assert len(emulator.requests) == 1


def test_rate_limiter(emulator: Emulator, make_model: MakeModel) -> None:
    """LangChain's rate limiter is asked before a request."""

    class Counting(InMemoryRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

    limiter = Counting()
    emulator.enqueue(TURN)
    make_model(rate_limiter=limiter).invoke("q")
    assert limiter.asked == 1


def test_disable_streaming(emulator: Emulator, make_model: MakeModel) -> None:
    """With `disable_streaming`, `stream` makes one plain request; with `streaming=True`, `invoke` streams."""
    emulator.enqueue(TURN, TURN)
    assert [chunk.text for chunk in make_model(disable_streaming=True).stream("q")] == ["Blue."]
    assert make_model(streaming=True).invoke("q").text == "Blue."
    assert [request.json.get("stream", False) for request in emulator.requests] == [False, True]


def test_token_counts_are_offline(model: ChatKimiVertex) -> None:
    """Tokens are estimated without a tokenizer, thinking and tools included; a callable may replace the estimate."""
    plain = model.get_num_tokens_from_messages(
        [SystemMessage("Be brief."), HumanMessage("Why is the sky blue?")]
    )
    thinking = AIMessage("Light.", additional_kwargs={"reasoning_content": "Rayleigh scattering " * 10})
    longer = model.get_num_tokens_from_messages([SystemMessage("Be brief."), HumanMessage("Why?"), thinking])
    assert 8 < plain < longer
    exact = ChatKimiVertex(base_url="http://127.0.0.1:1/v1", custom_get_token_ids=lambda text: [1] * 42)
    assert exact.get_num_tokens("x") == 42


def test_init_chat_model(emulator: Emulator) -> None:
    """After the opt-in, `init_chat_model` knows the provider."""
    from langchain.chat_models import base, init_chat_model

    register_init_chat_model()
    try:
        emulator.enqueue(TURN)
        model = init_chat_model("kimi_vertex:moonshotai/kimi-k2-thinking-maas", base_url=emulator.base_url)
        assert model.invoke("q").text == "Blue."
    finally:
        base._BUILTIN_PROVIDERS.pop("kimi_vertex")


def test_images_go_to_models_that_see(emulator: Emulator) -> None:
    """An image reaches a model that takes images, in the server's form."""
    emulator.enqueue(TURN)
    model = ChatKimiVertex(base_url=f"{emulator.origin}/v1", model="moonshotai/Kimi-K2.5")
    block: Any = {"type": "image", "base64": "AA==", "mime_type": "image/png"}
    model.invoke([HumanMessage(["see", block])])
    parts = emulator.requests[-1].json["messages"][-1]["content"]
    assert parts[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
