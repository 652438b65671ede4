"""What an error of the service means, and what to do next: the news, the next step, then the rest.

The first 120 characters of an error are what most people see of it, so each text here begins with what happened and goes
on with what to do about it. Where the request went stands at the end, which is added by `failures`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from kimi_vertex.models import ACCESS_GRANT, MANAGED_MODEL, MODEL_CARD, RETIREMENTS, model_info

from .said import Said

__all__ = ["dedicated_dns", "explain", "explain_overflow", "is_waking", "may_be_elsewhere", "names_model"]

_LOGIN: Final = "`gcloud auth application-default login`"
_TIME_LIMIT: Final = (
    "A shared endpoint breaks off after 60 s; a dedicated one after 10 minutes, or up to an hour with "
    "clientConnectionConfig.inferenceTimeout, set when it is created."
)
# gcloud's own project: what a login without a quota project is counted to.
# https://github.com/googleapis/google-auth-library-python/blob/main/google/auth/_cloud_sdk.py
_GCLOUD_PROJECTS: Final = frozenset({"764086051850", "32555940559"})
_DEDICATED: Final = re.compile(r"(?<![a-z0-9-])[a-z0-9-]++\.[a-z0-9-]++\.prediction\.vertexai\.goog")
_WAKING: Final = re.compile(
    r"not (?:yet )?ready (?:for|to)|\bscal\w*+ (?:up )?from (?:zero|0)|scaled? (?:down )?to (?:zero|0)"
    r"|no (?:healthy|ready|available) (?:upstream|replica|backend|endpoint|instance)s?"
    r"|(?:replica|model|server|engine|instance)s? (?:is|are) (?:still |currently )?(?:loading|starting|warming|booting)"
    r"|loading (?:the )?model|no replicas? (?:is|are)|warming up|is being (?:deployed|redeployed)|cold start"
    r"|upstream connect error",
    re.IGNORECASE,
)
_NOT_DEPLOYED: Final = re.compile(
    r"(?:n't|not|no) (?:have )?(?:any )?(?:deployed model|model deployed)", re.IGNORECASE
)
_QUOTA: Final = re.compile(r"quota|resource (?:has been )?exhausted|rate limit", re.IGNORECASE)
_START: Final = "Kimi takes 10 to 30 minutes"


def is_waking(said: Said) -> bool:
    """Whether an endpoint has no replica yet: it wakes from zero, is redeployed, or has lost its replicas.

    A quota that is used up and replicas that are busy are something else, which no wait for a start ends.
    """
    if said.status == 429 and _QUOTA.search(said.message) and not _WAKING.search(said.message):
        return False
    if _NOT_DEPLOYED.search(said.message):
        return said.status in (400, 404, 412, 503)
    return said.status in (404, 409, 425, 429, 500, 502, 503, 504) and bool(_WAKING.search(said.message))


def names_model(said: Said) -> bool:
    """Whether a model server says that it has another model: the path is right, then."""
    text = said.text
    return not said.by_google and (
        ("model" in text and ("does not exist" in text or "not found" in text or "not_found" in text))
        or "unknown model" in text
    )


def may_be_elsewhere(said: Said) -> bool:
    """Whether the target may answer on another route: there is nothing at this one's address."""
    if said.status not in (404, 405) or is_waking(said):
        return False
    return not (names_model(said) or "publisher model" in said.text)


def dedicated_dns(said: Said) -> str | None:
    """The host that an endpoint of its own host is to be asked at, if that is what the service says."""
    if said.target.kind != "endpoint" or said.status not in (400, 403, 404):
        return None
    if "edicated" not in said.message:
        return None
    found = _DEDICATED.search(said.message)
    return found[0] if found else None


def explain(said: Said) -> str | None:
    """Return what happened and the next step, or `None` if there is nothing to add to the server's text."""
    if is_waking(said):
        return _explain_waking(said)
    step = _BY_STATUS.get(said.status)
    return step(said) if step is not None else None


