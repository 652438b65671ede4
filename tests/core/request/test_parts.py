"""Parts of content in the forms of LangChain, OpenAI, Anthropic and MCP: sent, read, noted or refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kimi_vertex import InvalidRequestError, Message, ToolCall

from .support_payload import MANAGED, SEES, sent

BYTES = base64.b64encode(b"It rained.").decode()
PDF = "application/pdf"
URL = "https://x/y"


def with_result(content: Any) -> list[Message]:
    return [
        Message("user", "u"),
        Message("assistant", "", "t", (ToolCall("functions.f:0", "f", "{}"),)),
        Message("tool", content, tool_call_id="functions.f:0"),
    ]


def media(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}


IMAGE = media("image_url", "data:image/png;base64,AAAA")
SEEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("langchain", {"type": "image", "base64": "AAAA", "mime_type": "image/png"}, IMAGE),
    ("langchain v0", {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"}, IMAGE),
    ("mcp", {"type": "image", "data": "AAAA", "mimeType": "image/png"}, IMAGE),
    ("anthropic", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}, IMAGE),
    ("bytes", {"type": "image", "data": b"\0\0\0", "mime_type": "image/png"}, IMAGE),
    ("anthropic url", {"type": "image", "source": {"type": "url", "url": URL}}, media("image_url", URL)),
    ("openai responses", {"type": "input_image", "image_url": URL}, media("image_url", URL)),
    ("wrapped", {"type": "non_standard", "value": {"type": "image", "url": URL}}, media("image_url", URL)),
    ("video", {"type": "video", "url": URL}, media("video_url", URL)),
    ("google", {"type": "media", "mime_type": "image/png", "data": "AAAA"}, IMAGE),
]  # fmt: skip


@pytest.mark.parametrize(("part", "wire"), [case[1:] for case in SEEN], ids=[case[0] for case in SEEN])
def test_media(part: dict[str, Any], wire: dict[str, Any]) -> None:
    """A model that sees gets each form as OpenAI's, from a user and from a tool."""
    assert sent(Message("user", [part]), model=SEES)[0]["content"] == [wire]
    assert sent(*with_result([part]), model=SEES)[-1]["content"] == [wire]


