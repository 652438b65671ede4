"""The public surface, written down: a name that appears or disappears here is a decision."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PUBLIC = {
    "kimi_vertex": """
        APIConnectionError APIError APIResponseError APIStatusError APITimeoutError AsyncEventStream
        AuthenticationError BadRequestError CLIENT_SETTINGS Completion ConfigurationError
        ContextOverflowError CredentialsError EmptyTurn EmptyTurnError Event EventStream
        Finish FinishReason InternalServerError InvalidRequestError InvalidToolCall
        KimiVertexClient KimiVertexError Login Message MessageLike ModelInfo NotFoundError Pace PaceState
        PermissionDeniedError Place
        RateLimitError RequestOptions RequestStats RequestTooLargeError Role StreamInterruptedError TextDelta ThinkingCallback
        ThinkingDelta ThinkingListener Timeouts ToolCall ToolCallDelta Usage Wait WaitCallback __version__ accumulate
        check_names check_tool_choice estimate_conversation_tokens estimate_tokens find_json_object find_thinking model_info
        unknown_variables
    """,
    "kimi_vertex_cli": "main",
    "kimi_vertex_emulator": """
        Answer Brain CHUNKINGS Call Cassette ChatRequest Chunking Conditions DIALECTS Deployment Dialect Emulator Ending Exchange
        FAULTS Fault Interaction Match OnBreach Part PastMessage Quota Raw Recorded
        Recorder Refusal Rule Rules Script TextMatch Tool Turn respond
    """,
    "langchain_kimi_vertex": """
        ChatKimiVertex ThinkingCallbackHandler __version__ register_init_chat_model register_serializable
    """,
    "llama_index_kimi_vertex": "KimiVertex ThinkingDeltaEvent",
}
# Pickles, manifests and serialized chains name these by module.
DEFINED_IN = {
    ("langchain_kimi_vertex", "ChatKimiVertex"): "langchain_kimi_vertex.chat_models",
    ("llama_index_kimi_vertex", "KimiVertex"): "llama_index_kimi_vertex.base",
}
CLIENTS = (
    "kimi_vertex:KimiVertexClient",
    "langchain_kimi_vertex:ChatKimiVertex",
    "llama_index_kimi_vertex:KimiVertex",
)
SHARED_PARAMETERS = {
    "model": "moonshotai/kimi-k2-thinking-maas",
    "project": "my-project",
    "location": "us-central1",
    "endpoint": None,
    "base_url": "http://127.0.0.1:9/v1",
    "credentials": None,
    "access_token": "token",
    "timeout": 30.0,
    "max_retries": 0,
    "temperature": 1.0,
    "top_p": 0.9,
    "max_tokens": 100,
    "stop": ["END"],
    "on_thinking": print,
    "extra_body": {"top_k": 40},
    "http_client": None,
    "http_async_client": None,
}


@pytest.fixture(params=PUBLIC)
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each public package."""
    return importlib.import_module(request.param)


def test_all_is_the_snapshot(module: ModuleType) -> None:
    """`__all__` has exactly the names that are written down here."""
    assert sorted(module.__all__) == PUBLIC[module.__name__].split()


def test_all_exists(module: ModuleType) -> None:
    """Each name in `__all__` is there."""
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_public_names_are_documented(module: ModuleType) -> None:
    """Each public class and function has a docstring of its own."""
    public = [getattr(module, name) for name in module.__all__]
    described = [item for item in public if inspect.isclass(item) or inspect.isfunction(item)]
    assert [item.__qualname__ for item in described if not (item.__doc__ or "").strip()] == []


@pytest.mark.parametrize(("place", "definition"), DEFINED_IN.items(), ids=str)
def test_definitions_stay_where_pickles_look(place: tuple[str, str], definition: str) -> None:
    """The class is defined in the module that stored objects name."""
    package, name = place
    assert getattr(importlib.import_module(package), name).__module__ == definition


@pytest.mark.parametrize("parameter", SHARED_PARAMETERS)
@pytest.mark.parametrize("name", CLIENTS)
def test_client_and_adapters_share_their_parameters(name: str, parameter: str) -> None:
    """What a user learned for one of the three holds for the others, aliases included."""
    package, _, cls = name.partition(":")
    settings = {"base_url": "http://127.0.0.1:9/v1", parameter: SHARED_PARAMETERS[parameter]}
    made = getattr(importlib.import_module(package), cls)(**settings)
    with pytest.raises(Exception, match="no_such_parameter"):
        type(made)(**settings, no_such_parameter=1)


@pytest.mark.parametrize("name", CLIENTS)
def test_every_setting_is_in_the_documentation(name: str) -> None:
    """The table of settings names what the classes share, and a framework's page what its class adds."""
    package, _, cls = name.partition(":")
    made = getattr(importlib.import_module(package), cls)
    page = {"langchain_kimi_vertex": "langchain.md", "llama_index_kimi_vertex": "llama-index.md"}.get(package)
    shown = "\n".join(
        (DOCS / file).read_text(encoding="utf-8").partition("\n## Settings\n")[2]
        for file in ("core.md", page)
        if file
    )
    fields = getattr(made, "model_fields", None) or set(inspect.signature(made).parameters) - {"unknown"}
    # What LlamaIndex passes to templates of models that complete prompts; Kimi chats.
    prompts = {"messages_to_prompt", "completion_to_prompt", "query_wrapper_prompt"}
    assert set(fields) - prompts - set(re.findall(r"`(\w+)`", shown)) == set()
