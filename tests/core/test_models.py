"""What is known about models, in every spelling, and what errors about them are explained with."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kimi_vertex._exchange.advice import explain
from kimi_vertex._exchange.said import Said
from kimi_vertex._target.environment import Environment
from kimi_vertex._target.resolve import resolve_target
from kimi_vertex._target.target import Target
from kimi_vertex.models import MANAGED_MODEL, model_info, retirement_warning

K = 1024
NAME = "projects/my-proj/locations/us-central1/endpoints/123"


def managed(**settings: Any) -> Target:
    return resolve_target(
        environment=Environment(), project="my-proj", **{"model": MANAGED_MODEL, **settings}
    )


def endpoint() -> Target:
    return resolve_target(environment=Environment(), endpoint=NAME)


def server() -> Target:
    return resolve_target(environment=Environment(), base_url="https://example.com/v1")


@pytest.mark.parametrize(
    ("model", "family", "context", "images", "thinking"),
    [
        (MANAGED_MODEL, "Kimi K2 Thinking", 256 * K, False, "always"),
        (f"publishers/moonshotai/models/{MANAGED_MODEL[11:]}", "Kimi K2 Thinking", 256 * K, False, "always"),
        ("moonshotai/Kimi-K2-Thinking", "Kimi K2 Thinking", 256 * K, False, "always"),
        ("unsloth/Kimi-K2-Thinking-BF16", "Kimi K2 Thinking", 256 * K, False, "always"),
        ("kimi-k2-thinking-turbo", "Kimi K2 Thinking", 256 * K, False, "always"),
        ("moonshotai/Kimi-K2-Instruct", "Kimi K2 Instruct", 128 * K, False, "never"),
        ("kimi-k2-0711-preview", "Kimi K2 Instruct", 128 * K, False, "never"),
        ("moonshotai/Kimi-K2-Instruct-0905", "Kimi K2 Instruct 0905", 256 * K, False, "never"),
        ("kimi-k2-0905-preview", "Kimi K2 Instruct 0905", 256 * K, False, "never"),
        ("moonshotai/kimi-k2", "Kimi K2", 256 * K, False, "switchable"),
        ("moonshotai/Kimi-K2.5", "Kimi K2.5", 256 * K, True, "switchable"),
        ("moonshotai/kimi-k2-5", "Kimi K2.5", 256 * K, True, "switchable"),
        ("accounts/x/models/kimi-k2p5", "Kimi K2.5", 256 * K, True, "switchable"),
        ("kimi-k2.6", "Kimi K2.6", 256 * K, True, "switchable"),
        ("nvidia/Kimi-K2.5-NVFP4", "Kimi K2.5", 256 * K, True, "switchable"),
        ("kimi-k2.7-code-highspeed", "Kimi K2.7 Code", 256 * K, True, "always"),
        ("moonshotai/Kimi-K2.7-Code", "Kimi K2.7 Code", 256 * K, True, "always"),
        ("moonshotai/kimi-k3", "Kimi K3", 1024 * K, True, "always"),
        ("kimi-k3.1-pro", "Kimi K3.1 Pro", 1024 * K, True, "always"),
        ("moonshotai/Kimi-K3p1-Pro", "Kimi K3.1 Pro", 1024 * K, True, "always"),
        ("kimi-k3.1-pro-highspeed", "Kimi K3.1 Pro", 1024 * K, True, "always"),
        ("kimi-k3.2", "unknown", 256 * K, True, "switchable"),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", "Kimi Linear", 1024 * K, False, "never"),
        ("kimi-k2.8-preview", "unknown", 256 * K, True, "switchable"),
        ("my-company/assistant", "unknown", 256 * K, True, "switchable"),
        ("", "unknown", 256 * K, True, "switchable"),
        (None, "unknown", 256 * K, True, "switchable"),
    ],
)
def test_facts(model: str | None, family: str, context: int, images: bool, thinking: str) -> None:
    """Every spelling of a model leads to its facts, and unknown names to Kimi's usual limits."""
    info = model_info(model)
    assert (info.id, info.family, info.context_window, info.images, info.thinking) == (
        model,
        family,
        context,
        images,
        thinking,
    )
    assert 0 < info.max_output_tokens <= info.context_window


