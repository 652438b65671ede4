"""Endpoints of one's own, as an emulator has them: their resources, and what Google or their servers refuse.

Resources: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints and ...locations.models.
Refusals: bodies that were reported for python-aiplatform, cloud-foundation-fabric and vLLM (2025, 2026).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl

from kimi_vertex_emulator._reply import Reply, body_reply, error_info, google_error, json_reply
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.answers import Dialect, known

__all__ = ["REFUSALS", "Deployment", "Refusal", "State"]

State: TypeAlias = Literal["ready", "zero", "starting", "down", "undeployed", "dedicated"]
"""What an endpoint does.

`ready`: it answers. `zero`: scaled to zero, and woken by the request. `starting`, `down`: there is no replica yet, or none
any more. `undeployed`: it has no model. `dedicated`: it answers at its `dns` only, and the request came another way.
"""

Refusal: TypeAlias = Literal[
    "api-off", "billing", "perimeter", "project", "quota-project", "role", "scopes", "service-usage"
]
"""Why Google refuses all requests with a 403: the API is off, billing is off, a VPC Service Controls perimeter, a project
that does not exist, a login without a quota project, a missing role, too narrow scopes, a quota project that the account
may not use."""

REFUSALS: Final[tuple[str, ...]] = get_args(Refusal)
_FLAGS: Final = {"vllm": ("--enable-auto-tool-choice",), "sglang": ()}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One endpoint. An emulator that is given some has these and no others.

    Example: `Emulator(deployments=[Deployment("projects/p/locations/us-central1/endpoints/123", state="zero")])`.

    Raises:
        ValueError: A state or a server is not known.
    """

    name: str
    """`projects/P/locations/R/endpoints/ID`."""
    model: str = "moonshotai/Kimi-K2-Thinking"
    """The name that its server knows the model by (`--served-model-name`)."""
    display_name: str = "kimi"
    dns: str = ""
    """Its own host name. `""`: it has none."""
    state: State = "ready"
    server: Literal["vllm", "sglang"] = "vllm"
    flags: tuple[str, ...] | None = None
    """What the server was started with; default: its model's parsers. Without them it behaves as a server without."""

    def __post_init__(self) -> None:
        known(self.state, get_args(State), "state")
        known(self.server, tuple(_FLAGS), "server")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The flags that count."""
        if self.flags is not None:
            return self.flags
        parser = "kimi_k3" if "k3" in self.model.lower() else "kimi_k2"
        return (*_FLAGS[self.server], f"--tool-call-parser={parser}", f"--reasoning-parser={parser}")

    def has(self, flag: str) -> bool:
        """Whether the server was started with a flag, with or without a value behind it."""
        return any(argument.partition("=")[0] == flag for argument in self.arguments)

    @property
    def dialect(self) -> Dialect:
        """How the server spells its answers: without parsers, thinking and calls are in the text."""
        thinks, calls = self.has("--reasoning-parser"), self.has("--tool-call-parser")
        if self.server == "vllm" or (calls and not thinks):
            return "vllm-new" if thinks else "vllm-no-parser"
        if calls:
            return "vertex"
        return "sglang-no-tool-parser" if thinks else "sglang-no-parser"


_RESOURCE: Final = re.compile(
    r"/v1(?:beta1)?/(?P<parent>projects/[^/]+/locations/[^/]+)/(?:(?P<kind>endpoints|models)/(?P<id>[^/:]+)|endpoints)"
)
_MODELS: Final = re.compile(
    r"(?:/v1(?:beta1)?/(?P<name>projects/[^/]+/locations/[^/]+/endpoints/[^/:]+)|(?!.*/projects/).*?)"
    r"/models(?:/(?P<model>[^/]+(?:/[^/]+)?))?"
)
_MANAGED: Final = ("moonshotai/kimi-k2-thinking-maas",)
_CREATED: Final = 1_763_000_000  # 2025-11-13: GA of Kimi K2 Thinking
_CLOUD_SDK: Final = "764086051850"
_REFUSALS: Final[dict[Refusal, tuple[str, str, dict[str, str]]]] = {
    # The message, Google's reason, and what stands beside it; PROJECT is the request's.
    "api-off": (
        "Vertex AI API has not been used in project PROJECT before or it is disabled.",
        "SERVICE_DISABLED",
        {"service": "aiplatform.googleapis.com", "consumer": "projects/PROJECT"},
    ),
    "billing": (
        "This API method requires billing to be enabled. Please enable billing on project PROJECT.",
        "BILLING_DISABLED",
        {"consumer": "projects/PROJECT"},
    ),
    "perimeter": ("Request is prohibited by organization's policy.", "SECURITY_POLICY_VIOLATED", {}),
    "project": (
        "Permission denied on resource project PROJECT.",
        "CONSUMER_INVALID",
        {"consumer": "projects/PROJECT"},
    ),
    "quota-project": (
        (
            "Your application is authenticating by using local Application Default Credentials. The aiplatform.googleapis.com "
            "API requires a quota project, which is not set by default."
        ),
        "SERVICE_DISABLED",
        {"service": "aiplatform.googleapis.com", "consumer": f"projects/{_CLOUD_SDK}"},
    ),
    "role": (
        (
            "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/PROJECT' (or it "
            "may not exist)."
        ),
        "IAM_PERMISSION_DENIED",
        {"permission": "aiplatform.endpoints.predict"},
    ),
    "scopes": (
        "Request had insufficient authentication scopes.",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        {"service": "aiplatform.googleapis.com"},
    ),
    "service-usage": (
        (
            "Caller does not have required permission to use project PROJECT. Grant the caller the "
            "roles/serviceusage.serviceUsageConsumer role."
        ),
        "USER_PROJECT_DENIED",
        {"consumer": "projects/PROJECT"},
    ),
}
_STATES: Final[dict[State, Callable[[Deployment], Reply]]] = {
    # What an endpoint that is not ready says to a request.
    "zero": lambda _: google_error(
        429,
        "Model is not yet ready for inference. Please wait, scale-up from zero is in progress.",
    ),
    "starting": lambda _: body_reply(
        b"upstream connect error or disconnect/reset before headers", "text/plain", 503
    ),
    "down": lambda _: body_reply(b"no healthy upstream", "text/plain", 503),
    "undeployed": lambda found: google_error(
        400, f"Endpoint {found.name} doesn't have any deployed model.", status="FAILED_PRECONDITION"
    ),
    "dedicated": lambda found: google_error(
        400,
        "Dedicated Endpoint cannot be accessed through the shared Vertex AI domain "
        f"{found.name.split('/')[3]}-aiplatform.googleapis.com. Please access the endpoint using its dedicated dns name "
        f"'{found.dns}'.",
        status="FAILED_PRECONDITION",
    ),
}


def find(deployments: Sequence[Deployment], place: re.Match[str] | None) -> Deployment | None:
    """The endpoint that a match of `ENDPOINT` names."""
    return next((found for found in deployments if place is not None and found.name == place["name"]), None)


def forbidden(refusal: Refusal, request: Recorded, *, wrapped: bool = False) -> Reply:
    """The 403 of one kind."""
    named = re.search(r"/projects/([^/]+)", request.path)
    project = named[1] if named else "emulator"
    message, reason, metadata = _REFUSALS[refusal]
    filled = {key: value.replace("PROJECT", project) for key, value in metadata.items()}
    message = message.replace("PROJECT", project)
    return google_error(403, message, details=[error_info(reason, filled)], wrapped=wrapped)


def resource(request: Recorded, deployments: Sequence[Deployment] | None) -> Reply | None:
    """Answers a request for an endpoint, a list of endpoints or a model; `None` if it is something else.

    Without `deployments`, any endpoint that is asked for exists.
    """
    match = _RESOURCE.fullmatch(request.path)
    if request.method != "GET" or match is None:
        return None
    here, kind, name = match["parent"], match["kind"], match["id"]
    if name is None:
        return _page(
            [found for found in deployments or () if found.name.startswith(f"{here}/")], request.query
        )
    wanted = f"{here}/endpoints/{name}"
    known = [Deployment(wanted)] if deployments is None else deployments
    found = next((one for one in known if one.name == wanted), None)
    if found is None or (kind == "models" and found.state == "undeployed"):
        words = f"The {kind.removesuffix('s').title()} resource {here}/{kind}/{name} is not found."
        return google_error(404, words)
    return json_reply(_endpoint(found) if kind == "endpoints" else _model(found))


def list_models(
    request: Recorded, deployments: Sequence[Deployment] | None, models: Sequence[str] | None
) -> Reply | None:
    """Answers a request for a list of models in OpenAI's form, or for one of them; `None` if it is something else.

    An endpoint lists its own; anything else lists `models`, by default Kimi K2 Thinking.
    """
    match = _MODELS.fullmatch(request.path)
    if request.method != "GET" or match is None:
        return None
    own = [found.model for found in deployments or () if found.name == match["name"]]
    names = own or (_MANAGED if models is None else models)
    data = [
        {"id": name, "object": "model", "created": _CREATED, "owned_by": name.partition("/")[0]}
        for name in names
    ]
    if match["model"] is None:
        return json_reply({"object": "list", "data": data})
    found = next((item for item in data if item["id"] == match["model"]), None)
    missing = f"The model `{match['model']}` does not exist."
    return google_error(404, missing) if found is None else json_reply(found)


def _page(listed: Sequence[Deployment], query: str) -> Reply:
    asked = dict(parse_qsl(query))
    size, start = int(asked.get("pageSize", 100)), int(asked.get("pageToken", 0))
    page: dict[str, Any] = {"endpoints": [_endpoint(found) for found in listed[start : start + size]]}
    if start + size < len(listed):
        page["nextPageToken"] = str(start + size)
    return json_reply(page if page["endpoints"] else {})


def _endpoint(deployment: Deployment) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": deployment.name, "displayName": deployment.display_name}
    if deployment.dns:
        shown |= {"dedicatedEndpointEnabled": True, "dedicatedEndpointDns": deployment.dns}
    if deployment.state == "undeployed":
        return shown
    available = int(deployment.state in ("ready", "dedicated"))
    deployed = {
        "id": "1",
        "model": deployment.name.replace("/endpoints/", "/models/"),
        "displayName": deployment.model.rpartition("/")[2],
        "dedicatedResources": {
            "machineSpec": {
                "machineType": "a3-ultragpu-8g",
                "acceleratorType": "NVIDIA_H200_141GB",
                "acceleratorCount": 8,
            },
            "minReplicaCount": int(deployment.state != "zero"),
            "maxReplicaCount": 1,
        },
        "status": {"availableReplicaCount": available},
    }
    return {**shown, "deployedModels": [deployed]}


def _model(deployment: Deployment) -> dict[str, Any]:
    arguments = [f"--model={deployment.model}", *deployment.arguments]
    return {
        "name": deployment.name.replace("/endpoints/", "/models/"),
        "displayName": deployment.model.rpartition("/")[2],
        "containerSpec": {"imageUri": f"us-docker.pkg.dev/kimi/{deployment.server}:1", "args": arguments},
    }


def refuse(body: Mapping[str, Any], place: re.Match[str] | None, found: Deployment | None) -> Reply | None:
    """What Google or the endpoint's server refuses of a chat request; `None` if the model gets to see it.

    `place` is the match of `ENDPOINT`, if the request goes to an endpoint, and `found` that endpoint.
    """
    if place is None or place["endpoint"] == "openapi":
        return None
    if found is None:
        return google_error(404, f"The Endpoint resource {place['name']} is not found.")
    not_ready = _STATES.get(found.state)
    return not_ready(found) if not_ready else _served(found, body)


def _served(found: Deployment, body: Mapping[str, Any]) -> Reply | None:
    """What the endpoint's server says of the request, in its own form."""
    asked = body.get("model")
    if asked and asked != found.model:
        return _engine(404, "NotFoundError", f"The model `{asked}` does not exist.")
    calls = found.has("--enable-auto-tool-choice") and found.has("--tool-call-parser")
    wanted = body.get("tools") and body.get("tool_choice") in (None, "auto")
    if found.server == "sglang" or calls or not wanted:
        return None
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    return _engine(400, "BadRequestError", words)


def _engine(code: int, kind: str, message: str) -> Reply:
    return json_reply({"error": {"message": message, "type": kind, "param": None, "code": code}}, code)
