"""Copies of a model: pickles, dumps, and models that are configured at run time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from google.auth.credentials import Credentials
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr

from kimi_vertex import ConfigurationError, Timeouts
from kimi_vertex_emulator import Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex, register_serializable

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


SECRET = "ya29.hunter2"
TURN = Turn(thinking="Hm.", text="Blue.")


def test_headers_of_a_dump_are_given_to_load() -> None:
    """A dump says that there were headers; `load` takes them from where it takes secrets."""
    model = ChatKimiVertex(base_url="http://127.0.0.1:1/v1", extra_headers={"x-key": SECRET})
    loaded = load(
        dumpd(model),
        allowed_objects=[ChatKimiVertex],
        valid_namespaces=["langchain_kimi_vertex"],
        secrets_map=cast("Any", {"KIMI_VERTEX_EXTRA_HEADERS": {"x-key": SECRET}}),
    )
    assert loaded.extra_headers == {"x-key": SECRET}


@pytest.mark.parametrize("secret", [{"access_token": SECRET}, {"credentials": {"private_key": SECRET}}])
def test_no_secret_is_pickled(secret: dict[str, Any]) -> None:
    """A model that holds a token or a key is not pickled, and the error says what to do; its copies share them."""
    model = ChatKimiVertex(base_url="http://127.0.0.1:1/v1", **secret)
    with pytest.raises(ConfigurationError, match=r"credentials=PATH, or build the model in the worker"):
        pickle.dumps(model)
    for twin in (copy.copy(model), copy.deepcopy(model)):
        assert twin.credentials is model.credentials
        assert twin.access_token == model.access_token


def test_credentials_path_is_pickled() -> None:
    """The path of a credentials file travels: it is not a secret, and the file is read where the model is used."""
    model = ChatKimiVertex(base_url="http://127.0.0.1:1/v1", credentials="/key.json")
    assert pickle.loads(pickle.dumps(model)).credentials == "/key.json"


def _load(text: str, **secrets: str) -> Any:
    return loads(
        text,
        allowed_objects=[ChatKimiVertex],
        valid_namespaces=["langchain_kimi_vertex"],
        secrets_map=secrets,
    )


def test_dumps_and_loads() -> None:
    """A dump loads to an equal model; the token comes from where `loads` finds secrets."""
    timeouts = Timeouts(connect=1, first_byte=None, idle=3)
    model = ChatKimiVertex(
        model="moonshotai/kimi-k2-thinking-maas",
        project="a-project",
        temperature=0.5,
        access_token=SecretStr(SECRET),
        timeout=timeouts,
    )
    loaded = _load(dumps(model), KIMI_VERTEX_ACCESS_TOKEN=SECRET)
    assert loaded.asdict() == model.asdict()
    assert (loaded.timeout, loaded.access_token) == (timeouts, model.access_token)


def test_dumped_credentials() -> None:
    """A path travels in a dump; other credentials do not, and `load` says so instead of taking the default ones."""
    target: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1"}
    assert _load(dumps(ChatKimiVertex(**target))).credentials is None
    assert _load(dumps(ChatKimiVertex(**target, credentials=Path("/key.json")))).credentials == "/key.json"
    for secret in ({"private_key": SECRET}, _Counted()):  # type: ignore[no-untyped-call]
        text = dumps(ChatKimiVertex(**target, credentials=secret))
        assert SECRET not in text
        with pytest.raises(ConfigurationError, match="credentials that do not travel"):
            _load(text)


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy", "model_copy"])
def test_copies_work(emulator: Emulator, make_model: MakeModel, how: str) -> None:
    """A copied or pickled model answers, also after the original was used."""
    emulator.enqueue(TURN, TURN)
    model = make_model(temperature=0.5, http_client=None)
    model.invoke("q")
    makers: dict[str, Callable[[ChatKimiVertex], ChatKimiVertex]] = {
        "pickle": lambda m: pickle.loads(pickle.dumps(m)),
        "deepcopy": copy.deepcopy,
        "copy": copy.copy,
        "model_copy": lambda m: m.model_copy(),
    }
    twin = makers[how](model)
    assert twin.invoke("q").text == "Blue."
    assert emulator.requests[-1].json["temperature"] == 0.5


def test_own_http_client(emulator: Emulator, make_model: MakeModel) -> None:
    """A model with an own http client can be copied, sharing it, and pickled, leaving it behind."""
    httpx = pytest.importorskip("httpx")
    with httpx.Client() as client:
        model = make_model(http_client=client)
        assert copy.deepcopy(model).http_client is client
        emulator.enqueue(TURN)
        restored = pickle.loads(pickle.dumps(model))
        assert restored.http_client is None
        assert restored.invoke("q").text == "Blue."


def test_local_callbacks_are_not_pickled(
    emulator: Emulator, make_model: MakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    """A pickle leaves local callbacks behind, each with one warning, and takes those of a module along."""
    model = make_model(on_thinking=lambda text: None, on_wait=lambda wait: None, on_request=print)
    emulator.enqueue(TURN)
    restored = pickle.loads(pickle.dumps(model))
    assert (restored.on_thinking, restored.on_wait, restored.on_request) == (None, None, print)
    assert len([record for record in caplog.records if "leaves out" in record.message]) == 2
    assert pickle.loads(pickle.dumps(make_model(on_thinking=print))).on_thinking is print
    assert restored.invoke("q").text == "Blue."


def test_model_copy_with_update(emulator: Emulator) -> None:
    """`model_copy(update=...)` takes the change over into the client."""
    emulator.enqueue(TURN)
    model = ChatKimiVertex(base_url="http://127.0.0.1:9/v1").model_copy(
        update={"base_url": emulator.base_url}
    )
    assert model.invoke("q").text == "Blue."


def test_configurable_fields(emulator: Emulator, make_model: MakeModel) -> None:
    """Settings can be made configurable at run time."""
    emulator.enqueue(TURN)
    model: Any = make_model().configurable_fields(temperature=ConfigurableField(id="t"))
    model.with_config(configurable={"t": 0.3}).invoke("q")
    assert emulator.requests[-1].json["temperature"] == 0.3


ENDPOINT = "projects/other/locations/us-east5/endpoints/1"


def test_configured_endpoint_beside_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is configured at run time has its own project; the environment's is no contradiction."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    model: Any = ChatKimiVertex(model="moonshotai/kimi-k2-thinking-maas", credentials="/key.json")
    dumped = _load(dumps(model))
    assert dumped.model_fields_set.isdisjoint({"project", "location"})
    configurable = model.configurable_fields(endpoint=ConfigurableField(id="e"))
    built, _ = configurable.prepare({"configurable": {"e": ENDPOINT}})
    assert built.client.project == "other"
    assert built.client.location == "us-east5"


class _Counted(Credentials):
    fetched = 0

    def refresh(self, request: Any) -> None:
        self.fetched += 1
        self.token = SECRET
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)


def test_configured_models_share_their_token(emulator: Emulator) -> None:
    """LangChain makes a model for each configured call; they use one token, and think live."""
    credentials = _Counted()  # type: ignore[no-untyped-call]
    emulator.enqueue(*[Turn(thinking=["a", "b"], text="x")] * 5)
    told: list[str] = []
    model: Any = ChatKimiVertex(
        base_url=emulator.base_url, credentials=credentials, on_thinking=told.append
    ).configurable_fields(temperature=ConfigurableField(id="t"))
    alternatives: Any = ChatKimiVertex(
        base_url=emulator.base_url, credentials=credentials
    ).configurable_alternatives(ConfigurableField(id="which"), other=model)
    for temperature in (0.1, 0.2):
        model.invoke("q", {"configurable": {"t": temperature}})
        alternatives.invoke("q", {"configurable": {"t": temperature, "which": "other"}})
    list(model.stream("q", {"configurable": {"t": 0.5}}))
    assert told == ["a", "b"] * 5
    assert credentials.fetched == 1


def test_registered_models_load_with_all() -> None:
    """After the opt-in, a dump loads as LangSmith's `pull_prompt(include_model=True)` loads it."""
    register_serializable()
    model = ChatKimiVertex(model="moonshotai/kimi-k2-thinking-maas", project="a-project", temperature=0.5)
    assert load(dumpd(model), allowed_objects="all").asdict() == model.asdict()


def test_message_survives_serialisation(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A message with thinking survives LangChain's dumps and loads."""
    emulator.enqueue(TURN)
    message = model.invoke("q")
    assert loads(dumps(message), allowed_objects="messages") == message
