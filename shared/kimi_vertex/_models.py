"""What is known about Kimi's models: limits, lifecycle, and what an error about one of them means.

Data and text only. Unknown ids always work; nothing here decides what may be sent to a server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from ._endpoint import Target

__all__ = [
    "DEFAULT_MODEL",
    "ModelInfo",
    "ThinkingMode",
    "explain_not_found",
    "explain_status",
    "model_info",
    "retirement_warning",
]

DEFAULT_MODEL: Final = "moonshotai/kimi-k2-thinking-maas"
"""The one Kimi model that Google has offered as a managed service."""

ThinkingMode: TypeAlias = Literal["always", "switchable", "never"]

_DOCS: Final = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models"
_RETIREMENTS: Final = f"{_DOCS}/deprecations/open-models"
_CARD: Final = f"{_DOCS}/maas/kimi/kimi-k2-thinking"
_GRANT: Final = f"{_DOCS}/maas/grant-access-open-models"
_SELF_DEPLOY: Final = (
    "deploy Kimi yourself from Model Garden (cards moonshotai/kimi-k2, kimi-k2-5, kimi-k3) and pass its "
    'resource name as endpoint="projects/.../locations/.../endpoints/..."'
)
_K: Final = 1024


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about one model, as far as they are published.

    For a self-deployed model they are those of the weights; the server's own flags
    (`--max-model-len` and the like) may set lower limits.
    """

    id: str | None
    """The id as it was asked for; `None` for an endpoint that was given without a model."""
    family: str
    """`"Kimi K2 Thinking"`, `"Kimi K2.5"` ...; `"unknown"` if no pattern fits."""
    context_window: int
    """Tokens of prompt and answer together."""
    max_output_tokens: int
    """Tokens of one answer, thinking included. At most the context window, which the prompt shares."""
    images: bool
    """Whether images may be sent. `True` for unknown models: their server can say no by itself."""
    thinking: ThinkingMode
    """Whether the model thinks before it answers; `"switchable"` also stands for "not known"."""
    deprecated_on: date | None = None
    """Google's date for the managed service only: weights that you deploy do not retire."""
    retires_on: date | None = None
    successor: str | None = None
    """What to do instead, as the end of a sentence that begins with "You can"."""
    notes: tuple[str, ...] = ()


_UNKNOWN: Final = ModelInfo(
    id=None,
    family="unknown",
    # What every Kimi since K2-0905 has. A guess that is too high ends in the server's clear error about its
    # context window; one that is too low would make frameworks cut histories and retrieved texts in silence.
    context_window=256 * _K,
    max_output_tokens=256 * _K,
    images=True,
    thinking="switchable",
)

# Limits and modalities of the weights, unless another source is named:
# https://github.com/anomalyco/models.dev/tree/36dbbd6/models/moonshotai
_K2_INSTRUCT: Final = replace(
    _UNKNOWN,
    family="Kimi K2 Instruct",
    context_window=128 * _K,
    max_output_tokens=128 * _K,
    images=False,
    thinking="never",
)
_K2_INSTRUCT_0905: Final = replace(
    _K2_INSTRUCT, family="Kimi K2 Instruct 0905", context_window=256 * _K, max_output_tokens=256 * _K
)
_K2: Final = replace(
    _K2_INSTRUCT_0905,
    family="Kimi K2",
    # The Model Garden card `kimi-k2` deploys the Instruct models and the Thinking one.
    thinking="switchable",
)
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/maas/kimi/kimi-k2-thinking
_K2_THINKING: Final = replace(
    _UNKNOWN,
    family="Kimi K2 Thinking",
    images=False,
    thinking="always",
    notes=("Vertex answers a request with an image with a guess instead of an error.",),
)
# https://platform.kimi.ai/docs/guide/use-kimi-k2-thinking-model has the switches of K2.5, K2.6 and K2.7.
_K2_5: Final = replace(
    _UNKNOWN,
    family="Kimi K2.5",
    notes=('Thinking is switched off with chat_template_kwargs={"thinking": False}.',),
)
_K2_6: Final = replace(
    _K2_5,
    family="Kimi K2.6",
    notes=(
        *_K2_5.notes,
        'chat_template_kwargs={"thinking": True, "preserve_thinking": True} keeps the thinking of all turns.',
    ),
)
_K2_7: Final = replace(
    _UNKNOWN,
    family="Kimi K2.7 Code",
    thinking="always",
    notes=("Asking it not to think is an error; the thinking of all turns is kept.",),
)
# Always thinks, and its effort parameter: https://docs.rs/synaps-engine/0.11.0 (catalog/kimi.rs).
_K3: Final = replace(
    _UNKNOWN,
    family="Kimi K3",
    context_window=1024 * _K,
    max_output_tokens=256 * _K,
    thinking="always",
    notes=('reasoning_effort is "low", "high" or "max"; Moonshot accepts no temperature but 1.',),
)

