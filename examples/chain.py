"""A LangChain chain: a prompt, Kimi, and its thinking before its answer.

Run it with `make demo ARGS=chain`, or `python examples/chain.py` in an environment with the `langchain` extra.
"""

from __future__ import annotations

from _console import Screen, console, kimi, title
from langchain_core.prompts import ChatPromptTemplate
from rich.syntax import Syntax

from langchain_kimi_vertex import ChatKimiVertex

CODE = """\
for invoice in unpaid():
    charge(invoice)
    mark_paid(invoice)"""


def main() -> None:
    title("LangChain: a chain that thinks, then answers")
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You review code. Be brief."),
            ("human", "{code}\n\nSome customers pay twice. Why, and what is the fix?"),
        ]
    )
    chain = prompt | ChatKimiVertex()
    screen = Screen()
    screen.question("Some customers pay twice. Why, and what is the fix?")
    console.print(Syntax(CODE, "python", background_color="default"))
    for chunk in chain.stream({"code": CODE}):
        for block in chunk.content_blocks:
            if block["type"] == "reasoning":
                screen.thinking(block.get("reasoning", ""))
            elif block["type"] == "text":
                screen.answer(block["text"])
    screen.end()


if __name__ == "__main__":
    with kimi():
        main()
