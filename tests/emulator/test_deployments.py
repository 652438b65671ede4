"""Endpoints that an emulator has: their resources, their states, what their servers and Google refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Deployment, Emulator, Turn

from .support_http import PLAIN

HERE = "projects/acme/locations/us-central1"
NAME = f"{HERE}/endpoints/123"


@pytest.fixture
def owned() -> Iterator[Emulator]:
    """An emulator with one endpoint."""
    with Emulator(deployments=[Deployment(NAME)]) as running:
        yield running


def get(emulator: Emulator, path: str) -> httpx.Response:
    return httpx.get(f"{emulator.origin}/v1/{path}", verify=PLAIN)


def ask(emulator: Emulator, name: str = NAME, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": "Hi"}], **more}
    return httpx.post(f"{emulator.origin}/v1/{name}/chat/completions", json=body, verify=PLAIN)


def message(response: httpx.Response) -> str:
    text: str = response.json()["error"]["message"]
    return text


def test_an_endpoint_leads_to_its_container(owned: Emulator) -> None:
    """The endpoint names its model, whose resource has the server's flags."""
    (deployed,) = get(owned, NAME).json()["deployedModels"]
    assert "--tool-call-parser=kimi_k2" in get(owned, deployed["model"]).json()["containerSpec"]["args"]


@pytest.mark.parametrize(
    ("state", "replicas"),
    [
        ("ready", [1, 1]),
        ("zero", [0, 0]),
        ("starting", [1, 0]),
        ("undeployed", None),
        ("dedicated", [1, 1]),
    ],
)
def test_an_endpoint_counts_its_replicas(owned: Emulator, state: Any, replicas: list[int] | None) -> None:
    """A description has the least replicas and the available ones; without a model there is nothing to count."""
    owned.deployments = [Deployment(NAME, state=state)]
    counted = [
        [model["dedicatedResources"]["minReplicaCount"], model["status"]["availableReplicaCount"]]
        for model in get(owned, NAME).json().get("deployedModels", ())
    ]
    assert counted == ([] if replicas is None else [replicas])


def test_lists_come_in_pages(owned: Emulator) -> None:
    """A page has so many endpoints of the place as were asked for, and the token of the next."""
    owned.deployments = [Deployment(f"{HERE}/endpoints/{n}") for n in range(3)]
    first = get(owned, f"{HERE}/endpoints?pageSize=2").json()
    second = get(owned, f"{HERE}/endpoints?pageSize=2&pageToken={first['nextPageToken']}").json()
    names = [item["name"].rpartition("/")[2] for item in first["endpoints"] + second["endpoints"]]
    assert (names, "nextPageToken" in second) == (["0", "1", "2"], False)


def test_its_server_lists_its_model(owned: Emulator) -> None:
    """An endpoint's server lists the one model that it takes."""
    owned.deployments = [Deployment(NAME, model="acme/kimi-tuned")]
    (listed,) = get(owned, f"{NAME}/models").json()["data"]
    assert ask(owned, model=listed["id"]).status_code == 200
    assert get(owned, f"{NAME}/models/acme/kimi-tuned").status_code == 200


def test_another_region_has_none(owned: Emulator) -> None:
    """A place without endpoints has an empty list, as Google's."""
    assert get(owned, "projects/acme/locations/us-east5/endpoints").json() == {}


@pytest.mark.parametrize("method", ["get", "post"])
def test_there_are_no_other_endpoints(owned: Emulator, method: str) -> None:
    """What was not deployed is not found, by name and by request."""
    response = get(owned, f"{HERE}/endpoints/9") if method == "get" else ask(owned, f"{HERE}/endpoints/9")
    assert (response.status_code, response.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("zero", 429, "scale-up from zero is in progress"),
        ("starting", 503, "upstream connect error"),
        ("down", 503, "no healthy upstream"),
        ("undeployed", 400, "doesn't have any deployed model"),
    ],
)
def test_states(owned: Emulator, state: Any, status: int, words: str) -> None:
    """Without a replica a request is refused, in the words of the state."""
    owned.deployments = [Deployment(NAME, state=state)]
    response = ask(owned)
    assert (response.status_code, words in response.text) == (status, True)


def test_a_host_of_its_own_is_named(owned: Emulator) -> None:
    """Anywhere else a dedicated endpoint is refused, with its own name."""
    owned.deployments = [
        Deployment(NAME, dns="123.us-central1-1.prediction.vertexai.goog", state="dedicated")
    ]
    response = ask(owned)
    assert response.status_code == 400
    assert "domain us-central1-aiplatform.googleapis.com. " in message(response)
    assert "'123.us-central1-1.prediction.vertexai.goog'" in message(response)


def test_vllm_without_its_flags_takes_no_tools(owned: Emulator) -> None:
    """Tools are refused in vLLM's words."""
    owned.deployments = [Deployment(NAME, flags=("--reasoning-parser=kimi_k2",))]
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    response = ask(owned, tools=[tool])
    assert (response.status_code, message(response)[:25]) == (400, '"auto" tool choice requir')


def test_vllm_knows_its_model_by_one_name(owned: Emulator) -> None:
    """Another name is not found, in vLLM's words."""
    response = ask(owned, model="kimi")
    assert (response.status_code, message(response)) == (404, "The model `kimi` does not exist.")


@pytest.mark.parametrize(
    ("server", "flags", "field"),
    [
        ("vllm", None, "reasoning"),
        ("sglang", None, "reasoning_content"),
        ("vllm", ("--tool-call-parser", "kimi_k2", "--enable-auto-tool-choice"), None),
        ("sglang", (), None),
    ],
)
def test_the_flags_decide_where_thinking_stands(
    owned: Emulator, server: Any, flags: Any, field: str | None
) -> None:
    """Each server has a field for it; without a reasoning parser it is in the text."""
    owned.deployments = [Deployment(NAME, server=server, flags=flags)]
    owned.enqueue(Turn(thinking="Hm.", text="Yes."))
    answer = ask(owned).json()["choices"][0]["message"]
    assert answer.get(field or "content") == ("Hm." if field else "<think>Hm.</think>Yes.")


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ("api-off", "SERVICE_DISABLED"),
        ("billing", "BILLING_DISABLED"),
        ("perimeter", "SECURITY_POLICY_VIOLATED"),
        ("project", "CONSUMER_INVALID"),
        ("quota-project", "SERVICE_DISABLED"),
        ("role", "IAM_PERMISSION_DENIED"),
        ("scopes", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        ("service-usage", "USER_PROJECT_DENIED"),
    ],
)
def test_google_refuses_everything(owned: Emulator, refusal: Any, reason: str) -> None:
    """Each kind of 403 has Google's reason, for resources and for requests to the model."""
    owned.refusal = refusal
    for response in (get(owned, NAME), ask(owned)):
        assert response.status_code == 403
        assert response.json()["error"]["details"][0]["reason"] == reason


@pytest.mark.parametrize("wrong", [{"state": "asleep"}, {"server": "tgi"}])
def test_unknown_words_are_refused(wrong: dict[str, Any]) -> None:
    """A state or a server that there is none of is told at once."""
    with pytest.raises(ValueError, match="is unknown"):
        Deployment(NAME, **wrong)


def test_an_unknown_refusal_is_refused() -> None:
    """So is a kind of 403."""
    wrong: Any = "sulks"
    with pytest.raises(ValueError, match="refusal 'sulks' is unknown"):
        Emulator(refusal=wrong)
