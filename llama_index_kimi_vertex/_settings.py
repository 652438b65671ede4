"""The settings of a `KimiVertex`, and how it is copied and pickled."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Mapping
from typing import Any, Self

from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import Field, model_validator

from kimi_vertex import ConfigurationError, RequestOptions, check_names
from kimi_vertex.fields import ClientFields

__all__ = ["ClientSettings", "check_options"]

_logger = logging.getLogger(__name__)


class ClientSettings(ClientFields, FunctionCallingLLM):
    """The settings of the core client, and two of LlamaIndex's."""

    context_window: int | None = Field(
        default=None, description="Tokens that the model reads and writes together; default: known by model."
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of every request: response_format, chat_template_kwargs, thinking ...",
    )

    @model_validator(mode="after")
    def _check_additional_kwargs(self) -> Self:
        check_options(self.additional_kwargs)
        if "extra_headers" in self.additional_kwargs:
            raise ConfigurationError(
                "Pass extra_headers as a setting of its own: additional_kwargs are part of to_dict, headers may be secret."
            )
        return self

    def __getstate__(self) -> dict[str, Any]:
        try:
            settings, _ = self._portable()
        except ConfigurationError as error:
            # LlamaIndex's components leave out in silence what raises here, and miss it later, in a worker or at once.
            _logger.warning("This KimiVertex cannot be pickled, nor what it is part of: %s", error)
            raise
        # The base class's deletes what it cannot pickle from the object itself.
        # https://github.com/run-llama/llama_index/blob/main/llama-index-core/llama_index/core/schema.py
        values = {
            name: value for name, value in {**self.__dict__, **settings}.items() if _can_travel(name, value)
        }
        return {
            "__dict__": values,
            "__pydantic_extra__": None,
            "__pydantic_fields_set__": self.__pydantic_fields_set__ & values.keys(),
            "__pydantic_private__": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The base class would hide a ConfigurationError and leave a half-built object.
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        values: dict[str, Any] = {
            name: copy.deepcopy(value, memo) if isinstance(value, dict | list) else value
            for name, value in self.__dict__.items()
        }
        return type(self)(**values)


def _can_travel(name: str, value: object) -> bool:
    """Whether a setting of LlamaIndex's goes into a pickle: not what is local to a function, for instance."""
    try:
        pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - every type fails in its own way
        _logger.warning("The pickle of this KimiVertex leaves out %s: %s", name, type(error).__name__)
        return False
    return True


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that a request cannot have.

    Raises:
        ConfigurationError: One of the names is unknown.
    """
    check_names(options, RequestOptions.__annotations__, owner="KimiVertex", what="option")
