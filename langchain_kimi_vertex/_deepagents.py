"""What deepagents finds by its entry points, so that `create_deep_agent(model="kimi_vertex:...")` needs no more.

Naming the provider there is what opts into the entry in `init_chat_model`'s table.
"""

from __future__ import annotations

import importlib
from typing import Any

from langchain_kimi_vertex._keys import PROVIDER
from langchain_kimi_vertex._registration import register_init_chat_model

__all__ = ["register_harness_profile", "register_provider_profile"]


def register_provider_profile() -> None:
    """Teach deepagents how a model of this provider is made."""
    deepagents: Any = importlib.import_module("deepagents")

    def pre_init(_: str) -> None:
        register_init_chat_model()

    deepagents.register_provider_profile(PROVIDER, deepagents.ProviderProfile(pre_init=pre_init))


def register_harness_profile() -> None:
    """Teach deepagents what its agents need with a model of this provider: calls that cannot be executed are answered."""
    deepagents: Any = importlib.import_module("deepagents")

    def extra_middleware() -> list[Any]:
        module: Any = importlib.import_module("langchain_kimi_vertex.invalid_calls")
        return [module.InvalidToolCallMiddleware()]

    profile = deepagents.HarnessProfile(extra_middleware=extra_middleware)
    deepagents.register_harness_profile(PROVIDER, profile)
