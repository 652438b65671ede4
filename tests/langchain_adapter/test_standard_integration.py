"""LangChain's own integration tests, against the emulator that enforces Kimi's rules.

Skipped are only the tests that download a PDF, an image or a sound from the internet, or need a recorded cassette.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex

pytestmark = [
    # v3 streaming is announced as beta by LangChain; its tests use deprecated forms on purpose.
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning"),
]


class TestChatKimiVertexIntegration(ChatModelIntegrationTests):
    """The suite with JSON mode and a model's name that is changed."""

    emulator: ClassVar[Emulator]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls) -> Iterator[None]:
        with Emulator() as cls.emulator:
            yield

    @pytest.fixture
    @staticmethod
    def vcr() -> None:
        """No cassette: the test that asks for one is skipped by the suite itself."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatKimiVertex

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": self.emulator.base_url}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "moonshotai/another-kimi-maas"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        return {"invoke": [], "stream": []}
