"""What is found out about a target before and while it is asked: the way to call it, and its model."""

from __future__ import annotations

import itertools
import json
import logging
from typing import Any

import pytest

from kimi_vertex import APIStatusError, AuthenticationError, BadRequestError, KimiVertexClient, NotFoundError
from kimi_vertex_emulator import Emulator

from ..support_core import each_form, perform
from .support_flow import GOOD, Answer, Play

DNS = "123.us-central1-456789.prediction.vertexai.goog"
NAME = "projects/456789/locations/us-central1/endpoints/123"
NOTHING = Answer(404, body="<html><title>Error 404 (Not Found)!!1</title></html>")
NO_METHOD = Answer(405, body="")
LOOKED_UP = Answer(body="{}")


_numbers = itertools.count()


def endpoint(**settings: Any) -> KimiVertexClient:
    """A client that shares nothing with those of other tests, because its token is its own."""
    own: dict[str, Any] = {"access_token": f"t{next(_numbers)}", "max_retries": 0, "pace": None}
    return KimiVertexClient(endpoint_host=DNS, **{**own, **settings})


def server(**settings: Any) -> KimiVertexClient:
    own: dict[str, Any] = {"access_token": f"t{next(_numbers)}", "max_retries": 0, "pace": None}
    return KimiVertexClient(base_url="https://kimi.example.com/v1", **own, **settings)


def ways(play: Play) -> list[str]:
    """The part of each URL that tells the ways apart."""
    return [r.url.removeprefix(f"https://{DNS}/").replace(NAME, "NAME") for r in play.sent]


WAYS = [
    "v1/NAME/chat/completions",
    "v1beta1/NAME/chat/completions",
    "v1/NAME/invoke/v1/chat/completions",
    "v1/NAME:streamRawPredict",
]


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("refusal", [NOTHING, NO_METHOD], ids=["404", "405"])
def test_the_ways_are_tried_in_order_and_remembered(
    steps: int, refusal: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each way is tried if the one before is not there; what answers is used from then on, and logged once."""
    kimi = endpoint()
    with caplog.at_level(logging.INFO, "kimi_vertex"):
        first = Play(kimi, [*[refusal] * steps, GOOD])
        second = Play(kimi, [GOOD])
    assert (first.error, ways(first)) == (None, WAYS[: steps + 1])
    assert (second.error, ways(second)) == (None, [WAYS[steps]])
    assert len([r for r in caplog.records if "is used from now on" in r.getMessage()]) == min(steps, 1)
    assert ("route" in kimi.facts) is bool(steps)


@each_form
def test_the_emulator_answers_on_the_invoke_route(form: str, emulator: Emulator) -> None:
    """`api="invoke"` reaches the route of a dedicated endpoint, over a real socket."""
    client = KimiVertexClient(
        project="p",
        location="us-central1",
        endpoint="123",
        endpoint_host=emulator.origin,
        api="invoke",
        access_token="t",
    )
    assert perform(client, form).text
    [request] = emulator.chat_requests
    assert request.path == "/v1/projects/p/locations/us-central1/endpoints/123/invoke/v1/chat/completions"


def test_the_first_refusal_is_told() -> None:
    """If nothing answers, the error is that of the usual way."""
    play = Play(endpoint(), [Answer(404, body="first"), *[NOTHING] * 3])
    assert isinstance(play.error, NotFoundError)
    assert "first" in play.error.message
    assert ways(play) == WAYS


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500, 503])
def test_another_status_ends_the_search(status: int) -> None:
    """Only 404 and 405 mean that nothing is there: what another way says beside them is the answer."""
    play = Play(endpoint(), [Answer(status, body="no")])
    assert isinstance(play.error, APIStatusError)
    assert (play.error.status_code, ways(play)) == (status, WAYS[:1])
    later = Play(endpoint(), [NOTHING, Answer(status, body="no")])
    assert isinstance(later.error, APIStatusError)
    assert (later.error.status_code, ways(later)) == (status, WAYS[:2])


def test_a_model_that_is_not_there_ends_the_search() -> None:
    """A model server that does not know the model is at the right address."""
    body = json.dumps(
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}
    )
    play = Play(endpoint(), [Answer(404, body=body)])
    assert isinstance(play.error, NotFoundError)
    assert ways(play) == WAYS[:1]


def test_a_way_that_is_gone_is_looked_for_again() -> None:
    """If the remembered way is gone, because another server was deployed, the others are tried."""
    kimi = endpoint()
    Play(kimi, [NOTHING, NOTHING, GOOD])
    again = Play(kimi, [NOTHING, GOOD])
    assert (again.error, ways(again)) == (None, [WAYS[2], WAYS[0]])


def test_predict_is_never_tried_by_itself() -> None:
    """No list of ways holds `predict`, and a way that the user names is the only one."""
    assert not any(":predict" in way for way in WAYS)
    play = Play(endpoint(api="predict"), [NOTHING], form="whole")
    assert ways(play) == ["v1/NAME:predict"]


def listing(*names: str) -> Answer:
    body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
    return Answer(body=body)


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (("prod",), "prod"),
        (("llama", "moonshotai/Kimi-K2.5"), "moonshotai/Kimi-K2.5"),
        (("a", "b"), None),
        ((), None),
    ],
)
def test_a_server_is_asked_for_its_model_once(names: tuple[str, ...], model: str | None) -> None:
    """A server behind `base_url` is asked for its models; the only one, or the only Kimi, is meant."""
    kimi = server()
    first, second = Play(kimi, [listing(*names), GOOD]), Play(kimi, [GOOD])
    assert [request.method for request in first.sent] == ["GET", "POST"]
    assert first.sent[0].url == "https://kimi.example.com/v1/models"
    assert [body.get("model") for body in (first.bodies[1], second.bodies[0])] == [model, model]
    assert kimi.model == model


@pytest.mark.parametrize(
    "answer", [NOTHING, Answer(body="[]"), Answer(body="?"), Answer(400)], ids=["404", "list", "text", "400"]
)
def test_a_server_without_a_list_decides_by_itself(answer: Answer) -> None:
    """Where no list can be read, the request has no model."""
    play = Play(server(), [answer, GOOD])
    assert play.error is None
    assert "model" not in play.bodies[1]


def test_a_list_that_is_refused() -> None:
    """A refused token shows itself before the conversation is sent."""
    play = Play(server(), [Answer(401, body="no")])
    assert isinstance(play.error, AuthenticationError)
    assert [request.content for request in play.sent] == [None]


@pytest.mark.parametrize("settings", [{"model": "mine"}, {"extra_body": {"model": "mine"}}])
def test_a_model_that_is_named_is_not_asked_for(settings: Any) -> None:
    """A model that the user names is asked for at once."""
    play = Play(server(**settings), [GOOD])
    assert [body["model"] for body in play.bodies] == ["mine"]


def test_the_rules_of_the_found_model_hold_at_once() -> None:
    """The first request is written for the model that the server has."""
    play = Play(server(), [listing("moonshotai/Kimi-K2-Instruct-0905"), GOOD])
    assert not play.exchange.payload.implicit_thinking


def test_where_the_lookup_lies() -> None:
    """A lookup that names a foreign host ends the request, before the token is sent there."""
    kimi = KimiVertexClient(endpoint=NAME, access_token="t", max_retries=0, pace=None)
    play = Play(kimi, [Answer(body='{"dedicatedEndpointDns": "http://localhost:9"}')])
    assert "pass endpoint_host=" in str(play.error)[:200]
    assert [request.method for request in play.sent] == ["GET"]
    assert not isinstance(play.error, BadRequestError)