def _explain_waking(said: Said) -> str:
    endpoint = said.target.endpoint_id or "ENDPOINT"
    if said.waited >= 1:
        return (
            f"The endpoint is not ready after {said.waited:.0f} s of waiting: raise wake_timeout, or look at its logs and "
            f"its deployment. {_START}."
        )
    if _NOT_DEPLOYED.search(said.message):
        return (
            f"No model is deployed on the endpoint: `gcloud ai endpoints deploy-model {endpoint} "
            f"--region={said.target.location} --model=MODEL` deploys one. If one is on its way ({_START}), "
            "set wake_timeout=1800 to wait for it."
        )
    if said.status == 429:
        return (
            f"The endpoint is starting from zero replicas, for which {_START}: set wake_timeout=1800 to wait for it, "
            "or try again later. To keep a replica up, deploy with min-replica-count 1."
        )
    return (
        f"No replica is ready: they are starting ({_START}) or down. Set wake_timeout=1800 to wait, or look at "
        "the endpoint's logs."
    )


def _explain_bad_request(said: Said) -> str | None:
    text = said.text
    if host := dedicated_dns(said):
        return f'The endpoint has a host of its own: pass endpoint_host="{host}".'
    if said.lookup_refused is not None and "dedicated" in text:
        return _explain_lookup(said)
    if "enable-auto-tool-choice" in text or "tool-call-parser" in text:
        engine, flags = (
            "SGLang" if said.server == "sglang" else "vLLM",
            model_info(said.model).flags_on(said.server),
        )
        return f"The server runs without tool calls: start {engine} with {flags}."
    if "api key not valid" in text or "api_key_invalid" in text:
        return _explain_unauthenticated(said)
    if "multimodal" in text or "only accepts text" in text or "does not support image" in text:
        return (
            "The model on this server reads only text: leave the images out, or deploy one that sees "
            "(Kimi K2.5 or later)."
        )
    if "temperature" in text and "only 1" in text:
        return "This model takes no temperature but 1: leave temperature out."
    if "reasoning_content is missing" in text:
        return 'A turn of the history came without its thinking: keep the messages whole and replay_thinking="all".'
    return None


def explain_overflow(_: Said) -> str:
    """The next step where the context window is too small."""
    return (
        "The conversation is too long for the model: shorten it, or lower max_tokens, which counts, too. A server may "
        "allow less than the model (--max-model-len)."
    )


def _explain_unauthenticated(said: Said) -> str:
    text, target = said.text, said.target
    if target.kind == "base_url":
        if _is_cloud_run(target.base_url) or "iap" in text:
            return (
                f'The server wants an ID token: pass audience="{_origin(target.base_url)}" with a service account\'s '
                "credentials. For IAP, the audience is its OAuth client id."
            )
        if not said.token:
            return "The server wants a token: pass its own as access_token= (api_key= in the frameworks)."
        return "The server did not accept the token: pass the server's own as access_token=, or check it."
    more = "API keys and ID tokens do not work here; a static access_token lives for an hour at most."
    if "access_token_type_unsupported" in text:
        return f"Not an OAuth access token (an API key or ID token?): leave it out and run {_LOGIN}. {more}"
    if "credentials_missing" in text or "api key" in text or "api_key" in text:
        return f"No OAuth access token arrived (an API key?): leave api_key out and run {_LOGIN}. {more}"
    if not said.can_refresh:
        return f"The access_token has expired or was revoked: leave it out and run {_LOGIN}. {more}"
    return (
        f"Google refused the login, also after a refresh: run {_LOGIN}, or check that {said.who} is enabled."
    )