_PATTERNS: Final[tuple[tuple[re.Pattern[str], ModelInfo], ...]] = tuple(
    (re.compile(rf"(?<![a-z0-9])kimi-?{pattern}"), info)
    for pattern, info in (
        (r"k3(?![0-9])", _K3),
        (r"k2[-p]7(?![0-9])", _K2_7),
        (r"k2[-p]6(?![0-9])", _K2_6),
        (r"k2[-p]5(?![0-9])", _K2_5),
        (r"k2(?![-p][0-9](?![0-9])).*thinking", _K2_THINKING),
        (r"k2(-instruct|-turbo)?-0905", _K2_INSTRUCT_0905),
        (r"k2-(instruct|base|0711)", _K2_INSTRUCT),
        # Not K2.8 or another later point release, about which nothing is known here.
        (r"k2(?![0-9])(?![-p][0-9](?![0-9]))", _K2),
    )
)

_MANAGED: Final = {
    DEFAULT_MODEL: replace(
        _K2_THINKING,
        # https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/deprecations/open-models
        deprecated_on=date(2026, 7, 21),
        retires_on=date(2026, 10, 21),
        successor=_SELF_DEPLOY,
    )
}


def model_info(model_id: str | None) -> ModelInfo:
    """Return what is known about `model_id`, in any of the spellings in use.

    Args:
        model_id: A Vertex id (`moonshotai/kimi-k2-thinking-maas`), a Hugging Face or Moonshot id
            (`moonshotai/Kimi-K2.5`, `kimi-k2.6`), or `None` for an endpoint that knows its own model.

    Returns:
        The published facts. An unknown id gets Kimi's usual limits, and images are allowed.
    """
    if model_id is None:
        return _UNKNOWN
    managed = _MANAGED.get(_without_resource_prefix(model_id).lower())
    if managed is not None:
        return replace(managed, id=model_id)
    name = re.sub(r"[._\s]", "-", model_id.lower())
    for pattern, info in _PATTERNS:
        if pattern.search(name):
            return replace(info, id=model_id)
    return replace(_UNKNOWN, id=model_id)


def _without_resource_prefix(model_id: str) -> str:
    found = re.fullmatch(r"(?:.*/)?publishers/([^/]+)/models/([^/@:]+).*", model_id)
    return f"{found[1]}/{found[2]}" if found else model_id


def retirement_warning(info: ModelInfo, today: date) -> str | None:
    """Return the text of a warning if `info` is a managed model that is deprecated or past its date."""
    if info.retires_on is not None and today >= info.retires_on:
        return (
            f"{info.id}: Google announced that this managed model retires on {info.retires_on.isoformat()}; "
            f"after that, requests fail with 404. You can {info.successor}. See {_RETIREMENTS}"
        )
    if info.deprecated_on is not None and today >= info.deprecated_on:
        until = f" and retires on {info.retires_on.isoformat()}" if info.retires_on else ""
        return (
            f"{info.id}: this managed model is deprecated since {info.deprecated_on.isoformat()}{until}. "
            f"You can {info.successor}. See {_RETIREMENTS}"
        )
    return None


def explain_not_found(target: Target, model: str | None, message: str) -> str:
    """Return the likely causes of a 404 and the next step for each.

    Args:
        target: Where the request went.
        model: The model that was asked for.
        message: The server's own text; it is not repeated in the result.
    """
    if target.kind == "base_url":
        if "model" in message.lower():
            return (
                "The server knows no such model: use the name that it was started with "
                f"(--served-model-name), which GET {target.base_url}/models lists."
            )
        return (
            "The path does not exist on this server: base_url must be everything before /chat/completions, "
            "for most servers ending in /v1."
        )
    if target.kind == "endpoint":
        return _explain_missing_endpoint(target)
    return _explain_missing_model(target, model or DEFAULT_MODEL)


def _explain_missing_endpoint(target: Target) -> str:
    project, location = target.project or "PROJECT", target.location
    return (
        "Likely causes: (1) there is no such endpoint in this project and location: list them with "
        f"`gcloud ai endpoints list --project={project} --region={location}`; "
        "(2) the model was undeployed, or another model server than vLLM or SGLang is deployed, which has no "
        'chat completions: try api="rawPredict" or api="predict"; '
        "(3) the endpoint is a dedicated or private one, which is refused on the shared host name: pass "
        "endpoint_host= (its dedicatedEndpointDns, or its private address)."
    )


