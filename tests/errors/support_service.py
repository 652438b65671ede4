"""What Google, a model server or a gateway answers, and what a user has to be told of it."""

from __future__ import annotations

import json
from typing import Any

from .support_errors import ENDPOINT, ENDPOINT_ID, MANAGED, PROJECT, REGION

LOGIN = "gcloud auth application-default login"
DNS = f"{ENDPOINT_ID}.{REGION}-456789.prediction.vertexai.goog"
HERE: dict[str, Any] = {"endpoint": ENDPOINT, "endpoint_host": DNS}
THERE: dict[str, Any] = {"model": MANAGED, "project": PROJECT}
SERVER: dict[str, Any] = {"base_url": "https://kimi.example.com", "model": "moonshotai/Kimi-K2.5"}


def google(code: int, status: str, message: str, reason: str = "", **metadata: str) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if reason:
        error["details"] = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
        ]
    return json.dumps([{"error": error}]).encode()


def vllm(code: int, kind: str, message: str) -> bytes:
    return json.dumps({"object": "error", "message": message, "type": kind, "code": code}).encode()


UNAUTHENTICATED = "Request had invalid authentication credentials. Expected OAuth 2 access token."
DENIED = (
    f"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/{ENDPOINT}'."
)
OFF = "Agent Platform API has not been used in project 4242 before or it is disabled."
NEEDS_QUOTA_PROJECT = (
    "Your application is authenticating by using local Application Default Credentials. The aiplatform.googleapis.com "
    "API requires a quota project, which is not set by default."
)
SHARED = (
    f"Dedicated Endpoint cannot be accessed through the shared Vertex AI domain us-central1-aiplatform.googleapis.com. "
    f"Please access the endpoint using its dedicated dns name '{DNS}'."
)
TOOLS = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'