def _explain_forbidden(said: Said) -> str | None:
    target, text = said.target, said.text
    if target.kind == "base_url":
        if _is_cloud_run(target.base_url):
            return f"Cloud Run refused {said.who}: grant it roles/run.invoker on the service, and pass audience=."
        if "iap" in text:
            return f"IAP refused {said.who}: grant it roles/iap.httpsResourceAccessor, and pass audience=."
        return None
    if "access_token_scope_insufficient" in text or "insufficient authentication scopes" in text:
        return (
            "The token's scopes are too narrow: give the machine (or the login) the scope cloud-platform. A VM: "
            "`gcloud compute instances set-service-account VM --scopes=cloud-platform`, while it is stopped; a user: "
            f"{_LOGIN}."
        )
    if (
        said.consumer in _GCLOUD_PROJECTS
        or "quota project" in text
        or any(p in text for p in _GCLOUD_PROJECTS)
    ):
        return (
            "No quota project is set: run `gcloud auth application-default set-quota-project "
            f"{said.project}`, or set GOOGLE_CLOUD_QUOTA_PROJECT."
        )
    if "service_disabled" in text or "has not been used in project" in text:
        consumer = said.consumer or said.project
        return (
            f"Vertex AI is off in project {consumer}: `gcloud services enable aiplatform.googleapis.com "
            f"--project={consumer}`, then wait a few minutes."
        )
    if "billing_disabled" in text or "requires billing" in text or "billing to be enabled" in text:
        consumer = said.consumer or said.project
        return (
            f"Billing is off in project {consumer}: link an account at "
            f"https://console.cloud.google.com/billing/linkedaccount?project={consumer}"
        )
    if "user_project_denied" in text or "serviceusage.services.use" in text:
        return (
            f"{_capital(said.who)} may not bill the quota project: grant roles/serviceusage.serviceUsageConsumer "
            "there, or choose another with GOOGLE_CLOUD_QUOTA_PROJECT or `gcloud auth "
            f"application-default set-quota-project {said.project}`."
        )
    if "consumer_invalid" in text or "consumer_suspended" in text:
        return f"Project {said.consumer or said.project} does not exist or is suspended: check project=."
    if "vpc_service_controls" in text or "vpc service controls" in text or "security_policy_violated" in text:
        return "A VPC Service Controls perimeter refused the request: call from inside, or ask its administrator."
    if "org_policy" in text or "organization policy" in text or "restrictendpointusage" in text:
        return (
            "An organization policy refused the request: ask its administrator. "
            f'constraints/gcp.restrictEndpointUsage can block the host of location "{target.location}", and model '
            "access policies can block the model."
        )
    permission = said.permission or "aiplatform.endpoints.predict"
    return (
        f"Permission {permission} is missing: grant roles/aiplatform.user to {said.who}: `gcloud projects "
        f"add-iam-policy-binding {said.project} --member={said.member} --role=roles/aiplatform.user`."
    )


def _explain_not_found(said: Said) -> str:
    target = said.target
    if target.kind == "managed":
        return _explain_missing_model(said)
    if names_model(said):
        return (
            "The server has another model: leave model= out, or use the name that it was started with "
            f"(--served-model-name).{_listed(said)}"
        )
    if target.kind == "base_url":
        return (
            "Nothing is at this address: base_url must be everything before /chat/completions, for most servers "
            f"ending in /v1.{_guess(target.base_url or '')}"
        )
    if said.lookup_refused is not None:
        return _explain_lookup(said)
    if not said.by_google and said.message:
        return (
            'The container has no such route: try api="rawPredict" or api="predict"; vLLM and SGLang have chat '
            "completions, other model servers may not."
        )
    return (
        f"No such endpoint: `gcloud ai endpoints list --project={said.project} --region={target.location}` shows "
        "yours. Or its model was undeployed; or it is a dedicated or private one, which is refused on the shared host: "
        "pass endpoint_host= (its dedicatedEndpointDns, or its private address)."
    )


def _explain_lookup(said: Said) -> str:
    return (
        f"The endpoint's own host could not be looked up (HTTP {said.lookup_refused}): pass endpoint_host=, or grant "
        f"{said.who} aiplatform.endpoints.get. The shared host, which was tried instead, does not serve dedicated and "
        f"private endpoints. `gcloud ai endpoints describe {said.target.endpoint_id} --project={said.project} "
        f"--region={said.target.location} --format='value(dedicatedEndpointDns)'` shows it."
    )


