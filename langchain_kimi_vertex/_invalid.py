"""Keeps unusable tool calls unusable when LangChain joins the chunks of a stream.

When chunks are added up, LangChain completes cut-off JSON (`parse_partial_json`), so a call that broke off at
`{"path": "/var` would come out as an executable call with half its arguments. The same repair gives up at a closing
bracket that does not match. The last chunk of a stream therefore adds `refusing_fragment` to each such call:
LangChain then files it under `invalid_tool_calls`, whatever it looked like. `original_arguments` takes it off again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["original_arguments", "refusing_fragment"]

_CUT_MARK: Final = " <<do not execute: invalid call>>"
"""What separates a call's own arguments from the fragment; free of quotes, brackets and backslashes."""


def refusing_fragment(arguments: str) -> str:
    """Text which, put behind `arguments`, no JSON repair of LangChain's accepts."""
    in_string, innermost = _position(arguments)
    quote = '"' if in_string else ""
    wrong_bracket = "}" if innermost == "[" else "]"
    return _CUT_MARK + quote + wrong_bracket


def original_arguments(arguments: str) -> str:
    """The arguments as the server sent them, without the fragment of a joined stream."""
    own, mark, _ = arguments.rpartition(_CUT_MARK)
    return own if mark else arguments


def _position(text: str) -> tuple[bool, str]:
    """Where JSON text ends: inside a string or not, and in which bracket (`""` for none)."""
    brackets: list[str] = []
    in_string = escaped = False
    for char in text:
        if in_string:
            if char == '"' and not escaped:
                in_string = False
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string, escaped = True, False
        elif char in "{[":
            brackets.append(char)
        elif char in "}]" and brackets:
            brackets.pop()
    return in_string, brackets[-1] if brackets else ""
