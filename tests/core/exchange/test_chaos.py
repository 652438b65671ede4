"""Many requests at once to a server that speaks every dialect, cuts anywhere and often fails."""

import asyncio
import random
from collections import Counter

from kimi_vertex import KimiVertexClient, KimiVertexError, Timeouts
from kimi_vertex_emulator import Answer, ChatRequest, Emulator, Fault, Turn

THINKING, TEXT = "The west gate" + " is early" * 20, "It opens at six" + " or so" * 20
TURN = Turn(thinking=THINKING, text=TEXT)
FAULTS = {
    "429": 5, "502": 3, "503": 5, "reset": 5, "close": 3, "empty-body": 3, "cut-mid": 8, "reset-mid": 6,
    "no-finish": 5, "half-event": 3, "error-event": 5, "malformed-json": 3, "oversized-line": 1, "no-done": 3,
}  # fmt: skip


async def _ask(client: KimiVertexClient) -> str:
    try:
        async with client.astream("When?") as events:
            async for _ in events:
                pass
    except KimiVertexError as error:
        partial = getattr(error, "partial", None)
        if partial is not None:
            # Together: where only the end of thinking is marked, a beginning could be either.
            assert (THINKING + TEXT).startswith((partial.thinking or "") + partial.text)
        return "broken off" if partial is not None else "failed"
    assert (events.completion.thinking, events.completion.text) == (THINKING, TEXT)
    return "whole"


async def test_chaos() -> None:
    """A request ends in the whole answer or in an error of ours, whose partial answer is the answer's beginning."""
    draw = random.Random(1)

    def brain(chat: ChatRequest) -> Answer:
        (kind,) = draw.choices([*FAULTS, None], [*FAULTS.values(), 100 - sum(FAULTS.values())])
        return TURN if kind is None else Fault(kind, after=6, retry_after="0", turn=TURN)

    with Emulator(brain=brain, dialect="random", chunking="random", seed=1) as emulator:
        patience = Timeouts(connect=20, first_byte=20, idle=20)
        async with KimiVertexClient(
            base_url=emulator.base_url, timeout=patience, max_retries=1, pace=None
        ) as client:
            outcomes = Counter(await asyncio.gather(*(_ask(client) for _ in range(100))))
    assert min(outcomes[kind] for kind in ("whole", "broken off", "failed")) > 0, outcomes
