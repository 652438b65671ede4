"""The instrumentation event that carries thinking to whoever listens on LlamaIndex's dispatcher."""

from __future__ import annotations

from llama_index_instrumentation.base import BaseEvent

__all__ = ["ThinkingDeltaEvent"]


class ThinkingDeltaEvent(BaseEvent):
    """A piece of the model's thinking.

    Sent for every request of a `KimiVertex`, wherever LlamaIndex makes it: in a query engine, a chat engine, a
    router, an evaluator, a structured prediction or an agent. A stream sends one event per delta, a request that
    is not streamed sends one event with the whole thinking.

    Example:
        ```python
        from llama_index.core.instrumentation import get_dispatcher
        from llama_index.core.instrumentation.event_handlers import BaseEventHandler

        class PrintThinking(BaseEventHandler):
            def handle(self, event, **kwargs):
                if isinstance(event, ThinkingDeltaEvent):
                    print(event.delta, end="")

        get_dispatcher().add_event_handler(PrintThinking())
        ```
    """

    delta: str
    """The next piece; the pieces of one request join to its whole thinking."""
    model: str | None = None
    """The model that thinks; `None` if an endpoint was addressed without a model name."""

    @classmethod
    def class_name(cls) -> str:
        """The event's stable name."""
        return "ThinkingDeltaEvent"