@pytest.mark.parametrize(
    ("model", "today", "text"),
    [
        (MANAGED_MODEL, date(2026, 7, 20), None),
        (MANAGED_MODEL, date(2026, 7, 21), "deprecated since 2026-07-21 and retires on 2026-10-21"),
        (MANAGED_MODEL, date(2026, 10, 21), "retires on 2026-10-21; after that, requests fail with 404"),
        ("moonshotai/Kimi-K2-Thinking", date(2030, 1, 1), None),
        (None, date(2030, 1, 1), None),
    ],
)
def test_retirement(model: str | None, today: date, text: str | None) -> None:
    """Only the managed model has a lifecycle; from its announced dates on, there is something to say."""
    warning = retirement_warning(model_info(model), today)
    assert (
        (warning is None)
        if text is None
        else (warning is not None and text in warning and "endpoint=" in warning)
    )


@pytest.mark.parametrize(
    ("target", "model", "message", "texts"),
    [
        (managed(), MANAGED_MODEL, "", ["retirement for 2026-10-21", "not enabled for project my-proj"]),
        (managed(location="us-east5"), MANAGED_MODEL, "", ['"global" only, not in "us-east5"']),
        (
            managed(model="moonshotai/Kimi-K2.5"),
            "moonshotai/Kimi-K2.5",
            "",
            ["not that of a managed Kimi model"],
        ),
        (
            endpoint(),
            None,
            "",
            ["gcloud ai endpoints list --project=my-proj --region=us-central1", "endpoint_host="],
        ),
        (server(), "kimi", "The model `kimi` does not exist.", ["GET https://example.com/v1/models"]),
        (server(), "kimi", "Not Found", ["everything before /chat/completions"]),
    ],
)
def test_not_found(target: Target, model: str | None, message: str, texts: list[str]) -> None:
    """A 404 is explained with its likely causes at this target, each with a next step."""
    explanation = explain(Said(404, message, target, model)) or ""
    assert [text for text in texts if text not in explanation] == []


@pytest.mark.parametrize(
    ("status", "message", "target", "text"),
    [
        (401, "reason: ACCESS_TOKEN_TYPE_UNSUPPORTED", managed(), "API keys and ID tokens do not work"),
        (401, "invalid authentication credentials", managed(), "gcloud auth application-default login"),
        (401, "", server(), "access_token="),
        (
            403,
            "Agent Platform API has not been used in project P before",
            managed(),
            "gcloud services enable",
        ),
        (
            403,
            "reason SERVICE_DISABLED",
            managed(),
            "gcloud services enable aiplatform.googleapis.com --project=my-proj",
        ),
        (403, "Permission 'aiplatform.endpoints.predict' denied", managed(), "roles/aiplatform.user"),
        (403, "Caller does not have serviceusage.services.use", managed(), "serviceUsageConsumer"),
        (403, "Request violates VPC Service Controls", managed(), "perimeter"),
        (403, "restrictEndpointUsage", managed(), "organization policy"),
        (404, "", managed(), "Likely causes"),
        (413, "", endpoint(), "1.5 MB"),
        (429, "Resource exhausted. Please try again later.", managed(), "a larger quota does not help"),
        (429, "Quota exceeded for aiplatform.googleapis.com/x", managed(), "iam-admin/quotas"),
        (429, "Resource exhausted", endpoint(), "replicas"),
        (503, "Took too long to respond when processing", endpoint(), "inferenceTimeout"),
        (503, "unavailable", managed(), None),
        (429, "slow down", server(), None),
        (400, "Request contains an invalid argument.", managed(), None),
    ],
)
def test_next_steps(status: int, message: str, target: Target, text: str | None) -> None:
    """Errors that have a known remedy name it; the others are left to the server's own text."""
    explanation = explain(Said(status, message, target, MANAGED_MODEL))
    assert (explanation is None) if text is None else (explanation is not None and text in explanation)


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("moonshotai/Kimi-K2.7-Code", "--tool-call-parser kimi_k2 --reasoning-parser kimi_k2"),
        ("kimi-k3.1-pro", "--tool-call-parser kimi_k3 --reasoning-parser kimi_k3"),
        (None, "--tool-call-parser kimi_k2 --reasoning-parser kimi_k2 (Kimi K3: kimi_k3 for both)"),
    ],
)
def test_an_engine_is_started_with_the_models_own_parsers(model: str | None, flags: str) -> None:
    """The flags name the parsers of the model, both where it is not known, and vLLM's further one unless it is SGLang."""
    info = model_info(model)
    assert info.flags_on("sglang") == flags
    assert info.flags_on("vllm") == info.flags_on(None) == f"--enable-auto-tool-choice {flags}"