def _explain_missing_model(said: Said) -> str:
    target, model = said.target, said.model or said.target.model or ""
    info = model_info(model)
    causes: list[str] = []
    first = ""
    if info.retires_on is not None:
        first = (
            f"Google has retired {model.rpartition('/')[2]} ({info.retires_on.isoformat()}): deploy Kimi from Model "
            "Garden and pass endpoint=. "
        )
        causes.append(
            f"Google announced this model's retirement for {info.retires_on.isoformat()} ({RETIREMENTS}): "
            f"you can {info.successor}"
        )
    if target.location != "global":
        causes.append(f'managed Kimi models are served in location "global" only, not in "{target.location}"')
    if not model.startswith("moonshotai/") or model != model.lower() or not model.endswith("-maas"):
        first = f"Vertex AI manages no model {model[:50]!r}: deploy it from Model Garden and pass endpoint=. "
        causes.append(
            f"the id is not that of a managed Kimi model, which looks like {MANAGED_MODEL}; a model that you "
            "deployed yourself is reached with endpoint="
        )
    causes.append(
        f"the model is not enabled for project {target.project}: enable it on its Model Garden card ({MODEL_CARD}), "
        f"for which you need roles/consumerprocurement.entitlementManager ({ACCESS_GRANT})"
    )
    listed = "; ".join(f"({n}) {cause}" for n, cause in enumerate(causes, 1))
    return f"{first}Likely causes: {listed}."


def _explain_too_large(said: Said) -> str:
    if said.target.kind == "base_url":
        return "The request is too large for the server: shorten the conversation, or send smaller images."
    return (
        "The request is too large: shorten the conversation, or send smaller images. It may be 10 MB long on a "
        "dedicated or private endpoint and 1.5 MB on a shared one."
    )


def _explain_exhausted(said: Said) -> str | None:
    if said.target.kind == "base_url":
        return None
    if "quota exceeded" in said.text:
        return (
            f"A quota of project {said.target.project} is used up: ask for more at "
            "https://console.cloud.google.com/iam-admin/quotas (service aiplatform.googleapis.com)."
        )
    if said.target.kind == "endpoint":
        return (
            "All replicas are busy or a quota is used up: send less at once, or add replicas to the endpoint."
        )
    return (
        "The capacity that all customers share is short: try again later, or send less at once; a larger quota does "
        "not help, Provisioned Throughput does."
    )


def _explain_unavailable(said: Said) -> str | None:
    text = said.text
    late = said.status == 504 or "too long" in text or "timeout" in text or "deadline" in text
    if said.target.kind == "endpoint" and (late or said.seconds > 55):
        return f"The answer took longer than the endpoint allows: stream it, or use a longer limit. {_TIME_LIMIT}"
    if said.status == 504:
        return "The server or a proxy before it gave up waiting: stream the answer, or raise its time limit."
    return None


def _explain_method(said: Said) -> str:
    if said.target.kind == "base_url":
        return _explain_not_found(said)
    return 'The endpoint does not take this method: leave api= out, or try api="rawPredict" or api="predict".'


def _explain_unpaid(_: Said) -> str:
    return "The account's balance is used up, or billing is off: top it up at the server's provider."


def _explain_portal(_: Said) -> str:
    return (
        "A proxy or a network portal on the way wants a login: check HTTPS_PROXY, with its user and password."
    )


_BY_STATUS: Final = {
    400: _explain_bad_request,
    401: _explain_unauthenticated,
    402: _explain_unpaid,
    403: _explain_forbidden,
    404: _explain_not_found,
    405: _explain_method,
    407: _explain_portal,
    413: _explain_too_large,
    422: _explain_bad_request,
    429: _explain_exhausted,
    502: _explain_unavailable,
    503: _explain_unavailable,
    504: _explain_unavailable,
    511: _explain_portal,
}


def _listed(said: Said) -> str:
    return f" GET {said.target.base_url}/models lists its names." if said.target.base_url else ""


def _guess(base_url: str) -> str:
    path = urlsplit(base_url).path
    return f" Did you mean {base_url}/v1?" if not re.search(r"/v\d", path) else ""


def _is_cloud_run(base_url: str | None) -> bool:
    return bool(base_url) and (urlsplit(base_url or "").hostname or "").endswith(".run.app")


def _origin(base_url: str | None) -> str:
    parts = urlsplit(base_url or "")
    return f"{parts.scheme}://{parts.netloc}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if "@" not in text else text
