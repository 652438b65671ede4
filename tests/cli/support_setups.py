"""What a platform team meets before the first answer: set-ups that do not work, and what has to be said of each."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kimi_vertex_emulator import Answer, Deployment, Emulator, Raw, Rules

from .support_cli import ENDPOINT

ID: Final = "1234567890"
MANAGED: Final = "moonshotai/kimi-k2-thinking-maas"
LOGIN: Final = "gcloud auth application-default login"
NO_TOOLS: Final = ("--reasoning-parser=kimi_k2",)
NO_THINKING: Final = ("--enable-auto-tool-choice", "--tool-call-parser=kimi_k2")


@dataclass(frozen=True)
class Setup:
    """One set-up, by default an endpoint that works, on an emulator that the environment names."""

    words: str = ""
    """What the first red line says."""
    command: str = ""
    """What is to be run begins with this."""
    options: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    deployment: dict[str, Any] = field(default_factory=dict)
    emulator: dict[str, Any] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    route: Any = "chat"
    named: bool = True
    """Whether the environment names emulator and endpoint."""
    card: bool = False
    """Whether the fault shows on the score card only."""
    credentials: Callable[[Emulator], dict[str, Any]] | None = None
    """The content of a credentials file."""


def google(code: int, status: str, message: str) -> Raw:
    return Raw(
        [json.dumps({"error": {"code": code, "message": message, "status": status}}).encode()], status=code
    )


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def server(
    *answers: Answer, words: str, command: str = "", options: tuple[str, ...] = (), **more: Any
) -> Setup:
    """A set-up with a server of one's own behind `base_url`; ORIGIN is the emulator's."""
    url = () if "--base-url" in options else ("--base-url", "ORIGIN/v1")
    return Setup(words, command, (*url, *options), answers=answers, named=False, **more)


def key(emulator: Emulator) -> dict[str, Any]:
    """A service account's key, whose tokens the emulator makes."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": "acme",
        "client_email": "ci@acme.iam.gserviceaccount.com",
        "private_key": made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": emulator.token_uri,
    }


EXPIRED: Final = Raw(
    [b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}'],
    status=400,
    headers={"content-type": "application/json"},
)
PAGE: Final = Raw([b"<html>Sign in</html>"], headers={"content-type": "text/html"})
ELSEWHERE: Final = ENDPOINT.replace("us-central1", "us-east5")