def _explain_missing_model(target: Target, model: str) -> str:
    info = model_info(model)
    causes: list[str] = []
    if info.retires_on is not None:
        causes.append(
            f"Google announced this model's retirement for {info.retires_on.isoformat()} ({_RETIREMENTS}): "
            f"you can {info.successor}"
        )
    if target.location != "global":
        causes.append(f'managed Kimi models are served in location "global" only, not in "{target.location}"')
    if not model.startswith("moonshotai/") or model != model.lower() or not model.endswith("-maas"):
        causes.append(
            f"the id is not that of a managed Kimi model, which looks like {DEFAULT_MODEL}; a model that you "
            "deployed yourself is reached with endpoint="
        )
    causes.append(
        f"the model is not enabled for project {target.project}: enable it on its Model Garden card ({_CARD}), "
        f"for which you need roles/consumerprocurement.entitlementManager ({_GRANT})"
    )
    return "Likely causes: " + "; ".join(f"({n}) {cause}" for n, cause in enumerate(causes, 1)) + "."


def explain_status(status_code: int, message: str, target: Target, model: str | None) -> str | None:
    """Return the next step for an HTTP error, or `None` if there is nothing to add to the server's text.

    Args:
        status_code: The HTTP status.
        message: The server's text, best with the `reason` of its details (`SERVICE_DISABLED` ...).
        target: Where the request went.
        model: The model that was asked for.
    """
    if status_code == 404:
        return explain_not_found(target, model, message)
    if target.kind == "base_url":
        return "Pass the server's token as access_token=." if status_code == 401 else None
    if status_code == 401:
        return _explain_unauthenticated(message)
    if status_code == 403:
        return _explain_forbidden(message, target)
    if status_code == 413:
        return "Requests may be 10 MB long on a dedicated or private endpoint and 1.5 MB on a shared one."
    if status_code == 429:
        return _explain_exhausted(message, target)
    if status_code in {503, 504} and target.kind == "endpoint":
        return (
            "A shared endpoint breaks off after 60 s; a dedicated one after 10 minutes, or up to an hour "
            "with clientConnectionConfig.inferenceTimeout, set when it is created."
        )
    return None


def _explain_unauthenticated(message: str) -> str:
    if "ACCESS_TOKEN_TYPE_UNSUPPORTED" in message:
        return (
            "What was sent is no OAuth access token: API keys and ID tokens do not work here. Leave "
            "access_token and api_key out and run `gcloud auth application-default login`."
        )
    return (
        "The access token was not accepted; it may have expired or been revoked. A static access_token lives "
        "for an hour at most: leave it out and run `gcloud auth application-default login`."
    )


def _explain_forbidden(message: str, target: Target) -> str:
    project, text = target.project or "PROJECT", message.lower()
    if "service_disabled" in text or "has not been used in project" in text:
        return (
            f"Enable the API with `gcloud services enable aiplatform.googleapis.com --project={project}` and "
            "wait a few minutes."
        )
    if "user_project_denied" in text or "serviceusage.services.use" in text:
        return (
            "The account may not bill the quota project: grant it roles/serviceusage.serviceUsageConsumer "
            "there, or choose another with quota_project= or `gcloud auth application-default "
            f"set-quota-project {project}`."
        )
    if "vpc_service_controls" in text or "vpc service controls" in text:
        return "A VPC Service Controls perimeter refused the call: ask the administrator of the perimeter."
    if "org_policy" in text or "organization policy" in text or "restrictendpointusage" in text:
        return (
            "An organization policy refused the call: constraints/gcp.restrictEndpointUsage can block the "
            f'host of location "{target.location}", and model access policies can block the model.'
        )
    return (
        f"Grant the calling account roles/aiplatform.user in project {project} (it holds the permission "
        f"aiplatform.endpoints.predict): `gcloud projects add-iam-policy-binding {project} "
        "--member=user:EMAIL --role=roles/aiplatform.user`."
    )


def _explain_exhausted(message: str, target: Target) -> str:
    if target.kind == "endpoint":
        return (
            "All replicas are busy or a quota of the project is used up: send less at once or add replicas."
        )
    if "quota exceeded" in message.lower():
        return (
            f"A quota of project {target.project} is used up: ask for more at "
            "https://console.cloud.google.com/iam-admin/quotas (service aiplatform.googleapis.com)."
        )
    return (
        "The capacity that all customers share is short at the moment; a larger quota does not help. "
        "Try again later, send less at once, or buy Provisioned Throughput."
    )
