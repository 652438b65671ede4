"""What an error of the service means, and what to do next, in the words of its message."""

from __future__ import annotations

from kimi_vertex._target.target import Target
from kimi_vertex.models import ACCESS_GRANT, MANAGED_MODEL, MODEL_CARD, RETIREMENTS, model_info

__all__ = ["explain_not_found", "explain_status"]


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
                "The server does not know this model: use the name that it was started with "
                f"(--served-model-name), which GET {target.base_url}/models lists."
            )
        return (
            "The path does not exist on this server: base_url must be everything before /chat/completions, "
            "for most servers ending in /v1."
        )
    if target.kind == "endpoint":
        return _explain_missing_endpoint(target)
    return _explain_missing_model(target, model or target.model or "")


def _explain_missing_endpoint(target: Target) -> str:
    project, location = target.project or "PROJECT", target.location
    return (
        "Likely causes: (1) this project and location have no such endpoint: list yours with "
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
            f"Google announced this model's retirement for {info.retires_on.isoformat()} ({RETIREMENTS}): "
            f"you can {info.successor}"
        )
    if target.location != "global":
        causes.append(f'managed Kimi models are served in location "global" only, not in "{target.location}"')
    if not model.startswith("moonshotai/") or model != model.lower() or not model.endswith("-maas"):
        causes.append(
            f"the id is not that of a managed Kimi model, which looks like {MANAGED_MODEL}; a model that you "
            "deployed yourself is reached with endpoint="
        )
    causes.append(
        f"the model is not enabled for project {target.project}: enable it on its Model Garden card ({MODEL_CARD}), "
        f"for which you need roles/consumerprocurement.entitlementManager ({ACCESS_GRANT})"
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
            "What was sent is not an OAuth access token: API keys and ID tokens do not work here. Leave "
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
            "there, or choose another with GOOGLE_CLOUD_QUOTA_PROJECT or `gcloud auth "
            f"application-default set-quota-project {project}`."
        )
    if "vpc_service_controls" in text or "vpc service controls" in text:
        return "A VPC Service Controls perimeter refused the request: ask the administrator of the perimeter."
    if "org_policy" in text or "organization policy" in text or "restrictendpointusage" in text:
        return (
            "An organization policy refused the request: constraints/gcp.restrictEndpointUsage can block the "
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