BROKEN: Final[dict[str, Setup]] = {
    # the login
    "no login": Setup("No Google login was found", LOGIN, ("--endpoint", ENDPOINT), named=False),
    "login expired": Setup("login has expired", LOGIN, answers=(EXPIRED,), route="token", credentials=key),
    "no credentials file": Setup("no credentials file", options=("--credentials", "nowhere.json")),
    "API key": Setup(
        "Google API key",
        f"unset KIMI_VERTEX_ACCESS_TOKEN && {LOGIN}",
        ("--endpoint", ENDPOINT),
        environ={"KIMI_VERTEX_ACCESS_TOKEN": "AIzaSecretSecret"},
        named=False,
    ),
    # Google's refusals
    "scopes": Setup("scopes are too narrow", "gcloud", emulator={"refusal": "scopes"}),
    "no quota project": Setup(
        "No quota project", "gcloud auth application-default set-quota", emulator={"refusal": "quota-project"}
    ),
    "API off": Setup(
        "Vertex AI is off in project acme", "gcloud services enable", emulator={"refusal": "api-off"}
    ),
    "billing off": Setup(
        "Billing is off in project acme", "gcloud billing projects link acme", emulator={"refusal": "billing"}
    ),
    "role missing": Setup(
        "aiplatform.endpoints.predict is missing", "gcloud projects add-iam", emulator={"refusal": "role"}
    ),
    "wrong project": Setup(
        "does not exist or is suspended", "gcloud projects list", emulator={"refusal": "project"}
    ),
    "perimeter": Setup("VPC Service Controls", "gcloud logging read", emulator={"refusal": "perimeter"}),
    "service usage": Setup(
        "may not bill the quota project", "gcloud auth", emulator={"refusal": "service-usage"}
    ),
    "quota": Setup(
        "quota of project acme is used up",
        "gcloud alpha services quota",
        answers=(google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/x."),),
    ),
    # settings
    "zone": Setup(
        "is a zone",
        "export GOOGLE_CLOUD_LOCATION=us-central1",
        ("--endpoint", ID, "--location", "us-central1-a"),
    ),
    "region misspelt": Setup(
        "Did you mean 'us-central1'", "export", ("--endpoint", ID, "--location", "us-cental1")
    ),
    "region misspelt in the name": Setup(
        "Did you mean",
        f"export KIMI_VERTEX_ENDPOINT={ENDPOINT}",
        ("--endpoint", ENDPOINT.replace("central", "cental")),
    ),
    "no certificates": Setup(
        "no such file",
        "ls -l nowhere.pem",
        ("--endpoint", ENDPOINT, "--endpoint-host", "https://HOST", "--ca-certs", "nowhere.pem"),
        environ={"KIMI_VERTEX_ACCESS_TOKEN": "hidden-token"},
        named=False,
    ),
    "display name": Setup("display name", "gcloud ai endpoints list", ("--endpoint", "Kimi prod")),
    "variable misspelt": Setup(
        "did you mean KIMI_VERTEX_ENDPOINT?",
        "export KIMI_VERTEX_ENDPOINT=",
        environ={"KIMI_VERTEX_ENDPIONT": ENDPOINT},
        named=False,
    ),
    "http to a server": server(
        words="plain http would show",
        command="kimi-vertex doctor --base-url https://10.0.0.3:8000/v1",
        options=("--base-url", "http://10.0.0.3:8000/v1"),
    ),
    "two places": Setup(
        "base_url and", options=("--base-url", "https://kimi.example.com/v1", "--endpoint", ID)
    ),
    "another endpoint's host": Setup(
        "serves endpoint 999",
        options=("--endpoint", ENDPOINT, "--endpoint-host", "999.us-central1-42.prediction.vertexai.goog"),
        named=False,
    ),
    # the endpoint
    "endpoint missing": Setup(
        "No such endpoint", "gcloud ai endpoints list", ("--endpoint", ENDPOINT.replace(ID, "42"))
    ),
    "another region": Setup(
        "is in us-east5, not in us-central1",
        f"export KIMI_VERTEX_ENDPOINT={ELSEWHERE}",
        deployment={"name": ELSEWHERE},
    ),
    "undeployed": Setup(
        "No model is deployed", "gcloud ai endpoints deploy-model", deployment={"state": "undeployed"}
    ),
    "at zero": Setup("starting from zero", "kimi-vertex ask --wake-timeout", deployment={"state": "zero"}),
    "starting": Setup(
        "No replica is ready", "kimi-vertex ask --wake-timeout", deployment={"state": "starting"}
    ),
    "no healthy upstream": Setup(
        "No replica is ready", "kimi-vertex ask --wake", deployment={"state": "down"}
    ),
    "retired": Setup(
        "Google has retired kimi-k2-thinking-maas",
        "kimi-vertex endpoints",
        environ={"KIMI_VERTEX_ENDPOINT": "", "KIMI_VERTEX_MODEL": MANAGED, "GOOGLE_CLOUD_PROJECT": "acme"},
        emulator={"rules": Rules(models=[])},
    ),
    # its server
    "served name": Setup("The server has another model", "unset KIMI_VERTEX_MODEL", ("--model", "kimi")),
    "vLLM without a tool parser": Setup(
        "runs without tool calls", "vllm serve", deployment={"flags": NO_TOOLS}, card=True
    ),
    "vLLM without a reasoning parser": Setup(
        "without its reasoning parser", "vllm serve", deployment={"flags": NO_THINKING}, card=True
    ),
    "SGLang without a tool parser": Setup(
        "without its tool parser",
        "sglang serve",
        deployment={"server": "sglang", "flags": NO_TOOLS},
        card=True,
    ),
    # the way to a server
    "DNS": server(
        words="kimi.invalid has no address",
        command="nslookup",
        options=("--base-url", "https://kimi.invalid/v1"),
        environ={"KIMI_VERTEX_ACCESS_TOKEN": "hidden-token"},
    ),
    "port refused": server(
        words="Could not connect to 127.0.0.1:CLOSED",
        command="curl",
        options=("--base-url", "http://127.0.0.1:CLOSED/v1"),
    ),
    "no TLS": server(words="does not speak TLS", options=("--base-url", "https://HOST/v1")),
    "proxy": server(
        words="through the proxy in HTTPS_PROXY",
        command="env | grep -i _proxy",
        options=("--base-url", "https://kimi.example.com/v1"),
        environ={
            "HTTPS_PROXY": "http://me:hunter2@127.0.0.1:CLOSED",
            "KIMI_VERTEX_ACCESS_TOKEN": "hidden-token",
        },
    ),
    "proxy that refuses": server(
        words="refuses kimi.example.com",
        command="env | grep -i _proxy",
        options=("--base-url", "https://kimi.example.com/v1"),
        environ={"HTTPS_PROXY": "http://HOST", "KIMI_VERTEX_ACCESS_TOKEN": "hidden-token"},
    ),
    "no /v1": server(
        Raw([b'{"detail":"Not Found"}'], status=404),
        words="Nothing is at this address",
        options=("--model", MANAGED),
    ),
    "login page": server(PAGE, words="web page", options=("--model", MANAGED)),
    "another server's token": server(
        words="The server wants a token",
        command="export KIMI_VERTEX_ACCESS_TOKEN=",
        emulator={"require_token": True},
    ),
    "a token that another server refuses": server(
        words="did not accept the token",
        command="export KIMI_VERTEX_ACCESS_TOKEN=",
        environ={"KIMI_VERTEX_ACCESS_TOKEN": "hidden-token"},
        emulator={"valid_tokens": ["good"]},
    ),
    "another server's model": server(
        words="has another model than kimi", command="export KIMI_VERTEX_MODEL=", options=("--model", "kimi")
    ),
}
GOOD: Final[dict[str, Setup]] = {
    "vLLM": Setup(card=True),
    "SGLang": Setup(card=True, deployment={"server": "sglang"}),
    "a service account": Setup(credentials=key),
    "a server": server(words="", card=True),
    "the managed model": Setup(
        environ={"KIMI_VERTEX_ENDPOINT": "", "KIMI_VERTEX_MODEL": MANAGED, "GOOGLE_CLOUD_PROJECT": "acme"}
    ),
    "forced calls refused": Setup(card=True, emulator={"rules": Rules(refuse_forced_tool_choice=True)}),
}


@contextmanager
def arranged(setup: Setup, folder: Path, monkeypatch: Any) -> Iterator[list[str]]:
    """Put a set-up together, and give the arguments of the doctor."""
    deployment: dict[str, Any] = {"name": ENDPOINT, **setup.deployment}
    with Emulator(deployments=[Deployment(**deployment)], **setup.emulator) as emulator:
        names = {"ORIGIN": emulator.origin, "HOST": emulator.host, "CLOSED": str(closed_port())}

        def filled(text: str) -> str:
            return next((text.replace(name, value) for name, value in names.items() if name in text), text)

        emulator.enqueue(*setup.answers, route=setup.route)
        if setup.named:
            monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
            if "--endpoint" not in setup.options:
                monkeypatch.setenv("KIMI_VERTEX_ENDPOINT", ENDPOINT)
        for name, value in setup.environ.items():
            monkeypatch.setenv(name, filled(value))
        options = [filled(option) for option in setup.options]
        if setup.credentials is not None:
            file = folder / "credentials.json"
            file.write_text(json.dumps(setup.credentials(emulator)), encoding="utf-8")
            options += ["--credentials", str(file)]
        yield ["doctor", *options, *([] if setup.card else ["--quick"])]
