"""The quirk table of finish reasons and empty turns; the numbers are those of the project's notes on Kimi."""

from __future__ import annotations

from typing import Any

from .support_decoder import Row, call

__all__ = ["ENDS"]

LS = '{"command": "ls"}'


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(fragments)}


NO_CALLS = "missing_tool_calls"

ENDS = [
    Row(
        "1.4 stop with calls: sglang#8316",
        [calls(call(0, "a", "bash", LS))],
        calls=[("bash", LS)],
        reason="tool_calls",
    ),
    Row(
        "1.4 null with calls, but [DONE]: orsdk#420",
        [calls(call(0, "a", "bash", LS))],
        calls=[("bash", LS)],
        sent_reason=None,
        reason="tool_calls",
    ),
    Row("1.4 null without calls, but [DONE]", [{"content": "Hi"}], "Hi", sent_reason=None),
    Row(
        "1.4 tool_calls without calls, all null: K2#41",
        [{"content": None}],
        sent_reason="tool_calls",
        empty=NO_CALLS,
    ),
    Row(
        "1.4 tool_calls without calls, every delta []: vllm#54701",
        [{"tool_calls": []}] * 20,
        sent_reason="tool_calls",
        empty=NO_CALLS,
    ),
    Row(
        "1.4 tool_calls without calls, a text announces them",
        [{"content": "I will look."}],
        "I will look.",
        sent_reason="tool_calls",
        empty=NO_CALLS,
    ),
    Row(
        "1.4 tool_calls without calls, a fragment without anything",
        [calls(call(0, "", "", ""))],
        sent_reason="tool_calls",
        empty=NO_CALLS,
    ),
    Row(
        "1.4 only thinking, stop: kimi-code#520",
        [{"reasoning_content": "Hm"}],
        thinking="Hm",
        empty="thinking_only",
    ),
    Row(
        "1.4 only thinking, length",
        [{"reasoning_content": "Hm"}],
        thinking="Hm",
        sent_reason="length",
        reason="length",
        empty="thinking_only",
    ),
    Row("1.4 nothing at all", [{"content": ""}, {"content": " \n"}], empty="nothing"),
    Row(
        "1.4 content_filter is visible, and is not empty",
        [{"content": None}],
        sent_reason="content_filter",
        reason="content_filter",
    ),
    Row(
        "2.1 content_filtered: Google",
        [{"content": "Ha"}],
        "Ha",
        sent_reason="content_filtered",
        reason="content_filter",
    ),
    Row("1.4 max_tokens", [{"content": "Ha"}], "Ha", sent_reason="MAX_TOKENS", reason="length"),
    Row("1.4 an unknown reason", [{"content": "Ha"}], "Ha", sent_reason="eos", reason="stop"),
    Row(
        "1.4 a call cut by the limit",
        [calls(call(0, "a", "bash", '{"command": "ls'))],
        invalid=[("bash", '{"command": "ls')],
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.4 a text, and a call cut by the limit",
        [{"content": "I will look."}, calls(call(0, "a", "bash", '{"command": "ls'))],
        "I will look.",
        invalid=[("bash", '{"command": "ls')],
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.4 a call cut by the filter",
        [calls(call(0, "a", "bash", '{"command": "ls'))],
        invalid=[("bash", '{"command": "ls')],
        sent_reason="content_filter",
        reason="content_filter",
    ),
    Row(
        "1.4 a call cut before its arguments",
        [calls(call(0, "a", "clock", ""))],
        invalid=[("clock", "")],
        sent_reason="length",
        reason="length",
    ),
    Row(
        "1.4 a complete call before the cut one",
        [calls(call(0, "a", "bash", LS)), calls(call(1, "b", "bash", '{"co'))],
        calls=[("bash", LS)],
        invalid=[("bash", '{"co')],
        sent_reason="length",
        reason="length",
    ),
    Row("2.1 a refusal is not empty", [{"content": None, "refusal": "I cannot help with that."}]),
]
