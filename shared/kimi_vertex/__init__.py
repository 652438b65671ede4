"""Kimi on Google Vertex AI: the transport core, usable without any framework."""

from ._exchange.stats import RequestStats
from ._habits import check_names
from ._json import find_json_object
from ._request.choice import check_tool_choice
from ._target.environment import unknown_variables
from ._version import __version__
from ._wire import find_thinking
from .client import CLIENT_SETTINGS, KimiVertexClient
from .completion import Completion, InvalidToolCall, accumulate
from .errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextOverflowError,
    CredentialsError,
    EmptyTurnError,
    InternalServerError,
    InvalidRequestError,
    KimiVertexError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    StreamInterruptedError,
)
from .estimates import estimate_conversation_tokens, estimate_tokens
from .events import (
    EmptyTurn,
    Event,
    Finish,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from .listener import ThinkingListener
from .messages import Message, MessageLike, Role, ToolCall
from .models import ModelInfo, model_info
from .options import Pace, PaceState, RequestOptions, ThinkingCallback, Timeouts, Wait, WaitCallback
from .places import Login, Place
from .streams import AsyncEventStream, EventStream

__all__ = [
    "CLIENT_SETTINGS",
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncEventStream",
    "AuthenticationError",
    "BadRequestError",
    "Completion",
    "ConfigurationError",
    "ContextOverflowError",
    "CredentialsError",
    "EmptyTurn",
    "EmptyTurnError",
    "Event",
    "EventStream",
    "Finish",
    "FinishReason",
    "InternalServerError",
    "InvalidRequestError",
    "InvalidToolCall",
    "KimiVertexClient",
    "KimiVertexError",
    "Login",
    "Message",
    "MessageLike",
    "ModelInfo",
    "NotFoundError",
    "Pace",
    "PaceState",
    "PermissionDeniedError",
    "Place",
    "RateLimitError",
    "RequestOptions",
    "RequestStats",
    "RequestTooLargeError",
    "Role",
    "StreamInterruptedError",
    "TextDelta",
    "ThinkingCallback",
    "ThinkingDelta",
    "ThinkingListener",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "Wait",
    "WaitCallback",
    "__version__",
    "accumulate",
    "check_names",
    "check_tool_choice",
    "estimate_conversation_tokens",
    "estimate_tokens",
    "find_json_object",
    "find_thinking",
    "model_info",
    "unknown_variables",
]
