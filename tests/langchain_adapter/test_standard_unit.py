"""LangChain's own unit tests for chat models."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_kimi_vertex import ChatKimiVertex, register_serializable

# langchain-tests itself calls the deprecated `dict()` and pydantic v1 models.
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")


class TestChatKimiVertexUnit(ChatModelUnitTests):
    """The suite with serialization and initialization from the environment."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _registered(cls) -> None:
        """`test_serdes` loads with `allowed_objects="all"`: what a table in langchain-core names.

        First-party packages are in that table; others skip or `xfail` the test. An application that wants this one
        in it says so with this call; `test_settings.py` shows `load` without it.
        """
        register_serializable()

    @pytest.fixture(autouse=True)
    def _brief(self, request: pytest.FixtureRequest) -> None:
        """`test_init_time` is marked as a benchmark, which would measure for a second."""
        request.node.add_marker(pytest.mark.benchmark(max_time=0.05), append=False)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatKimiVertex

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "moonshotai/kimi-k2-thinking-maas", "project": "a-project", "location": "global"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"GOOGLE_CLOUD_PROJECT": "env-project", "GOOGLE_CLOUD_LOCATION": "us-central1"},
            {"model": "moonshotai/kimi-k2-thinking-maas", "access_token": "test"},
            {"project": "env-project", "location": "us-central1", "access_token": "test"},
        )
