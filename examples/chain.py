"""A LangChain chain: a prompt, Kimi, and its thinking before its answer.

Run it with `make demo ARGS=chain`, or `python examples/chain.py` in an environment with the `langchain` extra.
"""

from __future__ import annotations

from _console import Screen, kimi, title
from langchain_core.prompts import ChatPromptTemplate

from langchain_kimi_vertex import ChatKimiVertex


def main() -> None:
    title("LangChain: a chain that thinks, then answers")
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You are concise."), ("human", "Explain {topic} to a {reader}.")]
    )
    chain = prompt | ChatKimiVertex()
    screen = Screen()
    screen.question("Explain Rayleigh scattering to a sailor.")
    for chunk in chain.stream({"topic": "Rayleigh scattering", "reader": "sailor"}):
        for block in chunk.content_blocks:
            if block["type"] == "reasoning":
                screen.thinking(block.get("reasoning", ""))
            elif block["type"] == "text":
                screen.answer(block["text"])
    screen.end()


if __name__ == "__main__":
    with kimi():
        main()
