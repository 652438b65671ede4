"""The quirk table of thinking; the numbers are those of the project's notes on Kimi."""

from __future__ import annotations

from typing import Any

from .support_decoder import Row, call

__all__ = ["THINKING"]

LS = '{"command": "ls"}'


def think(text: str) -> dict[str, Any]:
    return {"reasoning_content": text}


def say(text: str) -> dict[str, Any]:
    return {"content": text}


THINKING = [
    Row(
        "1.3 reasoning_content: Vertex, SGLang, Moonshot",
        [think("Let me see."), say("Four.")],
        "Four.",
        "Let me see.",
    ),
    Row(
        "1.3 reasoning: vLLM from 0.16", [{"reasoning": "Let me see."}, say("Four.")], "Four.", "Let me see."
    ),
    Row(
        "1.3 both fields with equal text: once",
        [{"reasoning": "Let me see.", "reasoning_content": "Let me see."}, say("Four.")],
        "Four.",
        "Let me see.",
    ),
    Row(
        "1.3 reasoning_details beside reasoning_content: Avian",
        [
            {
                "content": "",
                "reasoning_content": "Hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}],
            },
            say("Four."),
        ],
        "Four.",
        "Hm",
    ),
    Row(
        "1.3 reasoning_details alone", [{"reasoning_details": [{"text": "Hm"}]}, say("Four.")], "Four.", "Hm"
    ),
    Row(
        "1.3 null thinking means that there is none",
        [{"content": "Hi", "reasoning_content": None}],
        "Hi",
        None,
    ),
    Row("1.3 empty thinking is said", [{"content": "Hi", "reasoning_content": ""}], "Hi", ""),
    Row(
        "1.3 inline, DeepSeek R1 and MiniMax M2 on Vertex",
        [say("<think>Let me see.\n</think>\n\nFour.")],
        "Four.",
        "Let me see.",
    ),
    Row(
        "1.3 inline with spaces around the tags",
        [say(" <think> Let me see. </think> Four.")],
        "Four.",
        "Let me see.",
    ),
    Row(
        "1.3 inline, one token to a delta",
        [say(t) for t in ("<th", "ink>", "Let", " me", " see.", "</", "think>", "Four.")],
        "Four.",
        "Let me see.",
    ),
    Row("1.3 inline and empty", [say("<think></think>Four.")], "Four.", ""),
    Row("1.3 inline in triangles", [say("◁think▷Let me see.◁/think▷Four.")], "Four.", "Let me see."),
    Row(
        "1.3 indentation of the answer's first line stays",
        [say("<think>a</think>\n\n    x = 1\n")],
        "    x = 1\n",
        "a",
    ),
    Row(
        "1.3 closing tag only",
        [say(" The user said hello. </think> Hello!")],
        "Hello!",
        "The user said hello.",
        implicit=True,
    ),
    Row("1.3 closing tag only, first of all", [say("</think>\n\nHello!")], "Hello!", ""),
    Row("1.3 closing tag only, not expected: shown", [say("One </think> two")], "One </think> two", None),
    Row(
        "1.3 no closing tag although expected: text",
        [say("Hello there!")],
        "Hello there!",
        None,
        implicit=True,
    ),
    Row("1.3 unclosed", [say(" <think> It is 30 degrees.")], "", "It is 30 degrees.", empty="thinking_only"),
    Row(
        "1.3 unclosed, cut in the closing tag",
        [say("<think>It is</thin")],
        "",
        "It is",
        sent_reason="length",
        reason="length",
        empty="thinking_only",
    ),
    Row("1.3 a second opening tag right after the first", [say("<think><think>a</think>b")], "b", "a"),
    Row(
        "1.3 interleaved between tags",
        [say("<think>a</think>One.\n<think>b</think>Two.")],
        "One.\nTwo.",
        "ab",
    ),
    Row("1.3 interleaved in fields", [think("a"), say("One. "), think("b"), say("Two.")], "One. Two.", "ab"),
    Row(
        "1.3 tags in the answer mean more thinking where that has its field",
        [think("a"), say("Put it in <think> tags, </think> too.")],
        "Put it in  too.",
        "a tags,",
    ),
    Row(
        "1.3 an opening tag first of all is code where it is marked as such",
        [think("a"), say("`<think>` is a tag.")],
        "`<think>` is a tag.",
        "a",
    ),
    Row(
        "1.3 an empty pair of tags after a field is noise",
        [think("a"), say("<think>\n</think>\nHi")],
        "Hi",
        "a",
    ),
    Row("1.3 a closing tag that the server's parser left", [think("a"), say("</think>\n\nHi")], "Hi", "a"),
    Row(
        "1.3 tags in a code span",
        [say("Write `<think>` and `</think>`.")],
        "Write `<think>` and `</think>`.",
        None,
    ),
    Row(
        "1.3 tags in a fenced block",
        [say("So:\n```\n<think>\nx\n</think>\n```\nDone.")],
        "So:\n```\n<think>\nx\n</think>\n```\nDone.",
        None,
        implicit=True,
    ),
    Row(
        "1.3 tags in text that does not begin with them",
        [say("Use <think> tags.")],
        "Use <think> tags.",
        None,
    ),
    Row(
        "1.3 tags around the thinking field are noise",
        [think("<think>Let me see.</think>\n"), say("Four.")],
        "Four.",
        "Let me see.",
    ),
    Row(
        "1.3 tags inside the thinking field are text",
        [think("The <think> tag and </think> close.")],
        "",
        "The <think> tag and </think> close.",
        empty="thinking_only",
    ),
    Row(
        "1.3 everything under thinking, content null: stays there",
        [{"reasoning": "Four.", "content": None}],
        "",
        "Four.",
        empty="thinking_only",
    ),
    Row(
        "1.3 everything under content",
        [say("The user wants a number. Four.")],
        "The user wants a number. Four.",
        None,
    ),
    Row(
        "1.3 white space after separate thinking is the answer's",
        [think("a"), say("\n\n"), say(" Hello")],
        "\n\n Hello",
        "a",
    ),
    Row("1.3 a leading space without thinking may continue a prefill", [say(" world")], " world", None),
    Row(
        "1.3 blank content between thinking and call: Avian",
        [think("a"), say(" "), {"tool_calls": [call(0, "functions.bash:0", "bash", LS)]}],
        "",
        "a",
        [("bash", LS)],
        sent_reason="tool_calls",
        reason="tool_calls",
    ),
    Row(
        "1.3 content as a list of parts",
        [{"content": [{"type": "text", "text": "Four"}, {"type": "text", "text": "."}]}],
        "Four.",
        None,
    ),
    Row(
        "1.3 exclamation marks, content null",
        [{"reasoning": "!!!!!!!!", "content": None}],
        "",
        "!!!!!!!!",
        empty="thinking_only",
    ),
    Row(
        "1.7 half characters over deltas",
        [say("Go \ud83d"), say("\ude80!"), think("\ud83d"), think("\ude80")],
        "Go 🚀!",
        "🚀",
    ),
    Row(
        "1.7 half characters that stay alone",
        [think("a\ud83d"), say("b\ude80c\ud83d")],
        "b\ufffdc\ufffd",
        "a\ufffd",
    ),
    Row(
        "1.7 line separators inside JSON strings",
        [say("a\u2028b\u2029c\u0085d")],
        "a\u2028b\u2029c\u0085d",
        None,
    ),
    Row("1.7 Chinese", [think("用户问好。"), say("你好，世界！◁")], "你好，世界！◁", "用户问好。"),
]