ROWS: dict[str, tuple[dict[str, Any], int, bytes, list[str]]] = {
    "API key": (
        HERE,
        401,
        google(401, "UNAUTHENTICATED", UNAUTHENTICATED, "CREDENTIALS_MISSING"),
        ["API key", LOGIN],
    ),
    "ID token": (
        HERE,
        401,
        google(401, "UNAUTHENTICATED", UNAUTHENTICATED, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        ["Not an OAuth access token", LOGIN],
    ),
    "expired token": (
        HERE,
        401,
        google(401, "UNAUTHENTICATED", UNAUTHENTICATED),
        ["access_token has expired", LOGIN],
    ),
    "role": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            DENIED,
            "IAM_PERMISSION_DENIED",
            permission="aiplatform.endpoints.predict",
        ),
        ["aiplatform.endpoints.predict", "roles/aiplatform.user"],
    ),
    "scopes": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "Request had insufficient authentication scopes.",
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        ),
        ["scopes are too narrow", "cloud-platform"],
    ),
    "quota project": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            NEEDS_QUOTA_PROJECT,
            "SERVICE_DISABLED",
            consumer="projects/764086051850",
        ),
        ["No quota project", "set-quota-project acme-ml-prod"],
    ),
    "API off": (
        HERE,
        403,
        google(403, "PERMISSION_DENIED", OFF, "SERVICE_DISABLED", consumer="projects/4242"),
        ["off in project 4242", "gcloud services enable", "--project=4242"],
    ),
    "billing": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled.",
            "BILLING_DISABLED",
            consumer="projects/4242",
        ),
        ["Billing is off in project 4242", "billing/linkedaccount"],
    ),
    "serviceusage": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "Caller does not have required permission to use project x.",
            "USER_PROJECT_DENIED",
        ),
        ["may not bill", "roles/serviceusage.serviceUsageConsumer"],
    ),
    "perimeter": (
        HERE,
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "Request is prohibited by organization's policy.",
            "SECURITY_POLICY_VIOLATED",
        ),
        ["VPC Service Controls", "administrator"],
    ),
    "no endpoint": (
        HERE,
        404,
        google(404, "NOT_FOUND", f"The Endpoint resource {ENDPOINT} is not found."),
        ["No such endpoint", f"gcloud ai endpoints list --project={PROJECT} --region={REGION}"],
    ),
    "vLLM's model on an endpoint": (
        {**HERE, "model": "kimi"},
        404,
        vllm(404, "NotFoundError", "The model `kimi` does not exist."),
        ["another model", "leave model= out"],
    ),
    "no route in the container": (
        HERE,
        404,
        b'{"detail":"Not Found"}',
        ["no such route", 'api="rawPredict"'],
    ),
    "vLLM's model": (
        SERVER,
        404,
        vllm(404, "NotFoundError", "The model `kimi` does not exist."),
        ["another model", "--served-model-name"],
    ),
    "no /v1": (SERVER, 404, b'{"detail":"Not Found"}', ["base_url", "/chat/completions", "/v1"]),
    "retired": (
        THERE,
        404,
        google(
            404,
            "NOT_FOUND",
            "Publisher Model `projects/1/x` was not found or your project does not have access to it.",
        ),
        ["Google has retired kimi-k2-thinking-maas", "endpoint="],
    ),
    "not managed": (
        {**THERE, "model": "moonshotai/kimi-k3-maas", "location": "us-east5"}
        | {"model": "moonshotai/kimi-k3"},
        404,
        google(404, "NOT_FOUND", "Requested entity was not found."),
        ["manages no model 'moonshotai/kimi-k3'", "endpoint="],
    ),
    "shared host of a private endpoint": (
        {"endpoint": ENDPOINT, "endpoint_host": "10.0.0.9"},
        400,
        google(400, "FAILED_PRECONDITION", SHARED),
        [f'endpoint_host="{DNS}"'],
    ),
    "no tool parser": (
        HERE,
        400,
        vllm(400, "BadRequestError", TOOLS),
        ["vLLM with --enable-auto-tool-choice --tool-call-parser kimi_k2"],
    ),
    "nothing deployed": (
        HERE,
        400,
        google(400, "FAILED_PRECONDITION", f"Endpoint {ENDPOINT} doesn't have any deployed model."),
        ["No model is deployed", "gcloud ai endpoints deploy-model"],
    ),
    "from zero": (
        HERE,
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "Model is not yet ready for inference. Please wait, scale-up from zero is in progress.",
        ),
        ["starting from zero", "10 to 30 minutes", "wake_timeout=1800"],
    ),
    "no replica": (
        HERE,
        503,
        b"no healthy upstream",
        ["No replica is ready", "10 to 30 minutes", "wake_timeout=1800"],
    ),
    "quota": (
        HERE,
        429,
        google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/x."),
        ["quota of project acme-ml-prod", "iam-admin/quotas"],
    ),
    "busy replicas": (
        HERE,
        429,
        google(429, "RESOURCE_EXHAUSTED", "Resource exhausted."),
        ["replicas are busy", "send less at once"],
    ),
    "shared capacity": (
        THERE,
        429,
        google(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
        ["capacity that all customers share", "try again later"],
    ),
    "too slow": (HERE, 504, b"upstream request timeout", ["longer than the endpoint allows", "stream it"]),
    "too slow, by its words": (
        HERE,
        503,
        google(503, "UNAVAILABLE", "Took too long to respond when processing"),
        ["longer than the endpoint allows", "stream it"],
    ),
    "too large": (HERE, 413, b"Request Entity Too Large", ["too large", "shorten the conversation"]),
    "too long": (
        HERE,
        400,
        vllm(400, "BadRequestError", "This model's maximum context length is 262144 tokens."),
        ["too long for the model", "shorten it"],
    ),
    "other 400": (
        HERE,
        400,
        google(400, "INVALID_ARGUMENT", "temperature must be at most 2."),
        ["refused the request", "temperature must be at most 2"],
    ),
    "balance": (
        SERVER,
        402,
        b'{"error": {"message": "Insufficient balance"}}',
        ["balance is used up", "top it up"],
    ),
    "portal": (SERVER, 407, b"Proxy Authentication Required", ["wants a login", "HTTPS_PROXY"]),
    "login page": (SERVER, 302, b"", ["elsewhere", "login", "check base_url"]),
    "key of a server": (SERVER, 401, b'{"error": "Unauthorized"}', ["token", "access_token="]),
    "Cloud Run": (
        {**SERVER, "base_url": "https://kimi-x-uc.a.run.app/v1"},
        403,
        b"<html><title>403 Forbidden</title></html>",
        ["Cloud Run refused", "roles/run.invoker"],
    ),
}
