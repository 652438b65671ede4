"""Endpoints of one's own, as an emulator has them: plain values. `_deployments` makes resources and refusals of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

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

_FLAGS: Final = {
    "vllm": ("--enable-auto-tool-choice", "--tool-call-parser=kimi_k2", "--reasoning-parser=kimi_k2"),
    "sglang": ("--tool-call-parser=kimi_k2", "--reasoning-parser=kimi_k2"),
}


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
    """What the server was started with; default: the parsers for Kimi. Without them it behaves as a server without."""

    def __post_init__(self) -> None:
        known(self.state, get_args(State), "state")
        known(self.server, tuple(_FLAGS), "server")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The flags that count."""
        return _FLAGS[self.server] if self.flags is None else self.flags

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
