"""Images, documents and other files in a conversation: sent, read, noted or refused."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from kimi_vertex import InvalidRequestError
from kimi_vertex_emulator import Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat, MakeLLM


def sent(llm: KimiVertex, emulator: Emulator, *messages: ChatMessage) -> list[dict[str, Any]]:
    """The messages of the request that a conversation becomes."""
    emulator.enqueue(Turn(text="ok"))
    llm.chat(messages)
    wire: list[dict[str, Any]] = emulator.requests[-1].json["messages"]
    return wire


def with_result(*blocks: Any) -> list[ChatMessage]:
    """A conversation whose last message is a tool's result."""
    call = ToolCallBlock(tool_call_id="functions.f:0", tool_name="f", tool_kwargs="{}")
    return [
        ChatMessage("hi"),
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="t"), call]),
        ChatMessage(role="tool", blocks=list(blocks), additional_kwargs={"tool_call_id": "functions.f:0"}),
    ]


PNG = b"\x89PNG\r\n\x1a\n"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (ImageBlock(url="https://example.com/a.png"), {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        (ImageBlock(image=PNG), {"type": "image_url", "image_url": {"url": PNG_URL}}),
        (ImageBlock(image=io.BytesIO(PNG), image_mimetype="image/png"), {"type": "image_url", "image_url": {"url": PNG_URL}}),
        (VideoBlock(url="https://example.com/a.mp4"), {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("result", [False, True])
def test_media_for_a_model_that_sees(
    make_llm: MakeLLM, emulator: Emulator, block: Any, part: dict[str, Any], result: bool
) -> None:
    """Images and videos go out in OpenAI's form, a user's and a tool's."""
    blocks = [TextBlock(text="See:"), block]
    conversation = with_result(*blocks) if result else [ChatMessage(blocks=blocks)]
    wire = sent(make_llm(model="moonshotai/Kimi-K2.5"), emulator, *conversation)
    assert wire[-1]["content"] == [{"type": "text", "text": "See:"}, part]


DOCUMENT = b"It rained."


def test_text_documents_are_read(tmp_path: Path, llm: KimiVertex, emulator: Emulator) -> None:
    """A text document is read from its bytes or its file; one that is elsewhere leaves a note."""
    file = tmp_path / "report.md"
    file.write_bytes(DOCUMENT)
    wire = sent(
        llm,
        emulator,
        ChatMessage(
            blocks=[
                TextBlock(text="Compare:"),
                DocumentBlock(data=DOCUMENT, document_mimetype="text/plain"),
                DocumentBlock(path=file),
                DocumentBlock(url="https://example.com/c.csv", title="Table", document_mimetype="text/csv"),
            ]
        ),
    )
    assert wire[0]["content"] == (
        "Compare:\nIt rained.\nreport.md:\nIt rained.\n"
        "[document 'Table', text/csv, https://example.com/c.csv: its content is not shown]"
    )


@pytest.mark.parametrize(
    ("block", "noted"),
    [
        (ImageBlock(url="https://example.com/a.png"), "[image, image/png, https://example.com/a.png: its content is not shown]"),
        (ImageBlock(), "[image: its content is not shown]"),
        (AudioBlock(audio=b"RIFF", format="wav"), "[audio, audio/wav: its content is not shown]"),
        (DocumentBlock(data=b"%PDF-1.4", title="r.pdf", document_mimetype="application/pdf"), "[document 'r.pdf', application/pdf: its content is not shown]"),
        (DocumentBlock(path="gone.pdf"), "[document 'gone.pdf', application/pdf: its content is not shown]"),
    ],
)  # fmt: skip
def test_tool_result_with_a_file(
    make_llm: MakeLLM, emulator: Emulator, chat: Chat, block: Any, noted: str
) -> None:
    """What a tool returned and the model cannot read is a note, and the conversation goes on."""
    emulator.enqueue(Turn(text="ok"))
    llm = make_llm(model="moonshotai/Kimi-K2-Thinking")
    chat(llm, with_result(TextBlock(text="10"), TextBlock(text="20"), block))
    assert emulator.requests[-1].json["messages"][-1]["content"] == f"10\n20\n{noted}"


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (AudioBlock(audio=b"RIFF", format="wav"), "number 2, .*'audio'"),
        (DocumentBlock(data=b"%PDF-1.4", document_mimetype="application/pdf"), "number 2, .*'document'"),
        (ImageBlock(), "number 2, .*'image'"),
        (ImageBlock(url="https://example.com/a.png"), "reads only text, but message 0 has .* number 2, "),
    ],
)
def test_user_s_file_is_refused(make_llm: MakeLLM, block: Any, kind: str) -> None:
    """A user's file that the model cannot read is refused by index and type before anything is sent."""
    with pytest.raises(InvalidRequestError, match=kind):
        make_llm(model="moonshotai/Kimi-K2-Thinking").chat(
            [
                ChatMessage(
                    blocks=[
                        TextBlock(text="See:"),
                        CachePoint(cache_control=CacheControl(type="ephemeral")),
                        block,
                    ]
                )
            ]
        )


def test_another_model_s_image(make_llm: MakeLLM, emulator: Emulator) -> None:
    """An image in an assistant's turn is a note for a model that cannot see it, and the conversation goes on."""
    turn = ChatMessage(role="assistant", blocks=[TextBlock(text="Here:"), ImageBlock(image=PNG)])
    wire = sent(
        make_llm(model="moonshotai/Kimi-K2-Thinking"), emulator, ChatMessage("hi"), turn, ChatMessage("?")
    )
    assert wire[1]["content"] == "Here:\n[image, image/png: its content is not shown]"