READ: list[tuple[str, dict[str, Any], str]] = [
    ("text-plain", {"type": "text-plain", "text": "It rained.", "mime_type": "text/plain"}, "It rained."),
    ("named base64", {"type": "text-plain", "base64": BYTES, "mime_type": "text/plain", "title": "t"}, "t:\nIt rained."),
    ("by its name", {"type": "file", "file": {"filename": "r.csv", "file_data": f"data:text/csv;base64,{BYTES}"}}, "r.csv:\nIt rained."),
    ("json", {"type": "file", "base64": BYTES, "mime_type": "application/json"}, "It rained."),
    ("data URL", {"type": "file", "url": "data:text/plain,It%20rained.", "mime_type": "text/plain"}, "It rained."),
    ("anthropic", {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "rain1234"}}, "rain1234"),
    ("nested", {"type": "document", "title": "D", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}, "D\na"),
    ("a nested text", {"type": "document", "source": {"type": "content", "content": "a"}}, "a"),
    ("langchain's pdf", {"type": "file", "base64": BYTES, "mime_type": PDF, "extras": {"filename": "r.txt"}}, "r.txt:\nIt rained."),
    ("search result", {"type": "search_result", "title": "S", "source": URL, "content": [{"type": "text", "text": "a"}]}, "S\na"),
    ("resource", {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "a"}}, "file:///a:\na"),
    ("elsewhere", {"type": "text-plain", "url": URL, "mime_type": "text/plain"}, f"[document, text/plain, {URL}: its content is not shown]"),
    ("named by its URL", {"type": "file", "url": f"{URL}.txt"}, f"[file, text/plain, {URL}.txt: its content is not shown]"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "text"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_text_documents(part: dict[str, Any], text: str) -> None:
    """A text document is read, or noted if it is elsewhere, and keeps its borders."""
    content = [{"type": "text", "text": "See:"}, part]
    assert sent(Message("user", content), model=MANAGED)[0]["content"] == f"See:\n{text}"
    assert sent(*with_result(content), model=MANAGED)[-1]["content"] == f"See:\n{text}"


NOTED: list[tuple[str, Any, str]] = [
    ("image", {"type": "image_url", "image_url": {"url": f"{URL}.png"}}, f"image, image/png, {URL}.png"),
    ("named image", {"type": "image", "base64": "AAAA", "mime_type": "image/png", "extras": {"filename": "c.png"}}, "image 'c.png', image/png"),
    ("image of another provider", {"type": "image", "file_id": "file-1"}, "image, file-1"),
    ("image without data", {"type": "image_url", "image_url": {}}, "image"),
    ("file", {"type": "file", "base64": "AAAA", "mime_type": PDF, "filename": "r.pdf"}, f"file 'r.pdf', {PDF}"),
    ("openai's file", {"type": "input_file", "file_id": "f", "filename": "r.pdf"}, f"file 'r.pdf', {PDF}, f"),
    ("document", {"type": "document", "source": {"type": "url", "url": f"{URL}.pdf"}}, f"document, {PDF}, {URL}.pdf"),
    ("audio", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, "audio, audio/mpeg"),
    ("video", {"type": "video", "url": f"{URL}.mp4"}, f"video, video/mp4, {URL}.mp4"),
    ("resource link", {"type": "resource_link", "uri": URL, "name": "n", "mimeType": PDF}, f"resource link 'n', {PDF}, {URL}"),
    ("resource", {"type": "resource", "resource": {"uri": "file:///a", "mimeType": PDF, "blob": "AAAA"}}, f"resource, {PDF}, file:///a"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "words"), [case[1:] for case in NOTED], ids=[case[0] for case in NOTED])
def test_file_in_a_result(part: Any, words: str) -> None:
    """What a tool returned and a text model cannot read is a note with kind, name, type and address."""
    assert sent(*with_result([part]), model=MANAGED)[-1]["content"] == f"[{words}: its content is not shown]"


@pytest.mark.parametrize(("part", "words"), [case[1:] for case in NOTED], ids=[case[0] for case in NOTED])
def test_file_of_an_assistant(part: Any, words: str) -> None:
    """What another model gave the user is a note for one that cannot see it, and later turns go on."""
    history = [
        Message("user", "u"),
        Message("assistant", [{"type": "text", "text": "See:"}, part]),
        Message("user", "v"),
    ]
    noted = f"See:\n[{words}: its content is not shown]"
    assert sent(*history, model=MANAGED)[1]["content"] == noted


@pytest.mark.parametrize(("part", "words"), [case[1:] for case in NOTED], ids=[case[0] for case in NOTED])
def test_file_of_a_user(part: Any, words: str) -> None:
    """The same from a user is refused by position and type."""
    with pytest.raises(InvalidRequestError, match=r"reads only text|part, number 1, .*'"):
        sent(Message("user", [{"type": "text", "text": "See:"}, part]), model=MANAGED)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": number} for number in ("10", "20", "30")], "10\n20\n30"),
        ([10, "x", None], "10\nx\nnull"),
        ([{"text": "x"}], "x"),
        ([{"url": URL, "snippet": "s"}], f'{{"url": "{URL}", "snippet": "s"}}'),
        ([{"type": "tool_reference", "name": "t"}], '{"type": "tool_reference", "name": "t"}'),
        ({"a": 1}, '{"a": 1}'),
        (7, "7"),
    ],
)
def test_any_result(content: Any, text: str) -> None:
    """Several texts keep their borders, and what has no form of its own is written as JSON."""
    assert sent(*with_result(content), model=MANAGED)[-1]["content"] == text


def test_image_between_texts() -> None:
    """Texts of a result that stand beside an image keep their borders too."""
    content = ["10", "20", {"type": "image", "url": URL}, "30"]
    assert sent(*with_result(content), model=SEES)[-1]["content"] == [
        {"type": "text", "text": "10\n20"},
        media("image_url", URL),
        {"type": "text", "text": "30"},
    ]
